//! `CDN-Loop` (RFC 8586): a request that comes back to the weir that sent it is a loop.
//!
//! Each process has a token of its own, `weir-` and random hex, which it adds to what stands there when a
//! request goes on. So one weir may stand before another, and a loop through any number of them ends
//! where it comes round. Through replicas behind one address it ends when it meets one a second time.

use http::header::{HeaderMap, HeaderName, HeaderValue};

pub const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// What this process writes into `CDN-Loop`.
#[derive(Clone, Debug)]
pub struct LoopToken {
    /// A pseudonym of RFC 8586, section 2.
    text: Box<str>,
    /// The value where nobody has written one before.
    alone: HeaderValue,
}

impl LoopToken {
    /// A new token out of `random` bits.
    #[must_use]
    pub fn new(random: u64) -> Self {
        let text = format!("weir-{random:016x}");
        LoopToken {
            // Letters, digits and a hyphen: the fallback is never taken.
            alone: HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("weir")),
            text: text.into(),
        }
    }

    /// Whether a request has been here before.
    #[must_use]
    pub fn stands_in(&self, headers: &HeaderMap) -> bool {
        let lines = headers.get_all(CDN_LOOP).iter();
        let mut entries = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
        entries.any(|entry| {
            let name = entry.split(|byte| *byte == b';').next().unwrap_or(entry);
            name.trim_ascii().eq_ignore_ascii_case(self.text.as_bytes())
        })
    }

    /// The value that goes on: what others have written, and this token behind it. It is one line, also
    /// where `Connection` names the field: what others rely on is not a client's to take away.
    #[must_use]
    pub fn added_to(&self, headers: &HeaderMap) -> HeaderValue {
        if !headers.contains_key(CDN_LOOP) {
            return self.alone.clone();
        }
        let mut value = Vec::new();
        for line in headers.get_all(CDN_LOOP) {
            if !line.is_empty() {
                value.extend_from_slice(line.as_bytes());
                value.extend_from_slice(b", ");
            }
        }
        value.extend_from_slice(self.text.as_bytes());
        HeaderValue::from_bytes(&value).unwrap_or_else(|_| self.alone.clone())
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
    fn a_token_is_found_wherever_it_stands_and_no_other_is_taken_for_it() {
        let token = LoopToken::new(0xabc);
        for lines in [
            &["weir-0000000000000abc"][..],
            &["WEIR-0000000000000ABC"],
            &["a.example, weir-0000000000000abc;x=\"y, z\" , b"],
            &["a", "b , weir-0000000000000abc"],
        ] {
            assert!(token.stands_in(&headers(lines)), "{lines:?}");
        }
        for lines in [
            &[][..],
            &[""],
            &["weir"],
            &["weir-0000000000000abd"],
            &["a;weir-0000000000000abc, xweir-0000000000000abc, weir-0000000000000abcx"],
        ] {
            assert!(!token.stands_in(&headers(lines)), "{lines:?}");
        }
    }

    #[test]
    fn what_others_wrote_stays_in_front() {
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
