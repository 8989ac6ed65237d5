//! Going on where a predecessor was: its groups in the kernel's order, its runs, and the questions that it left open.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use tracing::{info, warn};

use crate::cluster::{Group, GroupKey, Mark, Member, MemberId, Owner, Place, Run, Share, SocketId, Standing, Weight};
use crate::daemon::cluster::ledger::{self, Ledger};
use crate::daemon::cluster::ports::{Captured, Kept, Port, Ports, filter_name, socket_name};
use crate::daemon::cluster::records::{recalled_balance, recalled_standing, records};
use crate::daemon::cluster::thread::CALLS;
use crate::daemon::cluster::views::Counted;
use crate::daemon::cluster::waiting_room::NOBODY;
use crate::daemon::cluster::{Terms, Wants};
use crate::daemon::link::Link;
use crate::proto::{CapturedRecord, GroupRecord, MemberRecord, PlaceRecord, SocketRecord};
use crate::supervisor::{RunId, SlotId};
use crate::sys::seccomp::{Asker, Listener, Slots};
use crate::sys::tcp::diag::Diag;
use crate::sys::tcp::{self, Cookie, Tag};

/// What the guardian has of it.
#[derive(Default)]
struct Left {
    calls: Option<OwnedFd>,
    ledger: Option<OwnedFd>,
    sockets: HashMap<SocketId, OwnedFd>,
    filters: HashMap<RunId, OwnedFd>,
}

/// Whether a descriptor of this name belongs here.
pub(in crate::daemon) fn is_ours(name: &str) -> bool {
    name.starts_with("sock/") || (name.starts_with("run/") && name.ends_with("/filter"))
}

/// Everything as it was; what cannot be used is let go.
pub(super) fn restore(kept: Vec<(String, OwnedFd)>, link: Option<Link>) -> io::Result<(Ports, Slots)> {
    let mut left = sorted(kept);
    let slots = match left.calls.take().map(Slots::from_fd) {
        Some(Ok(slots)) => slots,
        Some(Err(error)) => {
            warn!("questions that were open are lost: {error}");
            Slots::new()?
        }
        None => Slots::new()?,
    };
    let recalled = left.ledger.take().map_or(Ok(Vec::new()), |file| ledger::read(&file)).unwrap_or_else(|error| {
        warn!("what a predecessor wrote of shared sockets cannot be read: {error}");
        Vec::new()
    });
    let (mut runs, mut groups) = (BTreeMap::new(), Vec::<GroupRecord>::new());
    for record in recalled {
        match record {
            SocketRecord::Head { .. } => {}
            SocketRecord::Run(record) => drop(runs.insert(RunId(record.run), record)),
            SocketRecord::Gone { run } => drop(runs.remove(&RunId(run))),
            SocketRecord::Group(record) => {
                // In their first order; the last that was said of each.
                groups.retain(|known| key(known) != key(&record));
                groups.push(record);
            }
        }
    }
    let groups: Vec<Port> = groups.into_iter().filter_map(|record| port(record, &mut left.sockets)).collect();
    let mut bound = HashMap::new();
    let mut captured = BTreeMap::new();
    for (run, record) in runs {
        let filter = left.filters.remove(&run).and_then(|fd| match Listener::from_fd(fd) {
            Ok(listener) => Some(listener),
            Err(error) => {
                warn!(run = run.0, "its calls cannot be answered any more: {error}");
                None
            }
        });
        if filter.is_none() {
            warn!(run = run.0, "capture lost; `rsx restart` mends it");
        }
        let of_run: Vec<(SocketId, OwnedFd)> =
            record.bound.iter().filter_map(|id| left.sockets.remove_entry(&SocketId(*id))).collect();
        captured.insert(run, recalled_run(*record, filter, of_run.iter().map(|(id, _)| *id)));
        bound.extend(of_run);
    }
    // An earlier release wrote down the marks of members alone.
    for port in &groups {
        for member in port.group.members() {
            let kept = port.kept.get(&member.socket).zip(captured.get_mut(&RunId(member.id.run.0)));
            if let Some((kept, captured)) = kept {
                captured.tags.insert((port.group.key().address.port(), kept.tag));
            }
        }
    }
    let ledger = Ledger::begin(link.clone(), &records(&groups, &captured))?;
    if !captured.is_empty() {
        info!(runs = captured.len(), groups = groups.len(), "goes on with shared sockets");
    }
    let ports = Ports {
        groups,
        runs: captured,
        bound,
        diag: Diag::open()?,
        link,
        ledger,
        told: Vec::new(),
        searched_at: None,
        counted: Counted::default(),
        let_go: BTreeMap::new(),
        binders: BTreeMap::new(),
        is_changed: true,
    };
    ports.put(CALLS, &slots);
    // Nobody's: killed between leaving a descriptor and writing down what it is, or after its end.
    left.sockets.keys().for_each(|socket| forget(&ports, &socket_name(*socket)));
    left.filters.keys().for_each(|run| forget(&ports, &filter_name(*run)));
    Ok((ports, slots))
}

