//! The chunks in which a response arrives do not change what is read, even if it is damaged.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;

/// All that is read from chunks that arrive at the same time.
fn read_all<'a>(
    case: &Case,
    now: Instant,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> (ResponseFacts, ResponseLayout, bool) {
    let mut reader = ResponseReader::new(case.format, case.operation);
    for chunk in chunks {
        reader.feed(chunk, now);
    }
    let (layout, is_successful) = (reader.layout(), reader.is_successful());
    (reader.finish(), layout, is_successful)
}

fn random_cut<'a>(random: &mut StdRng, mut rest: &'a [u8]) -> Vec<&'a [u8]> {
    let mut chunks = Vec::new();
    while !rest.is_empty() {
        let size = match random.random_range(0..3) {
            0 => random.random_range(0..4),
            1 => random.random_range(0..64),
            _ => random.random_range(0..2_000),
        };
        let (chunk, after) = rest.split_at(size.min(rest.len()));
        chunks.push(chunk);
        rest = after;
    }
    chunks
}

#[test]
fn the_result_does_not_depend_on_the_chunks() {
    let mut random = StdRng::seed_from_u64(16);
    let now = crate::clock::now();
    for case in cases::all() {
        let body = case.body.as_bytes();
        let whole = read_all(&case, now, [body]);
        let name = case.name;
        assert_eq!(
            read_all(&case, now, body.chunks(1)),
            whole,
            "{name} byte by byte"
        );
        // A long body is split only at some of its bytes, to bound the time.
        let step = match body.len() {
            0..5_000 => 1,
            length => length / 200,
        };
        for at in (0..body.len()).step_by(step) {
            let (first, second) = body.split_at(at);
            assert_eq!(
                read_all(&case, now, [first, b"", second]),
                whole,
                "{name} cut at {at}"
            );
        }
        for _ in 0..20 {
            let chunks = random_cut(&mut random, body);
            assert_eq!(
                read_all(&case, now, chunks.iter().copied()),
                whole,
                "{name} in {chunks:?}"
            );
        }
    }
}

#[test]
fn a_stream_cut_within_its_first_event_is_incomplete() {
    let event = events(&[r#"{"object":"chat.completion.chunk","choices":[{"delta":{}}]}"#]);
    for at in 0..event.len() {
        let facts = read(ResponseFormat::Sse, &event[..at]);
        let is_incomplete = match facts.completeness {
            Completeness::Complete => facts.ending == Ending::Open,
            Completeness::Empty | Completeness::NoEvents | Completeness::Truncated => true,
        };
        assert!(is_incomplete, "{}: {facts:?}", &event[..at]);
    }
}

#[test]
fn damaged_responses_give_the_same_result_in_any_chunks() {
    let mut random = StdRng::seed_from_u64(61);
    let now = crate::clock::now();
    for case in cases::all() {
        for _ in 0..100 {
            let mut body = case.body.as_bytes().to_vec();
            for _ in 0..random.random_range(1..6) {
                let at = random.random_range(0..body.len());
                match random.random_range(0..4) {
                    0 => body[at] = random.random(),
                    1 => body[at] = b"\"\\{}[],:\n\r0e-"[random.random_range(0..13)],
                    2 => body.truncate(at + 1),
                    _ => {
                        let from = random.random_range(0..body.len());
                        let piece = body[from..body.len().min(from + 40)].to_vec();
                        body.splice(at..at, piece);
                    }
                }
            }
            let whole = read_all(&case, now, [&*body]);
            let chunks = random_cut(&mut random, &body);
            let shown = String::from_utf8_lossy(&body);
            assert_eq!(
                read_all(&case, now, chunks.iter().copied()),
                whole,
                "{shown}"
            );
        }
    }
}

#[test]
fn held_bytes_are_bounded() {
    const HELD_MAX: usize = 4 * 1024;

    let megabytes = |piece: &str| piece.repeat(1_000_000 / piece.len());
    let chunk = r#"{"choices":[{"index":0,"delta":{"content":"a"}}]}"#;
    for body in [
        megabytes(&events(&[chunk])),
        megabytes("event: a-name-that-is-quite-long-and-goes-on-and-on\n"),
        megabytes("x"),
        megabytes("data: x\n"),
        format!("data: {{\"model\":\"{}", megabytes("m")),
        format!("data: {{\"{}", megabytes("m\\n")),
        format!("data: {{\"error\":{}", megabytes("{\"a\":")),
        format!("{{\"data\":[{{\"embedding\":[{}", megabytes("0.125,")),
        format!(
            "{{\"choices\":[{}",
            megabytes(r#"{"finish_reason":"stop"},"#)
        ),
        megabytes("{\"done\":false,\"model\":\"m\"}\n"),
        megabytes("["),
        megabytes("\"\\ud83d"),
        megabytes("7"),
        megabytes(" "),
    ] {
        for format in [ResponseFormat::Json, ResponseFormat::Sse] {
            for size in [1_448, body.len()] {
                let mut reader = ResponseReader::new(format, None);
                for chunk in body.as_bytes().chunks(size) {
                    reader.feed(chunk, crate::clock::now());
                    assert!(reader.held_bytes() <= HELD_MAX, "{}", reader.held_bytes());
                }
                drop(reader.finish());
            }
        }
    }
}

#[test]
fn usage_is_found_after_megabytes() {
    for length in [60_000, 80_000, 3_000_000] {
        let vector = "0.125,".repeat(length / 6);
        let embeddings = format!(
            r#"{{"object":"list","data":[{{"embedding":[{vector}1]}}],"model":"large","usage":{{"prompt_tokens":77,"total_tokens":77}}}}"#
        );
        let words = r#"\"usage\":{\"prompt_tokens\":9}, "#.repeat(length / 30);
        let chat = format!(
            r#"{{"model":"large","choices":[{{"message":{{"content":"{words}"}},"finish_reason":"length"}}],"usage":{{"prompt_tokens":77,"completion_tokens":2}}}}"#
        );
        let response = format!(
            r#"{{"type":"response.completed","response":{{"instructions":"{words}","model":"large","usage":{{"input_tokens":77}}}}}}"#
        );
        for body in [&embeddings, &chat, &events(&[&response])] {
            for size in [1_400, 16_384, 70_000, body.len()] {
                let chunks: Vec<&[u8]> = body.as_bytes().chunks(size).collect();
                let facts = reader(ResponseFormat::Json, &chunks).finish();
                let found = (facts.model.as_deref(), facts.usage.input_tokens);
                assert_eq!(found, (Some("large"), Some(77)), "{length} by {size}");
            }
        }
    }
}
