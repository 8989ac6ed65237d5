//! New values for some keys of an app that is there already.

use serde::{Deserialize, Serialize};

use crate::spec::{AppSpec, Program};

/// What `rsx restart api --kill-timeout 3s` says: the values of `keys`, as `from` has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// The keys of the config file that were given.
    pub keys: Vec<String>,
    /// Holds their values; nothing else of it counts.
    pub from: AppSpec,
    /// Another program that runs the script; `none`: the script runs as it is.
    #[serde(default)]
    pub interpreter: Option<String>,
    /// Other arguments before the script.
    #[serde(default)]
    pub interpreter_args: Option<Vec<String>>,
    /// Other arguments behind the script.
    #[serde(default)]
    pub args: Option<Vec<String>>,
}

/// Takes the value of one key over.
type Take = fn(&mut AppSpec, &AppSpec);

/// The keys that can be changed one by one. Those that are not here belong to the file, or to a verb of their own.
const KEYS: &[(&str, Take)] = &[
    ("name", |to, from| to.name.clone_from(&from.name)),
    ("namespace", |to, from| to.namespace.clone_from(&from.namespace)),
    ("cwd", |to, from| to.cwd.clone_from(&from.cwd)),
    ("filter_env", |to, from| to.filter_env.clone_from(&from.filter_env)),
    ("out_file", |to, from| to.logs.out.clone_from(&from.logs.out)),
    ("error_file", |to, from| to.logs.error.clone_from(&from.logs.error)),
    ("log_file", |to, from| to.logs.combined.clone_from(&from.logs.combined)),
    ("time", |to, from| to.logs.style.form.clone_from(&from.logs.style.form)),
    ("log_date_format", |to, from| to.logs.style.form.clone_from(&from.logs.style.form)),
    ("log_type", |to, from| to.logs.style.form.clone_from(&from.logs.style.form)),
    ("merge_logs", |to, from| to.logs.merge = from.logs.merge),
    ("disable_logs", |to, from| to.logs.clone_from(&from.logs)),
    ("pid_file", |to, from| to.pid_file.clone_from(&from.pid_file)),
    ("restart_delay", |to, from| to.restart.delay = from.restart.delay),
    ("exp_backoff_restart_delay", |to, from| to.restart.delay = from.restart.delay),
    ("max_restarts", |to, from| to.restart.max_restarts = from.restart.max_restarts),
    ("min_uptime", |to, from| to.restart.min_uptime = from.restart.min_uptime),
    ("retry_after", |to, from| to.restart.retry_after = from.restart.retry_after),
    ("autorestart", |to, from| to.restart.policy = from.restart.policy),
    ("stop_exit_codes", |to, from| to.restart.stop_exit_codes.clone_from(&from.restart.stop_exit_codes)),
    ("max_memory_restart", |to, from| to.memory.limit = from.memory.limit),
    ("listen_timeout", |to, from| to.listen_timeout = from.listen_timeout),
    ("kill_timeout", |to, from| to.stop.kill_timeout = from.stop.kill_timeout),
    ("wait_ready", |to, from| to.wait_ready = from.wait_ready),
    ("stop_signal", |to, from| (to.stop.signal, to.stop.auto) = (from.stop.signal, from.stop.auto)),
    ("shutdown_with_message", |to, from| to.stop.message = from.stop.message),
    ("treekill", |to, from| to.stop.treekill = from.stop.treekill),
];

impl Changes {
    /// Whether the key can be changed by itself.
    pub fn has(key: &str) -> bool {
        KEYS.iter().any(|(name, _)| *name == key)
    }

    /// The app with its new values, and the keys that are different now.
    ///
    /// # Errors
    ///
    /// Why it cannot be, as a sentence fragment.
    pub fn apply(&self, old: &AppSpec) -> Result<(AppSpec, Vec<&'static str>), String> {
        let mut new = old.clone();
        let mut changed = Vec::new();
        for key in &self.keys {
            let known = KEYS.iter().find(|(name, _)| name == key);
            let (name, take) = known.ok_or_else(|| format!("`{key}` is no key that can be changed by itself"))?;
            let before = new.clone();
            take(&mut new, &self.from);
            changed.extend((new != before).then_some(*name));
        }
        let program = self.program(&old.program)?;
        changed.extend((program != old.program).then_some("script"));
        new.program = program;
        match new.problem() {
            Some(problem) => Err(problem),
            None => Ok((new, changed)),
        }
    }

