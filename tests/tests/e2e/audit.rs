//! The audit log: rejections, in a hash chain that reveals changes.

use std::path::Path;

use serde_json::Value;
use weir_tests::backend::Backend;
use weir_tests::client::{Client, ClientRequest};
use weir_tests::metrics::Metrics;
use weir_tests::process::{Finished, Process};
use weir_tests::proxy::Proxy;
use weir_tests::setup::Setup;
use weir_tests::sign::{bearer, sign_hmac_now};
use weir_tests::wait;

const ROUTES: &str = "
- {name: signed, path: /signed, backend: assistant, signature: {scheme: hmac, secrets: [right-secret-0123456]}}
- {name: keyed, path: /keyed, backend: assistant, signature: {scheme: bearer, secrets: [right-key-0123456]}}
- {name: open, path: /*, backend: assistant}
";
const AUDIT: &str = "audit: {}";

fn audited_setup(backend: &Backend) -> Setup {
    Setup::new(backend).routes(ROUTES).events(AUDIT)
}

fn lines(directory: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(directory.join("data/audit.ndjson")).expect("an audit log");
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("a complete line"))
        .collect()
}

fn rejections(lines: &[Value]) -> Vec<&Value> {
    let refused = lines.iter().filter(|line| line["refused"].is_object());
    refused.collect()
}

async fn verify(directory: &Path) -> Finished {
    Process::run(directory, &["audit", "verify", "data/audit.ndjson"], b"").await
}

async fn stop(proxy: &Proxy) {
    proxy.sigterm();
    assert!(proxy.wait_exit(wait::PATIENCE).await.success());
}

#[tokio::test]
async fn a_flood_of_rejections_is_one_line_with_a_count() {
    let backend = Backend::echo().await;
    let proxy = audited_setup(&backend).start().await;
    let mut client = Client::h1(proxy.address()).await;
    let mut first = None;
    for _ in 0..200 {
        let signed = sign_hmac_now("sentinel-wrong-secret", b"sentinel-body");
        let request = ClientRequest::post("/signed", "sentinel-body").headers(signed);
        let response = client.send(request).await;
        assert_eq!(response.status, 401);
        let id = response.header("x-request-id").expect("an id").to_owned();
        first.get_or_insert(id);
    }
    for _ in 0..3 {
        assert_eq!(client.send(ClientRequest::get("/signed")).await.status, 401);
        let request = ClientRequest::get("/keyed").headers(bearer("sentinel-key"));
        assert_eq!(client.send(request).await.status, 401);
        assert_eq!(client.send(ClientRequest::get("/open")).await.status, 200);
    }
    stop(&proxy).await;
    let lines = lines(proxy.directory());
    let of_scheme = |scheme: &str| {
        let mut found = rejections(&lines);
        found.retain(|line| line["refused"]["scheme"] == scheme);
        found
    };
    // On a slow machine there may be more than one window; together they count each rejection once.
    let hmac = of_scheme("hmac");
    let sum = |of: &str| -> u64 {
        let counts = hmac
            .iter()
            .map(|line| line["refused"]["outcomes"][of].as_u64());
        counts.map(Option::unwrap_or_default).sum()
    };
    assert!((1..=3).contains(&hmac.len()), "{hmac:?}");
    assert_eq!((sum("invalid"), sum("missing")), (200, 3));
    assert_eq!(hmac[0]["client"]["ip"], "127.0.0.1");
    assert_eq!(hmac[0]["refused"]["route"], "signed");
    assert_eq!(
        hmac[0]["refused"]["request_id"],
        first.expect("an id").as_str()
    );
    assert_eq!(hmac[0]["event"]["action"], "signature_refused");
    assert_eq!(of_scheme("bearer")[0]["refused"]["count"], 3);
    let action = |line: Option<&Value>| line.map(|line| line["event"]["action"].clone());
    assert_eq!(action(lines.first()), Some("weir_started".into()));
    assert_eq!(action(lines.last()), Some("weir_stopped".into()));
    let text = format!("{lines:?}");
    assert!(!text.contains("sentinel"), "{text}");
    let verified = verify(proxy.directory()).await;
    assert_eq!(verified.code, Some(0), "{}", verified.stderr);
    let count = lines.len();
    let summary =
        format!("data/audit.ndjson: intact: {count} lines in 1 file (1 to {count}), last hash ");
    assert!(verified.stdout.starts_with(&summary), "{}", verified.stdout);
}

#[tokio::test]
async fn rejected_admin_requests_are_audited() {
    let backend = Backend::echo().await;
    let proxy = audited_setup(&backend)
        .admin_token("right-token")
        .start()
        .await;
    let mut admin = Client::h1(proxy.admin()).await;
    for token in ["sentinel-token", "right-token", "sentinel-token"] {
        admin
            .send(ClientRequest::get("/metrics").headers(bearer(token)))
            .await;
    }
    admin.send(ClientRequest::get("/metrics")).await;
    stop(&proxy).await;
    let lines = lines(proxy.directory());
    let refused = rejections(&lines);
    let count = |outcome: &str| -> u64 {
        let counts = refused
            .iter()
            .filter_map(|line| line["refused"]["outcomes"][outcome].as_u64());
        counts.sum()
    };
    assert_eq!((count("wrong_token"), count("no_token")), (2, 1));
    assert_eq!(refused[0]["event"]["action"], "admin_refused");
    assert_eq!(refused[0]["client"]["ip"], "127.0.0.1");
    assert!(!format!("{lines:?}").contains("sentinel"));
}

#[tokio::test]
async fn tampering_is_detected_and_located() {
    let backend = Backend::echo().await;
    let proxy = audited_setup(&backend).start().await;
    proxy.send(ClientRequest::get("/signed")).await;
    proxy.send(ClientRequest::get("/keyed")).await;
    stop(&proxy).await;
    let path = proxy.directory().join("data/audit.ndjson");
    let text = std::fs::read_to_string(&path).expect("a log");
    assert_eq!(text.lines().count(), 4);
    let without = |left_out: usize| -> String {
        let lines = text.split_inclusive('\n').enumerate();
        lines
            .filter(|(at, _)| *at != left_out)
            .map(|(_, line)| line)
            .collect()
    };
    for (changed, expected, summary) in [
        (
            text.replacen("127.0.0.1", "127.0.0.2", 1),
            "audit.ndjson:2: this line was changed",
            "corrupt: 1 line changed, 0 missing; 4 lines in 1 file (1 to 4), last hash ",
        ),
        (
            without(1),
            "audit.ndjson:2: line 2 is missing",
            "corrupt: 0 lines changed, 1 missing; 3 lines in 1 file (1 to 4), last hash ",
        ),
        (
            without(0),
            "audit.ndjson:1: the log begins with line 2",
            "corrupt: 0 lines changed, 1 missing; 3 lines in 1 file (2 to 4), last hash ",
        ),
        (
            without(3),
            "audit.ndjson.head: line 4 with the hash",
            "corrupt: 0 lines changed, 1 missing; 3 lines in 1 file (1 to 3), last hash ",
        ),
    ] {
        std::fs::write(&path, changed).expect("written");
        let verified = verify(proxy.directory()).await;
        assert_eq!(verified.code, Some(1), "{expected}");
        assert!(
            verified.stderr.contains(expected) && verified.stderr.lines().count() == 1,
            "{expected}: {}",
            verified.stderr
        );
        assert!(verified.stdout.contains(summary), "{}", verified.stdout);
    }
    std::fs::remove_file(&path).expect("removed");
    let verified = verify(proxy.directory()).await;
    assert_eq!(verified.code, Some(1));
    assert!(
        verified
            .stderr
            .contains("cannot read the audit log data/audit.ndjson: no such file"),
        "{}",
        verified.stderr
    );
}

#[tokio::test]
async fn the_hash_chain_continues_after_kills() {
    let backend = Backend::echo().await;
    let setup = audited_setup(&backend);
    let mut proxy = setup.start().await;
    for round in 0..3 {
        proxy.send(ClientRequest::get("/signed")).await;
        let counted = "weir_audit_lines_total";
        // The line of the last rejection, within ten seconds.
        if round == 2 {
            let written = |metrics: &Metrics| metrics.sum(counted, &[("outcome", "written")]) > 1.5;
            proxy.metrics_when("a second line", written).await;
        }
        proxy.kill();
        proxy.process().wait_exit(wait::PATIENCE).await;
        let directory = proxy.into_directory();
        // As after a kill within a write.
        let path = directory.path().join("data/audit.ndjson");
        let text = std::fs::read_to_string(&path).expect("a log");
        std::fs::write(&path, text + "{\"sequence\":9").expect("written");
        proxy = Proxy::ready(setup.spawn(directory.path()), directory).await;
    }
    stop(&proxy).await;
    let lines = lines(proxy.directory());
    let cut = lines.iter().filter(|line| line["cut_bytes"] == 13).count();
    assert_eq!(cut, 3);
    assert_eq!(rejections(&lines).len(), 1);
    let verified = verify(proxy.directory()).await;
    assert_eq!(verified.code, Some(0), "{}", verified.stderr);
}
