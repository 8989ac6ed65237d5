//! Passes a connection on to whoever serves its port.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tracing::debug;

/// How long it may take to reach a server on this machine.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a connection may last that was passed on: it is for what was on its way, and no proxy.
const LIMIT: Duration = Duration::from_secs(600);

/// More than these are not passed on at a time.
const MOST: usize = 1024;

/// Passes a connection on, in a task of its own.
pub(super) fn pass_on(client: TcpStream, to: SocketAddr) {
    static OPEN: AtomicUsize = AtomicUsize::new(0);
    if OPEN.fetch_add(1, Ordering::Relaxed) >= MOST {
        OPEN.fetch_sub(1, Ordering::Relaxed);
        return debug!("too many connections to pass on");
    }
    tokio::spawn(async move {
        match tokio::time::timeout(LIMIT, relay(client, to)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%to, "a connection that was passed on ended: {error}"),
            Err(_) => debug!(%to, "a connection that was passed on took too long"),
        }
        OPEN.fetch_sub(1, Ordering::Relaxed);
    });
}

async fn relay(client: TcpStream, to: SocketAddr) -> io::Result<()> {
    client.set_nonblocking(true)?;
    let mut client = tokio::net::TcpStream::from_std(client)?;
    let connected = tokio::time::timeout(CONNECT, tokio::net::TcpStream::connect(to)).await;
    let mut server = connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    tokio::io::copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
