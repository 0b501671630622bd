use super::*;

/// What is forwarded of a stream in these pieces, at its end too.
fn forwarded(pieces: &[&[u8]]) -> Vec<u8> {
    let mut stripper = UsageStripper::new();
    let mut forwarded = Vec::new();
    for piece in pieces {
        forwarded.extend_from_slice(&stripper.feed(&Bytes::copy_from_slice(piece)));
    }
    forwarded.extend_from_slice(&stripper.finish());
    forwarded
}

fn one(index: u32) -> String {
    format!(
        r#"data: {{"id":"c","choices":[{{"index":0,"delta":{{"content":"w{index} "}}}}],"usage":null}}"#
    )
}

const USAGE: &str =
    r#"data: {"id":"c","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;

/// Every cut into two, many into three, and equal pieces of every small size.
fn assert_forwarded(stream: &str, expected: &str) {
    let bytes = stream.as_bytes();
    let text = |pieces: &[&[u8]]| String::from_utf8_lossy(&forwarded(pieces)).into_owned();
    assert_eq!(text(&[bytes]), expected, "{stream:?} whole");
    for first in 0..=bytes.len() {
        for second in (first..=bytes.len()).step_by(7) {
            let pieces = [
                &bytes[..first],
                &bytes[first..second],
                b"",
                &bytes[second..],
            ];
            assert_eq!(
                text(&pieces),
                expected,
                "{stream:?} cut at {first} and {second}"
            );
        }
    }
    for size in 1..=9 {
        let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
        assert_eq!(text(&pieces), expected, "{stream:?} in pieces of {size}");
    }
}

#[test]
fn the_usage_chunk_is_stripped_and_every_other_byte_stays() {
    let (first, second) = (one(1), one(2));
    for end in ["\n", "\r\n", "\r"] {
        let events = |events: &[&str]| -> String {
            let ended = events.iter().map(|event| format!("{event}{end}{end}"));
            ended.collect()
        };
        assert_forwarded(
            &events(&[&first, &second, USAGE, "data: [DONE]"]),
            &events(&[&first, &second, "data: [DONE]"]),
        );
        assert_forwarded(&events(&[&first, USAGE]), &events(&[&first]));
        assert_forwarded(&events(&[USAGE, &first, USAGE]), &events(&[&first]));
    }
    // Both kinds of line ends in one stream.
    assert_forwarded(
        &format!("{first}\r\n\n{USAGE}\n\r\ndata: [DONE]\n\r"),
        &format!("{first}\r\n\ndata: [DONE]\n\r"),
    );
}

#[test]
fn the_usage_chunk_is_found_in_every_spelling() {
    let (begin, end) = (format!("{}\n\n", one(1)), "data: [DONE]\n\n");
    for (event, rest) in [
        ("data:{\"choices\":[],\"usage\":{}}\n\n", ""),
        (
            "event: chunk\nid: 7\ndata: {\"usage\":{},\"choices\":[]}\nretry: 1\n\n",
            "",
        ),
        (
            "data: {\"choices\":[],\ndata:\ndata\ndata:\"usage\":{}}\n\n",
            "",
        ),
        (
            "data: { \"choices\" : [ ] ,\t\"usage\" : { \"a\" : 1 } }\n\n",
            "",
        ),
        (
            ": one\ndata: {\"choices\":[],\"usage\":{}}\n: two\n\n",
            ": one\n: two\n",
        ),
        // None of these is the chunk.
        ("data: {\"choices\":[],\"usage\":null}\n\n", "same"),
        (
            "data: {\"choices\":[],\"prompt_filter_results\":[{\"prompt_index\":0}]}\n\n",
            "same",
        ),
        (
            "data: {\"choices\":[{\"index\":0,\"delta\":{}}],\"usage\":{\"a\":1}}\n\n",
            "same",
        ),
        (
            "data: {\"choices\":[],\"usage\":{},\"error\":{\"code\":500}}\n\n",
            "same",
        ),
        ("data: {\"choices\":[],\"usage\":{}\n\n", "same"),
        ("data: {\"choices\":[],\"usage\":{}}\ndata: {}\n\n", "same"),
        ("datas: {\"choices\":[],\"usage\":{}}\n\n", "same"),
        (" data: {\"choices\":[],\"usage\":{}}\n\n", "same"),
        (": data: {\"choices\":[],\"usage\":{}}\n\n", "same"),
        ("event: error\ndata: {\"error\":{}}\n\n", "same"),
        ("data\n\n", "same"),
        ("dat\n\n\n\ndata:\n\n", "same"),
        ("not a line of the format\n\n", "same"),
    ] {
        let rest = if rest == "same" { event } else { rest };
        assert_forwarded(
            &format!("{begin}{event}{end}"),
            &format!("{begin}{rest}{end}"),
        );
        assert_forwarded(&format!("{event}{begin}"), &format!("{rest}{begin}"));
    }
    let marked = "\u{feff}data: {\"choices\":[],\"usage\":{}}\n\n";
    assert_forwarded(&format!("{marked}{begin}"), &format!("\u{feff}{begin}"));
    assert_forwarded(&format!("{begin}{marked}"), &format!("{begin}{marked}"));
}

