//! `metrics`: what the daemon knows, for Prometheus.

use serde_json::json;

use crate::cli::args::{MetricsArgs, MetricsFormat};
use crate::cli::session::{Session, view};
use crate::error::{ExitCode, Failure};
use crate::metrics::{self, Format};
use crate::proto::{View, ViewDetail};

/// Runs `rsx metrics`.
pub(super) fn run(session: &mut Session, args: &MetricsArgs) -> Result<ExitCode, Failure> {
    let mut daemon = session.daemon_or_fail()?;
    let view = view(&mut daemon, ViewDetail::Full)?;
    if session.json {
        session.out.json(&as_json(&view))?;
        return Ok(ExitCode::Done);
    }
    let format = match args.format {
        MetricsFormat::Openmetrics => Format::OpenMetrics,
        MetricsFormat::Prometheus => Format::Prometheus,
    };
    session.out.data(metrics::text(view, format))?;
    Ok(ExitCode::Done)
}

fn as_json(view: &View) -> serde_json::Value {
    let families = metrics::families().iter().map(|family| {
        let samples = family.samples(view).into_iter().map(|sample| {
            let labels = sample.labels.iter().map(|(name, value)| ((*name).to_owned(), value.as_ref().into()));
            json!({ "labels": labels.collect::<serde_json::Map<_, _>>(), "value": sample.value })
        });
        json!({
            "name": family.sample_name(),
            "type": family.kind().as_str(),
            "help": family.help,
            "samples": samples.collect::<Vec<_>>(),
        })
    });
    families.collect()
}
