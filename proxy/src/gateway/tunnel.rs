//! After a 101 Switching Protocols: copies bytes in both directions, of a protocol that weir does not speak,
//! until one side closes or both are silent for too long.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::answer::{Delivered, head};
use crate::backend::client::Answer;
use crate::clock;
use crate::exchange::Exchange;
use crate::http::session::Session;
use crate::refusal::ErrorCode;

/// How much is read at once, in each direction.
const READ_BYTES: usize = 8 * 1024;

/// When the client has said all, the backend gets this long to say the rest.
const AFTER_END: Duration = Duration::from_secs(30);

/// What has gone through, and when something went last: milliseconds since the beginning.
struct Traffic {
    begun: Instant,
    moved_ms: AtomicU64,
    to_backend_bytes: AtomicU64,
    to_client_bytes: AtomicU64,
}

/// Why a tunnel came to its end.
enum End {
    /// The backend has said all, or the client, and the backend after it.
    Closed,
    /// One side broke off.
    Broken,
    Silent,
}

impl Traffic {
    fn begin(now: Instant) -> Self {
        Traffic {
            begun: now,
            moved_ms: AtomicU64::new(0),
            to_backend_bytes: AtomicU64::new(0),
            to_client_bytes: AtomicU64::new(0),
        }
    }

    fn moved(&self, bytes: usize, counted: &AtomicU64, now: Instant) {
        counted.fetch_add(bytes as u64, Ordering::Relaxed);
        let since = now.saturating_duration_since(self.begun);
        let ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        self.moved_ms.store(ms, Ordering::Relaxed);
    }

    fn last_moved(&self) -> Instant {
        self.begun + Duration::from_millis(self.moved_ms.load(Ordering::Relaxed))
    }

    /// Ends when nothing has moved for `idle`.
    async fn silent(&self, idle: Duration) {
        loop {
            let until = self.last_moved() + idle;
            if until <= clock::now() {
                return;
            }
            tokio::time::sleep_until(until.into()).await;
        }
    }
}

/// Tells the client that protocols are switched, and carries what both sides say from then on.
pub(super) async fn run(
    session: &mut Session,
    exchange: &mut Exchange,
    response: &mut Answer,
    idle: Duration,
) -> Delivered {
    let head = head::of_upgrade(&response.head.headers, exchange);
    let Some(tunnel) = response.take_tunnel().await else {
        exchange.status = ErrorCode::UpstreamReset.status().as_u16();
        exchange.fail(ErrorCode::UpstreamReset);
        return Delivered::CutShort;
    };
    // What both sides say from here on is not weir's to judge.
    if let Some(attempt) = exchange.attempt() {
        attempt.fulfil();
    }
    exchange.status = head.status.as_u16();
    session.close_after_answer();
    if session.write_bare_head(head).await.is_err() {
        return Delivered::ClientLeft;
    }
    let Some((client, ahead)) = session.tunnel() else {
        return Delivered::CutShort;
    };
    let traffic = Traffic::begin(clock::now());
    let mut backend = tunnel.stream;
    let begun = clock::now();
    let end = carry(
        client,
        &mut backend,
        (&ahead, &tunnel.arrived),
        &traffic,
        idle,
    )
    .await;
    // None of it is weir's time.
    let took = clock::now().saturating_duration_since(begun);
    exchange.timing.waited_for_client(took);
    exchange.request_body_bytes += traffic.to_backend_bytes.into_inner();
    exchange.response_body_bytes += traffic.to_client_bytes.into_inner();
    match end {
        End::Closed => Delivered::Whole,
        End::Broken | End::Silent => Delivered::CutShort,
    }
}

