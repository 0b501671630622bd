//! Reads the head of an HTTP/1 request: bounded in bytes, and in time as a whole.
//!
//! The head is gathered whole before it is parsed; what it says is `http1/request.rs`'s.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Instant;

use bytes::{Buf, BytesMut};
use pingora::protocols::Stream;
use pingora::server::ShutdownWatch;
use tokio::io::AsyncReadExt;

use crate::clock::{self, Patience};
use crate::config::Limits;

/// What a client with prior knowledge of HTTP/2 sends first (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const READ_BYTES: usize = 4096;

/// What became of reading a head.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// The head ends before this place; what follows is body, or the next request.
    Complete(usize),
    /// The connection begins with the preface of HTTP/2.
    Http2,
    /// The client left, or had nothing to say in time, or the proxy is stopping.
    Closed,
    Flawed(Flaw),
}

/// Why there is no head.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    TimedOut,
    TooLarge,
    Malformed(&'static str),
}

/// Which protocols a connection may still turn out to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expect {
    Http1OrPreface,
    Http1,
}

/// Reads one head into `bytes`, which holds what was read behind the previous request. A connection
/// between two requests ends with `stopping`.
pub(super) async fn read(
    stream: &mut Stream,
    bytes: &mut BytesMut,
    expect: Expect,
    limits: &Limits,
    patience: &mut Patience,
    mut stopping: Pin<&mut impl Future<Output = ()>>,
) -> Head {
    let mut scanned = 0;
    let mut deadline = None;
    loop {
        // RFC 9112, section 2.2: empty lines before a request line are ignored.
        while bytes.starts_with(b"\r\n") {
            bytes.advance(2);
            scanned = 0;
        }
        if expect == Expect::Http1OrPreface && begins_alike(bytes) {
            if bytes.len() >= PREFACE.len() {
                return Head::Http2;
            }
        } else {
            match scan(bytes, scanned) {
                Scan::End(end) => return judge(&bytes[..end], limits),
                Scan::Flaw(flaw) => return Head::Flawed(Flaw::Malformed(flaw)),
                Scan::More => {}
            }
        }
        if bytes.len() > limits.header_bytes {
            return Head::Flawed(Flaw::TooLarge);
        }
        scanned = bytes.len();
        let until = match bytes.is_empty() {
            true => clock::now() + limits.idle_timeout,
            false => *deadline.get_or_insert_with(|| clock::now() + limits.header_timeout),
        };
        match more(stream, bytes, until, patience, stopping.as_mut()).await {
            More::Bytes => {}
            More::TimedOut if !bytes.is_empty() => return Head::Flawed(Flaw::TimedOut),
            More::TimedOut | More::Stopping => return Head::Closed,
            More::Closed if bytes.is_empty() => return Head::Closed,
            More::Closed => return Head::Flawed(Flaw::Malformed("the head ends in its middle")),
        }
    }
}

enum More {
    Bytes,
    TimedOut,
    Closed,
    Stopping,
}

async fn more(
    stream: &mut Stream,
    bytes: &mut BytesMut,
    until: Instant,
    patience: &mut Patience,
    stopping: Pin<&mut impl Future<Output = ()>>,
) -> More {
    let idle = bytes.is_empty();
    bytes.reserve(READ_BYTES);
    tokio::select! {
        biased;
        read = stream.read_buf(bytes) => match read {
            Ok(0) | Err(_) => More::Closed,
            Ok(_) => More::Bytes,
        },
        // A connection between two requests is closed when the proxy stops; one that has begun a
        // request may finish it.
        () = stopping, if idle => More::Stopping,
        () = poll_fn(|context| patience.poll_end(until, context)) => More::TimedOut,
    }
}

/// Ends when the proxy stops.
pub(super) async fn stop(mut stopping: ShutdownWatch) {
    if stopping.wait_for(|stop| *stop).await.is_err() {
        // The sender is gone with the process's own stop; the reads' deadline remains.
        std::future::pending::<()>().await;
    }
}

fn begins_alike(bytes: &[u8]) -> bool {
    let length = bytes.len().min(PREFACE.len());
    length > 0 && bytes[..length] == PREFACE[..length]
}

const BARE_LINE_END: &str = "lines of the head end with CR LF";
const FOLDED: &str = "a header line must not be folded over several lines";

