//! Sockets that rsx opens for an app and hands to its programs, as sd_listen_fds(3) describes it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The first descriptor that is handed in; the next ones follow in the order of the list.
pub const FIRST_HANDED: u32 = 3;

/// More sockets than these are not handed in.
pub const MAX_HANDED: usize = 64;

/// The longest path of a unix socket in bytes: one more ends it (unix(7)).
pub const MAX_SOCKET_PATH: usize = 107;

/// How many connections wait at most, unless something else is said; net.core.somaxconn is a limit, too.
pub const USUAL_BACKLOG: u32 = 4096;

/// One socket of an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenSpec {
    /// Where it listens.
    pub address: ListenAddress,
    /// What it is called in LISTEN_FDNAMES, and in `{fd:NAME}`.
    pub name: String,
    /// How many connections wait at most.
    pub backlog: u32,
    /// The permissions of a unix socket's file; none: those that the program itself would have given it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
    /// The owner of that file, a name or a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Its group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// Where a socket listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ListenAddress {
    /// A TCP port.
    Tcp {
        /// Of this address.
        address: SocketAddr,
        /// Whether `[::]` leaves IPv4 to somebody else.
        v6_only: bool,
    },
    /// A file.
    Unix {
        /// Absolute.
        path: PathBuf,
    },
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Tcp { address, .. } => write!(f, "tcp://{address}"),
            ListenAddress::Unix { path } => write!(f, "unix://{}", path.display()),
        }
    }
}

impl ListenAddress {
    /// What a socket is called that has no name: its port, or its file.
    pub fn usual_name(&self) -> String {
        match self {
            ListenAddress::Tcp { address, .. } => address.port().to_string(),
            ListenAddress::Unix { path } => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                name.chars().map(|it| if is_name_character(it) { it } else { '_' }).collect()
            }
        }
    }

    fn problem(&self) -> Option<String> {
        match self {
            ListenAddress::Tcp { address, .. } if address.port() == 0 => Some("names no port".to_owned()),
            ListenAddress::Unix { path } if !path.is_absolute() || path.file_name().is_none() => {
                Some("is not the absolute path of a file".to_owned())
            }
            ListenAddress::Unix { path } => path_problem(path.as_os_str().len()),
            ListenAddress::Tcp { .. } => None,
        }
    }
}

/// Why a path of so many bytes cannot be a socket's, as a sentence fragment.
pub fn path_problem(length: usize) -> Option<String> {
    (length > MAX_SOCKET_PATH)
        .then(|| format!("is a path of {length} bytes, and that of a socket has {MAX_SOCKET_PATH} at most"))
}

/// Why a socket cannot be called this, as a sentence fragment.
pub fn fd_name_problem(name: &str) -> Option<&'static str> {
    if name.is_empty() || name.len() > 255 {
        Some("has no letter, or more than 255")
    } else if !name.chars().all(is_name_character) {
        Some("has something else than letters, digits and signs of ASCII, or one of `:{}`")
    } else {
        None
    }
}

/// LISTEN_FDNAMES is separated by colons, and `{fd:NAME}` ends with a brace.
fn is_name_character(character: char) -> bool {
    character.is_ascii_graphic() && !matches!(character, ':' | '{' | '}')
}

/// What is wrong with a list that did not come through a config file, as a sentence fragment.
pub(super) fn problem(all: &[ListenSpec]) -> Option<String> {
    if all.len() > MAX_HANDED {
        return Some(format!("its `listen` has more than {MAX_HANDED} sockets"));
    }
    for (at, socket) in all.iter().enumerate() {
        let ListenSpec { address, name, mode, .. } = socket;
        let why = address.problem().or_else(|| Some(format!("has a name that {}", fd_name_problem(name)?)));
        if let Some(why) = why {
            return Some(format!("`{address}` in its `listen` {why}"));
        }
        if mode.is_some_and(|mode| mode > 0o777) {
            return Some(format!("`{address}` in its `listen` has a mode above 0777"));
        }
        if all.iter().take(at).any(|other| other.address.is_same_place(address)) {
            return Some(format!("`{address}` is twice in its `listen`"));
        }
    }
    None
}

impl ListenAddress {
    /// Whether both cannot be open at the same time.
    pub fn is_same_place(&self, other: &ListenAddress) -> bool {
        match (self, other) {
            (ListenAddress::Tcp { address: a, .. }, ListenAddress::Tcp { address: b, .. }) => a == b,
            (ListenAddress::Unix { path: a }, ListenAddress::Unix { path: b }) => a == b,
            (ListenAddress::Tcp { .. }, ListenAddress::Unix { .. })
            | (ListenAddress::Unix { .. }, ListenAddress::Tcp { .. }) => false,
        }
    }
}

/// `[::]` takes IPv4, too, unless the same list has another socket for that.
pub fn divide(all: &mut [ListenSpec]) {
    let v4: Vec<u16> = all.iter().filter_map(|socket| port_of(socket, IpAddr::is_ipv4)).collect();
    for socket in all {
        if let ListenAddress::Tcp { address, v6_only } = &mut socket.address {
            *v6_only = address.is_ipv6() && v4.contains(&address.port());
        }
    }
}

fn port_of(socket: &ListenSpec, is_it: impl Fn(&IpAddr) -> bool) -> Option<u16> {
    match &socket.address {
        ListenAddress::Tcp { address, .. } if is_it(&address.ip()) => Some(address.port()),
        ListenAddress::Tcp { .. } | ListenAddress::Unix { .. } => None,
    }
}

