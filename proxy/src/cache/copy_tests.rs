use bytes::Bytes;

use super::*;
use crate::cache::segments::SEGMENT_BYTES;

const NOW: Duration = Duration::from_secs(1_790_000_000);

fn copy(max_bytes: usize) -> CopyBuffer {
    CopyBuffer::new(200, &HeaderMap::new(), max_bytes)
}

fn pieces(copy: CopyBuffer) -> Option<Vec<Bytes>> {
    copy.finish(NOW).map(|stored| stored.pieces().collect())
}

#[test]
fn pieces_are_replayed_as_they_arrived() {
    let mut copy = copy(1_000);
    copy.push(Bytes::from_static(b"data: 1\n\n"));
    copy.push(b"");
    copy.push("data: 2\n\n");
    let stored = copy.finish(NOW).expect("small enough");
    assert_eq!(stored.length(), None);
    let pieces: Vec<_> = stored.pieces().collect();
    assert_eq!(pieces, ["data: 1\n\n", "data: 2\n\n"]);
}

#[test]
fn a_piece_of_a_stream_in_two_segments_is_replayed_whole() {
    let mut copy = copy(usize::MAX);
    let event = vec![b'x'; SEGMENT_BYTES - 10];
    for _ in 0..3 {
        copy.push(&event);
    }
    let long = vec![b'y'; SEGMENT_BYTES * 2];
    copy.push(&long);
    let stored = copy.finish(NOW).expect("no bound");
    let pieces: Vec<_> = stored.pieces().collect();
    assert!(pieces[..3].iter().all(|piece| *piece == event));
    assert_eq!(pieces[3..].concat(), long, "in parts");
}

#[test]
fn an_empty_body_is_stored() {
    let stored = copy(0).finish(NOW).expect("small enough");
    assert_eq!(stored.length(), Some(0));
    assert_eq!(stored.pieces().collect::<Vec<_>>(), [""]);
}

#[test]
fn a_body_beyond_the_bound_is_freed() {
    let exact = 10 + PIECE_OVERHEAD;
    let mut copied = copy(exact);
    copied.push([0; 10]);
    assert!(pieces(copied).is_some());
    let mut copied = copy(exact - 1);
    copied.push([0; 10]);
    assert!(copied.copied.is_none(), "freed at once");
    copied.push([0; 1]);
    assert_eq!(pieces(copied), None);
    let mut copied = copy(1_000);
    for _ in 0..1_000 {
        copied.push([0; 1]);
    }
    assert_eq!(
        pieces(copied),
        None,
        "tiny pieces count with their overhead"
    );
}

#[test]
fn a_copy_has_the_stored_headers_and_frees_their_buffers() {
    let buffer = Bytes::from(vec![b'v'; 100_000]);
    let value = |bytes| HeaderValue::from_maybe_shared(buffer.slice(bytes)).expect("a value");
    let mut headers = HeaderMap::new();
    headers.append(header::DATE, HeaderValue::from_static("now"));
    headers.append(header::ETAG, value(0..10));
    headers.append("x-empty", HeaderValue::from_static(""));
    headers.append(header::ETAG, value(10..12));
    let mut copy = CopyBuffer::new(201, &headers, 1_000);
    drop(headers);
    copy.push(buffer.slice(..10));
    assert!(buffer.is_unique());
    let stored = copy.finish(NOW).expect("small enough");
    assert_eq!(
        stored.head_lines(),
        b"etag: vvvvvvvvvv\r\netag: vv\r\nx-empty: \r\n"
    );
    assert_eq!((stored.status, stored.stored_at), (201, NOW));
    assert_eq!(stored.pieces().collect::<Vec<_>>(), ["vvvvvvvvvv"]);
}