#[test]
fn the_held_bytes_of_a_cut_stream_are_forwarded() {
    let first = format!("{}\n\n", one(1));
    for (rest, expected) in [
        ("data: {\"choices\":[],\"usage\":{\"prompt_tok", "same"),
        ("data: {\"id\":\"c\",\"cho", "same"),
        ("event: x\n", "same"),
        ("da", "same"),
        // Complete but for its last line end: some clients read line by line.
        ("data: {\"choices\":[],\"usage\":{}}", ""),
        ("data: {\"choices\":[],\"usage\":{}}\n", ""),
        ("data: {\"choices\":[],\"usage\":{}}\r\n", ""),
    ] {
        let expected = if expected == "same" { rest } else { expected };
        assert_forwarded(&format!("{first}{rest}"), &format!("{first}{expected}"));
    }
}

#[test]
fn content_is_forwarded_before_its_event_is_complete() {
    for (piece, at_once) in [
        (
            "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hel",
            true,
        ),
        ("data: [DO", true),
        ("data: hello wo", true),
        (": keep-ali", true),
        ("\n", true),
        ("data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[", false),
        ("data: {\"usage\":{\"prompt_tokens\":3", false),
        ("event: chunk\n", false),
    ] {
        let mut stripper = UsageStripper::new();
        let piece = Bytes::copy_from_slice(piece.as_bytes());
        let forwarded = stripper.feed(&piece);
        assert_eq!(forwarded.is_empty(), !at_once, "{piece:?}");
        if at_once {
            assert_eq!(forwarded, piece);
            assert_eq!(forwarded.as_ptr(), piece.as_ptr(), "it is not copied");
        }
    }
    // And so does the rest of it, piece by piece.
    let mut stripper = UsageStripper::new();
    let pieces = [
        "data: {\"cho",
        "ices\":[{\"delta\":",
        "{\"content\":\"a\"",
        "}}]}",
        "\n",
        "\n",
    ];
    let forwarded = pieces.map(|piece| stripper.feed(&Bytes::from_static(piece.as_bytes())));
    let joined = format!("{}{}", pieces[0], pieces[1]);
    assert_eq!(forwarded, ["", &joined, pieces[2], pieces[3], "\n", "\n"]);
}

#[test]
fn held_bytes_are_bounded() {
    for begin in [
        "data: {\"id\":\"",
        "event: ",
        "data: {\"choices\":[],\"usage\":{\"a\":\"",
    ] {
        let mut stripper = UsageStripper::new();
        let mut sent = Vec::new();
        let mut forwarded = Vec::new();
        let mut feed = |stripper: &mut UsageStripper, piece: &[u8]| {
            sent.extend_from_slice(piece);
            forwarded.extend_from_slice(&stripper.feed(&Bytes::copy_from_slice(piece)));
            sent.len() - forwarded.len()
        };
        feed(&mut stripper, begin.as_bytes());
        for _ in 0..200 {
            let held = feed(&mut stripper, &[b'x'; 1_000]);
            assert!(held <= HELD_BYTES_MAX, "{held}");
        }
        assert_eq!(feed(&mut stripper, b"x"), 0, "{begin}");
    }
    let large = "x".repeat(HELD_BYTES_MAX);
    let event = format!("data: {{\"choices\":[],\"usage\":{{\"a\":\"{large}\"}}}}\n\n");
    for size in [777, 4_096, event.len()] {
        let pieces: Vec<&[u8]> = event.as_bytes().chunks(size).collect();
        assert_eq!(forwarded(&pieces), event.as_bytes(), "in pieces of {size}");
    }
}
