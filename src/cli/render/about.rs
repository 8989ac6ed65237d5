//! Everything about one app, for people.

use std::collections::BTreeMap;

use comfy_table::{ContentArrangement, Table, presets};

use crate::cli::render::clock::moment;
use crate::cli::render::table::Sheet;
use crate::cli::render::units::{fine_span, printable};
use crate::cli::style::{Style, Tint};
use crate::cli::targets::Picked;
use crate::proto::ExitView;
use crate::spec::Env;
use crate::words::{facts, forecast};

/// What was measured of the memory of instances, by their ids: milliseconds of the epoch and bytes, oldest first.
pub(in crate::cli) type Measured = BTreeMap<u32, Vec<(u64, f64)>>;

/// Details of the app, of each instance, and how its last runs ended.
pub(in crate::cli) fn describe(picked: &Picked<'_>, measured: &Measured, sheet: Sheet) -> String {
    let app = picked.app;
    let mut text = heading(&format!("App `{}`", printable(&app.name)), sheet.style);
    text.push_str(&two_columns(&facts::app(app, &picked.slots, sheet.now), sheet));
    if let Some(spec) = app.spec.as_ref().filter(|spec| !spec.env.is_empty()) {
        text.push_str(&heading("Declared environment", sheet.style));
        text.push_str(&environment(&spec.env, sheet));
    }
    for slot in &picked.slots {
        text.push_str(&heading(&format!("Instance {} (id {})", slot.instance, slot.id), sheet.style));
        let growth = measured.get(&slot.id).and_then(|measured| forecast::in_words(app, slot, measured));
        text.push_str(&two_columns(&facts::slot(app, slot, growth, sheet.now), sheet));
        if !slot.history.is_empty() {
            text.push_str(&heading("Exits, newest first", sheet.style));
            text.push_str(&history(&slot.history, sheet));
        }
    }
    text
}

/// Lines and no table: last words are long, and are copied from here into searches.
fn history(exits: &[ExitView], sheet: Sheet) -> String {
    let mut text = String::new();
    for exit in exits {
        let how = match exit.status {
            Some(status) if exit.reason != status.to_string() => format!("{} ({status})", printable(&exit.reason)),
            Some(_) | None => printable(&exit.reason).into_owned(),
        };
        let run = match exit.pid {
            // It never ran.
            0 => String::new(),
            pid => format!(", pid {pid}, after {}", fine_span(exit.uptime)),
        };
        text.push_str(&format!(" {}  {}{run}\n", moment(exit.time), sheet.style.paint(Tint::Bold, &how)));
        text.extend(exit.stderr.iter().map(|line| format!("   | {}\n", printable(line))));
    }
    text
}

/// Values were redacted by the daemon, where their names look secret.
fn environment(env: &Env, sheet: Sheet) -> String {
    let rows: Vec<(&str, String)> = env.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    two_columns(&rows, sheet)
}

fn two_columns(rows: &[(&str, String)], sheet: Sheet) -> String {
    let mut table = frame(sheet);
    for (name, value) in rows {
        table.add_row([printable(name).into_owned(), printable(value).into_owned()]);
    }
    finish(&table)
}

fn frame(sheet: Sheet) -> Table {
    let mut table = Table::new();
    table.force_no_tty();
    match sheet.width {
        Some(width) => {
            table.load_preset(presets::UTF8_FULL_CONDENSED);
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
        None => {
            table.load_preset(presets::NOTHING);
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
    }
    table
}

fn finish(table: &Table) -> String {
    let mut text = table.trim_fmt();
    text.push('\n');
    text
}

fn heading(text: &str, style: Style) -> String {
    format!("{}\n", style.paint(Tint::Bold, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::render::sample;
    use crate::cli::render::table::Extent;

    #[test]
    fn everything_about_an_app_is_shown() {
        let view = sample::full_view();
        let picked = Picked { app: &view.apps[0], slots: view.apps[0].slots.iter().collect() };
        let sheet = Sheet { width: Some(100), style: Style::Plain, extent: Extent::Full, now: sample::NOW };
        let text = describe(&picked, &Measured::new(), sheet);
        // Local times differ from machine to machine.
        let text =
            regex_lite::Regex::new(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d").unwrap().replace_all(&text, "[local time    ]");
        insta::assert_snapshot!(text);
    }
}
