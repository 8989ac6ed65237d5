//! The sockets that are opened for apps and handed to their runs (`listen`): who has which, and when one is closed.
//!
//! ```text
//!            a run is made                       its slot is given up, or wants others,
//!  [closed] --------------> [open: slots, runs] ---------------------------------------> [closed]
//!                                                and no run that got it lives any more
//! ```
//!
//! Over crashes, restarts and reloads a slot holds what it listens on, and who connects meanwhile waits in the queue. The guardian
//! has a copy of each, so they outlive the daemon, too; what each is can be seen from itself, and whose it is from the slots.
//!
//! All of it belongs to the spawner's thread: it is in order with the launches that need it.

mod refused;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use tracing::{info, warn};

use crate::daemon::failpoint;
use crate::daemon::handed::refused::Kind;
pub(super) use crate::daemon::handed::refused::NoSocket;
use crate::daemon::link::Link;
use crate::spec::{FIRST_HANDED, ListenAddress, ListenSpec};
use crate::supervisor::{RunId, Slot, SlotId};
use crate::sys::fds::{self, Blocking};
use crate::sys::handed::{self, FileId, OpenError, Step};
use crate::sys::process::Process;
use crate::sys::tcp;

/// What their names begin with.
const PREFIX: &str = "listen/";

/// Whether the guardian keeps this for us.
pub(super) fn is_ours(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// See the module.
#[derive(Debug)]
pub(super) struct Handed {
    all: Vec<Held>,
    link: Option<Link>,
    /// The file mode mask that programs have.
    umask: u32,
}

#[derive(Debug)]
struct Held {
    spec: ListenSpec,
    fd: OwnedFd,
    file: Option<FileId>,
    /// Where the guardian has it.
    name: String,
    /// Whose it is.
    app: String,
    /// The slots whose next run gets it.
    slots: BTreeSet<SlotId>,
    /// The runs that got it and may live.
    runs: BTreeMap<RunId, SlotId>,
}

/// A run that lives, and what it got.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) run: RunId,
    pub(super) slot: SlotId,
    pub(super) addresses: Vec<ListenAddress>,
    pub(super) process: Arc<Process>,
}

/// Whose sockets are wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whose<'a> {
    pub(super) app: &'a str,
    pub(super) slot: SlotId,
}

/// What a run is to get, before it has it.
#[derive(Debug)]
pub(super) struct Parcel {
    /// In the order of the list.
    pub(super) fds: Vec<OwnedFd>,
    /// Those that are new.
    opened: Vec<ListenAddress>,
}

