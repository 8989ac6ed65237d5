//! A kept socket in the place of the one that a program has just made.
//!
//! What is its own of the descriptor's flags and options is carried over, and where it has put its socket into an epoll
//! set already, the kept one is put there, too. No duplicate of the replaced socket outlives this: one that stayed would
//! report itself hung up in such a set, for ever.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, unshare};
use nix::sys::epoll::EpollFlags;

use crate::sys::seccomp::caller::{Caller, CloseOnExec, Watched};
use crate::sys::seccomp::listener::{Delivery, Listener};
use crate::sys::seccomp::slots::Question;
use crate::sys::tcp;

/// What became of it. The question is still open: the answer to `bind` is then [`crate::sys::seccomp::Answer::Done`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Substituted {
    /// Whether the program has the kept socket now.
    pub delivery: Delivery,
    /// Whether its own options and flags were carried over.
    pub options: Options,
}

/// What became of the options of the replaced socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Options {
    /// They are the kept socket's now.
    Copied,
    /// No duplicate of its socket can be had: of what it set before `bind`, whether it waits (O_NONBLOCK) is carried over
    /// and the rest is lost.
    Flags,
    /// The program may not be looked into at all: all is lost. It is taken for one that does not wait (O_NONBLOCK).
    Lost,
}

/// What is known of the socket that goes.
struct Seen {
    /// The replaced socket, until its flags and options are copied.
    socket: OwnedFd,
    close: CloseOnExec,
    /// With our own descriptors of the epoll sets.
    watches: Vec<(OwnedFd, Watched)>,
}

/// Puts `kept` in the place of the caller's descriptor `place`.
///
/// # Errors
///
/// `NotFound`, if the question is not open any more; `Unsupported`, if the program has put its socket into an epoll set
/// that cannot be looked into; those of copying options and of putting.
pub fn substitute(
    listener: &Listener,
    question: &Question,
    place: RawFd,
    kept: BorrowedFd<'_>,
) -> io::Result<Substituted> {
    let seen = match listener.look(question, |caller| see(caller, place)) {
        Ok(seen) => seen,
        Err(error) if is_refusal(&error) => return put(listener, question, place, kept),
        Err(error) => return Err(error),
    };
    tcp::copy_flags(seen.socket.as_fd(), kept)?;
    tcp::copy_options(seen.socket.as_fd(), kept)?;
    drop(seen.socket);
    let delivery = listener.put(question, kept, place, seen.close)?;
    if delivery == Delivery::Delivered {
        for (epoll, watched) in &seen.watches {
            watch(epoll, watched, kept, place)?;
        }
    }
    Ok(Substituted { delivery, options: Options::Copied })
}

/// Puts `kept` there without a duplicate of what goes, with what can be told from outside.
///
/// # Errors
///
/// As of [`substitute`].
pub fn put(listener: &Listener, question: &Question, place: RawFd, kept: BorrowedFd<'_>) -> io::Result<Substituted> {
    let outside = |caller: &Caller| Ok((caller.flags(place)?, caller.watches_of(place)?.is_empty()));
    match listener.look(question, outside) {
        Ok((_, false)) => {
            let why = "it has put its socket into an epoll set, which may not be looked into";
            Err(io::Error::new(io::ErrorKind::Unsupported, why))
        }
        Ok(((flags, close), true)) => {
            tcp::set_flags(kept, flags)?;
            Ok(Substituted { delivery: listener.put(question, kept, place, close)?, options: Options::Flags })
        }
        Err(error) if is_refusal(&error) => {
            tcp::set_flags(kept, OFlag::O_NONBLOCK)?;
            // The default of every runtime; one that hands its listener on to its children sets it itself, later.
            let delivery = listener.put(question, kept, place, CloseOnExec::Yes)?;
            Ok(Substituted { delivery, options: Options::Lost })
        }
        Err(error) => Err(error),
    }
}

fn see(caller: &Caller, place: RawFd) -> io::Result<Seen> {
    let socket = caller.duplicate(place)?;
    let close = caller.close_on_exec(place)?;
    let watches = caller.watches_of(place)?.into_iter();
    let watches = watches.map(|watched| Ok((caller.duplicate(watched.epoll)?, watched)));
    Ok(Seen { socket, close, watches: watches.collect::<io::Result<_>>()? })
}

/// Whether an error says that looking into a process is refused.
pub fn is_refusal(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES | libc::ENOSYS))
}

/// Registers the kept socket in an epoll set of the program under the program's own number of it.
///
/// A set knows its entries by file and number (epoll(7)), so the socket needs that number here, too, where it may be taken.
/// A thread with a table of its own (unshare(2): CLONE_FILES) has all numbers to itself, and its table ends with it.
fn watch(epoll: &OwnedFd, watched: &Watched, kept: BorrowedFd<'_>, place: RawFd) -> io::Result<()> {
    let (epoll, kept) = (epoll.as_raw_fd(), kept.as_raw_fd());
    let register = move || -> io::Result<()> {
        unshare(CloneFlags::CLONE_FILES)?;
        // SAFETY: two numbers of this thread's own table. Nothing in this thread owns a descriptor, so whatever had this
        // number is missed by nobody. It is above `place` for sure.
        let epoll = Errno::result(unsafe { libc::fcntl(epoll, libc::F_DUPFD_CLOEXEC, place + 1) })?;
        // SAFETY: as above.
        Errno::result(unsafe { libc::dup2(kept, place) })?;
        // The bits that the kernel itself adds to an entry's events stay out.
        let events = EpollFlags::from_bits_truncate(watched.events.cast_signed()).bits().cast_unsigned();
        let mut event = libc::epoll_event { events, u64: watched.data };
        // SAFETY: both are open in this thread's table; the event is read only.
        Errno::result(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, place, &raw mut event) })?;
        Ok(())
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("rsx-epoll".into()).spawn_scoped(scope, register)?;
        thread.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
    })
}
