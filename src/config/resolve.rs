//! From the settings of one app to its [`AppSpec`]: defaults filled in, paths made absolute, contradictions found.

use std::path::Path;
use std::time::Duration;

use crate::config::check::{self, Checked, Count};
use crate::config::health;
use crate::config::listen;
use crate::config::node::Span;
use crate::config::problem::{NOT_YET, Problem, shown};
use crate::config::program::{Found, Places, absolute, program, warn_unused};
use crate::config::settings::{Author, Settings};
use crate::config::{Options, Probe};
use crate::spec::{
    Agent, AppSpec, Balance, Capture, ClusterSpec, Compression, DEFAULT_NAMESPACE, Env, ExecMode, FilterEnv, LogDriver,
    LogForm, LogSpec, LogStyle, LogTarget, MemorySpec, Origin, RestartDelay, RestartPolicy, RestartSpec, Rotation,
    SHORTEST_WATCHDOG, Signal, StopSpec, Strategy, Surge, Warn,
};

/// The least size at which a log file is put away.
const LEAST_LOG: u64 = 4096;

/// What the apps of one source have in common.
pub(crate) struct Source<'a> {
    /// Who wrote the keys.
    pub(crate) author: Author,
    /// What relative paths are relative to, absolute.
    pub(crate) base: &'a Path,
    /// The file that owns the apps; none: the folder of the script does.
    pub(crate) file: Option<&'a Path>,
    pub(crate) options: &'a Options,
    pub(crate) probe: &'a dyn Probe,
}

/// An app and the place that is cited when its name is in the way.
pub(crate) struct Resolved {
    pub(crate) spec: AppSpec,
    pub(crate) span: Span,
}

