//! What variables are: which of the calling shell's an app inherits, and which are nobody else's business.

use std::ffi::OsString;

use crate::spec::Env;

/// Variables of a login, of a service or of another process manager: they describe the shell, not the app.
const NEVER: &[&str] =
    &["SHLVL", "PWD", "NOTIFY_SOCKET", "NODE_CHANNEL_FD", "NODE_UNIQUE_ID", "JOURNAL_STREAM", "INVOCATION_ID"];
const NEVER_PREFIXES: &[&str] = &["SSH_", "SUDO_", "npm_", "LISTEN_", "RSX_"];

/// The variables that apps inherit, out of all variables of the caller. Those that are not UTF-8 are left out.
pub fn inherited_env(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Env {
    let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    variables.into_iter().filter_map(text).filter(|(name, _)| is_inherited(name)).collect()
}

/// Whether a variable of this name is inherited.
pub(crate) fn is_inherited(name: &str) -> bool {
    !NEVER.contains(&name) && !NEVER_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// What the names of secrets contain.
const MARKS: &[&str] = &[
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "TOKEN",
    "APIKEY",
    "API_KEY",
    "PRIVATE",
    "CREDENTIAL",
    "AUTH",
    "COOKIE",
    "SIGNING",
    "ACCESS_KEY",
];

/// Whether a variable looks like a secret: by its name, or by a password in a URL.
pub fn is_secret(name: &str, value: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    let has_password = || {
        value.split_once("://").is_some_and(|(_, rest)| {
            let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
            authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
        })
    };
    MARKS.iter().any(|mark| upper.contains(mark))
        || upper.ends_with("_KEY")
        || upper.ends_with("_PASS")
        || upper == "PASS"
        || has_password()
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
