//! The binary form of a stored response, as it is written to Redis: versioned, checked, and compressed above 1 KiB.
//!
//! ```text
//! magic "weir" | version u8 | compression u8 | payload bytes u32 | CRC-32 u32 | payload, perhaps compressed
//! payload: key [32] | position of the last purge that was known: u64, u64 | status u16 | stored at, initial age, lifetime: nanoseconds u64 each | length kind u8
//!          | head bytes u32 | number of ends u32 | ends u32 each | head and body
//! ```
//!
//! All numbers are little-endian; the CRC covers everything behind it and the two fields before it. Anything may be in
//! a shared store: an entry of another version, of another key, cut off, corrupted or larger than allowed is rejected,
//! and counts as a miss.

use std::borrow::Cow;
use std::io::Read as _;
use std::time::Duration;

use super::purge::PurgePosition;
use super::segments::Segments;
use super::{BodyLength, CacheKey, CachedResponse};

/// The largest payload that is written or read; it also bounds what a compressed entry may become.
pub(super) const ENTRY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// A payload up to this size is not compressed.
const PLAIN_BYTES_MAX: usize = 1024;
/// The fastest level of zstd that compresses text well.
const COMPRESSION_LEVEL: i32 = 1;

const MAGIC: &[u8; 4] = b"weir";
/// Changes with the layout.
const VERSION: u8 = 2;
const PLAIN: u8 = 0;
const ZSTD: u8 = 1;

/// Magic, version, compression, payload bytes, CRC.
const HEADER_BYTES: usize = 14;
const KEY_BYTES: usize = 32;
/// The payload without its ends, head and body.
const FIXED_BYTES: usize = KEY_BYTES + 2 * 8 + 2 + 3 * 8 + 1 + 4 + 4;

/// Why an entry is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidEntry {
    #[error("it was not written by weir")]
    Foreign,
    #[error("it has another version")]
    OtherVersion,
    #[error("it is too large")]
    TooLarge,
    #[error("it is corrupted")]
    Corrupted,
    #[error("it belongs to another key")]
    OtherKey,
}

/// The entry of a response to a request that was asked when the purges up to `known` were known; `None` if it is too large.
pub(super) fn encode(
    key: &CacheKey,
    response: &CachedResponse,
    known: PurgePosition,
) -> Option<Vec<u8>> {
    let ends = response.ends.as_deref().unwrap_or_default();
    let payload_bytes = FIXED_BYTES + ends.len() * 4 + response.text.len();
    if payload_bytes > ENTRY_BYTES_MAX {
        return None;
    }
    let mut payload = Vec::with_capacity(payload_bytes);
    payload.extend_from_slice(&key.0);
    payload.extend_from_slice(&known.milliseconds.to_le_bytes());
    payload.extend_from_slice(&known.number.to_le_bytes());
    payload.extend_from_slice(&response.status.to_le_bytes());
    for time in [response.stored_at, response.initial_age, response.lifetime] {
        payload.extend_from_slice(&nanos(time).to_le_bytes());
    }
    payload.push(match response.length {
        BodyLength::Announced => 0,
        BodyLength::Unknown => 1,
    });
    // Everything is bounded by the largest payload, which a u32 can count.
    payload.extend_from_slice(&(response.head_bytes as u32).to_le_bytes());
    payload.extend_from_slice(&(ends.len() as u32).to_le_bytes());
    for end in ends {
        payload.extend_from_slice(&(*end as u32).to_le_bytes());
    }
    let parts = response.text.range(0..response.text.len());
    parts.for_each(|part| payload.extend_from_slice(&part));
    Some(with_header(&payload))
}

fn with_header(payload: &[u8]) -> Vec<u8> {
    let compressed = (payload.len() > PLAIN_BYTES_MAX)
        .then(|| zstd::bulk::compress(payload, COMPRESSION_LEVEL).ok())
        .flatten()
        .filter(|compressed| compressed.len() < payload.len());
    let (compression, stored) = match &compressed {
        Some(compressed) => (ZSTD, compressed.as_slice()),
        None => (PLAIN, payload),
    };
    let mut entry = Vec::with_capacity(HEADER_BYTES + stored.len());
    entry.extend_from_slice(MAGIC);
    entry.push(VERSION);
    entry.push(compression);
    entry.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    entry.extend_from_slice(&checksum(compression, payload.len() as u32, stored).to_le_bytes());
    entry.extend_from_slice(stored);
    entry
}

/// The response of an entry, and the purges that were known when its request was asked.
///
/// # Errors
/// Why it is not used.
pub(super) fn decode(
    key: &CacheKey,
    entry: &[u8],
) -> Result<(CachedResponse, PurgePosition), InvalidEntry> {
    let rest = entry.strip_prefix(MAGIC).ok_or(InvalidEntry::Foreign)?;
    let mut header = Fields(rest);
    if header.byte()? != VERSION {
        return Err(InvalidEntry::OtherVersion);
    }
    let compression = header.byte()?;
    let (payload_bytes, crc) = (header.u32()?, header.u32()?);
    if payload_bytes as usize > ENTRY_BYTES_MAX {
        return Err(InvalidEntry::TooLarge);
    }
    let stored = header.0;
    if checksum(compression, payload_bytes, stored) != crc {
        return Err(InvalidEntry::Corrupted);
    }
    let payload = match compression {
        PLAIN => Cow::Borrowed(stored),
        ZSTD => Cow::Owned(decompressed(stored, payload_bytes as usize)?),
        _ => return Err(InvalidEntry::OtherVersion),
    };
    if payload.len() != payload_bytes as usize {
        return Err(InvalidEntry::Corrupted);
    }
    read_payload(key, &payload)
}

