//! What a successor has to know, as lines in a memory file that the guardian keeps.
//!
//! Not in the journal: this has one writer, a thread that must not wait for whoever writes that one anew.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use tracing::warn;

use crate::daemon::cluster::SENT;
use crate::daemon::link::Link;
use crate::proto::{SOCKETS_VERSION, SocketRecord};
use crate::sys::fds;

/// Its name.
pub(super) const NAME: &str = "sock/ledger";

/// The longest one that is read, in bytes.
const LIMIT: u64 = 64 << 20;

/// A ledger is written anew when it has grown by this much, in bytes, and to twice what it was.
const GROWTH: usize = 256 * 1024;

/// Who writes it.
#[derive(Debug)]
pub(super) struct Ledger {
    link: Option<Link>,
    file: File,
    written: usize,
    whole: usize,
}

impl Ledger {
    /// A new one, in the place of a predecessor's.
    ///
    /// # Errors
    ///
    /// EMFILE, ENOMEM.
    pub(super) fn begin(link: Option<Link>, records: &[SocketRecord]) -> io::Result<Ledger> {
        let bytes = whole(records)?;
        let file = fresh(link.as_ref(), &bytes)?;
        Ok(Ledger { link, file, written: bytes.len(), whole: bytes.len() })
    }

    /// Writes down one thing, in one piece.
    pub(super) fn write(&mut self, record: &SocketRecord) {
        if let Err(error) = self.try_write(record) {
            warn!("a successor will not know what became of a socket: {error}");
        }
    }

    fn try_write(&mut self, record: &SocketRecord) -> io::Result<()> {
        let line = line(record)?;
        self.file.write_all(&line)?;
        self.written += line.len();
        Ok(())
    }

    /// Whether it is time to write it anew.
    pub(super) fn is_due(&self) -> bool {
        self.written > 2 * self.whole + GROWTH
    }

    /// Writes it anew.
    pub(super) fn renew(&mut self, records: &[SocketRecord]) {
        let renewed = whole(records).and_then(|bytes| Ok((fresh(self.link.as_ref(), &bytes)?, bytes.len())));
        match renewed {
            Ok((file, length)) => (self.file, self.written, self.whole) = (file, length, length),
            // The old one is as good as it was.
            Err(error) => warn!("the ledger of sockets cannot be written anew: {error}"),
        }
    }
}

impl AsFd for Ledger {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// A predecessor's. A line that cannot be read is passed over: each tells of one thing alone.
///
/// # Errors
///
/// `InvalidData` for one of another version.
pub(super) fn read(file: &OwnedFd) -> io::Result<Vec<SocketRecord>> {
    let bytes = fds::read_memory_file(file, LIMIT)?;
    let mut records = Vec::new();
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice(line) {
            Ok(SocketRecord::Head { version }) if version > SOCKETS_VERSION => {
                let why = format!("it is of version {version}, this daemon reads up to {SOCKETS_VERSION}");
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
            Ok(record) => records.push(record),
            Err(error) => warn!("a record of the ledger of sockets cannot be read: {error}"),
        }
    }
    Ok(records)
}

fn whole(records: &[SocketRecord]) -> io::Result<Vec<u8>> {
    let mut bytes = line(&SocketRecord::Head { version: SOCKETS_VERSION })?;
    for record in records {
        bytes.extend(line(record)?);
    }
    Ok(bytes)
}

fn line(record: &SocketRecord) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(record)?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn fresh(link: Option<&Link>, bytes: &[u8]) -> io::Result<File> {
    let file = fds::memory_file("rsx-sockets", bytes)?;
    if let Some(link) = link {
        link.put(&[(NAME, file.as_fd())]);
        if !link.is_sent_within(SENT) {
            warn!("the guardian is slow to take the ledger of sockets");
        }
    }
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_a_torn_line_is_passed_over() {
        let mut ledger = Ledger::begin(None, &[SocketRecord::Gone { run: 1 }]).unwrap();
        ledger.write(&SocketRecord::Gone { run: 2 });
        ledger.file.write_all(b"{\"gone\":{\"ru").unwrap();
        let copy = OwnedFd::from(ledger.file.try_clone().unwrap());
        let expected = [
            SocketRecord::Head { version: SOCKETS_VERSION },
            SocketRecord::Gone { run: 1 },
            SocketRecord::Gone { run: 2 },
        ];
        assert_eq!(read(&copy).unwrap(), expected);
    }

    #[test]
    fn a_ledger_of_a_newer_daemon_is_refused() {
        let file = fds::memory_file("t", b"{\"head\":{\"version\":99}}\n").unwrap();
        assert!(read(&file).unwrap_err().to_string().contains("version 99"));
    }
}
