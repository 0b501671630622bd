//! No request fails while one process takes over from another, and every event is recorded once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use weir_tests::backend::Backend;
use weir_tests::client::{Client, ClientRequest};
use weir_tests::setup::Setup;

use super::drained;

/// How a client connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Connections {
    KeptAlive,
    NewEach,
    Http2,
}

impl Connections {
    async fn connect(self, address: SocketAddr) -> Client {
        match self {
            Connections::KeptAlive | Connections::NewEach => Client::h1(address).await,
            Connections::Http2 => Client::h2(address).await,
        }
    }

    /// Sends requests until `is_over`, on a new connection when the server has announced the end of one. Returns their
    /// number and what went wrong.
    async fn send(self, address: SocketAddr, is_over: Arc<AtomicBool>) -> (usize, Vec<String>) {
        let (mut sent, mut failed) = (0, Vec::new());
        let mut client = self.connect(address).await;
        while !is_over.load(Ordering::SeqCst) {
            if self == Connections::NewEach || !client.is_open().await {
                client = self.connect(address).await;
            }
            sent += 1;
            let response = match client.try_open(ClientRequest::chat_stream("hello")).await {
                Ok(response) => response,
                // It has not been sent: the GOAWAY arrived first.
                Err(error) if self == Connections::Http2 && error.is_canceled() => {
                    sent -= 1;
                    continue;
                }
                Err(error) => {
                    failed.push(format!("{self:?}: {error:?}"));
                    client = self.connect(address).await;
                    continue;
                }
            };
            let status = response.status;
            match response.rest().await {
                Ok(body) if status == 200 && body.ends_with(b"data: [DONE]\n\n") => {}
                other => failed.push(format!("{self:?}: {status}, {other:?}")),
            }
        }
        (sent, failed)
    }
}

#[tokio::test]
async fn no_request_fails_and_no_event_is_lost_through_upgrades() {
    let backend = Backend::chat().await;
    let setup = Setup::open(&backend);
    let mut proxy = setup.start().await;
    let is_over = Arc::new(AtomicBool::new(false));
    let kinds = [
        Connections::KeptAlive,
        Connections::KeptAlive,
        Connections::NewEach,
        Connections::Http2,
    ];
    let clients = kinds.map(|kind| tokio::spawn(kind.send(proxy.address(), is_over.clone())));
    let mut retired = Vec::new();
    for _ in 0..3 {
        retired.push(proxy.upgrade(&setup).await);
    }
    for old in &retired {
        drained(old).await;
    }
    is_over.store(true, Ordering::SeqCst);
    let mut total = 0;
    for client in clients {
        let (sent, failed) = client.await.expect("no panic");
        assert!(failed.is_empty(), "{failed:?}");
        assert!(sent > 10, "{sent} requests");
        total += sent;
    }
    backend.assert_faultless();
    proxy.events_when(total).await;
}
