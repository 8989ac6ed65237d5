//! What readers are not shown: values of secret-looking names, and passwords in addresses.
//!
//! By name and by form only, so it finds what is usual and not everything; who needs a value asks for it.

use crate::config;
use crate::spec::{Env, Program};

/// Stands in the place of what is hidden.
pub(super) const HIDDEN: &str = "[redacted]";

/// The same variables, secret values hidden.
pub(super) fn env(env: &Env) -> Env {
    let value =
        |name: &str, value: &str| if config::is_secret(name, value) { HIDDEN.to_owned() } else { value.to_owned() };
    env.iter().map(|(name, text)| (name.clone(), value(name, text))).collect()
}

/// The same program, secrets among its arguments hidden: `--token=x`, `--token x`, `TOKEN=x`, `postgres://u:p@db`.
pub(super) fn program(program: &Program) -> Program {
    match program {
        Program::Script { script, interpreter, interpreter_args, args } => Program::Script {
            script: script.clone(),
            interpreter: interpreter.clone(),
            interpreter_args: words(interpreter_args),
            args: words(args),
        },
        Program::Binary { path, args } => Program::Binary { path: path.clone(), args: words(args) },
        Program::CommandLine { line } => Program::CommandLine { line: command_line(line) },
        Program::Serve { args } => Program::Serve { args: words(args) },
    }
}

fn words(words: &[String]) -> Vec<String> {
    let mut is_value = false;
    let mut shown = Vec::with_capacity(words.len());
    for text in words {
        shown.push(word(text, &mut is_value));
    }
    shown
}

/// Blanks stay as they are: the line is still the one that was written. A quoted value with blanks is several words
/// here, all of which are hidden with the first.
fn command_line(line: &str) -> String {
    let (mut shown, mut is_value, mut quote) = (String::with_capacity(line.len()), false, None);
    for piece in line.split_inclusive(char::is_whitespace) {
        let text = piece.trim_end_matches(char::is_whitespace);
        let blanks = &piece[text.len()..];
        if let Some(open) = quote {
            quote = (!text.ends_with(open)).then_some(open);
            continue;
        }
        let hidden = word(text, &mut is_value);
        if hidden != text {
            let value = text.split_once('=').map_or(text, |(_, value)| value);
            let open = value.chars().next().filter(|c| matches!(c, '"' | '\''));
            quote = open.filter(|open| value.len() == 1 || !value.ends_with(*open));
        }
        shown.push_str(&hidden);
        shown.push_str(blanks);
    }
    shown
}

/// One word; `is_value` is whether the word before named a secret.
fn word(text: &str, is_value: &mut bool) -> String {
    if std::mem::take(is_value) && !text.starts_with('-') && !text.is_empty() {
        return HIDDEN.to_owned();
    }
    let name = text.split_once('=').map_or(text, |(name, _)| name);
    let names_secret = is_secret(&name.trim_start_matches('-').replace('-', "_"));
    match text.split_once('=') {
        Some((_, value)) if names_secret || has_password(value) => format!("{name}={HIDDEN}"),
        None if names_secret && text.starts_with("--") => {
            *is_value = true;
            text.to_owned()
        }
        Some(_) | None if has_password(text) => HIDDEN.to_owned(),
        Some(_) | None => text.to_owned(),
    }
}

fn is_secret(name: &str) -> bool {
    config::is_secret(name, "")
}

fn has_password(value: &str) -> bool {
    config::is_secret("", value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_name_and_by_form() {
        let given: Env = [
            ("DB_PASSWORD", "x"),
            ("stripe_api_key", "x"),
            ("SSH_KEY", "x"),
            ("DATABASE_URL", "postgres://u:p@db/app"),
            ("QUEUE_URL", "amqp://u:p/q@mq"),
            ("HOME_URL", "https://example.org/a:b@c"),
            ("PORT", "3000"),
            ("KEYBOARD", "us"),
            ("MYSQL_PWD", "x"),
            ("DSN", "u:p@tcp(db)/app"),
            ("OLDPWD", "/srv"),
        ]
        .into_iter()
        .map(|(n, v)| (n.to_owned(), v.to_owned()))
        .collect();
        let hidden: Vec<String> = env(&given).into_iter().filter(|(_, v)| v == HIDDEN).map(|(n, _)| n).collect();
        assert_eq!(
            hidden,
            ["DATABASE_URL", "DB_PASSWORD", "DSN", "MYSQL_PWD", "QUEUE_URL", "SSH_KEY", "stripe_api_key"]
        );
    }

    #[test]
    fn secrets_among_arguments_are_hidden_and_the_rest_is_left() {
        let args =
            ["--port", "80", "--api-token=abc", "--auth-token", "abc", "-v", "redis://:pw@h:1", "--password", "-x"];
        let args: Vec<String> = args.map(str::to_owned).into();
        let shown = words(&args);
        let expected = [
            "--port",
            "80",
            "--api-token=[redacted]",
            "--auth-token",
            "[redacted]",
            "-v",
            "[redacted]",
            "--password",
            "-x",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_command_line_keeps_its_form_without_its_secrets() {
        for (line, shown) in [
            ("npm  start", "npm  start"),
            ("PORT=1 TOKEN=abc node x", "PORT=1 TOKEN=[redacted] node x"),
            ("run --password 'a b c' now", "run --password [redacted] now"),
            ("run --password=\"a b\" now", "run --password=[redacted] now"),
        ] {
            // The blank behind a quoted value goes with its last word.
            let (got, shown) = (command_line(line), shown.replace("  ", " "));
            assert_eq!(got.split_whitespace().collect::<Vec<_>>(), shown.split(' ').collect::<Vec<_>>(), "{line}");
            assert!(!got.contains("abc") && !got.contains("a b"), "{got}");
        }
        assert_eq!(command_line("npm  start"), "npm  start");
    }
}
