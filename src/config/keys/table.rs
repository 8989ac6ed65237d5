//! The rows of the table.

use crate::config::keys::{Availability, Field, Group, KeySpec, Kind};

/// One row: doc, name, other names, kind, default, example, availability.
macro_rules! keys {
    ($( #[doc = $doc:literal] $name:ident $(| $alias:ident)* : $kind:expr, $default:literal, $example:literal, $availability:expr; )*) => {
        &[$( KeySpec {
            name: stringify!($name),
            aliases: &[$( stringify!($alias) ),*],
            kind: $kind,
            default: $default,
            example: $example,
            doc: $doc.trim_ascii(),
            availability: $availability,
        } ),*]
    };
}

macro_rules! fields {
    ($( $name:ident: $kind:expr ),* $(,)?) => { &[$( Field { name: stringify!($name), kind: $kind } ),*] };
}

const NOW: Availability = Availability::Now;

const fn later(feature: &'static str) -> Availability {
    Availability::Later { feature, unless: &[], hint: "" }
}

const fn later_unless(feature: &'static str, unless: &'static [&'static str]) -> Availability {
    Availability::Later { feature, unless, hint: "" }
}

const fn later_hint(feature: &'static str, hint: &'static str) -> Availability {
    Availability::Later { feature, unless: &[], hint }
}

const fn gone(instead: &'static str) -> Availability {
    Availability::NoCounterpart(instead)
}

const OFF: &[&str] = &["false"];
const SWITCH: Kind = Kind::Bool;
const COUNT: Kind = Kind::Integer { min: 0, max: 1_000_000_000 };
const PORT: Kind = Kind::Integer { min: 0, max: 65_535 };
const ID: Kind = Kind::OneOf(&[Kind::Integer { min: 0, max: 4_294_967_294 }, Kind::Text]);
const LIMIT: Kind = Kind::OneOf(&[Kind::Size, Kind::Words(&["unlimited"])]);

const HEALTH: &[Field] = fields! {
    http: Kind::Text, tcp: SWITCH, exec: Kind::Text, port: Kind::Integer { min: 1, max: 65_535 }, interval: Kind::Time, timeout: Kind::Time,
    fail: Kind::Integer { min: 1, max: 1000 }, pass: Kind::Integer { min: 1, max: 1000 }, start_period: Kind::Time,
};

const LISTEN: &[Field] = fields! {
    address: Kind::Text, name: Kind::Text, backlog: Kind::Integer { min: 1, max: 1_000_000 }, mode: Kind::Mode, user: ID, group: ID,
};
const SOCKET: Kind = Kind::OneOf(&[Kind::Text, Kind::Table(LISTEN)]);

const ROTATE: &[Field] = fields! {
    size: Kind::Size, keep: COUNT, total: Kind::Size, compress: Kind::OneOf(&[Kind::Words(&["gzip", "zstd"]), SWITCH]),
    every: Kind::Time,
};

const LIMITS: &[Field] = fields! {
    nofile: LIMIT, core: LIMIT, as: LIMIT, nproc: LIMIT, memlock: LIMIT, memory: LIMIT,
    cpu: Kind::OneOf(&[Kind::Percent, Kind::Text]),
};

const NEEDS: Kind = Kind::Words(&["started", "ready", "healthy", "exited-ok"]);
const WATCHING: &str = "watching files";
const METRICS_GONE: &str =
    "`agent` says whether rsx loads anything into Node programs; `rsx describe` shows what it sees";

/// All keys, by what they are about.
pub const GROUPS: &[Group] = &[
    Group {
        title: "What runs",
        keys: keys! {
            /// What is executed: a path, a program on PATH, or a command line.
            script | exec | cmd | command: Kind::Text, "required", r#""app.js""#, NOW;
            /// How targets, `rsx ls` and log files name it.
            name: Kind::Name, "the script's file stem", r#""api""#, NOW;
            /// The group it belongs to, itself a target.
            namespace: Kind::Name, "default", r#""default""#, NOW;
            /// Put before the name, with a colon between.
            name_prefix: Kind::Text, "none", r#""shop""#, NOW;
            /// Append the name given by `--env` to the app's name.
            append_env_to_name: SWITCH, "false", "false", NOW;
            /// Arguments: a list, or one text that is split as a shell does.
            args: Kind::List, "none", r#"["--verbose"]"#, NOW;
            /// The working directory.
            cwd: Kind::Path, "the folder of this file", r#"".""#, NOW;
            /// The program that runs the script; `none`: the script runs as it is.
            interpreter | exec_interpreter: Kind::Text, "by extension", r#""node""#, NOW;
            /// Arguments of the interpreter.
            interpreter_args | node_args: Kind::List, "none", r#"["--enable-source-maps"]"#, NOW;
            /// How many copies run; `max`: one a core, -1: one core less.
            instances: Kind::Instances, "1", "2", NOW;
            /// `fork`: copies that know nothing of each other; `cluster`: they share their ports.
            exec_mode: Kind::Words(&["fork", "cluster", "fork_mode", "cluster_mode"]), "cluster with `instances`, else fork", r#""fork""#, NOW;
            /// PM2's switch for fork mode.
            execute_command: SWITCH, "false", "false", NOW;
            /// Whether `rsx start` runs it, or only registers it.
            autostart: SWITCH, "true", "true", NOW;
        },
    },
    Group {
        title: "Environment",
        keys: keys! {
            /// Variables for the program; `env_NAME` tables are merged over them by `--env NAME`.
            env: Kind::Env, "none", r#"{ NODE_ENV = "production" }"#, NOW;
            /// Sets PORT, unless `env` does.
            port: PORT, "none", "3000", NOW;
            /// The variable that carries the index of the instance.
            instance_var: Kind::Variable, "NODE_APP_INSTANCE", r#""NODE_APP_INSTANCE""#, NOW;
            /// A variable that counts up from instance to instance, from its value in `env`, or 0.
            increment_var: Kind::Variable, "none", r#""PORT""#, NOW;
            /// Files with variables (`NAME=value` lines), read at every start; their values are never stored.
            env_file: Kind::List, "none", r#"".env""#, NOW;
            /// Withholds variables of the shell whose names contain one of these; `true`: all but the necessary.
            filter_env: Kind::OneOf(&[SWITCH, Kind::List]), "false", r#"["SECRET_"]"#, NOW;
        },
    },
    Group {
        title: "Restarts",
        keys: keys! {
            /// Whether a run that ended by itself is replaced.
            autorestart: SWITCH, "true", "true", NOW;
            /// Which ends are followed by a restart.
            restart: Kind::Words(&["always", "on-failure", "never"]), "always", r#""always""#, NOW;
            /// Exit codes that mean "finished": no restart.
            stop_exit_codes: Kind::ExitCodes, "none", "[0]", NOW;
            /// A shorter life counts as unstable.
            min_uptime: Kind::Time, "1s", r#""1s""#, NOW;
            /// So many unstable lives within ten minutes end in `errored`.
            max_restarts: COUNT, "16", "16", NOW;
            /// A fixed pause before each restart.
            restart_delay: Kind::Time, "see exp_backoff_restart_delay", r#""2s""#, NOW;
            /// The first restart at once, then this pause, growing by half each time, to 15 s at most.
            exp_backoff_restart_delay: Kind::Time, "100ms", r#""100ms""#, NOW;
            /// When an errored app is tried again; `off`: never.
            retry_after: Kind::OneOf(&[Kind::Words(&["off"]), SWITCH, Kind::Time]), "1m", r#""1m""#, NOW;
            /// Starts again at these times.
            cron_restart | cron: Kind::OneOf(&[SWITCH, Kind::Words(&["off", "0"]), Kind::Cron]), "off", r#""0 3 * * *""#, later_unless("`cron_restart`", &["0", "false", "off"]);
            /// A run whose tree takes more memory is replaced; `0`: never.
            max_memory_restart: Kind::Size, "none", r#""300M""#, NOW;
            /// Warn at this part of the limit.
            memory_warn: Kind::OneOf(&[Kind::Percent, Kind::Size]), "80%", r#""80%""#, NOW;
            /// Restart when files change.
            watch: Kind::OneOf(&[SWITCH, Kind::List]), "false", "true", later_unless(WATCHING, OFF);
            /// Files whose changes do not count.
            ignore_watch: Kind::List, "none", r#"["tmp"]"#, later(WATCHING);
            /// How long changes are collected.
            watch_delay: Kind::Time, "200ms", r#""1s""#, later(WATCHING);
            /// PM2's options of its file watcher.
            watch_options: Kind::Map(&Kind::Any), "none", "{ usePolling = false }", later(WATCHING);
        },
    },
    Group {
        title: "Start and stop",
        keys: keys! {
            /// How long a verb waits until the app is ready.
            listen_timeout: Kind::Time, "60s", r#""60s""#, NOW;
            /// How long a run may take to end before SIGKILL.
            kill_timeout: Kind::Time, "10s", r#""10s""#, NOW;
            /// The first signal; `auto`: SIGTERM, or SIGINT for a Node program that listens for SIGINT alone.
            stop_signal: Kind::OneOf(&[Kind::Words(&["auto"]), Kind::Signal]), "auto", r#""SIGINT""#, NOW;
            /// Whether the whole tree of processes is ended, or the main process only.
            treekill: SWITCH, "true", "true", NOW;
            /// Ready when the program says so: `process.send('ready')`, READY=1 of sd_notify; or its `health` passes.
            wait_ready: SWITCH, "false", "true", NOW;
            /// Ask a Node program by the message `shutdown` instead of a signal.
            shutdown_with_message: SWITCH, "false", "true", NOW;
            /// Start after these apps.
            depends_on: Kind::OneOf(&[Kind::Map(&NEEDS), Kind::List]), "none", r#"["db"]"#, later("start in order (`depends_on`)");
            /// Commands at events.
            on: Kind::Map(&Kind::Text), "none", r#"{ errored = "./alert.sh" }"#, later("a hook");
            /// A command before each start.
            pre_start: Kind::Text, "none", r#""./migrate.sh""#, later("a hook");
            /// A command after each stop.
            post_stop: Kind::Text, "none", r#""./clean.sh""#, later("a hook");
            /// The longest silence of a program that speaks sd_notify.
            watchdog: Kind::OneOf(&[SWITCH, Kind::Time]), "none", r#""30s""#, NOW;
            /// Is it well? By HTTP, TCP or a command; who fails gets no connections, then is restarted.
            health: Kind::OneOf(&[SWITCH, Kind::Table(HEALTH)]), "none", r#"{ http = "/health", interval = "10s" }"#, NOW;
        },
    },
    Group {
        title: "Cluster and reload",
        keys: keys! {
            /// Who gets a new connection: anyone, by `weights`, one per client, who has least to do; or one queue for all.
            balance: Kind::Words(&["random", "weighted", "source-ip", "least", "shared"]), "random; `weighted` with `weights`", r#""source-ip""#, NOW;
            /// The part of each instance under `balance = "weighted"`; those behind the last begin anew.
            weights: Kind::Integers { min: 1, max: 1000 }, "none", "[3, 1]", NOW;
            /// Which ports are shared: all but those of inspectors, a list, or none.
            capture: Kind::OneOf(&[Kind::Words(&["auto", "off"]), SWITCH, Kind::Integers { min: 1, max: 65_535 }]), "auto", "[3000]", NOW;
            /// Sockets that rsx opens and passes (LISTEN_FDS): they stay open over crashes, restarts and reloads.
            listen: Kind::Several(&SOCKET), "none", r#"["tcp://0.0.0.0:3000"]"#, NOW;
            /// A preload for Node: no request lost in a reload, no line at exit; a stand-in for `cluster`.
            agent: SWITCH, "on for Node", "true", NOW;
            /// How long the connections of a leaving instance may take.
            drain_timeout: Kind::Time, "10s", r#""10s""#, NOW;
            /// How many instances a reload replaces at a time.
            max_surge: Kind::OneOf(&[Kind::Integer { min: 1, max: 10_000 }, Kind::Percent]), "25%", r#""25%""#, NOW;
            /// `rolling`: in batches; `blue-green`: all new ones beside the old ones, then all at once.
            strategy: Kind::Words(&["rolling", "blue-green"]), "rolling", r#""blue-green""#, NOW;
            /// How long the first new instance of a reload has to hold before the old one goes; 0: not at all.
            bake: Kind::Time, "3s", r#""3s""#, NOW;
            /// The number of instances follows the load.
            autoscale: Kind::OneOf(&[SWITCH, Kind::Map(&Kind::Any)]), "off", "{ max = 8 }", later_unless("autoscaling", OFF);
        },
    },
    Group {
        title: "Rights and limits",
        keys: keys! {
            /// The user whose rights it has.
            user | uid: ID, "the daemon's", r#""www-data""#, later("another user");
            /// The group whose rights it has.
            group | gid: ID, "the user's", r#""www-data""#, later("another group");
            /// Its priority.
            nice: Kind::Integer { min: -20, max: 19 }, "0", "5", later_hint("`nice`", "start it through `nice -n 5 …`");
            /// Resource limits.
            limits: Kind::Table(LIMITS), "the daemon's", "{ nofile = 65536 }", later_hint("`limits`", "start it through `prlimit …`");
            /// The cores it may use.
            cpus: Kind::OneOf(&[Kind::Integers { min: 0, max: 8191 }, Kind::Text]), "all", r#""0-3""#, later_hint("`cpus`", "start it through `taskset …`");
            /// How readily the kernel ends it when memory is short.
            oom_score_adj: Kind::Integer { min: -1000, max: 1000 }, "0", "100", later_hint("`oom_score_adj`", "start it through `choom -n 100 -- …`");
        },
    },
    Group {
        title: "Output",
        keys: keys! {
            /// Where standard output goes; `/dev/null`: nowhere.
            out_file | out | output | out_log: Kind::Path, "logs/NAME-out.log in the home", r#""logs/api.log""#, NOW;
            /// Where standard error goes.
            error_file | error | err | err_file | err_log: Kind::Path, "logs/NAME-error.log in the home", r#""logs/api-error.log""#, NOW;
            /// All instances share one file.
            merge_logs | combine_logs: SWITCH, "false", "false", NOW;
            /// Keep no output.
            disable_logs: SWITCH, "false", "false", NOW;
            /// When log files are put away as archives, and how many archives stay; `false`: never.
            rotate: Kind::OneOf(&[SWITCH, Kind::Table(ROTATE)]), "{ size = \"10M\", keep = 10, total = \"1G\", compress = \"gzip\" }", r#"{ size = "10M", keep = 10 }"#, NOW;
            /// One more file for both streams; `true`: `logs/NAME.log` in the home.
            log_file | log: Kind::OneOf(&[SWITCH, Kind::Path]), "none", r#""logs/all.log""#, NOW;
            /// Who writes the log files: rsx, from pipes; or `file`: the program itself, see docs/LOG_DRIVERS.md.
            log_driver: Kind::Words(&["pipe", "file"]), "pipe", r#""file""#, NOW;
            /// Each line begins with the time, in ISO 8601 unless `log_date_format` is given.
            time: SWITCH, "false", "true", NOW;
            /// Each line begins with the time, in this form.
            log_date_format: Kind::Date, "none", r#""YYYY-MM-DD HH:mm:ss""#, NOW;
            /// `json`: each line becomes an object with time, app, instance, stream and message.
            log_type: Kind::Words(&["raw", "json"]), "raw", r#""json""#, NOW;
            /// What happens when the disk is slower than the program.
            log_full: Kind::Words(&["block", "drop"]), "block", r#""drop""#, later_unless("`log_full`", &["block"]);
            /// Holds the pid while the app runs; of several instances each has its own: `api-0.pid`.
            pid_file | pid: Kind::Path, "none", r#""api.pid""#, NOW;
        },
    },
    Group {
        title: "Keys of PM2 without a counterpart",
        keys: keys! {
            /// PM2's agent.
            pmx: Kind::Any, "none", "", gone(METRICS_GONE);
            /// PM2's agent.
            automation: Kind::Any, "none", "", gone(METRICS_GONE);
            /// PM2's tracing.
            trace: Kind::Any, "none", "", gone(METRICS_GONE);
            /// PM2's tracing.
            disable_trace: Kind::Any, "none", "", gone(METRICS_GONE);
            /// PM2's metrics.
            v8: Kind::Any, "none", "", gone(METRICS_GONE);
            /// PM2's metrics.
            event_loop_inspector: Kind::Any, "none", "", gone(METRICS_GONE);
            /// PM2's metrics.
            deep_monitoring: Kind::Any, "none", "", gone(METRICS_GONE);
            /// PM2's metrics.
            io: Kind::Any, "none", "", gone(METRICS_GONE);
            /// PM2's dashboard service.
            km_link: Kind::Any, "none", "", gone("there is no dashboard service to link to; `rsx ls` shows the apps");
            /// PM2's look at version control.
            vizion: Kind::Any, "none", "", gone("version control is not looked at; `rsx ls` shows the version in package.json");
            /// PM2's commands after a pull.
            post_update: Kind::Any, "none", "", gone("run these commands before `rsx restart FILE`");
            /// PM2's switch for source maps.
            source_map_support: Kind::Any, "none", "", gone("`node_args = \"--enable-source-maps\"` does it");
            /// PM2's switch for source maps.
            disable_source_map_support: Kind::Any, "none", "", gone("source maps are off unless `node_args` asks for them");
            /// A window on another system.
            windows_hide: Kind::Any, "none", "", gone("rsx runs on Linux, where no window opens");
            /// A name for display.
            username: Kind::Any, "none", "", gone("`rsx ls` shows the user whose rights the app has");
            /// PM2's permission for two apps of one name.
            force: Kind::Any, "none", "", gone("`rsx start --force` takes over a name");
            /// PM2's polling interval.
            kill_retry_time: Kind::Any, "none", "", gone("the end of a process is notified, not polled");
            /// Internal to PM2.
            write: Kind::Any, "none", "", gone("the wanted state is kept on every change");
            /// Internal to PM2.
            install_url: Kind::Any, "none", "", gone("it belongs to PM2's modules, which rsx does not have");
        },
    },
];
