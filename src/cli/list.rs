//! `ls`, `jlist`, `prettylist`, `describe`, `id`, `pid`: verbs that read the list and never start a daemon.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde::Serialize;

use crate::cli::args::{DescribeArgs, LsArgs, PidArgs, TargetArgs};
use crate::cli::render::units::printable;
use crate::cli::render::{about, inspect, pm2, table};
use crate::cli::session::{Session, VIEW_LIMIT, no_daemon, view};
use crate::cli::targets::Picked;
use crate::cli::{act, apply, targets, watch};
use crate::client::Client;
use crate::error::{ExitCode, Failure};
use crate::proto::{
    AppView, Call, DaemonView, History, HistoryCall, InstanceHistory, SlotView, StepName, Target, UPDATE_FAILED, View,
    ViewDetail,
};
use crate::words::forecast;

/// What is said where an empty list means that nobody keeps one.
const HINT: &str = "no rsx daemon runs: `rsx start` starts one together with your apps";

/// Runs `rsx ls`.
pub(super) fn ls(session: &mut Session, args: &LsArgs) -> Result<ExitCode, Failure> {
    let order = args.sort.as_deref().map(order).transpose()?;
    if args.watch {
        return watch::run(session, &|session| draw(session, args, order.as_ref()));
    }
    draw(session, args, order.as_ref()).map(|()| ExitCode::Done)
}

fn draw(session: &mut Session, args: &LsArgs, order: Option<&Order>) -> Result<(), Failure> {
    let mut view = view_or_hint(session, ViewDetail::Brief)?;
    if session.json {
        return session.out.json(&view.apps);
    }
    if let Some(order) = order {
        // A row an app, so that instances can stand apart from each other.
        view.apps = view.apps.iter().flat_map(alone).collect();
        view.apps.sort_by(|a, b| order((a, &a.slots[0]), (b, &b.slots[0])));
    }
    let sheet = apply::sheet(session, act::extent(args.mini_list));
    session.out.data(table::table(&view, sheet))?;
    session.out.data(table::troubles(&view, sheet, &[]))
}

/// Runs `rsx jlist`.
pub(super) fn jlist(session: &mut Session) -> Result<ExitCode, Failure> {
    let view = view_or_hint(session, ViewDetail::Full)?;
    session.out.json(&pm2::list(&view))?;
    Ok(ExitCode::Done)
}

/// Runs `rsx prettylist`.
pub(super) fn prettylist(session: &mut Session) -> Result<ExitCode, Failure> {
    if session.json {
        return jlist(session);
    }
    let view = view_or_hint(session, ViewDetail::Full)?;
    session.out.line(inspect::inspect(&pm2::list(&view)))?;
    Ok(ExitCode::Done)
}

/// Runs `rsx id`.
pub(super) fn id(session: &mut Session, args: &TargetArgs) -> Result<ExitCode, Failure> {
    let mut daemon = session.daemon_or_fail()?;
    let targets = targets::read(session, &args.targets, &[])?;
    let view = view(&mut daemon, ViewDetail::Full)?;
    let picked = targets::pick_all(&view, &targets)?;
    let mut ids: Vec<u32> = picked.iter().flat_map(|picked| picked.slots.iter().map(|slot| slot.id)).collect();
    ids.sort_unstable();
    match session.json {
        true => session.out.json(&ids)?,
        false => session.out.line(inspect::inspect(&ids.into()))?,
    }
    Ok(ExitCode::Done)
}

/// Runs `rsx describe`.
pub(super) fn describe(session: &mut Session, args: &DescribeArgs) -> Result<ExitCode, Failure> {
    let mut daemon = session.daemon_or_fail()?;
    let targets = targets::read(session, &args.targets, &[])?;
    let view = view(&mut daemon, ViewDetail::Full)?;
    let picked = targets::pick_all(&view, &targets)?;
    if session.json {
        let apps: Vec<AppView> = picked
            .iter()
            .map(|picked| AppView {
                slots: picked.slots.iter().map(|slot| (*slot).clone()).collect(),
                ..picked.app.clone()
            })
            .collect();
        session.out.json(&apps)?;
        return Ok(ExitCode::Done);
    }
    let sheet = apply::sheet(session, table::Extent::Full);
    let measured = measured(&mut daemon, &picked);
    for picked in &picked {
        session.out.data(about::describe(picked, &measured, sheet))?;
    }
    Ok(ExitCode::Done)
}