/// Carries bytes both ways; `arrived` is what each side, the client first, has sent already.
async fn carry(
    client: &mut (impl AsyncRead + AsyncWrite + Unpin),
    backend: &mut (impl AsyncRead + AsyncWrite + Unpin),
    arrived: (&[u8], &[u8]),
    traffic: &Traffic,
    idle: Duration,
) -> End {
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_backend, mut to_backend) = tokio::io::split(backend);
    let up = &traffic.to_backend_bytes;
    let down = &traffic.to_client_bytes;
    let mut up = std::pin::pin!(copy(
        &mut from_client,
        &mut to_backend,
        arrived.0,
        traffic,
        up
    ));
    let mut down = std::pin::pin!(copy(
        &mut from_backend,
        &mut to_client,
        arrived.1,
        traffic,
        down
    ));
    let first = tokio::select! {
        ended = &mut down => ended.map(|()| Side::Backend),
        ended = &mut up => ended.map(|()| Side::Client),
        () = traffic.silent(idle) => return End::Silent,
    };
    match first {
        // Nobody is left to hear what the client still has to say.
        Ok(Side::Backend) => End::Closed,
        Ok(Side::Client) => tokio::select! {
            ended = down => match ended {
                Ok(()) => End::Closed,
                Err(_) => End::Broken,
            },
            () = traffic.silent(AFTER_END.min(idle)) => End::Closed,
        },
        Err(_) => End::Broken,
    }
}

/// Who has said all.
enum Side {
    Client,
    Backend,
}

/// Copies one direction to its end, and says so to the other side.
async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    arrived: &[u8],
    traffic: &Traffic,
    counted: &AtomicU64,
) -> std::io::Result<()> {
    if !arrived.is_empty() {
        to.write_all(arrived).await?;
        traffic.moved(arrived.len(), counted, clock::now());
    }
    to.flush().await?;
    let mut room = BytesMut::with_capacity(READ_BYTES);
    loop {
        room.clear();
        let bytes = from.read_buf(&mut room).await?;
        if bytes == 0 {
            return to.shutdown().await;
        }
        to.write_all(&room).await?;
        to.flush().await?;
        traffic.moved(bytes, counted, clock::now());
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    const IDLE: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn what_both_sides_say_arrives_and_an_end_is_passed_on() {
        let (mut client, mut near) = duplex(64);
        let (mut far, mut backend) = duplex(64);
        let carrying = tokio::spawn(async move {
            let traffic = Traffic::begin(clock::now());
            let end = carry(&mut near, &mut far, (b"he", b"w"), &traffic, IDLE).await;
            (matches!(end, End::Closed), traffic)
        });
        client.write_all(b"llo").await.expect("written");
        client.shutdown().await.expect("shut down");
        let mut said = String::new();
        backend.read_to_string(&mut said).await.expect("read");
        assert_eq!(said, "hello");
        backend.write_all(b"orld").await.expect("written");
        drop(backend);
        let mut said = String::new();
        client.read_to_string(&mut said).await.expect("read");
        assert_eq!(said, "world");
        let (closed, traffic) = carrying.await.expect("ended");
        assert!(closed);
        assert_eq!(traffic.to_backend_bytes.into_inner(), 5);
        assert_eq!(traffic.to_client_bytes.into_inner(), 5);
    }

    #[tokio::test]
    async fn silence_ends_it() {
        let (_client, mut near) = duplex(64);
        let (mut far, _backend) = duplex(64);
        let traffic = Traffic::begin(clock::now());
        let soon = Duration::from_millis(20);
        let end = carry(&mut near, &mut far, (b"", b""), &traffic, soon).await;
        assert!(matches!(end, End::Silent));
    }

    #[test]
    fn what_goes_either_way_breaks_the_silence() {
        let begun = clock::now();
        let traffic = Traffic::begin(begun);
        let directions = [&traffic.to_backend_bytes, &traffic.to_client_bytes];
        for (second, direction) in (1..9).zip(directions.into_iter().cycle()) {
            let now = begun + Duration::from_secs(second);
            traffic.moved(1, direction, now);
            assert_eq!(traffic.last_moved(), now);
        }
    }
}
