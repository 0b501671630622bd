//! Exchanges over real sockets, with an endpoint whose responses are scripted.

use std::time::Duration;

use http::{Request, StatusCode};
use http_body::Body as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use tokio::net::{TcpListener, TcpStream};

use super::*;

const LONG: Duration = Duration::from_secs(60);

async fn connected() -> (Box<Http1Connection>, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bound");
    let address = listener.local_addr().expect("an address");
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    let connection = Http1Connection::new(Wire::Plain(near.expect("connected")));
    (connection, far.expect("accepted").0)
}

fn begin(connection: &mut Http1Connection, method: &str, body: RequestBody) {
    let request = Request::builder().method(method).uri("/a").body(());
    connection.begin(&request.expect("a request").into_parts().0, body);
}

async fn response_head(connection: &mut Http1Connection) -> Result<http::response::Parts, Failure> {
    connection.response_head(clock::now() + LONG, None).await
}

async fn body(connection: &mut Http1Connection) -> Result<Vec<u8>, ConnectionError> {
    let mut all = Vec::new();
    while let Some(piece) = poll_fn(|context| connection.poll_piece(context)).await {
        if let Piece::Data(data) = piece? {
            all.extend_from_slice(&data);
        }
    }
    Ok(all)
}

/// Reads a request without a body, and responds with this.
async fn respond(endpoint: &mut TcpStream, text: &[u8]) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(endpoint.read_u8().await.expect("a head"));
    }
    endpoint.write_all(text).await.expect("written");
}

