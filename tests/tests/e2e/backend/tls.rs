//! A backend with TLS.

use tempfile::TempDir;
use weir_tests::backend::{Backend, BackendResponse};
use weir_tests::certs::Authority;
use weir_tests::client::{Client, ClientRequest};
use weir_tests::process::Process;
use weir_tests::setup::{BUFFERED, OPEN, Setup};
use weir_tests::wait;

#[tokio::test]
async fn bodies_of_all_sizes_pass_over_tls_in_both_directions() {
    let service = Backend::responding(|received| match received.target.as_str() {
        "/large" => BackendResponse::repeated(&[b'x'; 65_536], 80),
        "/chunks" => BackendResponse::repeated(&[b'x'; 65_536], 80).chunked(),
        "/until-close" => BackendResponse::repeated(&[b'x'; 65_536], 80).until_close(),
        _ => BackendResponse::echo(received),
    })
    .await;
    let authority = Authority::new();
    let directory = TempDir::new().expect("a directory");
    let ca_file = directory.path().join("ca.pem");
    std::fs::write(&ca_file, authority.pem()).expect("written");
    let tls = Backend::behind_tls(&authority, service.address()).await;
    let endpoint = format!("https://localhost:{}", tls.address().port());
    let large = vec![b'y'; 900_000];
    for routes in [OPEN, BUFFERED] {
        let proxy = Setup::without_backend()
            .backend("assistant", std::slice::from_ref(&endpoint), &[])
            .routes(routes)
            .variable("SSL_CERT_FILE", &ca_file.display().to_string())
            .start()
            .await;
        let mut client = Client::h1(proxy.address()).await;
        let before = tls.connections();
        for request in [
            ClientRequest::post("/a", "hello"),
            ClientRequest::post("/a", large.clone()),
            ClientRequest::chunked("/a", &large, 10_000),
            ClientRequest::post("/a", "hello"),
        ] {
            let response = client.send(request).await;
            assert_eq!(response.status, 200, "{}", response.text());
            let echo: serde_json::Value = serde_json::from_slice(&response.body).expect("JSON");
            assert!(echo["bytes"] == 5 || echo["bytes"] == 900_000, "{echo}");
        }
        for path in ["/large", "/chunks", "/until-close"] {
            let response = client.send(ClientRequest::get(path)).await;
            assert_eq!(
                (response.status, response.body.len()),
                (200, 80 << 16),
                "{path}"
            );
        }
        assert_eq!(tls.connections(), before + 1, "one connection carries all");
    }
}

/// A CA file, and a client certificate of `clients` with its key, in a directory.
struct TlsFiles {
    directory: TempDir,
    ca_file: String,
    certificate: String,
    key: String,
}

impl TlsFiles {
    fn new(authority: &Authority, clients: &Authority) -> Self {
        let directory = TempDir::new().expect("a directory");
        let ca_file = directory.path().join("ca.pem");
        std::fs::write(&ca_file, authority.pem()).expect("written");
        let client = clients.issue(directory.path());
        TlsFiles {
            ca_file: ca_file.display().to_string(),
            certificate: client.certificate.display().to_string(),
            key: client.key.display().to_string(),
            directory,
        }
    }
}

/// What a chat request comes to with these settings of the backend.
async fn status_with(tls: &Backend, options: &[&str]) -> (u16, String) {
    let endpoint = format!("https://localhost:{}", tls.address().port());
    let proxy = Setup::without_backend()
        .backend("assistant", &[endpoint], options)
        .routes(OPEN)
        .start()
        .await;
    let response = proxy.send(ClientRequest::chat("hi")).await;
    let code = match response.status {
        200 => String::new(),
        _ => response.rejection(),
    };
    // The client gets no details.
    if code == "upstream_connect" {
        wait::eventually("the reason in the log", wait::PATIENCE, || {
            let log = proxy.stderr();
            log.contains("cannot connect to https://") && log.contains("certificate")
        })
        .await;
    }
    (response.status, code)
}

