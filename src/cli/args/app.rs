//! The flags that declare an app, or change one.

use clap::Args;

/// Flags that declare an app.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "The app (for a script or command line)")]
pub(in crate::cli) struct AppFlags {
    /// How many instances: a number, `max`, -1 for one less than there are cores
    #[arg(short, long, value_name = "N", allow_hyphen_values = true)]
    pub(in crate::cli) instances: Option<String>,
    /// Run instances side by side, each binding for itself
    #[arg(short = 'x', long, alias = "execute-command")]
    pub(in crate::cli) fork: bool,
    /// Let the instances share the ports that they bind; so it is with `--instances` alone
    #[arg(long, conflicts_with = "fork")]
    pub(in crate::cli) cluster: bool,
    /// Add it to the list without starting it
    #[arg(long)]
    pub(in crate::cli) no_autostart: bool,
    #[command(flatten)]
    pub(in crate::cli) values: ValueFlags,
}

/// Flags that an app can be declared with and that can be changed later, one for a key of the config file.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "The app's values")]
pub(in crate::cli) struct ValueFlags {
    /// Its name; default: the script's without extension
    #[arg(short, long)]
    pub(in crate::cli) name: Option<String>,
    /// The group it belongs to
    #[arg(long, short = 'N')]
    pub(in crate::cli) namespace: Option<String>,
    /// What executes the script; `none`: the script itself
    #[arg(long, visible_alias = "interp", value_name = "PROGRAM")]
    pub(in crate::cli) interpreter: Option<String>,
    /// Arguments before the script
    #[arg(long, visible_alias = "node-args", value_name = "ARGS", allow_hyphen_values = true)]
    pub(in crate::cli) interpreter_args: Option<String>,
    /// The working directory
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) cwd: Option<String>,
    /// The file for standard output
    #[arg(short, long, visible_alias = "out", value_name = "FILE")]
    pub(in crate::cli) output: Option<String>,
    /// The file for standard error
    #[arg(short, long, visible_alias = "err", value_name = "FILE")]
    pub(in crate::cli) error: Option<String>,
    /// One more file for both
    #[arg(short, long, value_name = "FILE")]
    pub(in crate::cli) log: Option<String>,
    /// Begin each line with the time
    #[arg(long)]
    pub(in crate::cli) time: bool,
    /// Begin each line with the time in this form: `YYYY-MM-DD HH:mm:ss`
    #[arg(long, value_name = "FORM")]
    pub(in crate::cli) log_date_format: Option<String>,
    /// What a line is: `raw`, or `json` for an object with its time, app, instance, stream and message
    #[arg(long, value_name = "TYPE")]
    pub(in crate::cli) log_type: Option<String>,
    /// The file that holds its pid while it runs
    #[arg(short, long, value_name = "FILE")]
    pub(in crate::cli) pid: Option<String>,
    /// One log file for all instances
    #[arg(long)]
    pub(in crate::cli) merge_logs: bool,
    /// Write no logs
    #[arg(long)]
    pub(in crate::cli) disable_logs: bool,
    /// Pause before each restart
    #[arg(long, value_name = "TIME")]
    pub(in crate::cli) restart_delay: Option<String>,
    /// First pause of a growing one
    #[arg(long, value_name = "TIME")]
    pub(in crate::cli) exp_backoff_restart_delay: Option<String>,
    /// Quick exits until it is given up
    #[arg(long, value_name = "N")]
    pub(in crate::cli) max_restarts: Option<String>,
    /// A shorter life is a quick exit
    #[arg(long, value_name = "TIME")]
    pub(in crate::cli) min_uptime: Option<String>,
    /// When to try again what was given up; `off`: never
    #[arg(long, value_name = "TIME")]
    pub(in crate::cli) retry_after: Option<String>,
    /// Replace it when its processes take more memory: `300M`
    #[arg(long, value_name = "SIZE")]
    pub(in crate::cli) max_memory_restart: Option<String>,
    /// Do not restart it when it ends
    #[arg(long)]
    pub(in crate::cli) no_autorestart: bool,
    /// Exit codes that mean "finished"
    #[arg(long, value_name = "CODES", num_args = 1..)]
    pub(in crate::cli) stop_exit_codes: Vec<String>,
    /// Withhold variables of this shell whose names contain one of these; `true`: all but the necessary
    #[arg(long, value_name = "WORDS")]
    pub(in crate::cli) filter_env: Option<String>,
    /// It is ready when it says so: process.send('ready'), READY=1
    #[arg(long)]
    pub(in crate::cli) wait_ready: bool,
    /// How long it may take to be ready
    #[arg(long, value_name = "TIME")]
    pub(in crate::cli) listen_timeout: Option<String>,
    /// How long it may take to end before SIGKILL
    #[arg(short, long, value_name = "TIME")]
    pub(in crate::cli) kill_timeout: Option<String>,
    /// Ask a Node program to end by the message `shutdown`
    #[arg(long)]
    pub(in crate::cli) shutdown_with_message: bool,
    /// The first signal of a stop
    #[arg(long, value_name = "SIGNAL")]
    pub(in crate::cli) stop_signal: Option<String>,
    /// Stop its main process only
    #[arg(long)]
    pub(in crate::cli) no_treekill: bool,
}
