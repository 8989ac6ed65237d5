//! The list as rows: a tree of apps or of namespaces, or flat; filtered, sorted, folded.

use std::collections::HashSet;
use std::ops::Add;

use crate::proto::{AppView, SlotView, State};
use crate::spec::ExecMode;
use crate::tui::model::columns::Column;
use crate::tui::model::data::{self, Data, Load};
use crate::tui::model::filter::{Filter, Subject};
use crate::words::units::printable;

/// What a row is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Node {
    Namespace(String),
    /// Namespace and name.
    App(String, String),
    Slot(u32),
}

/// How the list is grouped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Grouping {
    #[default]
    Apps,
    Namespaces,
    Flat,
}

impl Grouping {
    pub(crate) fn next(self) -> Grouping {
        match self {
            Grouping::Apps => Grouping::Namespaces,
            Grouping::Namespaces => Grouping::Flat,
            Grouping::Flat => Grouping::Apps,
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Grouping::Apps => "apps",
            Grouping::Namespaces => "namespaces",
            Grouping::Flat => "flat",
        }
    }
}

/// By which column the list is sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sort {
    pub(crate) column: Column,
    pub(crate) is_descending: bool,
}

impl Default for Sort {
    fn default() -> Sort {
        Sort { column: Column::Id, is_descending: false }
    }
}

/// One row of the list.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) node: Node,
    pub(crate) depth: u16,
    /// Whether its children are shown; none without children.
    pub(crate) is_open: Option<bool>,
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) id: Option<u32>,
    pub(crate) first_id: u32,
    pub(crate) status: String,
    pub(crate) worst: Severity,
    pub(crate) state: State,
    pub(crate) load: Load,
    pub(crate) uptime: Option<u64>,
    pub(crate) restarts: u32,
    pub(crate) pid: Option<u32>,
    pub(crate) mode: &'static str,
    pub(crate) user: String,
    pub(crate) version: String,
    /// The instances it stands for.
    pub(crate) ids: Vec<u32>,
}

impl Row {
    /// Whether any of it runs.
    pub(crate) fn is_running(&self) -> bool {
        self.uptime.is_some()
    }
}

/// How much a state asks for attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    Stopped,
    Fine,
    Changing,
    Retrying,
    Wrong,
}

/// How much this state asks for attention.
pub(crate) fn severity(state: State) -> Severity {
    match state {
        State::Online => Severity::Fine,
        State::Stopped => Severity::Stopped,
        State::Launching | State::Draining | State::Stopping => Severity::Changing,
        State::Waiting | State::Unhealthy => Severity::Retrying,
        State::Errored => Severity::Wrong,
    }
}

/// What is put together to rows.
pub(crate) struct Wish<'a> {
    pub(crate) grouping: Grouping,
    pub(crate) sort: Sort,
    pub(crate) filter: &'a Filter,
    pub(crate) folded: &'a HashSet<Node>,
    pub(crate) now: u64,
}

struct Branch {
    row: Row,
    children: Vec<Branch>,
}

/// The rows of the list, from the top.
pub(crate) fn rows(data: &Data, wish: &Wish<'_>) -> Vec<Row> {
    let mut apps: Vec<Branch> = Vec::new();
    for app in &data.view.apps {
        let passing = app.slots.iter().filter(|slot| {
            let uptime = data::uptime(slot, wish.now);
            wish.filter.passes(Subject { app, slot, load: data::load(slot), uptime })
        });
        let slots: Vec<Row> = passing.map(|slot| slot_row(data, app, slot, wish.now)).collect();
        if slots.is_empty() {
            continue;
        }
        // One instance is its app, whatever the filter has left of several.
        if app.slots.len() == 1 || wish.grouping == Grouping::Flat {
            apps.extend(slots.into_iter().map(|row| Branch { row, children: Vec::new() }));
        } else {
            let node = Node::App(app.namespace.clone(), app.name.clone());
            let name = printable(&app.name).into_owned();
            let slots: Vec<Branch> = slots
                .into_iter()
                .map(|row| Branch { row: Row { name: row.name.clone(), ..row }, children: Vec::new() })
                .collect();
            apps.push(branch(node, name, slots, app.slots.len()));
        }
    }
    if wish.grouping == Grouping::Namespaces {
        let mut groups: Vec<(String, Vec<Branch>)> = Vec::new();
        for app in apps {
            match groups.iter_mut().find(|(name, _)| *name == app.row.namespace) {
                Some((_, apps)) => apps.push(app),
                None => groups.push((app.row.namespace.clone(), vec![app])),
            }
        }
        let group = |(name, apps): (String, Vec<Branch>)| {
            let count = apps.iter().map(|app| app.row.ids.len()).sum();
            branch(Node::Namespace(name.clone()), printable(&name).into_owned(), apps, count)
        };
        apps = groups.into_iter().map(group).collect();
    }
    let mut rows = Vec::new();
    flatten(apps, wish, 0, &mut rows);
    rows
}

fn flatten(mut branches: Vec<Branch>, wish: &Wish<'_>, depth: u16, rows: &mut Vec<Row>) {
    let Sort { column, is_descending } = wish.sort;
    branches.sort_by(|a, b| {
        let order = column.compare(&a.row, &b.row);
        let order = if is_descending { order.reverse() } else { order };
        order.then_with(|| a.row.first_id.cmp(&b.row.first_id))
    });
    for Branch { mut row, children } in branches {
        row.depth = depth;
        let is_open = !wish.folded.contains(&row.node);
        row.is_open = (!children.is_empty()).then_some(is_open);
        rows.push(row);
        if is_open {
            flatten(children, wish, depth + 1, rows);
        }
    }
}

