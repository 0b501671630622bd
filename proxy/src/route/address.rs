//! The client's address: the peer's, or behind trusted proxies the one they report; and what weir
//! reports to the backend in turn.
//!
//! `X-Forwarded-For` has no standard; what proxies write is a list of addresses, nearest last, some
//! with a port, IPv6 in brackets or bare. Several lines are one list (RFC 9110, section 5.3).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

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
/// is no address ends the list: then the last trusted hop is the client. An address that carries an IPv4
/// one is that one (see [`counted`]), so that one client is one client.
#[must_use]
pub fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    match Chain::believed(peer, headers, trusted) {
        Some(chain) => counted(chain.addresses[chain.length - 1]),
        None => counted(peer),
    }
}

/// What an address counts as in allow lists, limits and events: the IPv4 address that it carries, if it
/// does. That is so for IPv4-mapped addresses (RFC 4291, section 2.5.5.2), and for those that a NAT64
/// makes of IPv4 clients: under its well-known prefix 64:ff9b::/96 (RFC 6052), and under the prefix for
/// local use 64:ff9b:1::/48 (RFC 8215), of which translators use a /96 or, when nothing follows it, the
/// whole. Whether a hop is trusted is never decided by it: anybody behind a NAT64 could look like one.
#[must_use]
pub fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => translated(address).map_or(IpAddr::V6(address), IpAddr::V4),
        address => address,
    }
}

/// The IPv4 address that a NAT64 has embedded (RFC 6052, section 2.2).
fn translated(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let bytes = address.octets();
    let last = Ipv4Addr::new(bytes[12], bytes[13], bytes[14], bytes[15]);
    match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some(last),
        [0x64, 0xff9b, 1, ..] if !last.is_unspecified() => Some(last),
        // Behind a /48, with the octet that RFC 6052 leaves at zero in between.
        [0x64, 0xff9b, 1, ..] if bytes[8] == 0 && bytes[11] == 0 => {
            Some(Ipv4Addr::new(bytes[6], bytes[7], bytes[9], bytes[10]))
        }
        _ => None,
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
        let _ = write!(text, "{}", address.to_canonical());
    }
    HeaderValue::try_from(text).ok()
}

/// The peer and what is believed behind it, from the peer outwards, as they were written; never empty. A
/// peer that came in over a socket for both families is the IPv4 peer that it is.
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
    Some(address)
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
    fn an_address_counts_as_the_ipv4_address_that_it_carries() {
        for (address, counts_as) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("64:ff9b::192.0.2.1", "192.0.2.1"),
            ("64:ff9b:0:0:0:0:c000:201", "192.0.2.1"),
            ("64:ff9b:1::192.0.2.1", "192.0.2.1"),
            ("64:ff9b:1:abcd:12:34:192.0.2.1", "192.0.2.1"),
            ("64:ff9b:1:c000:2:100::", "192.0.2.1"),
            ("64:ff9b:2::192.0.2.1", "64:ff9b:2::c000:201"),
            ("64:ff9b:0:1::192.0.2.1", "64:ff9b:0:1::c000:201"),
            ("2001:db8::192.0.2.1", "2001:db8::c000:201"),
            ("::192.0.2.1", "::c000:201"),
            ("::1", "::1"),
        ] {
            assert_eq!(counted(ip(address)), ip(counts_as), "{address}");
            assert_eq!(client(ip(address), &HeaderMap::new(), &[]), ip(counts_as));
        }
    }

    #[test]
    fn what_an_address_carries_makes_no_hop_trusted() {
        for (peer, line, client, written) in [
            ("64:ff9b::10.0.0.1", "1.2.3.4", "10.0.0.1", "64:ff9b::a00:1"),
            (
                "64:ff9b:1::10.0.0.1",
                "1.2.3.4",
                "10.0.0.1",
                "64:ff9b:1::a00:1",
            ),
            (
                "10.0.0.1",
                "6.6.6.6, 64:ff9b::10.0.0.2",
                "10.0.0.2",
                "64:ff9b::a00:2, 10.0.0.1",
            ),
            (
                "10.0.0.1",
                "6.6.6.6, ::ffff:10.0.0.2",
                "10.0.0.2",
                "10.0.0.2, 10.0.0.1",
            ),
            (
                "10.0.0.1",
                "64:ff9b::1.2.3.4",
                "1.2.3.4",
                "64:ff9b::102:304, 10.0.0.1",
            ),
        ] {
            let expected = (ip(client), written.to_owned());
            assert_eq!(chain(peer, &[line.as_bytes()]), expected, "{peer} {line}");
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
