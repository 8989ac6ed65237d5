//! Words that PM2 users and REFERENCE know and that this version does not carry out: each is known, refused or noticed,
//! and names the replacement. Never accepted and ignored.

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::error::{ExitCode, Failure};

/// What becomes of a known word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Refused: it comes with a later version. The text names what does the job meanwhile.
    Later(&'static str),
    /// It has no counterpart; the text names what replaces it. A verb ends here, a flag goes on.
    Replaced(&'static str),
}

/// Verbs, aliases included.
const VERBS: &[(&[&str], Fate)] = &[
    (&["startup"], BOOT),
    (&["unstartup"], BOOT),
    (&["runtime"], NOTHING_YET),
    (&["completion"], Fate::Replaced("`rsx completions bash`, `zsh` or `fish` prints the script")),
    (&["install", "uninstall", "module:install", "module:update", "module:generate", "package", "publish"], MODULES),
    (&["install-otel", "uninstall-otel"], Fate::Replaced("start the app with the OpenTelemetry agent of its language")),
    (&["set", "get", "multiset", "unset", "conf", "config"], Fate::Replaced("settings live in `ecosystem.toml`")),
    (&["deploy"], Fate::Replaced("deploy with your own tool, then `rsx start ecosystem.toml`")),
    (&["link", "unlink", "plus", "login", "logout", "register", "open"], NO_SERVICE),
    (&["monitor", "unmonitor"], NO_SERVICE),
    (&["web"], Fate::Replaced("`rsx jlist` and `rsx events --json` serve what it served")),
    (
        &["logrotate"],
        Fate::Replaced("rsx rotates by itself (`rotate` in ecosystem.toml); no file of logrotate is needed"),
    ),
    (&["pull", "forward", "backward"], Fate::Replaced("use git, then `rsx restart`")),
    (&["create", "examples", "generate"], Fate::Replaced("`rsx init` writes an ecosystem.toml to start from")),
    (&["attach"], Fate::Replaced("`rsx logs` shows what it prints")),
    (&["trigger"], Fate::Replaced("send a signal or call an endpoint of the app")),
    (&["inspect", "profile:cpu", "profile:mem"], Fate::Replaced("use the profiler of the app's language")),
    (
        &["slist", "sysinfos"],
        Fate::Replaced("`rsx ls --json` tells about the apps, the tools of the system about the host"),
    ),
    (&["report"], Fate::Replaced("`rsx ls --json` and `daemon.log` in RSX_HOME")),
    (&["cleardump"], Fate::Replaced("`rsx delete all` forgets all apps")),
    (&["autoinstall"], Fate::Replaced("`rsx start` each service, or list them in ecosystem.toml")),
];

const NOTHING_YET: Fate = Fate::Later("`rsx --help` lists what is");
const BOOT: Fate = Fate::Later("a line `@reboot bash -lc \"rsx resurrect\"` in `crontab -e` starts them at boot");
const MODULES: Fate = Fate::Replaced("rsx has no modules: what they do is built in, or an app of its own");
const NO_SERVICE: Fate =
    Fate::Replaced("rsx is not connected to any service: `rsx ls --json` and `rsx events --json` feed yours");

/// A known flag of some verb.
struct Flag {
    long: &'static str,
    aliases: &'static [&'static str],
    short: Option<char>,
    takes_value: bool,
    fate: Fate,
}

const fn later(long: &'static str, short: Option<char>, takes_value: bool) -> Flag {
    Flag {
        long,
        aliases: &[],
        short,
        takes_value,
        fate: Fate::Later("leave it out; `--help` lists the flags that are"),
    }
}

const fn later_but(long: &'static str, takes_value: bool, meanwhile: &'static str) -> Flag {
    Flag { long, aliases: &[], short: None, takes_value, fate: Fate::Later(meanwhile) }
}

const fn replaced(long: &'static str, takes_value: bool, by: &'static str) -> Flag {
    Flag { long, aliases: &[], short: None, takes_value, fate: Fate::Replaced(by) }
}

