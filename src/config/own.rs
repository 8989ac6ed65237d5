//! `config.toml` in the home of a daemon: what it is told about itself. Apps are declared elsewhere.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use crate::config::Format;
use crate::config::check::{Checked, check};
use crate::config::keys::{Field, Kind};
use crate::config::node::{Key, Node, Table, Value};
use crate::config::problem::{Problem, Report, shown, similar};
use crate::config::program::absolute;
use crate::config::read::read;
use crate::spec::{ListenAddress, ListenSpec, socket_path_problem};

/// What a daemon is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnConfig {
    /// Where it serves metrics; none: nowhere.
    pub metrics: Option<Endpoint>,
}

/// Where metrics are served, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The socket.
    pub socket: ListenSpec,
    /// The names, beside addresses and those of this machine, by which it may be asked.
    pub hosts: Vec<String>,
}

/// Scrapes that wait to be accepted; there is no reason for many.
const BACKLOG: u32 = 16;

/// The permissions of a unix socket unless others are named.
const MODE: u32 = 0o600;

const ENDPOINT: &[Field] = &[
    Field { name: "address", kind: Kind::Text },
    Field { name: "remote", kind: Kind::Bool },
    Field { name: "hosts", kind: Kind::List },
    Field { name: "mode", kind: Kind::Mode },
];

const METRICS: Kind = Kind::OneOf(&[Kind::Bool, Kind::Text, Kind::Table(ENDPOINT)]);

const EXAMPLES: &str = "write `\"127.0.0.1:9615\"`, `\"unix:///run/rsx/metrics.sock\"`, or `false`";

/// Reads `config.toml`. `home` is what `~` stands for.
///
/// # Errors
///
/// A report with everything that is wrong.
pub fn own_config(text: &str, path: &Path, home: Option<&Path>) -> Result<OwnConfig, Report> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return Ok(OwnConfig::default());
    }
    let report = |problems| Report::new(path, text, problems);
    let root = read(text, Format::Toml).map_err(report)?;
    let mut problems = Vec::new();
    let mut own = OwnConfig::default();
    let base = path.parent().unwrap_or(Path::new("/"));
    for (key, node) in root.table().into_iter().flatten() {
        match (key.name.as_str(), &node.value) {
            ("daemon", Value::Table(table)) => own = daemon(table, (base, home), &mut problems),
            ("daemon", _) => {
                let problem = Problem::error(node.span, format!("`daemon` cannot be {}", node.kind()));
                problems.push(problem.label("not a table").help("it begins with `[daemon]` on a line of its own"));
            }
            ("apps" | "defaults", _) => {
                let problem = Problem::error(key.span, format!("`{}` has no place here", key.name)).label("no app");
                problems.push(problem.help("apps are declared in a file of their own: `rsx init` writes one"));
            }
            _ => problems.push(unknown(key, "daemon", "this file holds `[daemon]`")),
        }
    }
    if problems.is_empty() { Ok(own) } else { Err(report(problems)) }
}

fn daemon(table: &Table, of: (&Path, Option<&Path>), problems: &mut Vec<Problem>) -> OwnConfig {
    let mut own = OwnConfig::default();
    for (key, node) in table {
        match key.name.as_str() {
            "metrics" => match check(&METRICS, "metrics", node) {
                Ok(checked) => match endpoint(&checked, node, of) {
                    Ok(endpoint) => own.metrics = endpoint,
                    Err(problem) => problems.push(*problem),
                },
                Err(found) => problems.extend(found.into_iter().map(|problem| match problem.help {
                    Some(_) if problem.span == Some(node.span) => problem.help(EXAMPLES),
                    _ => problem,
                })),
            },
            _ => problems.push(unknown(key, "metrics", "`[daemon]` holds `metrics`")),
        }
    }
    own
}

fn unknown(key: &Key, known: &str, otherwise: &str) -> Problem {
    let help = match similar(&key.name, [known]) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => otherwise.to_owned(),
    };
    Problem::error(key.span, format!("unknown key `{}`", shown(&key.name))).label("unknown key").help(help)
}

fn endpoint(
    checked: &Checked,
    node: &Node,
    (base, home): (&Path, Option<&Path>),
) -> Result<Option<Endpoint>, Box<Problem>> {
    let wrong =
        |what: String, label: &str, help: &str| Box::new(Problem::error(node.span, what).label(label).help(help));
    let fields: &[(&str, Checked)] = match checked {
        Checked::Bool(false) => return Ok(None),
        Checked::Text(text) if text == "off" => return Ok(None),
        Checked::Text(text) => &[("address", Checked::Text(text.clone()))],
        Checked::Table(fields) => fields,
        _ => return Err(wrong("`metrics` does not say where".into(), "at which address?", EXAMPLES)),
    };
    let field = |name: &str| fields.iter().rev().find(|(field, _)| *field == name).map(|(_, value)| value);
    let Some(Checked::Text(written)) = field("address") else {
        let help = "write `{ address = \"127.0.0.1:9615\" }`";
        return Err(wrong("`metrics` has no `address`".into(), "at which address?", help));
    };
    let address = match address(written, base, home) {
        Some(address) => address,
        None => {
            let what = format!("`{}` is no address to listen on", shown(written));
            return Err(wrong(what, "neither an IP address with a port nor `unix://`", EXAMPLES));
        }
    };
    let is_remote = field("remote") == Some(&Checked::Bool(true));
    let mode = match field("mode") {
        Some(Checked::Mode(mode)) => Some(*mode),
        _ => None,
    };
    match &address {
        ListenAddress::Tcp { address: tcp, .. } => {
            if mode.is_some() {
                let what = format!("`mode` has no effect on `{tcp}`");
                return Err(wrong(what, "belongs to a file", "a TCP port has no mode; remove it"));
            }
            if !tcp.ip().is_loopback() && !is_remote {
                let what = format!("`{tcp}` would be open to other machines");
                let help = format!(
                    "there is no password: write `{{ address = \"{tcp}\", remote = true }}` if that is meant, or \
                     `\"127.0.0.1:{}\"`",
                    tcp.port()
                );
                return Err(wrong(what, "not an address of this machine alone", &help));
            }
        }
        ListenAddress::Unix { path } => {
            if let Some(why) = socket_path_problem(path.as_os_str().len()) {
                let what = format!("`{}` {why}", shown(&path.display().to_string()));
                return Err(wrong(what, "too long", "name a shorter one, such as `unix:///run/NAME.sock`"));
            }
        }
    }
    let mode = match address {
        ListenAddress::Tcp { .. } => None,
        ListenAddress::Unix { .. } => mode.or(Some(MODE)),
    };
    let hosts = match field("hosts") {
        Some(Checked::List(hosts)) => hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
        _ => Vec::new(),
    };
    let socket = ListenSpec { name: address.usual_name(), address, backlog: BACKLOG, mode, user: None, group: None };
    Ok(Some(Endpoint { socket, hosts }))
}

