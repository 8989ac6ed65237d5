//! The ways by which a run and we talk: its notification socket, its channel, and its agents.

use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::PathBuf;

use tokio::sync::mpsc;

use crate::daemon::node::{Agent, Channel};
use crate::daemon::notify::{self, Notify};
use crate::daemon::report::Report;
use crate::daemon::said::Sayings;
use crate::daemon::watchdogs::Watchdogs;
use crate::supervisor::RunId;

/// Our ends, as they were made, or kept by a guardian.
#[derive(Debug, Default)]
pub(super) struct Ends {
    pub(super) notify: Option<(UnixDatagram, PathBuf)>,
    pub(super) channel: Option<OwnedFd>,
    pub(super) agent: Option<(UnixListener, PathBuf)>,
}

/// Our ends, listened to.
#[derive(Default)]
pub(super) struct Talk {
    pub(super) notify: Option<Notify>,
    pub(super) channel: Option<Channel>,
    pub(super) agent: Option<Agent>,
}

impl Talk {
    /// Listens from now on.
    pub(super) fn open(
        run: RunId,
        ends: Ends,
        (sayings, watchdogs): (&Sayings, &Watchdogs),
        reports: &mpsc::UnboundedSender<Report>,
    ) -> Talk {
        let Ends { notify, channel, agent } = ends;
        Talk {
            notify: notify
                .and_then(|ends| notify::notify(run, ends, (sayings.clone(), watchdogs.clone()), reports.clone())),
            channel: channel.and_then(|ours| Channel::open(run, ours, sayings.clone(), reports.clone())),
            agent: agent.and_then(|ends| Agent::open(run, ends, sayings.clone(), reports.clone())),
        }
    }

    /// Sends a message as Node's programs get it; whether somebody may hear it. Never waits.
    pub(super) fn say(&self, text: &str) -> bool {
        let heard = self.channel.as_ref().is_some_and(|channel| channel.say(text));
        heard || self.agent.as_ref().is_some_and(|agent| agent.say(text))
    }

    /// Tells its agents that its connections are to end; whether there are any.
    pub(super) fn drain(&self) -> bool {
        let Some(agent) = &self.agent else { return false };
        agent.drain();
        agent.is_heard()
    }
}
