//! Variables: those that an owner declared, told apart from the shell's and from PM2's own.

use serde_json::{Map, Value};

use crate::config::env::is_inherited;
use crate::config::keys::{self, Lookup};
use crate::config::pm2::dump::scalar;
use crate::config::pm2::known;
use crate::spec::Env;

/// Variables of a terminal or a login: they describe who typed `pm2 start`, not the app.
const SESSION: &[&str] = &[
    "_",
    "COLORTERM",
    "COLUMNS",
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "LESSCLOSE",
    "LESSOPEN",
    "LINES",
    "LS_COLORS",
    "MAIL",
    "OLDPWD",
    "PM2_HOME",
    "PROMPT_COMMAND",
    "PS1",
    "STY",
    "TERM",
    "TMUX",
    "TMUX_PANE",
    "VTE_VERSION",
    "WINDOWID",
    "XAUTHORITY",
];
const SESSION_PREFIXES: &[&str] = &["BASH_FUNC_", "PM2_", "TERM_", "VSCODE_", "XDG_", "axm_", "pm_"];

/// The variables worth keeping: not this shell's, not PM2's own, not a terminal's. `instance_var` is set anew by rsx.
pub(super) fn declared(env: &Map<String, Value>, instance_var: &str, shell: &Env) -> Env {
    // PM2 passes its own fields as variables, so that a `pm2 start` typed inside of an app brings them along.
    let is_inside = env.contains_key("pm_id") || env.contains_key("unique_id");
    let is_own = |name: &str| {
        name == instance_var
            || name == "NODE_APP_INSTANCE"
            || name == "unique_id"
            || (is_inside && is_lower(name) && (known::is_state(name) || matches!(keys::lookup(name), Lookup::Key(_))))
    };
    let is_session = |name: &str| {
        SESSION.contains(&name) || SESSION_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || !is_inherited(name)
    };
    let texts = texts(env).into_iter();
    texts.filter(|(name, value)| !is_own(name) && !is_session(name) && shell.get(name) != Some(value)).collect()
}

/// All variables as a program would get them; structures as JSON, as PM2 passes them.
pub(super) fn texts(env: &Map<String, Value>) -> Env {
    let is_possible = |name: &str| !name.is_empty() && !name.contains(['=', '\0']);
    let text = |value: &Value| match value {
        Value::Null => None,
        Value::Array(_) | Value::Object(_) => Some(value.to_string()),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => scalar(value),
    };
    let pairs = env.iter().filter(|(name, _)| is_possible(name));
    pairs.filter_map(|(name, value)| Some((name.clone(), text(value)?))).filter(|(_, v)| !v.contains('\0')).collect()
}

fn is_lower(name: &str) -> bool {
    !name.contains(|c: char| c.is_ascii_uppercase())
}
