//! The table of `rsx ls`, as wide as its terminal allows.

use std::collections::BTreeSet;

use comfy_table::{Cell, CellAlignment, Color, ContentArrangement, Table, presets};

use crate::cli::style::{Style, Tint};
use crate::proto::{AppView, DrainView, SecondState, SecondView, SlotView, State, View};
use crate::spec::ExecMode;
use crate::words::{place, trouble, units};

/// The longest name that is shown whole.
const NAME_LIMIT: usize = 40;

/// More rows than these are counted by state, as nobody sees all of them at once.
const MANY: usize = 20;

/// How many instances in trouble are told one by one.
const TROUBLES: usize = 10;

/// One column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Id,
    Name,
    Namespace,
    Version,
    Mode,
    Pid,
    Uptime,
    Restarts,
    Status,
    Cpu,
    Memory,
    User,
    Watching,
}

use Column::{Cpu, Id, Memory, Mode, Name, Namespace, Pid, Restarts, Status, Uptime, User, Version, Watching};

const ALL: [Column; 13] =
    [Id, Name, Namespace, Version, Mode, Pid, Uptime, Restarts, Status, Cpu, Memory, User, Watching];
const SHORT: [Column; 5] = [Id, Name, Status, Cpu, Memory];
/// What a narrow terminal loses, first to last.
const LOSSES: [Column; 10] = [Watching, User, Version, Namespace, Mode, Pid, Memory, Cpu, Uptime, Restarts];

/// How much a table shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Extent {
    /// All columns that fit.
    Full,
    /// Id, name, status, cpu, memory.
    Short,
}

/// Where a table is shown.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) struct Sheet {
    /// The terminal's columns; none: plain text for a pipe, every column.
    pub(in crate::cli) width: Option<u16>,
    /// Whether colours are wanted.
    pub(in crate::cli) style: Style,
    /// How much is wanted.
    pub(in crate::cli) extent: Extent,
    /// Milliseconds of the epoch.
    pub(in crate::cli) now: u64,
}

/// The table of all instances. Ends with a newline.
pub(in crate::cli) fn table(view: &View, sheet: Sheet) -> String {
    let rows: Vec<(&AppView, &SlotView)> =
        view.apps.iter().flat_map(|app| app.slots.iter().map(move |slot| (app, slot))).collect();
    let columns: &[Column] = match sheet.extent {
        Extent::Full => &ALL,
        Extent::Short => &SHORT,
    };
    // Texts once, for measuring and for drawing.
    let mut lines: Vec<(State, Vec<String>)> = Vec::with_capacity(rows.len());
    for (app, slot) in &rows {
        lines.push((slot.state, columns.iter().map(|c| text(*c, app, slot, sheet.now)).collect()));
        // While a reload replaces one process by another, both are there.
        lines.extend(slot.second.iter().map(|second| {
            let texts = columns.iter().map(|c| text_of_second(*c, app, (slot, second), sheet.now)).collect();
            (state_of_second(second.state), texts)
        }));
    }
    let (states, texts): (Vec<State>, Vec<Vec<String>>) = lines.into_iter().unzip();
    let shown = fitting(columns, &texts, sheet.width);
    let mut table = Table::new();
    table.load_preset(match sheet.width {
        Some(_) => presets::UTF8_FULL_CONDENSED,
        None => presets::NOTHING,
    });
    table.set_content_arrangement(ContentArrangement::Disabled);
    match sheet.style {
        Style::Colour => table.enforce_styling(),
        Style::Plain => table.force_no_tty(),
    };
    table.set_header(shown.iter().map(|i| heading(columns[*i], sheet.style)));
    for (state, texts) in states.iter().zip(&texts) {
        table.add_row(shown.iter().map(|i| cell(columns[*i], &texts[*i], *state, sheet.style)));
    }
    let mut drawn = match sheet.width {
        Some(_) => table.to_string(),
        None => unpadded(&table),
    };
    drawn.push('\n');
    if sheet.width.is_some() && rows.len() > MANY {
        drawn.push_str(&counted(&rows, sheet.style));
    }
    drawn
}

