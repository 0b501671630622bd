use std::time::Duration;

use super::*;

fn limits() -> Limits {
    Limits {
        header_bytes: 200,
        header_timeout: Duration::from_millis(80),
        buffered_bytes: 0,
        connections: 1,
        idle_timeout: Duration::from_millis(80),
        upgrade_idle_timeout: Duration::from_millis(80),
    }
}

async fn read_pieces(
    pieces: Vec<Vec<u8>>,
    expect: Expect,
    keep_open: bool,
) -> (HeadOutcome, BytesMut) {
    let (client, server) = tokio::io::duplex(64);
    let mut shutdown_begun = std::pin::pin!(std::future::pending());
    let handed_over = HandoverFlag::default();
    let drain = (Duration::from_secs(30), &handed_over);
    let mut idle_drain = IdleDrain::new(shutdown_begun.as_mut(), drain, clock::now());
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
    let mut stream = server;
    let mut bytes = BytesMut::new();
    let mut timer = DeadlineTimer::default();
    let limits = limits();
    let head = read(
        &mut stream,
        &mut bytes,
        expect,
        &limits,
        &mut timer,
        &mut idle_drain,
    )
    .await;
    sender.abort();
    (head, bytes)
}

#[tokio::test]
async fn a_head_is_read_however_it_is_split() {
    let text = b"\r\nPOST /x HTTP/1.1\r\nHost: a\r\n\r\nbody";
    for split in 1..text.len() {
        let pieces = vec![text[..split].to_vec(), text[split..].to_vec()];
        let (head, bytes) = read_pieces(pieces, Expect::Http1OrPreface, true).await;
        let HeadOutcome::Complete(end) = head else {
            panic!("split at {split}: {head:?}");
        };
        assert_eq!(&bytes[..end], b"POST /x HTTP/1.1\r\nHost: a\r\n\r\n");
    }
}

#[tokio::test]
async fn empty_lines_do_not_keep_a_connection_open() {
    let (mut client, mut server) = tokio::io::duplex(64);
    let dripping = tokio::spawn(async move {
        // Each well within every timeout.
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        loop {
            tick.tick().await;
            let drop = tokio::io::AsyncWriteExt::write_all(&mut client, b"\r\n");
            if drop.await.is_err() {
                break;
            }
        }
    });
    let mut shutdown_begun = std::pin::pin!(std::future::pending());
    let handed_over = HandoverFlag::default();
    let drain = (Duration::ZERO, &handed_over);
    let mut idle_drain = IdleDrain::new(shutdown_begun.as_mut(), drain, clock::now());
    let (mut bytes, mut timer) = (BytesMut::new(), DeadlineTimer::default());
    let limits = limits();
    let reading = read(
        &mut server,
        &mut bytes,
        Expect::Http1,
        &limits,
        &mut timer,
        &mut idle_drain,
    );
    let head = tokio::time::timeout(Duration::from_secs(10), reading).await;
    assert_eq!(head, Ok(HeadOutcome::Closed));
    drop(server);
    dripping.await.expect("the connection is closed");
    let (head, _) = read_pieces(vec![b"\r\n".repeat(9)], Expect::Http1, true).await;
    assert!(
        matches!(head, HeadOutcome::Invalid(HeadError::Malformed(_))),
        "{head:?}"
    );
}

#[test]
fn a_connection_in_use_is_kept_for_one_more_request() {
    let opened = clock::now();
    let (second, ms) = (Duration::from_secs(1), Duration::from_millis);
    let kept = |used: LastUse, now| used.kept_until(now, ONE_MORE).duration_since(now);
    let now = opened + second * 10;
    assert_eq!(kept(LastUse::Responded(now - ms(999)), now), ONE_MORE);
    assert_eq!(kept(LastUse::Responded(now - second), now), Duration::ZERO);
    // A client that has just connected gets a moment.
    assert_eq!(kept(LastUse::Opened(now - ms(300)), now), ms(700));
    assert_eq!(kept(LastUse::Opened(now - second), now), Duration::ZERO);
    assert_eq!(LastUse::Opened(now).kept_until(now, ms(50)), now + ms(50));
}

#[tokio::test]
async fn the_http2_preface_is_recognised_only_where_it_is_expected() {
    let preface = vec![PREFACE.to_vec()];
    let (head, bytes) = read_pieces(preface.clone(), Expect::Http1OrPreface, true).await;
    assert_eq!((head, &bytes[..]), (HeadOutcome::Http2, PREFACE));
    let (head, _) = read_pieces(preface, Expect::Http1, true).await;
    assert!(matches!(head, HeadOutcome::Complete(_)));
}

#[tokio::test]
async fn slow_large_and_malformed_heads_are_rejected() {
    let read = |piece: &[u8], keep_open| {
        let pieces = match piece.is_empty() {
            true => vec![],
            false => vec![piece.to_vec()],
        };
        async move { read_pieces(pieces, Expect::Http1, keep_open).await.0 }
    };
    let slow = read(b"GET / HT", true).await;
    assert_eq!(slow, HeadOutcome::Invalid(HeadError::TimedOut));
    let large = read(&[b'a'; 400], true).await;
    assert_eq!(large, HeadOutcome::Invalid(HeadError::TooLarge));
    let malformed = |head| matches!(head, HeadOutcome::Invalid(HeadError::Malformed(_)));
    assert!(malformed(read(b"GET / HTTP/1.1\r\nHos", false).await));
    assert!(malformed(read(b"GET / HTTP/1.1\nHost: a\n\n", true).await));
    let folded = b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n";
    assert!(malformed(read(folded, true).await));
    assert_eq!(read(b"", true).await, HeadOutcome::Closed);
}
