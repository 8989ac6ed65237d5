//! The command line of verbs that look.

use clap::{Args, ValueEnum};

use crate::cli::args::care::TargetArgs;

/// `rsx ls`.
#[derive(Debug, Args)]
pub(in crate::cli) struct LsArgs {
    /// A short table
    #[arg(short = 'm', long)]
    pub(in crate::cli) mini_list: bool,
    /// Sort by a column, `:desc` turns it round
    #[arg(long, value_name = "FIELD[:desc]")]
    pub(in crate::cli) sort: Option<String>,
    /// Draw it anew whenever something changes, until Ctrl-C
    #[arg(long)]
    pub(in crate::cli) watch: bool,
}

/// `rsx monit`.
#[derive(Debug, Args)]
pub(in crate::cli) struct MonitArgs {
    /// What the list shows: words, /regex/, status:errored, cpu>50
    #[arg(value_name = "FILTER")]
    pub(in crate::cli) filter: Vec<String>,
    /// Look, and change nothing
    #[arg(long)]
    pub(in crate::cli) read_only: bool,
    /// `terminal`: its own colours; `vivid`: graded graphs; `mono`: none, as NO_COLOR does
    #[arg(long, value_name = "THEME", value_parser = ["terminal", "vivid", "mono"])]
    pub(in crate::cli) theme: Option<String>,
    /// Leave clicks to the terminal
    #[arg(long)]
    pub(in crate::cli) no_mouse: bool,
}

/// `rsx describe`.
#[derive(Debug, Args)]
pub(in crate::cli) struct DescribeArgs {
    /// all, /regex/, name, namespace or id
    #[arg(required = true, value_name = "TARGET")]
    pub(in crate::cli) targets: Vec<String>,
}

/// `rsx pid`.
#[derive(Debug, Args)]
pub(in crate::cli) struct PidArgs {
    /// all, /regex/, name, namespace or id; default: all
    #[arg(value_name = "TARGET")]
    pub(in crate::cli) targets: Vec<String>,
    /// The daemon's own
    #[arg(long, conflicts_with = "targets")]
    pub(in crate::cli) daemon: bool,
}

/// `rsx events`.
#[derive(Debug, Args)]
pub(in crate::cli) struct EventsArgs {
    /// How many past ones come first (the last 1,000 are kept)
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(in crate::cli) history: u32,
}

/// `rsx metrics`.
#[derive(Debug, Args)]
pub(in crate::cli) struct MetricsArgs {
    /// OpenMetrics, or Prometheus' older text format for the textfile collector of its node exporter
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = MetricsFormat::Openmetrics)]
    pub(in crate::cli) format: MetricsFormat,
}

/// How metrics are written down.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum MetricsFormat {
    Openmetrics,
    Prometheus,
}

/// `rsx env`.
#[derive(Debug, Args)]
pub(in crate::cli) struct EnvArgs {
    #[command(flatten)]
    pub(in crate::cli) of: TargetArgs,
    /// Show secret-looking values, too
    #[arg(long)]
    pub(in crate::cli) show: bool,
}

/// `rsx why`.
#[derive(Debug, Args)]
pub(in crate::cli) struct WhyArgs {
    #[command(flatten)]
    pub(in crate::cli) of: TargetArgs,
    /// How many last entries of each instance
    #[arg(long, short = 'n', value_name = "N", default_value_t = 30)]
    pub(in crate::cli) lines: u32,
}

/// `rsx logs`.
#[derive(Debug, Default, Args)]
pub(in crate::cli) struct LogsArgs {
    /// all, /regex/, name, namespace, id, config file or script; default: all
    #[arg(value_name = "TARGET")]
    pub(in crate::cli) targets: Vec<String>,
    /// How many last lines of each file come first [default: 15, with --since all]
    #[arg(long, short = 'n', value_name = "N")]
    pub(in crate::cli) lines: Option<u32>,
    /// Print the history and end
    #[arg(long, visible_aliases = ["no-follow", "no-stream"])]
    pub(in crate::cli) nostream: bool,
    /// Standard output only
    #[arg(long, conflicts_with = "err")]
    pub(in crate::cli) out: bool,
    /// Standard error only
    #[arg(long, visible_alias = "error")]
    pub(in crate::cli) err: bool,
    /// Lines without the name in front
    #[arg(long)]
    pub(in crate::cli) raw: bool,
    /// Lines as `timestamp=… app=… id=… type=… message=…`
    #[arg(long, conflicts_with = "raw")]
    pub(in crate::cli) format: bool,
    /// Lines since then: `10m` ago, or a time; for lines that begin with an ISO 8601 time
    #[arg(long, value_name = "TIME")]
    pub(in crate::cli) since: Option<String>,
    /// Lines until then, without what comes
    #[arg(long, value_name = "TIME")]
    pub(in crate::cli) until: Option<String>,
    /// Only lines that match
    #[arg(long, value_name = "REGEX")]
    pub(in crate::cli) grep: Option<String>,
    /// Mark this text
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) highlight: Option<String>,
    /// Put the time at which it came in front of each new line
    #[arg(long)]
    pub(in crate::cli) timestamp: bool,
}
