//! Descriptors: pipes, memory files, and their travel between processes.

use std::fs::File;
use std::io::{self, IoSlice, Read, Seek, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair};

/// The most descriptors that one message carries (unix(7): SCM_MAX_FD).
pub const MAX_FDS: usize = 253;

/// The longest message of a [`Channel`] in bytes.
pub const MAX_BYTES: usize = 4096;

/// One end of a connection that keeps messages apart and carries descriptors (unix(7): SOCK_SEQPACKET).
#[derive(Debug)]
pub struct Channel(OwnedFd);

/// What came over a [`Channel`].
#[derive(Debug)]
pub struct Message {
    /// Its text.
    pub bytes: Vec<u8>,
    /// Its descriptors, FD_CLOEXEC set.
    pub fds: Vec<OwnedFd>,
}

/// Whether calls on a descriptor may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocking {
    /// They wait.
    Yes,
    /// They fail with `WouldBlock`.
    No,
}

impl Channel {
    /// Two connected ends.
    ///
    /// # Errors
    ///
    /// EMFILE, ENFILE.
    pub fn pair() -> io::Result<(Channel, Channel)> {
        let (a, b) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((Channel(a), Channel(b)))
    }

    /// An end that was inherited.
    pub fn from_fd(fd: OwnedFd) -> Channel {
        Channel(fd)
    }

    /// The descriptor, to be handed to a child.
    pub fn into_fd(self) -> OwnedFd {
        self.0
    }

