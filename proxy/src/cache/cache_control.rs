//! The directives of `Cache-Control` (RFC 9111 section 5.2).

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};

/// Calls `found` with the name and argument of every directive, as they are written.
pub(super) fn for_each_directive(headers: &HeaderMap, mut found: impl FnMut(&[u8], Option<&[u8]>)) {
    for value in headers.get_all(header::CACHE_CONTROL) {
        directives(value).for_each(|(name, argument)| found(name, argument));
    }
}

/// The names and arguments of the directives in one value. A comma within a quoted argument separates nothing.
pub(super) fn directives(value: &HeaderValue) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    members(value.as_bytes()).map(|directive| {
        let mut halves = directive.splitn(2, |byte| *byte == b'=');
        let name = halves.next().unwrap_or_default().trim_ascii();
        (name, halves.next().map(<[u8]>::trim_ascii))
    })
}

/// The members of a list with commas (RFC 9110, section 5.6.1), untrimmed; commas within quoted strings belong to them.
pub(super) fn members(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(list);
    std::iter::from_fn(move || {
        let list = rest?;
        let (mut is_quoted, mut is_escaped) = (false, false);
        let end = list.iter().position(|byte| {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' if is_quoted => is_escaped = true,
                b'"' => is_quoted = !is_quoted,
                b',' if !is_quoted => return true,
                _ => {}
            }
            false
        });
        rest = end.map(|end| &list[end + 1..]);
        Some(&list[..end.unwrap_or(list.len())])
    })
}

/// The freshness lifetimes that directives state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LifetimeDirectives {
    pub(super) max_age: Option<Duration>,
    /// For shared caches.
    pub(super) s_maxage: Option<Duration>,
}

impl LifetimeDirectives {
    /// Reads a directive, if it is one of these. A duplicate or invalid value makes the response stale (section 4.2.1).
    pub(super) fn read(&mut self, name: &[u8], argument: Option<&[u8]>) {
        let place = if name.eq_ignore_ascii_case(b"max-age") {
            &mut self.max_age
        } else if name.eq_ignore_ascii_case(b"s-maxage") {
            &mut self.s_maxage
        } else {
            return;
        };
        *place = Some(match place {
            None => argument.and_then(seconds).unwrap_or_default(),
            Some(_) => Duration::ZERO,
        });
    }
}

/// Seconds as a token or a quoted string, saturating.
pub(super) fn seconds(text: &[u8]) -> Option<Duration> {
    let quoted = text.strip_prefix(b"\"");
    let digits = quoted.map_or(Some(text), |text| text.strip_suffix(b"\""))?;
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |sum: u64, digit: &u8| {
        sum.saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    };
    Some(Duration::from_secs(digits.iter().fold(0, add)))
}

/// Whether an argument in seconds is zero, also if it is quoted.
pub(super) fn is_zero(argument: Option<&[u8]>) -> bool {
    argument.is_some_and(|seconds| {
        let digits = seconds.strip_prefix(b"\"").unwrap_or(seconds);
        let digits = digits.strip_suffix(b"\"").unwrap_or(digits);
        !digits.is_empty() && digits.iter().all(|digit| *digit == b'0')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_quoted_strings_separate_nothing() {
        let split = |text: &'static str| {
            let members = members(text.as_bytes());
            let texts = members.map(|member| std::str::from_utf8(member).expect("text"));
            texts.collect::<Vec<_>>()
        };
        assert_eq!(split(""), [""]);
        assert_eq!(split("a, b,c"), ["a", " b", "c"]);
        assert_eq!(split("a=\"b, c\", d"), ["a=\"b, c\"", " d"]);
        assert_eq!(split("a=\"b\\\", c\", d"), ["a=\"b\\\", c\"", " d"]);
        assert_eq!(split("a=\"b, c"), ["a=\"b, c"]);
    }
}
