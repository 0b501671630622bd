//! The directives of `Cache-Control` (RFC 9111 section 5.2).

use http::{HeaderMap, HeaderValue, header};

/// Calls `found` with the name and argument of every directive, as they are written.
pub(super) fn for_each_directive(headers: &HeaderMap, mut found: impl FnMut(&[u8], Option<&[u8]>)) {
    for value in headers.get_all(header::CACHE_CONTROL) {
        directives(value).for_each(|(name, argument)| found(name, argument));
    }
}

/// The names and arguments of the directives in one value.
///
/// A quoted argument with commas is split into pieces, of which the first has the name: enough for directives
/// that matter by their presence alone.
pub(super) fn directives(value: &HeaderValue) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    value
        .as_bytes()
        .split(|byte| *byte == b',')
        .map(|directive| {
            let mut halves = directive.splitn(2, |byte| *byte == b'=');
            let name = halves.next().unwrap_or_default().trim_ascii();
            (name, halves.next().map(<[u8]>::trim_ascii))
        })
}

/// Whether an argument in seconds is zero, also if it is quoted.
pub(super) fn is_zero(argument: Option<&[u8]>) -> bool {
    argument.is_some_and(|seconds| {
        let digits = seconds.strip_prefix(b"\"").unwrap_or(seconds);
        let digits = digits.strip_suffix(b"\"").unwrap_or(digits);
        !digits.is_empty() && digits.iter().all(|digit| *digit == b'0')
    })
}
