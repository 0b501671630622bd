//! Formats bulk requests and parses their responses into an outcome for each event. Pure functions.
//!
//! In Elasticsearch's bulk API, data streams accept only `create`, each item has a status of its own, and items are
//! in the order of the request. Every event has its own id, so that sending it again creates no duplicate
//! (idempotency).

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Deserialize;

use super::condition::{self, Condition};
use super::spool::Spooled;

/// How much of a reason is logged and written to the dead-letter file.
const REASON_CHARACTERS_MAX: usize = 300;

/// The outcome of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ItemOutcome {
    Indexed,
    /// The index could not map it and put it into its failure store (Elasticsearch 8.19 and newer).
    FailureStore,
    /// It is in the index already.
    Duplicate,
    /// It has to be sent again later: the problem is the index, not the event.
    Retry(RetryReason),
    /// It will never be accepted.
    Rejected {
        status: u16,
        reason: String,
    },
}

/// Why events have to be sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RetryReason {
    pub(super) condition: Condition,
    /// For humans.
    pub(super) message: String,
}

/// The outcome of a bulk request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BulkVerdict {
    /// One for each event, in the order of the request.
    Items(Vec<ItemOutcome>),
    /// Nothing was accepted: the same request has to be sent again later, perhaps to another node.
    Retry(RetryReason),
    /// The request is too large, or one of its events cannot be parsed: it is split to isolate that event.
    Split { status: u16, reason: String },
}

impl BulkVerdict {
    pub(super) fn retry(condition: Condition, message: String) -> Self {
        BulkVerdict::Retry(RetryReason { condition, message })
    }
}

