//! Loop detection with `CDN-Loop` (RFC 8586): a request that returns to the weir that forwarded it is a loop.
//!
//! Each process adds a token of its own, `weir-` and random hex, to the header when it forwards a request. So one
//! weir may be in front of another, and a loop through any number of them is detected. A loop through replicas
//! behind one address ends when it reaches one of them a second time.

use http::header::{HeaderMap, HeaderName, HeaderValue};

pub const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// The token of this process in `CDN-Loop`.
#[derive(Clone, Debug)]
pub struct LoopToken {
    /// A pseudonym of RFC 8586, section 2.
    text: Box<str>,
    /// The header's value where no other proxy has set it.
    only_value: HeaderValue,
}

impl LoopToken {
    /// A new token out of `random` bits.
    #[must_use]
    pub fn new(random: u64) -> Self {
        let text = format!("weir-{random:016x}");
        LoopToken {
            // Letters, digits and a hyphen: the fallback is never taken.
            only_value: HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("weir")),
            text: text.into(),
        }
    }

    /// Whether a request has been forwarded by this process before.
    #[must_use]
    pub fn is_in(&self, headers: &HeaderMap) -> bool {
        let lines = headers.get_all(CDN_LOOP).iter();
        let mut entries = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
        entries.any(|entry| {
            let name = entry.split(|byte| *byte == b';').next().unwrap_or(entry);
            name.trim_ascii().eq_ignore_ascii_case(self.text.as_bytes())
        })
    }

    /// The value that is forwarded: the entries of other proxies, then this token, in one line. It is also forwarded
    /// if `Connection` names it: a client cannot disable the loop detection of others.
    #[must_use]
    pub fn added_to(&self, headers: &HeaderMap) -> HeaderValue {
        if !headers.contains_key(CDN_LOOP) {
            return self.only_value.clone();
        }
        let mut value = Vec::new();
        for line in headers.get_all(CDN_LOOP) {
            if !line.is_empty() {
                value.extend_from_slice(line.as_bytes());
                value.extend_from_slice(b", ");
            }
        }
        value.extend_from_slice(self.text.as_bytes());
        HeaderValue::from_bytes(&value).unwrap_or_else(|_| self.only_value.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            let value = HeaderValue::from_bytes(line.as_bytes()).expect("a value");
            headers.append(CDN_LOOP, value);
        }
        headers
    }

    #[test]
    fn a_token_is_found_at_any_position_and_no_other_matches() {
        let token = LoopToken::new(0xabc);
        for lines in [
            &["weir-0000000000000abc"][..],
            &["WEIR-0000000000000ABC"],
            &["a.example, weir-0000000000000abc;x=\"y, z\" , b"],
            &["a", "b , weir-0000000000000abc"],
        ] {
            assert!(token.is_in(&headers(lines)), "{lines:?}");
        }
        for lines in [
            &[][..],
            &[""],
            &["weir"],
            &["weir-0000000000000abd"],
            &["a;weir-0000000000000abc, xweir-0000000000000abc, weir-0000000000000abcx"],
        ] {
            assert!(!token.is_in(&headers(lines)), "{lines:?}");
        }
    }

    #[test]
    fn entries_of_other_proxies_come_first() {
        let token = LoopToken::new(1);
        for (lines, value) in [
            (&[][..], "weir-0000000000000001"),
            (&[""], "weir-0000000000000001"),
            (&["a;b=c"], "a;b=c, weir-0000000000000001"),
            (&["a, b", "\u{e4}"], "a, b, \u{e4}, weir-0000000000000001"),
        ] {
            assert_eq!(token.added_to(&headers(lines)).as_bytes(), value.as_bytes());
        }
    }
}
