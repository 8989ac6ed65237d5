//! The command line as clap types. No behaviour; help texts are what `rsx VERB --help` prints.

mod app;
mod care;
mod look;

use std::num::NonZeroU16;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::cli::import::ImportArgs;
use crate::cli::pages::{CompletionsArgs, ManArgs};

pub(super) use app::{AppFlags, ValueFlags};
pub(super) use care::{FilesArgs, FlushArgs, RotateArgs, ScaleArgs, SendArgs, SignalArgs, TargetArgs, UpdateArgs};
pub(super) use look::{
    DescribeArgs, EnvArgs, EventsArgs, LogsArgs, LsArgs, MetricsArgs, MetricsFormat, MonitArgs, PidArgs, WhyArgs,
};

/// The verbs, grouped as people look for them. A test compares them with [`Verb`].
const GROUPS: &str = "\
Run:
  start           Make apps run: a script, a command line, a file, or what exists
  restart         Stop and start, also what is stopped
  reload          The same without downtime, in cluster mode
  startOrRestart  Apply files, and restart what is unchanged in them, too
  startOrReload   The same, by reload
  scale           More or fewer instances
  stop            Stop, and keep in the list
  delete          Stop and forget
  serve           Serve static files

Look:
  ls              The table of all instances
  describe        Everything about one app
  why             What happened to it, and what comes next
  monit           The dashboard
  logs            History of the logs, then what comes
  events          The stream of changes
  metrics         All figures, for Prometheus
  env             The variables that an app gets
  id              Ids, for scripts
  pid             Process ids
  jlist           The list as JSON in the shape of PM2
  prettylist      The same for people

Care:
  signal          Send a signal
  send            Write a line to standard input
  reset           Set restart counters back
  flush           Empty log files, and remove their archives
  rotate          Put log files away as archives
  reload-logs     Open log files anew, after they were moved

Files:
  init            Write an ecosystem.toml to start from
  check           All problems of a file, before it is applied
  import          What PM2 has saved, as an ecosystem.toml

Help:
  man             The manual, page by page
  completions     A script that completes verbs, flags and names

Daemon:
  ping            Is it there
  save            Keep a copy of the list
  resurrect       Start what was saved, and what ran before
  update          Hand over to the installed rsx; no app notices
  kill            Stop all apps and the daemon
  doctor          What this machine offers, and what is missing
  version         The release

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

/// Beside the flags of `restart`.
const RESTART_HELP: &str = "\
Flags give what is in the list new values, which stay: `null` is the default of a key. What a config
file declares is changed there, and taken over by `rsx restart FILE`.

  rsx restart api --max-restarts 5 -- --port 3001
  rsx restart ecosystem.toml --only api --env staging";

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
    #[command(after_help = RESTART_HELP)]
    Restart(Box<RestartArgs>),
    /// Restart without downtime; in fork mode there is no such thing, and it restarts
    #[command(alias = "gracefulReload")]
    Reload(Box<ReloadArgs>),
    /// Apply config files, and restart what is unchanged
    #[command(name = "startOrRestart")]
    StartOrRestart(FilesArgs),
    /// Apply config files, and reload what is unchanged
    #[command(name = "startOrReload", visible_alias = "startOrGracefulReload")]
    StartOrReload(FilesArgs),
    /// Change the number of instances
    ///
    /// The highest ones go first. `start FILE` keeps the number until the file says another one than before.
    Scale(ScaleArgs),
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
    /// The same, as PM2 prints it for people
    Prettylist,
    /// Everything about one app
    #[command(visible_aliases = ["desc", "show", "info"])]
    Describe(DescribeArgs),
    /// What happened to it, what was decided, and what comes next
    Why(WhyArgs),
    /// The dashboard: instances, graphs, logs, and what can be done about them
    #[command(visible_aliases = ["dash", "dashboard"], alias = "imonit")]
    Monit(MonitArgs),
    /// The variables that it is started with, secrets hidden
    Env(EnvArgs),
    /// Ids
    Id(TargetArgs),
    /// Send a signal to its main process
    #[command(alias = "sendSignal")]
    Signal(SignalArgs),
    /// Write a line to its standard input
    Send(SendArgs),
    /// Set its restart counters back
    Reset(TargetArgs),
    /// Empty log files, and remove their archives
    Flush(FlushArgs),
    /// Put log files away as archives
    Rotate(RotateArgs),
    /// Open all log files anew, after they were moved
    #[command(alias = "reloadLogs")]
    ReloadLogs,
    /// What this machine offers, what is missing, and what that costs
    Doctor,
    /// History of the logs, then what comes
    #[command(visible_alias = "log")]
    Logs(LogsArgs),
    /// Process ids, one a line
    Pid(PidArgs),
    /// The stream of changes, one a line
    Events(EventsArgs),
    /// All figures, for Prometheus
    ///
    /// docs/METRICS.md lists them.
    Metrics(MetricsArgs),
    /// Is the daemon there
    Ping,
    /// Keep a copy of the list, for `resurrect`
    #[command(visible_alias = "dump")]
    Save(SaveArgs),
    /// Start what was saved, and what ran before the daemon ended
    Resurrect(ResurrectArgs),
    /// Hand over to the installed rsx, or to another one; no app notices
    #[command(alias = "updatePM2", alias = "deepUpdate")]
    Update(UpdateArgs),
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
    /// Start or restart so many instances at a time; default: all
    #[arg(long, value_name = "N", value_parser = at_a_time)]
    pub(super) parallel: Option<NonZeroU16>,
    /// Follow the logs afterwards, until Ctrl-C
    #[arg(long, conflicts_with = "dry_run")]
    pub(super) attach: bool,
    /// Return as soon as the plan is accepted
    #[arg(long)]
    pub(super) no_wait: bool,
}

fn at_a_time(text: &str) -> Result<NonZeroU16, String> {
    text.parse().map_err(|_| format!("it is a number from 1 to {}", u16::MAX))
}

/// `rsx reload`.
#[derive(Debug, Args)]
pub(super) struct ReloadArgs {
    #[command(flatten)]
    pub(super) renew: RestartArgs,
    /// Replace in batches, or bring up all new ones and then switch at once; default: what the app says
    #[arg(long, value_name = "STRATEGY", value_parser = ["rolling", "blue-green"], help_heading = "How")]
    pub(super) strategy: Option<String>,
    /// End a reload that is under way: what is not replaced for good goes back
    #[arg(
        long,
        help_heading = "How",
        conflicts_with_all = ["strategy", "args", "env", "only", "dry_run", "prune", "force", "update_env", "parallel", "attach"]
    )]
    pub(super) abort: bool,
}

/// `rsx restart`.
#[derive(Debug, Args)]
pub(super) struct RestartArgs {
    /// all, /regex/, name, namespace, id, config file or script
    #[arg(required = true, value_name = "TARGET")]
    pub(super) targets: Vec<String>,
    /// New arguments of the program
    #[arg(last = true, value_name = "ARGS")]
    pub(super) args: Vec<String>,
    #[command(flatten)]
    pub(super) file: FileArgs,
    #[command(flatten)]
    pub(super) apply: ApplyArgs,
    #[command(flatten)]
    pub(super) values: ValueFlags,
    /// Print a short table afterwards
    #[arg(short = 'm', long, help_heading = "How")]
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
