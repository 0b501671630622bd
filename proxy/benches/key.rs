//! What the cache and the limits cost a request: `cargo bench -p weir --bench key`.
//!
//! The 500-byte question is the one of the whole-process comparison. Aims: a key under 2 us, one
//! limit under 300 ns.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use weir::backend::balance::BalancingPolicy;
use weir::backend::breaker::BreakerConfig;
use weir::backend::request_head::HeaderFilter;
use weir::backend::retry::RetryConfig;
use weir::backend::{self, WhenAllOpen};
use weir::cache::copy::CopyBuffer;
use weir::cache::unless::Unless;
use weir::cache::{
    CacheDecision, CacheRequest, Coalescing, Config, PathMatch, ResponseCache, Scope,
};
use weir::clock;
use weir::limit::{self, By, RateLimits, Subject};
use weir::model::json::IgnoreAll;
use weir::model::operation::Operation;
use weir::model::request::RequestReader;

/// A chat question of exactly `bytes` bytes, its members in the order that SDKs send them or sorted.
fn question_body(bytes: usize, first: &str, last: &str) -> Vec<u8> {
    let room = bytes - first.len() - last.len();
    let words = "What is a weir, and how does it measure a river?\\n ".bytes();
    let mut body = first.as_bytes().to_vec();
    body.extend(words.cycle().take(room - 1));
    body.push(b'.');
    body.extend(last.as_bytes());
    assert!(serde_json::from_slice::<serde_json::Value>(&body).is_ok());
    body
}

fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        (header::HOST, "localhost:8080"),
        (header::USER_AGENT, "OpenAI/Python 2.8.1"),
        (header::ACCEPT, "application/json"),
        (header::ACCEPT_ENCODING, "gzip, deflate"),
        (header::CONTENT_TYPE, "application/json"),
        (header::CONTENT_LENGTH, "500"),
    ] {
        headers.append(name, HeaderValue::from_static(value));
    }
    for (name, value) in [
        ("x-weir-key", "web"),
        ("x-weir-timestamp", "1790000000"),
        ("x-weir-id", "01JD0000000000000000000000"),
        ("x-weir-signature", "v1=00"),
    ] {
        headers.append(name, HeaderValue::from_static(value));
    }
    headers
}

fn backend() -> backend::Config {
    backend::Config {
        name: Arc::from("assistant"),
        endpoints: Vec::new(),
        tls: None,
        path_prefix: String::new(),
        connect_timeout: Duration::from_secs(1),
        first_byte_timeout: Duration::from_secs(1),
        idle_timeout: Duration::from_secs(1),
        total_timeout: Duration::from_secs(1),
        pool_idle_connections: 1,
        pool_idle_timeout: Duration::from_secs(1),
        request_headers: Vec::new(),
        ask_usage: false,
        balancing: BalancingPolicy::RoundRobin,
        retry: RetryConfig::default(),
        breaker: BreakerConfig::default(),
        when_all_open: WhenAllOpen::Try,
        health_check: None,
        fallback: None,
        model_map: Vec::new(),
    }
}

fn keys(criterion: &mut Criterion) {
    let cache = ResponseCache::new(&Config {
        memory_bytes: 64 << 20,
        ttl: Duration::from_secs(3600),
        scope: Scope::Client,
        ignore_headers: Vec::new(),
        ignore: Vec::new(),
        unless: Unless::default(),
        coalescing: Coalescing::Disabled,
    });
    let as_sent = (
        r#"{"model":"glm-4","messages":[{"role":"user","content":""#,
        r#""}],"temperature":0.2,"stream":true}"#,
    );
    let sorted = (
        r#"{"messages":[{"content":""#,
        r#"","role":"user"}],"model":"glm-4","stream":true,"temperature":0.2}"#,
    );
    let (headers, backend) = (headers(), backend());
    let stripped: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("x-weir-"))
        .cloned()
        .collect();
    let mut group = criterion.benchmark_group("key");
    for (name, bytes, (first, last)) in [
        ("as_sent_500", 500, as_sent),
        ("sorted_500", 500, sorted),
        ("as_sent_100k", 100_000, as_sent),
    ] {
        let body = question_body(bytes, first, last);
        let filter = HeaderFilter::new(&headers, &stripped, &backend);
        let request = CacheRequest {
            method: &Method::POST,
            path: "/v1/chat/completions",
            query: "",
            host: b"127.0.0.1:8080",
            headers: &headers,
            body: &body,
            client: "web",
            is_forwarded: &|name| filter.forwards(name),
            operation: Some(Operation::Chat),
            path_match: PathMatch::Exact,
        };
        group.bench_function(name, |bencher| {
            bencher.iter(|| cache.decide(black_box(&request), &mut IgnoreAll));
        });
        group.bench_function(format!("{name}_with_model"), |bencher| {
            bencher.iter(|| {
                let path = black_box(request.path);
                let mut reader = RequestReader::of(Operation::Chat, path, &headers);
                let decision = reader.with_visitor(|visitor| cache.decide(&request, visitor));
                (decision, reader.finish())
            });
        });
        if let CacheDecision::Lookup(key) = cache.decide(&request, &mut IgnoreAll) {
            let mut copy = CopyBuffer::new(200, &HeaderMap::new(), 1_000);
            copy.push([b'x'; 600]);
            if let Some(stored) = copy.finish(Duration::ZERO) {
                cache.store(key, stored, clock::now());
            }
            group.bench_function(format!("{name}_hit"), |bencher| {
                bencher.iter(|| cache.look_up(black_box(&key), Duration::ZERO));
            });
        }
    }
    group.finish();
}

fn limits(criterion: &mut Criterion) {
    let limit = |name: &str, by: By| limit::Config {
        name: name.into(),
        rate: 1_000_000_000,
        period: Duration::from_secs(1),
        burst: 1_000_000_000,
        clients: Vec::new(),
        by,
    };
    let one = RateLimits::new(&[limit("per-client", By::Client)]);
    let all = [
        limit("flood", By::Address),
        limit("per-client", By::Client),
        limit("everyone", By::Route),
    ];
    let all = RateLimits::new(&all);
    let headers = headers();
    let mut subject = Subject {
        address: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7)),
        client: Some("web"),
        platform: "api",
        headers: &headers,
    };
    let deadline = weir::clock::now() + limit::WAIT_MAX;
    let mut group = criterion.benchmark_group("limit");
    group.bench_function("one", |bencher| {
        bencher.iter(|| one.admit(black_box(&subject), deadline).now_or_never());
    });
    group.bench_function("three", |bencher| {
        bencher.iter(|| {
            let early = all
                .admit_address(black_box(&subject), deadline)
                .now_or_never();
            (
                early,
                all.admit(black_box(&subject), deadline).now_or_never(),
            )
        });
    });
    let mut number = 0u32;
    group.bench_function("flood_of_new_addresses", |bencher| {
        bencher.iter(|| {
            number = number.wrapping_add(1);
            subject.address = IpAddr::V4(Ipv4Addr::from_bits(number));
            all.admit_address(black_box(&subject), deadline)
                .now_or_never()
        });
    });
    group.finish();
}

criterion_group!(benches, keys, limits);
criterion_main!(benches);