    /// Sends one message, whole or not at all.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for an empty or too long message or more than [`MAX_FDS`] descriptors; `WouldBlock`, also when
    /// too many descriptors are under way; EPIPE when the other end is gone.
    pub fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        if bytes.is_empty() || bytes.len() > MAX_BYTES || fds.len() > MAX_FDS {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let numbers: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&numbers)];
        let control = if fds.is_empty() { &[][..] } else { &rights[..] };
        loop {
            match sendmsg::<()>(self.0.as_raw_fd(), &[IoSlice::new(bytes)], control, MsgFlags::MSG_NOSIGNAL, None) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                // Like a full buffer, it passes when the other end has read.
                Err(Errno::ETOOMANYREFS) => return Err(io::ErrorKind::WouldBlock.into()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Takes the next message; none when the other end is closed and everything was read.
    ///
    /// # Errors
    ///
    /// `WouldBlock`; `InvalidData` for a message that is too long or whose descriptors did not all fit below this
    /// process's limit. Those that came are closed then.
    pub fn recv(&self) -> io::Result<Option<Message>> {
        let mut bytes = vec![0; MAX_BYTES];
        let mut control = Control([MaybeUninit::zeroed(); Control::LENGTH]);
        let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
        // SAFETY: msghdr is plain data; all zeros is a valid value.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = Control::LENGTH as _;
        let length = loop {
            // SAFETY: the header points to buffers of ours with their true lengths, which outlive the call.
            match Errno::result(unsafe { libc::recvmsg(self.0.as_raw_fd(), &raw mut header, libc::MSG_CMSG_CLOEXEC) }) {
                Ok(length) => break length.unsigned_abs(),
                // ECONNRESET is said once, and first of all, when the other end was closed before it had read
                // everything. What it has sent is there all the same, and the end comes after it.
                Err(Errno::EINTR | Errno::ECONNRESET) => {}
                Err(error) => return Err(error.into()),
            }
        };
        let fds = received(&header);
        if header.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if length == 0 {
            return Ok(None);
        }
        bytes.truncate(length);
        Ok(Some(Message { bytes, fds }))
    }

    /// Whether [`Channel::send`] and [`Channel::recv`] may wait.
    ///
    /// # Errors
    ///
    /// Whatever fcntl(2) says.
    pub fn set_blocking(&self, blocking: Blocking) -> io::Result<()> {
        set_blocking(&self.0, blocking)
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Needed by tokio's `AsyncFd`.
impl AsRawFd for Channel {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Room for the control messages of [`MAX_FDS`] descriptors.
#[repr(C, align(8))]
struct Control([MaybeUninit<u8>; Control::LENGTH]);

impl Control {
    /// CMSG_SPACE of 253 descriptors is 1,032 bytes on 64-bit Linux.
    const LENGTH: usize = 1088;
}

/// Takes ownership of all descriptors of a received message.
fn received(header: &libc::msghdr) -> Vec<OwnedFd> {
    let mut fds = Vec::new();
    // SAFETY: the header was filled by recvmsg and its control buffer lives.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(header) };
    // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR return null or a pointer to a whole cmsghdr within the buffer.
    while let Some(message) = unsafe { next.as_ref() } {
        if message.cmsg_level == libc::SOL_SOCKET && message.cmsg_type == libc::SCM_RIGHTS {
            // SAFETY: `next` points to a control message.
            let data = unsafe { libc::CMSG_DATA(next) };
            // SAFETY: CMSG_LEN is arithmetic.
            let head = unsafe { libc::CMSG_LEN(0) } as usize;
            #[allow(clippy::unnecessary_cast, reason = "the type of cmsg_len differs between libcs")]
            let count = (message.cmsg_len as usize).saturating_sub(head) / size_of::<RawFd>();
            for index in 0..count {
                // SAFETY: the message holds `count` descriptors, and `index` is below that.
                let place = unsafe { data.cast::<RawFd>().add(index) };
                // SAFETY: as above; they need not be aligned.
                let number = unsafe { place.read_unaligned() };
                // SAFETY: the kernel made this descriptor for us with this message, nobody else knows it.
                fds.push(unsafe { OwnedFd::from_raw_fd(number) });
            }
        }
        // SAFETY: `next` lies in the header's control buffer.
        next = unsafe { libc::CMSG_NXTHDR(header, next) };
    }
    fds
}

/// A pipe for a program's output: our reading end does not block, the program's writing end does.
///
/// # Errors
///
/// EMFILE, ENFILE.
pub fn output_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    set_blocking(&reader, Blocking::No)?;
    Ok((reader, writer))
}

/// A pipe for a program's input: the program's reading end blocks, our writing end does not.
///
/// # Errors
///
/// EMFILE, ENFILE.
pub fn input_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    set_blocking(&writer, Blocking::No)?;
    Ok((reader, writer))
}

/// Whether calls on this descriptor (and all its duplicates) may wait.
///
/// # Errors
///
/// Whatever fcntl(2) says.
pub fn set_blocking(fd: &impl AsFd, blocking: Blocking) -> io::Result<()> {
    let mut flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    flags.set(OFlag::O_NONBLOCK, blocking == Blocking::No);
    fcntl(fd, FcntlArg::F_SETFL(flags))?;
    Ok(())
}

/// The descriptor, or a duplicate of it instead, under a number that is not below `first`.
///
/// # Errors
///
/// EMFILE.
pub fn from(fd: impl Into<OwnedFd>, first: usize) -> io::Result<OwnedFd> {
    let fd = fd.into();
    let first = RawFd::try_from(first).map_err(io::Error::other)?;
    if fd.as_raw_fd() >= first {
        return Ok(fd);
    }
    let number = fcntl(&fd, FcntlArg::F_DUPFD_CLOEXEC(first))?;
    // SAFETY: the kernel has just made this descriptor for us, nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// /dev/null, for reading and writing.
///
/// # Errors
///
/// EMFILE, ENFILE, or a machine without it.
pub fn null() -> io::Result<OwnedFd> {
    Ok(File::options().read(true).write(true).open("/dev/null")?.into())
}

/// A file in memory with this content (memfd_create(2)); it lives as long as somebody holds it.
///
/// # Errors
///
/// EMFILE, ENOMEM.
pub fn memory_file(name: &str, content: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC)?);
    file.write_all(content)?;
    Ok(file.into())
}

/// The content of a file in memory, at most `limit` bytes of it.
///
/// # Errors
///
/// Whatever read(2) says.
pub fn read_memory_file(fd: &OwnedFd, limit: u64) -> io::Result<Vec<u8>> {
    let mut file = File::from(fd.try_clone()?);
    file.rewind()?;
    let mut content = Vec::new();
    file.take(limit).read_to_end(&mut content)?;
    Ok(content)
}

/// The descriptor whose number this variable of our environment holds, once.
///
/// Only a descriptor without FD_CLOEXEC can have come over exec, and everything that this process opens carries the
/// flag; it is set here, too. So a wrong number never gets a second owner, and neither does a second call.
pub fn take_inherited(variable: &str) -> Option<OwnedFd> {
    take_inherited_number(std::env::var(variable).ok()?.parse().ok()?)
}

/// The descriptor of this number, once, if it was inherited: see [`take_inherited`].
pub fn take_inherited_number(number: RawFd) -> Option<OwnedFd> {
    if number <= 2 {
        return None;
    }
    // SAFETY: only looked at by the fcntl below, which reports EBADF where nothing is open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    let flags = FdFlag::from_bits_retain(fcntl(borrowed, FcntlArg::F_GETFD).ok()?);
    if flags.contains(FdFlag::FD_CLOEXEC) {
        return None;
    }
    fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).ok()?;
    // SAFETY: it is open, it was inherited, and the flag just set keeps everybody else from taking it.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Whether a descriptor stays open when this process executes another program in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverExec {
    /// It stays, to be taken by [`take_inherited_number`].
    Kept,
    /// It is closed, as every descriptor that this process makes.
    Closed,
}

