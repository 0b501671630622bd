//! A backend for load tests: it answers each request in one packet and records nothing.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Backend, BackendResponse};

impl Backend {
    /// Answers every request with [`WHOLE_RESPONSE`], or with a short chat stream if the request is for one. Since it
    /// is written at once, no failure of the network can cut a response in two. Requests have no body or a
    /// `Content-Length`.
    pub async fn whole_responses() -> Self {
        let stream = BackendResponse::chat_stream(&["well ", "then"]);
        let stream = stream.with_length().bytes_at_once();
        Self::raw(move |connection| serve(connection, stream.clone())).await
    }
}

/// The body of a whole response.
pub const WHOLE_RESPONSE: &str = "{\"choices\":[ ]}";

async fn serve(mut connection: TcpStream, event_stream: Vec<u8>) {
    let length = WHOLE_RESPONSE.len();
    let json = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{WHOLE_RESPONSE}"
    );
    let mut received = Vec::with_capacity(4096);
    loop {
        let Some(request) = request_bytes(&received) else {
            let read = connection.read_buf(&mut received).await;
            if !read.is_ok_and(|read| read > 0) {
                return;
            }
            continue;
        };
        let is_stream = contains(&received[..request], b"\"stream\":true");
        received.drain(..request);
        let response = match is_stream {
            true => &event_stream[..],
            false => json.as_bytes(),
        };
        if connection.write_all(response).await.is_err() {
            return;
        }
    }
}

/// The length of the first request, if it has arrived.
fn request_bytes(received: &[u8]) -> Option<usize> {
    let head = received.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&received[..head]).to_ascii_lowercase();
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .map_or(0, |length| length.trim().parse().expect("a length"));
    let whole = head + length;
    (received.len() >= whole).then_some(whole)
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
