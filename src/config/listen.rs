//! `listen = […]`: the sockets that rsx opens for an app, and what does not go with them.

use std::net::SocketAddr;
use std::path::Path;

use crate::config::check::Checked;
use crate::config::node::Span;
use crate::config::problem::{NOT_YET, Problem, shown};
use crate::config::program::absolute;
use crate::config::settings::Settings;
use crate::spec::{
    AppSpec, Balance, Capture, ExecMode, ListenAddress, ListenSpec, MAX_HANDED, NoSuchFd, Program, USUAL_BACKLOG,
    divide, fd_name_problem, socket_path_problem, with_fds,
};

/// Examples that can be copied.
const EXAMPLES: &str =
    "write `\"tcp://0.0.0.0:3000\"`, `\"tcp://[::]:3000\"` (IPv4, too) or `\"unix:///run/api.sock\"`";

/// What is declared, as far as nothing is wrong with it.
pub(super) fn read(
    settings: &Settings,
    base: &Path,
    home: Option<&Path>,
    problems: &mut Vec<Problem>,
) -> Vec<ListenSpec> {
    let mut all: Vec<(Span, ListenSpec)> = Vec::new();
    for (span, item) in settings.several("listen").unwrap_or_default() {
        match one(item, base, home) {
            Ok(socket) => match all.iter().find(|(_, other)| other.address.is_same_place(&socket.address)) {
                Some((first, _)) => {
                    let problem = Problem::error(*span, format!("`{}` is there twice", socket.address));
                    problems.push(problem.label("again here").also(*first, "first here").help("keep one of them"));
                }
                None => all.push((*span, socket)),
            },
            Err(Wrong { what, label, help }) => problems.push(Problem::error(*span, what).label(label).help(help)),
        }
    }
    if let Some((span, _)) = all.get(MAX_HANDED) {
        let problem = Problem::error(*span, format!("more than {MAX_HANDED} sockets")).label("one too many");
        problems.push(problem.help("several apps can have as many each"));
    }
    let mut all: Vec<ListenSpec> = all.into_iter().map(|(_, socket)| socket).collect();
    divide(&mut all);
    all
}

struct Wrong {
    what: String,
    label: &'static str,
    help: String,
}

impl Wrong {
    fn new(what: String, label: &'static str, help: impl Into<String>) -> Wrong {
        Wrong { what, label, help: help.into() }
    }
}

fn one(item: &Checked, base: &Path, home: Option<&Path>) -> Result<ListenSpec, Wrong> {
    let fields = match item {
        Checked::Text(text) => return Ok(usual(address(text, base, home)?)),
        Checked::Table(fields) => fields,
        _ => return Err(Wrong::new("a socket without an address".to_owned(), "where?", EXAMPLES)),
    };
    let field = |name: &str| fields.iter().rev().find(|(field, _)| *field == name).map(|(_, value)| value);
    let text = |name: &str| match field(name) {
        Some(Checked::Text(text)) => Some(text.clone()),
        Some(Checked::Integer(number)) => Some(number.to_string()),
        _ => None,
    };
    let Some(written) = text("address") else {
        let help = "write `{ address = \"unix:///run/api.sock\", mode = \"0660\" }`";
        return Err(Wrong::new("a socket without `address`".to_owned(), "where does it listen?", help));
    };
    let mut socket = usual(address(&written, base, home)?);
    if let Some(name) = text("name") {
        if let Some(why) = fd_name_problem(&name) {
            let help = "a name such as `http` is what LISTEN_FDNAMES and `{fd:NAME}` can hold";
            return Err(Wrong::new(format!("the name `{}` {why}", shown(&name)), "not a name", help));
        }
        socket.name = name;
    }
    if let Some(Checked::Integer(backlog)) = field("backlog") {
        socket.backlog = u32::try_from(*backlog).unwrap_or(USUAL_BACKLOG);
    }
    if let Some(Checked::Mode(mode)) = field("mode") {
        socket.mode = Some(*mode);
    }
    (socket.user, socket.group) = (text("user"), text("group"));
    let only = ["mode", "user", "group"].into_iter().find(|name| field(name).is_some());
    match (&socket.address, only) {
        (ListenAddress::Tcp { .. }, Some(name)) => Err(Wrong::new(
            format!("`{name}` has no effect on `{}`", socket.address),
            "belongs to a file",
            "a TCP port has neither owner nor mode; remove it",
        )),
        _ => Ok(socket),
    }
}

fn usual(address: ListenAddress) -> ListenSpec {
    let name = address.usual_name();
    ListenSpec { address, name, backlog: USUAL_BACKLOG, mode: None, user: None, group: None }
}

fn address(text: &str, base: &Path, home: Option<&Path>) -> Result<ListenAddress, Wrong> {
    let what = || format!("`{}` is no address to listen on", shown(text));
    let unix = text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:"));
    match (text.strip_prefix("tcp://"), unix) {
        (Some(address), _) => match address.parse::<SocketAddr>() {
            Ok(address) if address.port() == 0 => Err(Wrong::new(what(), "no port", "name the port from 1 to 65535")),
            Ok(address) => Ok(ListenAddress::Tcp { address, v6_only: false }),
            Err(_) if address.starts_with("localhost:") => {
                let help = "a name can mean several addresses: write `tcp://127.0.0.1:…` or `tcp://[::1]:…`";
                Err(Wrong::new(what(), "not an IP address", help))
            }
            Err(_) => Err(Wrong::new(what(), "not an IP address and a port", EXAMPLES)),
        },
        (None, Some(path)) if path.starts_with('@') => {
            Err(Wrong::new(format!("an abstract socket {NOT_YET}"), "cannot be used yet", "name a file"))
        }
        (None, Some(path)) => {
            let path = absolute(path, base, home);
            if path.file_name().is_none() || text.ends_with('/') {
                return Err(Wrong::new(what(), "not the path of a file", EXAMPLES));
            }
            match socket_path_problem(path.as_os_str().len()) {
                Some(why) => {
                    let what = format!("`{}` {why}", shown(&path.display().to_string()));
                    Err(Wrong::new(what, "too long", "name a shorter one, such as `unix:///run/NAME.sock`"))
                }
                None => Ok(ListenAddress::Unix { path }),
            }
        }
        (None, None) if text.starts_with("udp://") => {
            let what = format!("passing UDP sockets {NOT_YET}");
            Err(Wrong::new(what, "cannot be used yet", "let the program open it"))
        }
        (None, None) => Err(Wrong::new(what(), "neither `tcp://` nor `unix://`", EXAMPLES)),
    }
}

