//! Words that stand for declarations: a config file, or `-` for JSON on standard input.

use std::io::{IsTerminal, Read};

use crate::cli::args::FileArgs;
use crate::cli::outside::{self, Loaded};
use crate::cli::session::Session;
use crate::error::{ExitCode, Failure};

/// The longest config that is read from stdin.
const STDIN_LIMIT: u64 = 4 * 1024 * 1024;

/// The word for standard input.
pub(super) const STDIN: &str = "-";

/// Whether the word stands for a declaration.
pub(super) fn is_declaration(session: &Session, word: &str) -> bool {
    word == STDIN || (outside::is_config_path(word) && session.cwd().join(word).is_file())
}

/// What it declares.
pub(super) fn load(session: &mut Session, word: &str, file: &FileArgs) -> Result<Loaded, Failure> {
    let env = file.env.as_deref();
    if word == STDIN {
        let text = stdin_text(session)?;
        return outside::load_json(session, &text, env, &file.only);
    }
    outside::load(session, &session.cwd().join(word), env, &file.only)
}

fn stdin_text(session: &mut Session) -> Result<String, Failure> {
    if std::io::stdin().is_terminal() {
        session.out.talk("reading JSON from the terminal, Ctrl-D ends it");
    }
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .take(STDIN_LIMIT + 1)
        .read_to_string(&mut text)
        .map_err(|error| Failure::failed("cannot read standard input").caused_by(&error))?;
    if text.len() as u64 > STDIN_LIMIT {
        return Err(Failure::new(ExitCode::InvalidConfig, "standard input holds more than 4 MiB"));
    }
    Ok(text)
}
