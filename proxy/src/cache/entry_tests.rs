use http::HeaderMap;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;
use crate::cache::copy::CopyBuffer;

const KEY: CacheKey = CacheKey([7; KEY_BYTES]);
const NOW: Duration = Duration::from_nanos(1_790_000_000_123_456_789);

fn encode(key: &CacheKey, response: &CachedResponse) -> Option<Vec<u8>> {
    super::encode(key, response, PurgePosition::default())
}

/// A response with this many pieces of random words.
fn response(dice: &mut StdRng, pieces: usize) -> CachedResponse {
    let mut headers = HeaderMap::new();
    headers.append("content-type", "application/json".parse().expect("a value"));
    headers.append("x-empty", "".parse().expect("a value"));
    let announced = dice.random_bool(0.5);
    let pieces: Vec<Vec<u8>> = (0..pieces)
        .map(|_| {
            let words = dice.random_range(1..200_usize);
            let word = |_| b"weir flow gate "[dice.random_range(0..15_usize)];
            (0..words).map(word).collect()
        })
        .collect();
    if announced {
        let length = pieces.iter().map(Vec::len).sum::<usize>();
        headers.append("content-length", length.into());
    }
    let mut copy = CopyBuffer::new(200, &headers, 1 << 20);
    pieces.iter().for_each(|piece| copy.push(piece));
    let mut stored = copy.finish(NOW).expect("small enough");
    // `Duration::MAX` of an unbounded copy is not kept exactly.
    stored.lifetime = Duration::from_nanos(dice.random());
    stored.initial_age = Duration::from_nanos(dice.random());
    stored
}

#[test]
fn every_response_is_decoded_as_it_was_encoded() {
    let mut dice = StdRng::seed_from_u64(19);
    for pieces in [0, 1, 2, 3, 10, 100, 1_000] {
        for _ in 0..10 {
            let stored = response(&mut dice, pieces);
            let known = PurgePosition {
                milliseconds: dice.random(),
                number: dice.random(),
            };
            let entry = super::encode(&KEY, &stored, known).expect("small enough");
            assert_eq!(decode(&KEY, &entry), Ok((stored, known)));
        }
    }
}

#[test]
fn entries_above_1_kib_are_compressed() {
    let mut dice = StdRng::seed_from_u64(20);
    let small = encode(&KEY, &response(&mut dice, 1)).expect("small enough");
    assert_eq!(small[5], PLAIN);
    let stored = response(&mut dice, 1_000);
    let large = encode(&KEY, &stored).expect("small enough");
    assert_eq!(large[5], ZSTD);
    assert!(large.len() < stored.text.len() / 2, "{}", large.len());
}

#[test]
fn a_response_beyond_the_bound_is_not_encoded() {
    let with_body = |bytes: usize| {
        let mut copy = CopyBuffer::new(200, &HeaderMap::new(), usize::MAX);
        copy.push(vec![b'x'; bytes]);
        copy.finish(NOW).expect("no bound")
    };
    let exact = ENTRY_BYTES_MAX - FIXED_BYTES;
    let entry = encode(&KEY, &with_body(exact)).expect("exactly the bound");
    assert!(decode(&KEY, &entry).is_ok());
    assert_eq!(encode(&KEY, &with_body(exact + 1)), None);
}

#[test]
fn a_changed_entry_is_rejected_and_never_panics() {
    let mut dice = StdRng::seed_from_u64(21);
    for pieces in [0, 1, 5, 300] {
        let entry = encode(&KEY, &response(&mut dice, pieces)).expect("small enough");
        let step = (entry.len() / 500).max(1);
        for at in (0..entry.len()).step_by(step) {
            assert!(decode(&KEY, &entry[..at]).is_err(), "cut at {at}");
            let mut flipped = entry.clone();
            flipped[at] ^= 1 << dice.random_range(0..8_u32);
            assert!(decode(&KEY, &flipped).is_err(), "flipped at {at}");
        }
        let longer = [entry.as_slice(), b"x"].concat();
        assert_eq!(decode(&KEY, &longer), Err(InvalidEntry::Corrupted));
    }
}

/// An entry with a valid checksum and any payload.
fn forged(compression: u8, payload_bytes: u32, stored: &[u8]) -> Vec<u8> {
    let crc = checksum(compression, payload_bytes, stored);
    let mut entry = [MAGIC.as_slice(), &[VERSION, compression]].concat();
    entry.extend_from_slice(&payload_bytes.to_le_bytes());
    entry.extend_from_slice(&crc.to_le_bytes());
    entry.extend_from_slice(stored);
    entry
}

#[test]
fn foreign_entries_are_rejected_by_name() {
    let mut dice = StdRng::seed_from_u64(22);
    let entry = encode(&KEY, &response(&mut dice, 3)).expect("small enough");
    let mut newer = entry.clone();
    newer[4] = VERSION + 1;
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 1).expect("memory");
    for (entry, expected) in [
        (b"".to_vec(), InvalidEntry::Foreign),
        (b"{\"a\": 1}".to_vec(), InvalidEntry::Foreign),
        (newer, InvalidEntry::OtherVersion),
        (forged(2, 0, b""), InvalidEntry::OtherVersion),
        (forged(ZSTD, 64 << 20, &bomb), InvalidEntry::TooLarge),
        (forged(ZSTD, 1 << 20, &bomb), InvalidEntry::Corrupted),
        (forged(ZSTD, 100, b"no zstd"), InvalidEntry::Corrupted),
        (forged(PLAIN, 3, b"abc"), InvalidEntry::Corrupted),
    ] {
        assert_eq!(decode(&KEY, &entry), Err(expected));
    }
    let other = CacheKey([8; KEY_BYTES]);
    assert_eq!(decode(&other, &entry), Err(InvalidEntry::OtherKey));
}

#[test]
fn any_payload_with_a_valid_checksum_is_decoded_or_rejected() {
    let mut dice = StdRng::seed_from_u64(23);
    let entry = encode(&KEY, &response(&mut dice, 2)).expect("small enough");
    let payload = &entry[HEADER_BYTES..];
    for _ in 0..20_000 {
        let mut payload = payload.to_vec();
        for _ in 0..dice.random_range(1..4_u32) {
            let at = dice.random_range(KEY_BYTES..payload.len());
            payload[at] = dice.random();
        }
        payload.truncate(dice.random_range(0..=payload.len()));
        if let Ok((response, _)) = decode(&KEY, &forged(PLAIN, payload.len() as u32, &payload)) {
            let body: usize = response.pieces().map(|piece| piece.len()).sum();
            assert_eq!(body + response.head_lines().len(), response.text.len());
        }
    }
}

#[test]
fn a_head_that_could_change_the_framing_is_rejected() {
    for (head, is_valid) in [
        ("", true),
        ("etag: \"a\"\r\n", true),
        ("etag: \"a\"\r\nx-empty: \r\n", true),
        ("etag: \"a\"", false),
        ("etag \"a\"\r\n", false),
        ("etag:\"a\"\r\n", false),
        ("\r\n", false),
        ("a: b\nc: d\r\n", false),
        ("a: b\rc: d\r\n", false),
        ("content-length: 3\r\n", false),
        ("Transfer-Encoding: chunked\r\n", false),
    ] {
        assert_eq!(has_valid_lines(head.as_bytes()), is_valid, "{head:?}");
    }
}
