use std::future::poll_fn;

use http::Request;
use tokio::io::AsyncReadExt;

use super::*;

fn head(method: &str) -> Parts {
    let request = Request::builder()
        .method(method)
        .uri("http://a.test:80/b?c=d")
        .header("x-a", "1")
        .header("content-length", "9")
        .header("transfer-encoding", "gzip");
    request.body(()).expect("a request").into_parts().0
}

/// What a connection that takes `room` bytes at a time is sent.
async fn sent(mut sending: Sending, room: usize) -> (String, Result<(), CutShort>) {
    let (mut near, mut far) = tokio::io::duplex(room);
    let reading = tokio::spawn(async move {
        let mut sent = String::new();
        far.read_to_string(&mut sent).await.expect("read");
        sent
    });
    let result = poll_fn(|context| sending.poll(&mut near, context)).await;
    drop(near);
    (reading.await.expect("read"), result)
}

#[tokio::test]
async fn a_whole_body_is_announced() {
    for (method, body, expected) in [
        ("GET", "", "GET /b?c=d HTTP/1.1\r\nx-a: 1\r\n\r\n"),
        (
            "PUT",
            "",
            "PUT /b?c=d HTTP/1.1\r\nx-a: 1\r\ncontent-length: 0\r\n\r\n",
        ),
        (
            "GET",
            "hi",
            "GET /b?c=d HTTP/1.1\r\nx-a: 1\r\ncontent-length: 2\r\n\r\nhi",
        ),
    ] {
        for room in [1, 7, 4096] {
            let body = RequestBody::whole(Bytes::from_static(body.as_bytes()));
            let (text, result) = sent(Sending::new(&head(method), body), room).await;
            assert_eq!((text.as_str(), result), (expected, Ok(())));
        }
    }
}

#[tokio::test]
async fn a_relayed_body_goes_on_as_it_comes() {
    for (announced, framed) in [
        (Some(13), "content-length: 13\r\n\r\nhello, world!"),
        (
            None,
            "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n8\r\n, world!\r\n0\r\n\r\n",
        ),
    ] {
        for room in [1, 7, 4096] {
            let (pieces, body) = RequestBody::relayed(announced);
            let relaying = tokio::spawn(async move {
                for piece in ["hello", "", ", world!"] {
                    pieces.send(Some(piece.into())).await.expect("taken");
                }
                pieces.send(None).await.expect("taken");
            });
            let (text, result) = sent(Sending::new(&head("POST"), body), room).await;
            relaying.await.expect("relayed");
            let expected = format!("POST /b?c=d HTTP/1.1\r\nx-a: 1\r\n{framed}");
            assert_eq!((text, result), (expected, Ok(())));
        }
    }
}

#[tokio::test]
async fn a_body_that_is_not_as_announced_is_not_whole() {
    for piece in [None, Some("four"), Some("sixsix")] {
        let (pieces, body) = RequestBody::relayed(Some(5));
        let relaying = tokio::spawn(async move {
            if let Some(piece) = piece {
                pieces.send(Some(piece.into())).await.expect("taken");
                // Nobody may want to hear of the end any more.
                let _ = pieces.send(None).await;
            }
        });
        let mut sending = Sending::new(&head("POST"), body);
        let (mut near, _far) = tokio::io::duplex(4096);
        let result = poll_fn(|context| sending.poll(&mut near, context)).await;
        relaying.await.expect("relayed");
        assert_eq!(result, Err(CutShort), "{piece:?}");
        assert!(
            !sending.is_done() && sending.take_unsent().is_none(),
            "{piece:?}"
        );
    }
}

#[tokio::test]
async fn what_nobody_takes_goes_nowhere_or_to_another() {
    let (mut near, far) = tokio::io::duplex(4096);
    drop(far);
    for body in ["", "hello"] {
        let mut sending = Sending::new(&head("POST"), RequestBody::whole(body.into()));
        let result = poll_fn(|context| sending.poll(&mut near, context)).await;
        assert_eq!(result, Ok(()));
        assert!(!sending.is_done());
        let unsent = sending.take_unsent().expect("nothing was written");
        assert_eq!(unsent.size_hint().exact(), Some(body.len() as u64));
    }
    // Begun, it is not sent twice, and its rest is taken.
    let (mut near, mut far) = tokio::io::duplex(4096);
    let (pieces, body) = RequestBody::relayed(None);
    let mut sending = Sending::new(&head("POST"), body);
    let begun = poll_fn(|context| Poll::Ready(sending.poll(&mut near, context))).await;
    assert!(begun.is_pending());
    far.read_u8().await.expect("the head");
    drop(far);
    let relaying = tokio::spawn(async move {
        for piece in [Some("a"), Some("b"), Some("c"), None] {
            pieces.send(piece.map(Bytes::from)).await.expect("taken");
        }
    });
    let result = poll_fn(|context| sending.poll(&mut near, context)).await;
    assert_eq!(result, Ok(()));
    relaying.await.expect("relayed");
    assert!(!sending.is_done());
    assert!(sending.take_unsent().is_none());
}

#[tokio::test]
async fn whoever_waits_for_it_is_told_when_all_of_it_is_sent() {
    for text in ["", "hello"] {
        let (tell, mut sent) = tokio::sync::oneshot::channel();
        let body = RequestBody::whole(text.into()).telling(tell);
        let mut sending = Sending::new(&head("POST"), body);
        let (mut near, mut far) = tokio::io::duplex(8);
        let begun = poll_fn(|context| Poll::Ready(sending.poll(&mut near, context))).await;
        assert!(begun.is_pending() && sent.try_recv().is_err(), "{text}");
        let reading = tokio::spawn(async move {
            let mut all = Vec::new();
            far.read_to_end(&mut all).await.expect("read");
        });
        let done = poll_fn(|context| sending.poll(&mut near, context)).await;
        assert_eq!((done, sent.try_recv()), (Ok(()), Ok(())), "{text}");
        drop(near);
        reading.await.expect("read");
    }
    // What one connection does not take is told of by the next.
    let (tell, mut sent) = tokio::sync::oneshot::channel();
    let (mut near, far) = tokio::io::duplex(4096);
    drop(far);
    let body = RequestBody::whole("hello".into()).telling(tell);
    let mut sending = Sending::new(&head("POST"), body);
    let done = poll_fn(|context| sending.poll(&mut near, context)).await;
    assert_eq!(done, Ok(()));
    assert!(sent.try_recv().is_err());
    let (mut near, _far) = tokio::io::duplex(4096);
    let mut sending = Sending::new(&head("POST"), sending.take_unsent().expect("unsent"));
    let done = poll_fn(|context| sending.poll(&mut near, context)).await;
    assert_eq!((done, sent.try_recv()), (Ok(()), Ok(())));
}