/// Builds the app. `head` is cited where something is missing; `key` is its name where the file is a table of apps.
pub(crate) fn app(
    settings: &Settings,
    head: Span,
    key: Option<&str>,
    source: &Source<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Resolved> {
    let home = source.options.home_dir.as_deref();
    let written_cwd = settings.text("cwd").map(|text| absolute(text, source.base, home));
    if let (Some(cwd), Some(setting)) = (&written_cwd, settings.get("cwd"))
        && !source.probe.is_folder(cwd)
    {
        let message = format!("there is no folder `{}`", shown(&cwd.display().to_string()));
        problems.push(
            Problem::warning(setting.span, message).label("not found").help("starting it will fail until it is there"),
        );
    }
    let chosen = source.options.env_name.as_deref().or_else(|| remembered(settings, key, source.options));
    let (env, env_name) = environment(settings, chosen);
    if settings.get("script").is_none() {
        if !settings.has_failed("script") {
            let problem = Problem::error(head, "an app without `script`").label("what shall it run?");
            problems.push(problem.help("add `script = \"…\"`: a path, a program on PATH, or a command line"));
        }
        return None;
    }
    let env_for_count = env.clone();
    let path = env.get("PATH").map(String::as_str);
    let places = Places { base: source.base, cwd: written_cwd.as_deref(), home, path };
    let found = program(settings, &places, source.probe, source.author, problems)?;
    let (name, span) = name(settings, &found, key, source, problems)?;
    let restart = restart(settings, problems);
    if settings.bool("disable_logs") == Some(true) {
        warn_unused(
            settings,
            &["out_file", "error_file", "log_file", "merge_logs", "time", "log_date_format", "log_type", "log_driver"],
            "`disable_logs` keeps no output",
            problems,
        );
    }
    let log = |key: &str| log_target(settings, key, source.base, home);
    let mut spec = AppSpec {
        name,
        namespace: settings.text("namespace").unwrap_or(DEFAULT_NAMESPACE).to_owned(),
        origin: origin(source, &found),
        program: found.program,
        cwd: written_cwd.unwrap_or_else(|| source.base.to_owned()),
        env,
        env_name,
        env_files: settings
            .list("env_file")
            .unwrap_or_default()
            .iter()
            .map(|f| absolute(f, source.base, home))
            .collect(),
        filter_env: match (settings.bool("filter_env"), settings.list("filter_env")) {
            (Some(true), _) => FilterEnv::All,
            (_, Some(parts)) => FilterEnv::Containing(parts.to_vec()),
            (Some(false) | None, None) => FilterEnv::None,
        },
        increment_var: increment_var(settings, &env_for_count, problems),
        instances: instances(settings, source.options.cores),
        exec_mode: exec_mode(settings),
        cluster: cluster(settings, problems),
        instance_var: settings.text("instance_var").unwrap_or("NODE_APP_INSTANCE").to_owned(),
        autostart: settings.bool("autostart").unwrap_or(true),
        restart,
        stop: StopSpec {
            signal: settings.signal("stop_signal").unwrap_or(Signal::TERM),
            auto: settings.signal("stop_signal").is_none(),
            message: settings.bool("shutdown_with_message").unwrap_or(false),
            kill_timeout: settings.time("kill_timeout").unwrap_or(Duration::from_secs(10)),
            treekill: settings.bool("treekill").unwrap_or(true),
        },
        memory: memory(settings, problems),
        watchdog: watchdog(settings, problems),
        listen_timeout: settings.time("listen_timeout").unwrap_or(Duration::from_secs(60)),
        wait_ready: settings.bool("wait_ready").unwrap_or(false),
        listen: listen::read(settings, source.base, home, problems),
        agent: match settings.bool("agent") {
            None => Agent::Auto,
            Some(true) => Agent::On,
            Some(false) => Agent::Off,
        },
        logs: LogSpec {
            out: log("out_file"),
            error: log("error_file"),
            merge: settings.bool("merge_logs").unwrap_or(false),
            combined: combined_log(settings, source.base, home),
            style: LogStyle {
                form: log_form(settings),
                driver: log_driver(settings, problems),
                rotate: rotation(settings, problems),
            },
        },
        pid_file: settings.text("pid_file").map(|text| absolute(text, source.base, home)),
        health: health::read(settings, problems),
    };
    listen::complete(&mut spec, settings, problems);
    Some(Resolved { spec, span })
}

/// The counting variable; what is declared for it must be a number.
fn increment_var(settings: &Settings, env: &Env, problems: &mut Vec<Problem>) -> Option<String> {
    let setting = settings.get("increment_var")?;
    let name = settings.text("increment_var")?;
    if let Some(first) = env.get(name).filter(|value| value.parse::<u32>().is_err()) {
        let message = format!("`{name}` counts up, but `{}` is not a number", shown(first));
        problems.push(Problem::error(setting.span, message).label("counts up from it"));
        return None;
    }
    Some(name.to_owned())
}

/// The environment that this app was started with before.
fn remembered<'a>(settings: &Settings, key: Option<&str>, options: &'a Options) -> Option<&'a str> {
    let stem = || Path::new(settings.text("script")?).file_stem()?.to_str();
    let name = settings.text("name").or(key).or_else(stem)?;
    options.remembered.get(name).map(String::as_str)
}

fn environment(settings: &Settings, chosen: Option<&str>) -> (Env, Option<String>) {
    let mut env = Env::new();
    let named = chosen.and_then(|name| settings.named_env(name));
    for (name, value) in settings.env("env").iter().chain(named.unwrap_or_default()) {
        match value {
            Some(value) => drop(env.insert(name.clone(), value.clone())),
            None => drop(env.remove(name)),
        }
    }
    if let Some(port) = settings.integer("port") {
        env.entry("PORT".into()).or_insert_with(|| port.to_string());
    }
    (env, named.and(chosen).map(str::to_owned))
}

fn name(
    settings: &Settings,
    found: &Found,
    key: Option<&str>,
    source: &Source<'_>,
    problems: &mut Vec<Problem>,
) -> Option<(String, Span)> {
    if settings.has_failed("name") {
        return None;
    }
    let setting = settings.get("name").or_else(|| settings.get("script"))?;
    let mut name = settings.text("name").or(key).unwrap_or(&found.stem).to_owned();
    if let Some(prefix) = settings.text("name_prefix") {
        name = format!("{prefix}:{name}");
    }
    if settings.bool("append_env_to_name") == Some(true)
        && let Some(env) = &source.options.env_name
    {
        name = format!("{name}-{env}");
    }
    match check::name(&name) {
        Ok(name) => Some((name, setting.span)),
        Err(reason) => {
            let message = format!("the app cannot be named `{}`", shown(&name));
            let help = match source.author {
                Author::Flags => "give it another one: `--name NAME`",
                Author::Toml | Author::Shared => "give it another one with the key `name`",
            };
            problems.push(Problem::error(setting.span, message).label(reason).help(help));
            None
        }
    }
}

