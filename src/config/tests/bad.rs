//! Bad input: every one a clear problem, none a panic.
#![expect(clippy::disallowed_methods, reason = "files are written to be read, and a bound in time needs a clock")]

use std::fs;
use std::io::ErrorKind;
use std::time::Instant;

use proptest::prelude::*;

use crate::config::tests::{messages, options, read_with};
use crate::config::{Colour, ConfigError, Format, MAX_FILE, load};

const FORMATS: [Format; 3] = [Format::Toml, Format::Json, Format::Yaml];

#[test]
fn an_empty_file_is_called_empty() {
    for format in FORMATS {
        for text in ["", " \n\t", "\u{feff}"] {
            assert_eq!(messages(text, format), ["there is nothing in it"]);
        }
    }
    assert_eq!(messages("// nothing", Format::Json), ["the file contains comments only"]);
    assert_eq!(messages("# nothing", Format::Toml), ["the file declares no app"]);
}

#[test]
fn a_nul_is_refused_wherever_it_stands() {
    for format in FORMATS {
        assert_eq!(messages("a\0b", format), ["the file contains a NUL byte"]);
    }
    for (text, format) in [
        ("[[apps]]\nscript = \"a\\u0000b\"", Format::Toml),
        (r#"{"apps": [{"script": "app.js", "env": {"A\u0000": 1}}]}"#, Format::Json),
        ("apps:\n- script: \"a\\0b\"", Format::Yaml),
    ] {
        assert_eq!(messages(text, format), ["a value contains a NUL character"], "{text}");
    }
    let two = "[[apps]]\nscript = \"app.js\"\nenv = { A = \"\\u0000\" }\ninstnces = 2";
    assert_eq!(messages(two, Format::Toml), ["a value contains a NUL character", "unknown key `instnces`"]);
}

#[test]
fn names_that_would_harm_are_refused() {
    let long = "x".repeat(10_000);
    for name in ["a/b", "all", ".", "..", "-n", "a\tb", " a", &long, ""] {
        let name = serde_json::to_string(name).unwrap();
        let found = messages(&format!("[[apps]]\nscript='app.js'\nname={name}"), Format::Toml);
        assert_eq!(found.len(), 1, "{name}");
        assert!(found[0].starts_with("`name` ") && found[0].len() < 300, "{found:?}");
    }
    let found = messages("[[apps]]\nscript='/x/all.js'", Format::Toml);
    assert_eq!(found, ["the app cannot be named `all`", "there is no file `/x/all.js`"]);
}

#[test]
fn deep_nesting_ends_in_a_problem_not_in_a_crash() {
    for (text, format) in [
        (format!("a = {}", "[".repeat(100_000)), Format::Toml),
        (format!("a = {}{}", "[".repeat(5000), "]".repeat(5000)), Format::Toml),
        (format!("{}=1", vec!["a"; 200_000].join(".")), Format::Toml),
        (format!("[{}]", vec!["a"; 200_000].join(".")), Format::Toml),
        (format!("x = {{{}=1}}", vec!["a"; 200_000].join(".")), Format::Toml),
        ("[".repeat(100_000), Format::Json),
        (format!("{}{}", "[".repeat(100), "]".repeat(100)), Format::Json),
        ("{\"a\":".repeat(100_000), Format::Json),
        ("[".repeat(100_000), Format::Yaml),
        ("{a: ".repeat(10_000), Format::Yaml),
        ("- ".repeat(10_000), Format::Yaml),
        (format!("{}{}", "[".repeat(100), "]".repeat(100)), Format::Yaml),
    ] {
        assert!(!messages(&text, format).is_empty(), "{}", &text[..20]);
    }
}

#[test]
fn aliases_cannot_grow_without_bound() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let item = format!("*a{}", level - 1);
        text.push_str(&format!("a{level}: &a{level} [{}]\n", vec![item; 10].join(", ")));
    }
    assert_eq!(messages(&text, Format::Yaml), ["the file has more than 200000 values"]);
    assert!(messages("a: &a [*a]", Format::Yaml)[0].contains("alias"));
}

