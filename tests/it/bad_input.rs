//! What bad input gets: a clear error, and nothing else disturbed.

use std::process::Command;

use serde_json::json;

use crate::harness::{BINARY, Done, LIMIT, Rsx, free_port, holds, requires, skip};

/// A home in which an app runs that must not notice anything.
struct Bystander {
    rsx: Rsx,
    pid: u32,
}

impl Bystander {
    fn new() -> Bystander {
        let rsx = Rsx::new();
        rsx.ok("start 'sleep 1000' --name good --min-uptime 100");
        let pid = rsx.pid("good");
        Bystander { rsx, pid }
    }

    /// Starts a file with these apps, which has to fail with this code and say these words.
    #[track_caller]
    fn refuses(&self, code: i32, apps: &str, words: &[&str]) -> Done {
        // An app that fails must not seem to live long enough, however slow the machine is.
        self.rsx.write("ecosystem.toml", format!("[defaults]\nmin_uptime = \"10s\"\n{apps}"));
        let done = self.rsx.fails(code, "start ecosystem.toml");
        done.says(words);
        self.is_undisturbed();
        done
    }

    #[track_caller]
    fn is_undisturbed(&self) {
        let slot = self.rsx.slot("good", 0);
        assert_eq!((&slot["pid"], &slot["restarts"]), (&json!(self.pid), &json!(0)));
    }
}

#[test]
fn a_script_that_is_not_there_is_named() {
    let one = Bystander::new();
    one.refuses(5, "[[apps]]\nname = \"a\"\nscript = \"./gone.js\"\n", &["`a:0`", "gone.js", "No such file"]);
    one.rsx.fails(4, "start ./gone.js").says(&["there is no file", "gone.js"]);
    one.rsx.fails(4, "start gone").says(&["there is no script or program `gone`"]);
    one.rsx.fails(4, "start gone.toml").says(&["gone.toml"]);
    one.is_undisturbed();
}

#[test]
fn a_script_that_may_not_be_executed_is_named() {
    let one = Bystander::new();
    one.rsx.write("server", "#!/bin/sh\nexec sleep 1000\n");
    one.refuses(
        5,
        "[[apps]]\nname = \"a\"\nscript = \"./server\"\n",
        &["`a:0`", "server", "not executable", "chmod +x"],
    );
    one.rsx.script("garbage", "\u{1}\u{2}\u{3}");
    one.refuses(5, "[[apps]]\nname = \"b\"\nscript = \"./garbage\"\n", &["`b:0`", "garbage", "exec", "format"]);
    one.rsx.script("broken", "#!/no/such/interpreter\n");
    one.refuses(5, "[[apps]]\nname = \"c\"\nscript = \"./broken\"\n", &["`c:0`", "broken", "exec"]);
    one.refuses(5, "[[apps]]\nname = \"d\"\nscript = \"./\"\n", &["`d:0`", "folder"]);
}

#[test]
fn an_interpreter_that_is_not_there_is_named() {
    let one = Bystander::new();
    one.rsx.write("a.js", "");
    let app = "[[apps]]\nname = \"a\"\nscript = \"a.js\"\ninterpreter = \"cobol9\"\n";
    one.refuses(5, app, &["`a:0`", "interpreter `cobol9`", "PATH"]);
    let app = "[[apps]]\nname = \"b\"\nscript = \"a.js\"\ninterpreter = \"/no/such/node\"\n";
    one.refuses(5, app, &["`b:0`", "/no/such/node"]);
}

#[test]
fn a_working_directory_that_is_not_there_is_named() {
    let one = Bystander::new();
    let app = "[[apps]]\nname = \"a\"\nscript = \"sleep 1000\"\ncwd = \"nowhere\"\n";
    one.refuses(5, app, &["`a:0`", "chdir", "nowhere: No such file or directory"]);
    one.rsx.write("file", "");
    let app = "[[apps]]\nname = \"b\"\nscript = \"sleep 1000\"\ncwd = \"file\"\n";
    one.refuses(5, app, &["`b:0`", "chdir", "file"]);
}

