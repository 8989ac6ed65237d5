//! A program on a terminal of its own: keys in, the screen out.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{Winsize, openpty};
use nix::sys::termios::{LocalFlags, tcgetattr};

use super::{LIMIT, Watched, spawn};

/// A terminal, what is on it, and who writes there.
pub(crate) struct Screen {
    terminal: File,
    /// Held open: a terminal that nobody holds is no terminal any more.
    other_end: File,
    child: Child,
    parser: vt100::Parser,
}

impl Screen {
    /// Starts a program on a terminal of so many columns and lines. Needs setsid(1), which makes the terminal its own.
    #[track_caller]
    pub(crate) fn new(command: &Command, (columns, lines): (u16, u16)) -> Screen {
        let size = Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).unwrap();
        let (terminal, other_end) = (File::from(pty.master), File::from(pty.slave));
        let mut own = Command::new("setsid");
        own.arg("--ctty").arg(command.get_program()).args(command.get_args()).env_clear();
        own.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("TERM", "xterm-256color");
        own.current_dir(command.get_current_dir().unwrap());
        let end = || Stdio::from(other_end.try_clone().unwrap());
        let child = spawn(own.stdin(end()).stdout(end()).stderr(end()));
        Screen { terminal, other_end, child, parser: parser(lines, columns) }
    }

    /// Types.
    #[track_caller]
    pub(crate) fn keys(&mut self, keys: &str) {
        self.terminal.write_all(keys.as_bytes()).unwrap();
    }

    /// What is on it now, as far as it was read.
    pub(crate) fn text(&self) -> String {
        self.parser.screen().contents()
    }

    /// Waits until all of these are on it.
    #[track_caller]
    pub(crate) fn shows(&mut self, texts: &[&str]) {
        self.wait(&format!("{texts:?}"), |text| texts.iter().all(|wanted| text.contains(wanted)));
    }

    /// Waits until it is as it should be.
    #[track_caller]
    pub(crate) fn wait(&mut self, what: &str, is_it: impl Fn(&str) -> bool) {
        let until = Instant::now() + LIMIT;
        while !is_it(&self.text()) {
            assert!(self.read_until(until), "no {what} on the screen within {LIMIT:?}:\n{}", self.text());
        }
    }

    /// Waits until the program has ended; its exit code, or 128 and the signal.
    #[track_caller]
    pub(crate) fn ends(&mut self) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        assert!(Watched::new(self.child.id()).has_ended_within(LIMIT), "it goes on:\n{}", self.text());
        let status = self.child.wait().unwrap();
        while self.read_until(Instant::now() + Duration::from_millis(20)) {}
        status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
    }

    /// Whether lines are edited by the terminal and echoed, and what was on it before is there again.
    pub(crate) fn is_restored(&self) -> bool {
        let modes = tcgetattr(self.other_end.as_fd()).unwrap().local_flags;
        let screen = self.parser.screen();
        modes.contains(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG)
            && !screen.alternate_screen()
            && !screen.hide_cursor()
            && screen.mouse_protocol_mode() == vt100::MouseProtocolMode::None
            && !screen.bracketed_paste()
    }

    /// The program.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Takes in what is written, at most until then; whether anything was.
    fn read_until(&mut self, until: Instant) -> bool {
        let left = until.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::new(self.terminal.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::try_from(left).unwrap()).unwrap() == 0 {
            return false;
        }
        let mut bytes = [0; 16 * 1024];
        let count = self.terminal.read(&mut bytes).unwrap_or(0);
        self.parser.process(&bytes[..count]);
        count > 0
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn parser(lines: u16, columns: u16) -> vt100::Parser {
    let size = |number| std::num::NonZero::new(number).unwrap();
    vt100::Parser::new(size(lines), size(columns), 0)
}
