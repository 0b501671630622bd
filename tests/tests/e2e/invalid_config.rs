//! The commands `check`, `schema` and `sign`.

use std::path::Path;

use weir_tests::process::{Finished, Process};
use weir_tests::sign::{Headers, sign_feishu, sign_hmac, sign_simple_sha256};

/// Ten errors, each on its own line, and what the report must name.
const TEN: &str = "\
listen:
  - address: not-an-address
limits:
  header_bytes: 32 apples
  header_timeout: soon
  conections: 5
backends:
  - name: assistant
    endpoints: [ftp://127.0.0.1:8000]
    connect_timeout: -1s
routes:
  - name: chat
    path: no-slash
    backend: nobody
  - name: hooks
    path: /hooks
    backend: assistant
    signature: {scheme: hmak, secrets: [a-secret-0123456]}
    rate_limits: [{name: r, rate: fast}]
";

const ERRORS: [(usize, &str); 10] = [
    (2, "not-an-address"),
    (4, "32 apples"),
    (5, "soon"),
    (6, "connections"),
    (9, "ftp"),
    (10, "-1s"),
    (13, "no-slash"),
    (14, "nobody"),
    (18, "hmac"),
    (19, "fast"),
];

async fn check(directory: &Path, text: &str) -> Finished {
    std::fs::write(directory.join("weir.yaml"), text).expect("written");
    Process::run(directory, &["check", "--config", "weir.yaml"], b"").await
}

#[tokio::test]
async fn all_errors_of_a_configuration_are_reported_at_once() {
    let directory = tempfile::TempDir::new().expect("a directory");
    let ended = check(directory.path(), TEN).await;
    assert_eq!(ended.code, Some(1));
    let output = format!("{}{}", ended.stdout, ended.stderr);
    for (line, named) in ERRORS {
        assert!(
            output.contains(&format!("weir.yaml:{line}:")),
            "nothing of line {line} in:\n{output}"
        );
        assert!(output.contains(named), "no {named:?} in:\n{output}");
    }
    let run = Process::run(directory.path(), &["run"], b"").await;
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(run.stderr.starts_with("weir.yaml:2:"), "{}", run.stderr);
    assert_eq!(run.stderr, ended.stderr, "as `check` prints them");
}

#[tokio::test]
async fn a_valid_file_passes() {
    let directory = tempfile::TempDir::new().expect("a directory");
    let text = "backends: [{name: a, endpoints: [http://127.0.0.1:8000]}]\n\
                routes: [{name: a, path: /*, backend: a}]\n";
    let ended = check(directory.path(), text).await;
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
}

#[tokio::test]
async fn unimplemented_keys_cause_a_warning_by_name() {
    let directory = tempfile::TempDir::new().expect("a directory");
    let text = "backends: [{name: a, endpoints: [http://127.0.0.1:8000]}]\n\
                routes: [{name: a, path: /*, backend: a, conversation: {rounds: 5}, \
                rate_limits: [{name: a, rate: 1/s, by: route, shared: true}]}]\n";
    let ended = check(directory.path(), text).await;
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    let output = format!("{}{}", ended.stdout, ended.stderr);
    for key in ["shared", "conversation"] {
        let warned = output
            .lines()
            .any(|line| line.contains(key) && line.contains("not in this version yet"));
        assert!(warned, "no warning of {key} in:\n{output}");
    }
}

#[tokio::test]
async fn a_missing_or_empty_file_and_an_unset_variable_are_errors() {
    let directory = tempfile::TempDir::new().expect("a directory");
    let missing = Process::run(directory.path(), &["check", "--config", "none.yaml"], b"").await;
    assert_eq!(missing.code, Some(1));
    let output = missing.stdout + &missing.stderr;
    assert!(output.contains("none.yaml"), "{output}");
    for text in [
        "",
        "[]",
        "{",
        "a: b: c",
        "\u{0}",
        "backends: [{name: a, endpoints: [\"${WEIR_TEST_NOT_SET}\"]}]",
    ] {
        let ended = check(directory.path(), text).await;
        assert_eq!(ended.code, Some(1), "{text:?}");
        let output = ended.stdout + &ended.stderr;
        assert!(!output.contains("panicked"), "{text:?}: {output}");
        assert!(!output.trim().is_empty(), "{text:?}: silence");
    }
}

#[tokio::test]
async fn the_schema_is_json_and_contains_the_keys() {
    let directory = tempfile::TempDir::new().expect("a directory");
    let ended = Process::run(directory.path(), &["schema"], b"").await;
    assert_eq!(ended.code, Some(0));
    let schema: serde_json::Value =
        serde_json::from_str(&ended.stdout).expect("the schema is JSON");
    for key in [
        "listen", "limits", "backends", "routes", "events", "shutdown",
    ] {
        assert!(schema["properties"].get(key).is_some(), "no {key}");
    }
}

/// The `Header: value` lines of `weir sign`, by name in lower case.
fn headers(stdout: &str) -> Headers {
    let mut headers: Headers = stdout
        .lines()
        .map(|line| line.split_once(": ").expect("Header: value"))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    headers.sort();
    headers
}

fn headers_lowercase(mut expected: Headers) -> Headers {
    for (name, _) in &mut expected {
        *name = name.to_lowercase();
    }
    expected.sort();
    expected
}

#[tokio::test]
async fn sign_matches_an_independent_signer() {
    let directory = tempfile::TempDir::new().expect("a directory");
    let body = "{\"text\":\"挑战\"}\n".as_bytes();
    let at = 1_700_000_000;
    std::fs::write(directory.path().join("body.json"), body).expect("written");
    let hmac = [
        "sign",
        "--scheme",
        "hmac",
        "--secret",
        "s3cret",
        "--at",
        "1700000000",
        "--id",
        "id-1",
    ];
    for (source, input) in [("-", body), ("body.json", b"".as_slice())] {
        let mut arguments = hmac.to_vec();
        arguments.extend(["--body", source]);
        let ended = Process::run(directory.path(), &arguments, input).await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let expected = headers_lowercase(sign_hmac("s3cret", "id-1", at, body));
        assert_eq!(headers(&ended.stdout), expected);
    }
    // Without a body: over an empty one.
    let ended = Process::run(directory.path(), &hmac, b"").await;
    let expected = headers_lowercase(sign_hmac("s3cret", "id-1", at, b""));
    assert_eq!(headers(&ended.stdout), expected);

    let arguments = [
        "sign",
        "--scheme",
        "feishu",
        "--secret",
        "key",
        "--at",
        "1700000000",
        "--id",
        "nonce",
        "--body",
        "-",
    ];
    let ended = Process::run(directory.path(), &arguments, body).await;
    let expected = headers_lowercase(sign_feishu("key", "nonce", at, body));
    assert_eq!(headers(&ended.stdout), expected, "{}", ended.stderr);

    let arguments = [
        "sign",
        "--scheme",
        "simple_sha256",
        "--secret",
        "s3cret",
        "--at",
        "1700000000",
    ];
    let ended = Process::run(directory.path(), &arguments, b"").await;
    let expected = headers_lowercase(sign_simple_sha256("s3cret", at));
    assert_eq!(headers(&ended.stdout), expected, "{}", ended.stderr);

    let arguments = ["sign", "--scheme", "bearer", "--secret", "sk-1"];
    let ended = Process::run(directory.path(), &arguments, b"").await;
    assert_eq!(
        headers(&ended.stdout),
        vec![("authorization".to_owned(), "Bearer sk-1".to_owned())]
    );

    let arguments = ["sign", "--scheme", "rot13", "--secret", "x"];
    let ended = Process::run(directory.path(), &arguments, b"").await;
    assert_ne!(ended.code, Some(0));
    assert!(ended.stderr.contains("rot13"), "{}", ended.stderr);
}
