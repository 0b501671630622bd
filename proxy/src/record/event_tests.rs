use std::collections::BTreeSet;
use std::sync::Arc;

use http::HeaderValue;
use serde_json::{Value, json};

use super::*;
use crate::clock;
use crate::exchange::{BypassReason, CacheKey};
use crate::model::usage::Origin;
use crate::record::fixture::{filled, plain};
use crate::refusal::ErrorCode;

fn event(exchange: &Exchange, duration: Duration) -> Value {
    let mut out = b"before ".to_vec();
    Format::new("production").append(exchange, duration, &mut out);
    assert!(out.starts_with(b"before {"), "an event is appended");
    assert!(!out.contains(&b'\n'), "an event is one line");
    serde_json::from_slice(&out[7..])
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out)))
}

fn contract() -> Value {
    let text = include_str!("../../tests/vectors/event.json");
    let mut contract: Value = serde_json::from_str(text).expect("the contract is JSON");
    let weir = contract["weir"].as_object_mut().expect("an object");
    // Conversations belong to a later version.
    weir.remove("conversation").expect("the contract has it");
    contract
}

fn keys(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                keys(member, &format!("{at}/{key}"), found);
            }
        }
        leaf => {
            found.insert(format!("{at}: {}", kind(leaf)));
        }
    }
}

fn kind(leaf: &Value) -> &'static str {
    match leaf {
        Value::Number(number) if number.is_f64() => "decimal",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Bool(_) => "boolean",
        _ => "other",
    }
}

/// Takes what the contract does not list: the attempts, where there were several.
fn take_tried(event: &mut Value) -> Value {
    let upstream = event["weir"]["upstream"].as_object_mut();
    upstream
        .expect("an object")
        .remove("tried")
        .expect("two attempts")
}

#[test]
fn several_attempts_are_listed_with_their_outcomes() {
    let mut event = event(&filled(), Duration::ZERO);
    let endpoint = "http://127.0.0.1:8000";
    let expected = json!([
        {"backend": "assistant", "endpoint": endpoint, "outcome": "reset"},
        {"backend": "assistant", "endpoint": endpoint, "outcome": "timeout", "status_code": 200},
    ]);
    assert_eq!(take_tried(&mut event), expected);
}

#[test]
fn the_cache_key_and_the_reason_of_a_bypass_are_in_the_event() {
    let mut exchange = filled();
    let mut cache_of = |key, bypass| {
        let cache = exchange.cache.as_mut().expect("a note");
        (cache.key, cache.bypass) = (key, bypass);
        event(&exchange, Duration::ZERO)["weir"]["cache"].take()
    };
    let mut key = [0xff; 32];
    key[..16].copy_from_slice(&(1_u128 << 120 | 0xab).to_be_bytes());
    let keyed = cache_of(Some(CacheKey(key)), None);
    assert_eq!(keyed["key"], "010000000000000000000000000000ab");
    assert_eq!(keyed.get("bypass"), None);
    let bypassed = cache_of(None, Some(BypassReason::Temperature));
    assert_eq!(bypassed["bypass"], "temperature");
    assert_eq!(bypassed.get("key"), None);
}

#[test]
fn a_complete_event_has_the_keys_and_types_of_the_contract() {
    let mut event = event(&filled(), Duration::from_nanos(1_204_338_000));
    take_tried(&mut event);
    let (mut ours, mut theirs) = (BTreeSet::new(), BTreeSet::new());
    keys(&event, "", &mut ours);
    keys(&contract(), "", &mut theirs);
    assert_eq!(ours, theirs);
}

#[test]
fn a_complete_event_equals_the_contract() {
    let mut event = event(&filled(), Duration::from_nanos(1_204_338_000));
    take_tried(&mut event);
    let mut contract = contract();
    // The overhead is computed, and the fixture has its own laps.
    event["weir"]["timing"] = json!(null);
    contract["weir"]["timing"] = json!(null);
    contract["service"]["version"] = json!(env!("CARGO_PKG_VERSION"));
    assert_eq!(event, contract);
}

