//! A leader that reads its response in steps, slower than those that follow it.

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use weir_tests::backend::Backend;
use weir_tests::client::{Client, ClientRequest, chat_request};
use weir_tests::proxy::Proxy;
use weir_tests::setup::Setup;
use weir_tests::wait;

use super::is_hit;

const ROUTES: &str =
    "- {name: chat, path: /v1/*, backend: assistant, cache: {scope: route, memory: 128MiB}}
- {name: pages, path: /pages/*, backend: assistant, cache: {http: true, memory: 128MiB}}";
/// More than the sockets between weir and a client hold.
const FIRST_BYTES: usize = 12 << 20;
/// What the leader reads of it, so that what is left is still more than they hold.
const STEP_BYTES: usize = 4 << 20;
const NUMBERS: usize = 13 << 17;

/// A body of 13 MiB, of which each part is different.
fn body() -> String {
    let numbers: String = (0..NUMBERS).map(|number| format!("{number:07} ")).collect();
    let body = json!({
        "id": "chatcmpl-1", "object": "chat.completion", "model": "glm-4",
        "choices": [{"index": 0, "finish_reason": "stop",
                     "message": {"role": "assistant", "content": numbers}}],
    });
    body.to_string()
}

/// Sends a request over a connection that takes little at once.
async fn send(proxy: &Proxy, request: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    let bounded = socket.set_recv_buffer_size(16 * 1024);
    bounded.expect("a small buffer");
    let mut stream = socket.connect(proxy.address()).await.expect("weir listens");
    stream.write_all(request.as_bytes()).await.expect("sent");
    stream
}

#[tokio::test]
async fn all_get_the_same_bytes_from_a_leader_that_reads_in_steps() {
    let backend = Backend::manual().await;
    let proxy = Setup::new(&backend).routes(ROUTES).start().await;
    let chat = chat_request("long", false).to_string();
    let length = chat.len();
    let cases: [(fn() -> ClientRequest, String); 2] = [
        (
            || ClientRequest::get("/pages/long"),
            "GET /pages/long HTTP/1.1\r\nHost: weir.test\r\nConnection: close\r\n\r\n".to_owned(),
        ),
        (
            || ClientRequest::chat("long"),
            format!(
                "POST /v1/chat/completions HTTP/1.1\r\nHost: weir.test\r\nConnection: close\r\n\
                 Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{chat}"
            ),
        ),
    ];
    let body = body();
    let (first, last) = body.as_bytes().split_at(FIRST_BYTES);
    for (request, text) in cases {
        let mut leader = send(&proxy, &text).await;
        let mut pending = backend.next_request().await;
        let length = body.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: max-age=60\r\n\
             Content-Length: {length}\r\n\r\n"
        );
        pending.write(head).await;
        let mut client = Client::h1(proxy.address()).await;
        let mut follower = client.open(request()).await;
        pending.write(first).await;
        let mut followed = Vec::new();
        while followed.len() < first.len() {
            let piece = wait::within("a piece", wait::PATIENCE, follower.chunk()).await;
            followed.extend_from_slice(&piece.expect("more of it").expect("a piece"));
        }
        // The rest of what was read ahead of the leader waits for it once more.
        let mut led = vec![0; STEP_BYTES];
        let reading = leader.read_exact(&mut led);
        let read = wait::within("a step", wait::PATIENCE, reading).await;
        read.expect("a step of the response");
        pending.write(last).await;
        followed.extend(follower.rest().await.expect("all of it"));
        assert!(followed == body.as_bytes(), "{} bytes", followed.len());
        let reading = leader.read_to_end(&mut led);
        let read = wait::within("the rest", wait::PATIENCE, reading).await;
        read.expect("the rest of the response");
        assert!(led.ends_with(body.as_bytes()), "{} bytes", led.len());
        let stored = proxy.send(request()).await;
        assert!(is_hit(&stored));
        assert!(
            stored.body == body.as_bytes(),
            "{} bytes",
            stored.body.len()
        );
    }
    assert_eq!(backend.requests().len(), 2);
}
