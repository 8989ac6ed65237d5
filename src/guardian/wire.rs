//! What guardian and daemon say to each other, as text in messages: short, so that any version understands any other.

use std::fmt;

/// The longest name that something is stored under, in bytes.
pub(super) const MAX_NAME: usize = 255;

/// What a daemon asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request<'a> {
    /// Store the descriptors that come along under these names, a line each, instead of those that have them.
    Put(&'a str),
    /// Close what has these names, a line each.
    Drop(&'a str),
    /// Send copies of all.
    Take,
    /// The client that waits has been answered.
    Ready,
}

/// What a guardian says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply<'a> {
    /// Here is what has this name.
    Have(&'a str),
    /// That were all; so many.
    End(usize),
    /// So many requests of this connection have been carried out.
    Done(u64),
}

impl<'a> Request<'a> {
    /// Reads a message; none if this version does not know it.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Request<'a>> {
        let text = std::str::from_utf8(bytes).ok()?;
        match text.split_once(' ') {
            Some(("put", names)) if names.lines().all(is_name) => Some(Request::Put(names)),
            Some(("drop", names)) if names.lines().all(is_name) => Some(Request::Drop(names)),
            None if text == "take" => Some(Request::Take),
            None if text == "ready" => Some(Request::Ready),
            Some(_) | None => None,
        }
    }
}

impl fmt::Display for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Request::Put(names) => write!(f, "put {names}"),
            Request::Drop(names) => write!(f, "drop {names}"),
            Request::Take => f.write_str("take"),
            Request::Ready => f.write_str("ready"),
        }
    }
}

impl<'a> Reply<'a> {
    /// Reads a message; none if this version does not know it.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Reply<'a>> {
        match std::str::from_utf8(bytes).ok()?.split_once(' ')? {
            ("have", name) if is_name(name) => Some(Reply::Have(name)),
            ("end", count) => count.parse().ok().map(Reply::End),
            ("done", count) => count.parse().ok().map(Reply::Done),
            _ => None,
        }
    }
}

impl fmt::Display for Reply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Have(name) => write!(f, "have {name}"),
            Reply::End(count) => write!(f, "end {count}"),
            Reply::Done(count) => write!(f, "done {count}"),
        }
    }
}

/// Whether something can be stored under this name.
pub(super) fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && !name.contains('\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for request in [Request::Put("run 7 out\nrun 7 in"), Request::Drop("a"), Request::Take, Request::Ready] {
            assert_eq!(Request::parse(request.to_string().as_bytes()), Some(request));
        }
        for reply in [Reply::Have("run 7 out"), Reply::End(0), Reply::Done(u64::MAX)] {
            assert_eq!(Reply::parse(reply.to_string().as_bytes()), Some(reply));
        }
    }

    #[test]
    fn what_is_not_known_is_nothing() {
        let long = format!("put {}", "x".repeat(MAX_NAME + 1));
        for bytes in [&b""[..], b"put", b"put a\n\nb", b"take it", b"\xff", long.as_bytes()] {
            assert_eq!(Request::parse(bytes), None);
        }
        assert_eq!(Reply::parse(b"end x"), None);
    }
}
