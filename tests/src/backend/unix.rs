//! A Unix socket in front of a server.

use std::net::SocketAddr;
use std::path::Path;

use tokio::net::{TcpStream, UnixListener};
use tokio::task::JoinHandle;

/// Listens until it is dropped.
#[derive(Debug)]
pub struct UnixSocket {
    accepting: JoinHandle<()>,
}

impl UnixSocket {
    /// Forwards connections to `address`.
    ///
    /// # Panics
    /// The socket cannot be created.
    #[must_use]
    pub fn before(address: SocketAddr, path: &Path) -> Self {
        let listener = UnixListener::bind(path).expect("a socket");
        let accepting = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    if let Ok(mut service) = TcpStream::connect(address).await {
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut service).await;
                    }
                });
            }
        });
        UnixSocket { accepting }
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
