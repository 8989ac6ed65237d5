//! Answers to `history`.

use std::collections::BTreeMap;

use crate::daemon::convert;
use crate::daemon::history::History;
use crate::daemon::server::Shared;
use crate::proto::{self, HistoryCall, InstanceHistory, MAX_VALUES, Refusal, SeriesHistory, StepName};
use crate::series::{Curves, Series, Step};

impl Shared {
    /// What was measured of instances over time.
    pub(in crate::daemon) async fn history(&self, call: HistoryCall) -> Result<proto::History, Refusal> {
        let series = named(&call.series)?;
        let published = self.published.borrow().clone();
        let found = published.find(&convert::targets(call.targets)).map_err(convert::refusal)?;
        let instances: BTreeMap<u32, InstanceHistory> = found
            .into_iter()
            .map(|(app, slot)| {
                let name = app.definition.spec.name.clone();
                (slot.id, InstanceHistory { id: slot.id, name, instance: slot.instance, series: Vec::new() })
            })
            .collect();
        let step = match call.step {
            StepName::Second => Step::Second,
            StepName::Minute => Step::Minute,
        };
        let since = since(&self.history, step, call.since, instances.len() * series.len().max(2))?;
        let history = self.history.clone();
        // A thousand instances that never rest are some milliseconds of work.
        let reading = tokio::task::spawn_blocking(move || read(&history, instances, &series, (step, since)));
        let why = match reading.await {
            Ok(Ok(read)) => return Ok(read),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        Err(Refusal::State { why: format!("what was measured cannot be read: {why}") })
    }
}

fn named(names: &[String]) -> Result<Vec<Series>, Refusal> {
    let known = |name: &String| {
        Series::named(name).ok_or_else(|| {
            let all: Vec<&str> = Series::ALL.into_iter().map(Series::name).collect();
            Refusal::BadRequest { why: format!("there is no series `{name}`; there are: {}", all.join(", ")) }
        })
    };
    names.iter().map(known).collect()
}

/// The second to begin with. What is too much for one answer is refused before it is read.
fn since(history: &History, step: Step, since: Option<u64>, curves: usize) -> Result<u32, Refusal> {
    let now = history.now();
    let kept = now.saturating_sub(step.kept() * step.seconds());
    let wanted = since.map_or(kept, |since| u32::try_from(since / 1000).unwrap_or(u32::MAX));
    // What is still to come has no values.
    let since = wanted.clamp(kept, now.saturating_add(step.seconds()));
    let values =
        usize::try_from(now.saturating_sub(since) / step.seconds()).unwrap_or(usize::MAX).saturating_mul(curves);
    if values > MAX_VALUES {
        let why = format!(
            "that are {values} values, and at most {MAX_VALUES} are told at once: name fewer instances, series, or a later `since`"
        );
        return Err(Refusal::BadRequest { why });
    }
    Ok(since)
}

fn read(
    history: &History,
    instances: BTreeMap<u32, InstanceHistory>,
    series: &[Series],
    (step, since): (Step, u32),
) -> std::io::Result<proto::History> {
    let curves = history.read(&instances.keys().copied().collect(), series, step, since)?;
    Ok(answer(&curves, step, instances))
}

fn answer(curves: &Curves, step: Step, mut instances: BTreeMap<u32, InstanceHistory>) -> proto::History {
    for key in curves.keys() {
        let Some((instance, series)) = instances.get_mut(&key.slot()).zip(key.series()) else { continue };
        let values = curves.of(key).unwrap_or_default();
        if values.iter().any(Option::is_some) {
            instance.series.push(SeriesHistory { name: series.name().to_owned(), values });
        }
    }
    let millis = u64::from(step.seconds()) * 1000;
    proto::History {
        from: u64::from(curves.from) * millis,
        step: millis,
        length: curves.length,
        instances: instances.into_values().collect(),
    }
}
