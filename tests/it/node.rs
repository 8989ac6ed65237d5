//! Programs of Node: the channel, the agent, and what was written for PM2.

use serde_json::{Value, json};

use crate::harness::{LIMIT, Rsx, Watched, free_port, get, requires};

/// A home, where Node is there.
fn home() -> Option<Rsx> {
    requires("node").then(Rsx::new)
}

/// Counts its own messages, and says how it was asked to end.
const SPEAKS: &str = "
process.on('message', (message) => { console.log('heard', message); process.exit(0); });
process.on('SIGINT', () => { console.log('interrupted'); process.exit(0); });
process.send({ type: 'axm:monitor', data: { Requests: { value: '12.5', unit: 'req/min', type: 'http' }, Users: { value: 3 } } });
process.send('ready');
setInterval(() => {}, 1000);
";

#[test]
fn a_program_is_ready_when_it_sends_so_and_its_metrics_are_kept() {
    let Some(rsx) = home() else { return };
    rsx.write("app.js", SPEAKS);
    rsx.ok("start app.js --wait-ready --kill-timeout 2s");
    assert_eq!(rsx.events().wait_for("app", "online").get("by"), "notified");
    rsx.ok("describe app").prints(&["Requests: 12.5 req/min", "Users: 3", "when it says so"]);
    let listed = rsx.ok("jlist").json();
    assert_eq!(listed[0]["pm2_env"]["axm_monitor"]["Users"]["value"], 3);
    assert_eq!(listed[0]["pm2_env"]["wait_ready"], true);
    // They survive the daemon, as the channel does: the program would be told of its end.
    rsx.daemon().0.kill("KILL");
    rsx.ok("restart app");
    rsx.wait_for_text(&rsx.log("app-out.log"), |text| text == "interrupted\n");
    rsx.ok("restart app --shutdown-with-message");
    rsx.daemon().0.kill("KILL");
    rsx.ok("stop app");
    rsx.wait_for_text(&rsx.log("app-out.log"), |text| text == "interrupted\nheard shutdown\nheard shutdown\n");
    let mut events = rsx.events();
    events.wait("the message", |event| event.is("stopping") && event.get("signal") == "message");
}

#[test]
fn under_wait_ready_listening_and_living_are_not_enough_and_nothing_is_killed() {
    let Some(rsx) = home() else { return };
    let port = free_port();
    rsx.write(
        "app.js",
        format!(
            "require('http').createServer().listen({port}, () => console.log('up'));\n\
             process.on('SIGUSR2', () => process.send('ready'));"
        ),
    );
    rsx.fails(5, "start app.js --wait-ready --listen-timeout 500 --min-uptime 50 --kill-timeout 2s")
        .says(&["still launching"]);
    let pid = rsx.pid("app");
    assert_eq!(rsx.state("app"), "launching");
    // It is what the successor waits for, too.
    rsx.daemon().0.kill("KILL");
    rsx.ok("signal SIGUSR2 app");
    rsx.events().wait_for("app", "online");
    assert_eq!(rsx.pid("app"), pid);
}

#[test]
fn without_a_channel_a_message_is_a_signal() {
    let Some(rsx) = home() else { return };
    rsx.write(
        "app.js",
        "process.disconnect(); process.on('SIGTERM', () => process.exit(7)); setInterval(() => {}, 1e3)",
    );
    rsx.ok("start app.js --shutdown-with-message --min-uptime 300 --kill-timeout 5s");
    rsx.ok("start 'sleep 1000' --name other --shutdown-with-message --min-uptime 50 --kill-timeout 5s");
    rsx.ok("stop all");
    let mut events = rsx.events();
    assert_eq!(events.wait_for("app", "exited").get("status")["code"], 7);
    rsx.ok("describe other").prints(&["SIGTERM, stopped by request"]);
}