/// What was compressed, which must have exactly `bytes` bytes.
fn decompressed(stored: &[u8], bytes: usize) -> Result<Vec<u8>, InvalidEntry> {
    let corrupted = |_| InvalidEntry::Corrupted;
    let decoder = zstd::stream::read::Decoder::with_buffer(stored).map_err(corrupted)?;
    let mut payload = Vec::with_capacity(bytes + 1);
    // One more byte, to detect a payload that is longer than announced.
    let mut bounded = decoder.take(bytes as u64 + 1);
    bounded.read_to_end(&mut payload).map_err(corrupted)?;
    Ok(payload)
}

fn read_payload(
    key: &CacheKey,
    payload: &[u8],
) -> Result<(CachedResponse, PurgePosition), InvalidEntry> {
    let mut fields = Fields(payload);
    if fields.take(KEY_BYTES)? != key.0.as_slice() {
        return Err(InvalidEntry::OtherKey);
    }
    let known = PurgePosition {
        milliseconds: fields.u64()?,
        number: fields.u64()?,
    };
    let status = fields.u16()?;
    let [stored_at, initial_age, lifetime] = [fields.time()?, fields.time()?, fields.time()?];
    let length = match fields.byte()? {
        0 => BodyLength::Announced,
        1 => BodyLength::Unknown,
        _ => return Err(InvalidEntry::Corrupted),
    };
    let head_bytes = fields.u32()? as usize;
    let count = fields.u32()? as usize;
    let ends = fields.take(count.checked_mul(4).ok_or(InvalidEntry::Corrupted)?)?;
    let ends = ends.chunks_exact(4).map(|end| {
        let end = end.try_into().map(u32::from_le_bytes);
        end.unwrap_or_default() as usize
    });
    let ends: Box<[usize]> = ends.collect();
    let text = fields.0;
    if head_bytes > text.len() {
        return Err(InvalidEntry::Corrupted);
    }
    let response = CachedResponse {
        status,
        stored_at,
        initial_age,
        lifetime,
        head_bytes,
        ends: (!ends.is_empty()).then_some(ends),
        length,
        text: Segments::copy_of(text, head_bytes),
    };
    match is_consistent(&response) {
        true => Ok((response, known)),
        false => Err(InvalidEntry::Corrupted),
    }
}

/// Whether everything that is derived from the response is inside of it, and its head can be sent as it is.
fn is_consistent(response: &CachedResponse) -> bool {
    let Some(head) = response.text.first().get(..response.head_bytes) else {
        return false;
    };
    let ends_fit = response.ends.as_deref().is_none_or(|ends| {
        let mut last = response.head_bytes;
        let rising = ends
            .iter()
            .all(|end| std::mem::replace(&mut last, *end) < *end);
        rising && ends.len() > 1 && last == response.text.len()
    });
    ends_fit && (200..600).contains(&response.status) && has_valid_lines(head)
}

/// Whether each line is a header that a stored response may have.
fn has_valid_lines(mut head: &[u8]) -> bool {
    while !head.is_empty() {
        let Some(end) = memchr::memchr(b'\r', head) else {
            return false;
        };
        let (line, rest) = head.split_at(end);
        let Some(rest) = rest.strip_prefix(b"\r\n") else {
            return false;
        };
        if !is_valid_line(line) {
            return false;
        }
        head = rest;
    }
    true
}

fn is_valid_line(line: &[u8]) -> bool {
    let Some(colon) = memchr::memchr(b':', line) else {
        return false;
    };
    let (name, value) = line.split_at(colon);
    let name = http::HeaderName::from_bytes(name);
    let frames = |name: &http::HeaderName| {
        [
            http::header::CONTENT_LENGTH,
            http::header::TRANSFER_ENCODING,
            http::header::CONNECTION,
        ]
        .contains(name)
    };
    name.is_ok_and(|name| !frames(&name))
        && value
            .strip_prefix(b": ")
            .is_some_and(|value| http::HeaderValue::from_bytes(value).is_ok())
}

fn checksum(compression: u8, payload_bytes: u32, stored: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[compression]);
    hasher.update(&payload_bytes.to_le_bytes());
    hasher.update(stored);
    hasher.finalize()
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Reads fields from the front.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], InvalidEntry> {
        let (field, rest) = self
            .0
            .split_at_checked(bytes)
            .ok_or(InvalidEntry::Corrupted)?;
        self.0 = rest;
        Ok(field)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], InvalidEntry> {
        let field = self.take(N)?;
        field.try_into().map_err(|_| InvalidEntry::Corrupted)
    }

    fn byte(&mut self) -> Result<u8, InvalidEntry> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, InvalidEntry> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, InvalidEntry> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, InvalidEntry> {
        self.array().map(u64::from_le_bytes)
    }

    fn time(&mut self) -> Result<Duration, InvalidEntry> {
        self.u64().map(Duration::from_nanos)
    }
}

#[cfg(test)]
#[path = "entry_tests.rs"]
mod tests;
