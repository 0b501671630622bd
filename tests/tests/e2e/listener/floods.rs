//! Floods of HTTP/2 frames end early, and busy clients are not affected.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir_tests::backend::Backend;
use weir_tests::client::{Client, ClientRequest};
use weir_tests::proxy::Proxy;
use weir_tests::raw::Raw;
use weir_tests::setup::Setup;
use weir_tests::wait;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// `GET http://weir.test/`, in HPACK without a table (RFC 7541, 6.2.2 and the static table).
const GET: &[u8] = b"\x82\x86\x84\x01\x09weir.test";
/// `POST`, the same.
const POST: &[u8] = b"\x83\x86\x84\x01\x09weir.test";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A connection after its preface, which discards everything received.
async fn open_connection(
    proxy: &Proxy,
    hello: Vec<u8>,
    rounds: usize,
    pause: Duration,
    mut round: impl FnMut(usize) -> Vec<u8>,
) -> Option<usize> {
    let mut raw = Raw::connect(proxy.address()).await;
    raw.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    raw.write(frame(SETTINGS, 0, 0, b"")).await;
    raw.write(hello).await;
    let (mut read, mut write) = raw.into_stream().into_split();
    let reading = tokio::spawn(async move {
        let mut sink = vec![0; 64 * 1024];
        while !matches!(read.read(&mut sink).await, Ok(0) | Err(_)) {}
    });
    for number in 0..rounds {
        let bytes = round(number);
        let writing = write.write_all(&bytes);
        if wait::within("a write", wait::PATIENCE, writing)
            .await
            .is_err()
            || reading.is_finished()
        {
            return Some(number);
        }
        // What was sent must be processed before more is sent: otherwise the count is that of the socket buffers.
        wait::sleep(pause).await;
    }
    let ended = wait::still_waiting_after(Duration::from_secs(1), reading).await;
    (!ended).then_some(rounds)
}

/// A stream that is opened and reset.
fn pair(number: usize) -> Vec<u8> {
    let stream = 2 * number as u32 + 1;
    let mut bytes = frame(HEADERS, END_HEADERS | END_STREAM, stream, GET);
    bytes.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    bytes
}

#[tokio::test]
async fn resets_that_arrive_together_are_counted_as_a_flood() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend).start().await;
    let pairs = |_| (0..60).flat_map(pair).collect();
    let sent = open_connection(&proxy, Vec::new(), 1, Duration::ZERO, pairs).await;
    assert_eq!(sent, Some(1), "the connection ends");
    let floods = proxy.metrics().await.sum("weir_http2_floods_total", &[]);
    assert_eq!(floods, 1.0);
}

#[tokio::test]
async fn a_rapid_reset_ends_within_500_pairs() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend).start().await;
    let sent = open_connection(&proxy, Vec::new(), 5000, Duration::from_millis(1), pair).await;
    assert!(sent.is_some_and(|sent| sent <= 500), "{sent:?}");
    let metrics = proxy.metrics().await;
    let floods = metrics.sum("weir_http2_floods_total", &[]);
    assert!(floods >= 1.0, "{floods:?}");
    // Other clients are not affected.
    assert_eq!(
        Client::h2(proxy.address())
            .await
            .send(ClientRequest::get("/"))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn floods_of_other_frames_are_stopped_within_two_seconds() {
    let backend = Backend::manual().await;
    let proxy = Setup::buffered(&backend).start().await;
    let post = frame(HEADERS, END_HEADERS, 1, POST);
    let cases: [(&str, Vec<u8>, Vec<u8>); 5] = [
        ("ping", Vec::new(), frame(PING, 0, 0, &[0; 8])),
        ("settings", Vec::new(), frame(SETTINGS, 0, 0, b"")),
        (
            "settings with a value",
            Vec::new(),
            frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 9]),
        ),
        ("empty data", post.clone(), frame(DATA, 0, 1, b"")),
        ("windows", post, frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])),
    ];
    for (name, hello, bytes) in cases {
        let started = weir::clock::now();
        let twenty = bytes.repeat(20);
        let pause = Duration::from_millis(2);
        let units = open_connection(&proxy, hello, 1000, pause, |_| twenty.clone()).await;
        assert!(units.is_some_and(|units| units <= 100), "{name}: {units:?}");
        let lasted = started.elapsed();
        assert!(lasted < Duration::from_secs(2), "{name}: {lasted:?}");
    }
}