#[test]
fn fields_that_do_not_apply_are_absent() {
    let mut exchange = plain();
    exchange.status = 200;
    let event = event(&exchange, Duration::ZERO);
    let (mut ours, mut least) = (BTreeSet::new(), BTreeSet::new());
    keys(&event, "", &mut ours);
    keys(
        &json!({
            "@timestamp": "", "ecs": {"version": ""},
            "event": {"id": "", "dataset": "", "kind": "", "category": [], "type": [],
                      "outcome": "", "duration": 0},
            "platform": "", "response_time": 0.0, "route": "", "client": {"ip": ""},
            "http": {"version": "", "request": {"id": "", "method": "", "body": {"bytes": 0}},
                     "response": {"status_code": 0, "body": {"bytes": 0}}},
            "url": {"path": ""}, "service": {"name": "", "version": "", "environment": ""},
            "weir": {"timing": {"overhead_ms": 0.0}},
        }),
        "",
        &mut least,
    );
    assert_eq!(ours, least);
    assert_eq!(event["route"], "none");
    assert_eq!(event["event"]["outcome"], "success");
}

#[test]
fn an_error_code_or_a_status_of_400_is_a_failure() {
    let mut exchange = plain();
    for (status, code, outcome) in [
        (200, None, "success"),
        (399, None, "success"),
        (400, None, "failure"),
        (500, None, "failure"),
        (200, Some(ErrorCode::UpstreamReset), "failure"),
        (499, Some(ErrorCode::ClientClosed), "failure"),
    ] {
        exchange.status = status;
        exchange.error_code = code;
        let event = event(&exchange, Duration::ZERO);
        assert_eq!(event["event"]["outcome"], outcome, "{status} {code:?}");
        assert_eq!(
            event.get("error_code").and_then(Value::as_str),
            code.map(ErrorCode::as_str)
        );
    }
}

#[test]
fn cached_and_estimated_tokens_and_aborted_clients_are_recorded() {
    let mut exchange = filled();
    let recorded = event(&exchange, Duration::ZERO);
    assert!(recorded["weir"].get("client_aborted").is_none());
    assert!(recorded["weir"].get("usage").is_none());
    exchange.client = ClientEnd::Aborted;
    exchange.model.usage = Usage {
        cache_creation_tokens: Some(9),
        origin: Origin::Estimated,
        ..Usage::default()
    };
    let recorded = event(&exchange, Duration::ZERO);
    assert_eq!(recorded["weir"]["client_aborted"], true);
    assert_eq!(recorded["weir"]["usage"]["estimated"], true);
    let usage = serde_json::json!({"cache_creation": {"input_tokens": 9}});
    assert_eq!(recorded["gen_ai"]["usage"], usage);
    // Without tokens there is no estimate.
    exchange.model.usage.cache_creation_tokens = None;
    let recorded = event(&exchange, Duration::ZERO);
    assert!(recorded["weir"].get("usage").is_none() && recorded["gen_ai"].get("usage").is_none());
}

#[test]
fn timestamps_are_utc_with_microseconds() {
    let mut exchange = plain();
    for (since_epoch, text) in [
        (Duration::ZERO, "1970-01-01T00:00:00.000000Z"),
        (
            Duration::from_nanos(951_782_400_000_000_999),
            "2000-02-29T00:00:00.000000Z",
        ),
        (
            Duration::from_micros(1_795_336_200_123_456),
            "2026-11-22T08:30:00.123456Z",
        ),
        // A time beyond the calendar still produces an event.
        (Duration::MAX, "1970-01-01T00:00:00.000000Z"),
    ] {
        exchange.received_at = since_epoch;
        assert_eq!(event(&exchange, Duration::ZERO)["@timestamp"], text);
    }
}

