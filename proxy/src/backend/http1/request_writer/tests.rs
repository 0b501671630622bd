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
async fn sent(mut writer: RequestWriter, room: usize) -> (String, Result<(), TruncatedBody>) {
    let (mut near, mut far) = tokio::io::duplex(room);
    let reading = tokio::spawn(async move {
        let mut sent = String::new();
        far.read_to_string(&mut sent).await.expect("read");
        sent
    });
    let result = poll_fn(|context| writer.poll(&mut near, context)).await;
    drop(near);
    (reading.await.expect("read"), result)
}

#[tokio::test]
async fn the_length_of_a_complete_body_is_announced() {
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
            let (text, result) = sent(RequestWriter::new(&head(method), body), room).await;
            assert_eq!((text.as_str(), result), (expected, Ok(())));
        }
    }
}

#[tokio::test]
async fn a_passed_through_body_is_forwarded_as_it_arrives() {
    for (announced, framed) in [
        (Some(13), "content-length: 13\r\n\r\nhello, world!"),
        (
            None,
            "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n8\r\n, world!\r\n0\r\n\r\n",
        ),
    ] {
        for room in [1, 7, 4096] {
            let (pieces, body) = RequestBody::pass_through(announced);
            let relaying = tokio::spawn(async move {
                for piece in ["hello", "", ", world!"] {
                    pieces.send(Some(piece.into())).await.expect("taken");
                }
                pieces.send(None).await.expect("taken");
            });
            let (text, result) = sent(RequestWriter::new(&head("POST"), body), room).await;
            relaying.await.expect("relayed");
            let expected = format!("POST /b?c=d HTTP/1.1\r\nx-a: 1\r\n{framed}");
            assert_eq!((text, result), (expected, Ok(())));
        }
    }
}

#[tokio::test]
async fn a_body_of_another_length_than_announced_is_not_complete() {
    for piece in [None, Some("four"), Some("sixsix")] {
        let (pieces, body) = RequestBody::pass_through(Some(5));
        let relaying = tokio::spawn(async move {
            if let Some(piece) = piece {
                pieces.send(Some(piece.into())).await.expect("taken");
                // The receiver may be gone.
                let _ = pieces.send(None).await;
            }
        });
        let mut writer = RequestWriter::new(&head("POST"), body);
        let (mut near, _far) = tokio::io::duplex(4096);
        let result = poll_fn(|context| writer.poll(&mut near, context)).await;
        relaying.await.expect("relayed");
        assert_eq!(result, Err(TruncatedBody), "{piece:?}");
        assert!(
            !writer.is_done() && writer.take_unsent().is_none(),
            "{piece:?}"
        );
    }
}

#[tokio::test]
async fn a_rejected_request_is_discarded_or_sent_over_another_connection() {
    let (mut near, far) = tokio::io::duplex(4096);
    drop(far);
    for body in ["", "hello"] {
        let mut writer = RequestWriter::new(&head("POST"), RequestBody::whole(body.into()));
        let result = poll_fn(|context| writer.poll(&mut near, context)).await;
        assert_eq!(result, Ok(()));
        assert!(!writer.is_done());
        let unsent = writer.take_unsent().expect("nothing was written");
        assert_eq!(unsent.size_hint().exact(), Some(body.len() as u64));
    }
    // Once partly sent, it is not sent again, and the rest is discarded.
    let (mut near, mut far) = tokio::io::duplex(4096);
    let (pieces, body) = RequestBody::pass_through(None);
    let mut writer = RequestWriter::new(&head("POST"), body);
    let begun = poll_fn(|context| Poll::Ready(writer.poll(&mut near, context))).await;
    assert!(begun.is_pending());
    far.read_u8().await.expect("the head");
    drop(far);
    let relaying = tokio::spawn(async move {
        for piece in [Some("a"), Some("b"), Some("c"), None] {
            pieces.send(piece.map(Bytes::from)).await.expect("taken");
        }
    });
    let result = poll_fn(|context| writer.poll(&mut near, context)).await;
    assert_eq!(result, Ok(()));
    relaying.await.expect("relayed");
    assert!(!writer.is_done());
    assert!(writer.take_unsent().is_none());
}

#[tokio::test]
async fn a_flag_is_set_when_the_request_is_written() {
    let is_set = |sent: &Arc<AtomicBool>| sent.load(Ordering::Acquire);
    for text in ["", "hello"] {
        let sent = Arc::new(AtomicBool::new(false));
        let body = RequestBody::whole(text.into()).flagging(Some(sent.clone()));
        let mut writer = RequestWriter::new(&head("POST"), body);
        let (mut near, mut far) = tokio::io::duplex(8);
        let begun = poll_fn(|context| Poll::Ready(writer.poll(&mut near, context))).await;
        assert!(begun.is_pending() && !is_set(&sent), "{text}");
        let reading = tokio::spawn(async move {
            let mut all = Vec::new();
            far.read_to_end(&mut all).await.expect("read");
        });
        let done = poll_fn(|context| writer.poll(&mut near, context)).await;
        assert_eq!((done, is_set(&sent)), (Ok(()), true), "{text}");
        drop(near);
        reading.await.expect("read");
    }
    // The next connection sets the flag of a body that the first one did not accept.
    let sent = Arc::new(AtomicBool::new(false));
    let (mut near, far) = tokio::io::duplex(4096);
    drop(far);
    let body = RequestBody::whole("hello".into()).flagging(Some(sent.clone()));
    let mut writer = RequestWriter::new(&head("POST"), body);
    let done = poll_fn(|context| writer.poll(&mut near, context)).await;
    assert_eq!((done, is_set(&sent)), (Ok(()), false));
    let (mut near, _far) = tokio::io::duplex(4096);
    let mut writer = RequestWriter::new(&head("POST"), writer.take_unsent().expect("unsent"));
    let done = poll_fn(|context| writer.poll(&mut near, context)).await;
    assert_eq!((done, is_set(&sent)), (Ok(()), true));
}
