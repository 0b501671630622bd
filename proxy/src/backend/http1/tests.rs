//! Exchanges over real sockets, with an endpoint that says what it is told to.

use http::{Request, StatusCode};
use http_body::Body as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const LONG: Duration = Duration::from_secs(60);

async fn linked() -> (Box<Link>, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bound");
    let address = listener.local_addr().expect("an address");
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    let link = Link::new(Wire::Plain(near.expect("connected")));
    (link, far.expect("accepted").0)
}

fn begin(link: &mut Link, method: &str, body: RequestBody) {
    let request = Request::builder().method(method).uri("/a").body(());
    link.begin(&request.expect("a request").into_parts().0, body);
}

async fn answered(link: &mut Link) -> Result<http::response::Parts, Failure> {
    link.answered(clock::now() + LONG, None).await
}

async fn body(link: &mut Link) -> Result<Vec<u8>, Broken> {
    let mut all = Vec::new();
    while let Some(piece) = poll_fn(|context| link.poll_piece(context)).await {
        if let Piece::Data(data) = piece? {
            all.extend_from_slice(&data);
        }
    }
    Ok(all)
}

/// Reads a request without a body, and says this.
async fn say(endpoint: &mut TcpStream, text: &[u8]) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(endpoint.read_u8().await.expect("a head"));
    }
    endpoint.write_all(text).await.expect("written");
}