/// A port by itself is one of this machine alone.
fn address(text: &str, base: &Path, home: Option<&Path>) -> Option<ListenAddress> {
    if let Some(path) = text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:")) {
        let path = absolute(Some(path).filter(|path| !path.is_empty() && !path.ends_with('/'))?, base, home);
        return path.file_name().is_some().then_some(ListenAddress::Unix { path });
    }
    let text = text.strip_prefix("tcp://").unwrap_or(text);
    let port = text.strip_prefix("localhost:").unwrap_or(text).parse::<u16>();
    let address = match port {
        Ok(port) => SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        Err(_) => text.parse().ok()?,
    };
    (address.port() != 0).then_some(ListenAddress::Tcp { address, v6_only: false })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn read(text: &str) -> Result<OwnConfig, Report> {
        own_config(text, Path::new("/h/config.toml"), Some(Path::new("/home/u")))
    }

    /// Where it is served, how its file is protected, and which names are known.
    fn served(value: &str) -> Option<(String, Option<u32>, Vec<String>)> {
        let own = read(&format!("[daemon]\nmetrics = {value}\n")).unwrap_or_else(|report| panic!("{report:?}"));
        own.metrics.map(|it| (it.socket.address.to_string(), it.socket.mode, it.hosts))
    }

    #[test]
    fn addresses_are_read() {
        let tcp = |address: &str| Some((format!("tcp://{address}"), None, Vec::new()));
        assert_eq!(served("\"127.0.0.1:9615\""), tcp("127.0.0.1:9615"));
        assert_eq!(served("9615"), tcp("127.0.0.1:9615"));
        assert_eq!(served("\"localhost:9615\""), tcp("127.0.0.1:9615"));
        assert_eq!(served("\"tcp://[::1]:9615\""), tcp("[::1]:9615"));
        assert_eq!(served("\"unix:///run/m.sock\""), Some(("unix:///run/m.sock".into(), Some(0o600), Vec::new())));
        let path = PathBuf::from("/home/u/m.sock");
        assert_eq!(served("{ address = \"unix:~/m.sock\", mode = \"0660\" }").unwrap().1, Some(0o660));
        assert_eq!(
            address("unix:~/m.sock", Path::new("/h"), Some(Path::new("/home/u"))),
            Some(ListenAddress::Unix { path })
        );
        let remote = served("{ address = \"0.0.0.0:9615\", remote = true, hosts = [\"Shop-1\"] }").unwrap();
        assert_eq!((remote.0.as_str(), remote.2), ("tcp://0.0.0.0:9615", vec!["shop-1".to_owned()]));
        assert_eq!((served("false"), served("\"off\"")), (None, None));
        assert_eq!(read("").unwrap(), OwnConfig::default());
        assert_eq!(read("# nothing\n").unwrap(), OwnConfig::default());
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, words) in [
            ("[daemon]\nmetrics = \"0.0.0.0:9615\"", "open to other machines"),
            ("[daemon]\nmetrics = \"example.com:9615\"", "no address to listen on"),
            ("[daemon]\nmetrics = \"127.0.0.1:0\"", "no address to listen on"),
            ("[daemon]\nmetrics = \"unix://\"", "no address to listen on"),
            ("[daemon]\nmetrics = true", "does not say where"),
            ("[daemon]\nmetrics = { remote = true }", "has no `address`"),
            ("[daemon]\nmetrics = { address = \"127.0.0.1:1\", mode = \"0600\" }", "has no effect"),
            ("[daemon]\nmetrics = { adress = \"127.0.0.1:1\" }", "adress"),
            ("[daemon]\nmetric = 1", "unknown key `metric`"),
            ("[deamon]\nmetrics = 1", "unknown key `deamon`"),
            ("[[apps]]\nscript = \"a\"", "no place here"),
            ("daemon = 1", "cannot be a number"),
            ("[daemon", ""),
        ] {
            let report = read(text).expect_err(text);
            let first = report.problems().first().unwrap();
            assert!(first.message.contains(words), "{text}: {first:?}");
            assert!(first.help.is_some() || words.is_empty(), "{text}: {first:?}");
        }
    }
}