#[test]
fn what_listens_for_sigint_alone_gets_that_and_everything_else_sigterm() {
    let Some(rsx) = home() else { return };
    let listens = |signals: &[&str]| {
        let each =
            signals.iter().map(|signal| format!("process.on('{signal}', () => process.exit({}));", signal.len()));
        format!(
            "{} setTimeout(() => process.send('ready'), 100); setInterval(() => {{}}, 1000)",
            each.collect::<String>()
        )
    };
    rsx.write("int.js", listens(&["SIGINT"]));
    rsx.write("both.js", listens(&["SIGINT", "SIGTERM"]));
    rsx.write("none.js", listens(&[]));
    for (script, more) in
        [("int.js", ""), ("both.js", ""), ("none.js", ""), ("int.js", "--name told --stop-signal TERM")]
    {
        rsx.ok(&format!("start {script} --wait-ready --kill-timeout 5s {more}"));
    }
    // The successor knows, too.
    rsx.daemon().0.kill("KILL");
    rsx.ok("stop all");
    let mut events = rsx.events();
    let mut signals = Vec::new();
    for _ in 0..4 {
        let event = events.wait("a stop", |event| event.is("stopping"));
        signals
            .push((event.json["app"].as_str().unwrap().to_owned(), event.get("signal").as_str().unwrap().to_owned()));
    }
    signals.sort();
    let expected = [("both", "SIGTERM"), ("int", "SIGINT"), ("none", "SIGTERM"), ("told", "SIGTERM")];
    assert_eq!(signals, expected.map(|(app, signal)| (app.to_owned(), signal.to_owned())));
}

#[test]
fn nothing_is_lost_when_a_program_exits() {
    let Some(rsx) = home() else { return };
    rsx.write(
        "app.js",
        "for (let i = 0; i < 100000; i++) console.log('line', i);\nconsole.error('bye');\nprocess.exit(0);",
    );
    rsx.ok("start app.js --no-autorestart --min-uptime 50 --no-wait");
    rsx.events().wait_for("app", "exited");
    let text = rsx.wait_for_text(&rsx.log("app-out.log"), |text| text.ends_with("line 99999\n"));
    assert_eq!(text.lines().count(), 100_000);
    rsx.wait_for_text(&rsx.log("app-error.log"), |text| text == "bye\n");
}

#[test]
fn the_event_loop_and_the_heap_are_shown() {
    let Some(rsx) = home() else { return };
    rsx.write("app.js", "setInterval(() => { const until = Date.now() + 30; while (Date.now() < until); }, 100)");
    rsx.ok("start app.js --min-uptime 50 --kill-timeout 2s");
    let until = std::time::Instant::now() + LIMIT;
    let node = loop {
        let node = rsx.slot("app", 0)["said"]["node"].clone();
        if node["heap_limit"].as_u64().is_some_and(|limit| limit > 0) && node["busy"].as_f64() > Some(0.1) {
            break node;
        }
        assert!(std::time::Instant::now() < until, "{node}");
    };
    assert!(
        node["version"].as_str().unwrap().starts_with('v') && node["heap_used"].as_u64() > Some(1_000_000),
        "{node}"
    );
    rsx.ok("describe app").prints(&["event loop", "% busy", "heap"]);
}

/// What the program sees of what rsx has put into its environment.
const SEES: &str = "
const { execFileSync } = require('child_process');
const { Worker } = require('worker_threads');
const seen = () => Object.keys(process.env).filter((name) => /^(RSX_AGENT|NODE_CHANNEL|NODE_UNIQUE)/.test(name));
const child = `console.log(JSON.stringify([process.env.NODE_OPTIONS, typeof process.send, require('cluster').isPrimary]))`;
const options = process.env.NODE_OPTIONS;
const inherited = JSON.parse(execFileSync(process.execPath, ['-e', child]).toString());
const worker = new Worker('require(\"worker_threads\").parentPort.postMessage(require(\"cluster\").isPrimary)', { eval: true });
worker.on('message', (thread) => {
  require('fs').writeFileSync('seen', JSON.stringify({ seen: seen(), options, inherited, thread }) + '\\n');
  process.send('ready');
});
setInterval(() => {}, 1000);
";