#[tokio::test]
async fn only_the_configured_authority_is_trusted() {
    let service = Backend::chat().await;
    let (authority, other) = (Authority::new(), Authority::new());
    let tls = Backend::behind_tls(&authority, service.address()).await;
    let refused = (502, "upstream_connect".to_owned());
    let files = TlsFiles::new(&authority, &other);
    let trusted = format!("tls: {{ca_file: {}}}", files.ca_file);
    assert_eq!(status_with(&tls, &[&trusted]).await.0, 200);
    assert_eq!(status_with(&tls, &[]).await, refused);
    let files = TlsFiles::new(&other, &other);
    let wrong = format!("tls: {{ca_file: {}}}", files.ca_file);
    assert_eq!(status_with(&tls, &[&wrong]).await, refused);
}

#[tokio::test]
async fn a_client_certificate_is_presented() {
    let service = Backend::chat().await;
    let (authority, clients) = (Authority::new(), Authority::new());
    let tls = Backend::behind_mutual_tls(&authority, &clients, service.address()).await;
    let files = TlsFiles::new(&authority, &clients);
    let (ca_file, certificate, key) = (&files.ca_file, &files.certificate, &files.key);
    let with = format!("tls: {{ca_file: {ca_file}, certificate: {certificate}, key: {key}}}");
    assert_eq!(status_with(&tls, &[&with]).await.0, 200);
    let without = format!("tls: {{ca_file: {ca_file}}}");
    // TLS 1.3 reports it after the handshake.
    let (status, code) = status_with(&tls, &[&without]).await;
    assert_eq!(status, 502);
    assert!(
        ["upstream_connect", "upstream_reset"].contains(&&*code),
        "{code}"
    );
    assert_eq!(service.requests().len(), 1);
}

#[tokio::test]
async fn the_files_are_checked_with_the_configuration() {
    let authority = Authority::new();
    let files = TlsFiles::new(&authority, &authority);
    let other = TlsFiles::new(&authority, &authority);
    let garbage = files.directory.path().join("garbage.pem");
    let text = "-----BEGIN CERTIFICATE-----\nbm90IGEgY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n";
    std::fs::write(&garbage, text).expect("written");
    let garbage = garbage.display().to_string();
    let (certificate, key) = (&files.certificate, &files.key);
    for (tls, code, expected) in [
        (
            format!(
                "ca_file: {}, certificate: {certificate}, key: {key}",
                files.ca_file
            ),
            0,
            "",
        ),
        (
            format!("certificate: {certificate}, key: {}", other.key),
            1,
            "the key does not belong to the certificate",
        ),
        (
            format!("certificate: {certificate}, key: {certificate}"),
            1,
            "the file holds no private key in PEM",
        ),
        (
            format!("ca_file: {key}"),
            1,
            "the file holds no certificate in PEM",
        ),
        (
            format!("ca_file: {garbage}"),
            1,
            "one of its certificates cannot be used as a root",
        ),
        (
            "ca_file: /nowhere/ca.pem".to_owned(),
            1,
            "the file cannot be read",
        ),
    ] {
        let text = format!(
            "backends: [{{name: a, endpoints: ['https://a.test'], tls: {{{tls}}}}}]\n\
             routes: [{{name: a, path: /*, backend: a}}]\n"
        );
        std::fs::write(files.directory.path().join("weir.yaml"), text).expect("written");
        let arguments = ["check", "--config", "weir.yaml"];
        let ended = Process::run(files.directory.path(), &arguments, b"").await;
        let output = format!("{}{}", ended.stdout, ended.stderr);
        assert_eq!(ended.code, Some(code), "{tls}: {output}");
        assert!(output.contains(expected), "{tls}: {output}");
        assert!(!output.contains("PRIVATE KEY"), "{output}");
    }
}
