//! The rules of W3C Trace Context, with the cases of the specification's own test suite
//! (github.com/w3c/trace-context, test/test.py): the same 41 names, each with the incoming headers and the expected
//! outgoing ones.

use super::*;

#[path = "limits_tests.rs"]
mod limits;
#[path = "state_tests.rs"]
mod state_cases;

use Trace::{Continues, Restarts};

const TRACE: &str = "12345678901234567890123456789012";
const PARENT: &str = "00-12345678901234567890123456789012-1234567890123456-01";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Trace {
    /// The trace has the caller's id.
    Continues,
    /// The trace has a new id.
    Restarts,
}

/// Incoming headers and the expected outcome.
struct Request {
    headers: Vec<(String, String)>,
    trace: Trace,
    tracestate: Option<String>,
}

type Case = (&'static str, Vec<Request>);

/// Requests with only a `traceparent`; TRACE is replaced by the trace id.
const PARENTS: &[(&str, Trace, &[&str])] = &[
    (
        "traceparent_included_tracestate_missing",
        Continues,
        &["00-TRACE-1234567890123456-01"],
    ),
    (
        "traceparent_version_0x00",
        Restarts,
        &[
            "00-TRACE-1234567890123456-01.",
            "00-TRACE-1234567890123456-01-what-the-future-will-be-like",
        ],
    ),
    (
        "traceparent_version_0xff",
        Restarts,
        &["ff-TRACE-1234567890123456-01"],
    ),
    (
        "traceparent_version_illegal_characters",
        Restarts,
        &[
            ".0-TRACE-1234567890123456-01",
            "0.-TRACE-1234567890123456-01",
        ],
    ),
    (
        "traceparent_version_too_long",
        Restarts,
        &[
            "000-TRACE-1234567890123456-01",
            "0000-TRACE-1234567890123456-01",
        ],
    ),
    (
        "traceparent_version_too_short",
        Restarts,
        &["0-TRACE-1234567890123456-01"],
    ),
    (
        "traceparent_trace_id_all_zero",
        Restarts,
        &["00-00000000000000000000000000000000-1234567890123456-01"],
    ),
    (
        "traceparent_trace_id_illegal_characters",
        Restarts,
        &[
            "00-.2345678901234567890123456789012-1234567890123456-01",
            "00-1234567890123456789012345678901.-1234567890123456-01",
        ],
    ),
    (
        "traceparent_trace_id_too_long",
        Restarts,
        &["00-TRACE3-1234567890123456-01"],
    ),
    (
        "traceparent_trace_id_too_short",
        Restarts,
        &["00-1234567890123456789012345678901-1234567890123456-01"],
    ),
    (
        "traceparent_parent_id_all_zero",
        Restarts,
        &["00-TRACE-0000000000000000-01"],
    ),
    (
        "traceparent_parent_id_illegal_characters",
        Restarts,
        &[
            "00-TRACE-.234567890123456-01",
            "00-TRACE-123456789012345.-01",
        ],
    ),
    (
        "traceparent_parent_id_too_long",
        Restarts,
        &["00-TRACE-12345678901234567-01"],
    ),
    (
        "traceparent_parent_id_too_short",
        Restarts,
        &["00-TRACE-123456789012345-01"],
    ),
    (
        "traceparent_trace_flags_illegal_characters",
        Restarts,
        &[
            "00-TRACE-1234567890123456-.0",
            "00-TRACE-1234567890123456-0.",
        ],
    ),
    (
        "traceparent_trace_flags_too_long",
        Restarts,
        &["00-TRACE-1234567890123456-001"],
    ),
    (
        "traceparent_trace_flags_too_short",
        Restarts,
        &["00-TRACE-1234567890123456-1"],
    ),
    (
        "traceparent_ows_handling",
        Continues,
        &[
            " 00-TRACE-1234567890123456-01",
            "\t00-TRACE-1234567890123456-01",
            "00-TRACE-1234567890123456-01 ",
            "00-TRACE-1234567890123456-01\t",
            "\t 00-TRACE-1234567890123456-01 \t",
        ],
    ),
    (
        "multiple_requests_with_valid_traceparent",
        Continues,
        &["00-TRACE-1234567890123456-01"; 3],
    ),
    (
        "multiple_requests_with_illegal_traceparent",
        Restarts,
        &["00-00000000000000000000000000000000-1234567890123456-01"; 3],
    ),
    (
        "propagates_random_flag",
        Continues,
        &["00-TRACE-1234567890123456-02"],
    ),
];

fn parent_cases() -> impl Iterator<Item = Case> {
    PARENTS.iter().map(|(name, trace, values)| {
        let requests = values.iter().map(|value| {
            let value = value.replace("TRACE", TRACE);
            request(&[("traceparent", &value)], *trace, None)
        });
        (*name, requests.collect())
    })
}

fn named(name: &'static str, rows: &[&[(&str, &str)]], trace: Trace, state: Option<&str>) -> Case {
    let requests = rows.iter().map(|headers| request(headers, trace, state));
    (name, requests.collect())
}

fn request(headers: &[(&str, &str)], trace: Trace, tracestate: Option<&str>) -> Request {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Request {
        headers: headers.iter().map(owned).collect(),
        trace,
        tracestate: tracestate.map(str::to_owned),
    }
}

fn header_cases() -> Vec<Case> {
    let other = PARENT.replace("9012-", "9011-");
    let future = |rest: &str| format!("cc{}{rest}", &PARENT[2..]);
    let version_cc = [
        (future(""), Continues),
        (future("-what-the-future-will-be-like"), Continues),
        (future(".what-the-future-will-be-like"), Restarts),
    ];
    vec![
        named(
            "both_traceparent_and_tracestate_missing",
            &[&[]],
            Restarts,
            None,
        ),
        named(
            "multiple_requests_without_traceparent",
            &[&[], &[], &[]],
            Restarts,
            None,
        ),
        named(
            "traceparent_duplicated",
            &[&[("traceparent", &other), ("traceparent", PARENT)]],
            Restarts,
            None,
        ),
        named(
            "traceparent_header_name",
            &[&[("trace-parent", PARENT)], &[("trace.parent", PARENT)]],
            Restarts,
            None,
        ),
        named(
            "traceparent_header_name_valid_casing",
            &[
                &[("TraceParent", PARENT)],
                &[("TrAcEpArEnT", PARENT)],
                &[("TRACEPARENT", PARENT)],
            ],
            Continues,
            None,
        ),
        (
            "traceparent_version_0xcc",
            version_cc
                .iter()
                .map(|(value, trace)| request(&[("traceparent", value)], *trace, None))
                .collect(),
        ),
    ]
}

fn header_map(headers: &[(String, String)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
        map.append(
            name,
            HeaderValue::from_bytes(value.as_bytes()).expect("a value"),
        );
    }
    map
}

/// Deterministic bytes that differ at every call.
fn counting() -> impl FnMut(&mut [u8]) {
    let mut next = 0u64;
    move |bytes| {
        next += 1;
        for (position, byte) in bytes.iter_mut().enumerate() {
            *byte = (next * 31 + position as u64) as u8;
        }
    }
}

#[test]
fn all_cases_of_the_specification_hold() {
    let mut random = counting();
    let mut names = std::collections::HashSet::new();
    let cases = parent_cases()
        .chain(header_cases())
        .chain(state_cases::all());
    for (name, requests) in cases {
        assert!(names.insert(name), "{name} is listed twice");
        let mut spans = std::collections::HashSet::new();
        for (index, request) in requests.iter().enumerate() {
            let mut headers = header_map(&request.headers);
            let context = TraceContext::from_headers(&headers, &mut random);
            context.write_to(&mut headers, &context.span_id);

            let sent: Vec<_> = headers.get_all("traceparent").iter().collect();
            assert_eq!(sent.len(), 1, "{name} {index}");
            let sent = sent[0].to_str().expect("ASCII");
            assert_eq!(sent.len(), PARENT_LENGTH, "{name} {index}: {sent}");
            assert!(
                TraceParent::parse(sent.as_bytes()).is_some(),
                "{name} {index}: {sent}"
            );
            let continues = &sent[3..35] == TRACE;
            assert_eq!(
                continues,
                request.trace == Continues,
                "{name} {index}: {sent}"
            );
            assert_ne!(&sent[36..52], "1234567890123456", "{name} {index}");
            assert!(
                spans.insert(sent[36..52].to_owned()),
                "{name} {index}: {sent}"
            );
            if name == "propagates_random_flag" {
                assert!(sent.ends_with("-02"), "{sent}");
            }
            let states: Vec<_> = headers
                .get_all("tracestate")
                .iter()
                .map(|value| value.to_str().expect("ASCII"))
                .collect();
            let expected: Vec<_> = request.tracestate.iter().map(String::as_str).collect();
            assert_eq!(states, expected, "{name} {index}");
        }
    }
    assert_eq!(names.len(), 41);
}
