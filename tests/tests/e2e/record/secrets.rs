//! Promise 4: no secret, signature, authorization header or prompt text in any log, event, metric or error response.

use weir_tests::backend::{Backend, BackendResponse};
use weir_tests::client::{Client, ClientRequest};
use weir_tests::setup::Setup;
use weir_tests::sign::{Headers, bearer, sign_hmac, sign_hmac_now, unix_now};

const SECRETS: [&str; 9] = [
    "sentinel-hmac-secret",
    "sentinel-bearer-key",
    "sentinel-backend-key",
    "sentinel-admin-token",
    "sentinel-wrong-key",
    "sentinel prompt text",
    "sentinel answer text",
    "sentinel-query-token",
    "sentinel-cookie",
];

const ROUTES: &str = "
- name: signed
  path: /signed/*
  backend: assistant
  signature: {scheme: hmac, clients: [{name: web, secrets: [\"${HMAC_SECRET}\"]}]}
  cache: {answers: true, memory: 1MiB, ttl: 1h, scope: client}
- name: keys
  path: /keys/*
  backend: assistant
  signature: {scheme: bearer, clients: [{name: app, secrets: [sentinel-bearer-key]}]}
- {name: broken, path: /broken/*, backend: broken}
- {name: cut, path: /cut/*, backend: cut}
";

fn request_to(path: &str, headers: Headers) -> ClientRequest {
    let body = weir_tests::client::chat_request("sentinel prompt text", false);
    ClientRequest::json(&format!("{path}?token=sentinel-query-token"), &body)
        .header("cookie", "session=sentinel-cookie")
        .headers(headers)
}

#[tokio::test]
async fn secrets_and_prompts_appear_nowhere() {
    let backend = Backend::responding(|_| BackendResponse::chat("sentinel answer text")).await;
    let cut =
        Backend::responding(|_| BackendResponse::events(&["sentinel answer text"]).truncated())
            .await;
    let broken = Backend::manual().await;
    broken.stop();
    let proxy = Setup::new(&backend)
        .backend_options(&["request_headers: {authorization: \"Bearer sentinel-backend-key\"}"])
        .backend("broken", &[broken.url()], &[])
        .backend("cut", &[cut.url()], &[])
        .routes(ROUTES)
        .admin_token("sentinel-admin-token")
        .variable("HMAC_SECRET", "sentinel-hmac-secret")
        .variable("RUST_LOG", "debug")
        .start()
        .await;
    let body = weir_tests::client::chat_request("sentinel prompt text", false).to_string();
    let body = body.as_bytes();
    let good = sign_hmac_now("sentinel-hmac-secret", body);
    let stale = sign_hmac("sentinel-hmac-secret", "stale", unix_now() - 9999, body);
    let invalid = sign_hmac_now("sentinel-wrong-key", body);
    let signatures: Vec<String> = [&good, &stale, &invalid]
        .iter()
        .map(|headers| headers[2].1.trim_start_matches("v1=").to_owned())
        .collect();
    let mut responses = Vec::new();
    for (path, headers, status) in [
        ("/signed/a", good.clone(), 200),
        ("/signed/a", good, 401),
        ("/signed/a", stale, 401),
        ("/signed/a", invalid, 401),
        ("/signed/a", vec![], 401),
        ("/keys/a", bearer("sentinel-bearer-key"), 200),
        ("/keys/a", bearer("sentinel-wrong-key"), 401),
        ("/broken/a", bearer("sentinel-wrong-key"), 502),
        ("/none", bearer("sentinel-wrong-key"), 404),
    ] {
        let response = proxy.send(request_to(path, headers)).await;
        assert_eq!(response.status, status, "{path}: {}", response.text());
        if status != 200 {
            responses.push(format!("{:?} {}", response.headers, response.text()));
        }
    }
    let mut client = Client::h1(proxy.address()).await;
    let _ = client.open(request_to("/cut/a", vec![])).await.rest().await;
    let events = proxy.events_when(10).await;
    let with_token = ClientRequest::get("/metrics").headers(bearer("sentinel-admin-token"));
    let metrics = weir_tests::client::send(proxy.admin(), with_token).await;
    assert_eq!(metrics.status, 200);
    let refused = proxy.admin_get("/metrics").await;
    let places = [
        ("an event", format!("{events:?}")),
        ("stderr", proxy.stderr()),
        ("stdout", proxy.process().stdout()),
        ("metrics", metrics.text()),
        ("a response of admin", refused.text()),
        ("an error response", responses.join("\n")),
    ];
    for (place, text) in &places {
        for secret in SECRETS {
            assert!(!text.contains(secret), "{secret:?} in {place}:\n{text}");
        }
        for signature in &signatures {
            assert!(!text.contains(signature.as_str()), "a signature in {place}");
        }
    }
}

#[tokio::test]
async fn configuration_errors_do_not_print_secrets() {
    let directory = tempfile::TempDir::new().expect("a directory");
    let backend = Backend::echo().await;
    let setup = Setup::new(&backend)
        .routes("- {name: a, path: /*, backend: nobody, signature: {scheme: bearer, secrets: [\"${KEY}\"], wrong: 1}}")
        .variable("KEY", "sentinel-bearer-key");
    let ended = setup
        .spawn(directory.path())
        .finished(weir_tests::wait::PATIENCE)
        .await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(
        !ended.stderr.contains("sentinel-bearer-key"),
        "{}",
        ended.stderr
    );
}