/// The body: an action and a line for each event, compressed with gzip at its fastest level. `index_member` names
/// the data stream in each action, unless it is the one in the path.
pub(super) fn body(events: &[Spooled], index_member: &str) -> Vec<u8> {
    let bytes: usize = events.iter().map(|event| event.line.len() + 64).sum();
    let mut body = GzEncoder::new(Vec::with_capacity(bytes / 5), Compression::fast());
    for event in events {
        let parts: [&[u8]; 7] = [
            br#"{"create":{"#,
            index_member.as_bytes(),
            br#""_id":""#,
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
struct BulkResponse {
    items: Vec<BulkAction>,
}

#[derive(Deserialize)]
struct BulkAction {
    create: CreateResult,
}

#[derive(Deserialize)]
struct CreateResult {
    status: u16,
    error: Option<ErrorCause>,
    failure_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorCause {
    r#type: String,
    reason: Option<String>,
}

/// The response to a request that was rejected as a whole. AWS and proxies may send less.
#[derive(Deserialize)]
struct ErrorResponse {
    error: ErrorCause,
}

/// The outcome of a request with this many events.
pub(super) fn verdict(status: u16, body: &[u8], events: usize) -> BulkVerdict {
    if !(200..=299).contains(&status) {
        return whole(status, body);
    }
    let unreadable = |message| BulkVerdict::retry(Condition::Unreadable, message);
    match serde_json::from_slice::<BulkResponse>(body) {
        Ok(response) if response.items.len() == events => {
            let items = response.items.into_iter();
            BulkVerdict::Items(items.map(|action| item(action.create)).collect())
        }
        Ok(response) => {
            let count = response.items.len();
            unreadable(format!(
                "it responded with {count} items for {events} events"
            ))
        }
        Err(error) => unreadable(format!("its response cannot be parsed: {error}")),
    }
}

fn whole(status: u16, body: &[u8]) -> BulkVerdict {
    let rejection = serde_json::from_slice::<ErrorResponse>(body);
    let (is_read, cause) = match rejection {
        Ok(rejection) => (true, rejection.error),
        Err(_) => (false, ErrorCause::default()),
    };
    let reason = cause.reason.as_deref().unwrap_or_default();
    if let Some(condition) = condition::of(status, &cause.r#type, reason) {
        let message = explained(
            format!("it responded with {status}"),
            condition,
            &excerpt(body),
        );
        return BulkVerdict::retry(condition, message);
    }
    match (status, is_read) {
        // A proxy in front of the index may reject a large request itself.
        (413, _) | (400, true) => BulkVerdict::Split {
            status,
            reason: excerpt(body),
        },
        _ => BulkVerdict::retry(
            Condition::Unreadable,
            explained(
                format!("it responded with {status}"),
                Condition::Unreadable,
                &excerpt(body),
            ),
        ),
    }
}

fn item(outcome: CreateResult) -> ItemOutcome {
    let CreateResult {
        status,
        error,
        failure_store,
    } = outcome;
    match (status, failure_store.as_deref()) {
        (200..=299, Some("used")) => return ItemOutcome::FailureStore,
        (200..=299, _) => return ItemOutcome::Indexed,
        (409, _) => return ItemOutcome::Duplicate,
        _ => {}
    }
    let cause = error.unwrap_or_default();
    let reason = cause.reason.unwrap_or_default();
    let condition = condition::of(status, &cause.r#type, &reason);
    let reason: String = reason.chars().take(REASON_CHARACTERS_MAX).collect();
    let reason = format!("{}: {reason}", cause.r#type);
    match condition {
        Some(condition) => ItemOutcome::Retry(RetryReason {
            condition,
            message: explained(
                format!("it responded with {status} for an event"),
                condition,
                &reason,
            ),
        }),
        None => ItemOutcome::Rejected { status, reason },
    }
}

/// The response, the advice for its condition, and the message of the index.
pub(super) fn explained(response: String, condition: Condition, words: &str) -> String {
    let advice = condition.advice();
    [&*response, advice, words]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(": ")
}

fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.chars().take(REASON_CHARACTERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::ship::dataset::Dataset;

    fn event(number: u64, line: &str) -> Spooled {
        Spooled {
            number,
            dataset: Dataset::Access,
            id: *b"01KAN0X3S8Q5V4R8C9J2M7T6ZB",
            line: line.as_bytes().into(),
        }
    }

    #[test]
    fn a_body_has_an_action_and_a_line_for_each_event() {
        for (member, action) in [
            (
                "",
                "{\"create\":{\"_id\":\"01KAN0X3S8Q5V4R8C9J2M7T6ZB\"}}\n",
            ),
            (
                "\"_index\":\"b\",",
                "{\"create\":{\"_index\":\"b\",\"_id\":\"01KAN0X3S8Q5V4R8C9J2M7T6ZB\"}}\n",
            ),
        ] {
            let body = body(&[event(1, "{\"a\":1}"), event(2, "{}")], member);
            let mut text = String::new();
            flate2::read::GzDecoder::new(&body[..])
                .read_to_string(&mut text)
                .expect("gzip");
            assert_eq!(text, format!("{action}{{\"a\":1}}\n{action}{{}}\n"));
        }
    }

    /// The outcome of each item.
    fn outcomes(items: &str) -> Vec<String> {
        let body = format!(r#"{{"took":1,"errors":true,"items":[{items}]}}"#);
        let count = items.matches("\"create\"").count();
        let BulkVerdict::Items(items) = verdict(200, body.as_bytes(), count) else {
            panic!("items");
        };
        let outcomes = items.into_iter().map(|item| match item {
            ItemOutcome::Indexed => "indexed".to_owned(),
            ItemOutcome::FailureStore => "failure_store".to_owned(),
            ItemOutcome::Duplicate => "duplicate".to_owned(),
            ItemOutcome::Retry(wait) => wait.condition.as_str().to_owned(),
            ItemOutcome::Rejected { status, reason } => format!("{status} {reason}"),
        });
        outcomes.collect()
    }

    #[test]
    fn every_item_has_its_own_outcome() {
        let outcomes = outcomes(
            r#"{"create":{"_id":"a","status":201}},
            {"create":{"_id":"a","status":201,"failure_store":"used"}},
            {"create":{"_id":"a","status":201,"failure_store":"not_applicable_or_unknown"}},
            {"create":{"status":409,"error":{"type":"version_conflict_engine_exception","reason":"x"}}},
            {"create":{"status":429,"error":{"type":"es_rejected_execution_exception"}}},
            {"create":{"status":503}},
            {"create":{"status":403,"error":{"type":"cluster_block_exception","reason":null}}},
            {"create":{"status":403,"error":{"type":"security_exception","reason":"no"}}},
            {"create":{"status":400,"error":{"type":"mapper_parsing_exception","reason":"bad date"}}},
            {"create":{"status":400,"failure_store":"failed","error":{"type":"document_parsing_exception","reason":"x"}}}"#,
        );
        let expected = [
            "indexed",
            "failure_store",
            "indexed",
            "duplicate",
            "overloaded",
            "unavailable",
            "blocked",
            "forbidden",
            "400 mapper_parsing_exception: bad date",
            "400 document_parsing_exception: x",
        ];
        assert_eq!(outcomes, expected);
    }

    fn condition_of(status: u16, body: &[u8]) -> Option<Condition> {
        match verdict(status, body, 1) {
            BulkVerdict::Retry(wait) => Some(wait.condition),
            BulkVerdict::Items(_) | BulkVerdict::Split { .. } => None,
        }
    }

    #[test]
    fn an_unexpected_response_acknowledges_nothing() {
        for (status, body, events) in [
            (200, &br#"{"items":[]}"#[..], 1),
            (200, br#"{"items":[{"create":{"status":201}}]}"#, 2),
            (200, br#"{"items":[{"index":{"status":201}}]}"#, 1),
            (200, b"", 1),
            (200, b"<html>", 1),
            (302, b"", 1),
            // Plain HTTP to a TLS listener: not the response of an index to a document.
            (
                400,
                b"<html>The plain HTTP request was sent to HTTPS port</html>",
                1,
            ),
            (405, b"", 1),
            (404, b"", 1),
            (429, b"", 1),
            (500, b"", 1),
            (503, b"\xff", 1),
        ] {
            let verdict = verdict(status, body, events);
            assert!(
                matches!(verdict, BulkVerdict::Retry(_)),
                "{status}: {verdict:?}"
            );
        }
    }

    #[test]
    fn a_rejected_request_has_the_conditions_of_an_item() {
        for (status, kind, reason, expected) in [
            (401, "security_exception", "x", Condition::Unauthenticated),
            (403, "security_exception", "x", Condition::Forbidden),
            (403, "cluster_block_exception", "x", Condition::Blocked),
            (
                404,
                "index_not_found_exception",
                "x",
                Condition::IndexMissing,
            ),
            (408, "x", "x", Condition::TimedOut),
            (
                429,
                "circuit_breaking_exception",
                "x",
                Condition::Overloaded,
            ),
            (503, "x", "x", Condition::Unavailable),
            (
                400,
                "illegal_argument_exception",
                "pipeline with id [a] does not exist",
                Condition::PipelineMissing,
            ),
            (
                400,
                "validation_exception",
                "Validation Failed: 1: this action would add [2] shards, but this cluster currently has [1]/[1] maximum normal shards open;",
                Condition::ShardLimit,
            ),
        ] {
            let body =
                serde_json::json!({"error": {"type": kind, "reason": reason}, "status": status});
            let body = body.to_string();
            assert_eq!(
                condition_of(status, body.as_bytes()),
                Some(expected),
                "{status} {kind}"
            );
        }
        // OpenSearch's service on AWS.
        let denied =
            br#"{"Message":"User: anonymous is not authorized to perform: es:ESHttpPost"}"#;
        assert_eq!(condition_of(403, denied), Some(Condition::Forbidden));
        assert_eq!(condition_of(401, b""), Some(Condition::Unauthenticated));
    }

    #[test]
    fn a_request_that_is_too_large_or_cannot_be_parsed_is_split() {
        let body = br#"{"error":{"type":"x_content_parse_exception","reason":"x"},"status":400}"#;
        for (status, body) in [(400, &body[..]), (413, b"too large")] {
            let reason = String::from_utf8_lossy(body).into_owned();
            assert_eq!(
                verdict(status, body, 9),
                BulkVerdict::Split { status, reason }
            );
        }
    }
}