fn origin(source: &Source<'_>, found: &Found) -> Origin {
    match (source.file, &found.folder) {
        (Some(file), _) => Origin::File(file.to_owned()),
        (None, Some(folder)) => Origin::Folder(folder.clone()),
        (None, None) => Origin::Folder(source.base.to_owned()),
    }
}

fn instances(settings: &Settings, cores: u16) -> u16 {
    match settings.count("instances") {
        None => 1,
        Some(Count::Exactly(count)) => count,
        Some(Count::Cores { spared }) => cores.saturating_sub(spared).max(1),
    }
}

/// Several instances mean cluster mode, unless they say otherwise.
fn exec_mode(settings: &Settings) -> ExecMode {
    let is_fork = settings.bool("execute_command") == Some(true);
    match settings.text("exec_mode") {
        Some("cluster" | "cluster_mode") => ExecMode::Cluster,
        Some(_) => ExecMode::Fork,
        None if settings.get("instances").is_some() && !is_fork => ExecMode::Cluster,
        None => ExecMode::Fork,
    }
}

fn cluster(settings: &Settings, problems: &mut Vec<Problem>) -> ClusterSpec {
    let usual = ClusterSpec::default();
    let small = |number: i64| u16::try_from(number).unwrap_or(u16::MAX);
    let max_surge = match (settings.integer("max_surge"), settings.percent("max_surge")) {
        (Some(count), _) => Surge::Count(small(count)),
        (None, Some(percent)) => Surge::Percent(percent),
        (None, None) => usual.max_surge,
    };
    ClusterSpec {
        capture: capture(settings),
        balance: balance(settings, problems),
        weights: settings.integers("weights").unwrap_or_default().iter().copied().map(small).collect(),
        max_surge,
        drain_timeout: settings.time("drain_timeout").unwrap_or(usual.drain_timeout),
        strategy: match settings.text("strategy") {
            Some("blue-green") => Strategy::BlueGreen,
            Some(_) | None => Strategy::Rolling,
        },
        bake: settings.time("bake").unwrap_or(usual.bake),
    }
}

fn balance(settings: &Settings, problems: &mut Vec<Problem>) -> Balance {
    let balance = match settings.text("balance") {
        Some("weighted") => Balance::Weighted,
        Some("source-ip") => Balance::SourceIp,
        Some("least") => Balance::Least,
        Some("shared") => Balance::Shared,
        None if settings.get("weights").is_some() => Balance::Weighted,
        Some(_) | None => Balance::Random,
    };
    match (balance, settings.get("balance"), settings.get("weights")) {
        (Balance::Weighted, Some(setting), None) if !settings.has_failed("weights") => {
            let problem = Problem::error(setting.span, "`weighted` without `weights`").label("by which weights?");
            problems.push(problem.help("add `weights = [3, 1]`: the part of each instance"));
        }
        (Balance::Random | Balance::SourceIp | Balance::Least | Balance::Shared, _, Some(setting)) => {
            let message = format!("`{}` has no effect here", setting.written);
            let problem = Problem::warning(setting.span, message).label("not used");
            problems.push(problem.help("weights count under `balance = \"weighted\"`"));
        }
        (_, _, _) => {}
    }
    balance
}

fn capture(settings: &Settings) -> Capture {
    if settings.text("capture") == Some("off") || settings.bool("capture") == Some(false) {
        return Capture::Off;
    }
    match settings.integers("capture") {
        Some([]) => Capture::Off,
        Some(ports) => Capture::Ports(ports.iter().filter_map(|port| u16::try_from(*port).ok()).collect()),
        None => Capture::Auto,
    }
}

