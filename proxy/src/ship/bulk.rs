//! One bulk request and what its answer means: pure functions.
//!
//! Elasticsearch's bulk API: data streams take `create` only, each item has a status of its own, and
//! items keep the order of the request.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Deserialize;

use super::spool::Spooled;

/// Of an item's reason, what is worth keeping.
const REASON_CHARACTERS_MAX: usize = 300;

/// What became of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Indexed,
    /// It was there already.
    Duplicate,
    /// The node is overloaded, or has failed: the same event again, later.
    Again,
    /// It will never be taken.
    Refused {
        status: u16,
        reason: String,
    },
}

/// What an answer means for all events of its request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// One for each event, in their order.
    Items(Vec<Item>),
    /// Nothing was taken: the same again, later, perhaps elsewhere.
    Unavailable(String),
    /// The node does not let weir in: keep the events and tell somebody.
    NotAllowed(u16),
    /// The request is too large, or one of its events cannot be read: a smaller one tells which.
    Split { status: u16, reason: String },
}

/// The body: an action and the event itself for each, compressed with gzip at its fastest.
pub(super) fn body(events: &[Spooled]) -> Vec<u8> {
    let bytes: usize = events.iter().map(|event| event.line.len() + 64).sum();
    let mut body = GzEncoder::new(Vec::with_capacity(bytes / 5), Compression::fast());
    for event in events {
        let parts: [&[u8]; 5] = [
            br#"{"create":{"_id":""#,
            &event.id,
            b"\"}}\n",
            &event.line,
            b"\n",
        ];
        for part in parts {
            // Writing to a Vec cannot fail.
            let _ = body.write_all(part);
        }
    }
    body.finish().unwrap_or_default()
}

#[derive(Deserialize)]
struct Answer {
    items: Vec<Action>,
}

#[derive(Deserialize)]
struct Action {
    create: Outcome,
}

#[derive(Deserialize)]
struct Outcome {
    status: u16,
    error: Option<Cause>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Cause {
    r#type: String,
    reason: Option<String>,
}

/// What the answer to a request with so many events means.
pub(super) fn verdict(status: u16, body: &[u8], events: usize) -> Verdict {
    match status {
        200..=299 => match serde_json::from_slice::<Answer>(body) {
            Ok(answer) if answer.items.len() == events => {
                let items = answer.items.into_iter();
                Verdict::Items(items.map(|action| item(action.create)).collect())
            }
            Ok(answer) => {
                let count = answer.items.len();
                Verdict::Unavailable(format!("it answered {count} items for {events} events"))
            }
            Err(error) => Verdict::Unavailable(format!("its answer cannot be read: {error}")),
        },
        401 | 403 if !is_block(body) => Verdict::NotAllowed(status),
        400 | 413 => Verdict::Split {
            status,
            reason: excerpt(body),
        },
        _ => Verdict::Unavailable(format!("it answered {status}: {}", excerpt(body))),
    }
}

fn item(outcome: Outcome) -> Item {
    let cause = outcome.error.unwrap_or_default();
    match outcome.status {
        200..=299 => Item::Indexed,
        409 => Item::Duplicate,
        429 | 500..=599 => Item::Again,
        // A full disk blocks writing until somebody makes room; older versions say 403.
        _ if cause.r#type == "cluster_block_exception" => Item::Again,
        status => {
            let reason = cause.reason.unwrap_or_default();
            let reason: String = reason.chars().take(REASON_CHARACTERS_MAX).collect();
            Item::Refused {
                status,
                reason: format!("{}: {reason}", cause.r#type),
            }
        }
    }
}

fn is_block(body: &[u8]) -> bool {
    memchr::memmem::find(body, b"cluster_block_exception").is_some()
}

fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.chars().take(REASON_CHARACTERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn event(number: u64, line: &str) -> Spooled {
        Spooled {
            number,
            id: *b"01KAN0X3S8Q5V4R8C9J2M7T6ZB",
            line: line.as_bytes().into(),
        }
    }

    #[test]
    fn a_body_has_an_action_and_a_line_for_each_event() {
        let body = body(&[event(1, "{\"a\":1}"), event(2, "{}")]);
        let mut text = String::new();
        flate2::read::GzDecoder::new(&body[..])
            .read_to_string(&mut text)
            .expect("gzip");
        let action = "{\"create\":{\"_id\":\"01KAN0X3S8Q5V4R8C9J2M7T6ZB\"}}\n";
        assert_eq!(text, format!("{action}{{\"a\":1}}\n{action}{{}}\n"));
    }

    #[test]
    fn every_item_is_judged_by_itself() {
        let body = br#"{"took":1,"errors":true,"items":[
            {"create":{"_id":"a","status":201}},
            {"create":{"status":409,"error":{"type":"version_conflict_engine_exception","reason":"x"}}},
            {"create":{"status":429,"error":{"type":"es_rejected_execution_exception"}}},
            {"create":{"status":503}},
            {"create":{"status":403,"error":{"type":"cluster_block_exception","reason":null}}},
            {"create":{"status":400,"error":{"type":"mapper_parsing_exception","reason":"bad date"}}}]}"#;
        let Verdict::Items(items) = verdict(200, body, 6) else {
            panic!("items");
        };
        let refused = Item::Refused {
            status: 400,
            reason: "mapper_parsing_exception: bad date".to_owned(),
        };
        use Item::{Again, Duplicate, Indexed};
        assert_eq!(items, [Indexed, Duplicate, Again, Again, Again, refused]);
    }

    #[test]
    fn an_answer_that_does_not_fit_is_no_acknowledgement() {
        for (status, body, events) in [
            (200, &br#"{"items":[]}"#[..], 1),
            (200, br#"{"items":[{"create":{"status":201}}]}"#, 2),
            (200, br#"{"items":[{"index":{"status":201}}]}"#, 1),
            (200, b"", 1),
            (200, b"<html>", 1),
            (302, b"", 1),
            (404, b"", 1),
            (429, b"", 1),
            (500, b"", 1),
            (503, b"\xff", 1),
        ] {
            let verdict = verdict(status, body, events);
            assert!(
                matches!(verdict, Verdict::Unavailable(_)),
                "{status}: {verdict:?}"
            );
        }
    }

    #[test]
    fn a_whole_request_may_be_refused_in_three_ways() {
        assert_eq!(verdict(401, b"", 1), Verdict::NotAllowed(401));
        assert_eq!(verdict(403, b"{}", 1), Verdict::NotAllowed(403));
        let block = br#"{"error":{"type":"cluster_block_exception"}}"#;
        assert!(matches!(verdict(403, block, 1), Verdict::Unavailable(_)));
        for status in [400, 413] {
            let reason = "too large".to_owned();
            assert_eq!(
                verdict(status, b"too large", 9),
                Verdict::Split { status, reason }
            );
        }
    }
}