#[test]
fn hostile_texts_are_escaped_and_truncated() {
    let hostile = "\"}\n{\"x\":\"\\\u{0}\u{1b}[2J\u{2028}é";
    let mut exchange = filled();
    exchange.path = format!("/{hostile}{}", "é".repeat(5000)).into();
    exchange.domain = Some(hostile.repeat(100).into());
    exchange.client_name = Some(Arc::from(hostile));
    exchange.platform = Arc::from(hostile);
    exchange.route = Some(Arc::from(hostile));
    exchange.user_agent =
        Some(HeaderValue::from_bytes(b"agent \"\\ \xff\xfe \xc3\xa9\t").expect("a header"));
    exchange.model.request_model = Some(hostile.repeat(1000).into());
    exchange.model.response_model = Some(hostile.into());
    exchange.model.finish_reasons = vec![hostile.into(); 1000];
    let event = event(&exchange, Duration::MAX);

    let path = event["url"]["path"].as_str().expect("a string");
    assert!(path.starts_with(&format!("/{hostile}")) && path.len() <= PATH_BYTES_MAX);
    assert!(path.len() > PATH_BYTES_MAX - 4);
    assert_eq!(event["client"]["key"], hostile);
    assert_eq!(event["platform"], hostile);
    assert_eq!(event["route"], hostile);
    assert_eq!(
        event["user_agent"]["original"],
        "agent \"\\ \u{fffd}\u{fffd} é\t"
    );
    assert_eq!(event["gen_ai"]["response"]["model"], hostile);
    let model = event["gen_ai"]["request"]["model"].as_str();
    assert!(model.expect("a string").len() <= NAME_BYTES_MAX);
    let reasons = event["gen_ai"]["response"]["finish_reasons"].as_array();
    assert_eq!(reasons.expect("an array").len(), FINISH_REASONS_MAX);
    assert!(event["url"]["domain"].as_str().expect("a string").len() <= DOMAIN_BYTES_MAX);
    assert_eq!(event["event"]["duration"], u64::MAX);
}

#[test]
fn a_long_user_agent_is_truncated_at_a_character() {
    let mut exchange = plain();
    let long = format!("{}é", "a".repeat(USER_AGENT_BYTES_MAX - 1));
    exchange.user_agent = Some(HeaderValue::from_bytes(long.as_bytes()).expect("a header"));
    let event = event(&exchange, Duration::ZERO);
    assert_eq!(
        event["user_agent"]["original"],
        "a".repeat(USER_AGENT_BYTES_MAX - 1)
    );
}

#[test]
fn an_event_never_contains_a_query_string() {
    let mut exchange = filled();
    exchange.path = "/v1/chat?key=hunter2#hunter3".into();
    let event = event(&exchange, Duration::ZERO);
    assert_eq!(event["url"]["path"], "/v1/chat");
    assert!(!event.to_string().contains("hunter"));
}

#[test]
fn methods_and_versions_are_closed_sets() {
    assert_eq!(method_name(&Method::PATCH), "PATCH");
    let unknown = Method::from_bytes(b"PROPFIND").expect("a method");
    assert_eq!(method_name(&unknown), "_OTHER");
    let lower = Method::from_bytes(b"get").expect("a method");
    assert_eq!(method_name(&lower), "_OTHER");
    let mut exchange = plain();
    for (version, name) in [
        (Version::HTTP_10, "1.0"),
        (Version::HTTP_11, "1.1"),
        (Version::HTTP_2, "2"),
    ] {
        exchange.version = version;
        assert_eq!(event(&exchange, Duration::ZERO)["http"]["version"], name);
    }
}

#[test]
fn timing_has_the_stages_that_were_reached() {
    let start = clock::now();
    let mut exchange = plain();
    exchange.timing = Timing::start(start);
    exchange
        .timing
        .lap(Stage::Route, start + Duration::from_micros(10));
    exchange
        .timing
        .lap(Stage::Backend, start + Duration::from_micros(5_010));
    exchange
        .timing
        .lap(Stage::Answer, start + Duration::from_micros(5_030));
    let timing = &event(&exchange, Duration::ZERO)["weir"]["timing"];
    assert_eq!(
        *timing,
        json!({"route_ms": 0.01, "backend_ms": 5.0, "answer_ms": 0.02, "overhead_ms": 0.03})
    );
}
