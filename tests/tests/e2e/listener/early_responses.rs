//! A response that is sent before its request is complete arrives.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use weir_tests::backend::Backend;
use weir_tests::client::{Client, ClientRequest};
use weir_tests::process;
use weir_tests::proxy::Proxy;
use weir_tests::raw::Raw;
use weir_tests::setup::Setup;
use weir_tests::wait;

const LIMITED: &str = "\
- {name: small, path: /small, backend: assistant, body_bytes: 1KiB, cache: {answers: true, memory: 1MiB, ttl: 1h, scope: route}}
- {name: rare, path: /rare, backend: assistant, rate_limits: [{name: once, rate: 1/h, burst: 1, by: address}]}
- name: closed
  path: /closed
  backend: assistant
  allow: [192.0.2.1/32]
";

/// Sends a whole upload before it reads the response, as many clients do.
async fn upload(proxy: &Proxy, path: &str, bytes: usize, chunked: bool) -> String {
    let stream = Raw::connect(proxy.address()).await.into_stream();
    let (mut read, mut write) = stream.into_split();
    let framing = match chunked {
        true => "Transfer-Encoding: chunked".to_owned(),
        false => format!("Content-Length: {bytes}"),
    };
    let head = format!("POST {path} HTTP/1.1\r\nHost: weir.test\r\n{framing}\r\n\r\n");
    let sending = async {
        write.write_all(head.as_bytes()).await?;
        let chunk = vec![b'x'; 64 << 10];
        for _ in 0..bytes / chunk.len() {
            if chunked {
                write.write_all(b"10000\r\n").await?;
            }
            write.write_all(&chunk).await?;
            if chunked {
                write.write_all(b"\r\n").await?;
            }
        }
        Ok::<(), std::io::Error>(())
    };
    wait::within("the upload", wait::PATIENCE, sending)
        .await
        .expect("nothing is reset");
    let mut backend_response = vec![0; 4096];
    let reading = read.read(&mut backend_response);
    let length = wait::within("an answer", wait::PATIENCE, reading)
        .await
        .expect("a response");
    String::from_utf8_lossy(&backend_response[..length]).into_owned()
}

#[tokio::test]
async fn an_early_response_always_arrives() {
    let backend = Backend::echo().await;
    let proxy = Setup::new(&backend).routes(LIMITED).start().await;
    for _ in 0..8 {
        for chunked in [false, true] {
            let backend_response = upload(&proxy, "/small", 12 << 20, chunked).await;
            assert!(
                backend_response.starts_with("HTTP/1.1 413"),
                "{backend_response}"
            );
            let backend_response = upload(&proxy, "/closed", 12 << 20, chunked).await;
            assert!(
                backend_response.starts_with("HTTP/1.1 403"),
                "{backend_response}"
            );
        }
    }
    assert_eq!(proxy.send(ClientRequest::get("/rare")).await.status, 200);
    for _ in 0..4 {
        let backend_response = upload(&proxy, "/rare", 12 << 20, false).await;
        assert!(
            backend_response.starts_with("HTTP/1.1 429"),
            "{backend_response}"
        );
    }
    // A client that has finished sending is not waited for.
    proxy
        .metrics_when("the lingering to end", |metrics| {
            metrics.sum("weir_connections_lingering", &[]) == 0.0
        })
        .await;
}

#[tokio::test]
async fn clients_that_send_slowly_after_the_response_are_cut_off() {
    let backend = Backend::echo().await;
    let proxy = Setup::new(&backend).routes(LIMITED).start().await;
    let mut raw = Raw::connect(proxy.address()).await;
    raw.write("POST /small HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 9999999\r\n\r\n")
        .await;
    assert_eq!(raw.response().await.status, 413);
    raw.drip("x", Duration::from_millis(300), Duration::from_secs(9))
        .await;
}

#[tokio::test]
async fn over_http2_an_early_response_ends_with_no_error() {
    let backend = Backend::echo().await;
    let proxy = Setup::new(&backend).routes(LIMITED).start().await;
    let mut client = Client::h2(proxy.address()).await;
    for _ in 0..5 {
        let client_response = client
            .send(ClientRequest::post("/small", vec![b'x'; 4 << 20]))
            .await;
        assert_eq!(client_response.status, 413);
    }
    // The connection can be used as before.
    assert_eq!(
        client.send(ClientRequest::post("/small", "x")).await.status,
        200
    );
}

const PYTHON: &str = r#"
import http.client, sys
for _ in range(30):
    client = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
    client.request("POST", "/small", b"x" * 11_000_000)
    print(client.getresponse().status)
"#;

const NODE: &str = r#"
const http = require('http');
const body = Buffer.alloc(20_000_000, 'x');
function next(left) {
  if (left === 0) return;
  const request = http.request({port: process.argv[2], path: '/small', method: 'POST',
    headers: {'content-length': body.length}}, response => {
      response.resume();
      response.on('end', () => { console.log(response.statusCode); next(left - 1); });
    });
  request.on('error', error => { console.log(error.code); next(left - 1); });
  request.end(body);
}
next(30);
"#;

#[tokio::test]
async fn real_clients_always_receive_an_early_response() {
    let backend = Backend::echo().await;
    let proxy = Setup::new(&backend).routes(LIMITED).start().await;
    let directory = tempfile::TempDir::new().expect("a directory");
    for (program, file, script) in [
        ("python3", "upload.py", PYTHON),
        ("node", "upload.js", NODE),
    ] {
        let Some(program) = process::tool(program) else {
            continue;
        };
        std::fs::write(directory.path().join(file), script).expect("written");
        let port = proxy.address().port().to_string();
        let running = process::Process::program(&program, directory.path(), &[file, &port]);
        let ended = running.finished(Duration::from_secs(60)).await;
        assert_eq!(ended.stdout, "413\n".repeat(30), "{file}: {}", ended.stderr);
    }
}
