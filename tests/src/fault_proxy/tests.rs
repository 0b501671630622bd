//! Tests of the faults, with a plain echo server.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;
use crate::backend::Backend;
use crate::wait::{self, PATIENCE};

/// How long something must not happen.
const QUIET: Duration = Duration::from_millis(200);

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReadEnd {
    Fin,
    Reset,
}

async fn echo() -> Backend {
    Backend::raw(|mut stream| async move {
        let (mut read, mut write) = stream.split();
        let copied = tokio::io::copy(&mut read, &mut write).await;
        if copied.is_ok() {
            let _ = stream.shutdown().await;
        }
    })
    .await
}

async fn connect(proxy: &FaultProxy) -> TcpStream {
    let connecting = TcpStream::connect(proxy.address());
    let stream = wait::within("a connection", PATIENCE, connecting).await;
    stream.expect("a connection")
}

async fn read_exactly(stream: &mut TcpStream, bytes: usize) -> Vec<u8> {
    let mut received = vec![0; bytes];
    let reading = stream.read_exact(&mut received);
    let read = wait::within("bytes", PATIENCE, reading).await;
    read.expect("that many bytes");
    received
}

/// Reads to the end of the connection.
async fn read_to_end(stream: &mut TcpStream) -> (Vec<u8>, ReadEnd) {
    let mut received = Vec::new();
    let reading = stream.read_to_end(&mut received);
    match wait::within("the end", PATIENCE, reading).await {
        Ok(_) => (received, ReadEnd::Fin),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            (received, ReadEnd::Reset)
        }
    }
}

/// Neither bytes nor an end arrive.
async fn assert_quiet(stream: &mut TcpStream) {
    let mut byte = [0];
    assert!(wait::still_waiting_after(QUIET, stream.read(&mut byte)).await);
}

async fn wait_for_open(proxy: &FaultProxy, open: u64) {
    wait::eventually("the count of connections", PATIENCE, || {
        proxy.counts().open == open
    })
    .await;
}

#[tokio::test]
async fn without_faults_everything_is_forwarded_and_counted() {
    let target = echo().await;
    let proxy = FaultProxy::start(target.address());
    let sent: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let mut stream = connect(&proxy).await;
    let (mut read, mut write) = stream.split();
    let mut received = Vec::new();
    let exchange = async {
        tokio::join!(read.read_to_end(&mut received), async {
            write.write_all(&sent).await.expect("sent");
            write.shutdown().await.expect("a FIN");
        })
    };
    let (read, ()) = wait::within("an echo", PATIENCE, exchange).await;
    read.expect("a clean end");
    assert!(received == sent);
    wait_for_open(&proxy, 0).await;
    let expected = TrafficCounts {
        accepted: 1,
        open: 0,
        to_target: 1_000_000,
        to_client: 1_000_000,
    };
    assert_eq!(proxy.counts(), expected);
}

#[tokio::test]
async fn a_reset_of_a_peer_is_forwarded() {
    let (ended, mut ends) = tokio::sync::mpsc::channel(1);
    let target = Backend::raw(move |mut stream| {
        let ended = ended.clone();
        async move {
            let end = read_to_end(&mut stream).await;
            let _ = ended.send(end).await;
        }
    })
    .await;
    let proxy = FaultProxy::start(target.address());
    let mut stream = connect(&proxy).await;
    stream.write_all(b"ping").await.expect("sent");
    wait::eventually("the bytes", PATIENCE, || proxy.counts().to_target == 4).await;
    stream.set_zero_linger().expect("SO_LINGER");
    drop(stream);
    let (_, end) = ends.recv().await.expect("an end");
    assert_eq!(end, ReadEnd::Reset);
}

