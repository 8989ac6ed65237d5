//! Where an instance can be asked that shares no port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use tracing::debug;

use crate::sys::listening;
use crate::sys::proc_table::ProcTable;
use crate::sys::process::Process;
use crate::sys::tcp::Origin;

/// Where a connection goes, and where it comes from if that matters.
pub(super) struct Place {
    pub(super) to: SocketAddr,
    pub(super) from: Option<Origin>,
}

/// Where a tree of processes listens at this port, or at its lowest one. What listens for it at a declared port need not be
/// of its tree: a container's proxy.
pub(super) async fn search(process: &Arc<Process>, port: Option<u16>) -> Vec<SocketAddr> {
    let process = Arc::clone(process);
    let looked = move || ProcTable::read().and_then(|table| listening::tcp_addresses(&process, &table));
    let all = match tokio::task::spawn_blocking(looked).await {
        Ok(Ok(all)) => all,
        Ok(Err(error)) => {
            debug!("cannot look for listening sockets: {error}");
            Vec::new()
        }
        // The runtime ends.
        Err(_) => Vec::new(),
    };
    chosen(all, port)
}

fn chosen(mut all: Vec<SocketAddr>, port: Option<u16>) -> Vec<SocketAddr> {
    all.sort_by_key(|address| (address.port(), address.ip()));
    let wanted = port.or_else(|| all.first().map(SocketAddr::port));
    all.retain(|address| Some(address.port()) == wanted);
    let mut places: Vec<SocketAddr> = all.into_iter().map(reachable).collect();
    places.dedup();
    match (places.is_empty(), port) {
        (true, Some(port)) => {
            vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port)), SocketAddr::from((Ipv6Addr::LOCALHOST, port))]
        }
        (_, _) => places,
    }
}

fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_port_is_asked_unless_one_is_declared() {
        let all = || ["0.0.0.0:9000", "[::]:80", "0.0.0.0:80", "10.0.0.5:443"].map(|it| it.parse().unwrap()).to_vec();
        let of = |all, port| chosen(all, port).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(of(all(), None), ["127.0.0.1:80", "[::1]:80"]);
        assert_eq!(of(all(), Some(443)), ["10.0.0.5:443"]);
        assert_eq!(of(all(), Some(1)), ["127.0.0.1:1", "[::1]:1"]);
        assert!(of(Vec::new(), None).is_empty());
    }
}
