//! What starts a reload, and how it is reported.

use weir_tests::backend::Backend;
use weir_tests::client::{self, ClientRequest};
use weir_tests::process::Process;
use weir_tests::setup::Setup;
use weir_tests::{ports, wait};

use super::{post_reload, reload, reload_with, reloads_when, status, write};

const ONE: &str = "- {name: one, path: /one, backend: assistant}";
const TWO: &str = "- {name: two, path: /two, backend: assistant}";

#[tokio::test]
async fn a_request_a_signal_and_a_changed_file_reload() {
    let backend = Backend::echo().await;
    let setup = Setup::new(&backend).routes(ONE);
    let proxy = setup.start().await;
    let first = setup.yaml(proxy.directory());
    let both = setup.routes(TWO).yaml(proxy.directory());
    assert_eq!(status(&proxy, "/two").await, 404);

    let report = reload_with(&proxy, &both).await;
    assert_eq!(report["outcome"], "applied");
    assert_eq!(report["changed"], serde_json::json!(["routes[two]"]));
    assert_eq!(report["needs_restart"], serde_json::json!([]));
    assert_eq!(report["errors"], serde_json::json!([]));
    assert_eq!(status(&proxy, "/two").await, 200);
    let routes = proxy.admin_get("/api/status").await.json()["routes"].clone();
    assert_eq!(routes[1]["name"], "two");
    assert_eq!(reload(&proxy).await["outcome"], "unchanged");

    write(&proxy, &first);
    proxy.process().sighup();
    reloads_when(&proxy, "applied", 2.0).await;
    assert_eq!(status(&proxy, "/two").await, 404);
    assert!(proxy.stderr().contains("(SIGHUP); changed: routes[two]"));

    write(&proxy, &both);
    reloads_when(&proxy, "applied", 3.0).await;
    assert_eq!(status(&proxy, "/two").await, 200);
    let metrics = proxy.metrics().await;
    let time = metrics.sum("weir_config_last_success_timestamp_seconds", &[]);
    let age = weir_tests::sign::unix_now() as f64 - time;
    assert!((0.0..60.0).contains(&age), "{age}");
}

#[tokio::test]
async fn an_invalid_file_is_rejected_with_every_error_and_changes_nothing() {
    let backend = Backend::echo().await;
    let setup = Setup::new(&backend).routes(ONE);
    let proxy = setup.start().await;
    let valid = setup.yaml(proxy.directory());
    let invalid = format!("{valid}limits: {{conections: 5, body_bytes: much}}\n");
    let line = invalid.lines().count();
    let report = reload_with(&proxy, &invalid).await;
    assert_eq!(report["outcome"], "rejected");
    let errors = report["errors"].as_array().expect("errors");
    let places: Vec<_> = errors
        .iter()
        .map(|error| (error["line"].as_u64(), error["column"].as_u64()))
        .collect();
    let line = Some(line as u64);
    assert_eq!(places, [(line, Some(10)), (line, Some(37))]);
    for error in errors {
        let (line, column) = (&error["line"], &error["column"]);
        let logged = format!(
            "weir.yaml:{line}:{column}: {}",
            error["message"].as_str().expect("a message")
        );
        assert!(proxy.stderr().contains(&logged), "{logged}");
    }
    assert_eq!(status(&proxy, "/one").await, 200);
    reloads_when(&proxy, "rejected", 1.0).await;
    // The same as weir check reports.
    let directory = proxy.directory();
    let checked = Process::run(directory, &["check", "--config", "weir.yaml"], b"").await;
    assert_eq!(checked.code, Some(1));
    assert_eq!(reload_with(&proxy, &valid).await["outcome"], "unchanged");
}

