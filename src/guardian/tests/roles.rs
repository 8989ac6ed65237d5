//! What this test binary plays when the variable [`ROLE`] names a role.
//!
//! A guardian has to be alone on the main thread of its process, which in a test belongs to the harness. So a role is
//! played before `main`, by a function that the loader calls.

use super::*;
use crate::sys::fds::{read_memory_file, take_inherited};
use crate::sys::spawn::spawn;
use crate::sys::system::monotonic_millis;
use crate::sys::testing::{until_line, with_output};
use crate::sys::tree::{Reaper, leftovers};

/// Names the role of this process.
pub(super) const ROLE: &str = "RSX_TEST_ROLE";

/// Where a daemon notes its runs: `PID BORN`, a line each.
const RUNS: &str = "runs";

#[used]
#[expect(unsafe_code, reason = "the one way to be on the main thread of a test binary")]
// SAFETY: the loader calls the functions of this section one by one, before `main`; ours has the type that it expects.
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = before_main;

extern "C" fn before_main() {
    let Some(role) = std::env::var_os(ROLE) else { return };
    let code = match role.to_str() {
        Some("guardian") => run(&home(), Path::new(&std::env::var_os(EXE).unwrap())),
        Some("stores") => stores(),
        Some("leaves-a-tree") => leaves_a_tree(),
        Some("leaves-runs") => leaves_runs(),
        Some("leaves-a-late-child") => leaves_a_late_child(),
        Some("late-child") => late_child(),
        Some("leaves-a-holder") => leaves_a_holder(),
        Some("updates") => updates(),
        Some("updated") => updated(),
        _ => panic!("there is no role {role:?}"),
    };
    std::process::exit(code.into())
}

/// How many daemons there were before this one.
fn restarts() -> u32 {
    std::env::var(RESTARTS).unwrap().parse().unwrap()
}

fn keeper() -> Keeper {
    Keeper::from_env().expect("a daemon has a guardian")
}

/// Until the guardian has carried out everything and has said all that came with it.
fn settle(keeper: &mut Keeper) {
    while !keeper.is_settled() {
        pump(keeper);
    }
}

fn pump(keeper: &mut Keeper) {
    assert!(readable_within(keeper, LIMIT).unwrap(), "the guardian is silent");
    keeper.pump().unwrap();
    assert!(!keeper.is_alone(), "the guardian is gone");
}

/// Says that it is ready, hears everything, and dies.
fn die(mut keeper: Keeper) -> ! {
    keeper.ready().unwrap();
    settle(&mut keeper);
    kill_self()
}

fn kill_self() -> ! {
    process_of(&std::process::id().to_string()).signal(Signal::KILL).unwrap();
    unreachable!("SIGKILL ends this process before the call returns");
}

fn report(name: &str, text: &str) {
    fs::write(home().root().join(name), text).unwrap();
}

/// A program of this daemon, noted as a run. Its standard input ends with the daemon.
fn start(script: &str, input: &OwnedFd) -> Process {
    let mut launch = shell(script);
    launch.stdin = input.try_clone().unwrap();
    launch.env.push(("RSX_HOME".into(), home().root().into()));
    let process = spawn(&launch).unwrap();
    let mut runs = File::options().append(true).create(true).open(home().root().join(RUNS)).unwrap();
    writeln!(runs, "{} {}", process.display_pid(), monotonic_millis()).unwrap();
    process
}

/// The reading end of a pipe whose other end nobody but this process has, for as long as it lives.
fn ends_with_us() -> OwnedFd {
    let (reader, writer) = io::pipe().unwrap();
    std::mem::forget(writer);
    reader.into()
}

fn noted_runs() -> Vec<(u32, u64)> {
    let text = fs::read_to_string(home().root().join(RUNS)).unwrap();
    let parse = |line: &str| line.split_once(' ').map(|(pid, born)| (pid.parse().unwrap(), born.parse().unwrap()));
    text.lines().map(|line| parse(line).unwrap()).collect()
}

/// The status of each noted run, in the order of their births.
fn in_order(runs: &[(u32, u64)], ended: &[Ended]) -> String {
    let status = |(pid, born): &(u32, u64)| {
        let mut of_this = ended.iter().filter(|ended| (ended.pid, ended.born) == (*pid, *born));
        let first = of_this.next().map_or("nothing".to_owned(), |ended| ended.status.to_string());
        if of_this.next().is_some() { format!("{first} twice") } else { first }
    };
    runs.iter().map(status).collect::<Vec<String>>().join(", ")
}

