//! The command line as clap types. No behaviour; help texts are what `rsx VERB --help` prints.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::cli::import::ImportArgs;
use crate::cli::pages::{CompletionsArgs, ManArgs};

/// The verbs, grouped as people look for them. A test compares them with [`Verb`].
const GROUPS: &str = "\
Run:
  start      Make apps run: a script, a command line, a file, or what exists
  restart    Stop and start, also what is stopped
  stop       Stop, and keep in the list
  delete     Stop and forget
  serve      Serve static files

Look:
  ls         The table of all instances
  describe   Everything about one app
  logs       History of the logs, then what comes
  events     The stream of changes
  pid        Process ids
  jlist      The list as JSON in the shape of PM2

Files:
  init       Write an ecosystem.toml to start from
  check      All problems of a file, before it is applied
  import     What PM2 has saved, as an ecosystem.toml

Help:
  man          The manual, page by page
  completions  A script that completes verbs, flags and names

Daemon:
  ping       Is it there
  save       Keep a copy of the list
  resurrect  Start what was saved, and what ran before
  kill       Stop all apps and the daemon
  version    The release

Targets: all, /regex/, name, namespace, id, config file, script path.";

/// Beside the flags of `start`. In place of a long description, which would space out all flags.
const START_HELP: &str = "\
A config file is applied: new apps start, changed ones are restarted, unchanged ones are left
alone. Without argument: ecosystem.toml, .json, .yaml, .yml or .config.js of this folder. `-`
reads JSON from stdin.

  rsx start app.js --name api -- --port 3000
  rsx start \"python3 -m http.server 8000\" --name web
  rsx start npm -- start
  rsx start ecosystem.toml --only api --env staging";

/// Runs programs and keeps them running.
#[derive(Debug, Parser)]
#[command(
    name = "rsx",
    version,
    disable_version_flag = true,
    disable_help_subcommand = false,
    max_term_width = 100,
    help_template = "{about}\n\n{usage-heading} {usage}\n\n{before-help}Options:\n{options}\n\n`rsx VERB --help` tells more about each.",
    before_help = GROUPS
)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

/// What every verb takes.
#[derive(Debug, Args)]
pub(super) struct Global {
    /// Print the answer as JSON on stdout
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Print errors only
    #[arg(short, long, global = true)]
    pub(super) silent: bool,
    /// Print without colour (as NO_COLOR does)
    #[arg(long, global = true)]
    pub(super) no_color: bool,
    /// Print the release
    #[arg(short = 'v', long, short_alias = 'V', action = clap::ArgAction::Version)]
    version: Option<bool>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Make apps run, and be ready when this returns
    #[command(after_help = START_HELP)]
    Start(Box<StartArgs>),
    /// Stop and start, also what is stopped; of a file: apply it, and restart what is unchanged
    Restart(RestartArgs),
    /// Stop, and keep in the list
    Stop(StopArgs),
    /// Stop and forget
    #[command(visible_alias = "del")]
    Delete(StopArgs),
    /// Serve static files
    #[command(alias = "expose")]
    Serve(ServeArgs),
    /// The table of all instances
    #[command(visible_aliases = ["list", "l", "ps", "status"])]
    Ls(LsArgs),
    /// The list as JSON in the shape of PM2
    Jlist,
    /// Everything about one app
    #[command(visible_aliases = ["desc", "show", "info"])]
    Describe(DescribeArgs),
    /// History of the logs, then what comes
    #[command(visible_alias = "log")]
    Logs(LogsArgs),
    /// Process ids, one a line
    Pid(PidArgs),
    /// The stream of changes, one a line
    Events(EventsArgs),
    /// Is the daemon there
    Ping,
    /// Keep a copy of the list, for `resurrect`
    #[command(visible_alias = "dump")]
    Save(SaveArgs),
    /// Start what was saved, and what ran before the daemon ended
    Resurrect(ResurrectArgs),
    /// Stop all apps and the daemon
    Kill,
    /// All problems of a config file, before it is applied
    Check(CheckArgs),
    /// Write a commented ecosystem.toml
    #[command(alias = "ecosystem")]
    Init(InitArgs),
    /// What PM2 has saved, as an ecosystem.toml: printed, written or started
    Import(ImportArgs),
    /// The release
    Version,
    /// The manual page of a verb, of rsx, or of ecosystem.toml
    Man(ManArgs),
    /// A script that completes verbs, flags and names of apps
    Completions(CompletionsArgs),
    /// What can be typed as a target, for the completion scripts
    #[command(hide = true)]
    CompleteNames,
}