const NO_AGENT: &str = "`agent = false` in the ecosystem file switches off what rsx loads into Node programs";
const IN_FILE: &str = "the mode of an app is changed in its file, or by `rsx delete` and a new start";
const NO_CONTAINER: &str = "run `rsx` inside the container";

const APP_FLAGS: &[Flag] = &[
    Flag { aliases: &["cron-restart"], ..later("cron", Some('c'), true) },
    later("watch", None, false),
    later("ignore-watch", None, true),
    later("watch-delay", None, true),
    Flag { aliases: &["uid"], ..later("user", Some('u'), true) },
    Flag { aliases: &["gid"], ..later("group", None, true) },
    later_but("ext", true, "it chooses among the files that are watched, and watching comes later"),
    replaced("no-pmx", false, NO_AGENT),
    replaced("pmx", false, NO_AGENT),
    replaced("no-automation", false, NO_AGENT),
    replaced("trace", false, NO_AGENT),
    replaced("disable-trace", false, NO_AGENT),
    replaced("deep-monitoring", false, NO_AGENT),
    replaced("v8", false, NO_AGENT),
    replaced("event-loop-inspector", false, NO_AGENT),
    replaced("no-vizion", false, "rsx does not read git repositories"),
    replaced("vizion", false, "rsx does not read git repositories"),
    replaced("source-map-support", false, "`--node-args --enable-source-maps` does this"),
    replaced("disable-source-map-support", false, "source maps are the app's own: nothing is switched on"),
    replaced("container", false, NO_CONTAINER),
    replaced("dist", false, NO_CONTAINER),
    replaced("image-name", true, NO_CONTAINER),
    replaced("node-version", true, "`--interpreter /path/to/node` chooses one"),
    Flag { short: Some('w'), ..replaced("write", false, "`rsx init` writes a file to start from") },
    replaced("fresh", false, NO_CONTAINER),
    replaced("wait-ip", false, "`rsx startup` will order its unit behind the network"),
    replaced("hp", true, "`HOME` of the shell is the app's"),
    replaced("service-name", true, "the unit will be named by `rsx startup`"),
];

/// Flags of `start` that `restart` and `reload` of PM2 take, too, without an effect.
const KEPT: &[Flag] = &[
    Flag { short: Some('i'), ..replaced("instances", true, "`rsx scale NAME N` changes the number of instances") },
    Flag { short: Some('x'), aliases: &["execute-command"], ..replaced("fork", false, IN_FILE) },
    replaced("cluster", false, IN_FILE),
    replaced("no-autostart", false, "it is in the list already"),
];

/// PM2 takes this one with every verb.
const NO_DAEMON: Flag = later_but(
    "no-daemon",
    false,
    "`rsx start … --attach` shows the logs of what it starts; `rsx runtime`, the foreground for containers, comes later",
);

/// Which verb knows which of these flags.
const FLAGS: &[(&str, &[Flag])] = &[
    ("start", APP_FLAGS),
    ("restart", APP_FLAGS),
    ("restart", KEPT),
    ("reload", APP_FLAGS),
    ("reload", KEPT),
    ("startOrRestart", APP_FLAGS),
    ("startOrReload", APP_FLAGS),
    ("stop", &[later("watch", None, false)]),
];

/// The command line with all known flags added, hidden from help.
pub(super) fn with_known_flags(command: Command) -> Command {
    let command = command.arg(NO_DAEMON.arg().global(true));
    FLAGS.iter().fold(command, |command, (verb, flags)| {
        command.mut_subcommand(verb, |sub| flags.iter().fold(sub, |sub, flag| sub.arg(flag.arg())))
    })
}

impl Flag {
    fn arg(&self) -> Arg {
        let arg = Arg::new(self.id()).long(self.long).aliases(self.aliases).hide(true);
        let arg = if self.takes_value {
            arg.action(ArgAction::Append).num_args(1).allow_hyphen_values(true)
        } else {
            arg.action(ArgAction::Count)
        };
        match self.short {
            Some(short) => arg.short(short),
            None => arg,
        }
    }

