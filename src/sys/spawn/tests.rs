use std::fs;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::spec::{ExitStatus, Signal};
use crate::sys::limits::nofile;
use crate::sys::testing::{end_of, run, shell, with_output};

fn script_file(folder: &tempfile::TempDir, text: &str, mode: u32) -> PathBuf {
    let path = folder.path().join("run.sh");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

#[track_caller]
fn refused(launch: &Launch) -> SpawnError {
    loop {
        let error = spawn(launch).expect_err("it must not start");
        // ETXTBSY: a child of another test has the script that was just written open until it executes.
        if !error.is_transient() {
            return error;
        }
    }
}

#[test]
fn the_exit_code_comes_back() {
    assert_eq!(run(shell("exit 42")).0, ExitStatus::Code(42));
    assert_eq!(run(shell("exit 255")).0, ExitStatus::Code(255));
}

#[test]
fn an_end_by_signal_is_no_exit_code() {
    let (status, _) = run(shell("kill -KILL $$"));
    assert_eq!(status, ExitStatus::Signal { signal: Signal::KILL, core: false });
}

#[test]
fn an_end_by_a_real_time_signal_is_told_too() {
    let (status, _) = run(shell("kill -40 $$"));
    assert_eq!(status, ExitStatus::Signal { signal: Signal::from_number(40).unwrap(), core: false });
}

#[test]
fn a_core_dump_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut launch = shell("ulimit -c unlimited; kill -ABRT $$");
    launch.cwd = folder.path().to_owned();
    // Whether the kernel writes one depends on this machine's core_pattern; that it is counted in does not.
    let ExitStatus::Signal { signal, core } = run(launch).0 else { panic!("it must end by a signal") };
    assert_eq!(signal.number(), libc::SIGABRT);
    if fs::read_dir(folder.path()).unwrap().next().is_some() {
        assert!(core);
    }
}

#[test]
fn arguments_environment_and_folder_arrive_as_given() {
    let mut launch = shell("echo \"$0|$1|$A|$PWD\"");
    launch.argv.extend(["zero", "o n e"].map(Into::into));
    launch.env.push(("A".into(), "b=c".into()));
    launch.cwd = PathBuf::from("/usr");
    assert_eq!(run(launch).1, "zero|o n e|b=c|/usr\n");
}

#[test]
fn a_missing_folder_is_named() {
    let mut launch = shell("true");
    launch.cwd = PathBuf::from("/srv/not-there");
    let error = refused(&launch);
    assert_eq!(error.to_string(), "chdir /srv/not-there: No such file or directory (ENOENT)");
    assert_eq!(error.step, Step::Chdir);
    assert!(!error.is_transient());
}

#[test]
fn a_missing_program_is_named() {
    let mut launch = shell("true");
    launch.program = PathBuf::from("/not/there");
    assert_eq!(refused(&launch).to_string(), "exec /not/there: No such file or directory (ENOENT)");
}

#[test]
fn a_program_without_execute_permission_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let mut launch = shell("true");
    launch.program = script_file(&folder, "#!/bin/sh\n", 0o644);
    let error = refused(&launch);
    assert_eq!(error.detail, Detail::NotExecutable);
    assert!(error.to_string().ends_with("it is not executable (EACCES)"), "{error}");
    launch.program = folder.path().to_owned();
    assert_eq!(refused(&launch).detail, Detail::IsFolder);
}

#[test]
fn a_missing_interpreter_is_not_taken_for_a_missing_script() {
    let folder = tempfile::tempdir().unwrap();
    let mut launch = shell("true");
    launch.program = script_file(&folder, "#! /bin/sh\r\necho\r\n", 0o755);
    let error = refused(&launch);
    assert_eq!(error.detail, Detail::MissingInterpreter("/bin/sh\r".into()));
    assert!(error.to_string().contains(r"first line, /bin/sh\r, does not exist (ENOENT)"), "{error}");
}

#[test]
fn a_file_in_no_executable_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut launch = shell("true");
    launch.program = script_file(&folder, "just text\n", 0o755);
    assert!(refused(&launch).to_string().ends_with("(ENOEXEC)"));
}

#[test]
fn a_nul_byte_is_refused_before_anything_starts() {
    let mut launch = shell("true");
    launch.argv.push("a\0b".into());
    assert_eq!(refused(&launch).to_string(), "prepare: argument 3 contains a NUL byte");
    let mut launch = shell("true");
    launch.env.push(("A".into(), "\0".into()));
    assert_eq!(refused(&launch).to_string(), "prepare: the variable `A` contains a NUL byte");
    let mut launch = shell("true");
    launch.env.push(("A=B".into(), "c".into()));
    assert_eq!(refused(&launch).step, Step::Prepare);
}

#[test]
fn too_long_arguments_are_an_error_of_exec() {
    let mut launch = shell("true");
    launch.argv.push("x".repeat(16 << 20).into());
    assert!(refused(&launch).to_string().ends_with("(E2BIG)"));
}

