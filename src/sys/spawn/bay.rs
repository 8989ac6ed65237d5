//! Low descriptors through which a child gets its own, so that the others need not be copied for it.
//!
//! A table of descriptors is copied whole by clone(2), and closed one by one in the child: with a thousand apps that is most
//! of what it costs to start one. A child that shares the table instead (CLONE_FILES) and leaves it with
//! close_range(2) and CLOSE_RANGE_UNSHARE copies only what lies below the first that it closes; so what it needs is laid
//! there for a moment.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::dup3;

/// Three streams, the end of a gate, the file of births.
const PLACES: usize = 5;
/// Eight sockets, which have to lie above where they are to be.
const FOR_SOCKETS: usize = 2 * 8;
/// Where a process may have fewer descriptors than this, however it is asked for, it has none to spare.
const FEW: u64 = 1024;

/// A few descriptors of this process, as low as they were to be had, that are nothing until a child needs them.
#[derive(Debug)]
pub struct Bay {
    /// What lies in each place meanwhile.
    nothing: File,
    places: Vec<OwnedFd>,
}

impl Bay {
    /// Takes the lowest free descriptors: made early, before there are many. None where close_range(2) is refused, as by old
    /// profiles of containers: then tables are copied.
    ///
    /// # Errors
    ///
    /// EMFILE, or /dev/null cannot be opened. A getrlimit(2) that is refused.
    pub fn new() -> io::Result<Option<Bay>> {
        // Nothing is open up there, so this only shows whether the call is there (Linux 5.11).
        let (first, last) = (libc::c_uint::MAX - 1, libc::c_uint::MAX);
        // SAFETY: three integers; it marks an empty range.
        let marked = unsafe { libc::syscall(libc::SYS_close_range, first, last, libc::CLOSE_RANGE_CLOEXEC) };
        if Errno::result(marked).is_err() {
            return Ok(None);
        }
        let nothing = OpenOptions::new().read(true).write(true).open("/dev/null")?;
        let (_, allowed) = getrlimit(Resource::RLIMIT_NOFILE)?;
        let count = if allowed < FEW { PLACES } else { PLACES + FOR_SOCKETS };
        let places = (0..count).map(|_| Ok(nothing.try_clone()?.into())).collect::<io::Result<_>>()?;
        Ok(Some(Bay { nothing, places }))
    }

    /// Whether as many can lie here, none of them below `first`.
    pub(super) fn has_room(&self, count: usize, first: RawFd) -> bool {
        self.places.iter().filter(|place| place.as_raw_fd() >= first).count() >= count
    }

    /// Lays these here, none below `first`; where they lie now, in this order.
    pub(super) fn lend<'a>(
        &mut self,
        first: RawFd,
        fds: impl Iterator<Item = BorrowedFd<'a>>,
    ) -> io::Result<Vec<RawFd>> {
        let mut numbers = Vec::with_capacity(self.places.len());
        let mut places = self.places.iter_mut().filter(|place| place.as_raw_fd() >= first);
        for fd in fds {
            let Some(place) = places.next() else { return Err(io::ErrorKind::InvalidInput.into()) };
            dup3(fd, place, OFlag::O_CLOEXEC)?;
            numbers.push(place.as_raw_fd());
        }
        Ok(numbers)
    }

    /// Nothing lies here any more: an end of a pipe that stayed would keep it open.
    pub(super) fn clear(&mut self) {
        for place in &mut self.places {
            // Of a valid number to a valid number: only a signal could come between, and all are blocked in this thread.
            let cleared = dup3(&self.nothing, place, OFlag::O_CLOEXEC);
            debug_assert!(cleared.is_ok(), "our own descriptors can be duplicated: {cleared:?}");
        }
    }

    /// The first descriptor that a child does not need.
    pub(super) fn end(&self) -> libc::c_uint {
        self.places.iter().map(|place| place.as_raw_fd().unsigned_abs() + 1).max().unwrap_or(3)
    }
}
