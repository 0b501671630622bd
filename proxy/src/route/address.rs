//! The client's address: the peer's, or behind trusted proxies the one they report; and what weir
//! reports to the backend in turn.
//!
//! `X-Forwarded-For` has no standard; what proxies write is a list of addresses, nearest last, some
//! with a port, IPv6 in brackets or bare. Several lines are one list (RFC 9110, section 5.3).

use std::net::{IpAddr, SocketAddr};

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;

/// The header that is read and written.
pub static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Addresses of one chain, the peer included. What lies behind them is not believed: nobody has so
/// many proxies of their own, and a longer list is one that somebody made up.
const CHAIN_MAX: usize = 32;

/// The address a request comes from. `X-Forwarded-For` is believed from the right as long as the
/// hop that wrote it is trusted; the first address that is not trusted is the client. An entry that
/// is no address ends the list: then the last trusted hop is the client. IPv4-mapped IPv6 addresses
/// become IPv4, so that one client is one client.
#[must_use]
pub fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    match Chain::believed(peer, headers, trusted) {
        Some(chain) => chain.addresses[chain.length - 1],
        None => peer.to_canonical(),
    }
}

/// The `X-Forwarded-For` towards the backend, which replaces the client's: the chain as far as it
/// is believed, client first, and the peer at its end. `None` when it is just the peer, as from every
/// peer that is not trusted.
#[must_use]
pub fn forwarded_for(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Option<HeaderValue> {
    use std::fmt::Write as _;

    let chain = Chain::believed(peer, headers, trusted)?;
    let mut text = String::with_capacity(chain.length * 16);
    for address in chain.addresses[..chain.length].iter().rev() {
        if !text.is_empty() {
            text.push_str(", ");
        }
        // Writing to a string cannot fail.
        let _ = write!(text, "{address}");
    }
    HeaderValue::try_from(text).ok()
}

/// The peer and what is believed behind it, from the peer outwards; never empty.
struct Chain {
    addresses: [IpAddr; CHAIN_MAX],
    length: usize,
}

impl Chain {
    /// `None` when nobody is believed, or nothing was said.
    fn believed(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Option<Chain> {
        let peer = peer.to_canonical();
        let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
        if !is_trusted(&peer) || !headers.contains_key(&X_FORWARDED_FOR) {
            return None;
        }
        let mut chain = Chain {
            addresses: [peer; CHAIN_MAX],
            length: 1,
        };
        let lines = headers.get_all(&X_FORWARDED_FOR).iter().rev();
        let entries = lines
            .flat_map(|line| line.as_bytes().rsplit(|&byte| byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|entry| !entry.is_empty());
        for entry in entries {
            let Some(address) = parse(entry) else { break };
            if chain.length == CHAIN_MAX {
                break;
            }
            chain.addresses[chain.length] = address;
            chain.length += 1;
            if !is_trusted(&address) {
                break;
            }
        }
        Some(chain)
    }
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`.
fn parse(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?;
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .filter(|inner| inner.contains(':'))
        .unwrap_or(text);
    let address = bare.parse::<IpAddr>().ok().or_else(|| {
        let socket: SocketAddr = text.parse().ok()?;
        Some(socket.ip())
    })?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn chain(peer: &str, lines: &[&[u8]]) -> (IpAddr, String) {
        let trusted: Vec<IpNet> = ["127.0.0.0/8", "10.0.0.0/8", "fd00::/8"]
            .iter()
            .map(|net| net.parse().expect("a network"))
            .collect();
        let mut headers = HeaderMap::new();
        for line in lines {
            let value = HeaderValue::from_bytes(line).expect("a header value");
            headers.append(&X_FORWARDED_FOR, value);
        }
        let written = forwarded_for(ip(peer), &headers, &trusted);
        let written = match written {
            Some(written) => written.to_str().expect("ASCII").to_owned(),
            None => ip(peer).to_canonical().to_string(),
        };
        (client(ip(peer), &headers, &trusted), written)
    }

    /// The peer, its lines, the client, and what the backend is told.
    const CASES: &[(&str, &[&[u8]], &str, &str)] = &[
        ("192.0.2.1", &[], "192.0.2.1", "192.0.2.1"),
        ("192.0.2.1", &[b"1.2.3.4"], "192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", &[b"1.2.3.4"], "192.0.2.1", "192.0.2.1"),
        ("10.0.0.1", &[], "10.0.0.1", "10.0.0.1"),
        ("10.0.0.1", &[b""], "10.0.0.1", "10.0.0.1"),
        ("10.0.0.1", &[b"1.2.3.4"], "1.2.3.4", "1.2.3.4, 10.0.0.1"),
        (
            "::ffff:10.0.0.1",
            &[b"1.2.3.4"],
            "1.2.3.4",
            "1.2.3.4, 10.0.0.1",
        ),
        (
            "10.0.0.1",
            &[b"6.6.6.6, 1.2.3.4"],
            "1.2.3.4",
            "1.2.3.4, 10.0.0.1",
        ),
        (
            "10.0.0.1",
            &[b"6.6.6.6", b"1.2.3.4,10.0.0.2"],
            "1.2.3.4",
            "1.2.3.4, 10.0.0.2, 10.0.0.1",
        ),
        (
            "10.0.0.1",
            &[b" 1.2.3.4:5678 ,\t, "],
            "1.2.3.4",
            "1.2.3.4, 10.0.0.1",
        ),
        (
            "10.0.0.1",
            &[b"[2001:db8::7]:443, [fd00::1]"],
            "2001:db8::7",
            "2001:db8::7, fd00::1, 10.0.0.1",
        ),
        (
            "fd00::9",
            &[b"::ffff:1.2.3.4"],
            "1.2.3.4",
            "1.2.3.4, fd00::9",
        ),
        (
            "10.0.0.1",
            &[b"1.2.3.4, unknown, 10.0.0.2"],
            "10.0.0.2",
            "10.0.0.2, 10.0.0.1",
        ),
        ("10.0.0.1", &[b"1.2.3.4, [1.2.3.4]"], "10.0.0.1", "10.0.0.1"),
        (
            "10.0.0.1",
            &[b"1.2.3.4, fe80::1%eth0"],
            "10.0.0.1",
            "10.0.0.1",
        ),
        ("10.0.0.1", &[b"1.2.3.4, \xff\xfe"], "10.0.0.1", "10.0.0.1"),
        (
            "10.0.0.1",
            &[b"10.0.0.3, 10.0.0.2"],
            "10.0.0.3",
            "10.0.0.3, 10.0.0.2, 10.0.0.1",
        ),
    ];

    #[test]
    fn a_list_is_believed_as_far_as_it_is_trusted() {
        for &(peer, lines, client, written) in CASES {
            assert_eq!(
                chain(peer, lines),
                (ip(client), written.to_owned()),
                "{peer} {lines:?}"
            );
        }
    }

    #[test]
    fn a_chain_without_end_is_cut() {
        let long = "10.1.1.1,".repeat(5_000);
        let (client, written) = chain("10.0.0.1", &[b"1.2.3.4", long.as_bytes()]);
        assert_eq!(client, ip("10.1.1.1"));
        assert_eq!(written.split(", ").count(), CHAIN_MAX);
    }
}
