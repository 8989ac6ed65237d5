//! What PM2's fields are: its own state, its defaults, and what its metrics and modules left behind.

use serde_json::Value;

use crate::config::pm2::dump::{Entry, scalar};

/// Fields that describe a process of the past, or that other fields say better.
const STATE: &[&str] = &[
    "NODE_APP_INSTANCE",
    "append_env_to_name",
    "autostart_done",
    "command",
    "created_at",
    "env",
    "execute_command",
    "exit_code",
    "instances",
    "km_link",
    "monit",
    "monitored",
    "name_prefix",
    "node_version",
    "pmx_module",
    "prev_restart_delay",
    "restart_time",
    "script",
    "started_inside",
    "status",
    "unique_id",
    "unstable_restarts",
    "username",
    "version",
    "versioning",
    "vizion_running",
];

/// Beginnings of the names of such fields.
const STATE_PREFIXES: &[&str] = &["_", "axm_", "pm_", "PM2_"];

/// What a key is where nobody has said anything: PM2 fills it in, and here the default of rsx holds.
const DEFAULTS: &[(&str, &[&str])] = &[
    ("automation", &["true"]),
    ("autorestart", &["true"]),
    ("autostart", &["true"]),
    ("cron_restart", &["0", "false"]),
    ("exp_backoff_restart_delay", &["0"]),
    ("instance_var", &["NODE_APP_INSTANCE"]),
    ("kill_retry_time", &["100"]),
    ("kill_timeout", &["1600"]),
    ("listen_timeout", &["3000"]),
    ("log_type", &["raw"]),
    ("max_memory_restart", &["0"]),
    ("max_restarts", &["16"]),
    ("min_uptime", &["1000"]),
    ("namespace", &["default"]),
    ("pmx", &["true"]),
    ("restart_delay", &["0"]),
    ("source_map_support", &["true"]),
    ("treekill", &["true"]),
    ("vizion", &["true"]),
    ("watch_delay", &["0"]),
    ("windowsHide", &["true"]),
];

/// Keys of which PM2's default is not `false`.
const TRUE_BY_DEFAULT: &[&str] =
    &["automation", "autorestart", "autostart", "pmx", "source_map_support", "treekill", "vizion", "windowsHide"];

/// Whether a field is no declaration of the app's owner.
pub(super) fn is_state(name: &str) -> bool {
    STATE.contains(&name) || STATE_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether the value of a field is what PM2 fills in by itself.
pub(super) fn is_default(name: &str, value: &Value) -> bool {
    match value {
        Value::Null => return true,
        Value::Array(items) => return items.is_empty(),
        Value::Object(fields) => return fields.is_empty(),
        Value::Bool(false) => return !TRUE_BY_DEFAULT.contains(&name),
        Value::Bool(true) | Value::Number(_) | Value::String(_) => {}
    }
    let Some(text) = scalar(value) else { return true };
    text.is_empty() || DEFAULTS.iter().any(|(known, values)| *known == name && values.contains(&text.as_str()))
}

/// Whether a field is a variable of the environment that PM2 has copied among its own.
pub(super) fn is_copied_variable(name: &str, value: &Value, entry: &Entry) -> bool {
    entry.env().and_then(|env| env.get(name)).is_some_and(|variable| variable == value || is_shouted(name))
}

/// Whether a name can only be a variable's: PM2 has no field in capitals.
pub(super) fn is_shouted(name: &str) -> bool {
    name.contains(|c: char| c.is_ascii_uppercase()) && !name.contains(|c: char| c.is_ascii_lowercase())
}
