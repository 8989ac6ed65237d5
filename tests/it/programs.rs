//! What can be started: scripts, programs, command lines, JSON from stdin.

use crate::harness::{LIMIT, Rsx, command_of, free_port, get, requires};

/// Flags that make a silent program ready soon.
const SOON: &str = "--min-uptime 100 --kill-timeout 2s";

#[test]
fn a_script_is_started_by_its_path_and_named_after_it() {
    let rsx = Rsx::new();
    let path = rsx.script("jobs/tick.sh", "#!/bin/sh\nexec sleep 1000\n");
    rsx.ok(&format!("start {} {SOON}", path.display()));
    assert_eq!(rsx.state("tick"), "online");
    // The same script again is the same app.
    rsx.ok(&format!("start jobs/tick.sh {SOON}")).prints(&["= tick: unchanged"]);
}

#[test]
fn a_program_without_extension_runs_as_it_is() {
    let rsx = Rsx::new();
    rsx.script("server", "#!/bin/sh\nexec sleep 1000\n");
    rsx.ok(&format!("start ./server {SOON}"));
    assert_eq!(command_of(rsx.pid("server")), ["sleep", "1000"]);
}

#[test]
fn a_command_line_is_run_by_a_shell_that_makes_place() {
    if !requires("python3") {
        return;
    }
    let (rsx, port) = (Rsx::new(), free_port());
    rsx.write("hello.txt", "hello");
    rsx.ok(&format!("start 'python3 -m http.server {port}' --name web --kill-timeout 2s"));
    assert!(get(port, "/hello.txt").ends_with("hello"));
    assert_eq!(command_of(rsx.pid("web"))[1..], ["-m", "http.server", &port.to_string()]);
}

#[test]
fn arguments_behind_the_dashes_reach_the_program_as_they_are() {
    let rsx = Rsx::new();
    rsx.script("app.sh", "printf '<%s>' \"$@\"; exec sleep 1000\n");
    rsx.ok(&format!("start app.sh {SOON} -- --port 1 'two words' -x '$HOME' ''"));
    let expected = "<--port><1><two words><-x><$HOME><>";
    rsx.wait_for_text(&rsx.log("app-out.log"), |text| text == expected);
}

#[test]
fn interpreters_follow_from_the_extension() {
    let rsx = Rsx::new();
    rsx.write("a.sh", "while read -r line; do :; done < <(sleep 1000)\n");
    rsx.ok(&format!("start a.sh {SOON}"));
    assert_eq!(command_of(rsx.pid("a"))[0], "bash");
    if requires("python3") {
        rsx.write("b.py", "import time\ntime.sleep(1000)\n");
        rsx.ok(&format!("start b.py {SOON}"));
        assert_eq!(command_of(rsx.pid("b"))[0], "python3");
    }
    if requires("node") {
        rsx.write("c.js", "setInterval(() => {}, 1000)\n");
        rsx.ok(&format!("start c.js {SOON} --node-args=--max-old-space-size=64"));
        assert_eq!(command_of(rsx.pid("c"))[..2], ["node", "--max-old-space-size=64"]);
    }
    rsx.write("d.txt", "exec sleep 1000\n");
    rsx.ok(&format!("start d.txt --interpreter sh {SOON}"));
    assert_eq!(command_of(rsx.pid("d"))[0], "sleep");
}

#[test]
fn an_express_like_node_server_is_ready_when_it_listens() {
    if !requires("node") {
        return;
    }
    let (rsx, port) = (Rsx::new(), free_port());
    rsx.write("app.js", "require('http').createServer((q, s) => s.end('from node')).listen(process.env.PORT)\n");
    rsx.ecosystem(&format!("[[apps]]\nscript = \"app.js\"\nport = {port}\nmin_uptime = \"60s\"\n"));
    rsx.ok("start ecosystem.toml");
    assert!(get(port, "/").contains("from node"));
    let mut events = rsx.events();
    assert_eq!(events.wait_for("app", "online").get("by"), "listening");
}

#[test]
fn a_stopped_app_is_woken_by_its_name() {
    let rsx = Rsx::new();
    rsx.ok(&format!("start 'sleep 1000' --name a {SOON}"));
    rsx.ok("stop a").says(&["stopped a"]);
    assert_eq!(rsx.state("a"), "stopped");
    rsx.ok("start a").says(&["started a"]);
    let pid = rsx.pid("a");
    // What runs is left alone.
    rsx.ok("start a");
    assert_eq!(rsx.pid("a"), pid);
}

#[test]
fn json_is_started_from_stdin() {
    let rsx = Rsx::new();
    let json = br#"{"apps":[{"name":"j","script":"sleep 1000","min_uptime":100,"kill_timeout":"2s"}]}"#;
    let done = rsx.run_with("start -", json, LIMIT);
    assert_eq!(done.code, 0, "{}", done.err);
    assert_eq!(rsx.state("j"), "online");
    let done = rsx.run_with("start -", b"{\"apps\":[{", LIMIT);
    assert_eq!(done.code, 6, "{}", done.err);
}

#[test]
fn yaml_is_started_as_toml_is() {
    let rsx = Rsx::new();
    rsx.write("eco.yaml", "apps:\n  - name: y\n    script: sleep 1000\n    min_uptime: 100\n");
    rsx.ok("start eco.yaml");
    assert_eq!(rsx.state("y"), "online");
}

#[test]
fn the_file_that_init_writes_is_a_valid_one() {
    let rsx = Rsx::new();
    for kind in ["", "simple"] {
        rsx.ok(&format!("init {kind}"));
        rsx.ok("check");
        rsx.fails(1, "init").says(&["is there already"]);
        std::fs::remove_file(rsx.scratch().join("ecosystem.toml")).unwrap();
    }
}
