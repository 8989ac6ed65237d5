//! `docs/FROM-PM2.md` names everything that PM2 has; its table of keys is made from the table that the program reads.
//!
//! `RSX_BLESS=1 cargo test --test from_pm2` writes the table anew.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test reads the page and may fail")]

use std::fs;
use std::process::Command;

use rsx::config::keys::{self, Availability, GROUPS, KeySpec};

/// Cargo runs tests in the package's folder.
const PAGE: &str = "docs/FROM-PM2.md";
const BEGIN: &str = "<!-- keys: begin (generated) -->\n";
const END: &str = "<!-- keys: end -->";

/// Every key of PM2's ecosystem file, with its other names.
const KEYS: &str = "script exec cmd command name name_prefix namespace cwd args interpreter exec_interpreter \
    interpreter_args node_args instances exec_mode execute_command instance_var increment_var port env filter_env \
    append_env_to_name autostart autorestart stop_exit_codes max_restarts min_uptime restart_delay \
    exp_backoff_restart_delay max_memory_restart cron_restart cron wait_ready listen_timeout kill_timeout \
    kill_retry_time shutdown_with_message treekill watch ignore_watch watch_delay watch_options out_file out output \
    out_log error_file error err err_file err_log log_file log merge_logs combine_logs disable_logs log_type \
    log_date_format time pid_file pid source_map_support disable_source_map_support pmx automation trace disable_trace \
    v8 event_loop_inspector deep_monitoring io vizion uid user gid username force windows_hide km_link post_update \
    install_url write";

/// What else is worth a word, by rsx's name of the key.
const REMARKS: &[(&str, &str)] = &[
    ("cwd", "PM2: where the verb was typed"),
    ("filter_env", "PM2 ignores `true`"),
    ("instances", "in PM2's way it means cluster mode, unless `exec_mode` says `fork`"),
    ("kill_timeout", "PM2: 1.6 s"),
    ("listen_timeout", "PM2: 3 s, and then the app counts as ready"),
    ("max_restarts", "PM2 counts within `min_uptime` × `max_restarts` only"),
    ("merge_logs", "without it each of several instances has files of its own, as in PM2"),
    ("windows_hide", "written `windowsHide`"),
];

const VERBS: &str = "start stop restart reload gracefulReload startOrRestart startOrReload startOrGracefulReload delete \
    del scale reset list ls l ps status jlist prettylist describe desc info show env id pid monit dash dashboard imonit \
    logs log flush reloadLogs logrotate save dump cleardump resurrect startup unstartup kill update updatePM2 deepUpdate \
    ping sendSignal send attach trigger inspect profile:cpu profile:mem init ecosystem create examples serve expose set \
    get multiset unset conf config install uninstall module:install module:update module:generate package publish \
    install-otel uninstall-otel deploy pull forward backward link unlink monitor unmonitor open plus login logout slist \
    sysinfos report web completion autoinstall";

const FLAGS: &str = "--name --namespace --instances --cwd --interpreter --interpreter-args --node-args --output --error \
    --merge-logs --disable-logs --log --time --log-date-format --log-type --max-memory-restart --restart-delay \
    --exp-backoff-restart-delay --max-restarts --min-uptime --no-autorestart --stop-exit-codes --cron --kill-timeout \
    --listen-timeout --wait-ready --shutdown-with-message --no-treekill --watch --ignore-watch --watch-delay --ext --env \
    --only --update-env --filter-env --force --parallel --no-autostart --no-daemon --attach --pid --uid --gid --silent \
    --mini-list --sort --no-pmx --no-automation --trace --disable-trace --deep-monitoring --v8 --event-loop-inspector \
    --no-vizion --source-map-support --disable-source-map-support --container --dist --image-name --node-version --write \
    --hp --service-name --execute-command --fresh --wait-ip -i -n -x -f -a -p -o -e -l -w -c -k -u -s -m";

/// Flags that take a value, and one that they take.
const VALUES: &[(&str, &str)] = &[
    ("--name -n --namespace --interpreter --interpreter-args --node-args --log-date-format --log-type", "x"),
    ("--output -o --error -e --log -l --pid -p --cwd --hp --service-name --image-name --node-version", "/tmp/x"),
    ("--instances -i --max-restarts --stop-exit-codes --parallel", "2"),
    ("--restart-delay --exp-backoff-restart-delay --min-uptime --kill-timeout -k --listen-timeout --watch-delay", "2"),
    ("--max-memory-restart", "300M"),
    ("--cron -c --ignore-watch --ext --env --only --filter-env --uid --gid -u --sort", "x"),
];