fn slot_row(data: &Data, app: &AppView, slot: &SlotView, now: u64) -> Row {
    let status = match data.stages.of(slot.id) {
        Some(reload) => format!("reload: {}", reload.word()),
        None => slot.state.as_str().to_owned(),
    };
    Row {
        node: Node::Slot(slot.id),
        depth: 0,
        is_open: None,
        name: crate::words::place(app, slot),
        namespace: app.namespace.clone(),
        id: Some(slot.id),
        first_id: slot.id,
        status,
        worst: severity(slot.state),
        state: slot.state,
        load: data::load(slot),
        uptime: data::uptime(slot, now),
        restarts: slot.restarts,
        pid: slot.pid,
        mode: match app.mode {
            ExecMode::Fork => "fork",
            ExecMode::Cluster => "cluster",
        },
        user: printable(&app.user).into_owned(),
        version: app.version.as_deref().map(|version| printable(version).into_owned()).unwrap_or_default(),
        ids: vec![slot.id],
    }
}

/// Both put together, or the one that is there.
fn either<T>(a: Option<T>, b: Option<T>, both: impl FnOnce(T, T) -> T) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(both(a, b)),
        (one, other) => one.or(other),
    }
}

/// What stands above several: sums, and the state of the one that needs attention most. `all` counts what the filter hides, too.
fn branch(node: Node, name: String, children: Vec<Branch>, all: usize) -> Branch {
    let rows = || children.iter().map(|child| &child.row);
    let mut load = Load::default();
    for row in rows() {
        load.cpu += row.load.cpu;
        load.memory += row.load.memory;
        load.connections = either(load.connections, row.load.connections, Add::add);
        load.queue = either(load.queue, row.load.queue, Add::add);
        load.lag = either(load.lag, row.load.lag, f32::max);
        load.heap = either(load.heap, row.load.heap, Add::add);
    }
    let below = leaves(&children);
    let worst = below.iter().max_by_key(|row| row.worst);
    let (severity, state, status) = worst
        .map_or((Severity::Stopped, State::Stopped, String::new()), |row| (row.worst, row.state, row.status.clone()));
    let ids: Vec<u32> = rows().flat_map(|row| row.ids.iter().copied()).collect();
    let alike = below.iter().filter(|row| row.status == status).count();
    let reloading = below.iter().filter(|row| row.status.starts_with("reload")).count();
    let status = match alike {
        _ if reloading > 0 => format!("reload: {reloading}/{}", ids.len()),
        count if count == all => status,
        count => format!("{count}/{all} {status}"),
    };
    let first = rows().next();
    let row = Row {
        node,
        depth: 0,
        is_open: None,
        name,
        namespace: first.map(|row| row.namespace.clone()).unwrap_or_default(),
        id: None,
        first_id: ids.iter().copied().min().unwrap_or(u32::MAX),
        status,
        worst: severity,
        state,
        load,
        uptime: rows().filter_map(|row| row.uptime).min(),
        restarts: rows().map(|row| row.restarts).sum(),
        pid: None,
        mode: first.map(|row| row.mode).unwrap_or_default(),
        user: first.map(|row| row.user.clone()).unwrap_or_default(),
        version: first.map(|row| row.version.clone()).unwrap_or_default(),
        ids,
    };
    Branch { row, children }
}

fn leaves(branches: &[Branch]) -> Vec<&Row> {
    branches
        .iter()
        .flat_map(|branch| if branch.children.is_empty() { vec![&branch.row] } else { leaves(&branch.children) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::sample::{self, NOW};

    fn shown(grouping: Grouping, sort: Sort, filter: &str, folded: &[Node]) -> Vec<String> {
        let mut data = Data::default();
        data.take_view(sample::view(), NOW);
        let filter = Filter::read(filter).unwrap();
        let folded = folded.iter().cloned().collect();
        let rows = rows(&data, &Wish { grouping, sort, filter: &filter, folded: &folded, now: NOW });
        let line = |row: &Row| format!("{}{} {}", " ".repeat(usize::from(row.depth)), row.name, row.status);
        rows.iter().map(line).collect()
    }

    #[test]
    fn an_app_with_several_instances_is_a_branch() {
        let plain = shown(Grouping::Apps, Sort::default(), "", &[]);
        assert_eq!(plain, ["api 1/2 errored", " api:0 online", " api:1 errored", "web waiting restart", "0 stopped"]);
        let folded = shown(Grouping::Apps, Sort::default(), "", &[Node::App("default".into(), "api".into())]);
        assert_eq!(folded, ["api 1/2 errored", "web waiting restart", "0 stopped"]);
    }

    #[test]
    fn namespaces_stand_above_their_apps_and_flat_is_flat() {
        let tree = shown(Grouping::Namespaces, Sort::default(), "", &[]);
        assert_eq!(tree[0], "default 1/3 errored");
        assert_eq!(tree[1], " api 1/2 errored");
        assert_eq!(tree[5], "batch stopped");
        assert_eq!(shown(Grouping::Flat, Sort::default(), "", &[]).len(), 4);
    }

    #[test]
    fn what_is_filtered_and_sorted_stays_with_its_app() {
        let by_status = Sort { column: Column::Status, is_descending: false };
        assert_eq!(shown(Grouping::Flat, by_status, "", &[])[0], "api:1 errored");
        assert_eq!(shown(Grouping::Apps, Sort::default(), "status:online", &[]), ["api 1/2 online", " api:0 online"]);
    }
}
