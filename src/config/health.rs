//! `health = { … }`: exactly one check, and what its answers mean.

use std::time::Duration;

use crate::config::check::Checked;
use crate::config::problem::{Problem, shown};
use crate::config::settings::Settings;
use crate::spec::{Check, HealthSpec, SHORTEST, path_problem};

/// An example that can be copied.
const EXAMPLE: &str = "write `health = { http = \"/health\" }`, `{ tcp = true }` or `{ exec = \"./check.sh\" }`";

/// What is declared, if it is switched on and nothing is wrong with it.
pub(super) fn read(settings: &Settings, problems: &mut Vec<Problem>) -> Option<HealthSpec> {
    let setting = settings.get("health")?;
    let written = &setting.written;
    let refuse = |problems: &mut Vec<Problem>, message: String, label: &str, help: &str| {
        problems.push(Problem::error(setting.span, message).label(label).help(help));
        None
    };
    let Some(fields) = settings.table("health") else {
        let is_on = settings.bool("health") == Some(true);
        return is_on.then(|| refuse(problems, format!("`{written}` is true"), "by what check?", EXAMPLE)).flatten();
    };
    let field = |name: &str| fields.iter().rev().find(|(field, _)| *field == name).map(|(_, value)| value);
    let text = |name: &str| match field(name) {
        Some(Checked::Text(text)) => Some(text.clone()),
        _ => None,
    };
    let time = |name: &str| match field(name) {
        Some(Checked::Time(time)) => Some(*time),
        _ => None,
    };
    let count = |name: &str| match field(name) {
        Some(Checked::Integer(count)) => u16::try_from(*count).ok(),
        _ => None,
    };
    let checks = [
        text("http").map(|path| Check::Http { path }),
        (field("tcp") == Some(&Checked::Bool(true))).then_some(Check::Tcp),
        text("exec").map(|line| Check::Exec { line }),
    ];
    let mut checks = checks.into_iter().flatten();
    let (Some(check), None) = (checks.next(), checks.next()) else {
        let several = fields.iter().filter(|(name, _)| matches!(*name, "http" | "tcp" | "exec")).count() > 1;
        let (what, label) = if several { ("several checks", "which of them?") } else { ("no check", "by what check?") };
        return refuse(problems, format!("`{written}` has {what}"), label, EXAMPLE);
    };
    if let Check::Http { path } = &check
        && let Some(why) = path_problem(path)
    {
        let help = "it is a path of this app, such as `\"/health\"`; `port` says which port";
        return refuse(problems, format!("`{written}.http` {why}: `{}`", shown(path)), "not a path", help);
    }
    if !check.is_by_port() && field("port").is_some() {
        let help = "a command knows by itself whom it asks";
        return refuse(problems, format!("`{written}.port` has no effect on `exec`"), "not used", help);
    }
    let has_one_queue = settings.text("balance") == Some("shared");
    if check.is_by_port() && has_one_queue {
        let message = format!("`{written}` cannot ask one instance by a port where all have one queue");
        let help = "use `exec`, or another `balance` than `shared`";
        return refuse(problems, message, "whoever accepts first would answer", help);
    }
    let listen_timeout = settings.time("listen_timeout").unwrap_or(Duration::from_secs(60));
    let usual = HealthSpec::new(check, time("start_period").unwrap_or(listen_timeout));
    let health = HealthSpec {
        port: count("port"),
        interval: time("interval").unwrap_or(usual.interval),
        timeout: time("timeout").unwrap_or(usual.timeout),
        fail: count("fail").unwrap_or(usual.fail),
        pass: count("pass").unwrap_or(usual.pass),
        ..usual
    };
    if health.interval < SHORTEST {
        let message = format!("`{written}.interval` is shorter than {} ms", SHORTEST.as_millis());
        return refuse(problems, message, "too often", "the usual interval is `10s`");
    }
    if health.timeout.is_zero() {
        let message = format!("`{written}.timeout` cannot be 0");
        return refuse(problems, message, "no time for an answer", "the usual one is `1s`");
    }
    Some(health)
}
