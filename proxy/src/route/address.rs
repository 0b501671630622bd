//! The client's address: that of the peer, or the one that trusted proxies report; and the `X-Forwarded-For` that weir
//! sends to the backend.
//!
//! `X-Forwarded-For` has no standard; proxies write a list of addresses, the nearest last, some with a port, IPv6 with
//! or without brackets. Several lines are one list (RFC 9110, section 5.3).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;

/// The header that is read and written.
pub static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The longest chain of addresses, the peer included. Further entries are ignored: no deployment has so many proxies,
/// and a longer list is forged.
const CHAIN_MAX: usize = 32;

/// The address of the client. `X-Forwarded-For` is read from the right as long as the hop that wrote it is trusted;
/// the first address that is not trusted is the client. An entry that is not an address ends the list: then the last
/// trusted hop is the client. An embedded IPv4 address is used instead of the IPv6 one (see [`counted`]), so that a
/// client has one address.
#[must_use]
pub fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    match Chain::trusted(peer, headers, trusted) {
        Some(chain) => counted(chain.addresses[chain.length - 1]),
        None => counted(peer),
    }
}

/// The address that allow lists, limits and events use: the embedded IPv4 address, if there is one. That applies to
/// IPv4-mapped addresses (RFC 4291, section 2.5.5.2) and to those of IPv4 clients behind a
/// NAT64: under its well-known prefix 64:ff9b::/96 (RFC 6052), and under the prefix for
/// local use 64:ff9b:1::/48 (RFC 8215), of which translators use a /96 or, when nothing follows it, the
/// whole. Trust in a hop never depends on it: any client behind a NAT64 could have the address of one.
#[must_use]
pub fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => translated(address).map_or(IpAddr::V6(address), IpAddr::V4),
        address => address,
    }
}

/// Whether an address, as [`counted`], belongs to one host worldwide. All others are reused: 172.17.0.1, for example, is
/// every client behind a Docker bridge, on every host.
#[must_use]
pub fn is_globally_unique(address: IpAddr) -> bool {
    match address {
        // RFC 1122; RFC 1918; RFC 6598; RFC 3927; RFC 6890, section 2.2.2; RFC 2544; RFC 5771 and RFC 1112, section 4.
        IpAddr::V4(address) => !matches!(
            address.octets(),
            [0 | 10 | 127, ..]
                | [172, 16..=31, ..]
                | [192, 168, ..]
                | [100, 64..=127, ..]
                | [169, 254, ..]
                | [192, 0, 0, _]
                | [198, 18 | 19, ..]
                | [224..=255, ..]
        ),
        // Global unicast: RFC 4291, section 2.4. Unique local and link-local addresses are outside of it.
        IpAddr::V6(address) => address.segments()[0] & 0xe000 == 0x2000,
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

/// The `X-Forwarded-For` for the backend, which replaces the client's: the trusted part of the chain, from the client
/// to the peer. `None` when that is only the peer, as for every peer that is not trusted.
#[must_use]
pub fn forwarded_for(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Option<HeaderValue> {
    use std::fmt::Write as _;

    let chain = Chain::trusted(peer, headers, trusted)?;
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

/// The peer and the trusted part of the chain behind it, from the peer outwards; never empty. An IPv4 peer on a
/// dual-stack socket has its IPv4 address.
struct Chain {
    addresses: [IpAddr; CHAIN_MAX],
    length: usize,
}

impl Chain {
    /// `None` when the peer is not trusted, or there is no header.
    fn trusted(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Option<Chain> {
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

    /// The peer, its header lines, the client, and the header for the backend.
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

    #[test]
    fn private_shared_and_local_addresses_are_not_globally_unique() {
        for reused in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.17.0.1",
            "172.31.255.255",
            "192.0.0.2",
            "192.168.1.1",
            "198.19.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.1.2.3",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "ff02::1",
            "64:ff9b::a01:203",
        ] {
            assert!(!is_globally_unique(counted(ip(reused))), "{reused}");
        }
        for unique in [
            "1.1.1.1",
            "9.255.255.255",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.2.1",
            "192.167.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "2001:db8::1",
            "2a00::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
        ] {
            assert!(is_globally_unique(counted(ip(unique))), "{unique}");
        }
    }
}