#[test]
fn an_impossible_limit_is_an_error_of_its_step() {
    let mut launch = shell("true");
    launch.nofile = Some(RLimit { soft: 10, hard: 5 });
    assert_eq!(refused(&launch).to_string(), "set limits: Invalid argument (EINVAL)");
}

#[test]
fn a_child_sees_three_descriptors_only() {
    // Without FD_CLOEXEC, as a library might have opened it.
    let leak = fs::File::open("/dev/null").unwrap();
    nix::fcntl::fcntl(&leak, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    let (_, list) = run(shell("ls /proc/$$/fd"));
    assert_eq!(list, "0\n1\n2\n");
}

#[test]
fn descriptors_to_keep_keep_their_numbers() {
    let (reader, writer) = io::pipe().unwrap();
    let mut launch = shell("");
    launch.keep = vec![writer.into()];
    let number = launch.keep[0].as_raw_fd();
    launch.argv[2] = "ls -v /proc/$$/fd".into();
    assert_eq!(run(launch).1, format!("0\n1\n2\n{number}\n"));
    drop(reader);
}

#[test]
fn signals_are_as_if_started_by_nobody() {
    // Rust ignores SIGPIPE in this process.
    let (_, masks) = run(shell("grep -E '^Sig(Blk|Ign):' /proc/self/status"));
    assert_eq!(masks, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

#[test]
fn this_thread_has_its_signals_back() {
    let before = SigSet::thread_get_mask().unwrap();
    run(shell("true"));
    assert_eq!(SigSet::thread_get_mask().unwrap(), before);
}

#[test]
fn a_child_leads_its_session_and_group() {
    let (_, stat) = run(shell("echo $$ $(cut -d' ' -f5,6 /proc/$$/stat)"));
    let numbers: Vec<&str> = stat.split_whitespace().collect();
    assert_eq!(numbers.len(), 3);
    assert!(numbers.iter().all(|number| *number == numbers[0]), "{stat}");
}

#[test]
fn limits_mask_and_badness_are_set_in_the_child_only() {
    let mut launch = shell("ulimit -Sn; ulimit -Hn; umask; cat /proc/$$/oom_score_adj");
    launch.nofile = Some(RLimit { soft: 64, hard: 128 });
    launch.umask = Some(0o027);
    launch.oom_score_adj = Some(500);
    let before = nofile().unwrap();
    assert_eq!(run(launch).1, "64\n128\n0027\n500\n");
    assert_eq!(nofile().unwrap(), before);
}

#[test]
fn the_group_is_signalled_while_it_is_ours_and_never_again() {
    let (launch, mut reader) = with_output(shell("sleep 1000 & echo up; wait"));
    let process = spawn(&launch).unwrap();
    drop(launch);
    let mut up = [0; 3];
    reader.read_exact(&mut up).unwrap();
    process.signal_group(Signal::TERM).unwrap();
    // The end of the pipe: the sleeping one, a writer, is gone as well.
    io::copy(&mut reader, &mut io::sink()).unwrap();
    assert_eq!(end_of(&process), ExitStatus::Signal { signal: Signal::TERM, core: false });
    assert_eq!(process.own_pid(), None);
    // Would be an error of kill(2), EINVAL, if anything were sent.
    process.signal_group(Signal::from_number(64).unwrap()).unwrap();
    process.signal(Signal::TERM).unwrap();
    assert!(process.try_status().is_err());
}

#[test]
fn a_living_process_has_no_status_and_is_not_reaped() {
    let process = spawn(&shell("exec sleep 1000")).unwrap();
    assert_eq!(process.try_status().unwrap(), None);
    assert_eq!(process.reap().unwrap(), None);
    assert!(process.own_pid().is_some());
    process.signal(Signal::KILL).unwrap();
    end_of(&process);
}

#[test]
fn a_child_writes_down_that_it_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let file = fs::File::options().append(true).create(true).open(&path).unwrap();
    let before = crate::sys::moment::Moment::now();
    let mut launch = shell("echo $$");
    launch.birth = Some(Birth {
        undone: b"not\n".to_vec(),
        file: file.into(),
        line: b"a ##########, #################### #################### z\n".to_vec(),
    });
    let (status, output) = run(launch);
    assert_eq!(status, ExitStatus::Code(0));
    let line = fs::read_to_string(&path).unwrap();
    let words: Vec<&str> = line.split([' ', ',']).filter(|word| !word.is_empty()).collect();
    assert_eq!((words[0], words[1], words[4]), ("a", output.trim(), "z\n"));
    assert!((before.monotonic..before.monotonic + 10_000).contains(&words[2].parse().unwrap()));
    assert!((before.boot..before.boot + 10_000).contains(&words[3].parse().unwrap()));
}

#[test]
fn sockets_are_handed_in_from_descriptor_3_on() {
    let sockets = ["127.0.0.1:0"; 3].map(|address| std::net::TcpListener::bind(address).unwrap());
    let inodes = sockets.each_ref().map(|socket| crate::sys::tcp::inode(socket).unwrap());
    let (_reader, writer) = io::pipe().unwrap();
    let mut launch = shell("");
    launch.listen = sockets.into_iter().map(Into::into).collect();
    // Wherever the rest lies, it is not overwritten.
    launch.keep = vec![nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(50)).map(owned).unwrap()];
    let kept = launch.keep[0].as_raw_fd();
    launch.argv[2] =
        "echo $LISTEN_FDS $LISTEN_PID $$; readlink /proc/$$/fd/3 /proc/$$/fd/4 /proc/$$/fd/5; ls -v /proc/$$/fd".into();
    let (_, output) = run(launch);
    let mut lines = output.lines();
    let words: Vec<&str> = lines.next().unwrap().split(' ').collect();
    assert_eq!(words[0], "3");
    assert_eq!(words[1], words[2], "LISTEN_PID is the number of the program itself");
    for inode in inodes {
        assert_eq!(lines.next().unwrap(), format!("socket:[{inode}]"));
    }
    assert_eq!(lines.collect::<Vec<_>>(), ["0", "1", "2", "3", "4", "5", &kept.to_string()]);
}

#[test]
fn nothing_is_said_of_sockets_where_there_are_none() {
    assert_eq!(run(shell("echo ${LISTEN_FDS-none} ${LISTEN_PID-none}")).1, "none none\n");
}

#[test]
fn a_descriptor_that_lies_where_a_socket_is_to_be_is_refused() {
    let mut launch = shell("true");
    launch.keep = vec![fs::File::open("/dev/null").unwrap().into()];
    let lowest = launch.keep[0].as_raw_fd();
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    launch.listen = (2..=lowest).map(|_| socket.try_clone().unwrap().into()).collect();
    let is_told = refused(&launch).to_string();
    assert!(is_told.contains("a socket is to be") || is_told.contains("more than 64"), "{is_told}");
}

#[test]
fn through_the_bay_a_child_gets_what_it_needs_and_nothing_else_however_much_is_open() {
    let Some(mut bay) = Bay::new().unwrap() else { return };
    let _many: Vec<fs::File> = (0..300).map(|_| fs::File::open("/dev/null").unwrap()).collect();
    for word in ["one", "two"] {
        let folder = tempfile::tempdir().unwrap();
        let births = folder.path().join("births");
        let (mut launch, mut output) = with_output(shell(&format!("ls /proc/self/fd; echo {word}; exit 3")));
        let file = fs::OpenOptions::new().append(true).create(true).open(&births).unwrap();
        launch.birth =
            Some(Birth { file: file.into(), line: b"####### ####### #######\n".to_vec(), undone: Vec::new() });
        let process = spawn_through_bay(&launch, None, &mut bay).unwrap();
        drop(launch);
        let mut text = String::new();
        // Its end comes only when nobody else holds the pipe: nothing stays in the bay.
        output.read_to_string(&mut text).unwrap();
        assert_eq!(end_of(&process), ExitStatus::Code(3));
        let open: Vec<&str> = text.split_whitespace().collect();
        // 3 is the folder that `ls` itself reads.
        assert_eq!(open, ["0", "1", "2", "3", word]);
        assert!(fs::read_to_string(&births).unwrap().contains(&process.display_pid().to_string()));
    }
    let mut wrong = shell("true");
    wrong.cwd = "/nowhere/at/all".into();
    let error = spawn_through_bay(&wrong, None, &mut bay).expect_err("it must not start");
    assert_eq!(error.step, Step::Chdir);
}

#[test]
fn sockets_are_handed_in_through_the_bay_too() {
    let Some(mut bay) = Bay::new().unwrap() else { return };
    for count in [1, 8, 30] {
        let sockets: Vec<_> = (0..count).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let inodes: Vec<u64> = sockets.iter().map(|socket| crate::sys::tcp::inode(socket).unwrap()).collect();
        let (mut launch, mut output) = with_output(shell(
            "for fd in /proc/$$/fd/*; do readlink $fd; done; [ $LISTEN_PID = $$ ] && echo $LISTEN_FDS",
        ));
        launch.listen = sockets.into_iter().map(Into::into).collect();
        let process = spawn_through_bay(&launch, None, &mut bay).unwrap();
        drop(launch);
        let mut text = String::new();
        output.read_to_string(&mut text).unwrap();
        end_of(&process);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.last(), Some(&count.to_string().as_str()), "{text}");
        let is_there = |inode: &u64| lines.contains(&format!("socket:[{inode}]").as_str());
        assert_eq!(inodes.iter().filter(|inode| is_there(inode)).count(), count);
        assert_eq!(lines.iter().filter(|line| line.starts_with("socket:")).count(), count, "nothing else: {text}");
    }
}

fn owned(number: std::os::fd::RawFd) -> OwnedFd {
    // SAFETY: the kernel has just made this descriptor for us, nobody else knows it.
    unsafe { FromRawFd::from_raw_fd(number) }
}
