//! Waiting for an answer in front of a person: progress, Ctrl-C, and limits that fit what is waited for.

use std::num::NonZeroU16;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::de::DeserializeOwned;

use crate::cli::render::units;
use crate::cli::session::{Session, view};
use crate::client::{Client, ClientError, Interrupt};
use crate::proto::{Call, Progress, View, ViewDetail};
use crate::spec::{AppSpec, ExecMode};

/// What is added to the configured limits, for the daemon's own work.
const SLACK: Duration = Duration::from_secs(5);
/// The first limit where the limits of the apps concerned are not known yet: that of the defaults.
pub(super) const FIRST_LIMIT: Duration = Duration::from_secs(15);

/// The time that starting, changing or stopping any of these may take; apps do so side by side, and those that share ports
/// replace some of their instances at a time.
pub(super) fn limit_of<'a>(specs: impl Iterator<Item = &'a AppSpec>) -> Duration {
    let limit = |spec: &AppSpec| {
        let (ready, down) = (spec.listen_timeout, spec.stop.kill_timeout);
        match spec.exec_mode {
            ExecMode::Fork => ready + down,
            ExecMode::Cluster => {
                let instances = usize::from(spec.instances).max(1);
                // A reload goes in batches, and its first instance goes alone.
                let rounds = instances.div_ceil(spec.cluster.max_surge.of(instances)) + 1;
                let one = ready + spec.cluster.bake + spec.cluster.drain_timeout + down;
                one.saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX))
            }
        }
    };
    specs.map(limit).max().unwrap_or_default().saturating_add(SLACK)
}

/// Asks, and waits in sight of the user. When the first limit has passed, the daemon is asked, over another connection,
/// for the limits of its apps: one that does not answer hangs, one that does is given the time they allow.
pub(super) fn ask<T: DeserializeOwned>(
    session: &Session,
    client: &mut Client,
    call: &Call,
    first: Duration,
) -> Result<T, ClientError> {
    if let Ok(interrupt) = Interrupt::catch() {
        client.watch_interrupt(interrupt);
    }
    let mut bar = Bar::new(session.draws_progress());
    let mut ticket = client.send(call, first)?;
    let answer = match client.wait(&mut ticket, first, &mut |progress| bar.show(&progress)) {
        Err(ClientError::TimedOut { limit }) => {
            let rest = configured_limit(session, width(call)).unwrap_or_default().saturating_sub(first);
            if rest.is_zero() {
                return Err(ClientError::TimedOut { limit });
            }
            client.wait(&mut ticket, rest, &mut |progress| bar.show(&progress))
        }
        answer => answer,
    };
    bar.clear();
    answer
}

/// The limits of all apps of the daemon, as often as it takes with so many instances at a time; none if it does not
/// answer.
fn configured_limit(session: &Session, width: Option<NonZeroU16>) -> Option<Duration> {
    let mut client = session.daemon().ok()??;
    let view: View = view(&mut client, ViewDetail::Full).ok()?;
    let limit = limit_of(view.apps.iter().filter_map(|app| app.spec.as_ref()));
    let slots = view.apps.iter().map(|app| app.slots.len()).sum::<usize>();
    let rounds = width.map_or(1, |width| slots.div_ceil(usize::from(width.get())).max(1));
    Some(limit.saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX)))
}

/// How many instances the call has asked at a time.
fn width(call: &Call) -> Option<NonZeroU16> {
    match call {
        Call::Apply(apply) => apply.parallel,
        Call::Start(act) | Call::Stop(act) | Call::Restart(act) | Call::Reload(act) | Call::Delete(act) => act.parallel,
        Call::Hello(_)
        | Call::Ping
        | Call::AbortReload(_)
        | Call::Reset(_)
        | Call::Scale(_)
        | Call::Signal(_)
        | Call::Send(_)
        | Call::Env(_)
        | Call::Flush(_)
        | Call::Rotate(_)
        | Call::ReloadLogs
        | Call::Past(_)
        | Call::History(_)
        | Call::View(_)
        | Call::Events(_)
        | Call::Save
        | Call::Resurrect(_)
        | Call::Update(_)
        | Call::Kill => None,
    }
}

/// A line on stderr that says how far it is; nothing where stderr is no terminal.
struct Bar {
    is_wanted: bool,
    bar: Option<ProgressBar>,
}

impl Bar {
    fn new(is_wanted: bool) -> Bar {
        Bar { is_wanted, bar: None }
    }

    fn show(&mut self, progress: &Progress) {
        if !self.is_wanted {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(Some(u64::from(progress.of)), ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {pos}/{len} {wide_msg}") {
                bar.set_style(style);
            }
            // An app that takes its time should not look like an rsx that hangs.
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        bar.set_position(u64::from(progress.done));
        let name = units::printable(&progress.name);
        let what = progress.remaining.as_ref().map_or_else(|| progress.state.to_string(), units::remaining);
        bar.set_message(format!("{name}:{} {what}", progress.instance));
    }

    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}