#[tokio::test]
async fn exchanges_follow_each_other_over_one_connection() {
    let (mut link, mut endpoint) = linked().await;
    for (method, answer, text) in [
        ("GET", "Content-Length: 2\r\n\r\nab", "ab"),
        ("HEAD", "Content-Length: 2\r\n\r\n", ""),
        (
            "GET",
            "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
            "ab",
        ),
        ("GET", "Content-Length: 0\r\n\r\n", ""),
    ] {
        assert!(link.is_usable().await);
        begin(&mut link, method, RequestBody::whole(Bytes::new()));
        let answer = format!("HTTP/1.1 200 OK\r\n{answer}");
        let (head, ()) = tokio::join!(answered(&mut link), say(&mut endpoint, answer.as_bytes()));
        assert_eq!(head.expect("an answer").status, StatusCode::OK);
        assert_eq!(body(&mut link).await.expect("whole"), text.as_bytes());
        assert!(link.is_at_end() && link.is_reusable(), "{answer}");
        link.rest(clock::now());
    }
    drop(endpoint);
    while link.is_usable().await {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_connection_that_cannot_be_trusted_is_not_used_again() {
    for answer in [
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nab",
    ] {
        let (mut link, mut endpoint) = linked().await;
        begin(&mut link, "GET", RequestBody::whole(Bytes::new()));
        let saying = async move {
            say(&mut endpoint, answer.as_bytes()).await;
        };
        let (head, ()) = tokio::join!(answered(&mut link), saying);
        assert!(head.is_ok());
        assert_eq!(body(&mut link).await.expect("whole"), b"ab");
        assert!(!link.is_reusable(), "{answer}");
    }
    // What comes without having been asked for.
    let (mut link, mut endpoint) = linked().await;
    endpoint
        .write_all(b"HTTP/1.1 408 X\r\n\r\n")
        .await
        .expect("written");
    while link.is_usable().await {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_answer_that_comes_before_the_request_is_whole_is_heard() {
    let (mut link, mut endpoint) = linked().await;
    let (pieces, relayed) = RequestBody::relayed(None);
    begin(&mut link, "POST", relayed);
    let refusing = async move {
        say(
            &mut endpoint,
            b"HTTP/1.1 413 X\r\nContent-Length: 2\r\n\r\nno",
        )
        .await;
    };
    let relaying = tokio::spawn(async move {
        // Until nobody wants any more.
        while pieces
            .send(Some(Bytes::from_static(&[b'x'; 65_536])))
            .await
            .is_ok()
        {}
    });
    let (head, ()) = tokio::join!(answered(&mut link), refusing);
    assert_eq!(
        head.expect("an answer").status,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    assert_eq!(body(&mut link).await.expect("whole"), b"no");
    assert!(!link.is_reusable());
    drop(link);
    relaying.await.expect("relayed");
}

#[tokio::test]
async fn a_body_that_is_cut_short_ends_the_exchange() {
    let (mut link, mut endpoint) = linked().await;
    let (pieces, relayed) = RequestBody::relayed(None);
    begin(&mut link, "POST", relayed);
    drop(pieces);
    let failed = answered(&mut link).await;
    assert!(
        matches!(failed, Err(Failure::Broken(Broken::CutShort(_)))),
        "{failed:?}"
    );
    assert!(!link.is_reusable());
    drop(link);
    let mut sent = String::new();
    endpoint.read_to_string(&mut sent).await.expect("read");
    assert!(!sent.contains("0\r\n\r\n"), "{sent}");
}

#[tokio::test]
async fn what_was_not_written_may_go_over_another_connection() {
    let (mut link, endpoint) = linked().await;
    socket2::SockRef::from(&endpoint)
        .set_linger(Some(Duration::ZERO))
        .expect("set");
    drop(endpoint);
    while link.is_usable().await {
        tokio::task::yield_now().await;
    }
    begin(
        &mut link,
        "POST",
        RequestBody::whole(Bytes::from_static(b"hello")),
    );
    let failed = answered(&mut link).await;
    assert!(matches!(failed, Err(Failure::Broken(_))), "{failed:?}");
    let unsent = link.take_unsent().expect("nothing was written");
    assert_eq!(unsent.size_hint().exact(), Some(5));
}

#[tokio::test]
async fn heads_before_an_answer_are_told_and_bounded() {
    let hint = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let switched = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nahead";
    for (heads, is_answered) in [
        (2, true),
        (EARLY_HEADS_MAX, true),
        (EARLY_HEADS_MAX + 1, false),
    ] {
        let (mut link, mut endpoint) = linked().await;
        begin(&mut link, "GET", RequestBody::whole(Bytes::new()));
        let text = format!(
            "HTTP/1.1 100 Continue\r\n\r\n{}{switched}",
            hint.repeat(heads - 1)
        );
        let early = Early::default();
        let deadline = clock::now() + LONG;
        let answering = link.answered(deadline, Some(&early));
        let (head, ()) = tokio::join!(answering, say(&mut endpoint, text.as_bytes()));
        assert_eq!(head.is_ok(), is_answered, "{heads}");
        assert_eq!(early.take().len(), (heads - 1).min(8));
        if is_answered {
            assert!(!link.is_reusable());
            let (mut wire, arrived) = link.into_wire().await.expect("a tunnel");
            assert_eq!(arrived, "ahead");
            wire.write_all(b"up").await.expect("written");
            let mut up = [0; 2];
            endpoint.read_exact(&mut up).await.expect("read");
            assert_eq!(&up, b"up");
        }
    }
}

#[tokio::test]
async fn a_large_body_comes_whole() {
    let data: Vec<u8> = (0..3_000_000_u32)
        .map(|n| n.to_le_bytes()[n as usize % 3])
        .collect();
    let mut chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in data.chunks(70_001) {
        chunks.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        chunks.extend_from_slice(chunk);
        chunks.extend_from_slice(b"\r\n");
    }
    chunks.extend_from_slice(b"0\r\n\r\n");
    let mut length =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", data.len()).into_bytes();
    length.extend_from_slice(&data);
    for answer in [chunks, length] {
        let (mut link, mut endpoint) = linked().await;
        begin(&mut link, "GET", RequestBody::whole(Bytes::new()));
        let reading = async {
            answered(&mut link).await.expect("an answer");
            body(&mut link).await.expect("whole")
        };
        let (read, ()) = tokio::join!(reading, say(&mut endpoint, &answer));
        assert!(read == data);
        assert!(link.is_reusable());
    }
}

#[tokio::test]
async fn an_endpoint_that_says_nothing_is_not_waited_for_for_ever() {
    let (mut link, _endpoint) = linked().await;
    begin(&mut link, "GET", RequestBody::whole(Bytes::new()));
    let late = link
        .answered(clock::now() + Duration::from_millis(20), None)
        .await;
    assert!(matches!(late, Err(Failure::TimedOut)), "{late:?}");
}

#[tokio::test]
async fn an_answer_that_is_cut_is_broken() {
    for answer in [
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n",
    ] {
        let (mut link, mut endpoint) = linked().await;
        begin(&mut link, "GET", RequestBody::whole(Bytes::new()));
        let saying = async move {
            say(&mut endpoint, answer.as_bytes()).await;
        };
        let reading = async {
            match answered(&mut link).await {
                Ok(_) => body(&mut link).await.map_err(Failure::Broken),
                Err(failure) => Err(failure),
            }
        };
        let (read, ()) = tokio::join!(reading, saying);
        assert!(
            matches!(read, Err(Failure::Broken(Broken::Closed))),
            "{answer:?}: {read:?}"
        );
    }
}
