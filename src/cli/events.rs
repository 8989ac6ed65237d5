//! `events`: the stream of changes, one a line, each handed over at once.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::cli::args::EventsArgs;
use crate::cli::render::news;
use crate::cli::session::Session;
use crate::client::ClientError;
use crate::error::{ExitCode, Failure};

/// Runs `rsx events`, until its reader or the last daemon is gone.
pub(super) fn run(session: &mut Session, args: &EventsArgs) -> Result<ExitCode, Failure> {
    let mut events = session.daemon_or_fail()?.into_events(args.history)?;
    loop {
        let news = match events.take_ready() {
            Ok(news) => news,
            Err(ClientError::Ended) => {
                session.out.talk("the rsx daemon has ended");
                return Ok(ExitCode::Done);
            }
            Err(error) => return Err(error.into()),
        };
        if let Some(gap) = news.gap {
            session.out.talk(&format!("notice: {gap}"));
        }
        for event in news.events {
            match session.json {
                true => session.out.json(&event)?,
                false => session.out.line(news::line(&event, session.out.style()))?,
            }
        }
        session.out.flush()?;
        if session.out.is_closed() {
            return Ok(ExitCode::Done);
        }
        // No events asked for on stdout: poll(2) reports its reader's end always.
        let mut fds =
            [PollFd::new(events.as_fd(), PollFlags::POLLIN), PollFd::new(session.out.fd(), PollFlags::empty())];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) if fds[1].any() == Some(true) => return Ok(ExitCode::Done),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Failure::failed("cannot wait for events").caused_by(&errno)),
        }
    }
}
