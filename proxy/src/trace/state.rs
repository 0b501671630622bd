//! `tracestate` and `baggage`: lists that weir forwards without adding to them.

use http::HeaderValue;
use http::header::GetAll;

/// The maximum number of members of a `tracestate`; a longer one is invalid.
const STATE_MEMBERS_MAX: usize = 32;
/// The maximum length of a `tracestate` key or value.
const STATE_PART_BYTES_MAX: usize = 256;
/// The limits up to which `baggage` must be forwarded (W3C Baggage, section 3.3.2); weir drops larger ones.
const BAGGAGE_BYTES_MAX: usize = 8192;
const BAGGAGE_MEMBERS_MAX: usize = 64;

/// The incoming `tracestate` as one line, or `None` if there is none or it is malformed.
///
/// The grammar is that of level 2, whose keys may have several `@`; it accepts all of level 1. Of equal keys the
/// first, which is the newest, is kept; empty members and whitespace around members are removed. A valid list is
/// forwarded completely, whatever its length: the specification requires at least 512 characters.
pub(super) fn tracestate(lines: GetAll<'_, HeaderValue>) -> Option<HeaderValue> {
    let mut members: [&[u8]; STATE_MEMBERS_MAX] = [&[]; STATE_MEMBERS_MAX];
    let mut kept = 0;
    let mut seen = 0;
    for member in lines.iter().flat_map(list) {
        seen += 1;
        let key = valid_key(member)?;
        if seen > STATE_MEMBERS_MAX {
            return None;
        }
        let is_repeated = members[..kept]
            .iter()
            .any(|earlier| earlier.starts_with(key) && earlier.get(key.len()) == Some(&b'='));
        if !is_repeated {
            members[kept] = member;
            kept += 1;
        }
    }
    joined(lines, &members[..kept])
}

/// The incoming `baggage` as one line, or `None` if there is none, it is too long or not ASCII. Its members are not
/// parsed.
pub(super) fn baggage(lines: GetAll<'_, HeaderValue>) -> Option<HeaderValue> {
    let mut members: [&[u8]; BAGGAGE_MEMBERS_MAX] = [&[]; BAGGAGE_MEMBERS_MAX];
    let mut kept = 0;
    let mut bytes = 0;
    for member in lines.iter().flat_map(list) {
        bytes += member.len() + usize::from(kept > 0);
        if kept == BAGGAGE_MEMBERS_MAX || bytes > BAGGAGE_BYTES_MAX || !member.is_ascii() {
            return None;
        }
        members[kept] = member;
        kept += 1;
    }
    joined(lines, &members[..kept])
}

/// The members of one line; empty ones are allowed and ignored.
fn list(line: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    line.as_bytes()
        .split(|&byte| byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

/// All members as one line, without a copy if the client sent exactly that.
fn joined(lines: GetAll<'_, HeaderValue>, members: &[&[u8]]) -> Option<HeaderValue> {
    let first = lines.iter().next().filter(|_| !members.is_empty())?;
    let length = members.iter().map(|member| member.len() + 1).sum::<usize>() - 1;
    if first.len() == length && lines.iter().nth(1).is_none() {
        return Some(first.clone());
    }
    HeaderValue::from_bytes(&members.join(&b',')).ok()
}

/// The key of a member; `None` if the member is invalid.
fn valid_key(member: &[u8]) -> Option<&[u8]> {
    let equals = memchr::memchr(b'=', member)?;
    let (key, value) = (&member[..equals], &member[equals + 1..]);
    let key_fits = (1..=STATE_PART_BYTES_MAX).contains(&key.len())
        && (key[0].is_ascii_lowercase() || key[0].is_ascii_digit())
        && key.iter().all(|&byte| {
            byte.is_ascii_lowercase()
                || byte.is_ascii_digit()
                || matches!(byte, b'_' | b'-' | b'*' | b'/' | b'@')
        });
    // The member is trimmed, so its value does not end with a space.
    let value_fits = (1..=STATE_PART_BYTES_MAX).contains(&value.len())
        && value
            .iter()
            .all(|&byte| matches!(byte, b' '..=b'~') && byte != b'=');
    (key_fits && value_fits).then_some(key)
}
