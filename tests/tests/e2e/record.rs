//! Every request has exactly one event and is counted once.

use serde_json::Value;
use weir_tests::backend::{Backend, BackendResponse};
use weir_tests::client::{Client, ClientRequest};
use weir_tests::raw::Raw;
use weir_tests::setup::Setup;
use weir_tests::sign::sign_hmac_as;
use weir_tests::wait;

mod completeness;
mod secrets;

const FULL: &str = "
- name: chat
  path: /v1/chat/completions
  methods: [POST]
  backend: assistant
  signature: {scheme: hmac, clients: [{name: web, secrets: [web-secret-0123456]}]}
  rate_limits: [{name: per-client, rate: 1/h, burst: 40, by: client}]
  cache: {answers: true, memory: 8MiB, ttl: 1h, scope: client}
";

#[tokio::test]
async fn an_event_contains_every_documented_field() {
    let backend = Backend::chat().await;
    let proxy = Setup::new(&backend).routes(FULL).start().await;
    let body = weir_tests::client::chat_request("hi", false);
    let request = ClientRequest::json("/v1/chat/completions", &body)
        .headers(sign_hmac_as(
            "web",
            "web-secret-0123456",
            body.to_string().as_bytes(),
        ))
        .header("host", "bot.example.com:8080")
        .header("user-agent", "tests/1 \"quoted\"");
    let client_response = proxy.send(request).await;
    assert_eq!(client_response.status, 200, "{}", client_response.text());
    let event = proxy.event_of(&client_response).await;
    let id = client_response.header("x-request-id").expect("an id");
    for (pointer, expected) in [
        ("/event/id", Value::from(id)),
        ("/event/dataset", "weir.access".into()),
        ("/event/kind", "event".into()),
        ("/event/outcome", "success".into()),
        ("/ecs/version", "8.17.0".into()),
        ("/platform", "api".into()),
        ("/route", "chat".into()),
        ("/backend", "assistant".into()),
        ("/client/ip", "127.0.0.1".into()),
        ("/client/key", "web".into()),
        ("/http/version", "1.1".into()),
        ("/http/request/id", id.into()),
        ("/http/request/method", "POST".into()),
        ("/http/request/body/bytes", body.to_string().len().into()),
        ("/http/response/status_code", 200.into()),
        (
            "/http/response/body/bytes",
            client_response.body.len().into(),
        ),
        ("/url/path", "/v1/chat/completions".into()),
        ("/url/domain", "bot.example.com".into()),
        ("/service/name", "weir".into()),
        ("/weir/signature/outcome", "valid".into()),
        ("/weir/rate_limit/remaining", 39.into()),
        ("/weir/cache/outcome", "miss".into()),
        ("/weir/upstream/endpoint", backend.url().into()),
        ("/weir/upstream/attempts", 1.into()),
    ] {
        assert_eq!(
            event.pointer(pointer),
            Some(&expected),
            "{pointer} in {event:#}"
        );
    }
    assert!(event.get("error_code").is_none());
    assert_measured(&event);
}

/// The fields of an event whose values are not known in advance.
fn assert_measured(event: &Value) {
    let agent = event["user_agent"]["original"].as_str().expect("an agent");
    assert!(agent.starts_with("tests/1 \"quoted\""), "{agent}");
    let time = event["@timestamp"].as_str().expect("a time");
    assert!(time.ends_with('Z') && time.len() >= 24, "{time}");
    for number in [
        "/response_time",
        "/event/duration",
        "/weir/upstream/first_byte_ms",
    ] {
        let value = event.pointer(number).and_then(Value::as_f64);
        assert!(
            value.is_some_and(|value| value > 0.0),
            "{number} is {value:?}"
        );
    }
    for part in [
        "route",
        "body",
        "signature",
        "limit",
        "cache",
        "backend",
        "answer",
        "overhead",
    ] {
        let value = event["weir"]["timing"][format!("{part}_ms")].as_f64();
        assert!(
            value.is_some_and(|value| value >= 0.0),
            "{part} is {value:?}"
        );
    }
    let spans = [event["trace"]["id"].as_str(), event["span"]["id"].as_str()];
    assert_eq!(spans.map(|id| id.map_or(0, str::len)), [32, 16]);
}

#[tokio::test]
async fn fields_that_do_not_apply_are_absent() {
    let backend = Backend::echo().await;
    let proxy = Setup::new(&backend)
        .routes("- {name: one, path: /one, backend: assistant}")
        .start()
        .await;
    let client_response = proxy
        .send(ClientRequest::get("/two?token=of-somebody"))
        .await;
    let event = proxy.event_of(&client_response).await;
    assert_eq!(event["route"], "none");
    assert_eq!(event["url"]["path"], "/two", "a query may hold secrets");
    assert_eq!(event["event"]["outcome"], "failure");
    assert_eq!(event["error_code"], "no_route");
    for absent in [
        "/backend",
        "/client/key",
        "/weir/signature",
        "/weir/upstream",
        "/gen_ai",
    ] {
        assert_eq!(event.pointer(absent), None, "{absent}");
    }
}