/// What an app with sockets makes of its other keys, and which of them do not go with these.
pub(super) fn complete(spec: &mut AppSpec, settings: &Settings, problems: &mut Vec<Problem>) {
    let Some(setting) = settings.get("listen").filter(|_| !spec.listen.is_empty()) else { return };
    if matches!(spec.program, Program::Serve { .. }) {
        let message = format!("`{}` has no effect on `rsx:serve`", setting.written);
        let problem = Problem::error(setting.span, message).label("opens its port itself");
        problems.push(problem.help("remove it; the port is its second argument"));
        return;
    }
    numbers(spec, settings, problems);
    if spec.exec_mode == ExecMode::Cluster {
        share(spec, settings, setting.span, problems);
    }
    let has_others = spec.exec_mode == ExecMode::Cluster || spec.instances > 1;
    if let (Some(health), Some(written), true) = (&spec.health, settings.get("health"), has_others)
        && health.check.is_by_port()
    {
        let message = format!("`{}` cannot ask one instance by a port where all have one queue", written.written);
        let problem = Problem::error(written.span, message).label("whoever accepts first would answer");
        problems.push(problem.also(setting.span, "the queue").help("use `exec`, or READY=1 and `wait_ready`"));
    }
}

/// `{fd}` in what is executed has to name one of them.
fn numbers(spec: &AppSpec, settings: &Settings, problems: &mut Vec<Problem>) {
    let (keys, texts): ([&str; 2], Vec<&String>) = match &spec.program {
        Program::Script { interpreter_args, args, .. } => {
            (["args", "interpreter_args"], args.iter().chain(interpreter_args).collect())
        }
        Program::Binary { args, .. } => (["args", "script"], args.iter().collect()),
        Program::CommandLine { line } => (["script", "args"], vec![line]),
        Program::Serve { .. } => return,
    };
    let wrong = texts.into_iter().find_map(|text| with_fds(text, &spec.listen).err());
    let Some(wrong) = wrong else { return };
    let setting = keys.iter().find_map(|key| settings.get(key));
    let names: Vec<String> = spec.listen.iter().map(|socket| format!("`{{fd:{}}}`", socket.name)).collect();
    let (message, label) = match wrong {
        NoSuchFd::Which => ("`{fd}` stands for one of several sockets".to_owned(), "which of them?"),
        NoSuchFd::Unknown(name) => (format!("no socket is called `{}`", shown(&name)), "which socket?"),
        NoSuchFd::Several(name) => (format!("several sockets are called `{}`", shown(&name)), "which of them?"),
    };
    let help = format!("write {}; `{{ address = …, name = … }}` in `listen` names one", names.join(" or "));
    problems.push(Problem::error(setting.map(|it| it.span), message).label(label).help(help));
}

/// All instances have one queue: there is nothing to steer, and the program is not looked into for it.
fn share(spec: &mut AppSpec, settings: &Settings, span: Span, problems: &mut Vec<Problem>) {
    let has_ports = matches!(&spec.cluster.capture, Capture::Ports(ports) if !ports.is_empty());
    if let (Some(setting), Capture::Auto) = (settings.get("capture"), &spec.cluster.capture) {
        let message = format!("`{}` cannot be `auto` beside sockets that are passed", setting.written);
        let problem = Problem::error(setting.span, message).label("which ports?").also(span, "these are passed");
        problems.push(problem.help("list the other ports that are to be shared (`capture = [9090]`), or remove it"));
    }
    if let (Some(setting), Capture::Ports(ports)) = (settings.get("capture"), &spec.cluster.capture) {
        let passed = spec.listen.iter().find_map(|socket| match &socket.address {
            ListenAddress::Tcp { address, .. } if ports.contains(&address.port()) => Some(address.port()),
            ListenAddress::Tcp { .. } | ListenAddress::Unix { .. } => None,
        });
        if let Some(port) = passed {
            let problem = Problem::error(setting.span, format!("port {port} is passed and captured"));
            problems.push(problem.label("one of both").also(span, "passed here").help("remove it from one of them"));
        }
    }
    if !has_ports {
        let unshared = settings.get("balance").filter(|_| spec.cluster.balance != Balance::Shared);
        for setting in unshared.into_iter().chain(settings.get("weights")) {
            let message = format!("`{}` has no effect on sockets that are passed", setting.written);
            let problem = Problem::error(setting.span, message).label("there is one queue for all");
            let help = "whoever accepts first has the connection (`balance = \"shared\"`): remove it, or let the \
                        program open its port itself (without `listen`)";
            problems.push(problem.also(span, "these are passed").help(help));
        }
        (spec.cluster.capture, spec.cluster.balance) = (Capture::Off, Balance::Shared);
    }
}
