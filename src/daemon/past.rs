//! Where a daemon begins: where its predecessor was, with what an earlier one had wanted, or with nothing.

use std::os::fd::OwnedFd;

use tracing::{info, warn};

use crate::daemon::adopt::{self, Adopted, Dirs};
use crate::daemon::clock::Clock;
use crate::daemon::engine::First;
use crate::daemon::home::BirthError;
use crate::daemon::journal::{self, Read, Whole, Writer};
use crate::daemon::keys::Keys;
use crate::daemon::link::Link;
use crate::daemon::predecessor;
use crate::daemon::publish::Events;
use crate::daemon::pump::Pump;
use crate::daemon::shell::Shell;
use crate::daemon::store::{self, Found};
use crate::daemon::strays;
use crate::paths::Home;
use crate::supervisor::{Ask, Supervisor};
use crate::sys::system;

/// What a daemon begins with.
pub(super) struct Past {
    pub(super) core: Supervisor,
    pub(super) keys: Keys,
    pub(super) first: First,
    pub(super) writer: Writer,
    /// What users have to be told.
    pub(super) notices: Vec<String>,
}

/// Finds out. `kept` is what the guardian has, `restarts` how many daemons it had.
pub(super) async fn recall(
    home: &Home,
    (link, kept): (Option<&Link>, Vec<(String, OwnedFd)>),
    restarts: u32,
    shell: &mut Shell,
    (pump, events, clock): (&Pump, &Events, Clock),
) -> Result<Past, BirthError> {
    let path = home.journal();
    let failed = |source| BirthError::File { doing: "write", path: home.journal(), source };
    let boot = system::boot_id().map_err(|source| BirthError::File {
        doing: "read",
        path: "/proc/sys/kernel/random/boot_id".into(),
        source,
    })?;
    let seed = clock.epoch_millis(clock.now()) ^ u64::from(std::process::id());
    let (mut core, mut keys, mut notices) = (Supervisor::new(seed), Keys::default(), Vec::new());
    let mut still_asked = (Vec::new(), Vec::new());
    let first = match journal::read(&path, &boot) {
        Read::Past(mut past) => {
            if past.torn > 0 {
                notices.push(format!("{} records of {} could not be read", past.torn, path.display()));
            }
            events.recall(std::mem::take(&mut past.events));
            let (slots, asked) = (std::mem::take(&mut past.slots), std::mem::take(&mut past.asked));
            let (notify, agent) = (home.notify_dir(), home.agent_dir());
            let dirs = Dirs { notify: &notify, agent: &agent };
            let (mut adopted, strays) = adopt::adopt(&past, &slots, kept, shell, (link, dirs));
            // No number is given twice, not even one that the journal has lost.
            let last = strays.iter().map(|stray| stray.run().0).max();
            past.counters.run = past.counters.run.max(last.unwrap_or(0));
            notices.extend(strays::end(strays, link).await);
            info!(slots = slots.len(), "goes on where another daemon was");
            if restarts == 0 {
                // A new guardian, too: nobody has seen the ends, and nobody has held the pipes.
                let (gone, live) = shell.unheld();
                adopted.extend(gone.into_iter().map(Adopted::Lost));
                notices.extend(without_output(live));
            }
            core = Supervisor::recalled(seed, clock.now(), past.counters, slots);
            still_asked = (asked.clone(), past.batches.clone());
            adopted.extend(keys.recall(asked).into_iter().map(Adopted::Waiter));
            adopted.extend(keys.recall_batches(past.batches).into_iter().map(Adopted::Batch));
            First::Adopt(adopted)
        }
        read @ (Read::Nothing | Read::Unusable(_)) => {
            if let Read::Unusable(why) = read {
                warn!("{why}");
                notices.push(why);
            }
            match link {
                // It died before it had a journal, or that is of no use: what it ran is ended and started anew.
                Some(link) if restarts > 0 => First::Ask(Ask::Restore(predecessor::clear(link, kept, pump).await)),
                Some(_) | None => known(home, &mut notices),
            }
        }
    };
    let whole = Whole {
        runs: shell.journalled(),
        events: events.all(),
        asked: still_asked.0,
        batches: still_asked.1,
        pid: &|run| shell.pid(run),
    };
    let writer = match Writer::begin(&path, (boot.clone(), clock.epoch()), &core, whole) {
        Ok(writer) => writer,
        Err(error) if matches!(first, First::Adopt(_)) => {
            let what = std::io::Error::other(format!("it cannot be written anew: {error}"));
            Writer::go_on(&path, (boot, clock.epoch()), &what).map_err(failed)?
        }
        Err(error) => return Err(failed(error)),
    };
    Ok(Past { core, keys, first, writer, notices })
}

/// What to say of processes that outlived daemon and guardian.
fn without_output(live: usize) -> Option<String> {
    let notice = "was killed with its guardian: what they write is lost until `rsx restart`";
    (live > 0).then(|| format!("{live} processes were taken over from a daemon that {notice}"))
}

/// What an earlier daemon of this home had wanted: it is listed, and not started.
fn known(home: &Home, notices: &mut Vec<String>) -> First {
    match store::read(&home.wanted()) {
        Found::Nothing => First::Nothing,
        Found::State(wanted, said) => {
            notices.extend(said);
            First::Ask(Ask::Register(wanted))
        }
        Found::Unreadable(said) => {
            notices.push(said);
            First::Nothing
        }
    }
}