#[test]
fn a_port_in_use_is_shown_by_the_words_of_the_program() {
    let (one, port) = (Bystander::new(), free_port());
    let _held = holds(port);
    let app = format!("[[apps]]\nname = \"a\"\nscript = \"rsx:serve\"\nport = {port}\n");
    one.refuses(5, &app, &["`a:0`", "exit code 1", &format!("port {port} is in use")]);
}

#[test]
fn a_script_that_exits_at_once_is_told_with_its_code() {
    let one = Bystander::new();
    one.refuses(5, "[[apps]]\nname = \"a\"\nscript = \"echo why >&2; exit 4\"\n", &["`a:0`", "exit code 4", "| why"]);
    one.refuses(5, "[[apps]]\nname = \"b\"\nscript = \"kill -SEGV $$\"\n", &["`b:0`", "SIGSEGV"]);
    one.refuses(5, "[[apps]]\nname = \"c\"\nscript = \"true && true\"\n", &["`c:0`", "exit code 0"]);
}

#[test]
fn names_that_cannot_be_names_are_refused() {
    let one = Bystander::new();
    let long = "x".repeat(10_000);
    for (name, word) in [
        (long.as_str(), "200 bytes"),
        ("a/b", "`/`"),
        ("../../etc/passwd", "`/`"),
        ("a\\u0000b", "NUL"),
        ("a\\nb", "control"),
        ("all", "means every app"),
        ("", "empty"),
        ("-x", "`-`"),
    ] {
        let done =
            one.refuses(6, &format!("[[apps]]\nname = \"{name}\"\nscript = \"sleep 1\"\n"), &[word, "ecosystem.toml"]);
        assert!(done.err.len() < 2_000, "{} bytes of error", done.err.len());
    }
    one.rsx.fails(2, &format!("start 'sleep 1' --name {long}")).says(&["200 bytes"]);
    one.rsx.fails(2, "start 'sleep 1' --name a/b").says(&["`/`"]);
    let done = one.rsx.fails(4, &format!("stop {long}"));
    assert!(done.err.len() < 12_000);
    assert_eq!(one.rsx.apps().len(), 1);
}

#[test]
fn a_name_declared_twice_is_cited_twice() {
    let one = Bystander::new();
    let apps = "[[apps]]\nname = \"a\"\nscript = \"sleep 1\"\n[[apps]]\nname = \"a\"\nscript = \"sleep 2\"\n";
    one.refuses(6, apps, &["`a`", "ecosystem.toml"]);
    assert_eq!(one.rsx.apps().len(), 1);
}

#[test]
fn a_nul_in_a_value_is_refused() {
    let one = Bystander::new();
    for (key, value) in [
        ("env", "{ A = \"x\\u0000y\" }"),
        ("args", "[\"x\\u0000y\"]"),
        ("cwd", "\"x\\u0000y\""),
        ("out_file", "\"x\\u0000y\""),
        ("interpreter", "\"x\\u0000y\""),
    ] {
        one.refuses(
            6,
            &format!("[[apps]]\nname = \"a\"\nscript = \"sleep 1\"\n{key} = {value}\n"),
            &["NUL", "ecosystem.toml"],
        );
    }
    one.refuses(6, "[[apps]]\nname = \"a\"\nscript = \"sleep\\u0000 1\"\n", &["NUL"]);
    assert_eq!(one.rsx.apps().len(), 1);
}

