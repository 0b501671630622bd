//! The backend of `make bench`: responds as cheaply as possible, so that it does not become a bottleneck on the
//! processor that it shares with the load generator.
//!
//! It reads just enough of HTTP/1.1 for the proxies that are measured: keep-alive, a body with a length or
//! chunked. Every POST gets the same 600 bytes of JSON, or 20 server-sent events if its body contains
//! `"stream":true`; `GET /page` gets as much text, which caches may store for a minute. Any other GET (a health check,
//! or the driver) gets the number of requests so far, which
//! proves that cache hits did not reach the backend. It is also the index that events are shipped to: it accepts
//! every bulk request, and everything that sets up an index.
//!
//! Before each event of a stream the backend pauses for a tick of the runtime's timer: without it a
//! proxy reads several events at once, and the cost of a stream would depend on how far it lags behind.
//!
//! `bench_backend LISTEN`, for example `bench_backend 127.0.0.1:8000`.

#![expect(
    clippy::expect_used,
    reason = "a program for measuring may end where it cannot go on"
)]

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flate2::read::GzDecoder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const RESPONSE_BYTES: usize = 600;
const EVENTS: usize = 20;
/// The runtime's timer rounds this up to a millisecond or two.
const EVENT_PAUSE: Duration = Duration::from_millis(1);
/// Larger than any request of the benchmark; beyond it the connection is closed.
const REQUEST_BYTES_MAX: usize = 1 << 20;

/// The responses, rendered once.
struct Responses {
    json: Vec<u8>,
    page: Vec<u8>,
    stream_head: Vec<u8>,
    stream_events: Vec<Vec<u8>>,
    questions: AtomicU64,
}

/// One request of the connection's buffer.
#[derive(Debug, PartialEq, Eq)]
enum Parsed {
    /// More bytes are needed.
    Partial,
    /// A whole request: where its body starts and where it ends in the buffer.
    Whole { body_start: usize, end: usize },
    /// Not a request of the benchmark.
    Wrong,
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

/// The value of a header of `head`, whose name is given in lower case.
fn header<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    head.split(|byte| *byte == b'\n').find_map(|line| {
        let (line_name, value) = line.split_at_checked(name.len())?;
        let value = value.strip_prefix(b":")?;
        line_name
            .eq_ignore_ascii_case(name)
            .then(|| value.trim_ascii())
    })
}

fn parse(buffer: &[u8]) -> Parsed {
    let Some(head_end) = find(buffer, b"\r\n\r\n") else {
        return Parsed::Partial;
    };
    let body_start = head_end + 4;
    let head = &buffer[..head_end];
    if let Some(length) = header(head, b"content-length") {
        let length: Option<usize> = std::str::from_utf8(length)
            .ok()
            .and_then(|text| text.parse().ok());
        return match length {
            Some(length) if length > REQUEST_BYTES_MAX => Parsed::Wrong,
            Some(length) if buffer.len() < body_start + length => Parsed::Partial,
            Some(length) => Parsed::Whole {
                body_start,
                end: body_start + length,
            },
            None => Parsed::Wrong,
        };
    }
    if header(head, b"transfer-encoding").is_some() {
        let last = b"0\r\n\r\n";
        return match find(&buffer[body_start..], last) {
            Some(at) => Parsed::Whole {
                body_start,
                end: body_start + at + last.len(),
            },
            None => Parsed::Partial,
        };
    }
    Parsed::Whole {
        body_start,
        end: body_start,
    }
}

fn response(content_type: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A page that has validators and a lifetime.
fn page() -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nCache-Control: public, max-age=60\r\n\
        ETag: \"bench\"\r\nLast-Modified: Mon, 01 Jun 2026 10:00:00 GMT\r\n";
    let body = "x".repeat(RESPONSE_BYTES);
    format!("{head}Content-Length: {RESPONSE_BYTES}\r\n\r\n{body}").into_bytes()
}

fn json_response() -> String {
    let start = r#"{"id":"chatcmpl-bench","object":"chat.completion","created":1750000000,"#
        .to_owned()
        + r#""model":"assistant-small","choices":[{"index":0,"message":{"role":"assistant","content":""#;
    let end = r#""},"finish_reason":"stop"}],"#.to_owned()
        + r#""usage":{"prompt_tokens":96,"completion_tokens":64,"total_tokens":160}}"#;
    let words = "A weir is a low dam that both regulates and measures a river. ";
    let content: String = words
        .chars()
        .cycle()
        .take(RESPONSE_BYTES - start.len() - end.len())
        .collect();
    start + &content + &end
}

