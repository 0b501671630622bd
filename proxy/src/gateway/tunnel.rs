//! A tunnel after 101 Switching Protocols: copies bytes of a protocol that weir does not speak in both directions,
//! until one side closes or both are silent for too long.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::answer::{ResponseOutcome, head};
use crate::backend::response::UpstreamResponse;
use crate::clock;
use crate::exchange::Exchange;
use crate::http::session::Session;
use crate::refusal::ErrorCode;

/// How much is read at once, in each direction.
const READ_BYTES: usize = 8 * 1024;

/// How long the backend may still send once the client has closed its side.
const AFTER_CLIENT_CLOSED: Duration = Duration::from_secs(30);

/// How many bytes have been copied, and when the last ones were, in milliseconds since the beginning.
struct Traffic {
    begun: Instant,
    moved_ms: AtomicU64,
    to_backend_bytes: AtomicU64,
    to_client_bytes: AtomicU64,
}

/// Why a tunnel ended.
enum TunnelEnd {
    /// The backend closed, or the client and the backend after it.
    Closed,
    /// The connection of one side broke.
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

    /// Resolves when nothing has been copied for `idle`.
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

/// Forwards the 101 to the client, and copies bytes between both sides from then on.
pub(super) async fn run(
    session: &mut Session,
    exchange: &mut Exchange,
    response: &mut UpstreamResponse,
    idle: Duration,
) -> ResponseOutcome {
    let head = head::of_upgrade(&response.head.headers, exchange);
    let Some(tunnel) = response.take_tunnel().await else {
        exchange.status = ErrorCode::UpstreamReset.status().as_u16();
        exchange.fail(ErrorCode::UpstreamReset);
        return ResponseOutcome::CutShort;
    };
    // The attempt has succeeded, whatever both sides send from here on.
    if let Some(attempt) = exchange.attempt() {
        attempt.mark_ok();
    }
    exchange.status = head.status.as_u16();
    session.close_after_response();
    if session.write_bare_head(head).await.is_err() {
        return ResponseOutcome::ClientLeft;
    }
    let Some((client, ahead)) = session.tunnel() else {
        return ResponseOutcome::CutShort;
    };
    let traffic = Traffic::begin(clock::now());
    let mut backend = tunnel.stream;
    let begun = clock::now();
    let end = copy_both_ways(
        client,
        &mut backend,
        (&ahead, &tunnel.arrived),
        &traffic,
        idle,
    )
    .await;
    // None of this is weir's own time.
    let took = clock::now().saturating_duration_since(begun);
    exchange.timing.add_client_wait(took);
    exchange.request_body_bytes += traffic.to_backend_bytes.into_inner();
    exchange.response_body_bytes += traffic.to_client_bytes.into_inner();
    match end {
        TunnelEnd::Closed => ResponseOutcome::Whole,
        TunnelEnd::Broken | TunnelEnd::Silent => ResponseOutcome::CutShort,
    }
}

/// Copies bytes in both directions; `arrived` is what the client and the backend have sent already.
async fn copy_both_ways(
    client: &mut (impl AsyncRead + AsyncWrite + Unpin),
    backend: &mut (impl AsyncRead + AsyncWrite + Unpin),
    arrived: (&[u8], &[u8]),
    traffic: &Traffic,
    idle: Duration,
) -> TunnelEnd {
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
        ended = &mut down => ended.map(|()| ClosedBy::Backend),
        ended = &mut up => ended.map(|()| ClosedBy::Client),
        () = traffic.silent(idle) => return TunnelEnd::Silent,
    };
    match first {
        // Nobody would read what the client still sends.
        Ok(ClosedBy::Backend) => TunnelEnd::Closed,
        Ok(ClosedBy::Client) => tokio::select! {
            ended = down => match ended {
                Ok(()) => TunnelEnd::Closed,
                Err(_) => TunnelEnd::Broken,
            },
            () = traffic.silent(AFTER_CLIENT_CLOSED.min(idle)) => TunnelEnd::Closed,
        },
        Err(_) => TunnelEnd::Broken,
    }
}

/// The side that closed.
enum ClosedBy {
    Client,
    Backend,
}

/// Copies one direction to its end, and then closes it towards the other side.
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
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    loop {
        buffer.clear();
        let bytes = from.read_buf(&mut buffer).await?;
        if bytes == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer).await?;
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
    async fn both_directions_are_copied_and_a_close_is_forwarded() {
        let (mut client, mut near) = duplex(64);
        let (mut far, mut backend) = duplex(64);
        let tunnel = tokio::spawn(async move {
            let traffic = Traffic::begin(clock::now());
            let end = copy_both_ways(&mut near, &mut far, (b"he", b"w"), &traffic, IDLE).await;
            (matches!(end, TunnelEnd::Closed), traffic)
        });
        client.write_all(b"llo").await.expect("written");
        client.shutdown().await.expect("shut down");
        let mut received = String::new();
        backend.read_to_string(&mut received).await.expect("read");
        assert_eq!(received, "hello");
        backend.write_all(b"orld").await.expect("written");
        drop(backend);
        let mut received = String::new();
        client.read_to_string(&mut received).await.expect("read");
        assert_eq!(received, "world");
        let (closed, traffic) = tunnel.await.expect("ended");
        assert!(closed);
        assert_eq!(traffic.to_backend_bytes.into_inner(), 5);
        assert_eq!(traffic.to_client_bytes.into_inner(), 5);
    }

    #[tokio::test]
    async fn a_silent_tunnel_ends() {
        let (_client, mut near) = duplex(64);
        let (mut far, _backend) = duplex(64);
        let traffic = Traffic::begin(clock::now());
        let soon = Duration::from_millis(20);
        let end = copy_both_ways(&mut near, &mut far, (b"", b""), &traffic, soon).await;
        assert!(matches!(end, TunnelEnd::Silent));
    }

    #[test]
    fn traffic_in_either_direction_resets_the_idle_timeout() {
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
