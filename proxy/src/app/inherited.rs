//! The listening sockets that a process takes over from its predecessor, matched by address.

use std::net::{SocketAddr, TcpListener};

use serde::{Deserialize, Serialize};

/// The addresses of a socket that is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SocketAddresses {
    /// As in the configuration.
    pub(super) configured: SocketAddr,
    /// As bound: a port 0 is replaced by the assigned one.
    pub(super) bound: SocketAddr,
}

/// The sockets of the predecessor. Without a predecessor there are none.
#[derive(Debug, Default)]
pub(super) struct InheritedSockets(Vec<Inherited>);

#[derive(Debug)]
struct Inherited {
    addresses: SocketAddresses,
    /// `None` once it has been taken.
    socket: Option<TcpListener>,
}

impl InheritedSockets {
    pub(super) fn push(&mut self, addresses: SocketAddresses, socket: TcpListener) {
        self.0.push(Inherited {
            addresses,
            socket: Some(socket),
        });
    }

    /// The socket with this address: as configured, so that a port 0 keeps the port that the system had assigned, else
    /// as bound.
    pub(super) fn take(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let is_configured = |addresses: &SocketAddresses| addresses.configured == address;
        let is_bound = |addresses: &SocketAddresses| addresses.bound == address;
        self.take_where(is_configured)
            .or_else(|| self.take_where(is_bound))
    }

    fn take_where(&mut self, matches: impl Fn(&SocketAddresses) -> bool) -> Option<TcpListener> {
        let mut left = self.0.iter_mut();
        let found =
            left.find(|inherited| inherited.socket.is_some() && matches(&inherited.addresses));
        found.and_then(|inherited| inherited.socket.take())
    }

    /// For each socket, in the order of the predecessor, whether it has been taken.
    pub(super) fn taken(&self) -> Vec<bool> {
        let sockets = self.0.iter();
        sockets
            .map(|inherited| inherited.socket.is_none())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_socket_is_taken_once_by_its_configured_address_or_by_its_bound_one() {
        let mut sockets = InheritedSockets::default();
        let mut ports = Vec::new();
        for configured in ["127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:1"] {
            let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
            let bound = socket.local_addr().expect("its address");
            let configured = address(configured);
            sockets.push(SocketAddresses { configured, bound }, socket);
            ports.push(bound);
        }
        let mut taken = |address| {
            let socket = sockets.take(address)?;
            socket.local_addr().ok()
        };
        assert_eq!(taken(address("127.0.0.1:0")), Some(ports[0]));
        assert_eq!(taken(address("127.0.0.1:2")), None);
        assert_eq!(taken(ports[1]), Some(ports[1]));
        assert_eq!(taken(ports[1]), None);
        assert_eq!(taken(address("127.0.0.1:0")), None);
        assert_eq!(sockets.taken(), [true, true, false]);
    }
}