impl Handed {
    /// Goes on where a predecessor was: `kept` is what the guardian has of it, `live` what its runs got.
    pub(super) fn restore<'a>(
        kept: Vec<(String, OwnedFd)>,
        slots: impl Iterator<Item = &'a Slot>,
        live: &[Holder],
        (link, umask): (Option<Link>, u32),
    ) -> Handed {
        let slots: Vec<&Slot> = slots.collect();
        let mut restored = Handed { all: Vec::new(), link, umask };
        for (name, fd) in kept {
            let Some(address) = handed::address_of(&fd) else {
                restored.forget(&name);
                continue;
            };
            restored.take_in(name, fd, address, (&slots, live));
        }
        restored.fetch((&slots, live));
        restored.sweep();
        restored
    }

    /// Where a guardian was killed with its daemon, the runs have the sockets, and nobody else.
    fn fetch(&mut self, (slots, live): (&[&Slot], &[Holder])) {
        for holder in live {
            for (number, address) in (FIRST_HANDED..).zip(&holder.addresses) {
                if self.all.iter().any(|held| held.spec.address == *address) {
                    continue;
                }
                let found = holder.process.descriptor(number).and_then(|fd| {
                    // Its program can have put something else there.
                    let is_it = handed::address_of(&fd).as_ref() == Some(address);
                    if is_it { Ok(fd) } else { Err(io::ErrorKind::NotFound.into()) }
                });
                let named = found.and_then(|fd| {
                    let file = match address {
                        ListenAddress::Tcp { .. } => None,
                        ListenAddress::Unix { path } => handed::file_id(path),
                    };
                    Ok((name(&fd, file)?, fd))
                });
                match named {
                    Ok((name, fd)) => {
                        if let Some(link) = &self.link {
                            link.put(&[(&name, fd.as_fd())]);
                        }
                        self.take_in(name, fd, address.clone(), (slots, live));
                    }
                    Err(error) => warn!(run = holder.run.0, "cannot take back {address}: {error}"),
                }
            }
        }
    }

    fn take_in(&mut self, name: String, fd: OwnedFd, address: ListenAddress, of: (&[&Slot], &[Holder])) {
        let (slots, live) = of;
        let declared = |slot: &&&Slot| slot.definition.spec.listen.iter().any(|it| it.address == address);
        let holding: Vec<&&Slot> = slots.iter().filter(|slot| slot.holds_sockets).filter(declared).collect();
        let spec = holding.first().and_then(|slot| slot.definition.spec.listen.iter().find(|it| it.address == address));
        let spec = spec.cloned().unwrap_or_else(|| ListenSpec {
            name: String::new(),
            backlog: 0,
            mode: None,
            user: None,
            group: None,
            address: address.clone(),
        });
        let runs: BTreeMap<RunId, SlotId> = live
            .iter()
            .filter(|holder| holder.addresses.contains(&address))
            .map(|holder| (holder.run, holder.slot))
            .collect();
        let owner =
            holding.first().copied().or_else(|| slots.iter().find(|slot| runs.values().any(|it| *it == slot.id)));
        let app = owner.map(|slot| slot.definition.spec.name.clone()).unwrap_or_default();
        let slots = holding.iter().map(|slot| slot.id).collect();
        let file = recalled_file(&name);
        self.all.push(Held { spec, fd, file, name, app, slots, runs });
    }

    /// The sockets of a launch: those that are open, and what is missing, opened now. Nothing has changed where that fails.
    ///
    /// # Errors
    ///
    /// The first that cannot be had.
    pub(super) fn parcel(&mut self, whose: Whose<'_>, wanted: &[ListenSpec]) -> Result<Parcel, NoSocket> {
        let mut parcel = Parcel { fds: Vec::with_capacity(wanted.len()), opened: Vec::new() };
        for spec in wanted {
            match self.one(whose, spec, &mut parcel.opened) {
                Ok(fd) => parcel.fds.push(fd),
                Err(kind) => {
                    self.take_back(&parcel);
                    return Err(NoSocket { address: spec.address.clone(), kind });
                }
            }
        }
        if let Some(link) = self.link.as_ref().filter(|_| !parcel.opened.is_empty()) {
            let fresh = self.all.iter().filter(|held| parcel.opened.contains(&held.spec.address));
            let named: Vec<_> = fresh.map(|held| (held.name.as_str(), held.fd.as_fd())).collect();
            link.put(&named);
        }
        failpoint::here("handed-kept");
        Ok(parcel)
    }

    fn one(&mut self, whose: Whose<'_>, spec: &ListenSpec, opened: &mut Vec<ListenAddress>) -> Result<OwnedFd, Kind> {
        if let Some(at) = self.all.iter().position(|held| held.spec.address == spec.address) {
            let Some(held) = self.all.get_mut(at) else { return Err(Kind::Open(OpenError::Taken)) };
            // A name can change, a slot stays what it is.
            if held.app != whose.app && !held.slots.contains(&whose.slot) {
                return Err(Kind::Of(held.app.clone()));
            }
            if held.is_intact() {
                held.become_like(spec, self.umask).map_err(Kind::Open)?;
                return held.copy().map_err(Kind::Copy);
            }
            // Its program, or somebody, has removed the file: nobody finds it any more.
            warn!("{}: the file is gone or not ours, so it is opened anew", spec.address);
            let held = self.all.remove(at);
            self.forget(&held.name);
            drop(held.fd);
        }
        let fd = handed::open(spec, self.umask).map_err(Kind::Open)?;
        let file = match &spec.address {
            ListenAddress::Tcp { .. } => None,
            ListenAddress::Unix { path } => handed::file_id(path),
        };
        let name = name(&fd, file).map_err(Kind::Copy)?;
        info!(app = whose.app, "listens on {}", spec.address);
        opened.push(spec.address.clone());
        let held = Held {
            spec: spec.clone(),
            fd,
            file,
            name,
            app: whose.app.to_owned(),
            slots: BTreeSet::new(),
            runs: BTreeMap::new(),
        };
        let copy = held.copy().map_err(Kind::Copy);
        self.all.push(held);
        copy
    }

    /// The run is there, and has what it wanted; what its slot had and does not want any more is its no longer.
    pub(super) fn give(&mut self, run: RunId, whose: Whose<'_>, wanted: &[ListenSpec]) {
        for held in &mut self.all {
            if wanted.iter().any(|spec| spec.address == held.spec.address) {
                held.slots.insert(whose.slot);
                held.runs.insert(run, whose.slot);
                whose.app.clone_into(&mut held.app);
            } else {
                held.slots.remove(&whose.slot);
            }
        }
        self.sweep();
    }

    /// There is no such run: what was opened for it alone is closed.
    pub(super) fn take_back(&mut self, parcel: &Parcel) {
        let fresh = |held: &Held| parcel.opened.contains(&held.spec.address) && held.is_nobodys();
        self.close(|held| fresh(held));
    }

    /// Nothing of the run lives any more.
    pub(super) fn over(&mut self, run: RunId) {
        for held in &mut self.all {
            held.runs.remove(&run);
        }
        self.sweep();
    }

    /// Nobody waits for a next run of this slot.
    pub(super) fn give_up(&mut self, slot: SlotId) {
        failpoint::here("before-closing");
        for held in &mut self.all {
            held.slots.remove(&slot);
            held.runs.retain(|_, of| *of != slot);
        }
        self.sweep();
        failpoint::here("after-closing");
    }

    /// Copies of what a guardian would have.
    pub(super) fn copies(&self) -> Vec<(String, OwnedFd)> {
        self.all.iter().filter_map(|held| Some((held.name.clone(), held.fd.try_clone().ok()?))).collect()
    }

    fn sweep(&mut self) {
        self.close(Held::is_nobodys);
    }

    fn close(&mut self, is_over: impl Fn(&Held) -> bool) {
        let (over, kept): (Vec<Held>, Vec<Held>) = std::mem::take(&mut self.all).into_iter().partition(is_over);
        self.all = kept;
        for Held { spec, fd, file, name, app, .. } in over {
            info!(app, "listens no longer on {}", spec.address);
            self.forget(&name);
            handed::close(fd, &spec.address, file);
        }
    }

    fn forget(&self, name: &str) {
        if let Some(link) = &self.link {
            link.forget(&[name]);
        }
    }
}