/// Stores descriptors, dies, and finds them again in its next life.
fn stores() -> u8 {
    let mut keeper = keeper();
    let kept = keeper.take_all(LIMIT).unwrap();
    if kept.is_empty() {
        keeper.put(&[("a", memory_file("a", b"first").unwrap().as_fd())]).unwrap();
        keeper.put(&[("gone", memory_file("gone", b"-").unwrap().as_fd())]).unwrap();
        keeper.put(&[("a", memory_file("a", b"second").unwrap().as_fd())]).unwrap();
        for number in 0..600 {
            keeper.put(&[(&format!("many {number}"), io::stdin().as_fd())]).unwrap();
        }
        keeper.forget(&["gone"]).unwrap();
        keeper.ready().unwrap();
        settle(&mut keeper);
        return 9;
    }
    let many = kept.iter().filter(|(name, _)| name.starts_with("many ")).count();
    let mut result = format!("restarts {}, many {many}", restarts());
    for (name, fd) in kept.iter().filter(|(name, _)| !name.starts_with("many ")) {
        let content = read_memory_file(fd, 100).unwrap();
        result.push_str(&format!(", {name} {}", String::from_utf8(content).unwrap()));
    }
    report("result", &result);
    0
}

/// Has two runs, one of which ends and leaves a child and an orphan behind.
fn leaves_a_tree() -> u8 {
    let start = |script: &str| {
        let (mut launch, output) = with_output(shell(script));
        launch.env.push(("RSX_ID".into(), "7".into()));
        launch.env.push(("RSX_HOME".into(), home().root().into()));
        (spawn(&launch).unwrap(), output)
    };
    let (other, mut other_output) = start("(echo up; exec sleep 1000) & wait");
    until_line(&mut other_output, "up");
    let (quiet, _output) = start("exit 0");
    assert!(quiet.has_ended_within(LIMIT).unwrap());
    let found_none = leftovers(quiet.trace().unwrap(), "RSX_ID=7", Reaper::Parent, &[]).unwrap().held.len();
    // A child in the session, and a daemon of the old school. It is up when its line is there.
    let orphan = "setsid sh -c 'sh -c \"echo up; exec sleep 1000\" & :' & wait $!";
    let (main, mut output) = start(&format!("sleep 1000 & {orphan}"));
    until_line(&mut output, "up");
    assert!(main.has_ended_within(LIMIT).unwrap());
    let left = leftovers(main.trace().unwrap(), "RSX_ID=7", Reaper::Parent, &[]).unwrap().held;
    for process in &left {
        process.signal(Signal::KILL).unwrap();
        assert!(process.has_ended_within(LIMIT).unwrap());
    }
    let found_then = leftovers(main.trace().unwrap(), "RSX_ID=7", Reaper::Parent, &[]).unwrap().held.len();
    report("result", &format!("quiet {found_none}, left {}, then {found_then}", left.len()));
    other.signal_group(Signal::KILL).unwrap();
    for process in [other, quiet, main] {
        end_of(&process);
    }
    0
}

/// Has runs that end when it dies, before it dies, and later; four lives of it ask for their ends.
fn leaves_runs() -> u8 {
    let mut keeper = keeper();
    let life = restarts();
    if life == 0 {
        let input = ends_with_us();
        let fifo = home().root().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        // A zombie that nobody reaps; it is the guardian's when we are dead.
        let before = start("exit 7", &input);
        assert!(before.has_ended_within(LIMIT).unwrap());
        start("kill -SEGV $$", &input);
        for code in 0..40 {
            start(&format!("read x; exit {code}"), &input);
        }
        start("read x; kill -KILL $$", &input);
        start("read x < $RSX_HOME/fifo; exit 42", &input);
        die(keeper);
    }
    let runs = noted_runs();
    keeper.watch(&runs).unwrap();
    match life {
        1 => {
            let mut ended = Vec::new();
            while ended.len() < runs.len() - 1 {
                pump(&mut keeper);
                ended.extend(keeper.take_ended());
            }
            settle(&mut keeper);
            // The last one ends only now.
            fs::write(home().root().join("fifo"), "").unwrap();
            while ended.len() < runs.len() {
                pump(&mut keeper);
                ended.extend(keeper.take_ended());
            }
            assert!(ended.iter().all(|ended| ended.at >= ended.born && ended.at <= monotonic_millis()));
            report("first", &in_order(&runs, &ended));
            die(keeper)
        }
        2 => {
            settle(&mut keeper);
            report("second", &in_order(&runs, &keeper.take_ended()));
            for (pid, born) in &runs[1..] {
                keeper.settle(*pid, *born).unwrap();
            }
            die(keeper)
        }
        _ => {
            // What comes with the store is not lost.
            keeper.take_all(LIMIT).unwrap();
            settle(&mut keeper);
            report("third", &in_order(&runs, &keeper.take_ended()));
            0
        }
    }
}

/// Has a child that holds its connection, and uses it after its death.
fn leaves_a_late_child() -> u8 {
    let mut keeper = keeper();
    if restarts() == 0 {
        let connection = keeper.as_fd().try_clone_to_owned().unwrap();
        let mut launch = shell("");
        launch.program = std::env::current_exe().unwrap();
        launch.stdin = ends_with_us();
        launch.env.push((ROLE.into(), "late-child".into()));
        launch.env.push((GUARDIAN_FD.into(), connection.as_raw_fd().to_string().into()));
        launch.keep.push(connection);
        spawn(&launch).unwrap();
        die(keeper);
    }
    let names: Vec<String> = keeper.take_all(LIMIT).unwrap().into_iter().map(|(name, _)| name).collect();
    report("result", &names.join(", "));
    0
}

