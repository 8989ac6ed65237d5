//! `ls`, `jlist`, `describe`, `pid`: verbs that read the list and never start a daemon.

use std::cmp::Ordering;

use serde::Serialize;

use crate::cli::args::{DescribeArgs, LsArgs, PidArgs};
use crate::cli::render::{describe, pm2, table};
use crate::cli::session::{Session, no_daemon, view};
use crate::cli::{act, apply, targets};
use crate::error::{ExitCode, Failure};
use crate::proto::{AppView, SlotView, Target, View, ViewDetail};

/// What is said where an empty list means that nobody keeps one.
const HINT: &str = "no rsx daemon runs: `rsx start` starts one together with your apps";

/// Runs `rsx ls`.
pub(super) fn ls(session: &mut Session, args: &LsArgs) -> Result<ExitCode, Failure> {
    let order = args.sort.as_deref().map(order).transpose()?;
    let mut view = view_or_hint(session, ViewDetail::Brief)?;
    if session.json {
        session.out.json(&view.apps)?;
        return Ok(ExitCode::Done);
    }
    if let Some(order) = order {
        // A row an app, so that instances can stand apart from each other.
        view.apps = view.apps.iter().flat_map(alone).collect();
        view.apps.sort_by(|a, b| order((a, &a.slots[0]), (b, &b.slots[0])));
    }
    let sheet = apply::sheet(session, act::extent(args.mini_list));
    session.out.data(table::table(&view, sheet))?;
    session.out.data(table::troubles(&view, sheet, &[]))?;
    Ok(ExitCode::Done)
}

/// Runs `rsx jlist`.
pub(super) fn jlist(session: &mut Session) -> Result<ExitCode, Failure> {
    let view = view_or_hint(session, ViewDetail::Full)?;
    session.out.json(&pm2::list(&view))?;
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
    for picked in &picked {
        session.out.data(describe::describe(picked, sheet))?;
    }
    Ok(ExitCode::Done)
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
    match session.daemon()? {
        Some(mut daemon) => {
            let view = view(&mut daemon, detail)?;
            for notice in &view.daemon.notices {
                session.out.talk(&format!("notice: {notice}"));
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
            Ok(View::default())
        }
    }
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
