//! What a signature costs: the check of a 500-byte question by each scheme, and of larger bodies.
//!
//! Requests are signed before the clock runs, each with an id of its own, and replay is on as it is
//! on a real route.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use weir::exchange::SignatureOutcome;
use weir::signature::{Client, Config, Gate, HmacConfig, Request, SchemeConfig, sign};

const AT_S: u64 = 1_700_000_000;
static NEXT_ID: AtomicU64 = AtomicU64::new(0);
const SECRET: &str = "a-secret-of-the-usual-length-0123";

fn gate(scheme: SchemeConfig) -> Gate {
    let config = Config {
        scheme,
        tolerance: Duration::from_secs(300),
        replay: Duration::from_secs(600),
    };
    match Gate::new(&[config], &Arc::from("chat")) {
        Some(gate) => gate,
        None => unreachable!("one scheme makes a gate"),
    }
}

fn clients() -> Vec<Client> {
    vec![Client {
        name: Arc::from("web"),
        secrets: vec![SECRET.to_owned()],
    }]
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

fn check(gate: &Gate, headers: &HeaderMap, body: &[u8]) -> SignatureOutcome {
    let request = Request {
        method: &Method::POST,
        path: "/v1/chat/completions",
        query: "",
        headers,
        body,
    };
    gate.check(&request, Duration::from_secs(AT_S)).outcome
}

fn body(bytes: usize) -> Vec<u8> {
    let frame = br#"{"text":""}"#.len();
    format!("{{\"text\":\"{}\"}}", "x".repeat(bytes - frame)).into_bytes()
}

/// Measures checks of requests that are all new and that `secret` signed.
fn measure(
    criterion: &mut Criterion,
    name: &str,
    gate: &Gate,
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
                let outcome = check(gate, black_box(headers), black_box(&body));
                assert_eq!(outcome, expected);
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn schemes(criterion: &mut Criterion) {
    use SignatureOutcome::{Invalid, Valid};
    let hmac = gate(SchemeConfig::Hmac(HmacConfig::weir(clients())));
    let bearer = gate(SchemeConfig::Bearer { clients: clients() });
    let feishu = gate(SchemeConfig::Feishu {
        encrypt_keys: vec![SECRET.to_owned()],
        verification_token: None,
    });
    let mut run = |name: &str, gate: &Gate, by, what| measure(criterion, name, gate, by, what);
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
