//! A backend behind TLS: everything that goes over TCP goes over it.

use tempfile::TempDir;
use weir_tests::backend::{Answer, Backend};
use weir_tests::certs::Authority;
use weir_tests::client::{Ask, Client};
use weir_tests::setup::{OPEN, READ, Setup};

#[tokio::test]
async fn bodies_of_all_sizes_go_over_tls_both_ways() {
    let service = Backend::answering(|seen| match seen.target.as_str() {
        "/large" => Answer::repeated(&[b'x'; 65_536], 80),
        "/chunks" => Answer::repeated(&[b'x'; 65_536], 80).chunked(),
        "/until-close" => Answer::repeated(&[b'x'; 65_536], 80).until_close(),
        _ => Answer::echo(seen),
    })
    .await;
    let authority = Authority::new();
    let directory = TempDir::new().expect("a directory");
    let ca_file = directory.path().join("ca.pem");
    std::fs::write(&ca_file, authority.pem()).expect("written");
    let tls = Backend::behind_tls(&authority, service.address()).await;
    let endpoint = format!("https://localhost:{}", tls.address().port());
    let large = vec![b'y'; 900_000];
    for routes in [OPEN, READ] {
        let proxy = Setup::without_backend()
            .backend("assistant", std::slice::from_ref(&endpoint), &[])
            .routes(routes)
            .variable("SSL_CERT_FILE", &ca_file.display().to_string())
            .start()
            .await;
        let mut client = Client::h1(proxy.address()).await;
        let before = tls.connections();
        for ask in [
            Ask::post("/a", "hello"),
            Ask::post("/a", large.clone()),
            Ask::chunked("/a", &large, 10_000),
            Ask::post("/a", "hello"),
        ] {
            let reply = client.ask(ask).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            let echo: serde_json::Value = serde_json::from_slice(&reply.body).expect("JSON");
            assert!(echo["bytes"] == 5 || echo["bytes"] == 900_000, "{echo}");
        }
        for path in ["/large", "/chunks", "/until-close"] {
            let reply = client.ask(Ask::get(path)).await;
            assert_eq!((reply.status, reply.body.len()), (200, 80 << 16), "{path}");
        }
        assert_eq!(tls.connections(), before + 1, "one connection carries all");
    }
}