/// The memory of the last quarter of an hour, of those instances that have a limit. Nothing is known of it by a daemon that
/// is older than this question; so there is no forecast then.
fn measured(daemon: &mut Client, picked: &[Picked<'_>]) -> about::Measured {
    let has_limit = |it: &&Picked<'_>| it.slots.iter().any(|slot| forecast::limit(it.app, slot).is_some());
    let targets: Vec<Target> = picked.iter().filter(has_limit).map(|it| Target::Word(it.app.name.clone())).collect();
    if targets.is_empty() {
        return about::Measured::new();
    }
    let call = HistoryCall { targets, series: vec!["memory".to_owned()], step: StepName::Second, since: None };
    let history: History = daemon.call(&Call::History(call), VIEW_LIMIT).unwrap_or_default();
    let moment = |n: usize| history.from + n as u64 * history.step;
    let of = |instance: &InstanceHistory| {
        let values = instance.series.first().map(|series| series.values.as_slice()).unwrap_or_default();
        values.iter().enumerate().filter_map(|(n, value)| Some((moment(n), (*value)?))).collect()
    };
    history.instances.iter().map(|instance| (instance.id, of(instance))).collect()
}

/// Runs `rsx pid`.
pub(super) fn pid(session: &mut Session, args: &PidArgs) -> Result<ExitCode, Failure> {
    #[derive(Serialize)]
    struct Pid<'a> {
        name: &'a str,
        id: u32,
        pid: Option<u32>,
    }
    let mut daemon = session.daemon()?.ok_or_else(no_daemon)?;
    let words = if args.targets.is_empty() { vec!["all".to_owned()] } else { args.targets.clone() };
    let targets = targets::read(session, &words, &[])?;
    let is_words = targets.iter().all(|target| matches!(target, Target::Word(_)));
    let view = view(&mut daemon, if is_words { ViewDetail::Brief } else { ViewDetail::Full })?;
    if args.daemon {
        return match session.json {
            true => session.out.json(&view.daemon),
            false => session.out.line(view.daemon.pid.to_string()),
        }
        .map(|()| ExitCode::Done);
    }
    let picked = targets::pick_all(&view, &targets)?;
    let pids: Vec<Pid<'_>> = picked
        .iter()
        .flat_map(|picked| picked.slots.iter().map(|slot| Pid { name: &picked.app.name, id: slot.id, pid: slot.pid }))
        .collect();
    if session.json {
        session.out.json(&pids)?;
    } else {
        for pid in pids.iter().filter_map(|pid| pid.pid) {
            session.out.line(pid.to_string())?;
        }
    }
    Ok(ExitCode::Done)
}

/// The view; an empty one and a hint on stderr where no daemon runs.
fn view_or_hint(session: &mut Session, detail: ViewDetail) -> Result<View, Failure> {
    let found = match session.daemon()? {
        Some(mut daemon) => match view(&mut daemon, detail) {
            // It has ended while it was asked, and nobody starts another one.
            Err(failure) if failure.code() == ExitCode::NoDaemon && session.daemon()?.is_none() => None,
            view => Some(view?),
        },
        None => None,
    };
    match found {
        Some(view) => {
            for problem in log_problems(&view) {
                session.out.talk(&format!("notice: {problem}"));
            }
            for trouble in troubles(&view.daemon) {
                session.out.talk(&format!("notice: {trouble}"));
            }
            if view.daemon.parked > 0 {
                let count = view.daemon.parked;
                session.out.talk(&format!(
                    "{count} stopped instances ran before the last `kill`: `rsx resurrect` starts them"
                ));
            }
            Ok(view)
        }
        None => {
            session.out.talk(HINT);
            if let Some(left) = session.left() {
                session.out.talk(left);
            }
            Ok(View::default())
        }
    }
}