#[tokio::test]
async fn latency_and_jitter_delay_each_direction_and_not_the_throughput() {
    const PIECES: usize = 40;
    let latency = Duration::from_millis(150);
    let target = echo().await;
    for direction in [Direction::ToTarget, Direction::ToClient] {
        let proxy = FaultProxy::start(target.address());
        let faults = Faults {
            latency,
            jitter: Duration::from_millis(20),
            ..Faults::default()
        };
        proxy.set(direction, faults);
        let mut stream = connect(&proxy).await;
        let started = weir::clock::now();
        for _ in 0..PIECES {
            stream.write_all(b"x").await.expect("sent");
            wait::tick().await;
        }
        read_exactly(&mut stream, PIECES).await;
        let took = started.elapsed();
        assert!(took >= latency, "{took:?}");
        assert!(took < latency * PIECES as u32 / 2, "{took:?}");
    }
}

#[tokio::test]
async fn the_bandwidth_is_bounded() {
    let target = echo().await;
    let proxy = FaultProxy::start(target.address());
    let faults = Faults {
        bytes_per_second: Some(100_000),
        ..Faults::default()
    };
    proxy.set(Direction::ToClient, faults);
    let mut stream = connect(&proxy).await;
    let started = weir::clock::now();
    stream.write_all(&[7; 40_000]).await.expect("sent");
    read_exactly(&mut stream, 40_000).await;
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(350), "{took:?}");
}

#[tokio::test]
async fn slices_arrive_in_order_with_pauses() {
    let target = echo().await;
    let proxy = FaultProxy::start(target.address());
    let pause = Duration::from_millis(20);
    let slices = Some(Slices { bytes: 3, pause });
    let faults = Faults {
        slices,
        ..Faults::default()
    };
    proxy.set(Direction::ToTarget, faults);
    let mut stream = connect(&proxy).await;
    let started = weir::clock::now();
    stream.write_all(b"0123456789ab").await.expect("sent");
    assert_eq!(read_exactly(&mut stream, 12).await, b"0123456789ab");
    assert!(started.elapsed() >= 3 * pause);
}

#[tokio::test]
async fn a_cut_happens_after_exactly_that_many_bytes() {
    let target = echo().await;
    for kind in [CutKind::Reset, CutKind::Close, CutKind::Silence] {
        let proxy = FaultProxy::start(target.address());
        let mut stream = connect(&proxy).await;
        // Bytes before the fault is set do not count.
        stream.write_all(b"before").await.expect("sent");
        read_exactly(&mut stream, 6).await;
        let faults = Faults {
            cut: Some(Cut::after(10, kind)),
            ..Faults::default()
        };
        proxy.set(Direction::ToClient, faults);
        stream.write_all(b"0123456789").await.expect("sent");
        assert_eq!(read_exactly(&mut stream, 10).await, b"0123456789");
        assert_quiet(&mut stream).await;
        stream.write_all(b"more").await.expect("sent");
        match kind {
            CutKind::Reset => assert_eq!(read_to_end(&mut stream).await.1, ReadEnd::Reset),
            CutKind::Close => {
                assert_eq!(read_to_end(&mut stream).await, (vec![], ReadEnd::Fin));
            }
            CutKind::Silence => {
                assert_quiet(&mut stream).await;
                assert_eq!(proxy.counts().open, 1);
            }
        }
        drop(stream);
        wait_for_open(&proxy, 0).await;
    }
}

#[tokio::test]
async fn a_response_is_reset_before_its_first_byte() {
    let target = echo().await;
    let proxy = FaultProxy::start(target.address());
    proxy.reset_responses();
    let mut stream = connect(&proxy).await;
    assert_quiet(&mut stream).await;
    stream.write_all(b"question").await.expect("sent");
    assert_eq!(read_to_end(&mut stream).await, (vec![], ReadEnd::Reset));
    let counts = proxy.counts();
    assert_eq!((counts.to_target, counts.to_client), (8, 0));
}

#[tokio::test]
async fn new_connections_are_reset_or_swallowed() {
    let target = echo().await;
    let proxy = FaultProxy::start(target.address());
    proxy.admit(Admission::Reset);
    let mut stream = connect(&proxy).await;
    assert_eq!(read_to_end(&mut stream).await.1, ReadEnd::Reset);
    proxy.admit(Admission::Blackhole);
    let mut stream = connect(&proxy).await;
    stream.write_all(b"anyone?").await.expect("accepted");
    assert_quiet(&mut stream).await;
    assert_eq!(proxy.counts().open, 1);
    drop(stream);
    wait_for_open(&proxy, 0).await;
    assert_eq!(target.connections(), 0);
    proxy.heal();
    let mut stream = connect(&proxy).await;
    stream.write_all(b"x").await.expect("sent");
    assert_eq!(read_exactly(&mut stream, 1).await, b"x");
}

