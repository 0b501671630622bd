//! The credentials for the index, and the verification of its certificate.

use tempfile::TempDir;
use weir_tests::backend::Backend;
use weir_tests::certs::Authority;
use weir_tests::index::{Fault, Index};
use weir_tests::setup::Setup;
use weir_tests::wait;

use super::{SPOOL, indexed_events, send_requests, shipping, wait_until_settled};

#[tokio::test]
async fn index_credentials_are_sent_only_to_the_index() {
    let backend = Backend::echo().await;
    for (keys, expected) in [
        // echo -n weir:sentinel-es-password | base64
        (
            "username: weir, password: sentinel-es-password",
            "Basic d2VpcjpzZW50aW5lbC1lcy1wYXNzd29yZA==",
        ),
        (
            "api_key: c2VudGluZWwtZXMta2V5",
            "ApiKey c2VudGluZWwtZXMta2V5",
        ),
    ] {
        let index = Index::start().await;
        index.script(&[Fault::Whole(401), Fault::Reset]);
        let url = index.url();
        let proxy = Setup::open(&backend)
            .events(SPOOL)
            .events(&format!(
                "elasticsearch: {{urls: ['{url}'], {keys}, batch: {{wait: 10ms}}}}"
            ))
            .variable("RUST_LOG", "debug")
            .start()
            .await;
        send_requests(&proxy, 1).await;
        wait_until_settled(&proxy, "indexed", 1.0).await;
        assert_eq!(index.authorization().as_deref(), Some(expected));
        let secrets = [
            "sentinel-es-password",
            "d2VpcjpzZW50",
            "c2VudGluZWwtZXMta2V5",
        ];
        let output = proxy.stderr() + &proxy.admin_get("/metrics").await.text();
        for secret in secrets {
            assert!(!output.contains(secret), "{secret} was leaked");
        }
    }
}

#[tokio::test]
async fn a_changed_retention_updates_the_existing_policy() {
    let (backend, index) = (Backend::echo().await, Index::open_search().await);
    let path = "/_plugins/_ism/policies/weir.access";
    let url = index.url();
    for (retention, written) in [("30d", 1), ("30d", 1), ("7d", 2), ("7d", 2)] {
        let proxy = Setup::open(&backend)
            .events(SPOOL)
            .events(&format!(
                "elasticsearch: {{urls: ['{url}'], retention: {retention}, batch: {{wait: 10ms}}}}"
            ))
            .start()
            .await;
        send_requests(&proxy, 1).await;
        wait_until_settled(&proxy, "indexed", 1.0).await;
        let (times, policy) = index.policy(path).expect("a policy");
        assert_eq!(times, written, "{retention}");
        let conditions = &policy["policy"]["states"][0]["transitions"][0]["conditions"];
        assert_eq!(conditions["min_rollover_age"], retention);
    }
}

#[tokio::test]
async fn the_certificate_of_the_index_is_verified() {
    let (backend, index) = (Backend::echo().await, Index::start().await);
    let authority = Authority::new();
    let directory = TempDir::new().expect("a directory");
    let ca_file = directory.path().join("ca.pem");
    std::fs::write(&ca_file, authority.pem()).expect("written");
    let tls = Backend::behind_tls(&authority, index.address()).await;
    let url = format!("https://localhost:{}", tls.address().port());
    let stranger = shipping(&backend, std::slice::from_ref(&url), "wait: 10ms")
        .start()
        .await;
    send_requests(&stranger, 3).await;
    wait::eventually("a log line about the error", wait::PATIENCE, || {
        stranger.stderr().contains("is unreachable")
    })
    .await;
    assert!(index.ids().is_empty() && index.set_up().is_empty());
    let ca_file = ca_file.display();
    let friend = Setup::open(&backend)
        .events(SPOOL)
        .events(&format!(
            "elasticsearch: {{urls: ['{url}'], ca_file: {ca_file}, batch: {{wait: 10ms}}}}"
        ))
        .start()
        .await;
    let ids = send_requests(&friend, 3).await;
    indexed_events(&index, &ids).await;
}