/// Log files that are not written, each once.
fn log_problems(view: &View) -> BTreeSet<String> {
    view.apps
        .iter()
        .flat_map(|app| &app.slots)
        .filter_map(|slot| slot.log_problem.as_deref())
        .map(|problem| printable(problem).into_owned())
        .collect()
}

/// What is wrong with the daemon itself, each with its way out.
fn troubles(daemon: &DaemonView) -> Vec<String> {
    let ours = env!("CARGO_PKG_VERSION");
    let mut told = Vec::new();
    if daemon.guardian == 0 {
        told.push(
            "the daemon has lost its guardian: if it dies, nobody starts it again; `rsx update` mends that".into(),
        );
    }
    if daemon.version != ours {
        let theirs = printable(&daemon.version);
        told.push(format!("the daemon is rsx {theirs}, this is {ours}: `rsx update` hands over to this one"));
    }
    told.extend(daemon.notices.iter().map(|notice| match notice.starts_with(UPDATE_FAILED) {
        true => format!("{}; the daemon before it goes on, `rsx update` tries again", printable(notice)),
        false => printable(notice).into_owned(),
    }));
    told
}

fn alone(app: &AppView) -> impl Iterator<Item = AppView> {
    app.slots.iter().map(|slot| AppView { slots: vec![slot.clone()], ..app.clone() })
}

type Row<'a> = (&'a AppView, &'a SlotView);
type Order = Box<dyn Fn(Row<'_>, Row<'_>) -> Ordering>;

/// Reads `FIELD[:asc|:desc]`.
fn order(text: &str) -> Result<Order, Failure> {
    let wrong = || {
        Failure::new(ExitCode::Usage, format!("cannot sort by `{text}`"))
            .hint("name, namespace, id, pid, uptime, restarts, status, cpu, memory; with `:desc` the other way round")
    };
    let (field, direction) = text.split_once(':').unwrap_or((text, "asc"));
    let by: fn(Row<'_>, Row<'_>) -> Ordering = match field {
        "name" => |a, b| a.0.name.cmp(&b.0.name),
        "namespace" => |a, b| a.0.namespace.cmp(&b.0.namespace),
        "id" => |a, b| a.1.id.cmp(&b.1.id),
        "pid" => |a, b| a.1.pid.cmp(&b.1.pid),
        // The younger first, as a short uptime is the smaller value.
        "uptime" => |a, b| b.1.started.cmp(&a.1.started),
        "restarts" => |a, b| a.1.restarts.cmp(&b.1.restarts),
        "status" => |a, b| a.1.state.as_str().cmp(b.1.state.as_str()),
        "cpu" => |a, b| a.1.cpu.total_cmp(&b.1.cpu),
        "memory" | "mem" => |a, b| a.1.memory.cmp(&b.1.memory),
        _ => return Err(wrong()),
    };
    match direction {
        "asc" => Ok(Box::new(by)),
        "desc" => Ok(Box::new(move |a, b| by(b, a))),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daemon() -> DaemonView {
        DaemonView { version: env!("CARGO_PKG_VERSION").into(), pid: 2, guardian: 1, ..DaemonView::default() }
    }

    #[test]
    fn a_daemon_in_order_is_no_news() {
        assert_eq!(troubles(&daemon()), Vec::<String>::new());
    }

    #[test]
    fn what_is_wrong_with_the_daemon_is_said_with_the_way_out() {
        let alone = troubles(&DaemonView { guardian: 0, ..daemon() });
        assert!(alone[0].contains("lost its guardian") && alone[0].contains("`rsx update`"), "{alone:?}");
        let older = troubles(&DaemonView { version: "0.0.9".into(), ..daemon() });
        assert!(older[0].contains("0.0.9") && older[0].contains("`rsx update`"), "{older:?}");
        let notices = vec![format!("{UPDATE_FAILED}exit code 1"), "cannot write the journal: disk full".into()];
        let failed = troubles(&DaemonView { notices, ..daemon() });
        assert!(
            failed[0].starts_with("update failed: exit code 1;") && failed[0].contains("`rsx update`"),
            "{failed:?}"
        );
        assert_eq!(failed[1], "cannot write the journal: disk full");
    }
}
