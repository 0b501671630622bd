//! No request fails while the configuration is reloaded.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use weir_tests::backend::Backend;
use weir_tests::client::{Client, ClientRequest};
use weir_tests::proxy::Proxy;
use weir_tests::setup::Setup;
use weir_tests::wait;

use super::{reload, write};

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

    /// Sends requests until `is_over`; returns their number and what went wrong.
    async fn send(self, address: SocketAddr, is_over: Arc<AtomicBool>) -> (usize, Vec<String>) {
        let (mut sent, mut failed) = (0, Vec::new());
        let mut client = self.connect(address).await;
        while !is_over.load(Ordering::SeqCst) {
            if self == Connections::NewEach {
                client = self.connect(address).await;
            }
            sent += 1;
            let request = ClientRequest::chat_stream("hello");
            let response = match client.try_open(request).await {
                Ok(response) => response,
                Err(error) => {
                    failed.push(format!("{self:?}: {error}"));
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

/// A configuration that differs from that of another number in the backend, the route of all requests, and a marker.
fn numbered(backend: &Backend, number: usize) -> Setup {
    let timeout = format!("first_byte_timeout: {}s", 30 + number);
    let chat = format!(
        "- {{name: chat, path: /v1/*, backend: assistant, platform: p{}, concurrency: {}}}",
        number % 2,
        100 + number
    );
    Setup::without_backend()
        .backend("assistant", &[backend.url()], &[&timeout])
        .routes(&format!(
            "- {{name: marker{number}, path: /marker, backend: assistant}}"
        ))
        .routes(&chat)
}

async fn wait_for_marker(proxy: &Proxy, number: usize) {
    let name = format!("marker{number}");
    let applied = async {
        while proxy.admin_get("/api/status").await.json()["routes"][0]["name"] != *name {
            wait::tick().await;
        }
    };
    wait::within(&name, wait::PATIENCE, applied).await;
}

#[tokio::test]
async fn no_request_fails_and_no_event_is_lost_through_many_reloads() {
    let backend = Backend::chat().await;
    let proxy = numbered(&backend, 0).start().await;
    let is_over = Arc::new(AtomicBool::new(false));
    let kinds = [
        Connections::KeptAlive,
        Connections::NewEach,
        Connections::Http2,
        Connections::Http2,
    ];
    let clients = kinds.map(|kind| tokio::spawn(kind.send(proxy.address(), is_over.clone())));
    let mut number = 0;
    for _ in 0..4 {
        for trigger in ["request", "signal", "file", "request"] {
            number += 1;
            write(&proxy, &numbered(&backend, number).yaml(proxy.directory()));
            match trigger {
                "request" => assert_eq!(reload(&proxy).await["outcome"], "applied"),
                "signal" => proxy.process().sighup(),
                _ => {}
            }
            wait_for_marker(&proxy, number).await;
            // An invalid one in between.
            if trigger == "signal" {
                write(&proxy, "routes: none");
                assert_eq!(reload(&proxy).await["outcome"], "rejected");
            }
        }
    }
    is_over.store(true, Ordering::SeqCst);
    let mut total = 0;
    for client in clients {
        let (sent, failed) = client.await.expect("no panic");
        assert!(failed.is_empty(), "{failed:?}");
        assert!(sent > number, "{sent} requests through {number} reloads");
        total += sent;
    }
    backend.assert_faultless();
    proxy.events_when(total).await;
    let metrics = proxy.metrics().await;
    let counted = metrics.sum("weir_requests_total", &[("route", "chat")]);
    assert_eq!(counted, total as f64);
}
