//! Waiting for many descriptors at once on a thread of its own (epoll(7)), and waking that thread.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};

/// How many are reported at once; the rest comes with the next wait.
const BATCH: usize = 256;

/// The waker's own.
const WAKER: u64 = u64::MAX;

/// A set of descriptors that are waited for. Level-triggered: what was not read is reported again.
#[derive(Debug)]
pub struct Poller {
    epoll: Epoll,
    waker: Waker,
    events: Vec<EpollEvent>,
}

/// Ends a wait from another thread. Waking twice before the wait ends is the same as once.
#[derive(Clone, Debug)]
pub struct Waker(Arc<EventFd>);

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Bytes to read, or the end of them.
    Read,
    /// Room to write.
    Write,
    /// Either.
    Both,
    /// Nothing but errors and hang-ups, which are always reported.
    None,
}

/// A descriptor that can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// What it was added with.
    pub token: u64,
    /// Something can be read, if only the end.
    pub readable: bool,
    /// Something can be written, if only to get an error.
    pub writable: bool,
}

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// The waker was used (descriptors may be ready, too).
    ByWaker,
    /// Descriptors are ready.
    ByDescriptors,
    /// The time is over.
    ByTime,
}

impl Poller {
    /// An empty set.
    ///
    /// # Errors
    ///
    /// EMFILE.
    pub fn new() -> io::Result<Poller> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        epoll.add(&event, EpollEvent::new(EpollFlags::EPOLLIN, WAKER))?;
        Ok(Poller { epoll, waker: Waker(Arc::new(event)), events: vec![EpollEvent::empty(); BATCH] })
    }

    /// What other threads wake this one with.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Adds a descriptor. `u64::MAX` is taken. It has to be removed before it is closed while duplicates live.
    ///
    /// # Errors
    ///
    /// EEXIST, ENOSPC, or EPERM for a regular file.
    pub fn add(&self, fd: &impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(self.epoll.add(fd, EpollEvent::new(flags(interest), token))?)
    }

    /// Waits for something else on a descriptor of the set.
    ///
    /// # Errors
    ///
    /// ENOENT.
    pub fn modify(&self, fd: &impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(self.epoll.modify(fd, &mut EpollEvent::new(flags(interest), token))?)
    }

    /// Takes a descriptor out.
    ///
    /// # Errors
    ///
    /// ENOENT.
    pub fn remove(&self, fd: &impl AsFd) -> io::Result<()> {
        Ok(self.epoll.delete(fd)?)
    }

    /// Waits until something can go on, at most this long (without limit for `None`), and replaces `ready` by what can.
    ///
    /// # Errors
    ///
    /// None that a caller could mend.
    pub fn wait(&mut self, ready: &mut Vec<Ready>, timeout: Option<Duration>) -> io::Result<Woken> {
        ready.clear();
        let timeout = timeout.map_or(EpollTimeout::NONE, rounded_up);
        let count = match self.epoll.wait(&mut self.events, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        let mut woken = if count == 0 { Woken::ByTime } else { Woken::ByDescriptors };
        for event in self.events.iter().take(count) {
            if event.data() == WAKER {
                // Already emptied is as good as emptied now.
                let _ = self.waker.0.read();
                woken = Woken::ByWaker;
                continue;
            }
            let ended = EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR;
            ready.push(Ready {
                token: event.data(),
                readable: event.events().intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP | ended),
                writable: event.events().intersects(EpollFlags::EPOLLOUT | ended),
            });
        }
        Ok(woken)
    }
}

/// A set can be waited for in another one: it can be read when one of its descriptors can.
impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}

impl Waker {
    /// Ends the wait that goes on now, or the next one.
    pub fn wake(&self) {
        // The one error is a full counter, and a counter that is not zero wakes.
        let _ = self.0.write(1);
    }
}

/// Waits until something can be read from one descriptor, if only its end, at most this long; whether it can.
///
/// # Errors
///
/// None that a caller could mend.
pub fn readable_within(fd: &impl AsFd, timeout: Duration) -> io::Result<bool> {
    within(fd, PollFlags::POLLIN, timeout)
}

/// Waits until something can be written to one descriptor, at most this long; whether it can.
///
/// # Errors
///
/// None that a caller could mend.
pub fn writable_within(fd: &impl AsFd, timeout: Duration) -> io::Result<bool> {
    within(fd, PollFlags::POLLOUT, timeout)
}

fn within(fd: &impl AsFd, wanted: PollFlags, timeout: Duration) -> io::Result<bool> {
    let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
    loop {
        match poll(&mut [PollFd::new(fd.as_fd(), wanted)], timeout) {
            Ok(count) => return Ok(count > 0),
            // A signal that this process handles; none comes often enough to make this unbounded.
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn flags(interest: Interest) -> EpollFlags {
    match interest {
        Interest::Read => EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP,
        Interest::Write => EpollFlags::EPOLLOUT,
        Interest::Both => EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLOUT,
        Interest::None => EpollFlags::empty(),
    }
}

/// Whole milliseconds, upwards: a wait that ends early would be repeated in a busy loop.
fn rounded_up(timeout: Duration) -> EpollTimeout {
    let millis = timeout.as_nanos().div_ceil(1_000_000);
    i32::try_from(millis).ok().and_then(|millis| EpollTimeout::try_from(millis).ok()).unwrap_or(EpollTimeout::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write, pipe};

    #[test]
    fn a_pipe_is_reported_until_it_is_read() {
        let mut poller = Poller::new().unwrap();
        let mut ready = Vec::new();
        let (mut reader, mut writer) = pipe().unwrap();
        poller.add(&reader, 7, Interest::Read).unwrap();
        assert_eq!(poller.wait(&mut ready, Some(Duration::ZERO)).unwrap(), Woken::ByTime);
        writer.write_all(b"x").unwrap();
        let expected = [Ready { token: 7, readable: true, writable: false }];
        for _ in 0..2 {
            assert_eq!(poller.wait(&mut ready, None).unwrap(), Woken::ByDescriptors);
            assert_eq!(ready, expected);
        }
        reader.read_exact(&mut [0]).unwrap();
        poller.wait(&mut ready, Some(Duration::ZERO)).unwrap();
        assert!(ready.is_empty());
        drop(writer);
        poller.wait(&mut ready, None).unwrap();
        assert!(ready[0].readable);
        poller.remove(&reader).unwrap();
    }

    #[test]
    fn another_thread_ends_a_wait() {
        let mut poller = Poller::new().unwrap();
        let waker = poller.waker();
        let thread = std::thread::spawn(move || {
            waker.wake();
            waker.wake();
        });
        assert_eq!(poller.wait(&mut Vec::new(), None).unwrap(), Woken::ByWaker);
        thread.join().unwrap();
        poller.wait(&mut Vec::new(), Some(Duration::ZERO)).unwrap();
        assert_eq!(poller.wait(&mut Vec::new(), Some(Duration::ZERO)).unwrap(), Woken::ByTime);
    }

    #[test]
    fn waits_are_rounded_up() {
        assert_eq!(rounded_up(Duration::from_micros(1)), EpollTimeout::from(1_u8));
        assert_eq!(rounded_up(Duration::MAX), EpollTimeout::MAX);
    }
}