/// Whether this descriptor stays open over execve(2).
///
/// # Errors
///
/// None for an open descriptor.
pub fn set_over_exec(fd: BorrowedFd<'_>, over: OverExec) -> io::Result<()> {
    let flags = match over {
        OverExec::Kept => FdFlag::empty(),
        OverExec::Closed => FdFlag::FD_CLOEXEC,
    };
    fcntl(fd, FcntlArg::F_SETFD(flags))?;
    Ok(())
}

/// Closes everything above standard error that this process has inherited, but this: a lock or a pipe of whoever
/// started us would stay held for as long as we live.
///
/// To be called by a process that has opened nothing else yet.
pub fn close_inherited(kept: Option<&impl AsRawFd>) {
    let close = |first: RawFd, last: libc::c_uint| {
        // SAFETY: three integers. By the contract of this function nobody here owns one of these descriptors. Where the
        // call is refused (old seccomp profiles), they stay open.
        unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    };
    match kept.map(AsRawFd::as_raw_fd) {
        Some(kept) => {
            if kept > 3 {
                close(3, kept.unsigned_abs() - 1);
            }
            close(kept + 1, libc::c_uint::MAX);
        }
        None => close(3, libc::c_uint::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{ErrorKind, pipe};

    #[test]
    fn a_message_carries_253_descriptors() {
        let (a, b) = Channel::pair().unwrap();
        let file = memory_file("n", b"seen").unwrap();
        a.send(b"many", &vec![file.as_fd(); MAX_FDS]).unwrap();
        let message = b.recv().unwrap().unwrap();
        assert_eq!(message.bytes, b"many");
        assert_eq!(message.fds.len(), MAX_FDS);
        assert_eq!(read_memory_file(&message.fds[MAX_FDS - 1], 100).unwrap(), b"seen");
        let flags = fcntl(&message.fds[0], FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags, FdFlag::FD_CLOEXEC.bits());
        assert!(a.send(b"too many", &vec![file.as_fd(); MAX_FDS + 1]).is_err());
    }

    #[test]
    fn messages_stay_apart_and_the_end_is_told() {
        let (a, b) = Channel::pair().unwrap();
        a.send(b"one", &[]).unwrap();
        a.send(b"two", &[]).unwrap();
        drop(a);
        assert_eq!(b.recv().unwrap().unwrap().bytes, b"one");
        assert_eq!(b.recv().unwrap().unwrap().bytes, b"two");
        assert!(b.recv().unwrap().is_none());
        assert_eq!(b.send(b"x", &[]).unwrap_err().kind(), ErrorKind::BrokenPipe);
    }

    #[test]
    fn what_was_sent_arrives_even_from_one_who_did_not_listen() {
        let (a, b) = Channel::pair().unwrap();
        b.send(b"unread", &[]).unwrap();
        a.send(b"one", &[]).unwrap();
        a.send(b"two", &[]).unwrap();
        drop(a);
        assert_eq!(b.recv().unwrap().unwrap().bytes, b"one");
        assert_eq!(b.recv().unwrap().unwrap().bytes, b"two");
        assert!(b.recv().unwrap().is_none());
    }

    #[test]
    fn a_channel_that_must_not_wait_does_not() {
        let (a, b) = Channel::pair().unwrap();
        a.set_blocking(Blocking::No).unwrap();
        b.set_blocking(Blocking::No).unwrap();
        assert_eq!(b.recv().unwrap_err().kind(), ErrorKind::WouldBlock);
        let full = (0..1_000_000).find_map(|_| a.send(b"x", &[]).err()).unwrap();
        assert_eq!(full.kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn only_our_end_of_a_pipe_does_not_wait() {
        let is_nonblocking = |fd: &OwnedFd| fcntl(fd, FcntlArg::F_GETFL).unwrap() & libc::O_NONBLOCK != 0;
        let (reader, writer) = output_pipe().unwrap();
        assert!(is_nonblocking(&reader) && !is_nonblocking(&writer));
        let (reader, writer) = input_pipe().unwrap();
        assert!(!is_nonblocking(&reader) && is_nonblocking(&writer));
    }

    #[test]
    fn what_this_process_opened_is_never_taken_as_inherited() {
        let (reader, _writer) = pipe().unwrap();
        // The variable of another test would race; a number in PATH does not exist, and this one is ours.
        assert!(take_inherited("PATH").is_none());
        assert_eq!(fcntl(&reader, FcntlArg::F_GETFD).unwrap(), FdFlag::FD_CLOEXEC.bits());
    }
}
