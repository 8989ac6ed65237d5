//! `completions` and `man`: verbs that print what is generated. They never speak to a daemon.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Serialize;

use crate::cli::pages::args::{CompletionsArgs, ManArgs};
use crate::cli::pages::completions::{file_name, script};
use crate::cli::pages::manual::{Page, pages};
use crate::cli::pages::plain::plain;
use crate::cli::session::Session;
use crate::error::{ExitCode, Failure};

/// The narrowest and the widest a page is printed, and how wide where nobody says.
const WIDTH: (u16, u16, u16) = (40, 100, 80);

/// Runs `rsx completions`.
pub(in crate::cli) fn completions(session: &mut Session, args: &CompletionsArgs) -> Result<ExitCode, Failure> {
    #[derive(Serialize)]
    struct Script {
        file: &'static str,
        text: String,
    }
    let text = script(args.shell);
    match session.json {
        true => session.out.json(&Script { file: file_name(args.shell), text })?,
        false => session.out.data(text)?,
    }
    Ok(ExitCode::Done)
}

/// Runs `rsx man`.
pub(in crate::cli) fn man(session: &mut Session, args: &ManArgs) -> Result<ExitCode, Failure> {
    #[derive(Serialize)]
    struct Shown<'a> {
        name: &'a str,
        section: char,
        text: &'a str,
    }
    if let Some(folder) = &args.out {
        return write_all(session, &session.cwd().join(folder));
    }
    let pages = pages();
    let page = find(&pages, args.verb.as_deref().unwrap_or("rsx"))?;
    if session.out.is_terminal() && !session.json && through_man(&page.roff) {
        return Ok(ExitCode::Done);
    }
    let width = session.width().unwrap_or(WIDTH.2).clamp(WIDTH.0, WIDTH.1);
    let text = plain(&page.roff, width.into());
    match session.json {
        true => session.out.json(&Shown { name: &page.name, section: page.section, text: &text })?,
        false => session.out.data(text)?,
    }
    Ok(ExitCode::Done)
}

fn find<'p>(pages: &'p [Page], word: &str) -> Result<&'p Page, Failure> {
    let names = || pages.iter().flat_map(|page| page.found_by.iter().map(move |name| (page, name)));
    if let Some((page, _)) = names().find(|(_, name)| *name == word) {
        return Ok(page);
    }
    let failure = Failure::new(ExitCode::Usage, format!("no page about `{word}`"));
    let near = names().map(|(_, name)| (strsim::jaro_winkler(name, word), name)).filter(|(score, _)| *score > 0.8);
    Err(match near.max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((_, name)) => failure.hint(format!("did you mean `rsx man {name}`?")),
        None => failure.hint("`rsx --help` lists the verbs; `rsx man ecosystem.toml` is about the file"),
    })
}

/// Whether man(1) showed the page. It waits for its reader, as a pager does.
fn through_man(roff: &str) -> bool {
    let spawned = Command::new("man").args(["-l", "-"]).stdin(Stdio::piped()).stderr(Stdio::null()).spawn();
    let Ok(mut man) = spawned else { return false };
    if let Some(mut stdin) = man.stdin.take() {
        // A reader that leaves early has read enough.
        let _ = stdin.write_all(roff.as_bytes());
    }
    man.wait().is_ok_and(|status| status.success())
}

fn write_all(session: &mut Session, folder: &Path) -> Result<ExitCode, Failure> {
    let mut written = Vec::new();
    for page in pages() {
        let path = folder.join(page.path());
        let done = match path.parent() {
            Some(parent) => std::fs::create_dir_all(parent).and_then(|()| std::fs::write(&path, &page.roff)),
            None => std::fs::write(&path, &page.roff),
        };
        done.map_err(|error| Failure::failed(format!("cannot write `{}`", path.display())).caused_by(&error))?;
        written.push(path);
    }
    if session.json {
        session.out.json(&serde_json::json!({ "written": written }))?;
    } else {
        session.out.line(format!("written: {} pages below {}", written.len(), folder.display()))?;
        session.out.talk("`man` finds them where this folder is in MANPATH, or beside a `bin` of PATH as `share/man`");
    }
    Ok(ExitCode::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_found_by_verb_alias_and_full_name() {
        let pages = pages();
        for (word, name) in
            [("start", "rsx-start"), ("ps", "rsx-ls"), ("rsx-logs", "rsx-logs"), ("ecosystem", "ecosystem.toml")]
        {
            assert_eq!(find(&pages, word).unwrap().name, name);
        }
    }

    #[test]
    fn a_mistyped_page_is_a_usage_error_with_what_may_have_been_meant() {
        let failure = find(&pages(), "strat").unwrap_err();
        assert_eq!(failure.code(), ExitCode::Usage);
        assert_eq!(failure.hints(), ["did you mean `rsx man start`?"]);
    }
}
