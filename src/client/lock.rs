//! The bytes of the lock file, as far as a client takes part in them.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};

use crate::client::ClientError;

/// The byte that a guardian and its daemon hold for their lives.
pub(super) const LIFE: i64 = 0;
/// The byte that is held by the one verb that may start a daemon.
pub(super) const START: i64 = 1;

/// A byte that is locked until this is dropped, or this process dies (F_OFD_SETLKW, fcntl(2)).
#[derive(Debug)]
pub(super) struct HeldByte {
    _file: File,
}

impl HeldByte {
    /// Waits for the byte. In a thread, because that wait has no limit of its own and a try would have to be repeated.
    pub(super) fn take(path: &Path, byte: i64, limit: Duration) -> Result<HeldByte, ClientError> {
        let failed = |activity| move |source| ClientError::Home { activity, path: path.to_owned(), source };
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let file = file.map_err(failed("open"))?;
        let (sender, receiver) = mpsc::sync_channel(1);
        // The file goes into the thread and comes back locked, so that nobody else keeps it open. If the lock comes after
        // the limit, nobody takes the file, and closing it gives the lock back.
        let wait = move || {
            let locked = fcntl(&file, FcntlArg::F_OFD_SETLKW(&exclusive(byte)));
            let _ = sender.send(locked.map(|_| file));
        };
        std::thread::Builder::new().name("lock".into()).spawn(wait).map_err(failed("lock"))?;
        match receiver.recv_timeout(limit) {
            Ok(Ok(file)) => Ok(HeldByte { _file: file }),
            Ok(Err(errno)) => Err(failed("lock")(errno.into())),
            Err(_) => Err(failed("lock")(io::ErrorKind::TimedOut.into())),
        }
    }
}

/// Whether somebody holds the byte. Never makes the file: without it nobody does.
pub(super) fn is_held(path: &Path, byte: i64) -> bool {
    let Ok(file) = File::open(path) else { return false };
    let mut found = exclusive(byte);
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut found)).is_ok() && found.l_type != libc::F_UNLCK as i16
}

fn exclusive(byte: i64) -> libc::flock {
    libc::flock { l_type: libc::F_WRLCK as i16, l_whence: libc::SEEK_SET as i16, l_start: byte, l_len: 1, l_pid: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_has_one_holder_and_the_other_is_free() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rsx.lock");
        let held = HeldByte::take(&path, START, Duration::from_secs(5)).unwrap();
        assert!(is_held(&path, START) && !is_held(&path, LIFE));
        HeldByte::take(&path, LIFE, Duration::from_secs(5)).unwrap();
        let error = HeldByte::take(&path, START, Duration::from_millis(20)).unwrap_err();
        let ClientError::Home { source, .. } = error else { panic!("{error:?}") };
        assert_eq!(source.kind(), io::ErrorKind::TimedOut);
        drop(held);
    }

    #[test]
    fn a_waiting_verb_gets_the_byte_when_it_is_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rsx.lock");
        let held = HeldByte::take(&path, START, Duration::from_secs(5)).unwrap();
        let (theirs, (ready, go)) = (path.clone(), mpsc::sync_channel(0));
        let waiting = std::thread::spawn(move || {
            ready.send(()).unwrap();
            HeldByte::take(&theirs, START, Duration::from_secs(5)).map(drop)
        });
        go.recv().unwrap();
        drop(held);
        waiting.join().unwrap().unwrap();
    }
}
