//! Why an app cannot have a socket, in the words of its owner.

use std::io;

use crate::daemon::launch::reason;
use crate::spec::ListenAddress;
use crate::sys::handed::{OpenError, Step};

/// Why an app cannot have a socket; a sentence fragment for the user, with what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("listen {address}: {}", why(address, kind))]
pub(in crate::daemon) struct NoSocket {
    pub(super) address: ListenAddress,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// Another app has it.
    Of(String),
    Open(OpenError),
    Copy(io::Error),
}

impl NoSocket {
    pub(in crate::daemon) fn is_transient(&self) -> bool {
        let source = match &self.kind {
            Kind::Of(_) => return false,
            Kind::Open(OpenError::Call { source, .. } | OpenError::Folder { source, .. }) | Kind::Copy(source) => {
                source
            }
            Kind::Open(OpenError::Taken | OpenError::NotASocket | OpenError::NoUser(_) | OpenError::NoGroup(_)) => {
                return false;
            }
        };
        matches!(source.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS))
    }
}

fn why(address: &ListenAddress, kind: &Kind) -> String {
    let place = match address {
        ListenAddress::Tcp { address, .. } => format!("sport = :{}", address.port()),
        ListenAddress::Unix { path } => format!("src {}", path.display()),
    };
    let (step, source) = match kind {
        Kind::Of(app) => return format!("it is passed to the app `{app}`, which has to be stopped first"),
        Kind::Copy(source) => return reason(source),
        Kind::Open(OpenError::Taken) => {
            let flags = if matches!(address, ListenAddress::Tcp { .. }) { "-ltnp" } else { "-lxp" };
            return format!("somebody else listens there (`ss {flags} '{place}'` shows who)");
        }
        Kind::Open(OpenError::NotASocket) => {
            return "there is a file that is not a socket: remove it, or name another path".to_owned();
        }
        Kind::Open(OpenError::NoUser(name)) => {
            return format!("there is no user `{name}` (`getent passwd` lists them)");
        }
        Kind::Open(OpenError::NoGroup(name)) => {
            return format!("there is no group `{name}` (`getent group` lists them)");
        }
        Kind::Open(OpenError::Folder { path, source }) => {
            return format!("the folder {} cannot be made: {}", path.display(), reason(source));
        }
        Kind::Open(OpenError::Call { step, source }) => (*step, source),
    };
    let hint = match (address, step, source.raw_os_error()) {
        (ListenAddress::Tcp { .. }, Step::Bind, Some(libc::EACCES)) => {
            " (`sysctl net.ipv4.ip_unprivileged_port_start` says from which port on every user may; root may for all)"
        }
        (ListenAddress::Tcp { .. }, Step::Bind, Some(libc::EADDRNOTAVAIL)) => {
            " (`ip address` lists the addresses of this machine)"
        }
        (ListenAddress::Tcp { .. }, Step::Make, Some(libc::EAFNOSUPPORT)) => " (this machine has no IPv6)",
        (ListenAddress::Unix { .. }, Step::Bind, Some(libc::EACCES | libc::EPERM | libc::EROFS)) => {
            " (its folder has to be writable for the user of the daemon)"
        }
        (ListenAddress::Unix { .. }, Step::Owner, Some(libc::EPERM)) => {
            " (only root can give it to another user, and others only to groups that they are in: `id -Gn`)"
        }
        _ => "",
    };
    format!("{step}: {}{hint}", reason(source))
}
