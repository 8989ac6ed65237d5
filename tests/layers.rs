//! The map in `src/lib.rs`, enforced: who may name whom, and where `unsafe` may stand.
//!
//! It reads the sources as tokens: comments, strings and `#[cfg(test)]` items do not count.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test reads the sources and may fail")]

use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Each layer with those that it may name by `crate::`; itself is understood. `main` is the file that names the
/// library by `rsx::`.
const MAP: &[(&str, &[&str])] = &[
    ("spec", &[]),
    ("paths", &[]),
    ("error", &[]),
    ("config", &["spec", "error"]),
    ("proto", &["spec"]),
    ("supervisor", &["spec"]),
    ("cluster", &["spec"]),
    ("logs", &["spec"]),
    ("series", &[]),
    ("metrics", &["proto"]),
    (
        "daemon",
        &[
            "cluster",
            "client",
            "config",
            "error",
            "guardian",
            "logs",
            "metrics",
            "paths",
            "proto",
            "series",
            "serve",
            "spec",
            "supervisor",
            "sys",
        ],
    ),
    ("guardian", &["sys", "paths"]),
    ("sys", &["spec"]),
    ("client", &["proto", "paths", "error", "sys"]),
    ("serve", &["error"]),
    ("words", &["proto", "spec"]),
    (
        "cli",
        &["client", "config", "error", "logs", "metrics", "paths", "proto", "serve", "spec", "sys", "tui", "words"],
    ),
    ("tui", &["client", "error", "logs", "paths", "proto", "spec", "words"]),
    ("main", &["cli", "daemon", "error", "guardian", "paths", "serve", "sys"]),
];

#[test]
fn every_layer_names_only_what_the_map_allows() {
    let mut wrong = Vec::new();
    for (path, code) in sources() {
        let layer = layer_of(&path);
        if layer == "lib" {
            continue;
        }
        let Some((_, allowed)) = MAP.iter().find(|(name, _)| *name == layer) else {
            wrong.push(format!("{}: the layer `{layer}` is not on the map", path.display()));
            continue;
        };
        let root = if layer == "main" { "rsx" } else { "crate" };
        for named in named_layers(&code, root) {
            if named != layer && !allowed.contains(&named.as_str()) {
                wrong.push(format!("{}: `{layer}` may not name `{root}::{named}`", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_in_lib_lists_the_same_layers() {
    let lib = fs::read_to_string(source_root().join("lib.rs")).unwrap();
    let mut drawn: Vec<&str> =
        lib.lines().filter_map(|line| line.strip_prefix("//! | [`")?.split_once("`]").map(|(name, _)| name)).collect();
    let mut known: Vec<&str> = MAP.iter().map(|(name, _)| *name).filter(|name| *name != "main").collect();
    drawn.sort_unstable();
    known.sort_unstable();
    assert_eq!(drawn, known);
}

#[test]
fn unsafe_stands_in_sys_only() {
    for (path, code) in sources() {
        if layer_of(&path) != "sys" {
            assert!(!code.iter().any(|token| token == "unsafe"), "{}: `unsafe` belongs below src/sys", path.display());
        }
    }
}

#[test]
fn nobody_climbs_two_steps() {
    for (path, code) in sources() {
        assert!(!joined(&code).contains(" super : : super "), "{}: name it by `crate::`", path.display());
    }
}

/// Cargo runs tests in the package's folder; a path fixed when they were built is wrong once the tree has moved.
fn source_root() -> PathBuf {
    PathBuf::from("src")
}

/// Every source file, relative to `src`, with its tokens; tests left out.
fn sources() -> Vec<(PathBuf, Vec<String>)> {
    let mut folders = vec![source_root()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.ends_with("tests.rs") || path.ends_with("tests") {
                continue;
            } else if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let tokens = tokens(&fs::read_to_string(&path).unwrap());
                found.push((path.strip_prefix(source_root()).unwrap().to_path_buf(), tokens));
            }
        }
    }
    assert!(found.len() > 10, "the sources are where they were");
    found
}

/// `daemon/engine.rs` and `daemon.rs` are of the layer `daemon`.
fn layer_of(path: &Path) -> String {
    let first = path.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.strip_suffix(".rs").map_or(first.clone(), str::to_owned)
}

/// The first segments behind `root::`, also those of a group: `root::{a::B, c}`.
fn named_layers(code: &[String], root: &str) -> Vec<String> {
    let mut named = Vec::new();
    for (at, _) in code.windows(3).enumerate().filter(|(_, three)| *three == [root, ":", ":"]) {
        let rest = &code[at + 3..];
        match rest.first().map(String::as_str) {
            Some("{") => named.extend(entries(rest)),
            Some(name) => named.push(name.to_owned()),
            None => {}
        }
    }
    named
}

/// The first token of each entry of the `{…}` group that opens here, without what is nested in it.
fn entries(group: &[String]) -> Vec<String> {
    let mut depth = 0;
    let mut found = Vec::new();
    for pair in group.windows(2) {
        match pair[0].as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && matches!(pair[0].as_str(), "{" | ",") && pair[1] != "}" {
            found.push(pair[1].clone());
        }
    }
    found
}

fn joined(code: &[String]) -> String {
    format!(" {} ", code.join(" "))
}

/// The tokens of a source, without literals and without the items behind `#[cfg(test)]`.
fn tokens(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    flatten(text.parse().expect("the sources are Rust"), &mut out);
    out
}

fn flatten(stream: TokenStream, out: &mut Vec<String>) {
    let mut trees = stream.into_iter().peekable();
    while let Some(tree) = trees.next() {
        match tree {
            TokenTree::Punct(punct) if punct.as_char() == '#' && trees.peek().is_some_and(is_test_gate) => {
                // The item ends with its body or a semicolon.
                let _ = trees.find(|tree| match tree {
                    TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
                    TokenTree::Punct(punct) => punct.as_char() == ';',
                    TokenTree::Ident(_) | TokenTree::Literal(_) => false,
                });
            }
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                out.push(open.to_owned());
                flatten(group.stream(), out);
                out.push(close.to_owned());
            }
            TokenTree::Ident(ident) => out.push(ident.to_string()),
            TokenTree::Punct(punct) => out.push(punct.to_string()),
            TokenTree::Literal(_) => {}
        }
    }
}

fn is_test_gate(tree: &TokenTree) -> bool {
    tree.to_string().split_whitespace().collect::<String>() == "[cfg(test)]"
}

#[test]
fn the_reader_of_this_test_sees_through_comments_strings_and_tests() {
    let code = tokens(
        "use crate::{spec::{A, B}, proto,};\n// crate::daemon\n/* /* crate::cli */ */\nlet a = \"crate::x unsafe\";\n\
         let c = '\"'; let d: &'static str = crate::error::E;\n#[cfg(test)]\nmod tests { use crate::client; fn f() { } }\n\
         fn g() { pub(crate) mycrate::z }\n#[cfg(test)]\nuse crate::cli;\ncrate::sys::S",
    );
    assert_eq!(named_layers(&code, "crate"), ["spec", "proto", "error", "sys"]);
    assert!(!joined(&code).contains(" unsafe "));
}