/// What the lines of a head are like, as far as they have come.
enum Scan {
    /// The head is whole, and ends before this place.
    End(usize),
    Flaw(&'static str),
    More,
}

/// Looks over the lines, from shortly before what is new. A line that ends with LF alone is refused,
/// and so is a folded one (RFC 9112, section 5.2): whoever stands before or behind may see other lines
/// than weir.
fn scan(bytes: &[u8], scanned: usize) -> Scan {
    let from = scanned.saturating_sub(1);
    for at in memchr::memchr_iter(b'\n', &bytes[from..]) {
        let at = from + at;
        if at == 0 || bytes[at - 1] != b'\r' {
            return Scan::Flaw(BARE_LINE_END);
        }
        if bytes[..at - 1].ends_with(b"\r\n") {
            return Scan::End(at + 1);
        }
        if matches!(bytes.get(at + 1), Some(b' ' | b'\t')) {
            return Scan::Flaw(FOLDED);
        }
    }
    Scan::More
}

/// A copy of the request line, of as much of it as an event has room for.
pub(super) fn first_line(head: &[u8]) -> Box<[u8]> {
    const BYTES_MAX: usize = 2048;
    let end = memchr::memchr(b'\r', head).unwrap_or(head.len());
    head[..end.min(BYTES_MAX)].into()
}

/// Method, target and version with one space between (RFC 9112, section 3). Who
/// reads a target with a space in it, and who mends it, disagree on the target.
fn flaw_of_request_line(head: &[u8]) -> Option<&'static str> {
    let end = memchr::memchr(b'\r', head).unwrap_or(head.len());
    let spaces = memchr::memchr_iter(b' ', &head[..end]).count();
    (spaces != 2).then_some("the first line is METHOD SP TARGET SP VERSION")
}

fn judge(head: &[u8], limits: &Limits) -> Head {
    if head.len() > limits.header_bytes {
        return Head::Flawed(Flaw::TooLarge);
    }
    match flaw_of_request_line(head) {
        Some(flaw) => Head::Flawed(Flaw::Malformed(flaw)),
        None => Head::Complete(head.len()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Longer than any machine takes.
    const LONG: Duration = Duration::from_secs(60);

    fn limits(timeout: Duration) -> Limits {
        Limits {
            header_bytes: 200,
            header_timeout: timeout,
            buffered_bytes: 0,
            connections: 1,
            idle_timeout: timeout,
        }
    }

    async fn read_pieces(
        pieces: Vec<Vec<u8>>,
        expect: Expect,
        keep_open: bool,
    ) -> (Head, BytesMut) {
        read_within(LONG, pieces, expect, keep_open).await
    }

    async fn read_within(
        timeout: Duration,
        pieces: Vec<Vec<u8>>,
        expect: Expect,
        keep_open: bool,
    ) -> (Head, BytesMut) {
        let (client, server) = tokio::io::duplex(64);
        let (_stop, stopping) = tokio::sync::watch::channel(false);
        let stopping = std::pin::pin!(stop(stopping));
        let sender = tokio::spawn(async move {
            let mut client = client;
            for piece in pieces {
                if tokio::io::AsyncWriteExt::write_all(&mut client, &piece)
                    .await
                    .is_err()
                {
                    break;
                }
                tokio::task::yield_now().await;
            }
            if keep_open {
                std::future::pending::<()>().await;
            }
        });
        let mut stream: Stream = Box::new(server);
        let mut bytes = BytesMut::new();
        let mut patience = Patience::default();
        let limits = limits(timeout);
        let head = read(
            &mut stream,
            &mut bytes,
            expect,
            &limits,
            &mut patience,
            stopping,
        )
        .await;
        sender.abort();
        (head, bytes)
    }

    #[tokio::test]
    async fn a_head_is_found_however_it_is_split() {
        let text = b"\r\nPOST /x HTTP/1.1\r\nHost: a\r\n\r\nbody";
        for split in 1..text.len() {
            let pieces = vec![text[..split].to_vec(), text[split..].to_vec()];
            let (head, bytes) = read_pieces(pieces, Expect::Http1OrPreface, true).await;
            let Head::Complete(end) = head else {
                panic!("split at {split}: {head:?}");
            };
            assert_eq!(&bytes[..end], b"POST /x HTTP/1.1\r\nHost: a\r\n\r\n");
        }
    }

    #[tokio::test]
    async fn the_preface_is_http2_only_where_it_may_be() {
        let preface = vec![PREFACE.to_vec()];
        let (head, bytes) = read_pieces(preface.clone(), Expect::Http1OrPreface, true).await;
        assert_eq!((head, &bytes[..]), (Head::Http2, PREFACE));
        let (head, _) = read_pieces(preface, Expect::Http1, true).await;
        assert!(matches!(head, Head::Complete(_)));
    }

    #[tokio::test]
    async fn a_dripping_or_large_or_sloppy_head_is_refused() {
        let read = |piece: &[u8], keep_open| {
            let pieces = vec![piece.to_vec()];
            async move { read_pieces(pieces, Expect::Http1, keep_open).await.0 }
        };
        let soon = Duration::from_millis(200);
        let slow = vec![b"GET / HT".to_vec()];
        let (slow, _) = read_within(soon, slow, Expect::Http1, true).await;
        assert_eq!(slow, Head::Flawed(Flaw::TimedOut));
        let large = read(&[b'a'; 400], true).await;
        assert_eq!(large, Head::Flawed(Flaw::TooLarge));
        let malformed = |head| matches!(head, Head::Flawed(Flaw::Malformed(_)));
        assert!(malformed(read(b"GET / HTTP/1.1\r\nHos", false).await));
        assert!(malformed(read(b"GET / HTTP/1.1\nHost: a\n\n", true).await));
        let folded = b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n";
        assert!(malformed(read(folded, true).await));
        let (silent, _) = read_within(soon, vec![], Expect::Http1, true).await;
        assert_eq!(silent, Head::Closed);
    }
}
