//! Names of endpoints.

use weir_tests::backend::Backend;
use weir_tests::client::ClientRequest;
use weir_tests::setup::{OPEN, Setup};

/// `localhost` may have an address of each family, and the backend listens at one of them.
#[tokio::test]
async fn an_address_that_refuses_is_followed_by_the_next_one() {
    let backend = Backend::echo().await;
    let endpoint = format!("http://localhost:{}", backend.address().port());
    let proxy = Setup::without_backend()
        .backend("assistant", &[endpoint], &["pool: {idle_connections: 0}"])
        .routes(OPEN)
        .start()
        .await;
    for _ in 0..6 {
        let response = proxy.send(ClientRequest::get("/a")).await;
        assert_eq!(response.status, 200, "{}", response.text());
    }
    assert_eq!(backend.connections(), 6);
}

#[tokio::test]
async fn a_name_that_is_unknown_is_a_connect_error() {
    // RFC 6761, section 6.4: it never exists.
    let endpoint = "http://backend.invalid:8000".to_owned();
    let proxy = Setup::without_backend()
        .backend("assistant", &[endpoint], &["connect_timeout: 5s"])
        .routes(OPEN)
        .start()
        .await;
    for _ in 0..3 {
        let response = proxy.send(ClientRequest::get("/a")).await;
        let rejection = (response.status, response.rejection());
        assert_eq!(rejection, (502, "upstream_connect".to_owned()));
    }
    let output = proxy.stderr();
    let logged = output.matches("backend.invalid of an endpoint cannot be resolved");
    assert!(logged.count() <= 1, "{output}");
}
