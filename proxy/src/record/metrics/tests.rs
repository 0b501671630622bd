use http::Method;

use super::*;
use crate::exchange::AttemptOutcome;
use crate::metrics::ExpositionFormat;
use crate::record::fixture::{filled, plain};
use crate::refusal::ErrorCode;

mod models;
mod promtool;

/// A registry with the metrics of requests.
struct Counted {
    all: Metrics,
    requests: RequestMetrics,
}

impl Counted {
    fn count(&self, exchange: &Exchange, duration: Duration) {
        self.requests.record(exchange, duration);
    }
}

fn of_routes(routes: &[(&str, &str)], backends: &[&str]) -> Counted {
    let all = Metrics::new().expect("metrics");
    let requests = RequestMetrics::register(&all, Arc::new(())).expect("metrics");
    let added = requests.add(routes.iter().copied(), backends.iter().copied());
    added.expect("series");
    Counted { requests, all }
}

fn metrics() -> Counted {
    of_routes(&[("feishu", "feishu"), ("chat", "api")], &["assistant"])
}

fn text(metrics: &Counted) -> String {
    String::from_utf8(metrics.all.render(ExpositionFormat::Text)).expect("UTF-8")
}

/// The value of a series in the text.
fn value<'t>(text: &'t str, series: &str) -> Option<&'t str> {
    text.lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
}