/// `1000 instances: 998 online, 2 errored`.
fn counted(rows: &[(&AppView, &SlotView)], style: Style) -> String {
    let states = [
        State::Online,
        State::Unhealthy,
        State::Launching,
        State::Waiting,
        State::Errored,
        State::Draining,
        State::Stopping,
        State::Stopped,
    ];
    let count = |state: &State| rows.iter().filter(|(_, slot)| slot.state == *state).count();
    let counts = states.iter().map(|state| (count(state), state)).filter(|(count, _)| *count > 0);
    let words: Vec<String> =
        counts.map(|(count, state)| format!("{count} {}", style.paint(Tint::of(*state), state.as_str()))).collect();
    format!("{} instances: {}\n", rows.len(), words.join(", "))
}

/// One line for each of these apps that shares ports.
pub(in crate::cli) fn shared(view: &View, names: &[&str]) -> String {
    let mut text = String::new();
    for app in view.apps.iter().filter(|app| names.contains(&app.name.as_str())) {
        let ports = app.slots.iter().flat_map(|slot| slot.ports.iter().map(|port| port.address.to_string()));
        let ports: BTreeSet<String> = ports.collect();
        if !ports.is_empty() {
            let ports: Vec<String> = ports.into_iter().collect();
            text.push_str(&format!("{} shares {}\n", units::printable(&app.name), ports.join(", ")));
        }
    }
    text
}

/// One line for each instance that needs attention, but not for those that were `told` of already (by id).
pub(in crate::cli) fn troubles(view: &View, sheet: Sheet, told: &[u32]) -> String {
    let slots = view.apps.iter().flat_map(|app| app.slots.iter().map(move |slot| (app, slot)));
    let notes = |(app, slot): &(&AppView, &SlotView)| {
        let name = place(app, slot);
        let note = |remark: &String| format!("{name}: note: {}", units::printable(remark));
        slot.remarks.iter().map(note).collect::<Vec<_>>()
    };
    let lines: Vec<String> = slots
        .flat_map(|it| {
            let trouble = if told.contains(&it.1.id) { None } else { trouble(it.0, it.1, sheet) };
            trouble.into_iter().chain(notes(&it)).collect::<Vec<_>>()
        })
        .collect();
    let mut text: String = lines.iter().take(TROUBLES).flat_map(|line| [line, "\n"]).collect();
    if let Some(more) = lines.len().checked_sub(TROUBLES).filter(|more| *more > 0) {
        text.push_str(&format!("… and {more} more: `rsx ls --sort status`\n"));
    }
    text
}

/// What is wrong with an instance, in one line with the verb that tells more; nothing if it does as it should.
fn trouble(app: &AppView, slot: &SlotView, sheet: Sheet) -> Option<String> {
    if let Some(drain) = &slot.draining {
        return Some(draining(app, slot, drain));
    }
    let trouble = trouble::of(app, slot, sheet.now)?;
    let state = sheet.style.paint(Tint::of(slot.state), slot.state.as_str());
    Some(format!("{}: {state}{} → {}", trouble.place, trouble.what, trouble.next))
}

/// `api:2: draining: 3 connections, oldest 4s`; with the process, if another one has taken over from it.
fn draining(app: &AppView, slot: &SlotView, drain: &DrainView) -> String {
    let who = if slot.run == drain.run { String::new() } else { format!(" (pid {}, replaced)", drain.pid) };
    format!("{}: {}{who}", place(app, slot), units::remaining(&drain.remaining))
}

/// The indexes of the columns that fit, dropping the least wanted first. Without a width, all fit.
fn fitting(columns: &[Column], texts: &[Vec<String>], width: Option<u16>) -> Vec<usize> {
    let mut shown: Vec<usize> = (0..columns.len()).collect();
    let Some(width) = width else { return shown };
    let widths: Vec<usize> = (0..columns.len())
        .map(|i| texts.iter().map(|row| row[i].chars().count()).chain([title(columns[i]).chars().count()]).max())
        .map(Option::unwrap_or_default)
        .collect();
    // A border and a blank on either side of each, and the last border.
    let total = |shown: &[usize]| shown.iter().map(|i| widths[*i] + 3).sum::<usize>() + 1;
    for lost in LOSSES {
        if total(&shown) <= usize::from(width) {
            break;
        }
        shown.retain(|i| columns[*i] != lost);
    }
    shown
}

