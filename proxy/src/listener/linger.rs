//! Lingering close: ends a connection whose client may still be sending.
//!
//! Closing a socket with unread bytes resets the connection, and the response is lost with it (RFC 9112,
//! section 9.6). So weir shuts down its own side after the response, and reads and discards what still
//! arrives, as long as it arrives at a minimum rate and within a total time.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use pingora::server::ShutdownWatch;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use crate::clock;
use crate::http::connections::Connections;
use crate::http::head;
use crate::http::socket::ClientStream;

/// How long a client may continue sending in all; nginx's `lingering_time`.
const TOTAL: Duration = Duration::from_secs(30);
/// How long a client may be silent; nginx's `lingering_timeout`.
const SILENCE: Duration = Duration::from_secs(5);
/// What must arrive within [`SILENCE`]: 1 KiB/s.
const BYTES_MIN: u64 = 5 * 1024;
/// The total time if too many connections linger already, after a rejected connection, and during a drain.
const SHORT: Duration = Duration::from_secs(2);
/// How much is read at once, on the stack.
const READ_BYTES: usize = 16 * 1024;

/// When lingering ends. Pure: the time is passed in.
#[derive(Debug)]
struct LingerTimer {
    end: Instant,
    window_end: Instant,
    window_bytes: u64,
}

impl LingerTimer {
    fn new(now: Instant, total: Duration) -> Self {
        LingerTimer {
            end: now + total,
            window_end: now + SILENCE,
            window_bytes: 0,
        }
    }

    /// Counts bytes that were read.
    fn note(&mut self, bytes: usize, now: Instant) {
        self.window_bytes += bytes as u64;
        if self.window_bytes >= BYTES_MIN {
            self.window_end = now + SILENCE;
            self.window_bytes = 0;
        }
    }

    fn until(&self) -> Instant {
        self.end.min(self.window_end)
    }

    fn shorten(&mut self, now: Instant) {
        self.end = self.end.min(now + SHORT);
    }
}

/// How long a connection may linger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LingerTime {
    /// The full time, unless too many others linger.
    Full,
    Short,
}

/// Shuts down the sending side and lingers.
pub(super) async fn linger(
    mut stream: ClientStream,
    time: LingerTime,
    connections: &Arc<Connections>,
    shutdown: &ShutdownWatch,
) {
    let ending = async {
        stream.flush().await?;
        AsyncWriteExt::shutdown(&mut stream).await
    };
    if !matches!(clock::timeout(SHORT, ending).await, Ok(Ok(()))) {
        return;
    }
    let slot = match time {
        LingerTime::Full => connections.linger(),
        LingerTime::Short => None,
    };
    let total = match slot {
        Some(_) => TOTAL,
        None => SHORT,
    };
    // The contents of TLS records no longer matter.
    read_on(stream.into_socket(), total, shutdown.clone()).await;
}

async fn read_on(mut socket: TcpStream, total: Duration, shutdown: ShutdownWatch) {
    let mut linger = LingerTimer::new(clock::now(), total);
    let mut timer = clock::DeadlineTimer::default();
    let mut shutdown_begun = std::pin::pin!(head::shutdown_begun(shutdown));
    let mut has_begun = false;
    poll_fn(|context| {
        if !has_begun && shutdown_begun.as_mut().poll(context).is_ready() {
            has_begun = true;
            linger.shorten(clock::now());
        }
        loop {
            match read_some(&mut socket, context) {
                Poll::Ready(Ok(bytes)) if bytes > 0 => linger.note(bytes, clock::now()),
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return timer.poll_end(linger.until(), context),
            }
            if clock::now() >= linger.until() {
                return Poll::Ready(());
            }
            // A client that sends without pause must not monopolise the worker.
            ready!(std::pin::pin!(tokio::task::consume_budget()).poll(context));
        }
    })
    .await;
}

fn read_some(
    socket: &mut TcpStream,
    context: &mut std::task::Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut capacity = [MaybeUninit::uninit(); READ_BYTES];
    let mut read = ReadBuf::uninit(&mut capacity);
    ready!(Pin::new(socket).poll_read(context, &mut read))?;
    Poll::Ready(Ok(read.filled().len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_steady_sender_lingers_for_the_total_time_and_a_slow_one_does_not() {
        let start = clock::now();
        let mut linger = LingerTimer::new(start, TOTAL);
        for second in 1..40 {
            let now = start + SECOND * second;
            linger.note(64 * 1024, now);
            let is_over = linger.until() <= now;
            assert_eq!(is_over, second >= 30, "after {second} s");
        }
        let mut linger = LingerTimer::new(start, TOTAL);
        for second in 1..5 {
            linger.note(1000, start + SECOND * second);
        }
        assert_eq!(linger.until(), start + SILENCE);
        // A slow network that reaches the minimum rate is not an attack.
        linger.note(2000, start + SECOND * 4);
        assert_eq!(linger.until(), start + SECOND * 4 + SILENCE);
    }

    #[test]
    fn a_drain_shortens_lingering() {
        let start = clock::now();
        let mut linger = LingerTimer::new(start, TOTAL);
        linger.note(1 << 20, start + SECOND * 3);
        linger.shorten(start + SECOND * 3);
        assert_eq!(linger.until(), start + SECOND * 5);
    }
}
