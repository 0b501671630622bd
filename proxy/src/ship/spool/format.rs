//! The format of the spool on disk: segments of events and the cursor. Pure functions over bytes.
//!
//! A segment is a file named after the number of its first event, `00000000000000000042.seg`:
//!
//! ```text
//! "weirseg2"  first: u64                                                    the header, 16 bytes
//! length: u32  checksum: u32  dataset: u8  id: 26 bytes  line: JSON         an event, any number of times
//! ```
//!
//! `length` is that of dataset, id and line together. The checksum is CRC-32 (ISO-HDLC) over the event's
//! number as a u64 and everything after the checksum, so that an event at a wrong position does not match. All
//! numbers are little-endian. The first event that does not match ends the segment: after a kill this is the torn
//! tail.
//!
//! Segments of version 1, `weirseg1`, have no datasets: all of their events are request events. They are read but
//! no longer written.
//!
//! The cursor is a file of two slots of 32 bytes, written alternately, so that one of them is always valid:
//!
//! ```text
//! "weircur1"  generation: u64  next: u64  checksum: u32  zero: u32
//! ```
//!
//! `next` is the first event that is not known to be in the index; of two valid slots, the one with the higher
//! generation applies.

use std::time::Duration;

use crate::ship::dataset::Dataset;

const CURSOR_MAGIC: &[u8; 8] = b"weircur1";
pub(super) const HEADER_BYTES: usize = 16;
/// Length and checksum.
pub(super) const PREFIX_BYTES: usize = 8;
/// The length of an event's id, a ULID as text.
pub const ID_BYTES: usize = 26;
/// No event has a higher number: at a million events per second, it is reached after 292,000 years.
pub(super) const NUMBER_MAX: u64 = u64::MAX / 2;
pub(crate) const SLOT_BYTES: usize = 32;
/// A greater length is damaged.
pub(crate) const EVENT_BYTES_MAX: usize = 1024 * 1024;

/// The version of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SegmentVersion {
    /// Without datasets.
    One,
    Two,
}

impl SegmentVersion {
    const fn magic(self) -> &'static [u8; 8] {
        match self {
            SegmentVersion::One => b"weirseg1",
            SegmentVersion::Two => b"weirseg2",
        }
    }
}

/// An event in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpoolEntry<'a> {
    pub(crate) dataset: Dataset,
    pub(crate) id: &'a [u8; ID_BYTES],
    pub(crate) line: &'a [u8],
    /// The total length, prefix included.
    pub(crate) bytes: usize,
}

/// The header of a new segment whose first event has this number.
pub(super) fn header(first: u64) -> [u8; HEADER_BYTES] {
    header_of(SegmentVersion::Two, first)
}

pub(super) fn header_of(version: SegmentVersion, first: u64) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(version.magic());
    header[8..].copy_from_slice(&first.to_le_bytes());
    header
}

/// The version of the segment that begins with `bytes` and whose first event has this number.
pub(super) fn version(bytes: &[u8], first: u64) -> Option<SegmentVersion> {
    let mut versions = [SegmentVersion::One, SegmentVersion::Two].into_iter();
    versions.find(|version| bytes.starts_with(&header_of(*version, first)))
}

/// Appends an event; `None` if it is too long.
pub(crate) fn append(
    out: &mut Vec<u8>,
    number: u64,
    dataset: Dataset,
    id: &[u8; ID_BYTES],
    line: &[u8],
) -> Option<()> {
    let length = 1 + ID_BYTES + line.len();
    if length > EVENT_BYTES_MAX {
        return None;
    }
    let begun = out.len();
    out.extend_from_slice(&u32::try_from(length).ok()?.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.push(dataset.byte());
    out.extend_from_slice(id);
    out.extend_from_slice(line);
    let sum = checksum(number, out.get(begun + PREFIX_BYTES..)?);
    out.get_mut(begun + 4..begun + PREFIX_BYTES)?
        .copy_from_slice(&sum.to_le_bytes());
    Some(())
}

/// The event with this number at the start of `bytes`, if it is complete and undamaged.
pub(crate) fn read(version: SegmentVersion, bytes: &[u8], number: u64) -> Option<SpoolEntry<'_>> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (sum, rest) = rest.split_first_chunk()?;
    let length = u32::from_le_bytes(*length) as usize;
    if length > EVENT_BYTES_MAX {
        return None;
    }
    let content = rest.get(..length)?;
    if checksum(number, content) != u32::from_le_bytes(*sum) {
        return None;
    }
    let (dataset, rest) = match version {
        SegmentVersion::One => (Dataset::Access, content),
        SegmentVersion::Two => {
            let (byte, rest) = content.split_first()?;
            (Dataset::from_byte(*byte)?, rest)
        }
    };
    let (id, line) = rest.split_first_chunk::<ID_BYTES>()?;
    Some(SpoolEntry {
        dataset,
        id,
        line,
        bytes: PREFIX_BYTES + length,
    })
}

