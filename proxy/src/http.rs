//! The HTTP types that the stages share: a request and its client, heads, framing, and their limits.
//!
//! No stage is used here: [`crate::listener`] reads heads from connections and hands each
//! request on as a `session::Session`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

pub mod budget;
pub(crate) mod budgeted_reader;
pub mod connections;
pub mod framing;
mod h2_flood;
pub(crate) mod head;
pub(crate) mod hop_by_hop;
pub(crate) mod http1;
pub(crate) mod io;
pub(crate) mod refused;
pub(crate) mod relay;
pub mod response_body;
pub(crate) mod response_head;
pub(crate) mod retry_after;
pub(crate) mod session;
pub(crate) mod socket;

use connections::ConnectionSlot;

/// The limits of client connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    pub header_bytes: usize,
    /// For the whole request head, not per read.
    pub header_timeout: Duration,
    /// For all buffered bodies together.
    pub buffered_bytes: u64,
    pub connections: usize,
    pub idle_timeout: Duration,
    /// For upgraded connections and gRPC streams.
    pub upgrade_idle_timeout: Duration,
}

/// What is known of a connection before its first request.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) peer: IpAddr,
    /// The peer's address as a value for `X-Forwarded-For`.
    pub(crate) peer_text: HeaderValue,
    pub(crate) scheme: &'static str,
    /// `None` for a rejected connection.
    pub(crate) slot: Option<Arc<ConnectionSlot>>,
}

impl Connection {
    pub(crate) fn new(peer: IpAddr, scheme: &'static str) -> Self {
        // An address is ASCII.
        let text = HeaderValue::try_from(peer.to_string());
        Connection {
            peer,
            peer_text: text.unwrap_or_else(|_| HeaderValue::from_static("unknown")),
            scheme,
            slot: None,
        }
    }
}
