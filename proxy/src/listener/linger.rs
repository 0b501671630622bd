//! The end of a connection whose client may still be sending.
//!
//! Bytes that nobody has read when a socket is closed reset the connection, and the answer is lost with
//! it (RFC 9112, section 9.6). So the answer is followed by the end of weir's side, and what comes is
//! read and thrown away: as long as it comes at a fair rate, and not for ever.

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

/// How long a client may go on sending, all in all; nginx's `lingering_time`.
const TOTAL: Duration = Duration::from_secs(30);
/// How long it may be silent; nginx's `lingering_timeout`.
const SILENCE: Duration = Duration::from_secs(5);
/// What must come within [`SILENCE`]: 1 KiB/s.
const BYTES_MIN: u64 = 5 * 1024;
/// Where too many linger already, where a connection was refused, and when the proxy stops.
const SHORT: Duration = Duration::from_secs(2);
/// What is read at once, on the stack.
const READ_BYTES: usize = 16 * 1024;

/// When reading on ends. Pure: the time is passed in.
#[derive(Debug)]
struct Patience {
    end: Instant,
    window_end: Instant,
    window_bytes: u64,
}

impl Patience {
    fn new(now: Instant, total: Duration) -> Self {
        Patience {
            end: now + total,
            window_end: now + SILENCE,
            window_bytes: 0,
        }
    }

    /// Notes what has been read.
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

/// How long a connection may read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// While it is one of a few.
    Full,
    Short,
}

/// Ends a connection: says so, and reads on for a while.
pub(super) async fn linger(
    mut stream: ClientStream,
    length: Length,
    connections: &Arc<Connections>,
    stopping: &ShutdownWatch,
) {
    let ending = async {
        stream.flush().await?;
        AsyncWriteExt::shutdown(&mut stream).await
    };
    if !matches!(clock::timeout(SHORT, ending).await, Ok(Ok(()))) {
        return;
    }
    let place = match length {
        Length::Full => connections.linger(),
        Length::Short => None,
    };
    let total = match place {
        Some(_) => TOTAL,
        None => SHORT,
    };
    // What is said inside of TLS does not matter any more.
    read_on(stream.into_socket(), total, stopping.clone()).await;
}

async fn read_on(mut socket: TcpStream, total: Duration, stopping: ShutdownWatch) {
    let mut patience = Patience::new(clock::now(), total);
    let mut timer = clock::Patience::default();
    let mut stop = std::pin::pin!(head::stop(stopping));
    let mut is_stopping = false;
    poll_fn(|context| {
        if !is_stopping && stop.as_mut().poll(context).is_ready() {
            is_stopping = true;
            patience.shorten(clock::now());
        }
        loop {
            match read_some(&mut socket, context) {
                Poll::Ready(Ok(bytes)) if bytes > 0 => patience.note(bytes, clock::now()),
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return timer.poll_end(patience.until(), context),
            }
            if clock::now() >= patience.until() {
                return Poll::Ready(());
            }
            // A client that sends without pause must not keep the worker to itself.
            ready!(std::pin::pin!(tokio::task::consume_budget()).poll(context));
        }
    })
    .await;
}

fn read_some(
    socket: &mut TcpStream,
    context: &mut std::task::Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut room = [MaybeUninit::uninit(); READ_BYTES];
    let mut read = ReadBuf::uninit(&mut room);
    ready!(Pin::new(socket).poll_read(context, &mut read))?;
    Poll::Ready(Ok(read.filled().len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn who_sends_on_is_read_for_half_a_minute_and_who_drips_is_not() {
        let start = clock::now();
        let mut patience = Patience::new(start, TOTAL);
        for second in 1..40 {
            let now = start + SECOND * second;
            patience.note(64 * 1024, now);
            let is_over = patience.until() <= now;
            assert_eq!(is_over, second >= 30, "after {second} s");
        }
        let mut patience = Patience::new(start, TOTAL);
        for second in 1..5 {
            patience.note(1000, start + SECOND * second);
        }
        assert_eq!(patience.until(), start + SILENCE);
        // A slow network is no drip.
        patience.note(2000, start + SECOND * 4);
        assert_eq!(patience.until(), start + SECOND * 4 + SILENCE);
    }

    #[test]
    fn a_stop_makes_it_short() {
        let start = clock::now();
        let mut patience = Patience::new(start, TOTAL);
        patience.note(1 << 20, start + SECOND * 3);
        patience.shorten(start + SECOND * 3);
        assert_eq!(patience.until(), start + SECOND * 5);
    }
}
