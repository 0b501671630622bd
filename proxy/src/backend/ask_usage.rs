//! Requests the token usage of a stream whose client did not: inserts `stream_options.include_usage` of OpenAI's chat
//! completions (platform.openai.com/docs/api-reference/chat/create) into the text of the body, so that every other
//! byte is preserved.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use http::{HeaderMap, header};
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

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
    let before = body.get(..range.start)?;
    let after = body.get(range.end..)?;
    Some([before, text.as_bytes(), after].concat().into())
}

/// The range of a value within the body that it is borrowed from.
fn range_of(value: &str, body: &[u8]) -> Option<Range<usize>> {
    let start = (value.as_ptr() as usize).checked_sub(body.as_ptr() as usize)?;
    Some(start..start + value.len())
}

/// The empty range after the brace that opens the object at `from`.
fn after_brace(body: &[u8], from: usize) -> Option<Range<usize>> {
    let brace = body.get(from..)?.iter().position(|byte| *byte == b'{')?;
    let after = from + brace + 1;
    Some(after..after)
}

/// The raw values of the members with these names, and how many members the object has; `None` if the text is not a
/// JSON object, or has one of these members twice.
fn members<'a, const N: usize>(
    names: [&str; N],
    text: &'a [u8],
) -> Option<([Option<&'a str>; N], usize)> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let members = MembersOf(names).deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    Some(members)
}

struct MembersOf<'n, const N: usize>([&'n str; N]);

/// The name of a member, borrowed unless it contains escapes.
#[derive(Deserialize)]
struct MemberName<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a, const N: usize> DeserializeSeed<'a> for MembersOf<'_, N> {
    type Value = ([Option<&'a str>; N], usize);

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'a, const N: usize> Visitor<'a> for MembersOf<'_, N> {
    type Value = ([Option<&'a str>; N], usize);

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut values = [None; N];
        let mut count = 0;
        while let Some(MemberName(name)) = map.next_key()? {
            count += 1;
            let Some(at) = self.0.iter().position(|known| *known == name) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let value: &RawValue = map.next_value()?;
            if values[at].replace(value.get()).is_some() {
                return Err(M::Error::custom("the member is duplicated"));
            }
        }
        Ok((values, count))
    }
}

#[cfg(test)]
#[path = "ask_usage_tests.rs"]
mod tests;
