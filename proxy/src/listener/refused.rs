//! What a request whose head did not come whole is told, and how its connection ends.

use std::time::Duration;

use bytes::BytesMut;
use pingora::protocols::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::head::Flaw;
use crate::config::Limits;
use crate::refusal::{ErrorCode, Refusal};

/// How long weir goes on reading what a client sends after it was refused, so that the refusal is
/// not lost to a reset (RFC 9112, section 9.6).
pub(crate) const LINGER: Duration = Duration::from_secs(2);
pub(crate) const LINGER_BYTES: usize = 1 << 20;

pub(super) fn refusal_of(flaw: &Flaw, limits: &Limits) -> Refusal {
    match flaw {
        Flaw::TimedOut => {
            let detail = format!(
                "the whole head must arrive within {} ms",
                limits.header_timeout.as_millis()
            );
            Refusal::new(ErrorCode::HeaderTimeout, detail)
        }
        Flaw::TooLarge => {
            let detail = format!("a head may have {} bytes", limits.header_bytes);
            Refusal::new(ErrorCode::HeaderTooLarge, detail)
        }
        Flaw::Malformed(what) => Refusal::new(ErrorCode::BadRequest, *what),
    }
}

/// Ends a connection whose client may still be sending: says so, and reads on for a while.
pub(super) async fn linger(mut stream: Stream) {
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
