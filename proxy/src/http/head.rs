//! Reads the head of an HTTP/1 request, bounded in size and in total time.
//!
//! One deadline applies to the whole head, so that a slow sender cannot hold a connection (slowloris). The head is
//! collected before `http1/request.rs` parses it.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use pingora::server::ShutdownWatch;
use tokio::io::{AsyncRead, ReadBuf};

use crate::clock::{self, DeadlineTimer};
use crate::handover_flag::HandoverFlag;
use crate::http::Limits;

/// What a client with prior knowledge of HTTP/2 sends first (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How much is read at once, on the stack: a waiting connection holds no buffer.
const READ_BYTES: usize = 4096;
/// How many empty lines may precede a request line: some clients end a body with one.
const EMPTY_LINES_MAX: u32 = 8;

/// A connection used within this time before a drain is kept open for one more request: its client may have
/// sent it already.
const USED_LATELY: Duration = Duration::from_secs(1);
/// How long it is kept open.
const ONE_MORE: Duration = Duration::from_secs(5);

/// The outcome of reading a head.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeadOutcome {
    /// The head ends before this offset; the body or the next request follows.
    Complete(usize),
    /// The connection begins with the preface of HTTP/2.
    Http2,
    /// The client disconnected or sent nothing in time, or the proxy is draining.
    Closed,
    Invalid(HeadError),
}

/// Why a head is rejected.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeadError {
    TimedOut,
    TooLarge,
    Malformed(&'static str),
}

/// Which protocols are still possible on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    Http1OrPreface,
    Http1,
}

/// When an idle connection is closed during a drain.
pub(crate) struct IdleDrain<'a, F> {
    /// Resolves when the drain begins.
    shutdown_begun: Pin<&'a mut F>,
    /// When the connection is closed, once the drain has begun.
    over: Option<Instant>,
    last_use: LastUse,
    one_more: Duration,
    handed_over: &'a HandoverFlag,
}

/// The last use of a connection, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LastUse {
    Opened(Instant),
    Responded(Instant),
}

impl LastUse {
    fn at(self) -> Instant {
        match self {
            LastUse::Opened(at) | LastUse::Responded(at) => at,
        }
    }

    /// Until when it is kept open when the drain begins now: a client that was active a moment ago may be about
    /// to send a request, which gets a response with `Connection: close`.
    fn kept_until(self, now: Instant, one_more: Duration) -> Instant {
        match self {
            LastUse::Opened(at) => now.max(at + USED_LATELY).min(now + one_more),
            LastUse::Responded(at) if now.saturating_duration_since(at) < USED_LATELY => {
                now + one_more
            }
            LastUse::Responded(_) => now,
        }
    }
}