fn stream_events() -> Vec<String> {
    let frame = r#"data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","#.to_owned()
        + r#""created":1750000000,"model":"assistant-small","choices":"#;
    let choice = |number: usize, reason: &str| {
        let delta = format!(r#""delta":{{"content":" w{number:02}"}}"#);
        format!("{frame}[{{\"index\":0,{delta},\"finish_reason\":{reason}}}]}}\n\n")
    };
    let contents = EVENTS - 2;
    let mut events: Vec<String> = (1..contents).map(|number| choice(number, "null")).collect();
    events.push(choice(contents, "\"stop\""));
    let usage = r#"{"prompt_tokens":96,"completion_tokens":18,"total_tokens":114}"#;
    events.push(format!("{frame}[],\"usage\":{usage}}}\n\n"));
    events.push("data: [DONE]\n\n".to_owned());
    events
}

/// An event as one chunk of HTTP/1.1; the last one carries the closing chunk too.
fn chunks(events: &[String]) -> Vec<Vec<u8>> {
    let mut chunks: Vec<Vec<u8>> = events
        .iter()
        .map(|event| format!("{:x}\r\n{event}\r\n", event.len()).into_bytes())
        .collect();
    if let Some(last) = chunks.last_mut() {
        last.extend_from_slice(b"0\r\n\r\n");
    }
    chunks
}

async fn respond(
    connection: &mut TcpStream,
    request: &[u8],
    body: &[u8],
    responses: &Responses,
) -> std::io::Result<()> {
    if request.starts_with(b"PUT ") || request.starts_with(b"GET / ") {
        // The description of a node; any response is fine for the set-up of the index.
        let about = response("application/json", r#"{"version":{"number":"8.17.0"}}"#);
        return connection.write_all(&about).await;
    }
    if request.starts_with(b"POST /logs-") {
        let all = response("application/json", &bulk_response(body));
        return connection.write_all(&all).await;
    }
    if request.starts_with(b"POST /v1/traces ") {
        // As a trace collector: an empty message means that everything was accepted.
        let all = response("application/x-protobuf", "");
        return connection.write_all(&all).await;
    }
    if request.starts_with(b"GET /page ") {
        responses.questions.fetch_add(1, Ordering::Relaxed);
        return connection.write_all(&responses.page).await;
    }
    if request.starts_with(b"GET ") {
        let count = format!(
            "{{\"questions\":{}}}",
            responses.questions.load(Ordering::Relaxed)
        );
        return connection
            .write_all(&response("application/json", &count))
            .await;
    }
    responses.questions.fetch_add(1, Ordering::Relaxed);
    if find(body, br#""stream":true"#).is_none() {
        return connection.write_all(&responses.json).await;
    }
    connection.write_all(&responses.stream_head).await?;
    for event in &responses.stream_events {
        tokio::time::sleep(EVENT_PAUSE).await;
        connection.write_all(event).await?;
    }
    Ok(())
}

/// Reports every event of a bulk request as accepted.
fn bulk_response(body: &[u8]) -> String {
    let mut lines = Vec::new();
    let read = GzDecoder::new(body).read_to_end(&mut lines);
    read.expect("weir compresses with gzip");
    let events = lines.iter().filter(|byte| **byte == b'\n').count() / 2;
    let items = vec![r#"{"create":{"status":201}}"#; events];
    format!(r#"{{"errors":false,"items":[{}]}}"#, items.join(","))
}

async fn serve(mut connection: TcpStream, responses: Arc<Responses>) -> std::io::Result<()> {
    connection.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(16 * 1024);
    loop {
        match parse(&buffer) {
            Parsed::Wrong => return Ok(()),
            Parsed::Partial if buffer.len() > REQUEST_BYTES_MAX => return Ok(()),
            Parsed::Partial => {
                if connection.read_buf(&mut buffer).await? == 0 {
                    return Ok(());
                }
            }
            Parsed::Whole { body_start, end } => {
                respond(
                    &mut connection,
                    &buffer,
                    &buffer[body_start..end],
                    &responses,
                )
                .await?;
                buffer.drain(..end);
            }
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let listen = std::env::args()
        .nth(1)
        .expect("usage: bench_backend LISTEN");
    let responses = Arc::new(Responses {
        page: page(),
        json: response("application/json", &json_response()),
        stream_head: b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
            Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"
            .to_vec(),
        stream_events: chunks(&stream_events()),
        questions: AtomicU64::new(0),
    });
    let listener = TcpListener::bind(&listen)
        .await
        .expect("LISTEN is free and of this machine");
    loop {
        let Ok((connection, _)) = listener.accept().await else {
            continue;
        };
        let responses = Arc::clone(&responses);
        tokio::spawn(async move { serve(connection, responses).await });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_a_body_with_a_length_whatever_the_case_of_its_header() {
        let request = b"POST / HTTP/1.1\r\nhost: a\r\nCONTENT-length: 2\r\n\r\nhiPOST";
        let body_start = request.len() - 6;
        assert_eq!(
            parse(request),
            Parsed::Whole {
                body_start,
                end: body_start + 2
            }
        );
        assert_eq!(parse(&request[..request.len() - 5]), Parsed::Partial);
        assert_eq!(
            parse(b"POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n"),
            Parsed::Wrong
        );
    }

    #[test]
    fn the_responses_have_the_sizes_that_the_figures_are_for() {
        assert_eq!(json_response().len(), RESPONSE_BYTES);
        let events = stream_events();
        assert_eq!(events.len(), EVENTS);
        assert!(
            events[..EVENTS - 1]
                .iter()
                .all(|event| (140..=200).contains(&event.len()))
        );
        let sent = chunks(&events);
        let size_line = format!("{:x}\r\ndata: {{", events[0].len());
        assert!(sent[0].starts_with(size_line.as_bytes()) && sent[0].ends_with(b"}\n\n\r\n"));
        assert!(sent[EVENTS - 1].ends_with(b"[DONE]\n\n\r\n0\r\n\r\n"));
    }

    #[test]
    fn a_chunked_body_ends_with_its_last_chunk() {
        let request = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
        let whole = Parsed::Whole {
            body_start: 47,
            end: request.len(),
        };
        assert_eq!(parse(request), whole);
        assert_eq!(parse(&request[..request.len() - 1]), Parsed::Partial);
    }
}