#[test]
fn four_megabytes_of_anything_are_judged_in_seconds() {
    let size = MAX_FILE / 8;
    for format in FORMATS {
        for piece in ["[[apps]]\n", "a: b\n", "- x\n", "\"a\":1,", "{", "'", "&a *a ", "x.", "# c\n", "? "] {
            // Unoptimised, an eighth of the limit must do; quadratic behaviour would show all the same.
            let text = piece.repeat(size / piece.len());
            let before = Instant::now();
            let result = read_with(&text, format, &options());
            let _ = result.map_err(|report| report.render(Colour::Never, 80));
            assert!(before.elapsed().as_secs() < 20, "{piece:?} {format:?} took {:?}", before.elapsed());
        }
    }
}

#[test]
fn files_that_cannot_be_read_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let failure = |name: &str| load(&at(name), &options()).unwrap_err();
    let ConfigError::Unreadable { source, .. } = failure("gone.toml") else { panic!() };
    assert_eq!(source.kind(), ErrorKind::NotFound);
    fs::create_dir(at("d.toml")).unwrap();
    assert!(matches!(failure("d.toml"), ConfigError::Unreadable { .. }));
    fs::write(at("latin.toml"), b"# caf\xe9\n[[apps]]\n").unwrap();
    let report = failure("latin.toml").report().unwrap().clone();
    assert_eq!(report.place(&report.problems()[0]), Some((1, 6)));
    fs::write(at("big.json"), vec![b' '; MAX_FILE + 1]).unwrap();
    assert_eq!(failure("big.json").report().unwrap().problems()[0].message, "the file has more than 4 MiB");
    fs::write(at("x.txt"), "").unwrap();
    assert!(matches!(failure("x.txt"), ConfigError::Unsupported(_)));
    nix::unistd::mkfifo(&at("f.json"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(matches!(failure("f.json"), ConfigError::Unreadable { .. }));
}

#[test]
fn the_default_file_is_found_in_the_documented_order() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(crate::config::find_default(folder.path()), None);
    for name in ["ecosystem.config.mjs", "ecosystem.yml", "ecosystem.json", "ecosystem.toml"] {
        fs::write(folder.path().join(name), "").unwrap();
        assert_eq!(crate::config::find_default(folder.path()), Some(folder.path().join(name)));
    }
    for (word, is_config) in [
        ("a/x.toml", true),
        ("x.config.cjs", true),
        ("app.js", false),
        ("x.yml", true),
        ("json", false),
        (".json", false),
    ] {
        assert_eq!(crate::config::is_config_path(word), is_config, "{word}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        judge(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn random_text_never_panics(text in "\\PC{0,200}") {
        judge(&text);
    }

    #[test]
    fn text_that_looks_like_a_file_never_panics(
        pieces in proptest::collection::vec(proptest::sample::select(PIECES.to_vec()), 0..40),
    ) {
        judge(&pieces.concat());
    }
}

const PIECES: &[&str] = &[
    "[[apps]]",
    "[defaults]",
    "\n",
    " ",
    "  ",
    "script",
    "name",
    "env",
    "instances",
    "kill_timeout",
    "rotate",
    ":",
    "=",
    "\"",
    "'",
    "{",
    "}",
    "[",
    "]",
    ",",
    "- ",
    "&a ",
    "*a",
    "<<: ",
    "|\n",
    ">\n",
    "# ",
    "//",
    "/*",
    "*/",
    "ä",
    "💥",
    "\t",
    "app.js",
    "3s",
    "0x1",
    "1e999",
    "-",
    ".",
    "null",
    "~",
    "true",
    "!!str ",
    "!x ",
    "---\n",
    "...\n",
    "%TAG ",
    "? ",
    "\\u0000",
    "\r",
    "\u{feff}",
    "apps:\n",
    "apps",
    "{\"apps\":[",
    "\"\"\"",
    "'''",
    "1979-05-27",
];

fn judge(text: &str) {
    for format in FORMATS {
        match read_with(text, format, &options()) {
            Ok(loaded) => drop(loaded.warnings.render(Colour::Always, 80)),
            Err(report) => assert!(!report.render(Colour::Never, 80).is_empty()),
        }
    }
}
