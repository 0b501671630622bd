//! How events lie in a segment, and how far the acknowledged ones go: pure functions over bytes.
//!
//! A segment is a file named after the number of its first event, `00000000000000000042.seg`:
//!
//! ```text
//! "weirseg1"  first: u64                                        the header, 16 bytes
//! length: u32  checksum: u32  id: 26 bytes  line: JSON          an event, any number of times
//! ```
//!
//! `length` is that of id and line together. The checksum is CRC-32 (ISO-HDLC) over the event's number
//! as a u64, then id and line: an event in another's place is found as well. All numbers are
//! little-endian. What does not check out ends the segment: after a kill that is the torn tail.
//!
//! The cursor is a file of two slots of 32 bytes, written in turn, so that one of them is always whole:
//!
//! ```text
//! "weircur1"  generation: u64  next: u64  checksum: u32  zero: u32
//! ```
//!
//! `next` is the first event that is not known to be in the index; of two whole slots the one with the
//! higher generation counts.

use std::time::Duration;

pub(super) const SEGMENT_MAGIC: &[u8; 8] = b"weirseg1";
const CURSOR_MAGIC: &[u8; 8] = b"weircur1";
pub(super) const HEADER_BYTES: usize = 16;
/// Before id and line.
pub(super) const PREFIX_BYTES: usize = 8;
/// The length of an event's id, a ULID as text.
pub const ID_BYTES: usize = 26;
/// No event has a higher number: at a million a second that is the end of 292,000 years.
pub(super) const NUMBER_MAX: u64 = u64::MAX / 2;
pub(crate) const SLOT_BYTES: usize = 32;
/// A longer event is none of weir's: it means that the length itself is damaged.
pub(crate) const EVENT_BYTES_MAX: usize = 1024 * 1024;

/// An event as it lies in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) id: &'a [u8; ID_BYTES],
    pub(crate) line: &'a [u8],
    /// All of it, prefix included.
    pub(crate) bytes: usize,
}

pub(super) fn header(first: u64) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(SEGMENT_MAGIC);
    header[8..].copy_from_slice(&first.to_le_bytes());
    header
}

/// Whether `bytes` begin a segment whose first event has this number.
pub(super) fn is_header(bytes: &[u8], first: u64) -> bool {
    bytes.starts_with(&header(first))
}

/// Appends an event; one that is too long is left out, and `None` says so.
pub(crate) fn append(
    out: &mut Vec<u8>,
    number: u64,
    id: &[u8; ID_BYTES],
    line: &[u8],
) -> Option<()> {
    let length = ID_BYTES + line.len();
    if length > EVENT_BYTES_MAX {
        return None;
    }
    out.extend_from_slice(&u32::try_from(length).ok()?.to_le_bytes());
    out.extend_from_slice(&checksum(number, id, line).to_le_bytes());
    out.extend_from_slice(id);
    out.extend_from_slice(line);
    Some(())
}

/// The event with this number at the start of `bytes`, if it is there whole.
pub(crate) fn read(bytes: &[u8], number: u64) -> Option<Entry<'_>> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (sum, rest) = rest.split_first_chunk()?;
    let length = u32::from_le_bytes(*length) as usize;
    if length > EVENT_BYTES_MAX {
        return None;
    }
    let (id, line) = rest.get(..length)?.split_first_chunk::<ID_BYTES>()?;
    (checksum(number, id, line) == u32::from_le_bytes(*sum)).then_some(Entry {
        id,
        line,
        bytes: PREFIX_BYTES + length,
    })
}

/// How long an event is that does not check out, where the next stands whole behind it: it alone is
/// damaged, and not what tells its length.
pub(crate) fn damaged(bytes: &[u8], number: u64) -> Option<usize> {
    let length = u32::from_le_bytes(*bytes.first_chunk()?) as usize;
    let whole = PREFIX_BYTES + length;
    read(bytes.get(whole..)?, number.checked_add(1)?)?;
    Some(whole)
}

