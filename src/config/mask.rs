//! Hides secrets in a text that is cited: a line beside the one that is wrong may hold a password, and what is cited ends
//! up in the logs of whoever deploys.
//!
//! By form only, in every format alike: it need not understand the text, which may not even be right.

use std::sync::LazyLock;

use regex_lite::{Captures, Regex};

use crate::config::env::is_secret;

/// `NAME = "value"`, `name: value`, `--name=value`.
static NAMED: LazyLock<Regex> = LazyLock::new(|| {
    let value = r#""(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[^\s,}\]\[{"'][^,}\]"'\n]*"#;
    expression(&format!(r#"(?P<name>[A-Za-z0-9_.-]+)["']?\s*[:=]\s*(?P<value>{value})"#))
});

/// `"--name", "value"`.
static ARGUMENT: LazyLock<Regex> =
    LazyLock::new(|| expression(r#"["'](?P<name>--?[A-Za-z0-9_-]+)["']\s*,\s*(?P<value>"[^"\n]*"|'[^'\n]*')"#));

/// `scheme://user:password@`.
static ADDRESS: LazyLock<Regex> = LazyLock::new(|| expression(r#"(?P<name>://[^/?\#\s:@"']*):(?P<value>[^\s"']+)@"#));

/// The same text with stars in the place of secrets, byte for byte, so that places stay right.
pub(super) fn masked(text: &str) -> String {
    let by_name = |found: &Captures<'_>| is_secret(&part(found, "name").trim_start_matches('-').replace('-', "_"), "");
    let mut bytes = text.as_bytes().to_vec();
    for (regex, is_meant) in [(&NAMED, Some(by_name)), (&ARGUMENT, Some(by_name)), (&ADDRESS, None)] {
        let mut from = 0;
        while let Some(found) = regex.captures_at(text, from) {
            let Some(place) = found.name("value").map(|value| value.range()) else { break };
            let is_meant = is_meant.is_none_or(|is_meant| is_meant(&found));
            // A value that is not secret may hold one: `script = "run --token=x"`.
            from = if is_meant { place.end } else { place.start };
            if is_meant {
                bytes[place].iter_mut().filter(|byte| !matches!(byte, b'"' | b'\'')).for_each(|byte| *byte = b'*');
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_default()
}

fn expression(text: &str) -> Regex {
    Regex::new(text).expect("it is a literal, and a test uses it")
}

fn part<'t>(found: &Captures<'t>, name: &str) -> &'t str {
    found.name(name).map_or("", |part| part.as_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn secrets_of_every_format_become_stars_and_the_rest_stays() {
        for (text, shown) in [
            ("DB_PASSWORD = \"a b\" # x", "DB_PASSWORD = \"***\" # x"),
            ("env = { PORT = 1, API_TOKEN = 'abc' }", "env = { PORT = 1, API_TOKEN = '***' }"),
            ("\"API_KEY\": \"abc\", \"PORT\": 1", "\"API_KEY\": \"***\", \"PORT\": 1"),
            ("  SECRET: a b\nPORT: 1", "  SECRET: ***\nPORT: 1"),
            ("args = [\"--api-token\", \"abc\"]", "args = [\"--api-token\", \"***\"]"),
            ("script = \"x --auth=abc\"", "script = \"x --auth=***\""),
            ("URL = \"redis://u:pw@h/1\"", "URL = \"redis://u:**@h/1\""),
            ("URL = \"redis://u:a/b@c@h/1\"", "URL = \"redis://u:*****@h/1\""),
            ("name = \"api\"", "name = \"api\""),
        ] {
            assert_eq!(masked(text), shown);
        }
    }

    proptest! {
        #[test]
        fn places_stay_right_in_any_text(text in "([a-zA-Z_=:\"' \n{}@/ä]|TOKEN){0,60}") {
            let shown = masked(&text);
            prop_assert_eq!(shown.len(), text.len());
            prop_assert_eq!(shown.matches('\n').count(), text.matches('\n').count());
        }
    }
}
