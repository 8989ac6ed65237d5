//! Which variables of the calling shell an app inherits.

use std::ffi::OsString;

use crate::spec::Env;

/// Variables of a login, of a service or of another process manager: they describe the shell, not the app.
const NEVER: &[&str] =
    &["SHLVL", "PWD", "NOTIFY_SOCKET", "NODE_CHANNEL_FD", "NODE_UNIQUE_ID", "JOURNAL_STREAM", "INVOCATION_ID"];
const NEVER_PREFIXES: &[&str] = &["SSH_", "SUDO_", "npm_", "LISTEN_", "RSX_"];

/// The variables that apps inherit, out of all variables of the caller. Those that are not UTF-8 are left out.
pub fn inherited_env(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Env {
    let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    let inherited =
        |name: &str| !NEVER.contains(&name) && !NEVER_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    variables.into_iter().filter_map(text).filter(|(name, _)| inherited(name)).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn what_describes_the_shell_is_not_inherited() {
        let names = "PATH HOME LANG SSH_CONNECTION SUDO_USER SHLVL PWD npm_config_x NOTIFY_SOCKET LISTEN_FDS \
            NODE_CHANNEL_FD NODE_UNIQUE_ID RSX_HOME JOURNAL_STREAM INVOCATION_ID NODE_ENV";
        let env = inherited_env(names.split_whitespace().map(|name| (name.into(), "x".into())));
        assert_eq!(env.into_keys().collect::<Vec<_>>(), ["HOME", "LANG", "NODE_ENV", "PATH"]);
    }

    #[test]
    fn a_variable_that_is_not_utf8_is_left_out() {
        let broken = OsString::from_vec(vec![0xff]);
        let env = inherited_env([("A".into(), broken.clone()), (broken, "x".into()), ("B".into(), "y".into())]);
        assert_eq!(env.into_iter().collect::<Vec<_>>(), [("B".into(), "y".into())]);
    }
}