    fn program(&self, old: &Program) -> Result<Program, String> {
        let Changes { interpreter, interpreter_args, args, .. } = self;
        if interpreter.is_none() && interpreter_args.is_none() && args.is_none() {
            return Ok(old.clone());
        }
        let (path, old_interpreter, old_args, old_rest) = match old {
            Program::Script { script, interpreter, interpreter_args, args } => {
                (script, Some(interpreter), interpreter_args.clone(), args)
            }
            Program::Binary { path, args } => (path, None, Vec::new(), args),
            Program::CommandLine { .. } => {
                return Err(
                    "it is a command line: `rsx start \"COMMAND LINE\" --name NAME` declares it anew".to_owned()
                );
            }
            Program::Serve { .. } => return Err("it serves files: `rsx serve` says how".to_owned()),
        };
        let args = args.as_ref().unwrap_or(old_rest).clone();
        match interpreter.as_ref().or(old_interpreter).filter(|name| *name != "none") {
            Some(interpreter) if path.is_absolute() => Ok(Program::Script {
                script: path.clone(),
                interpreter: interpreter.clone(),
                interpreter_args: interpreter_args.clone().unwrap_or(old_args),
                args,
            }),
            Some(_) => Err(format!("`{}` is a program on PATH, and no script", path.display())),
            None if interpreter_args.as_ref().is_some_and(|args| !args.is_empty()) => {
                Err("it runs without an interpreter that could take arguments".to_owned())
            }
            None => Ok(Program::Binary { path: path.clone(), args }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn changes(keys: &[&str], change: impl FnOnce(&mut AppSpec)) -> Changes {
        let mut from = AppSpec::sample("new");
        change(&mut from);
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        Changes { keys, from, interpreter: None, interpreter_args: None, args: None }
    }

    fn script(interpreter: &str, interpreter_args: &[&str], args: &[&str]) -> Program {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Program::Script {
            script: "/srv/app.js".into(),
            interpreter: interpreter.into(),
            interpreter_args: texts(interpreter_args),
            args: texts(args),
        }
    }

    #[test]
    fn only_what_was_given_changes_and_what_differs_is_told() {
        let given = changes(&["name", "kill_timeout", "max_restarts"], |from| {
            from.stop.kill_timeout = Duration::from_secs(1);
            from.listen_timeout = Duration::from_secs(1);
        });
        let (new, changed) = given.apply(&AppSpec::sample("old")).unwrap();
        assert_eq!((new.name.as_str(), new.stop.kill_timeout), ("new", Duration::from_secs(1)));
        assert_eq!(new.listen_timeout, Duration::from_secs(60));
        assert_eq!(changed, ["name", "kill_timeout"]);
    }

    #[test]
    fn a_program_takes_other_arguments_and_another_interpreter() {
        let mut old = AppSpec::sample("app");
        old.program = script("node", &["--a"], &["x"]);
        let with = |change: fn(&mut Changes)| {
            let mut given = changes(&[], |_| ());
            change(&mut given);
            given.apply(&old).map(|(new, _)| new.program)
        };
        assert_eq!(with(|it| it.args = Some(vec![])), Ok(script("node", &["--a"], &[])));
        assert_eq!(with(|it| it.interpreter_args = Some(vec!["--b".into()])), Ok(script("node", &["--b"], &["x"])));
        assert_eq!(with(|it| it.interpreter = Some("bun".into())), Ok(script("bun", &["--a"], &["x"])));
        let none = Program::Binary { path: "/srv/app.js".into(), args: vec!["x".into()] };
        assert_eq!(with(|it| it.interpreter = Some("none".into())), Ok(none));
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_reason() {
        let mut given = changes(&[], |_| ());
        given.args = Some(vec!["x".into()]);
        let mut old = AppSpec::sample("app");
        old.program = Program::CommandLine { line: "npm start".into() };
        assert!(given.apply(&old).unwrap_err().contains("command line"));
        let unknown = changes(&["instances"], |_| ());
        assert!(unknown.apply(&AppSpec::sample("app")).unwrap_err().contains("`instances`"));
        let bad = changes(&["name"], |from| from.name = "a/b".into());
        assert!(bad.apply(&AppSpec::sample("app")).is_err());
    }
}
