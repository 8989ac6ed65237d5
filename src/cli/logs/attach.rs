//! `--attach`: the logs of what a verb has started, from the first line of this start on.
//!
//! The ends of the files are noted before the verb asks for anything; what is behind them afterwards is new.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::cli::args::{ApplyArgs, LogsArgs};
use crate::cli::logs::choice::Wish;
use crate::cli::logs::follow::Follower;
use crate::cli::logs::print::Printer;
use crate::cli::logs::tail::{Mark, mark};
use crate::cli::logs::{Source, sources};
use crate::cli::session::{Session, view};
use crate::error::{ExitCode, Failure};
use crate::proto::ViewDetail;
use crate::spec::{AppSpec, Stream};

/// What will be followed when the verb is done.
pub(in crate::cli) struct Attach {
    words: Vec<String>,
    marks: BTreeMap<PathBuf, Mark>,
}

impl Attach {
    /// Notes where the logs of what exists end; none where the flags do not ask for it.
    ///
    /// # Errors
    ///
    /// Beside `--json`, and where the list cannot be had.
    pub(in crate::cli) fn begin(session: &Session, flags: &ApplyArgs) -> Result<Option<Attach>, Failure> {
        if !flags.attach {
            return Ok(None);
        }
        if session.json {
            return Err(Failure::new(
                ExitCode::Usage,
                "`--attach` shows log lines, which are no part of the JSON answer",
            )
            .hint("`rsx logs --json` and `rsx events --json` stream what comes"));
        }
        let mut attach = Attach { words: Vec::new(), marks: BTreeMap::new() };
        if let Some(mut daemon) = session.daemon()? {
            let view = view(&mut daemon, ViewDetail::Brief)?;
            let slots = view.apps.iter().flat_map(|app| &app.slots);
            slots.flat_map(|slot| [&slot.out_file, &slot.error_file]).flatten().for_each(|path| attach.mark(path));
        }
        Ok(Some(attach))
    }

    /// Follows these apps, too, which may not be in the list yet.
    pub(in crate::cli) fn declared(&mut self, session: &Session, specs: &[AppSpec]) -> Result<(), Failure> {
        let logs = session.home()?.logs();
        for spec in specs {
            let places = (0..spec.instances).flat_map(|n| [Stream::Out, Stream::Error].map(|stream| (stream, n)));
            places.filter_map(|(stream, n)| spec.log_path(&logs, stream, n)).for_each(|path| self.mark(&path));
            self.words.push(spec.name.clone());
        }
        Ok(())
    }

    /// Follows what these words mean, too.
    pub(in crate::cli) fn named(&mut self, words: impl IntoIterator<Item = String>) {
        self.words.extend(words);
    }

    fn mark(&mut self, path: &Path) {
        if let Some(mark) = mark(path) {
            self.marks.entry(path.to_owned()).or_insert(mark);
        }
    }

    /// Follows, until the reader of stdout goes away or Ctrl-C ends it. What failed to start has been told of with its
    /// last words, and is not waited for.
    pub(in crate::cli) fn follow(self, session: &mut Session, code: ExitCode) -> Result<ExitCode, Failure> {
        if code != ExitCode::Done {
            return Ok(code);
        }
        session.out.talk("following the logs; Ctrl-C ends this and leaves the apps running");
        let flags = LogsArgs::default();
        let wish = Wish::read(&flags, session.now())?;
        let mut wanted: Vec<Source> = sources::find(session, &self.words)?.sources;
        sources::share(&mut wanted);
        let mut follower = Follower::new(Printer::new(session, &flags), wish);
        for source in wanted {
            let mark = self.marks.get(&source.path).copied();
            follower.add_from(source, mark)?;
        }
        follower.follow(session, &self.words, &|_| true)?;
        Ok(code)
    }
}
