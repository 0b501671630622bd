//! The variants of a request that every fault is tested with: the version of HTTP of the client, and the body mode.

use weir_tests::client::{CHAT, Client, ClientRequest, chat_request};
use weir_tests::fault_proxy::FaultProxy;
use weir_tests::proxy::Proxy;
use weir_tests::wait;

use crate::request_path::body_modes::BodyMode;

#[derive(Clone, Copy, Debug)]
pub(super) enum ClientVersion {
    Http1,
    Http2,
}

/// One variant of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variant {
    pub(super) version: ClientVersion,
    pub(super) mode: BodyMode,
}

pub(super) const VARIANTS: [Variant; 4] = [
    Variant {
        version: ClientVersion::Http1,
        mode: BodyMode::Buffered,
    },
    Variant {
        version: ClientVersion::Http1,
        mode: BodyMode::PassedThrough,
    },
    Variant {
        version: ClientVersion::Http2,
        mode: BodyMode::Buffered,
    },
    Variant {
        version: ClientVersion::Http2,
        mode: BodyMode::PassedThrough,
    },
];

impl Variant {
    pub(super) async fn client(self, proxy: &Proxy) -> Client {
        match self.version {
            ClientVersion::Http1 => Client::h1(proxy.address()).await,
            ClientVersion::Http2 => Client::h2(proxy.address()).await,
        }
    }

    /// A POST that is no model call.
    pub(super) fn post(self, path: &str) -> ClientRequest {
        self.request(path, "a question")
    }

    /// A model call for a stream.
    pub(super) fn chat_stream(self) -> ClientRequest {
        self.request(CHAT, &chat_request("hi", true).to_string())
            .header("content-type", "application/json")
    }

    fn request(self, path: &str, body: &str) -> ClientRequest {
        match self.mode {
            BodyMode::Buffered => ClientRequest::post(path, body.to_owned()),
            BodyMode::PassedThrough => ClientRequest::chunked(path, body.as_bytes(), 7),
        }
    }
}

/// Waits until weir has closed all connections to the backend.
pub(super) async fn wait_until_closed(faults: &FaultProxy) {
    wait::eventually(
        "the end of the backend's connections",
        wait::PATIENCE,
        || faults.counts().open == 0,
    )
    .await;
}