#[tokio::test]
async fn keys_that_need_a_restart_are_named_until_it_and_keep_their_values() {
    let backend = Backend::echo().await;
    let setup = Setup::open(&backend).limit("header_bytes: 2KiB");
    let proxy = setup.start().await;
    let directory = proxy.directory().to_owned();
    let larger = Setup::open(&backend).limit("header_bytes: 64KiB");
    let large = || ClientRequest::get("/").header("x-large", &"x".repeat(8000));
    for _ in 0..2 {
        let report = reload_with(&proxy, &larger.yaml(&directory)).await;
        assert_eq!(report["outcome"], "unchanged");
        assert_eq!(report["changed"], serde_json::json!([]));
        let waiting = serde_json::json!(["limits.header_bytes"]);
        assert_eq!(report["needs_restart"], waiting);
    }
    let mut two = client::Client::h2(proxy.address()).await;
    assert_eq!(two.send(large()).await.status, 431);
    assert_eq!(proxy.send(large()).await.status, 431);
    let both = larger.routes("- {name: more, path: /more, backend: assistant}");
    let report = reload_with(&proxy, &both.yaml(&directory)).await;
    assert_eq!(report["outcome"], "applied");
    assert_eq!(report["changed"], serde_json::json!(["routes[more]"]));
    assert_eq!(
        report["needs_restart"],
        serde_json::json!(["limits.header_bytes"])
    );
    assert_eq!(proxy.send(large()).await.status, 431);
    let report = reload_with(&proxy, &setup.yaml(&directory)).await;
    assert_eq!(report["needs_restart"], serde_json::json!([]));
}

#[tokio::test]
async fn a_reload_needs_the_admin_token_and_is_audited() {
    let backend = Backend::echo().await;
    let setup = Setup::new(&backend)
        .routes(ONE)
        .admin_token("the-admin-token")
        .events("audit: {path: audit.ndjson}");
    let proxy = setup.start().await;
    let post = |token: &str| {
        let request = ClientRequest::post("/api/reload", "");
        client::send(
            proxy.admin(),
            request.header("authorization", &format!("Bearer {token}")),
        )
    };
    assert_eq!(post_reload(&proxy).await.status, 401);
    assert_eq!(post("another-token").await.status, 401);
    let setup = setup.routes(TWO);
    write(&proxy, &setup.yaml(proxy.directory()));
    assert_eq!(post("the-admin-token").await.json()["outcome"], "applied");
    write(&proxy, "routes: []");
    assert_eq!(post("the-admin-token").await.status, 422);
    proxy.sigterm();
    proxy.wait_exit(wait::PATIENCE).await;
    let text = std::fs::read_to_string(proxy.directory().join("audit.ndjson"));
    let text = text.expect("an audit log");
    let reloads: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .filter(|line: &serde_json::Value| line["event"]["action"] == "config_reloaded")
        .collect();
    assert_eq!(reloads.len(), 2, "{text}");
    assert_eq!(reloads[0]["event"]["outcome"], "success");
    assert_eq!(
        reloads[0]["changed"]["changed"],
        serde_json::json!(["routes[two]"])
    );
    assert_eq!(reloads[1]["event"]["outcome"], "failure");
    assert_eq!(reloads[1]["changed"]["outcome"], "rejected");
    let arguments = ["audit", "verify", "audit.ndjson"];
    let verified = Process::run(proxy.directory(), &arguments, b"").await;
    assert_eq!(verified.code, Some(0), "{}", verified.stdout);
}

#[tokio::test]
async fn the_demo_has_nothing_to_reload() {
    let directory = tempfile::TempDir::new().expect("a directory");
    let base = ports::three_consecutive();
    let arguments = ["demo", "--port-base", &base.to_string()];
    let demo = Process::start(directory.path(), &arguments, &[], b"");
    wait::eventually("the demo", wait::PATIENCE, || {
        assert!(demo.exit().is_none(), "{}", demo.stderr());
        demo.stderr().contains("weir: ready")
    })
    .await;
    let admin = format!("127.0.0.1:{}", base + 1);
    let request = ClientRequest::post("/api/reload", "").header("host", &admin);
    let response = client::send(admin.parse().expect("an address"), request).await;
    assert_eq!(response.status, 200);
    let unchanged = serde_json::json!({"outcome": "unchanged", "changed": [], "needs_restart": [], "errors": []});
    assert_eq!(response.json(), unchanged);
}
