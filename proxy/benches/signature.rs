//! What a signature costs: the check of a 500-byte question by each scheme, and of larger bodies.
//!
//! Requests are signed before the clock runs, each with an id of its own, and replay is on as it is
//! on a real route.

use std::hint::black_box;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use weir::config;
use weir::exchange::SignatureOutcome;
use weir::signature::shared_stores::SharedStores;
use weir::signature::{Request, Verifier, sign};

const AT_S: u64 = 1_700_000_000;
static NEXT_ID: AtomicU64 = AtomicU64::new(0);
const SECRET: &str = "a-secret-of-the-usual-length-0123";

/// The verifier of a route with one entry of `signature`, as the configuration has it.
fn verifier(signature: &str) -> Verifier {
    let text = format!(
        "backends: [{{name: a, endpoints: ['http://127.0.0.1:1']}}]\n\
         routes: [{{name: chat, path: /, backend: a, signature: {signature}}}]\n"
    );
    let loaded = match config::parse(&text, Path::new("bench.yaml"), &|_| None) {
        Ok(loaded) => loaded,
        Err(errors) => unreachable!("{errors}"),
    };
    let entries = &loaded.config.routes[0].signature;
    match Verifier::new(entries, &SharedStores::new(entries)) {
        Some(verifier) => verifier,
        None => unreachable!("one entry makes a verifier"),
    }
}

fn signed(scheme: &str, secret: &str, body: &[u8]) -> HeaderMap {
    let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
    sign::sign(scheme, secret, AT_S, &format!("id-{id}"), body)
        .unwrap_or_default()
        .into_iter()
        .filter_map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            Some((name, HeaderValue::from_str(&value).ok()?))
        })
        .collect()
}

fn check(verifier: &Verifier, headers: &HeaderMap, body: &[u8]) -> SignatureOutcome {
    let request = Request {
        method: &Method::POST,
        path: "/v1/chat/completions",
        query: "",
        headers,
        body,
    };
    let now = Duration::from_secs(AT_S);
    let verdict = verifier.verify(&request, now).check_and_insert(now);
    // In this process it never waits.
    verdict
        .now_or_never()
        .map_or(SignatureOutcome::Missing, |verdict| verdict.outcome)
}

fn body(bytes: usize) -> Vec<u8> {
    let frame = br#"{"text":""}"#.len();
    format!("{{\"text\":\"{}\"}}", "x".repeat(bytes - frame)).into_bytes()
}

/// Measures checks of requests that are all new and that `secret` signed.
fn measure(
    criterion: &mut Criterion,
    name: &str,
    verifier: &Verifier,
    (scheme, secret): (&str, &str),
    (body_bytes, expected): (usize, SignatureOutcome),
) {
    let body = body(body_bytes);
    let mut group = criterion.benchmark_group("signature");
    group.throughput(Throughput::Bytes(body_bytes as u64));
    group.bench_function(name, |bencher| {
        bencher.iter_batched_ref(
            || signed(scheme, secret, &body),
            |headers| {
                let outcome = check(verifier, black_box(headers), black_box(&body));
                assert_eq!(outcome, expected);
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn schemes(criterion: &mut Criterion) {
    use SignatureOutcome::{Invalid, Valid};
    let hmac = verifier(&format!(
        "{{scheme: hmac, clients: [{{name: web, secrets: [{SECRET}]}}]}}"
    ));
    let bearer = verifier(&format!(
        "{{scheme: bearer, clients: [{{name: web, secrets: [{SECRET}]}}]}}"
    ));
    let feishu = verifier(&format!("{{scheme: feishu, secrets: [{SECRET}]}}"));
    let mut run =
        |name: &str, verifier: &Verifier, by, what| measure(criterion, name, verifier, by, what);
    run("hmac 500 B", &hmac, ("hmac", SECRET), (500, Valid));
    run(
        "hmac 500 B, wrong",
        &hmac,
        ("hmac", "wrong"),
        (500, Invalid),
    );
    run("hmac 64 KiB", &hmac, ("hmac", SECRET), (65_536, Valid));
    run("hmac 1 MiB", &hmac, ("hmac", SECRET), (1_048_576, Valid));
    run("bearer", &bearer, ("bearer", SECRET), (500, Valid));
    run("feishu 500 B", &feishu, ("feishu", SECRET), (500, Valid));
}

criterion_group!(benches, schemes);
criterion_main!(benches);
