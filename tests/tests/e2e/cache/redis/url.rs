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

/// A URL, and what is reported.
const CASES: &str = "
redis://weir:known@localhost:REDIS/99 => it has no database with the number at the end of `redis.url` (by default there are 0 to 15)
redis://localhost:REDIS/0 => it replied NOAUTH: it requires a password (write it into `redis.url`, as in redis://:PASSWORD@HOST:6379/0)
redis://:WRONG@localhost:REDIS/0 => it rejected the user or the password of `redis.url`
rediss://:WRONG@localhost:REDIS/0 => it did not reply in time; is `redis.url` its address, and does it use TLS on this port, as `rediss://` requires?
rediss://:WRONG@localhost:TLS_PORT/0 => invalid peer certificate: UnknownIssuer; the host of `redis.url` must be a name in its certificate, whose issuer is trusted by the system or in the file that SSL_CERT_FILE names
redis://:WRONG@localhost:HTTP/0 => its reply is not that of a Redis; is `redis.url` the address of another server?
redis://:WRONG@localhost:SILENT/0 => it did not reply in time; is `redis.url` its address, and can it be reached from here?
redis://:WRONG@localhost:1/0 => Connection refused (os error 111); does it listen there?
";

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
    let cases = CASES
        .replace("WRONG", WRONG_PASSWORD)
        .replace("REDIS", &port.to_string())
        .replace("TLS_PORT", &tls_port.to_string())
        .replace("HTTP", &http_port.to_string())
        .replace("SILENT", &silent_port.to_string());
    let checked = cases.trim().lines().map(|case| {
        let (url, reason) = case.split_once(" => ").expect("a reason");
        let (_, address) = url.split_once("localhost:").expect("a host");
        let (port, _) = address.split_once('/').expect("a database");
        let expected = format!("redis at localhost:{port} cannot be used: {reason}\n");
        is_reported(&backend, format!("redis: {{url: \"{url}\"}}"), expected)
    });
    join_all(checked).await;
}

/// Starts weir with a line for Redis, and waits for a line in its log.
async fn is_reported(backend: &Backend, line: String, expected: String) {
    let setup = setup(backend, &line).variable("RUST_LOG", "debug");
    let proxy = setup.start().await;
    wait::eventually(&expected, wait::PATIENCE, || {
        proxy.stderr().contains(&expected)
    })
    .await;
    let miss = proxy.send(ClientRequest::chat(&expected)).await;
    assert!(status(&miss).starts_with("weir; fwd=miss"), "{expected}");
    let shown = proxy.admin_get("/api/status").await.text();
    for text in [shown, proxy.stderr()] {
        assert!(!text.contains(WRONG_PASSWORD), "{text}");
        assert!(!text.contains("known@"), "{text}");
    }
}