fn restart(settings: &Settings, problems: &mut Vec<Problem>) -> RestartSpec {
    let policy = match settings.text("restart") {
        Some("never") => RestartPolicy::Never,
        Some("on-failure") => RestartPolicy::OnFailure,
        _ if settings.bool("autorestart") == Some(false) => RestartPolicy::Never,
        _ => RestartPolicy::Always,
    };
    if let (Some(false), Some(auto), Some(setting), Some(word @ ("always" | "on-failure"))) =
        (settings.bool("autorestart"), settings.get("autorestart"), settings.get("restart"), settings.text("restart"))
    {
        let message = format!("`{}` is false, but `{}` is `{word}`", auto.written, setting.written);
        let problem = Problem::error(setting.span, message).label("restarts it").also(auto.span, "does not restart it");
        problems.push(problem.help("keep one of them"));
    }
    let fixed = settings.time("restart_delay");
    let growing = settings.time("exp_backoff_restart_delay");
    let delay = match (growing, fixed) {
        (Some(first), _) if !first.is_zero() => RestartDelay::Backoff { first },
        (Some(_), fixed) => RestartDelay::Fixed { pause: fixed.unwrap_or_default() },
        (None, Some(pause)) => RestartDelay::Fixed { pause },
        (None, None) => RestartDelay::Backoff { first: Duration::from_millis(100) },
    };
    if let (RestartDelay::Backoff { .. }, Some(pause), Some(setting)) = (delay, fixed, settings.get("restart_delay"))
        && !pause.is_zero()
    {
        let problem = Problem::warning(setting.span, format!("`{}` has no effect here", setting.written));
        problems.push(problem.label("not used").help("a growing delay is configured; keep one of the two"));
    }
    let retry_after = match settings.time("retry_after") {
        Some(pause) => Some(pause),
        None if settings.text("retry_after").is_some() || settings.bool("retry_after") == Some(false) => None,
        None => Some(Duration::from_secs(60)),
    };
    if let (Some(Duration::ZERO), Some(setting)) = (retry_after, settings.get("retry_after")) {
        let problem = Problem::error(setting.span, format!("`{}` cannot be 0", setting.written));
        problems.push(problem.label("would never give up").help("`off` never tries again, `1m` waits a minute"));
    }
    let max_restarts = settings.integer("max_restarts").and_then(|count| u32::try_from(count).ok());
    RestartSpec {
        policy,
        stop_exit_codes: settings.codes("stop_exit_codes").unwrap_or_default().to_vec(),
        min_uptime: settings.time("min_uptime").unwrap_or(Duration::from_secs(1)),
        max_restarts: max_restarts.unwrap_or(16),
        delay,
        retry_after,
    }
}

/// How long a program may say nothing that promises to speak.
fn watchdog(settings: &Settings, problems: &mut Vec<Problem>) -> Option<Duration> {
    let setting = settings.get("watchdog")?;
    let limit = settings.time("watchdog").filter(|limit| !limit.is_zero());
    let (message, label) = match (settings.bool("watchdog"), limit) {
        (Some(true), _) => (format!("`{}` is true", setting.written), "after how much silence?"),
        (_, Some(limit)) if limit < SHORTEST_WATCHDOG => {
            let shortest = SHORTEST_WATCHDOG.as_millis();
            (format!("`{}` is shorter than {shortest} ms", setting.written), "too short")
        }
        (_, limit) => return limit,
    };
    let help = "`30s` ends a program that has not said `WATCHDOG=1` for so long";
    problems.push(Problem::error(setting.span, message).label(label).help(help));
    None
}

fn memory(settings: &Settings, problems: &mut Vec<Problem>) -> MemorySpec {
    let usual = MemorySpec::default();
    let limit = settings.size("max_memory_restart").filter(|bytes| *bytes > 0);
    let warn = match (settings.percent("memory_warn"), settings.size("memory_warn")) {
        (Some(percent), _) => Warn::Percent(percent),
        (None, Some(bytes)) => Warn::Bytes(bytes),
        (None, None) => usual.warn,
    };
    if let (Warn::Percent(_), None, Some(setting)) = (warn, limit, settings.get("memory_warn")) {
        let message = format!("`{}` is a part of a limit that there is not", setting.written);
        let problem = Problem::warning(setting.span, message).label("not used");
        problems.push(problem.help("set `max_memory_restart`, or warn at a size such as `300M`"));
    }
    MemorySpec { limit, warn }
}

