//! What variables are: which of the calling shell's an app inherits, and which are nobody else's business.

use std::ffi::OsString;

use crate::spec::Env;

/// Variables of a login, of a service or of another process manager: they describe the shell, not the app.
const NEVER: &[&str] = &[
    "SHLVL",
    "PWD",
    "NOTIFY_SOCKET",
    "NODE_CHANNEL_FD",
    "NODE_UNIQUE_ID",
    "JOURNAL_STREAM",
    "INVOCATION_ID",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
];
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
    "PASSPHRASE",
    "CONNECTION_STRING",
];

/// What the names of secrets end with, behind a `_`.
const ENDS: &[&str] = &["KEY", "PASS", "PWD", "DSN"];

/// Whether a variable looks like a secret: by its name, or by a password in a URL.
pub fn is_secret(name: &str, value: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    MARKS.iter().any(|mark| upper.contains(mark))
        || ENDS.iter().any(|end| upper.strip_suffix(end).is_some_and(|front| front.ends_with('_')))
        || ["PASS", "DSN"].contains(&upper.as_str())
        || has_password(value)
}

/// Whether an address with a password is in it: `scheme://user:password@host`. A password may hold any character but
/// blanks, `/` and `@` included, so `http://host:80/@me` is taken for one: rather hidden than shown.
fn has_password(value: &str) -> bool {
    value.match_indices("://").any(|(at, mark)| {
        let rest = value[at + mark.len()..].split(char::is_whitespace).next().unwrap_or_default();
        rest.split_once(':').is_some_and(|(user, rest)| !user.contains(['/', '?', '#', '@']) && rest.contains('@'))
    })
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
    fn a_password_in_an_address_is_found_whatever_it_holds() {
        for value in [
            "postgres://u:p@db/app",
            "redis://:p@h",
            "postgres://u:a/b?c#d@db",
            "amqp://u:a@b@h",
            "http://a.b/x,amqp://u:p@h",
            "--db postgres://u:a/b@h",
            "x://u:p/@[::1]:80",
        ] {
            assert!(is_secret("", value), "{value}");
        }
        for value in
            ["https://example.org/a:b@c", "http://h:80/x y@z", "u:p@h", "https://h/?q=a:b@c", "http://u@h:80/", "a://b"]
        {
            assert!(!is_secret("", value), "{value}");
        }
    }

    #[test]
    fn a_variable_that_is_not_utf8_is_left_out() {
        let broken = OsString::from_vec(vec![0xff]);
        let env = inherited_env([("A".into(), broken.clone()), (broken, "x".into()), ("B".into(), "y".into())]);
        assert_eq!(env.into_iter().collect::<Vec<_>>(), [("B".into(), "y".into())]);
    }
}
