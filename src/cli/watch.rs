//! `ls --watch`: the table, drawn anew when the daemon tells of a change, and when there are new samples.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::cli::session::Session;
use crate::client::{ClientError, EventStream};
use crate::error::{ExitCode, Failure};

/// CPU time, memory and uptime change without news: as often as the daemon samples them.
const SAMPLES: Duration = Duration::from_secs(2);

/// What happens within this time is drawn together.
const TOGETHER: Duration = Duration::from_millis(50);

/// Draws until the reader of stdout goes away.
pub(super) fn run(
    session: &mut Session,
    draw: &dyn Fn(&mut Session) -> Result<(), Failure>,
) -> Result<ExitCode, Failure> {
    let clears = session.out.is_terminal() && !session.json;
    let mut events: Option<EventStream> = None;
    loop {
        if events.is_none() {
            events = session.daemon()?.map(|client| client.into_events(0)).transpose()?;
        }
        if clears {
            // Home, and clear what is below: no flicker, as the whole screen is never empty.
            session.out.data("\x1b[H\x1b[J")?;
        }
        draw(session)?;
        session.out.flush()?;
        if session.out.is_closed() {
            return Ok(ExitCode::Done);
        }
        let mut has_news = wait(session, events.as_ref(), SAMPLES)?;
        while has_news {
            events = read(events)?;
            has_news = events.is_some() && wait(session, events.as_ref(), TOGETHER)?;
        }
        if session.out.is_closed() {
            return Ok(ExitCode::Done);
        }
    }
}

/// Sleeps, at most this long; whether the daemon told something.
fn wait(session: &mut Session, events: Option<&EventStream>, limit: Duration) -> Result<bool, Failure> {
    // No events asked for on stdout: poll(2) reports its reader's end always.
    let mut fds = vec![PollFd::new(session.out.fd(), PollFlags::empty())];
    fds.extend(events.map(|events| PollFd::new(events.as_fd(), PollFlags::POLLIN)));
    let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
    let (is_closed, has_news) = match poll(&mut fds, timeout) {
        Ok(_) => (fds[0].any() == Some(true), fds.get(1).is_some_and(|fd| fd.any() == Some(true))),
        Err(Errno::EINTR) => (false, false),
        Err(errno) => return Err(Failure::failed("cannot wait for events").caused_by(&errno)),
    };
    if is_closed {
        session.out.close();
    }
    Ok(has_news && !is_closed)
}

/// Takes the news; what they are the next view shows. None when no daemon lives any more.
fn read(events: Option<EventStream>) -> Result<Option<EventStream>, Failure> {
    let Some(mut events) = events else { return Ok(None) };
    match events.take_ready() {
        Ok(_) => Ok(Some(events)),
        Err(ClientError::Ended) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
