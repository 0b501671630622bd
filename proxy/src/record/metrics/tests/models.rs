//! Metrics of model calls.

use std::time::Duration;

use super::{metrics, text, value};
use crate::exchange::{CacheKey, CacheNote, CacheOutcome, CacheTier, ClientEnd};
use crate::model::usage::{Origin, Usage};
use crate::record::fixture::filled;
use crate::refusal::ErrorCode;

#[test]
fn the_first_fifty_models_with_a_success_have_labels() {
    let metrics = metrics();
    let call = |name: &str, status, code| {
        let mut exchange = filled();
        exchange.status = status;
        exchange.error_code = code;
        exchange.model.request_model = Some(name.into());
        metrics.count(&exchange, Duration::ZERO);
    };
    for number in 0..100 {
        call(
            &format!("invented-{number}"),
            404,
            Some(ErrorCode::Internal),
        );
    }
    for number in 0..60 {
        call(&format!("model-{number}"), 200, None);
    }
    call("model-0", 502, Some(ErrorCode::UpstreamReset));
    let text = text(&metrics);
    assert!(!text.contains("invented"));
    let calls = |model: &str, outcome: &str| {
        let series = format!(
            r#"weir_model_calls_total{{backend="assistant",model="{model}",outcome="{outcome}"}}"#
        );
        value(&text, &series).map(str::to_owned)
    };
    assert_eq!(calls("model-0", "success").as_deref(), Some("1"));
    assert_eq!(calls("model-0", "failure").as_deref(), Some("1"));
    assert_eq!(calls("model-49", "success").as_deref(), Some("1"));
    assert_eq!(calls("model-50", "success"), None);
    assert_eq!(calls("other", "success").as_deref(), Some("10"));
    assert_eq!(calls("other", "failure").as_deref(), Some("100"));
}

#[test]
fn estimated_tokens_are_separate_from_reported_ones() {
    let metrics = metrics();
    let mut exchange = filled();
    (exchange.status, exchange.error_code) = (200, None);
    exchange.model.usage = Usage {
        input_tokens: Some(11),
        output_tokens: Some(22),
        origin: Origin::Estimated,
        ..Usage::default()
    };
    metrics.count(&exchange, Duration::ZERO);
    let text = text(&metrics);
    for (name, direction, tokens) in [
        ("weir_tokens_total", "input", "0"),
        ("weir_tokens_total", "output", "0"),
        ("weir_estimated_tokens_total", "input", "11"),
        ("weir_estimated_tokens_total", "output", "22"),
    ] {
        let series = format!(r#"{name}{{direction="{direction}",model="glm-4"}}"#);
        assert_eq!(value(&text, &series), Some(tokens), "{series}");
    }
    let each = r#"weir_time_per_output_token_seconds_count{model="glm-4"}"#;
    assert_eq!(value(&text, each), Some("0"));
}

#[test]
fn a_failure_after_a_200_counts_as_failed() {
    for (code, failed) in [
        (Some(ErrorCode::UpstreamError), "1"),
        (Some(ErrorCode::UpstreamIncomplete), "1"),
        (Some(ErrorCode::UpstreamReset), "1"),
        (Some(ErrorCode::BodyTimeout), "0"),
        (None, "0"),
    ] {
        let metrics = metrics();
        let mut exchange = filled();
        (exchange.status, exchange.error_code) = (200, code);
        exchange.client = ClientEnd::Aborted;
        metrics.count(&exchange, Duration::ZERO);
        let text = text(&metrics);
        let series = r#"weir_failed_requests_total{platform="feishu",route="feishu"}"#;
        assert_eq!(value(&text, series), Some(failed), "{code:?}");
    }
}

#[test]
fn a_cache_hit_is_not_a_model_call() {
    let metrics = metrics();
    let mut exchange = filled();
    exchange.status = 200;
    exchange.error_code = None;
    exchange.upstream = None;
    exchange.cache = Some(CacheNote {
        outcome: CacheOutcome::Hit,
        tier: CacheTier::Memory,
        age_s: 7,
        key: Some(CacheKey([0xab; 32])),
        bypass: None,
    });
    metrics.count(&exchange, Duration::ZERO);
    metrics.count(&exchange, Duration::ZERO);
    let text = text(&metrics);
    let hits = r#"weir_cache_lookups_total{outcome="hit",route="feishu",tier="memory"}"#;
    assert_eq!(value(&text, hits), Some("2"));
    assert!(!text.contains("weir_tokens_total{") && !text.contains("weir_model_calls_total{"));
}