/// The series that the contract's event increments.
const COUNTED: &[(&str, &str)] = &[
    (
        r#"weir_requests_total{code="504",method="POST",platform="feishu",route="feishu"}"#,
        "1",
    ),
    (
        r#"weir_request_duration_seconds_bucket{platform="feishu",route="feishu",le="1"}"#,
        "0",
    ),
    (
        r#"weir_request_duration_seconds_bucket{platform="feishu",route="feishu",le="1.5"}"#,
        "1",
    ),
    (
        r#"weir_request_duration_seconds_sum{platform="feishu",route="feishu"}"#,
        "1.204338",
    ),
    (
        r#"weir_overhead_seconds_bucket{route="feishu",le="0.0002"}"#,
        "0",
    ),
    (
        r#"weir_overhead_seconds_bucket{route="feishu",le="0.0004"}"#,
        "1",
    ),
    (
        r#"weir_errors_total{error_code="upstream_timeout",platform="feishu",route="feishu"}"#,
        "1",
    ),
    (
        r#"weir_errors_total{error_code="internal",platform="feishu",route="feishu"}"#,
        "0",
    ),
    (
        r#"weir_failed_requests_total{platform="feishu",route="feishu"}"#,
        "1",
    ),
    (
        r#"weir_signature_checks_total{outcome="valid",scheme="feishu"}"#,
        "1",
    ),
    (
        r#"weir_rate_limit_decisions_total{outcome="admitted",policy="per-client"}"#,
        "1",
    ),
    (
        r#"weir_cache_lookups_total{outcome="miss",route="feishu",tier="none"}"#,
        "1",
    ),
    (
        r#"weir_upstream_attempts_total{backend="assistant",outcome="timeout"}"#,
        "1",
    ),
    (
        r#"weir_upstream_attempts_total{backend="assistant",outcome="reset"}"#,
        "1",
    ),
    (
        r#"weir_upstream_duration_seconds_count{backend="assistant"}"#,
        "1",
    ),
    (
        r#"weir_model_calls_total{backend="assistant",model="other",outcome="failure"}"#,
        "1",
    ),
    (
        r#"weir_tokens_total{direction="input",model="other"}"#,
        "128",
    ),
    (
        r#"weir_tokens_total{direction="output",model="other"}"#,
        "356",
    ),
    (
        r#"weir_estimated_tokens_total{direction="output",model="other"}"#,
        "0",
    ),
    (
        r#"weir_cached_tokens_total{kind="read",model="other"}"#,
        "64",
    ),
    (
        r#"weir_cached_tokens_total{kind="creation",model="other"}"#,
        "0",
    ),
    (r#"weir_reasoning_tokens_total{model="other"}"#, "40"),
];

#[test]
fn a_request_is_counted_in_every_family() {
    let metrics = metrics();
    metrics.count(&filled(), Duration::from_micros(1_204_338));
    let text = text(&metrics);
    for (series, expected) in COUNTED {
        assert_eq!(value(&text, series), Some(*expected), "{series}");
    }
}

#[test]
fn error_series_exist_at_zero_for_every_route() {
    let text = text(&metrics());
    for (route, platform) in [("feishu", "feishu"), ("chat", "api"), ("none", "none")] {
        for code in ErrorCode::ALL {
            let series = format!(
                r#"weir_errors_total{{error_code="{}",platform="{platform}",route="{route}"}}"#,
                code.as_str()
            );
            assert_eq!(value(&text, &series), Some("0"), "{series}");
        }
        let series =
            format!(r#"weir_failed_requests_total{{platform="{platform}",route="{route}"}}"#);
        assert_eq!(value(&text, &series), Some("0"), "{series}");
    }
}

#[test]
fn series_are_in_the_order_of_their_outcomes() {
    for (position, code) in ErrorCode::ALL.into_iter().enumerate() {
        assert_eq!(code as usize, position, "{}", code.as_str());
    }
    let signatures = crate::exchange::SignatureOutcome::ALL;
    for (position, outcome) in signatures.into_iter().enumerate() {
        assert_eq!(outcome as usize, position, "{}", outcome.as_str());
    }
    for (position, outcome) in AttemptOutcome::ALL.into_iter().enumerate() {
        assert_eq!(outcome as usize, position, "{}", outcome.as_str());
    }
}

#[test]
fn clients_cannot_create_labels() {
    let metrics = metrics();
    for number in 0..500_u16 {
        let mut exchange = plain();
        exchange.method = Method::from_bytes(format!("M{number}").as_bytes()).expect("a method");
        exchange.status = 600 + number % 400;
        exchange.path = format!("/{number}").into();
        exchange.model.request_model = Some(format!("model-{number}").into());
        metrics.count(&exchange, Duration::ZERO);
    }
    let text = text(&metrics);
    let other = r#"weir_requests_total{code="other",method="_OTHER",platform="none",route="none"}"#;
    assert_eq!(value(&text, other), Some("500"));
    assert!(!text.contains("model-"));
}

#[test]
fn label_values_are_escaped() {
    let metrics = of_routes(&[("a\"b\\c\nd", "api")], &[]);
    let text = text(&metrics);
    assert!(text.contains(r#"route="a\"b\\c\nd""#));
}

#[test]
fn open_metrics_has_exemplars_of_traced_requests() {
    let metrics = metrics();
    let mut exchange = filled();
    metrics.count(&exchange, Duration::from_millis(700));
    exchange.trace.flags = crate::trace::FLAG_SAMPLED;
    exchange.trace.recording = crate::trace::Recording::On;
    metrics.count(&exchange, Duration::from_millis(1204));
    metrics.count(&exchange, Duration::from_secs(3600));
    let text = String::from_utf8(metrics.all.render(ExpositionFormat::OpenMetrics)).expect("UTF-8");
    assert!(text.ends_with("\n# EOF\n"));
    let lines = |start: &str| -> Vec<&str> {
        text.lines()
            .filter(|line| line.starts_with(start))
            .collect()
    };
    assert_eq!(
        lines("# TYPE weir_requests"),
        ["# TYPE weir_requests counter"]
    );
    assert_eq!(
        lines("# TYPE weir_build_info"),
        ["# TYPE weir_build_info gauge"]
    );
    let counted = lines("weir_requests_total{");
    assert!(
        counted.iter().any(|line| line.ends_with(" 3")),
        "{counted:?}"
    );
    let series = "weir_request_duration_seconds_bucket{platform=\"feishu\",route=\"feishu\"";
    let bucket = |edge: &str| lines(&format!("{series},le=\"{edge}\"}}")).concat();
    let ids = "trace_id=\"4bf92f3577b34da6a3ce929d0e0e4736\",span_id=\"00f067aa0ba902b7\"";
    assert!(bucket("0.8").ends_with("} 1"), "{}", bucket("0.8"));
    assert!(bucket("1.0").ends_with("} 1"), "{}", bucket("1.0"));
    let exemplar = format!("}} 2 # {{{ids}}} 1.204 1795336201.327");
    assert!(bucket("1.5").ends_with(&exemplar), "{}", bucket("1.5"));
    assert!(bucket("2.5").ends_with("} 2"));
    assert!(bucket("+Inf").contains(&format!("}} 3 # {{{ids}}} 3600 ")));
    let small = lines("weir_overhead_seconds_bucket{route=\"feishu\",le=\"0.000025\"}");
    assert_eq!(small.len(), 1);
    // The text format has no exemplars.
    assert!(!self::text(&metrics).contains("trace_id"));
}

#[test]
fn a_route_whose_platform_changes_is_counted_under_each_and_new_series_begin_at_zero() {
    let metrics = of_routes(&[("feishu", "api")], &[]);
    let added = metrics.requests.add(
        [("feishu", "feishu"), ("feishu", "api"), ("more", "api")],
        ["other"],
    );
    added.expect("series");
    let errors = |text: &str, route: &str, platform: &str| {
        let series = format!(
            r#"weir_errors_total{{error_code="upstream_timeout",platform="{platform}",route="{route}"}}"#
        );
        value(text, &series).map(str::to_owned)
    };
    let before = text(&metrics);
    assert_eq!(errors(&before, "feishu", "feishu").as_deref(), Some("0"));
    assert_eq!(errors(&before, "more", "api").as_deref(), Some("0"));
    assert!(before.contains(r#"backend="other""#), "{before}");
    let mut exchange = filled();
    metrics.count(&exchange, Duration::ZERO);
    metrics.count(&exchange, Duration::ZERO);
    // A request that met the previous generation.
    exchange.platform = "api".into();
    metrics.count(&exchange, Duration::ZERO);
    // A platform that was not announced.
    exchange.platform = "late".into();
    metrics.count(&exchange, Duration::ZERO);
    let counted = text(&metrics);
    for (platform, count) in [("feishu", "2"), ("api", "1"), ("late", "1")] {
        let seen = errors(&counted, "feishu", platform);
        assert_eq!(seen.as_deref(), Some(count), "{platform}");
    }
}
