use super::*;

fn events_of(chunks: &[&[u8]]) -> Vec<String> {
    let mut events = Vec::new();
    let mut scanner = SseDataReader::new();
    for chunk in chunks {
        scanner.feed(chunk, |data| {
            events.push(String::from_utf8_lossy(data).into_owned());
        });
        assert!(scanner.held_bytes() <= 4 * EVENT_BYTES_MAX);
    }
    events
}

#[test]
fn events_are_parsed_as_the_standard_defines() {
    let cases: [(&str, &[&str]); 22] = [
        ("", &[]),
        ("\n\n\n", &[]),
        ("data: a\n\n", &["a"]),
        ("data:a\n\n", &["a"]),
        ("data:  a \n\n", &[" a "]),
        ("data: a\r\rdata: b\r\r", &["a", "b"]),
        ("data: a\r\n\r\ndata: b\r\n\r\n", &["a", "b"]),
        ("data: a\n\rdata: b\r\n\n", &["a", "b"]),
        ("data: a\ndata: b\n\n", &["a\nb"]),
        ("data: a\ndata\ndata:c\n\n", &["a\n\nc"]),
        ("data\n\n", &[""]),
        ("data:\n\n", &[""]),
        ("\u{feff}data: a\n\ndata: b\n\n", &["a", "b"]),
        ("data: a\n\n\u{feff}data: b\n\n", &["a"]),
        ("\u{feff}\u{feff}data: a\n\n", &[]),
        (": comment\n\n:\n\ndata: a\n: inside\n\n", &["a"]),
        ("event: x\nid: 7\nretry: 10\ndata: a\n\n", &["a"]),
        ("event: x\n\ndata: a\n\n", &["a"]),
        (" data: a\n\nDATA: b\n\ndatax: c\n\ndata : d\n\n", &[]),
        ("data: 你好\n\ndata: é\n\n", &["你好", "é"]),
        ("data: a\n", &[]),
        ("data: a", &[]),
    ];
    for (stream, expected) in cases {
        assert_eq!(events_of(&[stream.as_bytes()]), expected, "{stream:?}");
        let single: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
        assert_eq!(events_of(&single), expected, "{stream:?} byte by byte");
    }
}

#[test]
fn events_do_not_depend_on_the_chunks() {
    let stream = "\u{feff}data: {\"a\":1}\r\n\r\n: ping\r\rdata: x\r\ndata: 你\n\nevent: e\ndata:\n\ndata: end\r\n\r\n"
        .as_bytes();
    let whole = events_of(&[stream]);
    assert_eq!(whole, ["{\"a\":1}", "x\n你", "", "end"]);
    for first in 0..=stream.len() {
        for second in first..=stream.len() {
            let chunks = [
                &stream[..first],
                &stream[first..second],
                b"",
                &stream[second..],
            ];
            assert_eq!(events_of(&chunks), whole, "split at {first} and {second}");
        }
    }
}

#[test]
fn events_that_are_too_large_are_skipped() {
    let line = |length: usize| format!("data:{}\n\n", "x".repeat(length));
    for (length, taken) in [
        (EVENT_BYTES_MAX - 1, 1),
        (EVENT_BYTES_MAX, 1),
        (EVENT_BYTES_MAX + 1, 0),
        (900_000, 0),
    ] {
        let stream = format!("data: a\n\n{}data: b\n\n", line(length));
        for size in [1_000, 1_448, 65_536, stream.len()] {
            let chunks: Vec<&[u8]> = stream.as_bytes().chunks(size).collect();
            let events = events_of(&chunks);
            assert_eq!(events.len(), 2 + taken, "{length} in chunks of {size}");
            assert_eq!(
                (events[0].as_str(), events[events.len() - 1].as_str()),
                ("a", "b")
            );
        }
    }
}

#[test]
fn memory_is_bounded_for_endless_lines_and_events() {
    let many = format!("{}\ndata: b\n\n", "data: 0123456789\n".repeat(20_000));
    assert_eq!(events_of(&[many.as_bytes()]), ["b"]);
    let chunks: Vec<&[u8]> = many.as_bytes().chunks(777).collect();
    assert_eq!(events_of(&chunks), ["b"]);

    let mut scanner = SseDataReader::new();
    for _ in 0..2_000 {
        scanner.feed(&[b'x'; 8_192], |_| panic!("no event has ended"));
    }
    assert!(
        scanner.held_bytes() <= 2 * EVENT_BYTES_MAX,
        "{}",
        scanner.held_bytes()
    );
}