#[tokio::test]
async fn a_connection_is_reused_for_the_next_exchange() {
    let (mut connection, mut endpoint) = connected().await;
    for (method, response, text) in [
        ("GET", "Content-Length: 2\r\n\r\nab", "ab"),
        ("HEAD", "Content-Length: 2\r\n\r\n", ""),
        (
            "GET",
            "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
            "ab",
        ),
        ("GET", "Content-Length: 0\r\n\r\n", ""),
    ] {
        assert!(connection.is_usable().await);
        begin(&mut connection, method, RequestBody::whole(Bytes::new()));
        let response = format!("HTTP/1.1 200 OK\r\n{response}");
        let (head, ()) = tokio::join!(
            response_head(&mut connection),
            respond(&mut endpoint, response.as_bytes())
        );
        assert_eq!(head.expect("a response").status, StatusCode::OK);
        assert_eq!(body(&mut connection).await.expect("whole"), text.as_bytes());
        assert!(
            connection.is_at_end() && connection.is_reusable(),
            "{response}"
        );
        connection.become_idle(clock::now());
    }
    drop(endpoint);
    while connection.is_usable().await {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_connection_in_an_unknown_state_is_not_reused() {
    for response in [
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nab",
    ] {
        let (mut connection, mut endpoint) = connected().await;
        begin(&mut connection, "GET", RequestBody::whole(Bytes::new()));
        let saying = async move {
            respond(&mut endpoint, response.as_bytes()).await;
        };
        let (head, ()) = tokio::join!(response_head(&mut connection), saying);
        assert!(head.is_ok());
        assert_eq!(body(&mut connection).await.expect("whole"), b"ab");
        assert!(!connection.is_reusable(), "{response}");
    }
    // Unsolicited bytes.
    let (mut connection, mut endpoint) = connected().await;
    endpoint
        .write_all(b"HTTP/1.1 408 X\r\n\r\n")
        .await
        .expect("written");
    while connection.is_usable().await {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_response_to_an_incomplete_request_is_read() {
    let (mut connection, mut endpoint) = connected().await;
    let (pieces, pass_through) = RequestBody::pass_through(None);
    begin(&mut connection, "POST", pass_through);
    let refusing = async move {
        respond(
            &mut endpoint,
            b"HTTP/1.1 413 X\r\nContent-Length: 2\r\n\r\nno",
        )
        .await;
    };
    let relaying = tokio::spawn(async move {
        // Until the other side stops reading.
        while pieces
            .send(Some(Bytes::from_static(&[b'x'; 65_536])))
            .await
            .is_ok()
        {}
    });
    let (head, ()) = tokio::join!(response_head(&mut connection), refusing);
    assert_eq!(
        head.expect("a response").status,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    assert_eq!(body(&mut connection).await.expect("whole"), b"no");
    assert!(!connection.is_reusable());
    drop(connection);
    relaying.await.expect("pass_through");
}

#[tokio::test]
async fn a_truncated_request_body_ends_the_exchange() {
    let (mut connection, mut endpoint) = connected().await;
    let (pieces, pass_through) = RequestBody::pass_through(None);
    begin(&mut connection, "POST", pass_through);
    drop(pieces);
    let failed = response_head(&mut connection).await;
    assert!(
        matches!(
            failed,
            Err(Failure::Connection(ConnectionError::RequestBody(_)))
        ),
        "{failed:?}"
    );
    assert!(!connection.is_reusable());
    drop(connection);
    let mut sent = String::new();
    endpoint.read_to_string(&mut sent).await.expect("read");
    assert!(!sent.contains("0\r\n\r\n"), "{sent}");
}

#[tokio::test]
async fn a_request_that_was_not_written_can_be_sent_over_another_connection() {
    let (mut connection, endpoint) = connected().await;
    socket2::SockRef::from(&endpoint)
        .set_linger(Some(Duration::ZERO))
        .expect("set");
    drop(endpoint);
    while connection.is_usable().await {
        tokio::task::yield_now().await;
    }
    begin(
        &mut connection,
        "POST",
        RequestBody::whole(Bytes::from_static(b"hello")),
    );
    let failed = response_head(&mut connection).await;
    assert!(matches!(failed, Err(Failure::Connection(_))), "{failed:?}");
    let unsent = connection.take_unsent().expect("nothing was written");
    assert_eq!(unsent.size_hint().exact(), Some(5));
}

#[tokio::test]
async fn informational_responses_are_reported_and_bounded() {
    let hint = "HTTP/1.1 103 InformationalResponses Hints\r\nLink: </a>\r\n\r\n";
    let switched = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nahead";
    for (heads, is_answered) in [
        (2, true),
        (INFORMATIONAL_MAX, true),
        (INFORMATIONAL_MAX + 1, false),
    ] {
        let (mut connection, mut endpoint) = connected().await;
        begin(&mut connection, "GET", RequestBody::whole(Bytes::new()));
        let text = format!(
            "HTTP/1.1 100 Continue\r\n\r\n{}{switched}",
            hint.repeat(heads - 1)
        );
        let early = InformationalResponses::default();
        let deadline = clock::now() + LONG;
        let answering = connection.response_head(deadline, Some(&early));
        let (head, ()) = tokio::join!(answering, respond(&mut endpoint, text.as_bytes()));
        assert_eq!(head.is_ok(), is_answered, "{heads}");
        assert_eq!(early.take().len(), (heads - 1).min(8));
        if is_answered {
            assert!(!connection.is_reusable());
            let (mut wire, arrived) = connection.into_wire().await.expect("a tunnel");
            assert_eq!(arrived, "ahead");
            wire.write_all(b"up").await.expect("written");
            let mut up = [0; 2];
            endpoint.read_exact(&mut up).await.expect("read");
            assert_eq!(&up, b"up");
        }
    }
}

#[tokio::test]
async fn a_large_body_arrives_completely() {
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
    for response in [chunks, length] {
        let (mut connection, mut endpoint) = connected().await;
        begin(&mut connection, "GET", RequestBody::whole(Bytes::new()));
        let reading = async {
            response_head(&mut connection).await.expect("a response");
            body(&mut connection).await.expect("whole")
        };
        let (read, ()) = tokio::join!(reading, respond(&mut endpoint, &response));
        assert!(read == data);
        assert!(connection.is_reusable());
    }
}

#[tokio::test]
async fn a_silent_endpoint_times_out() {
    let (mut connection, _endpoint) = connected().await;
    begin(&mut connection, "GET", RequestBody::whole(Bytes::new()));
    let late = connection
        .response_head(clock::now() + Duration::from_millis(20), None)
        .await;
    assert!(matches!(late, Err(Failure::TimedOut)), "{late:?}");
}

#[tokio::test]
async fn a_truncated_response_is_an_error() {
    for response in [
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n",
    ] {
        let (mut connection, mut endpoint) = connected().await;
        begin(&mut connection, "GET", RequestBody::whole(Bytes::new()));
        let saying = async move {
            respond(&mut endpoint, response.as_bytes()).await;
        };
        let reading = async {
            match response_head(&mut connection).await {
                Ok(_) => body(&mut connection).await.map_err(Failure::Connection),
                Err(failure) => Err(failure),
            }
        };
        let (read, ()) = tokio::join!(reading, saying);
        assert!(
            matches!(read, Err(Failure::Connection(ConnectionError::Closed))),
            "{response:?}: {read:?}"
        );
    }
}
