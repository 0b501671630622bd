//! Hop-by-hop fields: they describe one connection and are never forwarded (RFC 9110, section 7.6.1).

use http::HeaderMap;
use http::header::{self, HeaderName};

/// Whether a field applies to one connection only.
pub(crate) fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::CONNECTION
            | header::TRANSFER_ENCODING
            | header::UPGRADE
            | header::TE
            | header::TRAILER
            | header::PROXY_AUTHENTICATE
            | header::PROXY_AUTHORIZATION
    ) || matches!(
        name.as_str(),
        "keep-alive" | "proxy-connection" | "http2-settings"
    )
}

/// The names that `Connection` nominates; usually none.
pub(crate) fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| *name != header::CONNECTION && !is_hop_by_hop(name))
        .collect()
}

/// Whether `Connection` has this option (RFC 9110, section 7.6.1).
pub(crate) fn has_option(headers: &HeaderMap, option: &[u8]) -> bool {
    let lines = headers.get_all(header::CONNECTION).iter();
    let mut options = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    options.any(|named| named.trim_ascii().eq_ignore_ascii_case(option))
}