impl Held {
    fn is_nobodys(&self) -> bool {
        self.slots.is_empty() && self.runs.is_empty()
    }

    /// Whether clients find it: the file of a unix socket is there and its own.
    fn is_intact(&self) -> bool {
        match &self.spec.address {
            ListenAddress::Tcp { .. } => true,
            ListenAddress::Unix { path } => self.file.is_some() && handed::file_id(path) == self.file,
        }
    }

    fn become_like(&mut self, spec: &ListenSpec, umask: u32) -> Result<(), OpenError> {
        let file = |spec: &ListenSpec| (spec.mode, spec.user.clone(), spec.group.clone());
        if file(&self.spec) != file(spec) {
            handed::change(spec, umask)?;
        }
        if self.spec.backlog != spec.backlog {
            let failed = |source| OpenError::Call { step: Step::Listen, source };
            handed::set_backlog(&self.fd, spec.backlog).map_err(failed)?;
        }
        self.spec = spec.clone();
        Ok(())
    }

    /// What a program gets: as it was opened, unless another one that lives has made it another.
    fn copy(&self) -> io::Result<OwnedFd> {
        if self.runs.is_empty() {
            fds::set_blocking(&self.fd, Blocking::Yes)?;
        }
        self.fd.try_clone()
    }
}

/// The number of a socket is its own as long as anybody has it.
fn name(fd: &OwnedFd, file: Option<FileId>) -> io::Result<String> {
    name_of(PREFIX, fd, file)
}

fn recalled_file(name: &str) -> Option<FileId> {
    file_of(PREFIX, name)
}

/// What the guardian keeps a socket under: no two are called the same, and a file's own number tells it from its successor.
pub(super) fn name_of(prefix: &str, fd: &OwnedFd, file: Option<FileId>) -> io::Result<String> {
    let number = tcp::inode(fd)?;
    Ok(match file {
        Some(FileId { device, inode }) => format!("{prefix}{number}/{device}/{inode}"),
        None => format!("{prefix}{number}"),
    })
}

/// The file of a socket that is kept under this name.
pub(super) fn file_of(prefix: &str, name: &str) -> Option<FileId> {
    let mut parts = name.strip_prefix(prefix)?.split('/').skip(1);
    let mut next = || parts.next()?.parse().ok();
    Some(FileId { device: next()?, inode: next()? })
}

#[cfg(test)]
mod tests;