impl<'a, F: Future<Output = ()>> IdleDrain<'a, F> {
    /// A connection that was opened now. Half of the time that a drain may take is reserved for requests that
    /// arrive at the last moment.
    pub(crate) fn new(
        shutdown_begun: Pin<&'a mut F>,
        (drain, handed_over): (Duration, &'a HandoverFlag),
        now: Instant,
    ) -> Self {
        IdleDrain {
            shutdown_begun,
            over: None,
            last_use: LastUse::Opened(now),
            one_more: ONE_MORE.min(drain / 2),
            handed_over,
        }
    }

    /// Notes that a response has been sent.
    pub(crate) fn responded(&mut self, now: Instant) {
        self.last_use = LastUse::Responded(now);
    }

    /// When the connection is closed; `None` while the proxy runs.
    fn poll_over(&mut self, context: &mut Context<'_>) -> Option<Instant> {
        if self.over.is_none() && self.shutdown_begun.as_mut().poll(context).is_ready() {
            let now = clock::now();
            self.over = Some(match self.handed_over.is_set() {
                // Nobody waits for the end of this process: every client may send one more request.
                true => now + self.one_more,
                false => self.last_use.kept_until(now, self.one_more),
            });
        }
        self.over
    }
}

/// Reads one head into `bytes`, which contains what was read after the previous request. The first byte must arrive
/// within `idle_timeout` of the last response, and the whole head within `header_timeout` of that byte; empty lines
/// before the head count as its first bytes. During a drain, `idle_drain` decides when a connection between two
/// requests ends.
pub(crate) async fn read<F: Future<Output = ()>>(
    stream: &mut (impl AsyncRead + Unpin),
    bytes: &mut BytesMut,
    expect: Expect,
    limits: &Limits,
    timer: &mut DeadlineTimer,
    idle_drain: &mut IdleDrain<'_, F>,
) -> HeadOutcome {
    let mut scanned = 0;
    let mut empty_lines = 0;
    let idle_until = idle_drain.last_use.at() + limits.idle_timeout;
    let mut whole_by = None;
    loop {
        // RFC 9112, section 2.2: empty lines before a request line are ignored.
        while bytes.starts_with(b"\r\n") {
            bytes.advance(2);
            scanned = 0;
            empty_lines += 1;
        }
        if empty_lines > EMPTY_LINES_MAX {
            return HeadOutcome::Invalid(HeadError::Malformed(
                "too many empty lines before a request",
            ));
        }
        if expect == Expect::Http1OrPreface && is_preface_so_far(bytes) {
            if bytes.len() >= PREFACE.len() {
                return HeadOutcome::Http2;
            }
        } else {
            match scan(bytes, scanned) {
                Scan::End(end) => return check(&bytes[..end], limits),
                Scan::Malformed(error) => return HeadOutcome::Invalid(HeadError::Malformed(error)),
                Scan::More => {}
            }
        }
        if bytes.len() > limits.header_bytes {
            return HeadOutcome::Invalid(HeadError::TooLarge);
        }
        scanned = bytes.len();
        let until = match bytes.is_empty() && empty_lines == 0 {
            true => idle_until,
            false => {
                let by = whole_by.get_or_insert_with(|| clock::now() + limits.header_timeout);
                match bytes.is_empty() {
                    true => idle_until.min(*by),
                    false => *by,
                }
            }
        };
        match more(stream, bytes, until, timer, idle_drain).await {
            More::Bytes => {}
            More::TimedOut if !bytes.is_empty() => {
                return HeadOutcome::Invalid(HeadError::TimedOut);
            }
            More::TimedOut => return HeadOutcome::Closed,
            More::Closed if bytes.is_empty() => return HeadOutcome::Closed,
            More::Closed => {
                return HeadOutcome::Invalid(HeadError::Malformed("the head is incomplete"));
            }
        }
    }
}

enum More {
    Bytes,
    TimedOut,
    Closed,
}

async fn more<F: Future<Output = ()>>(
    stream: &mut (impl AsyncRead + Unpin),
    bytes: &mut BytesMut,
    until: Instant,
    timer: &mut DeadlineTimer,
    idle_drain: &mut IdleDrain<'_, F>,
) -> More {
    poll_fn(|context| {
        match poll_read(stream, bytes, context) {
            Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(More::Closed),
            Poll::Ready(Ok(_)) => return Poll::Ready(More::Bytes),
            Poll::Pending => {}
        }
        // A client that has begun a request may finish it.
        let over = match bytes.is_empty() {
            true => idle_drain.poll_over(context),
            false => None,
        };
        let until = over.map_or(until, |over| over.min(until));
        timer.poll_end(until, context).map(|()| More::TimedOut)
    })
    .await
}

/// Reads what has arrived. No buffer is allocated before that.
pub(crate) fn poll_read(
    stream: &mut (impl AsyncRead + Unpin),
    bytes: &mut BytesMut,
    context: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut buffer = [MaybeUninit::uninit(); READ_BYTES];
    let mut read = ReadBuf::uninit(&mut buffer);
    ready!(Pin::new(stream).poll_read(context, &mut read))?;
    bytes.extend_from_slice(read.filled());
    Poll::Ready(Ok(read.filled().len()))
}

/// Resolves when the proxy begins to stop.
pub(crate) async fn shutdown_begun(mut shutdown: ShutdownWatch) {
    if shutdown.wait_for(|begun| *begun).await.is_err() {
        // The sender is dropped when the process ends; the deadline of the read still applies.
        std::future::pending::<()>().await;
    }
}

fn is_preface_so_far(bytes: &[u8]) -> bool {
    let length = bytes.len().min(PREFACE.len());
    length > 0 && bytes[..length] == PREFACE[..length]
}

const BARE_LINE_END: &str = "a line of the head does not end with CR LF";
const FOLDED: &str = "a header must not be folded over several lines";

/// The state of the lines of a head that have arrived so far.
enum Scan {
    /// The head is complete, and ends before this offset.
    End(usize),
    Malformed(&'static str),
    More,
}

/// Scans the lines from the byte before the new ones. A line that ends with a bare LF is rejected,
/// and so is a folded one (RFC 9112, section 5.2): an intermediary or the backend may see other lines
/// than weir (request smuggling).
fn scan(bytes: &[u8], scanned: usize) -> Scan {
    let from = scanned.saturating_sub(1);
    for at in memchr::memchr_iter(b'\n', &bytes[from..]) {
        let at = from + at;
        if at == 0 || bytes[at - 1] != b'\r' {
            return Scan::Malformed(BARE_LINE_END);
        }
        if bytes[..at - 1].ends_with(b"\r\n") {
            return Scan::End(at + 1);
        }
        if matches!(bytes.get(at + 1), Some(b' ' | b'\t')) {
            return Scan::Malformed(FOLDED);
        }
    }
    Scan::More
}

/// A copy of the request line, as far as it fits into an event.
pub(crate) fn first_line(head: &[u8]) -> Box<[u8]> {
    const BYTES_MAX: usize = 2048;
    let end = memchr::memchr(b'\r', head).unwrap_or(head.len());
    head[..end.min(BYTES_MAX)].into()
}

/// Method, target and version are separated by single spaces (RFC 9112, section 3). Parsers
/// that accept a space in a target, and those that repair it, disagree on the target.
fn flaw_of_request_line(head: &[u8]) -> Option<&'static str> {
    let end = memchr::memchr(b'\r', head).unwrap_or(head.len());
    let spaces = memchr::memchr_iter(b' ', &head[..end]).count();
    (spaces != 2).then_some("the request line is not METHOD SP TARGET SP VERSION")
}

fn check(head: &[u8], limits: &Limits) -> HeadOutcome {
    if head.len() > limits.header_bytes {
        return HeadOutcome::Invalid(HeadError::TooLarge);
    }
    match flaw_of_request_line(head) {
        Some(error) => HeadOutcome::Invalid(HeadError::Malformed(error)),
        None => HeadOutcome::Complete(head.len()),
    }
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