/// `rsx save`.
#[derive(Debug, Args)]
pub(super) struct SaveArgs {
    /// Save an empty list, too
    #[arg(short, long)]
    pub(super) force: bool,
}

/// `rsx resurrect`.
#[derive(Debug, Args)]
pub(super) struct ResurrectArgs {
    /// Answer at once, not when the apps are ready
    #[arg(long)]
    pub(super) no_wait: bool,
}

/// `rsx start`.
#[derive(Debug, Default, Args)]
pub(super) struct StartArgs {
    /// Script, "command line", config file, `-`, or targets that exist
    #[arg(value_name = "WHAT")]
    pub(super) what: Vec<String>,
    /// Arguments of the program
    #[arg(last = true, value_name = "ARGS")]
    pub(super) args: Vec<String>,
    #[command(flatten)]
    pub(super) file: FileArgs,
    #[command(flatten)]
    pub(super) apply: ApplyArgs,
    #[command(flatten)]
    pub(super) app: AppFlags,
    /// Print a short table afterwards
    #[arg(short = 'm', long, help_heading = "How")]
    pub(super) mini_list: bool,
}

/// Which part of a config file.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "With a config file")]
pub(super) struct FileArgs {
    /// Take the variables of `env_NAME`, too
    #[arg(long, value_name = "NAME")]
    pub(super) env: Option<String>,
    /// Only these apps of the file
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(super) only: Vec<String>,
}

/// How a declaration is carried out.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "How")]
pub(super) struct ApplyArgs {
    /// Print the plan and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Delete apps that the file no longer declares
    #[arg(long)]
    pub(super) prune: bool,
    /// Take over names that another file or folder owns
    #[arg(short, long)]
    pub(super) force: bool,
    /// Existing apps take this shell's environment
    #[arg(short = 'a', long)]
    pub(super) update_env: bool,
    /// Return as soon as the plan is accepted
    #[arg(long)]
    pub(super) no_wait: bool,
}

/// Flags that declare an app, one for a key of the config file.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "The app (for a script or command line)")]
pub(super) struct AppFlags {
    /// Its name; default: the script's without extension
    #[arg(short, long)]
    pub(super) name: Option<String>,
    /// The group it belongs to
    #[arg(long, short = 'N')]
    pub(super) namespace: Option<String>,
    /// How many instances: a number, `max`, -1 for one less than there are cores
    #[arg(short, long, value_name = "N", allow_hyphen_values = true)]
    pub(super) instances: Option<String>,
    /// Run instances side by side, each binding for itself
    #[arg(short = 'x', long)]
    pub(super) fork: bool,
    /// What executes the script; `none`: the script itself
    #[arg(long, visible_alias = "interp", value_name = "PROGRAM")]
    pub(super) interpreter: Option<String>,
    /// Arguments before the script
    #[arg(long, visible_alias = "node-args", value_name = "ARGS", allow_hyphen_values = true)]
    pub(super) interpreter_args: Option<String>,
    /// The working directory
    #[arg(long, value_name = "DIR")]
    pub(super) cwd: Option<String>,
    /// The file for standard output
    #[arg(short, long, visible_alias = "out", value_name = "FILE")]
    pub(super) output: Option<String>,
    /// The file for standard error
    #[arg(short, long, visible_alias = "err", value_name = "FILE")]
    pub(super) error: Option<String>,
    /// One log file for all instances
    #[arg(long)]
    pub(super) merge_logs: bool,
    /// Write no logs
    #[arg(long)]
    pub(super) disable_logs: bool,
    /// Pause before each restart
    #[arg(long, value_name = "TIME")]
    pub(super) restart_delay: Option<String>,
    /// First pause of a growing one
    #[arg(long, value_name = "TIME")]
    pub(super) exp_backoff_restart_delay: Option<String>,
    /// Quick exits until it is given up
    #[arg(long, value_name = "N")]
    pub(super) max_restarts: Option<String>,
    /// A shorter life is a quick exit
    #[arg(long, value_name = "TIME")]
    pub(super) min_uptime: Option<String>,
    /// When to try again what was given up; `off`: never
    #[arg(long, value_name = "TIME")]
    pub(super) retry_after: Option<String>,
    /// Do not restart it when it ends
    #[arg(long)]
    pub(super) no_autorestart: bool,
    /// Exit codes that mean "finished"
    #[arg(long, value_name = "CODES", num_args = 1..)]
    pub(super) stop_exit_codes: Vec<String>,
    /// How long it may take to be ready
    #[arg(long, value_name = "TIME")]
    pub(super) listen_timeout: Option<String>,
    /// How long it may take to end before SIGKILL
    #[arg(short, long, value_name = "TIME")]
    pub(super) kill_timeout: Option<String>,
    /// The first signal of a stop
    #[arg(long, value_name = "SIGNAL")]
    pub(super) stop_signal: Option<String>,
    /// Stop its main process only
    #[arg(long)]
    pub(super) no_treekill: bool,
    /// Add it to the list without starting it
    #[arg(long)]
    pub(super) no_autostart: bool,
}