#[test]
fn the_table_of_keys_is_the_one_that_the_program_reads() {
    let page = fs::read_to_string(PAGE).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the table has a beginning");
    let (table, after) = rest.split_once(END).expect("the table has an end");
    if std::env::var_os("RSX_BLESS").is_some() {
        fs::write(PAGE, [before, BEGIN, &generated(), END, after].concat()).unwrap();
    } else {
        assert!(table == generated(), "{PAGE} is out of date: RSX_BLESS=1 cargo test --test from_pm2");
    }
}

#[test]
fn every_key_of_pm2_is_known_and_mentioned() {
    let table = generated();
    for name in KEYS.split_whitespace() {
        assert!(keys::find(name).is_some(), "{name}");
        assert!(table.contains(&format!("`{name}`")), "{name}");
    }
    for (name, _) in REMARKS {
        assert!(keys::find(name).is_some_and(|key| key.name == *name), "{name}");
    }
}

#[test]
fn every_verb_and_flag_of_pm2_is_mentioned() {
    let page = fs::read_to_string(PAGE).unwrap();
    for word in VERBS.split_whitespace().chain(FLAGS.split_whitespace()) {
        assert!(page.contains(&format!("`{word}`")), "{word}");
    }
}

#[test]
fn every_verb_of_pm2_works_or_says_what_takes_its_place() {
    for verb in VERBS.split_whitespace() {
        let done = Command::new(env!("CARGO_BIN_EXE_rsx")).args([verb, "--help"]).output().unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        let is_known = ["is not in this version yet", "rsx has no verb"].iter().any(|words| said.contains(words));
        assert!(done.status.success() || (done.status.code() == Some(2) && is_known), "{verb}: {said}");
    }
}

#[test]
fn every_flag_of_pm2_is_taken_or_noticed_or_refused_by_its_name() {
    let home = tempfile::tempdir().unwrap();
    for flag in FLAGS.split_whitespace() {
        let value =
            VALUES.iter().find(|(flags, _)| flags.split(' ').any(|known| known == flag)).map(|(_, value)| *value);
        let line: Vec<&str> = match flag {
            "--sort" => vec!["ls", flag, "name"],
            // What is named does not exist: nothing is started whatever the flags mean.
            _ => ["start", "./nowhere.js", flag].into_iter().chain(value).collect(),
        };
        let mut command = Command::new(env!("CARGO_BIN_EXE_rsx"));
        command.args(&line).env("RSX_HOME", home.path().join("h")).current_dir(home.path());
        let done = command.output().unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        assert!(
            !["unexpected argument", "invalid value", "required"].iter().any(|words| said.contains(words)),
            "{flag}: {said}"
        );
        let is_known = ["no effect", "is not in this version yet", "nowhere.js", "choose from a config file"];
        assert!(
            flag == "-s"
                || flag == "--silent"
                || done.status.success()
                || is_known.iter().any(|words| said.contains(words)),
            "{flag}: {said}"
        );
    }
}

fn generated() -> String {
    let is_pm2s = |name: &&str| KEYS.split_whitespace().any(|known| known == *name);
    let mut out = String::from("\n| PM2 | rsx | |\n|---|---|---|\n");
    let mut new = Vec::new();
    for key in GROUPS.iter().flat_map(|group| group.keys) {
        let names: Vec<String> = std::iter::once(key.name)
            .chain(key.aliases.iter().copied())
            .filter(is_pm2s)
            .map(|name| format!("`{name}`"))
            .collect();
        if names.is_empty() {
            new.push(format!("`{}`", key.name));
            continue;
        }
        let (ours, what) = meaning(key);
        out.push_str(&format!("| {} | {ours} | {what} |\n", names.join(" ")));
    }
    out.push_str(&format!("\nNew in rsx: {}.\n", new.join(", ")));
    out
}

/// The key of rsx, and what is to be said about it.
fn meaning(key: &KeySpec) -> (String, String) {
    let own = format!("`{}`", key.name);
    let doc = key.doc.trim_end_matches('.');
    let remark = REMARKS.iter().find(|(name, _)| *name == key.name).map(|(_, remark)| format!(" ({remark})"));
    let remark = remark.unwrap_or_default();
    match key.availability {
        Availability::Now => (own, format!("{doc}{remark}")),
        Availability::Later { hint: "", .. } => (own, format!("**later.** {doc}{remark}")),
        Availability::Later { hint, .. } => (own, format!("**later**; until then {hint}. {doc}{remark}")),
        Availability::NoCounterpart(instead) => ("–".to_owned(), format!("{instead}{remark}")),
    }
}
