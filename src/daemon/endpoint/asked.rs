//! What a request to the endpoint asks for, and whether it may. Pure.
//!
//! A page in a browser can make a name of its own lead to 127.0.0.1 and then read what is there as its own (DNS rebinding).
//! It cannot do without that name in the request. So who asks by a name that this endpoint does not know is refused; an
//! address is no such name.

use std::net::{IpAddr, Ipv6Addr};

use hyper::header::{ACCEPT, HOST};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode, Version};

use crate::metrics::Format;

/// Who may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Guests {
    /// Whoever reaches the socket: its file has permissions.
    All,
    /// By an address, or by one of these names, in lower case.
    Named(Vec<String>),
}

/// What is to be answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// The metrics.
    Metrics(Format),
    /// This status and text.
    Other(StatusCode, String),
}

/// What a request asks for.
pub(super) fn asked(request: &Parts, guests: &Guests) -> Asked {
    if let Err(refused) = admit(request, guests) {
        return refused;
    }
    if request.uri.path() != "/metrics" {
        return Asked::Other(StatusCode::NOT_FOUND, "there is /metrics\n".to_owned());
    }
    match request.method {
        // The body that HEAD is not to have is left out below.
        Method::GET | Method::HEAD => Asked::Metrics(format(request)),
        _ => Asked::Other(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD\n".to_owned()),
    }
}

fn admit(request: &Parts, guests: &Guests) -> Result<(), Asked> {
    let Guests::Named(names) = guests else { return Ok(()) };
    let mut hosts = request.headers.get_all(HOST).iter();
    let written = match (hosts.next(), hosts.next()) {
        (Some(host), None) => Some(host.to_str().unwrap_or("?")),
        // No browser speaks HTTP/1.0.
        (None, _) if request.version <= Version::HTTP_10 => None,
        (None, _) | (Some(_), Some(_)) => {
            return Err(Asked::Other(StatusCode::BAD_REQUEST, "a request has one Host\n".to_owned()));
        }
    };
    let target = request.uri.authority().map(hyper::http::uri::Authority::as_str);
    for host in [written, target].into_iter().flatten() {
        if !is_known(host, names) {
            let text = format!(
                "`{}` is not known here: ask by an address, or add it to `hosts` in config.toml\n",
                host.escape_default()
            );
            return Err(Asked::Other(StatusCode::FORBIDDEN, text));
        }
    }
    Ok(())
}

/// Whether a Host, with or without port, is an address or one of these names.
fn is_known(host: &str, names: &[String]) -> bool {
    if let Some((inside, rest)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return inside.parse::<Ipv6Addr>().is_ok() && (rest.is_empty() || is_port(rest));
    }
    let name = match host.split_once(':') {
        Some((name, port)) if is_port(&format!(":{port}")) => name,
        Some(_) => return false,
        None => host,
    };
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name.parse::<IpAddr>().is_ok() || name == "localhost" || names.contains(&name)
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|port| port.is_empty() || port.parse::<u16>().is_ok())
}

/// OpenMetrics, unless only the older format is understood.
fn format(request: &Parts) -> Format {
    let accepted: Vec<&str> = request.headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let names = |kind: &str| accepted.iter().any(|accept| accept.contains(kind));
    match names("text/plain") && !names("application/openmetrics-text") {
        true => Format::Prometheus,
        false => Format::OpenMetrics,
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn of(method: &str, uri: &str, version: Version, headers: &[(&str, &str)]) -> Asked {
        let mut request = Request::builder().method(method).uri(uri).version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        asked(&request.body(()).unwrap().into_parts().0, &Guests::Named(vec!["shop-1".into()]))
    }

    #[track_caller]
    fn status(asked: Asked) -> u16 {
        match asked {
            Asked::Metrics(_) => 200,
            Asked::Other(status, _) => status.as_u16(),
        }
    }

    #[test]
    fn who_asks_by_a_foreign_name_is_refused() {
        for (host, expected) in [
            ("127.0.0.1:9615", 200),
            ("127.0.0.1", 200),
            ("10.0.0.7:80", 200),
            ("[::1]:9615", 200),
            ("[::1]", 200),
            ("localhost:9615", 200),
            ("LOCALHOST", 200),
            ("Shop-1:9615", 200),
            ("shop-1.", 200),
            ("evil.example", 403),
            ("evil.example:9615", 403),
            ("localhost.evil.example", 403),
            ("127.0.0.1.evil.example", 403),
            ("127.0.0.1:9615@evil.example", 403),
            ("[evil]", 403),
            ("[::1]evil", 403),
            ("", 403),
        ] {
            assert_eq!(status(of("GET", "/metrics", Version::HTTP_11, &[("host", host)])), expected, "{host}");
        }
        let known = [("host", "localhost")];
        assert_eq!(status(of("GET", "http://evil.example/metrics", Version::HTTP_11, &known)), 403);
        assert_eq!(status(of("GET", "/metrics", Version::HTTP_11, &[])), 400);
        assert_eq!(status(of("GET", "/metrics", Version::HTTP_11, &[known[0], known[0]])), 400);
        assert_eq!(status(of("GET", "/metrics", Version::HTTP_10, &[])), 200);
    }

    #[test]
    fn only_metrics_are_there_and_only_to_be_read() {
        let host = ("host", "localhost");
        assert_eq!(status(of("GET", "/", Version::HTTP_11, &[host])), 404);
        assert_eq!(status(of("POST", "/metrics", Version::HTTP_11, &[host])), 405);
        assert_eq!(of("HEAD", "/metrics?x=1", Version::HTTP_11, &[host]), Asked::Metrics(Format::OpenMetrics));
    }

    #[test]
    fn who_understands_the_older_format_only_gets_that() {
        for (accept, expected) in [
            (None, Format::OpenMetrics),
            (Some("*/*"), Format::OpenMetrics),
            (Some("text/plain;version=0.0.4;q=1,*/*;q=0.1"), Format::Prometheus),
            (
                Some("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"),
                Format::OpenMetrics,
            ),
        ] {
            let headers: Vec<_> =
                accept.map(|accept| ("accept", accept)).into_iter().chain([("host", "localhost")]).collect();
            assert_eq!(of("GET", "/metrics", Version::HTTP_11, &headers), Asked::Metrics(expected), "{accept:?}");
        }
    }
}
