//! What comes from the daemon: its changes as it tells them, its view when it has changed and when there are new samples.

use std::os::fd::AsFd;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::client::{Client, ClientError, EventStream, News, wait_for_change};
use crate::paths::Home;
use crate::proto::{Call, History, HistoryCall, StepName, Target, View, ViewCall, ViewDetail};
use crate::tui::message::{Link, Message};
use crate::tui::model::series::Point;
use crate::tui::shell::wake::Inbox;

/// As often as the daemon samples CPU time and memory.
const SAMPLES: Duration = Duration::from_secs(2);

/// What happens within this time is shown together.
const TOGETHER: Duration = Duration::from_millis(50);

/// How long a view may take: it is published, so a daemon that needs this long hangs.
const VIEW_LIMIT: Duration = Duration::from_secs(5);

/// How long nothing is tried where no daemon runs and nothing happens in its home.
const ABSENCE: Duration = Duration::from_secs(2);

/// How many past changes are wanted; as many as the daemon keeps.
const PAST: u32 = 1000;

/// The verb as the daemon's events name it.
const VERB: &str = "monit";

/// The watcher of one home.
pub(super) struct Watcher {
    pub(super) home: Home,
    pub(super) to: SyncSender<Message>,
    /// Whether declarations and exits are wanted.
    pub(super) wishes: Inbox<bool>,
}

/// The screen is gone.
struct Closed;

impl Watcher {
    /// Tells until nobody listens any more.
    pub(super) fn run(self) {
        let mut is_detailed = false;
        loop {
            let lost = match self.follow(&mut is_detailed) {
                Ok(Closed) => return,
                Err(error) => error.map_or_else(|| "no rsx daemon runs".to_owned(), |error| error.to_string()),
            };
            if self.to.send(Message::Link(Link::Lost(lost))).is_err() {
                return;
            }
            wait_for_change(&self.home, ABSENCE);
        }
    }

    /// Follows one daemon after the other, as long as there is a next one.
    fn follow(&self, is_detailed: &mut bool) -> Result<Closed, Option<ClientError>> {
        let Some(mut views) = Client::connect(&self.home, VERB)? else { return Err(None) };
        let Some(events) = Client::connect(&self.home, VERB)? else { return Err(None) };
        let mut events = events.into_events(PAST)?;
        let mut is_changed = true;
        let mut has_past = false;
        loop {
            // Events first: a view that is newer than they are shows what they tell.
            let news = take(&mut events, &self.to)?;
            is_changed |= !news.events.is_empty() || news.gap.is_some();
            let is_news = !news.events.is_empty() || news.gap.is_some();
            if is_news && self.to.send(Message::Events(news.events, news.gap)).is_err() {
                return Ok(Closed);
            }
            let detail = if *is_detailed && is_changed { ViewDetail::Full } else { ViewDetail::Brief };
            let view: View = views.call(&Call::View(ViewCall { detail }), VIEW_LIMIT)?;
            is_changed = false;
            if self.to.send(Message::View(Box::new(view))).is_err() {
                return Ok(Closed);
            }
            if !has_past {
                has_past = true;
                for step in [StepName::Second, StepName::Minute] {
                    // An older daemon remembers nothing.
                    let Ok(past) = past(&mut views, step) else { break };
                    if self.to.send(Message::Past(past)).is_err() {
                        return Ok(Closed);
                    }
                }
            }
            let asked = Instant::now();
            let has_news = self.sleep(&events, SAMPLES)?;
            while let Some(wish) = self.wishes.next() {
                is_changed |= wish && !*is_detailed;
                *is_detailed = wish;
            }
            if has_news {
                // The first change is shown at once, those that come right behind the last view together.
                let rest = TOGETHER.saturating_sub(asked.elapsed());
                let _ = poll(&mut [], PollTimeout::try_from(rest).unwrap_or(PollTimeout::ZERO));
            }
        }
    }

    /// Sleeps until the daemon tells something or something is wished; whether it is the daemon.
    fn sleep(&self, events: &EventStream, limit: Duration) -> Result<bool, Option<ClientError>> {
        let mut fds =
            [PollFd::new(events.as_fd(), PollFlags::POLLIN), PollFd::new(self.wishes.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX)) {
            Ok(_) => Ok(fds[0].any() == Some(true)),
            Err(Errno::EINTR) => Ok(false),
            Err(errno) => Err(Some(ClientError::Io { activity: "wait for", source: errno.into() })),
        }
    }
}

/// What was measured before, by instance.
fn past(client: &mut Client, step: StepName) -> Result<Vec<(u32, Vec<Point>)>, ClientError> {
    let call = HistoryCall { targets: vec![Target::Word("all".to_owned())], series: Vec::new(), step, since: None };
    let history: History = client.call(&Call::History(call), VIEW_LIMIT)?;
    let mut past = Vec::new();
    for instance in history.instances {
        let mut points = vec![Point::default(); history.length];
        for (n, point) in points.iter_mut().enumerate() {
            point.time = history.from + n as u64 * history.step;
        }
        for series in &instance.series {
            for (point, value) in points.iter_mut().zip(&series.values) {
                #[expect(clippy::cast_possible_truncation, reason = "a graph shows no more digits")]
                let value = value.map(|value| value as f32);
                match series.name.as_str() {
                    "cpu" => point.cpu = value,
                    "memory" => point.memory = value,
                    "connections" => point.connections = value,
                    "accept_queue" => point.queue = value,
                    "loop_lag" => point.lag = value,
                    "heap" => point.heap = value,
                    // A newer daemon measures more.
                    _ => {}
                }
            }
        }
        past.push((instance.id, points));
    }
    Ok(past)
}

/// What is there, all of it. Where the daemon has ended, that is told before the next one is waited for.
fn take(events: &mut EventStream, to: &SyncSender<Message>) -> Result<News, ClientError> {
    let mut all = News::default();
    loop {
        let news = match events.take() {
            Err(ClientError::Gone) => {
                let lost = Link::Lost("the daemon has ended".to_owned());
                // A screen that is gone is noticed when something is sent to it again.
                let _ = to.send(Message::Link(lost));
                events.resume()?
            }
            news => news?,
        };
        if news.events.is_empty() && news.gap.is_none() {
            return Ok(all);
        }
        all.gap = all.gap.or(news.gap);
        all.events.extend(news.events);
    }
}
