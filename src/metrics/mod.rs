//! What rsx knows, in the words of Prometheus: a view becomes families of samples, and these a text.
//!
//! Responsible for names, labels and values, and nothing else: who asks for the view and where the text goes is decided
//! elsewhere. `families.rs` lists all there is, once; the page `docs/METRICS.md` is written from the same list.
//!
//! The invariant: within a family no two samples have the same labels, and a label's values are bounded by what exists
//! (apps, instances, ports, at most 64 metrics of a program's own).

mod families;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, prometheus_text, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use crate::metrics::families::{FAMILIES, Source};
use crate::proto::{AppView, SlotView, View};

/// What every name begins with.
const PREFIX: &str = "rsx";

/// How samples are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' text format 0.0.4, which the textfile collector of its node exporter reads.
    Prometheus,
}

impl Format {
    /// What it is called in HTTP.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// One kind of samples.
#[derive(Debug)]
pub struct Family {
    /// Its name without prefix and unit.
    name: &'static str,
    kind: Kind,
    unit: Option<Unit>,
    /// What it says, a sentence with its period.
    pub help: &'static str,
    /// Labels besides those that say which instance it is.
    labels: &'static [&'static str],
    source: Source,
}

/// How values of a family behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// They go up and down.
    Gauge,
    /// They go up, until what they count begins anew.
    Counter,
    /// They are 1; the labels tell.
    Info,
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample<'a> {
    /// Name and value of each.
    pub labels: Vec<(&'static str, Cow<'a, str>)>,
    /// The value.
    pub value: f64,
}

/// All families, in the order in which they are written.
pub fn families() -> &'static [Family] {
    &FAMILIES
}

/// The text of a view.
pub fn text(view: View, format: Format) -> String {
    pages(view, format).collect()
}

/// The text of a view in pieces, a family each: what nobody has asked for yet takes no memory.
pub fn pages(view: View, format: Format) -> Pages {
    Pages { view: Arc::new(view), format, next: 0 }
}

/// See [`pages`].
#[derive(Debug)]
pub struct Pages {
    view: Arc<View>,
    format: Format,
    next: usize,
}

impl Iterator for Pages {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let mut text = String::new();
        while text.is_empty() {
            let at = self.next;
            self.next += 1;
            let written = match (FAMILIES.get(at), self.format) {
                (Some(family), format) => {
                    let mut registry = Registry::with_prefix(PREFIX);
                    registry.register_collector(Box::new(Exposition(Arc::clone(&self.view), family)));
                    match format {
                        Format::OpenMetrics => text::encode_registry(&mut text, &registry),
                        Format::Prometheus => prometheus_text::encode(&mut text, &registry),
                    }
                }
                (None, Format::OpenMetrics) if at == FAMILIES.len() => text::encode_eof(&mut text),
                (None, Format::OpenMetrics | Format::Prometheus) => return None,
            };
            written.expect("a text in memory takes whatever is written");
        }
        Some(text)
    }
}

impl Kind {
    /// In a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Info => "info",
        }
    }
}

impl Family {
    /// The name of its samples: with prefix, unit and suffix.
    pub fn sample_name(&self) -> String {
        let unit = self.unit.as_ref().map_or(String::new(), |unit| format!("_{}", unit.as_str()));
        let suffix = match self.kind {
            Kind::Gauge => "",
            Kind::Counter => "_total",
            Kind::Info => "_info",
        };
        format!("{PREFIX}_{}{unit}{suffix}", self.name)
    }

    /// How its values behave.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The names of all labels.
    pub fn labels(&self) -> Vec<&'static str> {
        let whose: &[&str] = match self.source {
            Source::Daemon(_) => &[],
            Source::App(_) => &["app", "namespace"],
            Source::Instance(_) => &["app", "namespace", "instance"],
        };
        [whose, self.labels].concat()
    }

    /// Its samples.
    pub fn samples<'a>(&self, view: &'a View) -> Vec<Sample<'a>> {
        let mut samples = Samples { found: Vec::new(), whose: None, names: self.labels };
        match self.source {
            Source::Daemon(read) => read(&view.daemon, &mut samples),
            Source::App(read) => {
                for app in &view.apps {
                    samples.whose = Some((app, None));
                    read(app, &mut samples);
                }
            }
            Source::Instance(read) => {
                for app in &view.apps {
                    for slot in &app.slots {
                        samples.whose = Some((app, Some(slot)));
                        read(slot, &mut samples);
                    }
                }
            }
        }
        samples.found
    }

    fn encode(&self, encoder: &mut DescriptorEncoder<'_>, view: &View) -> fmt::Result {
        let samples = self.samples(view);
        if samples.is_empty() {
            return Ok(());
        }
        let kind = match self.kind {
            Kind::Gauge => MetricType::Gauge,
            Kind::Counter => MetricType::Counter,
            Kind::Info => MetricType::Info,
        };
        let mut family = encoder.encode_descriptor(self.name, self.help, self.unit.as_ref(), kind)?;
        for sample in &samples {
            Encoded { kind: self.kind, sample }.encode(&mut family)?;
        }
        Ok(())
    }
}

/// Takes the samples of one family.
#[derive(Debug)]
struct Samples<'a> {
    found: Vec<Sample<'a>>,
    whose: Option<(&'a AppView, Option<&'a SlotView>)>,
    names: &'static [&'static str],
}

impl<'a> Samples<'a> {
    /// The only one of the daemon or of an instance.
    fn put(&mut self, value: f64) {
        self.put_with(Vec::new(), value);
    }

    /// One of several, with the values of the family's own labels.
    fn put_with(&mut self, values: Vec<Cow<'a, str>>, value: f64) {
        let mut labels = Vec::with_capacity(3 + values.len());
        if let Some((app, slot)) = self.whose {
            labels.push(("app", Cow::Borrowed(app.name.as_str())));
            labels.push(("namespace", Cow::Borrowed(app.namespace.as_str())));
            labels.extend(slot.map(|slot| ("instance", Cow::Owned(slot.instance.to_string()))));
        }
        labels.extend(self.names.iter().copied().zip(values));
        self.found.push(Sample { labels, value });
    }
}

/// One sample, as the library writes it.
struct Encoded<'a> {
    kind: Kind,
    sample: &'a Sample<'a>,
}

impl Encoded<'_> {
    fn encode(&self, family: &mut MetricEncoder<'_>) -> fmt::Result {
        let Sample { labels, value } = self.sample;
        match self.kind {
            Kind::Info => family.encode_info(labels),
            Kind::Gauge if labels.is_empty() => family.encode_gauge(value),
            Kind::Gauge => family.encode_family(labels)?.encode_gauge(value),
            Kind::Counter if labels.is_empty() => family.encode_counter::<Vec<(&str, &str)>, f64, f64>(value, None),
            Kind::Counter => family.encode_family(labels)?.encode_counter::<Vec<(&str, &str)>, f64, f64>(value, None),
        }
    }
}

/// A family of a view, as the library asks for it.
#[derive(Debug)]
struct Exposition(Arc<View>, &'static Family);

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.1.encode(&mut encoder, &self.0)
    }
}
