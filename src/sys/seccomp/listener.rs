//! The answering end of a filter.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::sys::seccomp::caller::{Caller, CloseOnExec};
use crate::sys::seccomp::slots::{self, Question, SlotIndex, Slots};

/// linux/seccomp.h, Linux 6.6: the program runs on at once, on this processor.
const SYNC_WAKE_UP: u64 = 1;

/// The end of a filter where its questions arrive. Readable when there is one, hung up when nobody can ask any more.
#[derive(Debug)]
pub struct Listener(OwnedFd);

/// What taking a question gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It is in the slot.
    Question(Question),
    /// Nobody asks now.
    Nothing,
    /// Nobody can ask any more: the last process under the filter, however far it went from its parents, has ended.
    Ended,
}

/// What a program gets for its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The kernel carries the call out.
    Continue,
    /// It succeeded, without the kernel.
    Done,
    /// It failed.
    Failed(Errno),
}

/// Whether an answer reached its program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It did.
    Delivered,
    /// The program waits no more: it was killed, or a signal took it out of the call.
    TooLate,
}

impl Listener {
    /// The end that came through a gate or from a predecessor.
    ///
    /// # Errors
    ///
    /// `Unsupported`, if the questions of this kernel are longer than this version knows.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Listener> {
        if !slots::fits(question_size()?) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        // Only faster: 16 instead of 53 microseconds a call. Refused before Linux 6.6.
        // SAFETY: this operation takes the flags themselves in the place of a pointer.
        let _ = unsafe { libc::ioctl(fd.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS as _, SYNC_WAKE_UP) };
        Ok(Listener(fd))
    }

    /// The descriptor, to be given to a successor.
    pub fn into_fd(self) -> OwnedFd {
        self.0
    }

    /// Takes the next question into a free slot; does not wait for one. `mark` says whose listener this is, to a
    /// successor that finds the slot taken.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a slot that is taken, and none that a caller could mend.
    pub fn try_receive(&self, slots: &mut Slots, index: SlotIndex, mark: u64) -> io::Result<Asked> {
        if slots.read(index).is_some() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        loop {
            // Asked first, because the call below waits, and on old kernels even where nobody is left to ask.
            let events = self.poll()?;
            if !events.contains(PollFlags::POLLIN) {
                let ended = events.intersects(PollFlags::POLLHUP | PollFlags::POLLERR);
                return Ok(if ended { Asked::Ended } else { Asked::Nothing });
            }
            slots.set_mark(index, mark);
            let slot = slots.at(index);
            // SAFETY: the slot is ours, zeroed, aligned, and has room for what this kernel writes (`from_fd`).
            match Errno::result(unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV as _, slot) }) {
                Ok(_) => return Ok(slots.read(index).map_or(Asked::Nothing, Asked::Question)),
                // The asker was killed in between.
                Err(Errno::ENOENT | Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether a question still waits for its answer.
    pub fn is_open(&self, question: &Question) -> bool {
        let id = question.id;
        // SAFETY: this operation reads the u64 that it is given a pointer to.
        unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID as _, &raw const id) == 0 }
    }

    /// Answers. The slot is to be cleared afterwards, whatever the delivery.
    ///
    /// # Errors
    ///
    /// None that a caller could mend.
    pub fn answer(&self, question: &Question, answer: Answer) -> io::Result<Delivery> {
        let (error, flags) = match answer {
            Answer::Continue => (0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE),
            Answer::Done => (0, 0),
            Answer::Failed(errno) => (-(errno as i32), 0),
        };
        let flags = u32::try_from(flags).map_err(io::Error::other)?;
        let response = libc::seccomp_notif_resp { id: question.id, val: 0, error, flags };
        // SAFETY: the response is read only and outlives the call.
        let sent = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND as _, &raw const response) };
        delivery(sent)
    }

    /// Puts a descriptor in the place of one of the caller's, closing that one. The question stays open.
    ///
    /// # Errors
    ///
    /// EMFILE; none that a caller could mend.
    pub fn put(
        &self,
        question: &Question,
        fd: BorrowedFd<'_>,
        place: RawFd,
        close: CloseOnExec,
    ) -> io::Result<Delivery> {
        let number = |fd: RawFd| u32::try_from(fd).map_err(|_| io::Error::from(Errno::EBADF));
        let flags = match close {
            CloseOnExec::Yes => libc::O_CLOEXEC.cast_unsigned(),
            CloseOnExec::No => 0,
        };
        let request = libc::seccomp_notif_addfd {
            id: question.id,
            // Never ADDFD_FLAG_SEND: bind(2) would return the number.
            flags: u32::try_from(libc::SECCOMP_ADDFD_FLAG_SETFD).map_err(io::Error::other)?,
            srcfd: number(fd.as_raw_fd())?,
            newfd: number(place)?,
            newfd_flags: flags,
        };
        // SAFETY: the request is read only and outlives the call; the descriptor in it is open.
        let put = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ADDFD as _, &raw const request) };
        // A question that is gone is also EINPROGRESS: it has been answered.
        delivery(put)
    }

    /// Looks into the process that asks. What was seen is returned only if the question is open afterwards; otherwise it
    /// may have been seen in some other process, which got the number meanwhile.
    ///
    /// # Errors
    ///
    /// `NotFound`, if the question is not open any more, and those of the look.
    pub fn look<T>(&self, question: &Question, look: impl FnOnce(&Caller) -> io::Result<T>) -> io::Result<T> {
        let seen = look(&Caller::new(question.thread));
        if self.is_open(question) { seen } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn poll(&self) -> io::Result<PollFlags> {
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        loop {
            match poll(&mut fds, PollTimeout::ZERO) {
                Ok(_) => break,
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let [fd] = fds;
        Ok(fd.revents().unwrap_or(PollFlags::empty()))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn delivery(result: libc::c_int) -> io::Result<Delivery> {
    match Errno::result(result) {
        Ok(_) => Ok(Delivery::Delivered),
        Err(Errno::ENOENT | Errno::EINPROGRESS | Errno::ESRCH) => Ok(Delivery::TooLate),
        Err(error) => Err(error.into()),
    }
}

/// How long a question of this kernel is (seccomp(2): SECCOMP_GET_NOTIF_SIZES).
fn question_size() -> io::Result<u16> {
    let mut sizes = libc::seccomp_notif_sizes { seccomp_notif: 0, seccomp_notif_resp: 0, seccomp_data: 0 };
    let operation = libc::SECCOMP_GET_NOTIF_SIZES;
    // SAFETY: this operation writes three u16 to the struct that it is given a pointer to.
    Errno::result(unsafe { libc::syscall(libc::SYS_seccomp, operation, 0, &raw mut sizes) })?;
    Ok(sizes.seccomp_notif)
}
