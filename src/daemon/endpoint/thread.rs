//! The thread that serves metrics: accepts, and writes what it is asked for. Everything about a client is bounded: how many
//! there are, how long one may take, and how long a request may be.

use std::convert::Infallible;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tracing::{debug, warn};

use crate::config;
use crate::daemon::endpoint::asked::{Asked, Guests, asked};
use crate::daemon::publish::Extent;
use crate::daemon::server::Shared;
use crate::metrics::{self, Pages};
use crate::spec::ListenAddress;
use crate::sys::system;

/// How many clients are served at once; others wait in the socket's queue.
const CLIENTS: usize = 8;

/// How long the head of a request may take.
const HEAD_LIMIT: Duration = Duration::from_secs(5);

/// How long a client may take for everything.
const LIMIT: Duration = Duration::from_secs(15);

/// The longest head of a request, in bytes, and in lines.
const HEAD: (usize, usize) = (16 * 1024, 64);

/// How long accepting pauses when the kernel refuses a descriptor: nothing tells when there is one again.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a new daemon is waited for that takes over what the one before it left.
const BIRTH: Duration = Duration::from_secs(5);

/// A thread that serves; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Serving(oneshot::Sender<()>);

impl Serving {
    /// Whether it serves still.
    pub(super) fn lives(&self) -> bool {
        !self.0.is_closed()
    }
}

/// Serves from this socket.
///
/// # Errors
///
/// No thread can be had, or the socket is none.
pub(super) fn serve(fd: OwnedFd, wanted: &config::Endpoint, shared: Shared) -> io::Result<Serving> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (stop, stopped) = oneshot::channel();
    let address = wanted.socket.address.clone();
    let guests = match &address {
        ListenAddress::Unix { .. } => Guests::All,
        ListenAddress::Tcp { .. } => {
            let own = system::host_name().map(|name| name.to_ascii_lowercase());
            Guests::Named(wanted.hosts.iter().cloned().chain(own).collect())
        }
    };
    let server = Server { shared, guests: Arc::new(guests), clients: Arc::new(Semaphore::new(CLIENTS)) };
    std::thread::Builder::new().name("rsx-metrics".into()).spawn(move || {
        runtime.block_on(async move {
            tokio::select! {
                // Dropped by who started it.
                _ = stopped => {}
                error = server.accept(fd, &address) => warn!("metrics: cannot be served any more: {error}"),
            }
        });
    })?;
    Ok(Serving(stop))
}

#[derive(Clone, Debug)]
struct Server {
    shared: Shared,
    guests: Arc<Guests>,
    clients: Arc<Semaphore>,
}

impl Server {
    /// Accepts for ever; comes back with an error.
    async fn accept(self, fd: OwnedFd, address: &ListenAddress) -> io::Error {
        let listening = match address {
            ListenAddress::Tcp { .. } => self.accept_tcp(fd.into()).await,
            ListenAddress::Unix { .. } => self.accept_unix(fd.into()).await,
        };
        listening.err().unwrap_or_else(|| io::ErrorKind::NotConnected.into())
    }

    async fn accept_tcp(&self, listener: std::net::TcpListener) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        while let Ok(place) = Arc::clone(&self.clients).acquire_owned().await {
            match listener.accept().await {
                Ok((stream, _)) => self.take(stream, place),
                Err(error) => pause_after(&error).await,
            }
        }
        Ok(())
    }

    async fn accept_unix(&self, listener: std::os::unix::net::UnixListener) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(listener)?;
        while let Ok(place) = Arc::clone(&self.clients).acquire_owned().await {
            match listener.accept().await {
                Ok((stream, _)) => self.take(stream, place),
                Err(error) => pause_after(&error).await,
            }
        }
        Ok(())
    }

    /// Serves one client, one request, on a task of its own.
    fn take(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, place: OwnedSemaphorePermit) {
        let server = self.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_LIMIT)
            .max_buf_size(HEAD.0)
            .max_headers(HEAD.1)
            // An idle client keeps no place.
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            // An error here is the client's: it left, was too slow, or does not speak HTTP.
            if let Ok(Err(error)) = tokio::time::timeout(LIMIT, connection).await {
                debug!("metrics: {error}");
            }
            drop(place);
        });
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Text> {
        let (head, _) = request.into_parts();
        let format = match asked(&head, &self.guests) {
            Asked::Metrics(format) => format,
            Asked::Other(status, text) => return plain(status, text),
        };
        if !self.shared.is_born(BIRTH).await {
            let why = "the daemon is still taking over what the one before it left\n";
            return plain(StatusCode::SERVICE_UNAVAILABLE, why.to_owned());
        }
        let body = Text::Pages(metrics::pages(self.shared.view(Extent::Measured).await, format));
        // What this has taken is given back soon.
        self.shared.rest.disturb();
        let mut response = Response::new(body);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
        response
    }
}

/// The client left before it was accepted, or there is no descriptor for it.
async fn pause_after(error: &io::Error) {
    if error.kind() != io::ErrorKind::ConnectionAborted {
        debug!("metrics: accept: {error}");
        tokio::time::sleep(PAUSE).await;
    }
}

fn plain(status: StatusCode, text: String) -> Response<Text> {
    let mut response = Response::new(Text::Whole(Some(text.into())));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

/// What is written: one text, or the metrics, which are made while they are read.
enum Text {
    Whole(Option<Bytes>),
    Pages(Pages),
}

impl Body for Text {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match self.get_mut() {
            Text::Whole(text) => text.take(),
            Text::Pages(pages) => pages.next().map(Bytes::from),
        };
        Poll::Ready(next.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Text::Whole(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Text::Pages(_) => SizeHint::default(),
        }
    }
}