#[tokio::test]
async fn a_stalled_direction_continues_and_a_lost_one_does_not() {
    // Closes the connection after the second message.
    let target = Backend::raw(|mut stream| async move {
        let mut bytes = [0; 3];
        while stream.read_exact(&mut bytes).await.is_ok() {
            let _ = stream.write_all(&bytes).await;
            if &bytes == b"two" {
                return;
            }
        }
    })
    .await;
    let proxy = FaultProxy::start(target.address());
    let mut stream = connect(&proxy).await;
    let delivery = |delivery| Faults {
        delivery,
        ..Faults::default()
    };
    proxy.set(Direction::ToClient, delivery(Delivery::Stalled));
    stream.write_all(b"one").await.expect("sent");
    assert_quiet(&mut stream).await;
    proxy.heal();
    assert_eq!(read_exactly(&mut stream, 3).await, b"one");
    proxy.set(Direction::ToClient, delivery(Delivery::Lost));
    stream.write_all(b"two").await.expect("sent");
    // The target has closed the connection, and the client does not learn of it.
    wait::eventually("the target's end", PATIENCE, || {
        target.connections_open() == 0
    })
    .await;
    assert_quiet(&mut stream).await;
    assert_eq!((proxy.counts().to_client, proxy.counts().open), (3, 1));
    drop(stream);
    wait_for_open(&proxy, 0).await;
}

#[tokio::test]
async fn connections_are_refused_and_accepted_again_on_the_same_port() {
    let target = echo().await;
    let proxy = FaultProxy::start(target.address());
    let mut open = connect(&proxy).await;
    wait_for_open(&proxy, 1).await;
    for round in 0..20 {
        proxy.refuse().await;
        let refused = TcpStream::connect(proxy.address()).await;
        let error = refused.expect_err("a refusal");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{round}");
        proxy.reopen();
        let mut stream = connect(&proxy).await;
        stream.write_all(b"x").await.expect("sent");
        read_exactly(&mut stream, 1).await;
    }
    open.write_all(b"still").await.expect("sent");
    assert_eq!(read_exactly(&mut open, 5).await, b"still");
}

#[tokio::test]
async fn a_kill_resets_all_connections_and_a_cut_may_close_them() {
    let target = echo().await;
    let proxy = FaultProxy::start(target.address());
    let mut streams = Vec::new();
    for _ in 0..10 {
        streams.push(connect(&proxy).await);
    }
    wait_for_open(&proxy, 10).await;
    proxy.kill().await;
    for mut stream in streams {
        assert_eq!(read_to_end(&mut stream).await.1, ReadEnd::Reset);
    }
    proxy.reopen();
    for (kind, end) in [
        (CutKind::Close, ReadEnd::Fin),
        (CutKind::Reset, ReadEnd::Reset),
    ] {
        let mut stream = connect(&proxy).await;
        stream.write_all(b"x").await.expect("sent");
        read_exactly(&mut stream, 1).await;
        proxy.cut_open(kind);
        assert_eq!(read_to_end(&mut stream).await.1, end);
    }
    wait_for_open(&proxy, 0).await;
}

#[tokio::test]
async fn connections_end_with_the_proxy() {
    let target = echo().await;
    let proxy = FaultProxy::start(target.address());
    let mut stream = connect(&proxy).await;
    stream.write_all(b"x").await.expect("sent");
    read_exactly(&mut stream, 1).await;
    drop(proxy);
    read_to_end(&mut stream).await;
}

#[tokio::test]
async fn an_unreachable_address_neither_accepts_nor_refuses() {
    let unreachable = UnreachableAddress::new().await;
    for _ in 0..3 {
        let connecting = TcpStream::connect(unreachable.address());
        assert!(wait::still_waiting_after(Duration::from_millis(300), connecting).await);
    }
}