/// The length of an event that does not match its checksum, if the next one is intact: then only this event is
/// damaged, and not its length.
pub(crate) fn damaged(version: SegmentVersion, bytes: &[u8], number: u64) -> Option<usize> {
    let length = u32::from_le_bytes(*bytes.first_chunk()?) as usize;
    let whole = PREFIX_BYTES.checked_add(length)?;
    read(version, bytes.get(whole..)?, number.checked_add(1)?)?;
    Some(whole)
}

/// The length of the event with this number at the start of `bytes`, damaged or not.
pub(crate) fn length(version: SegmentVersion, bytes: &[u8], number: u64) -> Option<usize> {
    let entry = read(version, bytes, number).map(|entry| entry.bytes);
    entry.or_else(|| damaged(version, bytes, number))
}

fn checksum(number: u64, content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(content);
    hasher.finalize()
}

/// The slot for a cursor at `next`.
pub(crate) fn slot(generation: u64, next: u64) -> [u8; SLOT_BYTES] {
    let mut slot = [0; SLOT_BYTES];
    slot[..8].copy_from_slice(CURSOR_MAGIC);
    slot[8..16].copy_from_slice(&generation.to_le_bytes());
    slot[16..24].copy_from_slice(&next.to_le_bytes());
    let sum = crc32fast::hash(&slot[..24]);
    slot[24..28].copy_from_slice(&sum.to_le_bytes());
    slot
}

/// The generation and next event of the newest valid slot.
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

/// When the event with this id was recorded, since the Unix epoch; zero if it is not a ULID.
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
    fn a_whole_event_is_read_and_a_damaged_one_is_not() {
        let mut bytes = Vec::new();
        append(&mut bytes, 42, Dataset::Alert, ID, b"{\"a\":1}").expect("short");
        let whole = read(SegmentVersion::Two, &bytes, 42).expect("whole");
        assert_eq!(whole.dataset, Dataset::Alert);
        assert_eq!((whole.id, whole.line), (ID, &b"{\"a\":1}"[..]));
        assert_eq!(whole.bytes, bytes.len());
        assert_eq!(
            read(SegmentVersion::Two, &bytes, 43),
            None,
            "the place of another"
        );
        for length in 0..bytes.len() {
            assert_eq!(
                read(SegmentVersion::Two, &bytes[..length], 42),
                None,
                "{length}"
            );
        }
        for place in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[place] ^= 1 << bit;
                assert_eq!(
                    read(SegmentVersion::Two, &damaged, 42),
                    None,
                    "bit {bit} of byte {place}"
                );
            }
        }
        let long = vec![0; EVENT_BYTES_MAX];
        assert!(append(&mut Vec::new(), 1, Dataset::Access, ID, &long).is_none());
    }

    #[test]
    fn a_segment_of_version_1_has_request_events() {
        let content = [&ID[..], b"{}"].concat();
        let mut bytes = (content.len() as u32).to_le_bytes().to_vec();
        bytes.extend_from_slice(&checksum(7, &content).to_le_bytes());
        bytes.extend_from_slice(&content);
        let entry = read(SegmentVersion::One, &bytes, 7).expect("whole");
        assert_eq!((entry.dataset, entry.id), (Dataset::Access, ID));
        assert_eq!((entry.line, entry.bytes), (&b"{}"[..], bytes.len()));
        assert_eq!(
            version(&header_of(SegmentVersion::One, 7), 7),
            Some(SegmentVersion::One)
        );
        assert_eq!(version(&header(7), 7), Some(SegmentVersion::Two));
        assert_eq!(version(&header(7), 8), None);
    }

    #[test]
    fn the_newer_valid_slot_applies() {
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
    fn an_id_contains_its_time() {
        assert_eq!(recorded_at(b"00000000000000000000000000"), Duration::ZERO);
        let ulid = ulid::Ulid::from_parts(1_790_000_000_123, 7).to_string();
        let id = ulid.as_bytes().first_chunk().expect("26 characters");
        assert_eq!(recorded_at(id), Duration::from_millis(1_790_000_000_123));
        assert_eq!(recorded_at(b"**************************"), Duration::ZERO);
    }
}