#[tokio::test]
async fn a_head_has_at_most_32_continuations() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend).start().await;
    let begin = frame(HEADERS, END_STREAM, 1, GET);
    // A field of 2,500 bytes that is not added to the table.
    let mut field = b"\x00\x01x\x7f\xc5\x12".to_vec();
    field.extend([b'a'; 2500]);
    let more = frame(CONTINUATION, 0, 1, &field);
    let pause = Duration::from_millis(1);
    let frames = open_connection(&proxy, begin, 500, pause, |_| more.clone()).await;
    assert!(frames.is_some_and(|frames| frames <= 32), "{frames:?}");
}

#[tokio::test]
async fn clients_that_provoke_resets_are_stopped() {
    let backend = Backend::manual().await;
    let proxy = Setup::buffered(&backend).start().await;
    // weir resets each stream because of what follows it (CVE-2025-8671).
    let broken: [(&str, Vec<u8>); 3] = [
        (
            "a window update of zero",
            frame(WINDOW_UPDATE, 0, 1, &[0; 4]),
        ),
        (
            "a window update beyond the maximum",
            frame(WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff]),
        ),
        ("data after the end", frame(DATA, 0, 1, b"x")),
    ];
    for (name, broken) in broken {
        let round = |number: usize| {
            let stream = 2 * number as u32 + 1;
            let mut bytes = frame(HEADERS, END_HEADERS | END_STREAM, stream, GET);
            let mut invalid = broken.clone();
            invalid[5..9].copy_from_slice(&stream.to_be_bytes());
            bytes.extend(invalid);
            bytes
        };
        let pause = Duration::from_millis(5);
        let streams = open_connection(&proxy, Vec::new(), 500, pause, round).await;
        assert!(
            streams.is_some_and(|streams| streams <= 20),
            "{name}: {streams:?}"
        );
    }
}

/// Sends a request on its own stream; if its response is not `expected`, cancels the response as soon as it has started.
async fn send_request(sender: SendRequest<Full<Bytes>>, expected: bool) {
    let mut sender = sender;
    let request = http::Request::post("http://weir.test/").body(Full::from(vec![b'x'; 3000]));
    sender.ready().await.expect("an open connection");
    let response = sender.send_request(request.expect("a request")).await;
    let response = response.expect("a response");
    assert_eq!(response.status(), 200);
    if expected {
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            frame.expect("a complete body");
        }
    }
}

#[tokio::test]
async fn busy_clients_are_not_affected() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend).start().await;
    let stream = Raw::connect(proxy.address()).await.into_stream();
    let (sender, driver) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_millis(100))
        .adaptive_window(true)
        .handshake(TokioIo::new(stream))
        .await
        .expect("a connection");
    let driver = tokio::spawn(driver);
    for round in 0..12 {
        let sending: Vec<_> = (0..100)
            .map(|number| tokio::spawn(send_request(sender.clone(), number % 2 == 0)))
            .collect();
        for requested in sending {
            wait::within("a response", wait::PATIENCE, requested)
                .await
                .expect("a response");
        }
        assert!(!driver.is_finished(), "after {round} rounds");
    }
    let metrics = proxy.metrics().await;
    assert_eq!(metrics.sum("weir_http2_floods_total", &[]), 0.0);
}

/// The kind and the stream of the next frame from the proxy.
async fn next_frame(connection: &mut TcpStream) -> (u8, u32) {
    let reading = async {
        let mut head = [0; 9];
        connection.read_exact(&mut head).await?;
        let [a, b, c, kind, _, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        connection.read_exact(&mut payload).await?;
        Ok::<_, std::io::Error>((kind, u32::from_be_bytes(stream)))
    };
    wait::within("a frame", wait::PATIENCE, reading)
        .await
        .expect("an open connection")
}

#[tokio::test]
async fn bodies_that_arrive_after_early_responses_do_not_end_the_connection() {
    let backend = Backend::echo().await;
    let proxy = Setup::new(&backend)
        .routes("- {name: other, path: /other, backend: assistant}")
        .start()
        .await;
    let mut raw = Raw::connect(proxy.address()).await;
    raw.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    raw.write(frame(SETTINGS, 0, 0, b"")).await;
    let window = (1_u32 << 20).to_be_bytes();
    raw.write(frame(WINDOW_UPDATE, 0, 0, &window)).await;
    let mut connection = raw.into_stream();
    for number in 0..200 {
        let stream = 2 * number + 1;
        let head = frame(HEADERS, END_HEADERS, stream, POST);
        connection.write_all(&head).await.expect("written");
        loop {
            let received = next_frame(&mut connection).await;
            assert_ne!(received.0, GOAWAY, "after {number} requests");
            if received == (RST_STREAM, stream) {
                break;
            }
        }
        let body = frame(DATA, END_STREAM, stream, b"late");
        connection.write_all(&body).await.expect("written");
    }
}
