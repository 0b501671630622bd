//! The `RateLimit-Policy`, `RateLimit` and `Retry-After` fields of a response
//! (draft-ietf-httpapi-ratelimit-headers-10, RFC 9110 section 10.2.3).

use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;

/// Appends one item of `RateLimit-Policy`: `q` requests are admitted at once, and a used-up quota
/// is restored after `w` seconds.
pub(super) fn push_policy(list: &mut Vec<u8>, name: &str, quota: u32, window_s: u64) {
    if !list.is_empty() {
        list.extend_from_slice(b", ");
    }
    push_string(list, name);
    push_parameter(list, b'q', u64::from(quota));
    push_parameter(list, b'w', window_s);
}

/// The value of `RateLimit`: `remaining` requests are left, the quota is restored in `reset_s` seconds.
pub(super) fn rate_limit(name: &str, remaining: u64, reset_s: u64) -> HeaderValue {
    let mut value = Vec::with_capacity(name.len() + 32);
    push_string(&mut value, name);
    push_parameter(&mut value, b'r', remaining);
    push_parameter(&mut value, b't', reset_s);
    field(value)
}

/// Whole seconds, rounded up.
pub(super) fn seconds_up(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// The value of `Retry-After`: whole seconds, rounded up and at least 1, because a client that reads 0
/// retries at once and is rejected again.
#[must_use]
pub fn retry_after_s(wait: Duration) -> u64 {
    seconds_up(wait).max(1)
}

pub(super) fn field(value: Vec<u8>) -> HeaderValue {
    // Everything pushed above is printable ASCII, so the fallback is never used.
    HeaderValue::from_maybe_shared(Bytes::from(value))
        .unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// A String of RFC 9651 section 3.3.3, which can only contain printable ASCII.
fn push_string(value: &mut Vec<u8>, text: &str) {
    value.push(b'"');
    for character in text.chars() {
        match character {
            '"' | '\\' => value.extend_from_slice(&[b'\\', character as u8]),
            ' '..='~' => value.push(character as u8),
            _ => value.push(b'_'),
        }
    }
    value.push(b'"');
}

fn push_parameter(value: &mut Vec<u8>, name: u8, number: u64) {
    value.extend_from_slice(&[b';', name, b'=']);
    value.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_as_the_draft_writes_them() {
        assert_eq!(rate_limit("per-client", 37, 1), "\"per-client\";r=37;t=1");
        let mut list = Vec::new();
        push_policy(&mut list, "per-client", 40, 2);
        push_policy(&mut list, "everyone", 100, 2);
        assert_eq!(
            field(list),
            "\"per-client\";q=40;w=2, \"everyone\";q=100;w=2"
        );
    }

    #[test]
    fn a_name_cannot_break_out_of_its_quotes() {
        assert_eq!(rate_limit(r#"a"b\c"#, 0, 0), r#""a\"b\\c";r=0;t=0"#);
        assert_eq!(rate_limit("a\r\nb\u{e9}", 0, 0), "\"a__b_\";r=0;t=0");
    }

    #[test]
    fn seconds_are_rounded_up() {
        assert_eq!(retry_after_s(Duration::ZERO), 1);
        assert_eq!(retry_after_s(Duration::from_nanos(1)), 1);
        assert_eq!(retry_after_s(Duration::from_secs(1)), 1);
        assert_eq!(retry_after_s(Duration::from_millis(1001)), 2);
        assert_eq!(seconds_up(Duration::ZERO), 0);
    }
}
