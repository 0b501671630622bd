//! Which codings a backend may be asked for.

use http::HeaderValue;

use super::Coding;

/// What a client's `Accept-Encoding` leaves when only codings that weir can read are asked for, weights
/// kept; `identity` where that is none. What the client refuses stays refused.
pub fn readable<'a>(accepted: impl IntoIterator<Item = &'a HeaderValue>) -> HeaderValue {
    let mut kept: Vec<u8> = Vec::new();
    let mut any = false;
    let lines = accepted.into_iter().map(HeaderValue::as_bytes);
    for element in lines.flat_map(|line| line.split(|byte| *byte == b',')) {
        let element = element.trim_ascii();
        let mut parts = element.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let name = parts.next().unwrap_or_default();
        let refused = parts.any(is_zero_weight);
        let coding = Coding::named(name).is_some() || name.eq_ignore_ascii_case(b"identity");
        if !coding && !(name == b"*" && refused) {
            continue;
        }
        any |= !refused;
        if !kept.is_empty() {
            kept.extend_from_slice(b", ");
        }
        kept.extend_from_slice(element);
    }
    let identity = HeaderValue::from_static("identity");
    match any {
        true => HeaderValue::from_bytes(&kept).unwrap_or(identity),
        false => identity,
    }
}

/// RFC 9110, section 12.4.2: a weight of 0 is "not acceptable".
fn is_zero_weight(parameter: &[u8]) -> bool {
    let Some((b'q' | b'Q', rest)) = parameter.split_first() else {
        return false;
    };
    let Some((b'=', weight)) = rest.trim_ascii_start().split_first() else {
        return false;
    };
    let weight = weight.trim_ascii();
    weight.first() == Some(&b'0') && weight.iter().all(|byte| matches!(byte, b'0' | b'.'))
}
