//! Listening, accepting, and ending without cutting a request off.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Request as HttpRequest;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::Failure;
use crate::serve::GRACE;
use crate::serve::options::Options;
use crate::serve::site::Site;

/// How long a client may take to send the head of a request, and how long a connection may be idle between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long accepting pauses when the kernel refuses a descriptor: nothing tells when there is one again.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// A folder with its listening socket.
pub(super) struct Server {
    listener: TcpListener,
    address: SocketAddr,
    site: Arc<Site>,
    slots: Arc<Semaphore>,
}

impl Server {
    /// Opens the folder and the port.
    ///
    /// # Errors
    ///
    /// A [`Failure`] naming the folder or the port, with a way out.
    pub(super) async fn bind(options: &Options) -> Result<Server, Failure> {
        let site = Site::open(options).await?;
        let refused = |error: io::Error| port_refused(options, &error);
        let listener = TcpListener::bind((options.host.as_str(), options.port)).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        Ok(Server { listener, address, site: Arc::new(site), slots: Arc::new(Semaphore::new(connection_limit())) })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is ready, then finishes what it has, within [`GRACE`].
    pub(super) async fn run(self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let graceful = GracefulShutdown::new();
        loop {
            let next = async {
                let slot = Arc::clone(&self.slots).acquire_owned().await;
                (slot, self.listener.accept().await)
            };
            let (slot, accepted) = tokio::select! {
                biased;
                () = &mut stop => break,
                next = next => next,
            };
            let Ok(slot) = slot else { break };
            match accepted {
                Ok((stream, _)) => self.answer(stream, slot, &graceful),
                // The client left before it was accepted.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) => tokio::select! {
                    () = &mut stop => break,
                    () = tokio::time::sleep(REFUSED_PAUSE) => {}
                },
            }
        }
        // Closing the socket resets the connections that wait in its queue, so these are taken out first.
        while let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned()
            && let Ok(Ok((stream, _))) = tokio::time::timeout(Duration::ZERO, self.listener.accept()).await
        {
            self.answer(stream, slot, &graceful);
        }
        drop(self.listener);
        // A client that does not read its answer in time loses it: the end is bounded.
        let _ = tokio::time::timeout(GRACE, graceful.shutdown()).await;
    }

    /// Serves one connection on a task of its own. The semaphore bounds how many there are.
    fn answer(&self, stream: TcpStream, slot: OwnedSemaphorePermit, graceful: &GracefulShutdown) {
        // Headers and a small file leave as two writes; the second would wait for the first one's acknowledgement.
        let _ = stream.set_nodelay(true);
        let site = Arc::clone(&self.site);
        let service = service_fn(move |request: HttpRequest<Incoming>| {
            let site = Arc::clone(&site);
            async move { Ok::<_, Infallible>(site.answer(&request.map(|_| ())).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // An error here is the client's: it left, was too slow, or does not speak HTTP.
            let _ = connection.await;
            drop(slot);
        });
    }
}

/// Ready at the first SIGTERM or SIGINT from now on.
pub(super) fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    })
}

/// How many connections are served at once: a connection can need two descriptors, its socket and a file.
fn connection_limit() -> usize {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    let wanted = hard.min(20_000).max(soft);
    let descriptors = if setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_ok() { wanted } else { soft };
    usize::try_from(descriptors / 2).unwrap_or(usize::MAX).saturating_sub(32).clamp(1, 10_000)
}

fn port_refused(options: &Options, error: &io::Error) -> Failure {
    let Options { host, port, .. } = options;
    let failure = Failure::failed(format!("cannot listen on {host}:{port}"));
    match error.kind() {
        io::ErrorKind::AddrInUse => failure
            .because(format!("port {port} is in use"))
            .hint(format!("`ss -ltnp sport = :{port}` shows by whom"))
            .hint("another port: `--port N`, or `port = N` in the ecosystem file"),
        io::ErrorKind::PermissionDenied => failure.caused_by(error).hint(format!(
            "ports below net.ipv4.ip_unprivileged_port_start are for root; `--port 8080` is free for all, not {port}"
        )),
        io::ErrorKind::AddrNotAvailable => {
            failure.caused_by(error).hint(format!("`{host}` is no address of this machine; `ip addr` lists them"))
        }
        _ => failure.caused_by(error),
    }
}
