//! The command line of verbs that look after what is there.

use std::path::PathBuf;

use clap::Args;

/// Verbs that take targets and nothing else.
#[derive(Debug, Args)]
pub(in crate::cli) struct TargetArgs {
    /// all, /regex/, name, namespace, id, config file or script
    #[arg(required = true, value_name = "TARGET")]
    pub(in crate::cli) targets: Vec<String>,
}

/// `rsx startOrRestart`, `rsx startOrReload`.
#[derive(Debug, Args)]
pub(in crate::cli) struct FilesArgs {
    /// Config files
    #[arg(required = true, value_name = "FILE")]
    pub(in crate::cli) files: Vec<String>,
    #[command(flatten)]
    pub(in crate::cli) file: super::FileArgs,
    #[command(flatten)]
    pub(in crate::cli) apply: super::ApplyArgs,
    /// Print a short table afterwards
    #[arg(short = 'm', long)]
    pub(in crate::cli) mini_list: bool,
}

/// `rsx scale`.
#[derive(Debug, Args)]
pub(in crate::cli) struct ScaleArgs {
    /// The app; all, /regex/, name, namespace or id
    #[arg(value_name = "TARGET")]
    pub(in crate::cli) target: String,
    /// How many there will be: `3`; or how many more or less: `+2`, `-1`
    #[arg(value_name = "N", allow_hyphen_values = true)]
    pub(in crate::cli) count: String,
    /// Return as soon as it is accepted
    #[arg(long)]
    pub(in crate::cli) no_wait: bool,
    /// Print a short table afterwards
    #[arg(short = 'm', long)]
    pub(in crate::cli) mini_list: bool,
}

/// `rsx signal`.
#[derive(Debug, Args)]
pub(in crate::cli) struct SignalArgs {
    /// SIGHUP, hup, 1 …
    #[arg(value_name = "SIGNAL")]
    pub(in crate::cli) signal: String,
    #[command(flatten)]
    pub(in crate::cli) to: TargetArgs,
}

/// `rsx send`.
#[derive(Debug, Args)]
pub(in crate::cli) struct SendArgs {
    /// all, /regex/, name, namespace, id or script
    #[arg(value_name = "TARGET")]
    pub(in crate::cli) target: String,
    /// The line; several words are joined by blanks
    #[arg(required = true, value_name = "LINE", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(in crate::cli) line: Vec<String>,
}

/// `rsx flush`.
#[derive(Debug, Args)]
pub(in crate::cli) struct FlushArgs {
    /// all, /regex/, name, namespace, id, config file or script; default: all
    #[arg(value_name = "TARGET")]
    pub(in crate::cli) targets: Vec<String>,
    /// Leave what was put away before
    #[arg(long)]
    pub(in crate::cli) keep_archives: bool,
}

/// `rsx rotate`.
#[derive(Debug, Args)]
pub(in crate::cli) struct RotateArgs {
    /// all, /regex/, name, namespace, id, config file or script; default: all
    #[arg(value_name = "TARGET")]
    pub(in crate::cli) targets: Vec<String>,
}

/// `rsx update`.
#[derive(Debug, Args)]
pub(in crate::cli) struct UpdateArgs {
    /// The binary that takes over; default: the one that this command was executed from
    #[arg(value_name = "BINARY")]
    pub(in crate::cli) binary: Option<PathBuf>,
}
