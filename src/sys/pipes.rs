//! What is in a pipe, seen without taking anything out of it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How a pipe's reading end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PipeState {
    /// Nothing to read for now.
    Empty,
    /// Something to read, if only a buffer of no bytes: a write that failed halfway leaves one.
    Readable,
    /// Nothing to read for ever: no writer is left.
    Ended,
}

/// How many bytes can be read. If nobody else reads, a read(2) of so many gets so many.
///
/// # Errors
///
/// ENOTTY for what is no pipe or socket.
pub fn waiting(pipe: &impl AsFd) -> io::Result<usize> {
    let mut count: libc::c_int = 0;
    // SAFETY: FIONREAD stores one int, and this is one.
    Errno::result(unsafe { libc::ioctl(pipe.as_fd().as_raw_fd(), libc::FIONREAD, &raw mut count) })?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// What a pipe holds unless it was enlarged (pipe(7)).
pub const USUAL_SIZE: usize = 64 * 1024;

/// How many bytes all pipes of an ordinary user may hold before new ones are made tiny (proc_sys_fs(5):
/// pipe-user-pages-soft).
pub fn soft_limit() -> usize {
    let pages = fs::read_to_string("/proc/sys/fs/pipe-user-pages-soft").ok().and_then(|text| text.trim().parse().ok());
    pages.unwrap_or(0_usize).saturating_mul(4096)
}

/// Makes a pipe hold so much.
///
/// # Errors
///
/// EPERM above the limits of pipe(7).
pub fn enlarge(pipe: &impl AsFd, bytes: usize) -> io::Result<()> {
    let bytes = i32::try_from(bytes).map_err(|_| io::ErrorKind::InvalidInput)?;
    fcntl(pipe, FcntlArg::F_SETPIPE_SZ(bytes))?;
    Ok(())
}

/// How the pipe is at this moment.
///
/// # Errors
///
/// None that a caller could mend.
pub fn state(pipe: &impl AsFd) -> io::Result<PipeState> {
    let mut polled = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
    match poll(&mut polled, PollTimeout::ZERO) {
        Ok(_) => {}
        // A signal that this process handles; the caller hears of the pipe again.
        Err(Errno::EINTR) => return Ok(PipeState::Empty),
        Err(error) => return Err(error.into()),
    }
    let found = polled[0].revents().unwrap_or(PollFlags::empty());
    Ok(if found.contains(PollFlags::POLLIN) {
        PipeState::Readable
    } else if found.is_empty() {
        PipeState::Empty
    } else {
        PipeState::Ended
    })
}

/// Looks at the first bytes of pipes (tee(2)). It owns the pipe that they are copied to.
#[derive(Debug)]
pub struct Peeker {
    reader: File,
    writer: OwnedFd,
}

impl Peeker {
    /// With a pipe of its own.
    ///
    /// # Errors
    ///
    /// EMFILE, ENFILE.
    pub fn new() -> io::Result<Peeker> {
        let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        Ok(Peeker { reader: reader.into(), writer })
    }

    /// Fills `bytes` with the first bytes of the pipe, which stay there.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when there are fewer; whatever tee(2) says.
    pub fn first(&mut self, pipe: &impl AsFd, bytes: &mut [u8]) -> io::Result<()> {
        let (from, to) = (pipe.as_fd().as_raw_fd(), self.writer.as_raw_fd());
        // SAFETY: two descriptors and two numbers.
        let count = Errno::result(unsafe { libc::tee(from, to, bytes.len(), libc::SPLICE_F_NONBLOCK) })?;
        let count = count.unsigned_abs();
        self.reader.read_exact(bytes.get_mut(..count).ok_or(io::ErrorKind::InvalidData)?)?;
        if count < bytes.len() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Write, pipe};

    use super::*;
    use crate::sys::fds::output_pipe;

    #[test]
    fn a_pipe_tells_how_much_it_holds_and_when_it_has_ended() {
        let (reader, writer) = output_pipe().unwrap();
        let (mut reader, mut writer) = (File::from(reader), File::from(writer));
        assert_eq!((waiting(&reader).unwrap(), state(&reader).unwrap()), (0, PipeState::Empty));
        writer.write_all(&[7; 30_000]).unwrap();
        drop(writer);
        assert_eq!((waiting(&reader).unwrap(), state(&reader).unwrap()), (30_000, PipeState::Readable));
        reader.read_exact(&mut [0; 30_000]).unwrap();
        assert_eq!((waiting(&reader).unwrap(), state(&reader).unwrap()), (0, PipeState::Ended));
    }

    #[test]
    fn a_pipe_can_be_enlarged() {
        let (reader, writer) = output_pipe().unwrap();
        enlarge(&reader, 2 * USUAL_SIZE).unwrap();
        File::from(writer).write_all(&[7; 2 * USUAL_SIZE]).unwrap();
        assert_eq!(waiting(&reader).unwrap(), 2 * USUAL_SIZE);
        assert!(enlarge(&reader, usize::MAX).is_err());
    }

    #[test]
    fn what_is_looked_at_stays_where_it_is() {
        let mut peeker = Peeker::new().unwrap();
        let (mut reader, mut writer) = pipe().unwrap();
        for word in [b"abc", b"def"] {
            writer.write_all(word).unwrap();
            let mut seen = [0; 3];
            for _ in 0..2 {
                peeker.first(&reader, &mut seen).unwrap();
                assert_eq!(&seen, word);
            }
            // Fewer than asked for: an error, and nothing of them appears later.
            assert_eq!(peeker.first(&reader, &mut [0; 4]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
            reader.read_exact(&mut seen).unwrap();
            assert_eq!(&seen, word);
        }
    }
}