/// Where a text names a descriptor that there is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoSuchFd {
    /// `{fd}`, and there are several.
    Which,
    /// `{fd:NAME}`, and none has this name.
    Unknown(String),
    /// `{fd:NAME}`, and several have it.
    Several(String),
}

/// The text with numbers in the place of `{fd}` and `{fd:NAME}`.
///
/// # Errors
///
/// It names one that there is not.
pub fn with_fds(text: &str, all: &[ListenSpec]) -> Result<String, NoSuchFd> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("{fd") {
        filled.push_str(before);
        let (number, next) = match (behind.strip_prefix('}'), behind.strip_prefix(':')) {
            (Some(next), _) => (only(all)?, next),
            (None, Some(named)) if named.contains('}') => {
                let (name, next) = named.split_once('}').unwrap_or((named, ""));
                (named_fd(name, all)?, next)
            }
            // Something else that begins so.
            (None, _) => {
                filled.push_str("{fd");
                rest = behind;
                continue;
            }
        };
        filled.push_str(&number.to_string());
        rest = next;
    }
    filled.push_str(rest);
    Ok(filled)
}

fn only(all: &[ListenSpec]) -> Result<u32, NoSuchFd> {
    if all.len() == 1 { Ok(FIRST_HANDED) } else { Err(NoSuchFd::Which) }
}

fn named_fd(name: &str, all: &[ListenSpec]) -> Result<u32, NoSuchFd> {
    let mut found = (FIRST_HANDED..).zip(all).filter(|(_, socket)| socket.name == name);
    match (found.next(), found.next()) {
        (Some((number, _)), None) => Ok(number),
        (Some(_), Some(_)) => Err(NoSuchFd::Several(name.to_owned())),
        (None, _) => Err(NoSuchFd::Unknown(name.to_owned())),
    }
}

#[cfg(test)]
impl ListenSpec {
    /// One at this address, with all defaults.
    pub(crate) fn sample(address: ListenAddress) -> ListenSpec {
        let name = address.usual_name();
        ListenSpec { address, name, backlog: USUAL_BACKLOG, mode: None, user: None, group: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(address: &str) -> ListenSpec {
        ListenSpec::sample(ListenAddress::Tcp { address: address.parse().unwrap(), v6_only: false })
    }

    fn unix(path: &str) -> ListenSpec {
        ListenSpec::sample(ListenAddress::Unix { path: path.into() })
    }

    #[test]
    fn numbers_stand_in_the_place_of_names() {
        let one = [tcp("0.0.0.0:3000")];
        let two = [tcp("0.0.0.0:3000"), ListenSpec { name: "admin".into(), ..unix("/run/a.sock") }];
        let twice = [tcp("127.0.0.1:3000"), tcp("[::1]:3000")];
        let table = [
            (&one[..], "fd://{fd}", Ok("fd://3")),
            (&one, "{fd:3000}{fd}", Ok("33")),
            (&two, "--http {fd:3000} --admin={fd:admin}", Ok("--http 3 --admin=4")),
            (&two, "{fdx} {fd", Ok("{fdx} {fd")),
            (&two, "{fd}", Err(NoSuchFd::Which)),
            (&two, "{fd:web}", Err(NoSuchFd::Unknown("web".into()))),
            (&twice, "{fd:3000}", Err(NoSuchFd::Several("3000".into()))),
        ];
        for (all, text, expected) in table {
            assert_eq!(with_fds(text, all), expected.map(str::to_owned), "{text}");
        }
        let open = with_fds("{fd:open", &two);
        assert_eq!(open.as_deref(), Ok("{fd:open"));
    }

    #[test]
    fn both_families_share_a_port_only_where_both_are_listed() {
        let mut all = [tcp("[::]:80"), tcp("0.0.0.0:80"), tcp("[::]:443")];
        divide(&mut all);
        let v6_only = |socket: &ListenSpec| matches!(socket.address, ListenAddress::Tcp { v6_only: true, .. });
        assert_eq!(all.each_ref().map(v6_only), [true, false, false]);
    }

    #[test]
    fn what_came_over_the_wire_is_looked_at() {
        let long = format!("/{}", "x".repeat(MAX_SOCKET_PATH));
        assert_eq!(problem(&[tcp("[::]:80"), unix("/run/a")]), None);
        for bad in [
            vec![tcp("0.0.0.0:0")],
            vec![unix("run/a")],
            vec![unix("/")],
            vec![unix(&long)],
            vec![ListenSpec { name: "a:b".into(), ..unix("/run/a") }],
            vec![ListenSpec { mode: Some(0o1777), ..unix("/run/a") }],
            vec![unix("/run/a"), unix("/run/a")],
            vec![tcp("0.0.0.0:80"); 65],
        ] {
            assert!(problem(&bad).is_some(), "{bad:?}");
        }
    }

    #[test]
    fn a_socket_without_a_name_is_called_by_its_port_or_its_file() {
        assert_eq!(tcp("[::]:80").name, "80");
        assert_eq!(unix("/run/my app:1.sock").name, "my_app_1.sock");
        for name in ["http", "web-1", "a.b@c", "3000"] {
            assert_eq!(fd_name_problem(name), None);
        }
        for name in ["", "a b", "a:b", "{x}", "ä", "\n"] {
            assert!(fd_name_problem(name).is_some(), "{name:?}");
        }
    }
}
