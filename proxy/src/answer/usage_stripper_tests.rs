use super::*;

/// What the client sees of a stream in these pieces: while it comes, and with what its end lets go.
fn shown(pieces: &[&[u8]]) -> Vec<u8> {
    let mut withheld = UsageStripper::new();
    let mut shown = Vec::new();
    for piece in pieces {
        shown.extend_from_slice(&withheld.feed(&Bytes::copy_from_slice(piece)));
    }
    shown.extend_from_slice(&withheld.finish());
    shown
}

fn one(index: u32) -> String {
    format!(
        r#"data: {{"id":"c","choices":[{{"index":0,"delta":{{"content":"w{index} "}}}}],"usage":null}}"#
    )
}

const USAGE: &str =
    r#"data: {"id":"c","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;

/// Every cut into two, many into three, and equal pieces of every small size.
fn assert_shown(stream: &str, expected: &str) {
    let bytes = stream.as_bytes();
    let told = |pieces: &[&[u8]]| String::from_utf8_lossy(&shown(pieces)).into_owned();
    assert_eq!(told(&[bytes]), expected, "{stream:?} whole");
    for first in 0..=bytes.len() {
        for second in (first..=bytes.len()).step_by(7) {
            let pieces = [
                &bytes[..first],
                &bytes[first..second],
                b"",
                &bytes[second..],
            ];
            assert_eq!(
                told(&pieces),
                expected,
                "{stream:?} cut at {first} and {second}"
            );
        }
    }
    for size in 1..=9 {
        let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
        assert_eq!(told(&pieces), expected, "{stream:?} in pieces of {size}");
    }
}

#[test]
fn the_chunk_is_taken_out_and_every_other_byte_stays() {
    let (first, second) = (one(1), one(2));
    for end in ["\n", "\r\n", "\r"] {
        let events = |events: &[&str]| -> String {
            let ended = events.iter().map(|event| format!("{event}{end}{end}"));
            ended.collect()
        };
        assert_shown(
            &events(&[&first, &second, USAGE, "data: [DONE]"]),
            &events(&[&first, &second, "data: [DONE]"]),
        );
        assert_shown(&events(&[&first, USAGE]), &events(&[&first]));
        assert_shown(&events(&[USAGE, &first, USAGE]), &events(&[&first]));
    }
    // The two kinds of line ends in one stream.
    assert_shown(
        &format!("{first}\r\n\n{USAGE}\n\r\ndata: [DONE]\n\r"),
        &format!("{first}\r\n\ndata: [DONE]\n\r"),
    );
}

#[test]
fn it_is_found_however_it_is_written() {
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
        assert_shown(
            &format!("{begin}{event}{end}"),
            &format!("{begin}{rest}{end}"),
        );
        assert_shown(&format!("{event}{begin}"), &format!("{rest}{begin}"));
    }
    let marked = "\u{feff}data: {\"choices\":[],\"usage\":{}}\n\n";
    assert_shown(&format!("{marked}{begin}"), &format!("\u{feff}{begin}"));
    assert_shown(&format!("{begin}{marked}"), &format!("{begin}{marked}"));
}

#[test]
fn a_stream_that_is_cut_gives_back_what_was_held() {
    let first = format!("{}\n\n", one(1));
    for (rest, expected) in [
        ("data: {\"choices\":[],\"usage\":{\"prompt_tok", "same"),
        ("data: {\"id\":\"c\",\"cho", "same"),
        ("event: x\n", "same"),
        ("da", "same"),
        // Whole but for the line that ends it: there are clients that read line by line.
        ("data: {\"choices\":[],\"usage\":{}}", ""),
        ("data: {\"choices\":[],\"usage\":{}}\n", ""),
        ("data: {\"choices\":[],\"usage\":{}}\r\n", ""),
    ] {
        let expected = if expected == "same" { rest } else { expected };
        assert_shown(&format!("{first}{rest}"), &format!("{first}{expected}"));
    }
}

#[test]
fn content_goes_on_before_its_event_is_whole() {
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
        let mut withheld = UsageStripper::new();
        let piece = Bytes::copy_from_slice(piece.as_bytes());
        let shown = withheld.feed(&piece);
        assert_eq!(shown.is_empty(), !at_once, "{piece:?}");
        if at_once {
            assert_eq!(shown, piece);
            assert_eq!(shown.as_ptr(), piece.as_ptr(), "it is not copied");
        }
    }
    // And so does the rest of it, piece by piece.
    let mut withheld = UsageStripper::new();
    let pieces = [
        "data: {\"cho",
        "ices\":[{\"delta\":",
        "{\"content\":\"a\"",
        "}}]}",
        "\n",
        "\n",
    ];
    let shown = pieces.map(|piece| withheld.feed(&Bytes::from_static(piece.as_bytes())));
    let joined = format!("{}{}", pieces[0], pieces[1]);
    assert_eq!(shown, ["", &joined, pieces[2], pieces[3], "\n", "\n"]);
}

#[test]
fn what_is_held_is_bounded() {
    for begin in [
        "data: {\"id\":\"",
        "event: ",
        "data: {\"choices\":[],\"usage\":{\"a\":\"",
    ] {
        let mut withheld = UsageStripper::new();
        let mut sent = Vec::new();
        let mut shown = Vec::new();
        let mut feed = |withheld: &mut UsageStripper, piece: &[u8]| {
            sent.extend_from_slice(piece);
            shown.extend_from_slice(&withheld.feed(&Bytes::copy_from_slice(piece)));
            sent.len() - shown.len()
        };
        feed(&mut withheld, begin.as_bytes());
        for _ in 0..200 {
            let held = feed(&mut withheld, &[b'x'; 1_000]);
            assert!(held <= HELD_BYTES_MAX, "{held}");
        }
        assert_eq!(feed(&mut withheld, b"x"), 0, "{begin}");
    }
    let large = "x".repeat(HELD_BYTES_MAX);
    let event = format!("data: {{\"choices\":[],\"usage\":{{\"a\":\"{large}\"}}}}\n\n");
    for size in [777, 4_096, event.len()] {
        let pieces: Vec<&[u8]> = event.as_bytes().chunks(size).collect();
        assert_eq!(shown(&pieces), event.as_bytes(), "in pieces of {size}");
    }
}