    fn id(&self) -> String {
        format!("known:{}", self.long)
    }
}

/// Refuses the command line if its verb is one of the known words. Looked at before clap, which would otherwise suggest
/// them for mistyped verbs that work.
pub(super) fn refuse_verb<'a>(args: impl Iterator<Item = &'a str>) -> Result<(), Failure> {
    // The flags in front of a verb take no values.
    let Some(verb) = args.skip(1).find(|word| !word.starts_with('-')) else { return Ok(()) };
    let fate = VERBS.iter().find(|(names, _)| names.contains(&verb)).map(|(_, fate)| *fate);
    match fate {
        None => Ok(()),
        Some(Fate::Later(meanwhile)) => {
            Err(Failure::new(ExitCode::Usage, format!("`rsx {verb}` is not in this version yet")).hint(meanwhile))
        }
        Some(Fate::Replaced(by)) => Err(Failure::new(ExitCode::Usage, format!("rsx has no verb `{verb}`")).hint(by)),
    }
}

/// Refuses flags that come later; returns one notice for each that has no counterpart.
pub(super) fn judge_flags(verb: &str, matches: &ArgMatches) -> Result<Vec<String>, Failure> {
    let mut notices = Vec::new();
    let flags = FLAGS.iter().filter(|(name, _)| *name == verb).flat_map(|(_, flags)| flags.iter());
    for flag in flags.chain([&NO_DAEMON]) {
        if matches.value_source(&flag.id()) != Some(ValueSource::CommandLine) {
            continue;
        }
        match flag.fate {
            Fate::Later(meanwhile) => {
                return Err(Failure::new(ExitCode::Usage, format!("`--{}` is not in this version yet", flag.long))
                    .hint(meanwhile));
            }
            Fate::Replaced(by) => notices.push(format!("`--{}` has no effect: {by}", flag.long)),
        }
    }
    Ok(notices)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::args::Cli;

    fn command() -> Command {
        with_known_flags(Cli::command())
    }

    #[test]
    fn no_known_word_collides_with_one_that_works() {
        command().debug_assert();
    }

    #[test]
    fn a_verb_of_pm2_is_refused_with_its_replacement() {
        let refuse = |line: &str| refuse_verb(line.split(' '));
        let failure = refuse("rsx --json deploy -x production").unwrap_err();
        assert_eq!(failure.code(), ExitCode::Usage);
        assert!(failure.hints()[0].contains("rsx start"), "{failure}");
        assert!(refuse("rsx runtime").unwrap_err().message().contains("not in this version yet"));
        assert!(refuse("rsx start monit").is_ok());
        assert!(refuse("rsx --help").is_ok());
    }

    #[test]
    fn no_verb_that_works_is_refused() {
        for verb in command().get_subcommands() {
            for name in verb.get_all_aliases().chain([verb.get_name()]) {
                assert!(refuse_verb(["rsx", name].into_iter()).is_ok(), "{name}");
            }
        }
    }

    #[test]
    fn a_flag_of_a_later_version_is_refused_and_one_without_counterpart_noticed() {
        let start = |args: &[&str]| {
            let matches = command().try_get_matches_from([&["rsx", "start", "app.js"], args].concat()).unwrap();
            judge_flags("start", matches.subcommand_matches("start").unwrap())
        };
        let no_daemon = start(&["--no-daemon"]).unwrap_err();
        assert!(no_daemon.hints()[0].contains("--attach") && no_daemon.hints()[0].contains("rsx runtime"));
        assert!(start(&["--watch"]).unwrap_err().message().contains("`--watch` is not in this version yet"));
        assert_eq!(start(&["-c", "* * * * *"]).unwrap_err().code(), ExitCode::Usage);
        let notices = start(&["--no-pmx", "--no-vizion"]).unwrap();
        assert_eq!(notices.len(), 2, "{notices:?}");
        assert!(start(&[]).unwrap().is_empty());
    }
}