/// Without frame: the blank in front of each line goes, and those behind its end.
fn unpadded(table: &Table) -> String {
    let lines = table.lines().map(|line| line.trim_end().strip_prefix(' ').unwrap_or_default().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

fn title(column: Column) -> &'static str {
    match column {
        Id => "id",
        Name => "name",
        Namespace => "namespace",
        Version => "version",
        Mode => "mode",
        Pid => "pid",
        Uptime => "uptime",
        Restarts => "↺",
        Status => "status",
        Cpu => "cpu",
        Memory => "mem",
        User => "user",
        Watching => "watching",
    }
}

fn heading(column: Column, style: Style) -> Cell {
    let cell = Cell::new(title(column));
    match style {
        Style::Colour => cell.fg(Color::Cyan),
        Style::Plain => cell,
    }
}

fn text(column: Column, app: &AppView, slot: &SlotView, now: u64) -> String {
    match column {
        Id => slot.id.to_string(),
        Name => units::shortened(&units::printable(&app.name), NAME_LIMIT).into_owned(),
        Namespace => units::shortened(&units::printable(&app.namespace), NAME_LIMIT).into_owned(),
        Version => app.version.as_deref().map_or("-".into(), |v| units::printable(v).into_owned()),
        Mode => match app.mode {
            ExecMode::Fork => "fork".to_owned(),
            ExecMode::Cluster => "cluster".to_owned(),
        },
        Pid => slot.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
        Uptime => match (slot.pid, slot.started) {
            (Some(_), Some(started)) => units::span(now.saturating_sub(started)),
            (None, _) | (_, None) => "0".to_owned(),
        },
        Restarts => slot.restarts.to_string(),
        Status if is_left_behind(app, slot) => format!("{} (old)", slot.state),
        Status => slot.state.to_string(),
        Cpu => units::cpu(slot.cpu),
        // Colour does not say it alone.
        Memory if is_heavy(app, slot) => format!("{}!", units::memory(slot.memory)),
        Memory => units::memory(slot.memory),
        User => app.user.clone(),
        Watching => "disabled".to_owned(),
    }
}

/// Whether it takes more than is good.
fn is_heavy(app: &AppView, slot: &SlotView) -> bool {
    app.memory_warn.is_some_and(|warn| slot.memory >= warn)
}

/// Whether a reload has replaced others of the app and not this one.
fn is_left_behind(app: &AppView, slot: &SlotView) -> bool {
    let newest = app.slots.iter().filter(|slot| slot.pid.is_some()).map(|slot| slot.generation).max();
    slot.pid.is_some() && newest.is_some_and(|newest| slot.generation < newest)
}

fn text_of_second(column: Column, app: &AppView, (slot, second): (&SlotView, &SecondView), now: u64) -> String {
    match column {
        Id | Name | Namespace | Mode | User | Watching => text(column, app, slot, now),
        Pid => second.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
        Uptime => units::span(now.saturating_sub(second.started)),
        Status => second.state.as_str().to_owned(),
        Version | Restarts | Cpu | Memory => "-".to_owned(),
    }
}

fn state_of_second(state: SecondState) -> State {
    match state {
        SecondState::Launching | SecondState::Held => State::Launching,
        SecondState::Parked | SecondState::Draining | SecondState::Stopping => State::Stopping,
    }
}

fn cell(column: Column, text: &str, state: State, style: Style) -> Cell {
    let cell = Cell::new(text);
    let cell = match column {
        Cpu | Memory | Restarts | Uptime => cell.set_alignment(CellAlignment::Right),
        Id | Name | Namespace | Version | Mode | Pid | Status | User | Watching => cell,
    };
    match (style, column) {
        (Style::Plain, _) => cell,
        (Style::Colour, Status) => cell.fg(colour(state)),
        (Style::Colour, Memory) if text.ends_with('!') => cell.fg(Color::Yellow),
        (Style::Colour, Id | Name) => cell.fg(Color::Cyan),
        (Style::Colour, Namespace | Version | Mode | Pid | Uptime | Restarts | Cpu | Memory | User | Watching) => cell,
    }
}

fn colour(state: State) -> Color {
    match state {
        State::Online => Color::Green,
        State::Launching => Color::Blue,
        State::Unhealthy | State::Draining | State::Stopping | State::Waiting => Color::Yellow,
        State::Stopped => Color::DarkGrey,
        State::Errored => Color::Red,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::render::sample;
    use crate::tui::picture;

    fn sheet(width: Option<u16>, style: Style) -> Sheet {
        Sheet { width, style, extent: Extent::Full, now: sample::NOW }
    }

    fn listed(sheet: Sheet) -> String {
        table(&sample::view(), sheet) + &troubles(&sample::view(), sheet, &[])
    }

    #[test]
    fn the_picture_of_the_list_is_what_it_looks_like() {
        let view = crate::tui::tests::view();
        let sheet = sheet(Some(132), Style::Colour);
        let text = table(&view, sheet) + &troubles(&view, sheet, &[]);
        picture::held("ls.svg", &picture::svg(&picture::typed(&text), "rsx ls"));
    }

    #[test]
    fn a_long_list_is_counted_and_names_few_of_many_troubles() {
        let slots: Vec<SlotView> = (0..30).map(|n| sample::slot(n, n as u16, State::Errored)).collect();
        let view = View { apps: vec![sample::app("api", slots)], ..sample::view() };
        let wide = sheet(Some(160), Style::Plain);
        assert!(table(&view, wide).ends_with("30 instances: 30 errored\n"));
        let told = troubles(&view, wide, &[0]);
        assert_eq!(told.lines().count(), TROUBLES + 1);
        assert!(told.ends_with("… and 19 more: `rsx ls --sort status`\n"), "{told}");
    }

    #[test]
    fn what_is_launched_between_two_crashes_says_why() {
        let mut slot = sample::slot(0, 0, State::Launching);
        assert_eq!(trouble(&sample::app("api", vec![]), &slot, sheet(None, Style::Plain)), None);
        slot.unstable = 2;
        slot.last_exit = sample::full_view().apps[0].slots[1].history.first().cloned();
        let told = trouble(&sample::app("api", vec![]), &slot, sheet(None, Style::Plain)).unwrap();
        assert_eq!(told, "api: launching again: exit code 1 → rsx why api");
    }

    #[test]
    fn who_takes_more_than_is_good_is_marked() {
        let mut app = sample::app("api", vec![sample::slot(0, 0, State::Online)]);
        app.memory_warn = Some(50 << 20);
        assert_eq!(text(Memory, &app, &app.slots[0], 0), "51.1mb!");
        app.memory_warn = Some(60 << 20);
        assert_eq!(text(Memory, &app, &app.slots[0], 0), "51.1mb");
    }

    #[test]
    fn both_generations_are_shown_while_a_reload_replaces_one_by_the_other_and_after_it_has_failed() {
        let second = SecondView {
            run: 9,
            pid: Some(77),
            started: sample::NOW - 2_000,
            generation: 2,
            state: SecondState::Parked,
            until: None,
        };
        let new = SlotView { generation: 2, second: Some(second), ..sample::slot(0, 0, State::Online) };
        let view =
            View { apps: vec![sample::app("api", vec![new, sample::slot(1, 1, State::Online)])], ..sample::view() };
        let drawn = table(&view, Sheet { extent: Extent::Short, ..sheet(None, Style::Plain) });
        let lines: Vec<Vec<&str>> = drawn.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1][..3], ["0", "api", "online"], "{drawn}");
        assert_eq!(lines[2], ["0", "api", "parked", "-", "-"], "{drawn}");
        assert_eq!(lines[3][..4], ["1", "api", "online", "(old)"], "{drawn}");
    }

    #[test]
    fn a_wide_terminal_shows_every_column_of_pm2() {
        insta::assert_snapshot!(listed(sheet(Some(160), Style::Plain)));
    }

    #[test]
    fn a_narrow_terminal_loses_the_least_wanted_columns() {
        let drawn = listed(sheet(Some(60), Style::Plain));
        assert!(
            drawn.lines().filter(|line| line.starts_with(['│', '┌'])).all(|line| line.chars().count() <= 60),
            "{drawn}"
        );
        insta::assert_snapshot!(drawn);
    }

    #[test]
    fn a_pipe_gets_plain_columns() {
        insta::assert_snapshot!(listed(sheet(None, Style::Plain)));
    }

    #[test]
    fn colours_follow_the_state() {
        let drawn = table(&sample::view(), sheet(Some(160), Style::Colour));
        assert!(drawn.contains("\u{1b}[38;5;10m"), "{drawn:?}");
        assert!(!table(&sample::view(), sheet(Some(160), Style::Plain)).contains('\x1b'));
    }

    #[test]
    fn a_short_table_is_short() {
        insta::assert_snapshot!(listed(Sheet { extent: Extent::Short, ..sheet(None, Style::Plain) }));
    }
}