#[test]
fn an_announced_length_is_stored() {
    let mut headers = HeaderMap::new();
    headers.append(header::CONTENT_LENGTH, HeaderValue::from_static("4"));
    let mut copy = CopyBuffer::new(200, &headers, 1_000);
    copy.push("ab");
    copy.push("cd");
    let stored = copy.finish(NOW).expect("small enough");
    assert_eq!((stored.length(), stored.head_lines()), (Some(4), &b""[..]));
    assert_eq!(stored.pieces().collect::<Vec<_>>(), ["ab", "cd"]);
}

#[test]
fn a_coded_body_is_stored_decoded() {
    use std::io::Write as _;

    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(b"what is a weir?").expect("memory");
    let coded = encoder.finish().expect("memory");
    let head = |coding: &'static str| {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("content-encoding", coding),
            ("etag", "\"a\""),
            ("content-digest", "sha-256=:a:"),
            ("content-length", "35"),
            ("content-type", "text/plain"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers
    };
    let mut copy = CopyBuffer::new(200, &head("gzip"), 1_000);
    let (first, rest) = coded.split_at(20);
    copy.push(first);
    copy.push(rest);
    let stored = copy.finish(NOW).expect("decodable");
    assert_eq!(
        stored.head_lines(),
        b"etag: W/\"a\"\r\ncontent-type: text/plain\r\n"
    );
    assert_eq!(stored.length(), Some(15));
    assert_eq!(
        stored.pieces().collect::<Vec<_>>().concat(),
        b"what is a weir?"
    );

    for (coding, bytes) in [
        ("gzip", &coded[..30]),
        ("gzip", &b"what is a weir?"[..]),
        ("x-unknown", &coded[..]),
    ] {
        let mut copy = CopyBuffer::new(200, &head(coding), 1_000);
        copy.push(bytes);
        assert_eq!(copy.finish(NOW), None, "{coding}");
    }
    let mut small = CopyBuffer::new(200, &head("gzip"), 14);
    small.push(&coded);
    assert_eq!(small.finish(NOW), None, "what counts is what it becomes");

    let mut plain = CopyBuffer::new(200, &head("identity"), 1_000);
    plain.push("a");
    let stored = plain.finish(NOW).expect("decodable");
    assert!(
        stored
            .head_lines()
            .starts_with(b"etag: \"a\"\r\ncontent-digest")
    );
}

#[test]
fn the_shortest_lifetime_counts() {
    let seconds = Duration::from_secs;
    let at = |age, left: Option<u64>, ttl, coming| {
        let time = LifetimeBounds {
            freshness: Freshness {
                age: seconds(age),
                lifetime_left: left.map(seconds),
            },
            received_at: NOW,
            ttl: seconds(ttl),
        };
        let (age, left) = time.at(NOW + seconds(coming));
        (age.as_secs(), left.as_secs())
    };
    for (age, left, ttl, coming, expected) in [
        (0, None, 60, 0, (0, 60)),
        // The configured TTL starts when the response is complete, the backend's lifetime when its head arrives.
        (0, None, 60, 10, (10, 60)),
        (0, Some(30), 60, 10, (10, 20)),
        (0, Some(90), 60, 10, (10, 60)),
        (0, Some(10), 60, 10, (10, 0)),
        (20, None, 60, 0, (20, 40)),
        (60, None, 60, 0, (60, 0)),
        (20, Some(30), 60, 0, (20, 30)),
        (u64::MAX, Some(u64::MAX), u64::MAX, 10, (u64::MAX, 0)),
        (0, Some(u64::MAX), u64::MAX, 0, (0, u64::MAX)),
    ] {
        assert_eq!(
            at(age, left, ttl, coming),
            expected,
            "{age} {left:?} {ttl} {coming}"
        );
    }
    let time = LifetimeBounds {
        freshness: Freshness::UNSPECIFIED,
        received_at: NOW + seconds(5),
        ttl: seconds(60),
    };
    assert_eq!(
        time.at(NOW),
        (Duration::ZERO, seconds(60)),
        "the clock was set back"
    );
}
