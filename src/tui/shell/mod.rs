//! The dashboard's connection with the world: threads that tell, one loop that hears, updates, acts and draws.
#![allow(clippy::disallowed_methods, reason = "the shell reads clocks, opens files and starts threads")]

mod asks;
mod daemon;
mod files;
mod signals;
mod terminal;
mod wake;

use std::io;
use std::panic;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ratatui::crossterm::event::{self, Event};

use crate::error::{ExitCode, Failure};
use crate::paths::Home;
use crate::tui::message::{Effect, End, Message};
use crate::tui::model::{Access, Model};
use crate::tui::shell::daemon::Watcher;
use crate::tui::shell::signals::Ends;
use crate::tui::shell::terminal::{Screen, restore};
use crate::tui::shell::wake::Commander;
use crate::tui::update::update;
use crate::tui::view::theme::Theme;

/// How many messages may wait. Who tells more waits, too.
const WAITING: usize = 256;

/// How far apart frames are that nobody has pressed a key for.
const FRAME: Duration = Duration::from_millis(40);

/// How the dashboard is opened.
#[derive(Clone, Debug)]
pub struct Opening {
    /// Whose daemon.
    pub home: Home,
    /// Whether it may change anything.
    pub access: Access,
    /// How it looks.
    pub theme: Theme,
    /// Whether clicks are its own, and not the terminal's.
    pub has_mouse: bool,
    /// What the list shows at the beginning.
    pub filter: String,
}

/// Opens the dashboard; returns when its user leaves it.
///
/// # Errors
///
/// When the terminal cannot be taken, or is gone.
pub fn open(opening: &Opening) -> Result<(), Failure> {
    let cannot = |error: &io::Error| Failure::failed("cannot open the dashboard").caused_by(error);
    // First of all: threads inherit what is blocked.
    let ends = Ends::catch().map_err(|error| cannot(&error))?;
    let (to, inbox) = sync_channel(WAITING);
    guard_against_panics(&to);
    let (wishes, watcher_inbox) = wake::pair().map_err(|error| cannot(&error))?;
    let (files, files_inbox) = wake::pair().map_err(|error| cannot(&error))?;
    let screen = Screen::take(opening.has_mouse).map_err(|error| cannot(&error))?;
    let watcher = Watcher { home: opening.home.clone(), to: to.clone(), wishes: watcher_inbox };
    let started = [
        thread("rsx-signals", {
            let to = to.clone();
            move || ends.watch(&to)
        }),
        thread("rsx-daemon", move || watcher.run()),
        thread("rsx-files", {
            let to = to.clone();
            move || files::run(&files_inbox, &to)
        }),
        thread("rsx-keys", {
            let to = to.clone();
            move || read_keys(&to)
        }),
    ];
    if let Some(error) = started.into_iter().find_map(Result::err) {
        return Err(cannot(&error));
    }
    let shell = Shell { screen, inbox, to, wishes, files, home: opening.home.clone() };
    let end = shell.run(opening);
    match end {
        None => Ok(()),
        // Whoever sent it sees that it has worked.
        Some(End::Signal(number)) => signals::die(number),
        Some(End::Terminal(why)) => Err(Failure::new(ExitCode::Failed, "the terminal is gone").because(why)),
        Some(End::Broken(why)) => Err(Failure::failed("the dashboard has failed").because(why)),
    }
}

struct Shell {
    screen: Screen,
    inbox: Receiver<Message>,
    to: SyncSender<Message>,
    wishes: Commander<bool>,
    files: Commander<files::Command>,
    home: Home,
}