/// How long the event with this number at the start of `bytes` is, damaged or not.
pub(crate) fn length(bytes: &[u8], number: u64) -> Option<usize> {
    let entry = read(bytes, number).map(|entry| entry.bytes);
    entry.or_else(|| damaged(bytes, number))
}

fn checksum(number: u64, id: &[u8], line: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(id);
    hasher.update(line);
    hasher.finalize()
}

/// The slot that says that all before `next` is in the index.
pub(crate) fn slot(generation: u64, next: u64) -> [u8; SLOT_BYTES] {
    let mut slot = [0; SLOT_BYTES];
    slot[..8].copy_from_slice(CURSOR_MAGIC);
    slot[8..16].copy_from_slice(&generation.to_le_bytes());
    slot[16..24].copy_from_slice(&next.to_le_bytes());
    let sum = crc32fast::hash(&slot[..24]);
    slot[24..28].copy_from_slice(&sum.to_le_bytes());
    slot
}

/// Generation and next event of the cursor that counts, if any slot is whole.
pub(crate) fn cursor(bytes: &[u8]) -> Option<(u64, u64)> {
    let slots = bytes.chunks_exact(SLOT_BYTES).take(2);
    let whole = slots.filter_map(|bytes| {
        let generation = u64::from_le_bytes(*bytes.get(8..16)?.first_chunk()?);
        let next = u64::from_le_bytes(*bytes.get(16..24)?.first_chunk()?);
        let is_whole = slot(generation, next) == bytes && next <= NUMBER_MAX;
        is_whole.then_some((generation, next))
    });
    whole.max()
}

/// When the event with this id was recorded, since the Unix epoch; zero for what is no ULID.
pub(super) fn recorded_at(id: &[u8; ID_BYTES]) -> Duration {
    let text = std::str::from_utf8(id).unwrap_or_default();
    let ulid = ulid::Ulid::from_string(text);
    ulid.map_or(Duration::ZERO, |ulid| {
        Duration::from_millis(ulid.timestamp_ms())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &[u8; ID_BYTES] = b"01KAN0X3S8Q5V4R8C9J2M7T6ZB";

    #[test]
    fn an_event_comes_back_and_a_damaged_one_does_not() {
        let mut bytes = Vec::new();
        append(&mut bytes, 42, ID, b"{\"a\":1}").expect("short");
        let whole = read(&bytes, 42).expect("whole");
        assert_eq!((whole.id, whole.line), (ID, &b"{\"a\":1}"[..]));
        assert_eq!(whole.bytes, bytes.len());
        assert_eq!(read(&bytes, 43), None, "another's place");
        for length in 0..bytes.len() {
            assert_eq!(read(&bytes[..length], 42), None, "{length}");
        }
        for place in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[place] ^= 1 << bit;
                assert_eq!(read(&damaged, 42), None, "bit {bit} of byte {place}");
            }
        }
        assert!(append(&mut bytes, 1, ID, &vec![0; EVENT_BYTES_MAX]).is_none());
    }

    #[test]
    fn of_two_slots_the_younger_whole_one_counts() {
        let both = [slot(4, 100), slot(5, 120)].concat();
        assert_eq!(cursor(&both), Some((5, 120)));
        let mut torn = both.clone();
        torn[40] ^= 1;
        assert_eq!(cursor(&torn), Some((4, 100)));
        torn[3] ^= 1;
        assert_eq!(cursor(&torn), None);
        assert_eq!(cursor(b""), None);
        assert_eq!(cursor(&both[..SLOT_BYTES + 5]), Some((4, 100)));
    }

    #[test]
    fn an_id_tells_its_time() {
        assert_eq!(recorded_at(b"00000000000000000000000000"), Duration::ZERO);
        let ulid = ulid::Ulid::from_parts(1_790_000_000_123, 7).to_string();
        let id = ulid.as_bytes().first_chunk().expect("26 characters");
        assert_eq!(recorded_at(id), Duration::from_millis(1_790_000_000_123));
        assert_eq!(recorded_at(b"**************************"), Duration::ZERO);
    }
}
