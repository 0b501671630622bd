//! Requests the token usage of a stream whose client did not: inserts `stream_options.include_usage` of OpenAI's chat
//! completions (platform.openai.com/docs/api-reference/chat/create) into the text of the body, so that every other
//! byte is preserved.

use std::ops::Range;

use bytes::Bytes;
use http::{HeaderMap, header};

use super::json_member::{members, range_of, replaced};

const OPTIONS: &str = "stream_options";
const INCLUDE: &str = "include_usage";
const REQUESTED: &str = r#"{"include_usage":true}"#;

/// Headers that are computed from the bytes of the body: their verification would fail.
const DIGESTS: [&str; 6] = [
    "content-digest",
    "content-md5",
    "digest",
    "repr-digest",
    "signature-input",
    "x-amz-content-sha256",
];

/// Whether the body of a request with these headers may be changed: it has no content coding, and no header is
/// computed from its bytes.
#[must_use]
pub fn may_change(headers: &HeaderMap) -> bool {
    let has_digest = DIGESTS.iter().any(|name| headers.contains_key(*name));
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    !has_digest && codings.all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// The body of a request for chat completions with its usage requested; `None` if it is forwarded unchanged: it
/// requests no stream, requests the usage already, or is not an unambiguous JSON object.
#[must_use]
pub fn with_usage_requested(body: &[u8]) -> Option<Bytes> {
    let ([stream, options], _) = members(["stream", OPTIONS], body)?;
    if stream? != "true" {
        return None;
    }
    let (range, text) = match options {
        None => (
            after_brace(body, 0)?,
            format!(r#""{OPTIONS}":{REQUESTED},"#),
        ),
        Some("null") => (range_of(options?, body)?, REQUESTED.to_owned()),
        Some(options) => match members([INCLUDE], options.as_bytes())? {
            ([None], count) => {
                let at = range_of(options, body)?.start;
                let comma = if count == 0 { "" } else { "," };
                let member = format!(r#""{INCLUDE}":true{comma}"#);
                (after_brace(body, at)?, member)
            }
            ([Some(include @ ("false" | "null"))], _) => {
                (range_of(include, body)?, "true".to_owned())
            }
            _ => return None,
        },
    };
    replaced(body, range, &text)
}

/// The empty range after the brace that opens the object at `from`.
fn after_brace(body: &[u8], from: usize) -> Option<Range<usize>> {
    let brace = body.get(from..)?.iter().position(|byte| *byte == b'{')?;
    let after = from + brace + 1;
    Some(after..after)
}

#[cfg(test)]
#[path = "ask_usage_tests.rs"]
mod tests;
