//! One request, HTTP/1.1, and what its answer means.
//!
//! The status decides. What comes after it is read for a moment, so that a server that writes it sees no broken
//! connection; how long it is, and whether it ever ends, does not matter.

use std::error::Error as _;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The longest head of an answer, in bytes.
const HEAD: usize = 64 * 1024;

/// The most headers.
const HEADERS: usize = 256;

/// How much of a body is read, in bytes.
const BODY: u64 = 64 * 1024;

/// How long it is read, whatever the time limit is.
const LONGEST: Duration = Duration::from_secs(1);

/// What comes after the status.
pub(super) struct Rest {
    body: Incoming,
    connection: tokio::task::JoinHandle<()>,
}

impl Rest {
    /// Reads it, for a while.
    pub(super) async fn read(mut self, limit: Duration) {
        let all = async {
            let mut left = BODY;
            while let Some(Ok(frame)) =
                std::future::poll_fn(|context| Pin::new(&mut self.body).poll_frame(context)).await
            {
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                match left.checked_sub(length) {
                    Some(rest) => left = rest,
                    None => break,
                }
            }
        };
        // What is not there by then is left.
        let _ = tokio::time::timeout(limit.min(LONGEST), all).await;
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// The status of an answer.
pub(super) async fn get(stream: TcpStream, to: SocketAddr, path: &str) -> Result<(u16, Rest), String> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD).max_headers(HEADERS);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(|error| in_words(&error))?;
    let connection = tokio::spawn(async move {
        // Its end is that of the request, which says why.
        let _ = connection.await;
    });
    let request = hyper::Request::get(path)
        .header(HOST, to.to_string())
        .header(USER_AGENT, concat!("rsx/", env!("CARGO_PKG_VERSION"), " health check"))
        .header(CONNECTION, "close")
        .body(String::new())
        .map_err(|error| format!("`{path}` cannot be asked for: {error}"))?;
    match sender.send_request(request).await {
        Ok(answer) => Ok((answer.status().as_u16(), Rest { body: answer.into_body(), connection })),
        Err(error) => {
            connection.abort();
            Err(in_words(&error))
        }
    }
}

/// What went wrong, without the words of a library.
fn in_words(error: &hyper::Error) -> String {
    if error.is_parse_too_large() {
        format!("the head of its answer is longer than {} kB", HEAD / 1024)
    } else if error.is_parse() {
        "its answer is not HTTP".to_owned()
    } else if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        "it closed the connection without an answer".to_owned()
    } else {
        let cause = error.source().map(ToString::to_string);
        cause.unwrap_or_else(|| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// What is made of a server that answers with this, and whether it was asked as it should be.
    fn asked(answer: &'static [u8]) -> Result<u16, String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut chunk = [0; 1024];
            while !request.ends_with(b"\r\n\r\n") {
                match stream.read(&mut chunk).unwrap() {
                    0 => break,
                    count => request.extend(&chunk[..count]),
                }
            }
            // The other end may have gone before all is written.
            let _ = stream.write_all(answer);
            String::from_utf8(request).unwrap().to_ascii_lowercase()
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let found = runtime.block_on(async {
            let stream = TcpStream::connect(to).await.unwrap();
            let (status, rest) =
                tokio::time::timeout(Duration::from_secs(10), get(stream, to, "/h?x=1")).await.unwrap()?;
            rest.read(Duration::from_secs(10)).await;
            Ok(status)
        });
        let request = server.join().unwrap();
        assert!(request.starts_with("get /h?x=1 http/1.1\r\n") && request.contains("connection: close"), "{request}");
        assert!(request.contains(&format!("host: {to}\r\n")), "{request}");
        found
    }

    #[test]
    fn the_status_is_what_counts() {
        assert_eq!(asked(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), Ok(200));
        assert_eq!(asked(b"HTTP/1.0 204 No Content\r\n\r\n"), Ok(204));
        assert_eq!(asked(b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n"), Ok(302));
        assert_eq!(asked(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"), Ok(503));
        assert_eq!(asked(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), Ok(200));
        assert_eq!(asked(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"), Ok(200), "cut off");
    }

    #[test]
    fn what_is_no_answer_is_said() {
        for (answer, word) in [
            (&b"SSH-2.0-OpenSSH_9.6\r\n"[..], "not HTTP"),
            (b"\x15\x03\x01\x00\x02\x02\x46", "not HTTP"),
            (b"", "closed the connection"),
            (b"HTTP/1.1 200 OK\r\nX: ", "closed the connection"),
        ] {
            let error = asked(answer).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
        let long: &'static [u8] = Box::leak(
            [b"HTTP/1.1 200 OK\r\nX: ".as_slice(), &b"x".repeat(HEAD * 2), b"\r\n\r\n"].concat().into_boxed_slice(),
        );
        let error = asked(long).unwrap_err();
        assert!(error.contains("longer than 64 kB") || error.contains("reset"), "{error}");
    }
}