impl Shell {
    /// Runs until the end; why, if nobody has asked for it here.
    fn run(mut self, opening: &Opening) -> Option<End> {
        let size = self.screen.size().unwrap_or((80, 24));
        let mut model = Model::new(now(), size, opening.access, opening.theme);
        model.list.filter = crate::tui::model::filter::Filter::read(&opening.filter).unwrap_or_default();
        model.list.filter_text.clone_from(&opening.filter);
        let mut drawn: Option<Instant> = None;
        let mut is_stale = true;
        let mut is_urgent = true;
        let mut has_lines = false;
        loop {
            let wait = match drawn {
                _ if is_urgent => Duration::ZERO,
                Some(at) if is_stale => FRAME.saturating_sub(at.elapsed()),
                // Times on the screen count by seconds.
                Some(_) | None => Duration::from_millis(1_000 - now() % 1_000),
            };
            let message = match self.inbox.recv_timeout(wait) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) if is_stale => None,
                Err(RecvTimeoutError::Timeout) => Some(Message::Clock),
                Err(RecvTimeoutError::Disconnected) => return Some(End::Broken("nobody tells anything".to_owned())),
            };
            fail_here("screen");
            let mut next = message;
            let mut taken = 0;
            while let Some(message) = next {
                is_stale = true;
                is_urgent |= is_of_user(&message);
                has_lines |= matches!(message, Message::Logs(..));
                let mut effects = Vec::new();
                update(&mut model, now(), message, &mut effects);
                for effect in effects {
                    match self.perform(effect) {
                        Done::GoOn => {}
                        Done::Leave => return None,
                        Done::Abort(end) => return Some(end),
                    }
                }
                taken += 1;
                next = if taken < WAITING { self.inbox.try_recv().ok() } else { None };
            }
            let is_due = is_urgent || drawn.is_none_or(|at| at.elapsed() >= FRAME);
            if is_stale && is_due {
                if let Err(error) = self.screen.draw(&model) {
                    return Some(End::Terminal(error.to_string()));
                }
                (drawn, is_stale, is_urgent) = (Some(Instant::now()), false, false);
                if std::mem::take(&mut has_lines) {
                    // As many lines as can be drawn, and no more.
                    self.files.send(files::Command::Next);
                }
            }
        }
    }

    fn perform(&mut self, effect: Effect) -> Done {
        match effect {
            Effect::Quit => return Done::Leave,
            Effect::Abort(end) => return Done::Abort(end),
            Effect::Suspend => {
                self.screen.leave();
                let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGTSTP);
                // In the foreground again.
                if let Err(error) = self.screen.enter().and_then(|()| self.screen.forget()) {
                    return Done::Abort(End::Terminal(error.to_string()));
                }
            }
            Effect::Redraw => {
                if let Err(error) = self.screen.forget() {
                    return Done::Abort(End::Terminal(error.to_string()));
                }
            }
            Effect::Ask(number, call) => asks::ask(&self.home, number, call, &self.to),
            Effect::Detail(is_wanted) => self.wishes.send(is_wanted),
            Effect::Logs(wish) => self.files.send(files::Command::Read(wish)),
            Effect::OlderLogs => self.files.send(files::Command::Older),
        }
        Done::GoOn
    }
}

enum Done {
    GoOn,
    Leave,
    Abort(End),
}

/// Whether somebody waits in front of the screen for what this does.
fn is_of_user(message: &Message) -> bool {
    match message {
        Message::Key(_) | Message::Mouse(_) | Message::Paste(_) | Message::Resize(..) => true,
        Message::Clock
        | Message::View(_)
        | Message::Events(..)
        | Message::Past(_)
        | Message::Link(_)
        | Message::Logs(..)
        | Message::Progress(..)
        | Message::Answered(..)
        | Message::End(_) => false,
    }
}

fn read_keys(to: &SyncSender<Message>) {
    loop {
        let message = match event::read() {
            Ok(Event::Key(key)) => {
                fail_here("keys");
                Message::Key(key)
            }
            Ok(Event::Mouse(mouse)) => Message::Mouse(mouse),
            Ok(Event::Paste(text)) => Message::Paste(text),
            Ok(Event::Resize(width, height)) => Message::Resize(width, height),
            Ok(Event::FocusGained | Event::FocusLost) => continue,
            Err(error) => Message::End(End::Terminal(error.to_string())),
        };
        let is_over = matches!(message, Message::End(_));
        if to.send(message).is_err() || is_over {
            return;
        }
    }
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run).map(drop)
}

/// Panics here if a test wants it: `RSX_FAILPOINT` names a file with the name of the place.
#[cfg(feature = "failpoints")]
fn fail_here(name: &str) {
    let Some(path) = std::env::var_os("RSX_FAILPOINT") else { return };
    let is_meant = std::fs::read_to_string(&path).is_ok_and(|wanted| wanted.trim() == name);
    assert!(!is_meant || std::fs::remove_file(&path).is_err(), "as the test wants at `{name}`");
}

/// Nothing without the feature.
#[cfg(not(feature = "failpoints"))]
fn fail_here(_name: &str) {}

/// A panic gives the terminal back before it says anything; one in another thread ends the screen with what it said.
fn guard_against_panics(to: &SyncSender<Message>) {
    let screen = std::thread::current().id();
    let to = to.clone();
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if std::thread::current().id() == screen {
            restore();
            before(info);
        } else {
            let _ = to.try_send(Message::End(End::Broken(info.to_string())));
        }
    }));
}

/// Milliseconds of the epoch.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
