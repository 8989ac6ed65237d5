//! What one invocation knows: the environment is read here, at the edge, and nowhere else in this layer.

use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::cli::args::Global;
use crate::cli::output::{ColourWish, Output};
use crate::client::Client;
use crate::error::{ExitCode, Failure};
use crate::paths::{Home, HomeError};
use crate::proto::{Call, Record, View, ViewCall, ViewDetail};
use crate::sys::system;

/// How long reading the view may take. It is published, so a daemon that needs this long hangs.
pub(super) const VIEW_LIMIT: Duration = Duration::from_secs(10);
/// The longest first line of a journal that is looked at, in bytes.
const MAX_HEAD: u64 = 4096;
/// The width that is assumed where none can be asked for.
const DEFAULT_WIDTH: u16 = 80;

/// One invocation of `rsx`.
pub(super) struct Session {
    /// Where everything is printed.
    pub(super) out: Output,
    /// The verb as events name it.
    pub(super) verb: &'static str,
    /// Answers are wanted as JSON.
    pub(super) json: bool,
    cwd: PathBuf,
}

impl Session {
    pub(super) fn new(global: &Global, verb: &'static str) -> Session {
        let wish = match () {
            () if global.no_color => ColourWish::Never,
            () if is_set("NO_COLOR") => ColourWish::Never,
            () if is_set("CLICOLOR_FORCE") && std::env::var_os("CLICOLOR_FORCE").is_none_or(|v| v != "0") => {
                ColourWish::Always
            }
            () => ColourWish::Terminal,
        };
        let wish = if global.json { ColourWish::Never } else { wish };
        let cwd = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        Session { out: Output::new(wish, global.silent || global.json), verb, json: global.json, cwd }
    }

    /// The folder in which the verb was typed; `/` if it was deleted meanwhile.
    pub(super) fn cwd(&self) -> &Path {
        &self.cwd
    }

    /// `HOME`, for `~`.
    pub(super) fn user_home(&self) -> Option<PathBuf> {
        std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from)
    }

    /// PM2's folder, as PM2 finds it.
    pub(super) fn pm2_home(&self) -> Option<PathBuf> {
        let set = std::env::var_os("PM2_HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        set.or_else(|| Some(self.user_home()?.join(".pm2")))
    }

    /// The home of rsx that the environment names.
    pub(super) fn home(&self) -> Result<Home, Failure> {
        let [rsx_home, user_home, runtime] = ["RSX_HOME", "HOME", "XDG_RUNTIME_DIR"].map(std::env::var_os);
        let uid = nix::unistd::getuid().as_raw();
        Home::resolve(rsx_home.as_deref(), user_home.as_deref(), runtime.as_deref(), uid).map_err(|error| {
            let hint = match &error {
                HomeError::Unset => "set RSX_HOME to a folder of your own",
                HomeError::Relative(_) => "write the whole path, from `/`",
                HomeError::TooLong { .. } => "set RSX_HOME to a shorter path",
            };
            Failure::failed("no home for rsx").caused_by(&error).hint(hint)
        })
    }

    /// The environment of this shell.
    pub(super) fn environment(&self) -> impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)> {
        std::env::vars_os()
    }

    /// Milliseconds of the epoch.
    pub(super) fn now(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// How many columns stdout has; none for a pipe.
    pub(super) fn width(&self) -> Option<u16> {
        // The table library asks stdout's terminal, and says none for anything else.
        self.out.is_terminal().then(|| comfy_table::Table::new().width().unwrap_or(DEFAULT_WIDTH))
    }

    /// Whether progress can be drawn.
    pub(super) fn draws_progress(&self) -> bool {
        !self.json && !self.out.is_silent() && std::io::stderr().is_terminal()
    }

    /// The daemon, if one runs.
    pub(super) fn daemon(&self) -> Result<Option<Client>, Failure> {
        Ok(Client::connect(&self.home()?, self.verb)?)
    }

    /// The daemon, for a verb that is nothing without one.
    pub(super) fn daemon_or_fail(&self) -> Result<Client, Failure> {
        self.daemon()?.ok_or_else(|| match self.left() {
            Some(left) => no_daemon().hint(left),
            None => no_daemon(),
        })
    }

    /// What to say of apps that a daemon has left running which was killed together with its guardian.
    pub(super) fn left(&self) -> Option<&'static str> {
        let mut line = String::new();
        let journal = std::fs::File::open(self.home().ok()?.journal()).ok()?;
        BufReader::new(journal.take(MAX_HEAD)).read_line(&mut line).ok()?;
        let Ok(Record::Head(head)) = serde_json::from_str(&line) else { return None };
        let is_of_today = system::boot_id().is_ok_and(|boot| boot == head.boot);
        is_of_today.then_some("the last one was killed, and its apps may still run: `rsx resurrect` takes them over")
    }

    /// The daemon, for a verb that changes something: if one runs, or was killed together with its guardian.
    pub(super) fn daemon_to_act(&self) -> Result<Option<Client>, Failure> {
        Ok(Client::connect_or_take_over(&self.home()?, self.verb)?)
    }

    /// The same, for a verb that is nothing without one.
    pub(super) fn daemon_to_act_or_fail(&self) -> Result<Client, Failure> {
        self.daemon_to_act()?.ok_or_else(no_daemon)
    }

    /// The daemon, started if none runs.
    pub(super) fn daemon_or_start(&self) -> Result<Client, Failure> {
        Ok(Client::connect_or_start(&self.home()?, self.verb)?)
    }
}

/// The view of a daemon.
pub(super) fn view(client: &mut Client, detail: ViewDetail) -> Result<View, Failure> {
    Ok(client.call(&Call::View(ViewCall { detail }), VIEW_LIMIT)?)
}

/// The failure of a verb that is nothing without a daemon.
pub(super) fn no_daemon() -> Failure {
    Failure::new(ExitCode::NoDaemon, "no rsx daemon runs").hint("`rsx start` starts one together with your apps")
}

fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}