fn log_target(settings: &Settings, key: &str, base: &Path, home: Option<&Path>) -> LogTarget {
    if settings.bool("disable_logs") == Some(true) {
        return LogTarget::Null;
    }
    match settings.text(key) {
        None => LogTarget::Default,
        // PM2 takes these words for "nowhere".
        Some("/dev/null" | "NULL" | "null") => LogTarget::Null,
        Some(text) => LogTarget::Path(absolute(text, base, home)),
    }
}

/// The file of both streams; none unless it is asked for.
fn combined_log(settings: &Settings, base: &Path, home: Option<&Path>) -> LogTarget {
    match settings.bool("log_file") {
        Some(true) if settings.bool("disable_logs") != Some(true) => LogTarget::Default,
        None if settings.text("log_file").is_some() => log_target(settings, "log_file", base, home),
        Some(_) | None => LogTarget::Null,
    }
}

/// Who writes the files. What needs somebody between program and file cannot be done where nobody is.
fn log_driver(settings: &Settings, problems: &mut Vec<Problem>) -> LogDriver {
    if settings.text("log_driver") != Some("file") {
        return LogDriver::Pipe;
    }
    let is_wanted = |key: &str| match key {
        "log_type" => settings.text(key) == Some("json"),
        // A slow disk blocks the program anyway.
        "log_full" => settings.text(key) == Some("drop"),
        _ => settings.bool(key) != Some(false),
    };
    for key in ["log_file", "time", "log_date_format", "log_type", "log_full"] {
        let Some(setting) = settings.get(key).filter(|_| is_wanted(key)) else { continue };
        let message = format!("`{}` cannot be done with `log_driver = \"file\"`", setting.written);
        let problem = Problem::error(setting.span, message).label("nothing passes through rsx there");
        problems.push(problem.help("remove it, or let rsx write the files: `log_driver = \"pipe\"`"));
    }
    if let Some(setting) = settings.get("log_driver").filter(|_| settings.bool("rotate") != Some(false)) {
        let problem = Problem::error(setting.span, format!("`log_driver = \"file\"` with rotation {NOT_YET}"));
        problems.push(problem.label("its files would be rotated").help("add `rotate = false`"));
    }
    LogDriver::File
}

fn log_form(settings: &Settings) -> LogForm {
    let date = settings.date("log_date_format").cloned();
    match settings.text("log_type") {
        Some("json") => LogForm::Json { date },
        _ if date.is_some() || settings.bool("time") == Some(true) => LogForm::Stamped { date },
        _ => LogForm::Raw,
    }
}

/// The usual rotation, with what was written in the place of its parts.
fn rotation(settings: &Settings, problems: &mut Vec<Problem>) -> Option<Rotation> {
    let mut rotation = Rotation::default();
    if settings.bool("rotate") == Some(false) {
        return None;
    }
    let Some(setting) = settings.get("rotate") else { return Some(rotation) };
    let mut wrong = |message: &str, help: &str| {
        problems.push(Problem::error(setting.span, message).label("in here").help(help));
    };
    for (name, value) in settings.table("rotate").unwrap_or_default() {
        match (*name, value) {
            ("size", Checked::Size(size @ 0..LEAST_LOG)) => {
                wrong(&format!("`rotate.size` cannot be {size} bytes"), "4K is the least");
            }
            ("size", Checked::Size(size)) => rotation.size = Some(*size),
            ("every", Checked::Time(every)) if *every < Duration::from_secs(1) => {
                wrong("`rotate.every` cannot be less than a second", "`1d` is a day");
            }
            ("every", Checked::Time(every)) => rotation.every = Some(*every),
            ("keep", Checked::Integer(keep)) => rotation.keep = u32::try_from(*keep).unwrap_or(u32::MAX),
            ("total", Checked::Size(total)) => rotation.total = Some(*total),
            ("compress", Checked::Bool(false)) => rotation.compress = Compression::None,
            ("compress", Checked::Text(word)) if word == "zstd" => rotation.compress = Compression::Zstd,
            _ => {}
        }
    }
    Some(rotation)
}