#[test]
fn programs_children_and_threads_see_their_own_options_alone() {
    let Some(mut rsx) = home() else { return };
    rsx.set_env("NODE_OPTIONS", "--max-old-space-size=99");
    rsx.write("app.js", SEES);
    for more in ["", "-i 1 --cluster"] {
        rsx.ok(&format!("start app.js --wait-ready --kill-timeout 2s {more}"));
        let seen: Value = serde_json::from_str(&rsx.wait_for_word("seen")).unwrap();
        let own = "--max-old-space-size=99";
        assert_eq!(seen, json!({ "seen": [], "options": own, "inherited": [own, "undefined", true], "thread": true }));
        rsx.ok("delete app");
    }
}

#[test]
fn the_agent_can_be_switched_off_and_stays_away_where_it_could_not_be_read() {
    let Some(rsx) = home() else { return };
    let app = "console.log(process.env.NODE_OPTIONS, process.env.RSX_AGENT, typeof process.send); setInterval(() => {}, 1000)";
    rsx.write("app.js", app);
    rsx.ecosystem(
        "[[apps]]\nname = \"off\"\nscript = \"app.js\"\nagent = false\n\
         [[apps]]\nname = \"sealed\"\nscript = \"app.js\"\n\
         node_args = \"--experimental-permission --no-warnings --allow-fs-read=*\"\n",
    );
    rsx.ok("start ecosystem.toml");
    for log in ["off-out.log", "sealed-out.log"] {
        rsx.wait_for_text(&rsx.log(log), |text| text == "undefined undefined function\n");
    }
    assert_eq!(rsx.slot("off", 0)["said"]["node"], Value::Null);
}

/// Forks a cluster of its own where nobody has done so.
const CLUSTERED: &str = "
import cluster, { isPrimary } from 'node:cluster';
import * as all from 'node:cluster';
import http from 'node:http';
if (isPrimary) {
  for (let i = 0; i < 3; i++) cluster.fork();
} else {
  http.createServer((_, answer) => answer.end(`pid ${process.pid} worker ${all.worker && all.worker.id} ${cluster.worker.id}`))
    .listen(+process.env.SERVE, '127.0.0.1');
}
";

#[test]
fn in_cluster_mode_a_program_that_forks_a_cluster_does_not() {
    let Some(mut rsx) = home() else { return };
    let port = free_port();
    rsx.set_env("SERVE", port.to_string());
    rsx.write("app.mjs", CLUSTERED);
    rsx.ok("start app.mjs -i 2 --kill-timeout 2s").prints(&[&format!("app shares 127.0.0.1:{port}")]);
    assert_eq!(rsx.processes().len(), 2, "{:?}", rsx.processes());
    let mut ids: Vec<String> =
        (0..40).map(|_| get(port, "/").split_once("worker ").unwrap().1.trim().to_owned()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids, ["1 1", "2 2"]);
    rsx.ok("delete app");
    // In fork mode it is what it is.
    rsx.ok("start app.mjs --fork --kill-timeout 2s");
    assert!(get(port, "/").contains("worker "));
    assert_eq!(rsx.processes().len(), 4, "{:?}", rsx.processes());
}

#[test]
fn behind_a_launcher_the_agent_is_the_channel() {
    let Some(rsx) = home() else { return };
    rsx.write("app.js", SPEAKS);
    // Keeps its channel to itself, as npm does, and starts the real program.
    rsx.script(
        "npm",
        "#!/usr/bin/env node\nconst child = require('child_process').spawn('sh', ['-c', 'node app.js'], { stdio: 'inherit' });\n\
         child.on('exit', (code) => process.exit(code));\n",
    );
    rsx.ok("start ./npm --name app --interpreter none --wait-ready --shutdown-with-message --kill-timeout 5s");
    rsx.ok("describe app").prints(&["Requests: 12.5 req/min", "node.js"]);
    let pids: Vec<Watched> = rsx.processes().iter().map(|found| Watched::new(found.pid)).collect();
    assert!(pids.len() >= 2);
    rsx.daemon().0.kill("KILL");
    rsx.ok("ls");
    // It connects again within a moment.
    let until = std::time::Instant::now() + LIMIT;
    while rsx.slot("app", 0)["said"]["node"]["version"].is_null() {
        assert!(std::time::Instant::now() < until);
    }
    rsx.ok("stop app");
    rsx.wait_for_text(&rsx.log("app-out.log"), |text| text == "heard shutdown\n");
    pids.iter().for_each(Watched::ends);
}
