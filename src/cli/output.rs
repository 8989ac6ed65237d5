//! Standard output and standard error. stdout is data, stderr is talk; a reader that went away is no error.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd};

use serde::Serialize;

use crate::cli::style::Style;
use crate::error::{ExitCode, Failure};

/// What the environment says about colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ColourWish {
    /// `NO_COLOR` or `--no-color`.
    Never,
    /// `CLICOLOR_FORCE`.
    Always,
    /// Neither: as the terminal is.
    Terminal,
}

/// Both streams of this process.
pub(super) struct Output {
    stdout: BufWriter<io::Stdout>,
    is_terminal: bool,
    /// The reader is gone; whatever is written is dropped.
    is_closed: bool,
    style: Style,
    error_style: Style,
    is_silent: bool,
}

impl Output {
    pub(super) fn new(wish: ColourWish, is_silent: bool) -> Output {
        let style = |is_terminal| match (wish, is_terminal) {
            (ColourWish::Always, _) | (ColourWish::Terminal, true) => Style::Colour,
            (ColourWish::Never, _) | (ColourWish::Terminal, false) => Style::Plain,
        };
        let is_terminal = io::stdout().is_terminal();
        Output {
            stdout: BufWriter::with_capacity(64 * 1024, io::stdout()),
            is_terminal,
            is_closed: false,
            style: style(is_terminal),
            error_style: style(io::stderr().is_terminal()),
            is_silent,
        }
    }

    /// How to write to stdout.
    pub(super) fn style(&self) -> Style {
        self.style
    }

    /// How to write to stderr.
    pub(super) fn error_style(&self) -> Style {
        self.error_style
    }

    /// Whether stdout is a terminal.
    pub(super) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Whether talk was asked not to be printed.
    pub(super) fn is_silent(&self) -> bool {
        self.is_silent
    }

    /// Whether nobody reads stdout any more.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Its reader was seen to go away.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }

    /// The descriptor of stdout, to see its reader go away.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.stdout.get_ref().as_fd()
    }

    /// Writes data to stdout.
    pub(super) fn data(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), Failure> {
        let written = self.stdout.write_all(bytes.as_ref());
        self.settle(written)
    }

    /// Writes a line of data to stdout.
    pub(super) fn line(&mut self, line: impl AsRef<[u8]>) -> Result<(), Failure> {
        self.data(line)?;
        self.data("\n")
    }

    /// Writes one JSON document and a newline to stdout.
    pub(super) fn json<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failure> {
        let text = serde_json::to_vec(value)
            .map_err(|error| Failure::failed("cannot write the answer as JSON").caused_by(&error))?;
        self.line(text)
    }

    /// Hands everything over to the reader.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        let flushed = self.stdout.flush();
        self.settle(flushed)
    }

    /// Tells the user something on stderr, unless silent.
    pub(super) fn talk(&mut self, line: &str) {
        if !self.is_silent {
            self.complain(line);
        }
    }

    /// Tells the user something on stderr, silent or not.
    pub(super) fn complain(&mut self, line: &str) {
        // Data printed before comes first where both go to one terminal.
        let _ = self.stdout.flush();
        let _ = writeln!(io::stderr().lock(), "{line}");
    }

    fn settle(&mut self, result: io::Result<()>) -> Result<(), Failure> {
        match result {
            _ if self.is_closed => Ok(()),
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(())
            }
            Err(error) => {
                // Said once: the buffer still holds what could not be written and would fail again.
                self.is_closed = true;
                Err(Failure::new(ExitCode::Failed, "cannot write to standard output").caused_by(&error))
            }
        }
    }
}