/// Logs the events; the pieces of one are joined.
#[derive(Default)]
struct Log {
    lines: Vec<String>,
    data: Option<String>,
}

impl SseSink for Log {
    fn data(&mut self, piece: &[u8]) {
        let data = self.data.get_or_insert_default();
        data.push_str(&String::from_utf8_lossy(piece));
    }

    fn name(&mut self, name: &[u8]) {
        let name = String::from_utf8_lossy(name);
        self.lines.push(format!("name {name}"));
    }

    fn end(&mut self) {
        self.lines.push(match self.data.take() {
            Some(data) => format!("end {data}"),
            None => "end".to_owned(),
        });
    }
}

fn log_of<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let mut log = Log::default();
    let mut events = SseParser::new();
    for chunk in chunks {
        events.feed(chunk, &mut log);
        assert!(events.held_bytes() <= 2 * NAME_BYTES_MAX);
    }
    events.finish(&mut log);
    log.lines
}

#[test]
fn names_and_data_are_passed_on_in_pieces() {
    let long_name = "n".repeat(300);
    for (stream, expected) in [
        ("event: error\ndata: x\n\n", vec!["name error", "end x"]),
        ("event:error\r\ndata:x\r\n\r\n", vec!["name error", "end x"]),
        ("data: x\nevent: e\n\n", vec!["name e", "end x"]),
        ("event: a\nevent: b\n\n", vec!["name a", "name b", "end"]),
        (
            "event\n\nevent:\n\nevent: \n\n",
            vec!["name ", "end", "name ", "end"],
        ),
        ("\u{feff}event: e\n\n", vec!["name e", "end"]),
        ("events: e\n\n event: e\n\nEvent: e\n\n", vec![]),
        ("data: a\nid: 1\ndata\ndata: b\n\n", vec!["end a\n\nb"]),
        (
            "data: a\n\n: comment\n\nevent: e\ndata: b",
            vec!["end a", "name e", "end b"],
        ),
        ("data", vec!["end "]),
        ("data: ", vec!["end "]),
        ("dat", vec![]),
        (
            &*format!("event: {long_name}\ndata: x\n\n"),
            vec![&*format!("name {}", &long_name[..NAME_BYTES_MAX]), "end x"],
        ),
    ] {
        assert_eq!(log_of([stream.as_bytes()]), expected, "{stream:?}");
        assert_eq!(
            log_of(stream.as_bytes().chunks(1)),
            expected,
            "{stream:?} byte by byte"
        );
        for at in 0..stream.len() {
            let (first, second) = stream.as_bytes().split_at(at);
            assert_eq!(
                log_of([first, b"", second]),
                expected,
                "{stream:?} cut at {at}"
            );
        }
    }
}

#[test]
fn large_data_is_passed_on_and_not_held() {
    let long = "x".repeat(3_000_000);
    let stream = format!("event: long\ndata: {long}\ndata: y\n\ndata: b\n\n");
    for size in [1_000, 65_536, stream.len()] {
        let log = log_of(stream.as_bytes().chunks(size));
        assert_eq!(log, ["name long", &format!("end {long}\ny"), "end b"]);
    }
}

#[test]
fn the_last_event_of_a_truncated_stream_is_passed_on() {
    for (stream, expected) in [
        ("data: a\n\ndata: b", vec!["b"]),
        ("data: a\n\ndata: b\n", vec!["b"]),
        ("data: a\n\ndata: b\r", vec!["b"]),
        ("data: a\n\n", vec![]),
        ("data: a\n\nevent: x", vec![]),
    ] {
        let mut scanner = SseDataReader::new();
        scanner.feed(stream.as_bytes(), |_| {});
        let mut last = Vec::new();
        scanner.finish(|data| last.push(String::from_utf8_lossy(data).into_owned()));
        assert_eq!(last, expected, "{stream:?}");
    }
}