fn late_child() -> u8 {
    let connection = Channel::from_fd(take_inherited(GUARDIAN_FD).unwrap());
    assert_eq!(io::stdin().read(&mut [0]).unwrap(), 0);
    for number in 0..100 {
        let name = format!("put late {number}");
        connection.send(name.as_bytes(), &[io::stdin().as_fd()]).unwrap();
    }
    0
}

/// Has a child that holds its connection for ever.
fn leaves_a_holder() -> u8 {
    let keeper = keeper();
    if restarts() == 0 {
        let mut launch = shell("exec sleep 1000");
        launch.env.push(("RSX_HOME".into(), home().root().into()));
        launch.keep.push(keeper.as_fd().try_clone_to_owned().unwrap());
        spawn(&launch).unwrap();
        report("death", &monotonic_millis().to_string());
        die(keeper);
    }
    let death: u64 = fs::read_to_string(home().root().join("death")).unwrap().parse().unwrap();
    report("result", &(monotonic_millis() - death).to_string());
    0
}

/// The old binary: asks for an update in its first life, does what `TEST_THEN` says, and reports how it ended.
fn updates() -> u8 {
    let mut keeper = keeper();
    if restarts() > 0 {
        let failed = std::env::var(UPDATE_FAILED).unwrap_or_else(|_| "nothing failed".to_owned());
        let names: Vec<String> = keeper.take_all(LIMIT).unwrap().into_iter().map(|(name, _)| name).collect();
        report("result", &format!("{failed} ({})", names.join(", ")));
        return 0;
    }
    keeper.put(&[("a", memory_file("a", b"first").unwrap().as_fd())]).unwrap();
    start("read x < $RSX_HOME/fifo; exit 42", &ends_with_us());
    report("guardian", &std::os::unix::process::parent_id().to_string());
    keeper.ready().unwrap();
    settle(&mut keeper);
    let path = std::env::var("TEST_NEW").map_or_else(|_| home().root().join("new.sh"), PathBuf::from);
    keeper.update(&path).unwrap();
    let verdict = verdict(&mut keeper);
    match verdict {
        Verdict::Refused { why } => {
            report("result", &why);
            0
        }
        Verdict::Go { version } => {
            report("version", &version);
            match std::env::var("TEST_THEN").as_deref() {
                Ok("die") => kill_self(),
                Ok("stay") => {
                    report("result", &format!("{:?}", self::verdict(&mut keeper)));
                    return 0;
                }
                Ok("delete") => fs::remove_file(home().root().join("daemon.sh")).unwrap(),
                _ => {}
            }
            HANDOVER
        }
    }
}

fn verdict(keeper: &mut Keeper) -> Verdict {
    loop {
        if let Some(verdict) = keeper.take_verdict() {
            return verdict;
        }
        pump(keeper);
    }
}

/// The new binary: takes over, lets the guardian be replaced, hears of an orphan from the new one, dies, and reports in
/// its second life.
fn updated() -> u8 {
    let mut keeper = keeper();
    let names: Vec<String> = keeper.take_all(LIMIT).unwrap().into_iter().map(|(name, _)| name).collect();
    let guardian = std::os::unix::process::parent_id().to_string();
    assert_eq!(guardian, fs::read_to_string(home().root().join("guardian")).unwrap());
    let environment = fs::read(format!("/proc/{guardian}/environ")).unwrap();
    let is_replaced = environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(STATE_FD.as_bytes()));
    if restarts() == 2 {
        report("result", &format!("{}, replaced {is_replaced}", names.join(", ")));
        return 0;
    }
    assert!(!is_replaced && names == ["a"], "{names:?}");
    keeper.watch(&noted_runs()).unwrap();
    if std::env::var("TEST_THEN").as_deref() == Ok("forbid") {
        fs::set_permissions(home().root().join("new.sh"), fs::Permissions::from_mode(0o000)).unwrap();
    }
    keeper.ready().unwrap();
    // With the last acknowledgement everything is said, and the guardian is replaced before it listens again: when it has
    // heard one thing more, that is behind it.
    settle(&mut keeper);
    keeper.put(&[("b", memory_file("b", b"").unwrap().as_fd())]).unwrap();
    settle(&mut keeper);
    fs::set_permissions(home().root().join("new.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(home().root().join("fifo"), "").unwrap();
    let ended = loop {
        if let [ended] = keeper.take_ended().as_slice() {
            break *ended;
        }
        pump(&mut keeper);
    };
    settle(&mut keeper);
    report("ended", &ended.status.to_string());
    kill_self()
}
