//! Finds members of a JSON object and replaces parts of its text, so that every other byte is preserved.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The text with this range replaced.
pub(super) fn replaced(body: &[u8], range: Range<usize>, text: &str) -> Option<Bytes> {
    let before = body.get(..range.start)?;
    let after = body.get(range.end..)?;
    Some([before, text.as_bytes(), after].concat().into())
}

/// The range of a value within the body that it is borrowed from.
pub(super) fn range_of(value: &str, body: &[u8]) -> Option<Range<usize>> {
    let start = (value.as_ptr() as usize).checked_sub(body.as_ptr() as usize)?;
    Some(start..start + value.len())
}

/// The raw values of the members with these names, and how many members the object has; `None` if the text is not a
/// JSON object, or has one of these members twice.
pub(super) fn members<'a, const N: usize>(
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