/// `rsx restart`.
#[derive(Debug, Args)]
pub(super) struct RestartArgs {
    /// all, /regex/, name, namespace, id, config file or script
    #[arg(required = true, value_name = "TARGET")]
    pub(super) targets: Vec<String>,
    #[command(flatten)]
    pub(super) file: FileArgs,
    #[command(flatten)]
    pub(super) apply: ApplyArgs,
    /// Print a short table afterwards
    #[arg(short = 'm', long)]
    pub(super) mini_list: bool,
}

/// `rsx stop`, `rsx delete`.
#[derive(Debug, Args)]
pub(super) struct StopArgs {
    /// all, /regex/, name, namespace, id, config file or script
    #[arg(required = true, value_name = "TARGET")]
    pub(super) targets: Vec<String>,
    /// Only these apps of a config file
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(super) only: Vec<String>,
    /// Return as soon as it is accepted
    #[arg(long)]
    pub(super) no_wait: bool,
    /// Print a short table afterwards
    #[arg(short = 'm', long)]
    pub(super) mini_list: bool,
}

/// `rsx serve`.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// The folder; default: this one
    #[arg(value_name = "PATH")]
    pub(super) path: Option<PathBuf>,
    /// The port; default: 8080
    #[arg(value_name = "PORT")]
    pub(super) port: Option<u16>,
    /// The same
    #[arg(long = "port", id = "port-flag", value_name = "PORT", conflicts_with = "port", hide = true)]
    pub(super) port_flag: Option<u16>,
    /// Answer unknown paths with index.html
    #[arg(long)]
    pub(super) spa: bool,
    /// Ask for a password
    #[arg(long, value_name = "USER:PASS")]
    pub(super) basic_auth: Option<String>,
    /// Its name; default: static-page-server-PORT
    #[arg(short, long)]
    pub(super) name: Option<String>,
    #[command(flatten)]
    pub(super) apply: ApplyArgs,
}

/// `rsx ls`.
#[derive(Debug, Args)]
pub(super) struct LsArgs {
    /// A short table
    #[arg(short = 'm', long)]
    pub(super) mini_list: bool,
    /// Sort by a column, `:desc` turns it round
    #[arg(long, value_name = "FIELD[:desc]")]
    pub(super) sort: Option<String>,
}

/// `rsx describe`.
#[derive(Debug, Args)]
pub(super) struct DescribeArgs {
    /// all, /regex/, name, namespace or id
    #[arg(required = true, value_name = "TARGET")]
    pub(super) targets: Vec<String>,
}

/// `rsx logs`.
#[derive(Debug, Args)]
pub(super) struct LogsArgs {
    /// all, /regex/, name, namespace, id, config file or script; default: all
    #[arg(value_name = "TARGET")]
    pub(super) targets: Vec<String>,
    /// How many last lines of each file come first
    #[arg(long, short = 'n', value_name = "N", default_value_t = 15)]
    pub(super) lines: u32,
    /// Print the history and end
    #[arg(long, visible_aliases = ["no-follow", "no-stream"])]
    pub(super) nostream: bool,
    /// Standard output only
    #[arg(long, conflicts_with = "err")]
    pub(super) out: bool,
    /// Standard error only
    #[arg(long, visible_alias = "error")]
    pub(super) err: bool,
    /// Lines without the name in front
    #[arg(long)]
    pub(super) raw: bool,
}

/// `rsx pid`.
#[derive(Debug, Args)]
pub(super) struct PidArgs {
    /// all, /regex/, name, namespace or id; default: all
    #[arg(value_name = "TARGET")]
    pub(super) targets: Vec<String>,
    /// The daemon's own
    #[arg(long, conflicts_with = "targets")]
    pub(super) daemon: bool,
}

/// `rsx events`.
#[derive(Debug, Args)]
pub(super) struct EventsArgs {
    /// How many past ones come first (the last 1,000 are kept)
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) history: u32,
}

/// `rsx check`.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// The file; default: the one of this folder
    #[arg(value_name = "FILE")]
    pub(super) path: Option<PathBuf>,
    #[command(flatten)]
    pub(super) file: FileArgs,
}

/// `rsx init`.
#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// `simple`: without the tour of all keys
    #[arg(value_name = "KIND", value_parser = ["simple"])]
    pub(super) kind: Option<String>,
}
