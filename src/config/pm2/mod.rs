//! What PM2 has saved (`dump.pm2`), as an `ecosystem.toml` that declares the same apps.
//!
//! ```text
//! text --dump--> entries, one a process --app--> App --(here: one a name)--> toml --> text
//! ```
//!
//! The dump is data: JSON that is read, never evaluated. PM2 writes everything that it knows of a process into one flat
//! object: what its owner declared, its own state, and the environment of the shell twice. Only the first is taken over.

mod app;
mod dump;
mod env;
mod known;
#[cfg(test)]
mod tests;
mod toml;

use std::path::Path;

use crate::config::pm2::app::App;
use crate::spec::Env;

pub use dump::{DumpError, MAX_DUMP};

/// What is known of the machine on which a dump is read.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The folder of the dump, PM2's home unless it was moved.
    pub folder: &'a Path,
    /// The variables of this shell: what an app would inherit anyway is not written down.
    pub shell: &'a Env,
}

/// A dump, translated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// The text of an `ecosystem.toml`.
    pub toml: String,
    /// The names of its apps.
    pub names: Vec<String>,
    /// What was left out or changed, and why; one sentence each.
    pub notices: Vec<String>,
    /// Variables whose values look like secrets, as `app: NAME`.
    pub secrets: Vec<String>,
    /// How many entries could not be translated.
    pub unusable: usize,
}

/// Translates the text of a `dump.pm2`.
///
/// # Errors
///
/// [`DumpError`]: it is no dump, or it holds no app.
pub fn import_pm2(text: &str, surroundings: &Surroundings<'_>) -> Result<Imported, DumpError> {
    let entries = dump::read(text)?;
    let mut imported = Imported::default();
    let mut apps: Vec<App> = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        if entry.is_module() {
            let notice = "a module of PM2, and rsx has none: what they do is built in, or an app of its own";
            imported.notices.push(format!("{}: left out: {notice}", entry.shown_name()));
            continue;
        }
        match App::new(entry, surroundings) {
            Ok(app) => join(&mut apps, app),
            Err(reason) => {
                imported.unusable += 1;
                imported.notices.push(format!("entry {}, {}: left out: {reason}", index + 1, entry.shown_name()));
            }
        }
    }
    part_namesakes(&mut apps);
    for app in &apps {
        let about = |text: &String| format!("{}: {text}", app.name);
        imported.notices.extend(app.notices.iter().chain(&app.late_notices()).map(about));
        imported.secrets.extend(app.secrets().iter().map(about));
    }
    imported.toml = toml::text(&apps);
    imported.names = apps.into_iter().map(|app| app.name).collect();
    if imported.names.is_empty() { Err(DumpError::Empty { notices: imported.notices }) } else { Ok(imported) }
}

/// PM2 saves each instance by itself.
fn join(apps: &mut Vec<App>, app: App) {
    match apps.iter_mut().find(|other| other.is_same_app(&app)) {
        Some(first) => first.add_instance(&app),
        None => apps.push(app),
    }
}

/// PM2 lets different programs share a name (`--force`); here a name means one app.
fn part_namesakes(apps: &mut [App]) {
    for index in 1..apps.len() {
        let (before, rest) = apps.split_at_mut(index);
        let app = &mut rest[0];
        let is_taken = |name: &str| before.iter().any(|other| other.namespace == app.namespace && other.name == name);
        if !is_taken(&app.name) {
            continue;
        }
        let free = (2..).map(|number| format!("{}-{number}", app.name)).find(|name| !is_taken(name));
        let old = std::mem::replace(&mut app.name, free.expect("there are more numbers than apps"));
        app.notices.push(format!("renamed, because another program is called `{old}`, too"));
    }
}
