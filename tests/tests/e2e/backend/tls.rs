//! A backend with TLS.

use tempfile::TempDir;
use weir_tests::backend::{Backend, BackendResponse};
use weir_tests::certs::Authority;
use weir_tests::client::{Client, ClientRequest};
use weir_tests::setup::{BUFFERED, OPEN, Setup};

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
