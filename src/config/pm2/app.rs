//! One app: the fields of its first process as keys, the processes of the same name as its instances.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::config::env::is_secret;
use crate::config::keys::{self, Availability, KeySpec, Lookup};
use crate::config::pm2::dump::{Entry, scalar};
use crate::config::pm2::{Surroundings, env, known, toml};
use crate::config::problem::shown;
use crate::config::program::usual_interpreter;
use crate::spec::{DEFAULT_NAMESPACE, Env, MAX_NAME, name_problem};

/// An app, on its way into a file.
#[derive(Debug)]
pub(super) struct App {
    pub(super) name: String,
    pub(super) namespace: String,
    /// What PM2 executed, as far as it tells apps of one name apart.
    program: String,
    is_cluster: bool,
    instances: usize,
    /// Whether all its processes were stopped.
    is_stopped: bool,
    /// Keys with their values, but for those that depend on all instances.
    keys: Vec<Line>,
    pub(super) env: Env,
    pub(super) named_env: BTreeMap<String, Env>,
    /// The variable that differs from instance to instance.
    increment_var: Option<String>,
    pub(super) notices: Vec<String>,
}

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) key: String,
    /// As TOML.
    pub(super) value: String,
    pub(super) standing: Standing,
}

/// Whether a line has its effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It has.
    Holds,
    /// It has, and needs a word.
    Remarked(&'static str),
    /// It is a comment until this feature is there.
    Waits(&'static str),
}

impl App {
    /// Translates one entry.
    ///
    /// # Errors
    ///
    /// The reason why it cannot be, as a sentence fragment.
    pub(super) fn new(entry: &Entry, surroundings: &Surroundings<'_>) -> Result<App, String> {
        let program = entry.text("pm_exec_path").ok_or("it has no `pm_exec_path`, so nobody knows what it ran")?;
        let written = entry.get("name").and_then(scalar);
        let written = written.or_else(|| Some(Path::new(program).file_stem()?.to_string_lossy().into_owned()));
        let written = written.ok_or("it has no name")?;
        let mut notices = Vec::new();
        let instance_var = entry.text("instance_var").unwrap_or("NODE_APP_INSTANCE");
        let mut app = App {
            name: fit_name(&written, "name", &mut notices),
            namespace: fit_name(entry.text("namespace").unwrap_or(DEFAULT_NAMESPACE), "namespace", &mut notices),
            program: [program, &entry.get("args").map(Value::to_string).unwrap_or_default()].join("\n"),
            is_cluster: entry.text("exec_mode").is_some_and(|mode| mode.starts_with("cluster")),
            instances: 1,
            is_stopped: entry.text("status") == Some("stopped"),
            keys: Vec::new(),
            env: entry.env().map(|own| env::declared(own, instance_var, surroundings.shell)).unwrap_or_default(),
            named_env: BTreeMap::new(),
            increment_var: entry.text("increment_var").map(str::to_owned),
            notices,
        };
        app.take_program(entry, program);
        app.take_logs(entry, surroundings.folder);
        app.take_keys(entry);
        Ok(app)
    }

    /// Whether `other` is an instance of the same app.
    pub(super) fn is_same_app(&self, other: &App) -> bool {
        (&self.name, &self.namespace, &self.program) == (&other.name, &other.namespace, &other.program)
    }

    /// Counts `other`, which [`is_same_app`](App::is_same_app), as one more instance.
    pub(super) fn add_instance(&mut self, other: &App) {
        self.instances += 1;
        self.is_stopped &= other.is_stopped;
        self.is_cluster |= other.is_cluster;
        let without_own = |app: &App| {
            let mut env = app.env.clone();
            app.increment_var.as_ref().map(|name| env.remove(name));
            (env, app.named_env.clone(), app.keys.clone())
        };
        let notice = "its instances were declared differently; the first one's values are taken".to_owned();
        if without_own(self) != without_own(other) && !self.notices.contains(&notice) {
            self.notices.push(notice);
        }
    }

    /// All lines above the tables, in the order of the key table.
    pub(super) fn lines(&self) -> Vec<Line> {
        let line = |key: &str, value: String, standing| Line { key: key.to_owned(), value, standing };
        let mut lines = vec![line("name", toml::quoted(&self.name), Standing::Holds)];
        if self.namespace != DEFAULT_NAMESPACE {
            lines.push(line("namespace", toml::quoted(&self.namespace), Standing::Holds));
        }
        let mut keys = self.keys.clone();
        if self.is_stopped {
            keys.push(line("autostart", "false".into(), Standing::Remarked("it was stopped when PM2 saved it")));
        }
        let instances = self.instances.to_string();
        match (self.is_cluster, self.instances) {
            (true, _) => {
                keys.push(line("exec_mode", toml::quoted("cluster"), Standing::Holds));
                keys.push(line("instances", instances, Standing::Holds));
            }
            (false, 1) => {}
            (false, _) => {
                keys.push(line("exec_mode", toml::quoted("fork"), Standing::Holds));
                keys.push(line("instances", instances, Standing::Holds));
            }
        }
        // Without several instances of one name there is nothing to share.
        keys.retain(|line| line.key != "merge_logs" || self.instances > 1);
        let order: Vec<&str> = keys::all().map(|key| key.name).collect();
        keys.sort_by_key(|line| order.iter().position(|name| *name == line.key));
        lines.extend(keys);
        lines
    }

    /// What becomes of the declared whole, beside what was noticed on the way.
    pub(super) fn late_notices(&self) -> Vec<String> {
        let lines = self.lines();
        let waiting = |line: &&Line| matches!(line.standing, Standing::Waits(_));
        let keys: Vec<String> = lines.iter().filter(waiting).map(|line| format!("`{}`", line.key)).collect();
        let mut notices = Vec::new();
        if !keys.is_empty() {
            notices.push(format!("not in this version yet, so written as comments: {}", keys.join(", ")));
        }
        notices
    }

    /// Variables whose values look like secrets.
    pub(super) fn secrets(&self) -> Vec<String> {
        let all = self.named_env.values().chain([&self.env]).flatten();
        let mut names: Vec<String> =
            all.filter(|(name, value)| is_secret(name, value)).map(|(name, _)| name.clone()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn take_program(&mut self, entry: &Entry, program: &str) {
        let interpreter = entry.text("exec_interpreter").unwrap_or("none");
        let args = entry.get("args").filter(|args| !known::is_default("args", args));
        let words: Vec<&str> = args.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        let file = Path::new(program).file_name().unwrap_or_default().to_string_lossy();
        // A command line: PM2 gives it to a shell itself.
        if let ("none", "bash" | "sh", ["-c", line]) = (interpreter, &*file, words.as_slice())
            && line.contains(char::is_whitespace)
        {
            self.set("script", toml::quoted(line));
        } else {
            self.set("script", toml::quoted(program));
            if let Some(args) = args {
                self.set("args", toml::inline(args));
            }
            let usual = Path::new(program).extension().and_then(|end| usual_interpreter(end.to_str()?));
            if interpreter != usual.unwrap_or("none") {
                self.set("interpreter", toml::quoted(interpreter));
            }
        }
        if let Some(cwd) = entry.text("pm_cwd") {
            self.set("cwd", toml::quoted(cwd));
        }
        let is_bun = Path::new(interpreter).file_name().is_some_and(|name| name == "bun");
        // The agent knows which signal a Node program listens for; for another one this is what it was written for.
        if is_bun {
            let standing = Standing::Remarked("what PM2 sends; without it SIGTERM");
            self.keys.push(Line { key: "stop_signal".into(), value: toml::quoted("SIGINT"), standing });
        }
    }

    fn take_logs(&mut self, entry: &Entry, folder: &Path) {
        let is_merged = entry.get("merge_logs") == Some(&Value::Bool(true));
        for (field, key) in [
            ("pm_out_log_path", "out_file"),
            ("pm_err_log_path", "error_file"),
            ("pm_log_path", "log_file"),
            ("pm_pid_path", "pid_file"),
        ] {
            let Some(path) = entry.text(field).map(Path::new) else { continue };
            let own = path.parent().is_some_and(|parent| {
                let is_below =
                    |name: &str| parent == folder.join(name) || parent.ends_with(Path::new(".pm2").join(name));
                is_below("logs") || is_below("pids")
            });
            // What lies in PM2's own folders was put there by default; rsx has its own.
            if own {
                continue;
            }
            let is_shared = is_merged && key != "pid_file";
            let path = if is_shared { path.to_owned() } else { without_id(path) };
            self.take_key(keys::find(key), &json!(path.to_string_lossy()), key);
        }
    }

    fn take_keys(&mut self, entry: &Entry) {
        const TAKEN: [&str; 8] =
            ["name", "namespace", "args", "exec_interpreter", "interpreter", "exec_mode", "merge_logs", "cwd"];
        for (name, value) in entry.fields() {
            if TAKEN.contains(&name) || known::is_state(name) || known::is_copied_variable(name, value, entry) {
                continue;
            }
            match (keys::lookup(name), value) {
                (Lookup::NamedEnv(_), Value::Object(variables)) => {
                    self.named_env.insert(name.to_owned(), env::texts(variables));
                }
                (Lookup::Key(spec), value) if !known::is_default(name, value) => self.take_key(Some(spec), value, name),
                (Lookup::Key(_) | Lookup::NamedEnv(_), _) => {}
                (Lookup::Unknown(_), value) if known::is_shouted(name) || known::is_default(name, value) => {}
                (Lookup::Unknown(_), _) => {
                    self.notices.push(format!("`{}` left out: rsx does not know it", shown(name)))
                }
            }
        }
        if entry.get("merge_logs") == Some(&Value::Bool(true)) {
            self.set("merge_logs", "true".into());
        }
    }

    fn take_key(&mut self, spec: Option<&'static KeySpec>, value: &Value, written: &str) {
        // PM2 keeps both what was declared and what it made of it; the latter was taken first.
        let Some(spec) = spec.filter(|spec| !self.keys.iter().any(|line| line.key == spec.name)) else { return };
        let standing = match spec.availability {
            Availability::Now => Standing::Holds,
            Availability::Later { unless, .. } if scalar(value).is_some_and(|text| unless.contains(&text.as_str())) => {
                return;
            }
            Availability::Later { feature, .. } => Standing::Waits(feature),
            Availability::NoCounterpart(instead) => {
                return self.notices.push(format!("`{}` left out: {instead}", shown(written)));
            }
        };
        self.keys.push(Line { key: spec.name.to_owned(), value: toml::value_of(spec.name, value), standing });
    }

    fn set(&mut self, key: &str, value: String) {
        self.keys.push(Line { key: key.to_owned(), value, standing: Standing::Holds });
    }
}

/// `web-0.log` → `web.log`: PM2 puts the id of each process into the path, rsx the number of the instance.
fn without_id(path: &Path) -> std::path::PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let Some((front, id)) = stem.rsplit_once('-') else { return path.to_owned() };
    if front.is_empty() || id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_digit()) {
        return path.to_owned();
    }
    match path.extension() {
        Some(end) => path.with_file_name(format!("{front}.{}", end.to_string_lossy())),
        None => path.with_file_name(front),
    }
}

/// The same name, without what a name must not contain here.
fn fit_name(written: &str, what: &str, notices: &mut Vec<String>) -> String {
    let is_fit = |name: &str| name_problem(name).is_none() && name.trim() == name;
    if is_fit(written) {
        return written.to_owned();
    }
    let mut name: String = written.trim().chars().map(|c| if c == '/' || c.is_control() { '-' } else { c }).collect();
    name = name.trim_start_matches('-').trim().to_owned();
    while name.len() > MAX_NAME {
        name.pop();
    }
    if !is_fit(&name) {
        name = format!("app-{name}").trim_end_matches(['-', '.']).to_owned();
    }
    notices.push(format!("`{}` cannot be a {what} here and became `{}`", shown(written), shown(&name)));
    name
}
