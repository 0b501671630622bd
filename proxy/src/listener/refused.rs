//! What a request whose head did not come whole is told, and how its connection ends.

use std::time::Duration;

use bytes::BytesMut;
use pingora::protocols::http::ServerSession;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::head::Head;
use crate::config::Limits;
use crate::refusal::{ErrorCode, Refusal};

/// How long weir goes on reading what a client sends after it was refused, so that the refusal is
/// not lost to a reset (RFC 9112, section 9.6).
pub(crate) const LINGER: Duration = Duration::from_secs(2);
pub(crate) const LINGER_BYTES: usize = 1 << 20;

pub(super) fn refusal_of(head: Head, limits: &Limits) -> (BytesMut, Refusal) {
    match head {
        Head::TimedOut(bytes) => {
            let detail = format!(
                "the whole head must arrive within {} ms",
                limits.header_timeout.as_millis()
            );
            (bytes, Refusal::new(ErrorCode::HeaderTimeout, detail))
        }
        Head::TooLarge(bytes) => {
            let detail = format!("a head may have {} bytes", limits.header_bytes);
            (bytes, Refusal::new(ErrorCode::HeaderTooLarge, detail))
        }
        Head::Malformed(bytes, what) => (bytes, Refusal::new(ErrorCode::BadRequest, what)),
        Head::Complete { bytes, .. } | Head::Http2(bytes) => (
            bytes,
            Refusal::new(ErrorCode::BadRequest, "unexpected head"),
        ),
        Head::Closed => (BytesMut::new(), Refusal::new(ErrorCode::ClientClosed, "")),
    }
}

/// pingora's parser takes at most 256 header lines.
pub(super) fn refusal_of_parser(error: &pingora::Error) -> Refusal {
    let cause = error
        .cause
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    if cause.contains("too many headers") {
        Refusal::new(ErrorCode::HeaderTooLarge, "a head may have 256 lines")
    } else {
        Refusal::new(ErrorCode::BadRequest, "the head is not valid HTTP/1.1")
    }
}

/// Ends a connection whose client may still be sending: says so, and reads on for a while.
pub(super) async fn linger(session: ServerSession) {
    let ServerSession::H1(http1) = session else {
        return;
    };
    let mut stream = http1.into_inner();
    let drain = async {
        stream.flush().await?;
        AsyncWriteExt::shutdown(&mut stream).await?;
        let mut sink = BytesMut::with_capacity(16 * 1024);
        let mut read = 0;
        while read < LINGER_BYTES {
            sink.clear();
            match stream.read_buf(&mut sink).await? {
                0 => break,
                bytes => read += bytes,
            }
        }
        Ok::<(), std::io::Error>(())
    };
    // Whatever comes of it, the connection is closed afterwards.
    let _ = pingora::time::timeout(LINGER, drain).await;
}