#[test]
fn files_of_random_bytes_are_refused() {
    let one = Bystander::new();
    let noise: Vec<u8> = (0..5_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
    for name in ["noise.toml", "noise.json", "noise.yaml"] {
        one.rsx.write(name, &noise);
        for verb in ["start", "check", "stop", "restart"] {
            let done = one.rsx.fails(6, &format!("{verb} {name}"));
            done.says(&[name, "not UTF-8"]);
        }
        one.rsx.write(name, "{]}: [[\u{7f} = \u{0}");
        one.rsx.fails(6, &format!("start {name}")).says(&[name]);
    }
    one.rsx.write("many.toml", "[[apps]]\nscript = \"a\"\nscriptt = 1\nmax_restarts = \"many\"\nwatch = true\n");
    // All problems at once, each with its place; a later feature is refused, never ignored.
    one.rsx.fails(6, "check many.toml").says(&["scriptt", "max_restarts", "not in this version yet", "many.toml:3"]);
    one.is_undisturbed();
}

#[test]
fn a_home_too_long_for_a_socket_is_refused_with_its_length() {
    let mut rsx = Rsx::new();
    rsx.set_env("RSX_HOME", format!("/tmp/{}", "x".repeat(120)));
    for verb in ["ls", "start 'sleep 1'", "kill", "ping"] {
        rsx.fails(1, verb).says(&["no home for rsx", "134 bytes", "107", "shorter"]);
    }
    rsx.set_env("RSX_HOME", "relative/home");
    rsx.fails(1, "ls").says(&["relative/home", "not an absolute path"]);
    rsx.remove_env("RSX_HOME");
    rsx.remove_env("HOME");
    rsx.fails(1, "ls").says(&["neither RSX_HOME nor HOME"]);
}

#[test]
fn a_home_that_cannot_be_written_is_named() {
    let mut rsx = Rsx::new();
    // Where nobody can make a folder, not even root.
    rsx.set_env("RSX_HOME", "/proc/rsx");
    rsx.fails(1, "start 'sleep 1'").says(&["cannot start the rsx daemon", "/proc/rsx", "RSX_HOME"]);
    rsx.set_env("RSX_HOME", rsx.write("file", ""));
    rsx.fails(1, "start 'sleep 1'").says(&["cannot start the rsx daemon", "s/file"]);
    if !nix::unistd::getuid().is_root() {
        return skip("only root can become another user");
    }
    if !requires("setpriv") {
        return;
    }
    // A folder that is there, and that this user cannot write to.
    let home = "/usr";
    let binary = rsx.binary_for_all();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&binary).args(["start", "sleep 1"]);
    command.env("RSX_HOME", home).env("PATH", "/usr/bin:/bin").current_dir("/");
    let done = rsx.run_command(command);
    assert_eq!(done.code, 1, "{}", done.err);
    done.says(&["cannot start the rsx daemon", "/usr/rsx.lock", "Permission denied", "RSX_HOME"]);
}

#[test]
fn without_descriptors_the_new_app_fails_and_the_old_ones_run() {
    let rsx = Rsx::new();
    // The limit of the shell that starts the daemon is the daemon's; it keeps half of these for its clients.
    let limited = |limit: u32, verb: &str| {
        let mut command = Command::new("sh");
        let home = rsx.home();
        command.args(["-c", &format!("ulimit -n {limit}; exec \"$0\" {verb}"), BINARY]).current_dir(rsx.scratch());
        command.env("RSX_HOME", home).env("XDG_RUNTIME_DIR", rsx.home().with_file_name("r"));
        rsx.run_command(command)
    };
    rsx.ecosystem("[[apps]]\nname = \"good\"\nscript = \"sleep 1000\"\n");
    let done = limited(128, "start ecosystem.toml");
    assert_eq!(done.code, 0, "{}", done.err);
    let good = rsx.pid("good");
    let many: String = (0..20).map(|n| format!("[[apps]]\nname = \"many{n}\"\nscript = \"sleep 1000\"\n")).collect();
    rsx.write("many.toml", format!("[defaults]\nmin_uptime = 100\nkill_timeout = 2000\n{many}"));
    let done = rsx.run_with("start many.toml", b"", LIMIT);
    assert_eq!(done.code, 5, "{}", done.err);
    done.says(&["Too many open files"]);
    assert_eq!(rsx.pid("good"), good);
    // With room again, all goes on.
    rsx.ok("delete many.toml");
    rsx.ok("start 'sleep 1000' --name after --min-uptime 100");
    assert_eq!((rsx.pid("good"), rsx.processes().len()), (good, 2));
}