#[tokio::test]
async fn hostile_bytes_do_not_break_event_lines() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend).start().await;
    let agents: [&[u8]; 5] = [
        b"\xff\xfe\x80",
        b"\"},{\"route\":\"forged\"",
        b"back\\slash",
        b"tab\there",
        &[b'a'; 10_000],
    ];
    for agent in agents {
        let mut raw = Raw::connect(proxy.address()).await;
        let mut head = b"GET /%22%27%e6%b0%b4 HTTP/1.1\r\nHost: weir.test\r\nUser-Agent: ".to_vec();
        head.extend_from_slice(agent);
        head.extend_from_slice(b"\r\n\r\n");
        raw.write(head).await;
        let backend_response = raw.response().await;
        assert_eq!(backend_response.status, 200);
        let event = proxy
            .event(backend_response.header("x-request-id").expect("an id"))
            .await;
        assert_eq!(event["route"], "all");
        assert!(event["user_agent"]["original"].is_string());
    }
    proxy.events_when(agents.len()).await;
}

#[tokio::test]
async fn every_response_has_an_id_and_server_timing() {
    let backend = Backend::echo().await;
    let proxy = Setup::new(&backend)
        .routes("- {name: one, path: /one, backend: assistant}")
        .start()
        .await;
    for (path, status) in [("/one", 200), ("/two", 404)] {
        for mut client in [
            Client::h1(proxy.address()).await,
            Client::h2(proxy.address()).await,
        ] {
            let client_response = client.send(ClientRequest::get(path)).await;
            assert_eq!(client_response.status, status);
            let id = client_response.header("x-request-id").expect("an id");
            assert_eq!(id.len(), 26);
            let letters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
            assert!(id.chars().all(|letter| letters.contains(letter)), "{id}");
            let timing = client_response.header("server-timing").expect("times");
            assert!(timing.contains("route;dur="), "{timing}");
            assert_eq!(timing.contains("backend;dur="), status == 200, "{timing}");
        }
    }
}

#[tokio::test]
async fn events_are_written_to_stdout() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend).events("stdout: true").start().await;
    let client_response = proxy.send(ClientRequest::get("/")).await;
    let event = proxy.event_of(&client_response).await;
    let line = wait::found("the event on stdout", wait::PATIENCE, || {
        let stdout = proxy.process().stdout();
        let line = stdout.lines().next()?;
        serde_json::from_str::<Value>(line).ok()
    })
    .await;
    assert_eq!(line, event);
}

#[tokio::test]
async fn event_files_are_rotated_without_loss() {
    let backend = Backend::echo().await;
    let directory = tempfile::TempDir::new().expect("a directory");
    let file = directory.path().join("events.ndjson");
    let proxy = Setup::open(&backend)
        .events(&format!(
            "file: {{path: {}, rotate_at: 20KiB, keep: 30d}}",
            file.display()
        ))
        .start()
        .await;
    let mut client = Client::h1(proxy.address()).await;
    for number in 0..100 {
        client.send(ClientRequest::get(&format!("/{number}"))).await;
    }
    // A file that is renamed between listing and reading is looked up again; a file that is renamed in between may be listed
    // twice, or not at all.
    let read_all = || {
        let mut lines = Vec::new();
        let mut files = 0;
        for entry in std::fs::read_dir(directory.path()).ok()? {
            let path = entry.ok()?.path();
            let text = std::fs::read_to_string(&path).ok()?;
            assert!(text.len() < 64 << 10, "{} is too large", path.display());
            let whole = text.rfind('\n').map_or("", |end| &text[..end]);
            lines.extend(whole.lines().map(str::to_owned));
            files += 1;
        }
        (lines.len() == 100).then_some((files, lines))
    };
    let (files, lines) = wait::found("every event once", wait::PATIENCE, read_all).await;
    assert!(files >= 2, "{files} file");
    for line in lines {
        serde_json::from_str::<Value>(&line).expect("a complete line");
    }
}

#[tokio::test]
async fn an_event_is_written_soon_after_its_response() {
    let backend = Backend::responding(|_| BackendResponse::chat("quick")).await;
    let proxy = Setup::open(&backend).start().await;
    let mut client = Client::h1(proxy.address()).await;
    let mut waits = Vec::new();
    for _ in 0..20 {
        let client_response = client.send(ClientRequest::chat("hi")).await;
        let answered = weir::clock::now();
        proxy.event_of(&client_response).await;
        waits.push(answered.elapsed());
    }
    // weir guarantees 200 ms; on a busy machine some take longer.
    waits.sort_unstable();
    assert!(waits[10] < std::time::Duration::from_secs(1), "{waits:?}");
}
