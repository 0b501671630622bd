//! A `redis.url` that is wrong: weir serves, and one line says why Redis cannot be used.

use futures_util::future::join_all;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use weir_tests::backend::Backend;
use weir_tests::certs::Authority;
use weir_tests::client::ClientRequest;
use weir_tests::redis::{Options, Redis};
use weir_tests::wait;

use super::{setup, status};

const WRONG_PASSWORD: &str = "wr0ng-secret";

/// The port of a server that is no Redis.
async fn http_server() -> u16 {
    let http = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = http.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = http.accept().await {
            let _ = connection
                .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                .await;
            // Closing before everything is read would reset the connection.
            let _ = connection.read(&mut [0; 4096]).await;
        }
    });
    port
}

#[tokio::test]
async fn a_url_that_is_wrong_is_reported_in_one_line() {
    let test = "a_url_that_is_wrong";
    let files = TempDir::new().expect("a temporary directory");
    let secured = Options::secured(&Authority::new(), &files);
    let (Some(redis), Some(secured)) = (
        Redis::start(test).await,
        Redis::start_with(test, secured).await,
    ) else {
        return;
    };
    redis.run(&["ACL", "SETUSER", "weir", "on", ">known", "+@all", "~*"]);
    redis.run(&["ACL", "SETUSER", "default", "off"]);
    let backend = Backend::chat().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let silent_port = silent.local_addr().expect("an address").port();
    let (port, tls_port, http_port) = (redis.port(), secured.port(), http_server().await);
    let wrong = format!(":{WRONG_PASSWORD}@");
    let cases = [
        (
            "redis",
            "weir:known@",
            port,
            "/99",
            "it has no database with the number at the end of `redis.url` (by default there are 0 to 15)",
        ),
        (
            "redis",
            "",
            port,
            "/0",
            "it replied NOAUTH: it requires a password (write it into `redis.url`, as in redis://:PASSWORD@HOST:6379/0)",
        ),
        (
            "redis",
            &wrong,
            port,
            "/0",
            "it rejected the user or the password of `redis.url`",
        ),
        (
            "rediss",
            &wrong,
            port,
            "/0",
            "it did not reply in time; is `redis.url` its address, and does it use TLS on this port, as `rediss://` requires?",
        ),
        (
            "rediss",
            &wrong,
            tls_port,
            "/0",
            "invalid peer certificate: UnknownIssuer; the host of `redis.url` must be a name in its certificate, whose issuer is trusted by the system or in the file that SSL_CERT_FILE names",
        ),
        (
            "redis",
            &wrong,
            http_port,
            "/0",
            "its reply is not that of a Redis; is `redis.url` the address of another server?",
        ),
        (
            "redis",
            &wrong,
            silent_port,
            "/0",
            "it did not reply in time; is `redis.url` its address, and can it be reached from here?",
        ),
        (
            "redis",
            &wrong,
            1,
            "/0",
            "Connection refused (os error 111); does it listen there?",
        ),
    ];
    let checked = cases.map(async |(scheme, user, port, database, reason)| {
        let line = format!("redis: {{url: \"{scheme}://{user}localhost:{port}{database}\"}}");
        let setup = setup(&backend, &line).variable("RUST_LOG", "debug");
        let proxy = setup.start().await;
        let expected = format!("redis at localhost:{port} cannot be used: {reason}\n");
        wait::eventually(reason, wait::PATIENCE, || {
            proxy.stderr().contains(&expected)
        })
        .await;
        let miss = proxy.send(ClientRequest::chat(reason)).await;
        assert!(status(&miss).starts_with("weir; fwd=miss"), "{reason}");
        let shown = proxy.admin_get("/api/status").await.text();
        for text in [shown, proxy.stderr()] {
            assert!(!text.contains(WRONG_PASSWORD), "{text}");
            assert!(!text.contains("known@"), "{text}");
        }
    });
    join_all(checked).await;
}
