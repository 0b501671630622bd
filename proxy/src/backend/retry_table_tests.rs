//! The tables of `docs/backends.md`, row by row.

use std::sync::LazyLock;

use http::HeaderValue;

use super::*;
use crate::clock;

static NO_KEY: LazyLock<HeaderMap> = LazyLock::new(HeaderMap::new);
static WITH_KEY: LazyLock<HeaderMap> = LazyLock::new(|| with_key("1"));
static EMPTY_KEY: LazyLock<HeaderMap> = LazyLock::new(|| with_key(""));

fn with_key(key: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("idempotency-key", HeaderValue::from_static(key));
    headers
}

const DOCUMENT: &str = include_str!("../../../docs/backends.md");

/// The rows of the table whose first heading is this, by their cells.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let lines = DOCUMENT.lines();
    let lines = lines.skip_while(|line| !line.starts_with(&format!("| {heading} |")));
    let rows = lines.take_while(|line| line.starts_with('|')).skip(2);
    let cells = |line: &'static str| line.trim_matches('|').split('|').map(str::trim).collect();
    let rows: Vec<_> = rows.map(cells).collect();
    assert!(!rows.is_empty(), "no table: {heading}");
    rows
}

/// A request as a row describes it, with this body.
fn traits(row: &str, body: BodyReplay) -> Vec<RepeatTraits<'static>> {
    let post = RepeatTraits {
        method: &Method::POST,
        operation: None,
        headers: &NO_KEY,
        origin: RequestOrigin::Client,
        body,
    };
    let with_methods = |methods: &'static [Method]| {
        let with = |method| RepeatTraits { method, ..post };
        methods.iter().map(with).collect()
    };
    // What would be repeatable, but for who sent it.
    let from = |origin| {
        vec![RepeatTraits {
            method: &Method::GET,
            operation: Some(Operation::Chat),
            headers: &WITH_KEY,
            origin,
            ..post
        }]
    };
    match row {
        "a safe method (GET, HEAD, OPTIONS, TRACE)" => {
            with_methods(&[Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE])
        }
        "a model call: it creates nothing" => vec![RepeatTraits {
            operation: Some(Operation::Chat),
            ..post
        }],
        "any method with an `Idempotency-Key`" => vec![RepeatTraits {
            headers: &WITH_KEY,
            ..post
        }],
        "a delivery of a platform, which repeats it itself" => from(RequestOrigin::Delivery),
        "a WebSocket, another upgrade, or gRPC" => from(RequestOrigin::OpenStream),
        "any other request" => {
            let empty_key = RepeatTraits {
                headers: &EMPTY_KEY,
                ..post
            };
            let mut others: Vec<_> =
                with_methods(&[Method::POST, Method::PUT, Method::DELETE, Method::PATCH]);
            others.push(empty_key);
            others
        }
        row => panic!("an unknown request: {row}"),
    }
}

#[test]
fn requests_are_repeatable_as_documented() {
    let rows = rows("request");
    assert_eq!(rows.len(), 6);
    for row in rows {
        let columns = [
            (row[1], BodyReplay::Whole),
            (row[2], BodyReplay::Unsent),
            (row[2], BodyReplay::Gone),
        ];
        for (cell, body) in columns {
            let expected = match cell {
                "repeatable" => Repeatable::Yes,
                "not repeatable" => Repeatable::Unprocessed,
                cell => panic!("an unknown cell: {cell}"),
            };
            for request in traits(row[0], body) {
                assert_eq!(Repeatable::of(&request), expected, "{request:?}");
            }
        }
    }
}

#[test]
fn reused_connections_are_replaced_for_all_but_deliveries_that_may_have_been_processed() {
    for failure in [AttemptFailure::Connect, AttemptFailure::Reset] {
        let is_unprocessed = failure == AttemptFailure::Connect;
        for (origin, expected) in [
            (RequestOrigin::Client, true),
            (RequestOrigin::OpenStream, true),
            (RequestOrigin::Delivery, is_unprocessed),
        ] {
            assert_eq!(origin.is_sent_again(failure), expected, "{origin:?}");
        }
    }
}

fn status(status: u16, quota: Quota) -> AttemptFailure {
    AttemptFailure::Status {
        status,
        retry_after: None,
        quota,
    }
}

/// The failures that a row describes.
fn failures(row: &str) -> Vec<AttemptFailure> {
    match row {
        "no connection could be opened, or the endpoint rejects the stream of a new one (GOAWAY, REFUSED_STREAM)" =>
        {
            vec![AttemptFailure::Connect]
        }
        "the connection is lost before the head of a response" => vec![AttemptFailure::Reset],
        "a status in `when`" => [429, 502, 503, 504]
            .map(|code| status(code, Quota::Left))
            .to_vec(),
        "a status in `when`: 429 whose body names an exhausted quota or an unpaid bill" => {
            vec![status(429, Quota::Exhausted)]
        }
        "any other status" => [404, 500].map(|code| status(code, Quota::Left)).to_vec(),
        "no response in time, or invalid HTTP" => {
            vec![AttemptFailure::Timeout, AttemptFailure::Invalid]
        }
        "a 200 response whose first content is an error, as a stream or as JSON" => {
            vec![AttemptFailure::ErrorInBody]
        }
        row => panic!("an unknown failure: {row}"),
    }
}

/// What follows by a cell of the table: if `when` lists the failure, and if it does not.
fn steps(cell: &str) -> [NextStep; 2] {
    let retry = NextStep::OtherEndpoint;
    match cell.split(" if ").next().unwrap_or(cell) {
        "retry" if cell.ends_with(", else failover") => [retry, NextStep::Failover],
        "retry" => [retry, retry],
        "failover" => [NextStep::Failover, NextStep::Failover],
        "delivered" => [NextStep::Deliver, NextStep::Deliver],
        _ => panic!("an unknown cell: {cell}"),
    }
}

#[test]
fn failures_are_followed_by_what_is_documented() {
    let rows = rows("failure of an attempt");
    assert_eq!(rows.len(), 7);
    let mut listed = RetryConfig::default();
    listed.on.statuses.push(429);
    let mut unlisted = listed.clone();
    unlisted.on.connect = false;
    unlisted.on.reset_before_response = false;
    let now = clock::now();
    for row in rows {
        let other = match row[2] {
            "the same" => row[1],
            cell => cell,
        };
        // Which body the request has: one that is passed through makes it one of the second column.
        let columns = [
            (row[1], Repeatable::Yes, BodyReplay::Whole),
            (other, Repeatable::Unprocessed, BodyReplay::Whole),
            (other, Repeatable::Unprocessed, BodyReplay::Unsent),
            ("delivered", Repeatable::Unprocessed, BodyReplay::Gone),
        ];
        for (cell, repeatable, body) in columns {
            let state = AttemptState {
                attempts: 1,
                repeatable,
                body,
                has_other_endpoint: true,
                now,
                deadline: now + Duration::from_secs(300),
            };
            for failure in failures(row[0]) {
                let found = [&listed, &unlisted].map(|config| config.next(failure, &state, 0));
                assert_eq!(found, steps(cell), "{failure:?}, {repeatable:?}, {body:?}");
            }
        }
    }
}
