//! An address that does not respond to SYN, as that of a machine that is down.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::socket;

/// How long a connection over the loopback interface may take.
const CONNECTED_WITHIN: Duration = Duration::from_millis(500);

/// More connections than any queue of this length holds.
const FILLERS_MAX: usize = 16;

/// A listener that accepts nothing and whose queue is full: the kernel drops every further SYN.
#[derive(Debug)]
pub struct UnreachableAddress {
    address: SocketAddr,
    _listener: TcpListener,
    _fillers: Vec<TcpStream>,
}

impl UnreachableAddress {
    /// # Panics
    /// The queue cannot be filled.
    pub async fn new() -> Self {
        let listener = socket(SocketAddr::from(([127, 0, 0, 1], 0)))
            .listen(1)
            .expect("a listener");
        let address = listener.local_addr().expect("its address");
        let mut fillers = Vec::new();
        loop {
            let connecting = TcpSocket::new_v4().expect("a socket").connect(address);
            match tokio::time::timeout(CONNECTED_WITHIN, connecting).await {
                Ok(connected) => fillers.push(connected.expect("a place in the queue")),
                Err(_) => break,
            }
            assert!(fillers.len() < FILLERS_MAX, "the queue is never full");
        }
        UnreachableAddress {
            address,
            _listener: listener,
            _fillers: fillers,
        }
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL, for an endpoint in a configuration.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}
