//! The codings that weir accepts from a backend.

use http::HeaderValue;

use super::ContentCoding;

/// A client's `Accept-Encoding`, reduced to the codings that weir can decode, with their weights; `identity` if none
/// is left. Codings that the client refuses remain refused.
pub fn readable<'a>(accepted: impl IntoIterator<Item = &'a HeaderValue>) -> HeaderValue {
    let mut reduced: Vec<u8> = Vec::new();
    let mut any = false;
    let lines = accepted.into_iter().map(HeaderValue::as_bytes);
    for element in lines.flat_map(|line| line.split(|byte| *byte == b',')) {
        let element = element.trim_ascii();
        let mut parts = element.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let name = parts.next().unwrap_or_default();
        let refused = parts.any(is_zero_weight);
        let coding = ContentCoding::named(name).is_some() || name.eq_ignore_ascii_case(b"identity");
        let all_refused = name == b"*" && refused;
        if !(coding || all_refused) {
            continue;
        }
        any |= !refused;
        if !reduced.is_empty() {
            reduced.extend_from_slice(b", ");
        }
        reduced.extend_from_slice(element);
    }
    let identity = HeaderValue::from_static("identity");
    match any {
        true => HeaderValue::from_bytes(&reduced).unwrap_or(identity),
        false => identity,
    }
}

/// The weight after `q=`, in thousandths (RFC 9110, section 12.4.2): at most three decimals.
#[must_use]
pub fn weight(text: &[u8]) -> Option<u16> {
    let (whole, digits) = match text {
        [whole @ (b'0' | b'1')] => (whole, &[][..]),
        [whole @ (b'0' | b'1'), b'.', digits @ ..] if digits.len() <= 3 => (whole, digits),
        _ => return None,
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let worth = [100, 10, 1].iter().zip(digits);
    let part: u16 = worth
        .map(|(worth, digit)| worth * u16::from(digit - b'0'))
        .sum();
    let weight = u16::from(whole - b'0') * 1000 + part;
    (weight <= 1000).then_some(weight)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_have_at_most_three_decimals() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1", Some(1000)),
            ("0.", Some(0)),
            ("1.", Some(1000)),
            ("0.5", Some(500)),
            ("0.05", Some(50)),
            ("0.005", Some(5)),
            ("1.000", Some(1000)),
            ("1.001", None),
            ("0.0005", None),
            ("2", None),
            (".5", None),
            ("0,5", None),
            ("-1", None),
            ("", None),
        ] {
            assert_eq!(weight(text.as_bytes()), expected, "{text}");
        }
    }
}