impl Ports {
    /// Copies of all descriptors under their names.
    pub(super) fn copies(&self) -> Vec<(String, OwnedFd)> {
        let kept = self.groups.iter().flat_map(|port| port.kept.iter().map(|(id, kept)| (*id, kept.fd.as_fd())));
        let sockets = kept.chain(self.bound.iter().map(|(id, fd)| (*id, fd.as_fd())));
        let sockets = sockets.map(|(id, fd)| (socket_name(id), fd));
        let filters =
            self.runs.iter().filter_map(|(run, captured)| Some((filter_name(*run), captured.filter.as_ref()?.as_fd())));
        let ledger = std::iter::once((ledger::NAME.to_owned(), self.ledger.as_fd()));
        let all = sockets.chain(filters).chain(ledger);
        all.filter_map(|(name, fd)| Some((name, fd.try_clone_to_owned().ok()?))).collect()
    }
}

fn forget(ports: &Ports, name: &str) {
    if let Some(link) = &ports.link {
        link.forget(&[name]);
    }
}

fn sorted(kept: Vec<(String, OwnedFd)>) -> Left {
    let mut left = Left::default();
    for (name, fd) in kept {
        let parts: Vec<&str> = name.split('/').collect();
        match parts.as_slice() {
            ["run", run, "filter"] => {
                if let Ok(run) = run.parse() {
                    left.filters.insert(RunId(run), fd);
                }
            }
            ["sock", "fd", cookie] => {
                // Only what it says it is.
                if let (Ok(id), Ok(cookie)) = (cookie.parse(), Cookie::of(&fd))
                    && cookie.0 == id
                {
                    left.sockets.insert(SocketId(id), fd);
                }
            }
            _ if name == ledger::NAME => left.ledger = Some(fd),
            _ if name == CALLS => left.calls = Some(fd),
            _ => {}
        }
    }
    left
}

/// A group as the kernel has it: who did not listen yet, or does not any more, is not in its array. That is one at most,
/// and the last took its place.
fn port(record: GroupRecord, sockets: &mut HashMap<SocketId, OwnedFd>) -> Option<Port> {
    let key = key(&record);
    let (mut kept, mut members) = (HashMap::new(), record.members);
    let mut gone = None;
    for (at, member) in members.iter().enumerate() {
        let id = SocketId(member.socket);
        let Some(fd) = sockets.remove(&id) else {
            warn!(address = %key.address, "a socket of this port is lost");
            gone = Some(at);
            continue;
        };
        if !tcp::is_listening(&fd).unwrap_or(false) {
            gone = Some(at);
            // It may be about to: its run still has it as bound.
            sockets.insert(id, fd);
            continue;
        }
        let others = member.others.iter().map(|run| (RunId(*run), None)).collect();
        kept.insert(id, Kept { fd, tag: Tag::new(member.tag).unwrap_or(Tag::NONE), holder: None, others });
    }
    if let Some(at) = gone {
        members.swap_remove(at);
        members.retain(|member| kept.contains_key(&SocketId(member.socket)));
    }
    let group = Group::restored(key, recalled_balance(record.balance), members.iter().map(member));
    (!kept.is_empty()).then_some(Port { group, app: record.app, kept })
}

fn key(record: &GroupRecord) -> GroupKey {
    let GroupRecord { namespace, address, v6only, device, uid, .. } = *record;
    GroupKey { namespace, address, v6only, device, uid }
}

fn member(record: &MemberRecord) -> Member {
    let MemberRecord { socket, run, nth, slot, standing, weight, mark, is_small, .. } = *record;
    Member {
        socket: SocketId(socket),
        id: match Run(run) {
            NOBODY => MemberId { run: NOBODY, owner: Owner(socket), nth },
            run => MemberId { run, owner: Owner(0), nth },
        },
        place: Place(slot),
        weight: Weight::new(weight).unwrap_or(Weight::MIN),
        share: if is_small { Share::Small } else { Share::Whole },
        mark: mark.map(Mark::new),
        standing: recalled_standing(standing),
    }
}

fn recalled_run(record: CapturedRecord, filter: Option<Listener>, bound: impl Iterator<Item = SocketId>) -> Captured {
    let CapturedRecord { run: _, slot, app, needs, listens, standing, ended, bound: _, sockets, tags, .. } = record;
    let CapturedRecord {
        instance, only, inspectors, inspected, has_one_queue, remarks, places, needed, addresses, ..
    } = record;
    let CapturedRecord { balance, weight, mark, .. } = record;
    let place = |place: PlaceRecord| ((Asker(place.process), place.number), SocketId(place.socket));
    Captured {
        slot: SlotId(slot),
        instance,
        app,
        wants: Wants { only, inspectors, has_one_queue },
        needs,
        listens,
        needed,
        addresses,
        standing: match recalled_standing(standing) {
            // Of a run only these are said.
            good @ (Standing::Ready | Standing::Parked | Standing::Starting | Standing::Draining) => good,
            ill @ Standing::Unhealthy => ill,
            Standing::Dead | Standing::Leaving => Standing::Starting,
        },
        terms: Terms {
            balance: recalled_balance(balance),
            weight: Weight::new(weight).unwrap_or(Weight::MIN),
            mark: mark.map(Mark::new),
        },
        filter,
        process: None,
        ended,
        told: false,
        bound: bound.collect(),
        sockets,
        inspected,
        remarks,
        places: places.into_iter().map(place).collect(),
        tags: tags.into_iter().filter_map(|(port, tag)| Some((port, Tag::new(tag)?))).collect(),
    }
}
