//! Endpoints that reset streams, close connections, or hang.

use tokio::io::AsyncReadExt;

use super::*;

/// A connection is closed this long after its last request.
const RELEASED_WITHIN: Duration = Duration::from_secs(5);

/// What a request comes to whose stream is reset for this reason.
async fn reset_with(reason: Reason) -> Failure {
    let server = Server::serving(move |(_request, mut respond)| async move {
        respond.send_reset(reason);
    })
    .await;
    let caller = Caller::of(&server.listener).await;
    caller.get("/").await.err().expect("a failure")
}

#[tokio::test]
async fn only_a_refused_stream_was_not_processed() {
    let refused = reset_with(Reason::REFUSED_STREAM).await;
    assert!(
        matches!(refused, Failure::Connection(ConnectionError::Unprocessed)),
        "{refused:?}"
    );
    for reason in [Reason::INTERNAL_ERROR, Reason::CANCEL] {
        let reset = reset_with(reason).await;
        assert!(
            matches!(reset, Failure::Connection(ConnectionError::Http2(_))),
            "{reset:?}"
        );
    }
}

#[tokio::test]
async fn a_request_beyond_a_goaway_was_not_processed_and_the_next_one_gets_a_new_connection() {
    let server = Server::accepting(|mut connection| async move {
        // The first stream is processed, and the second one is not.
        let (_request, mut respond) = connection.accept().await.expect("one").expect("a stream");
        let mut body = respond
            .send_response(Response::new(()), false)
            .expect("sent");
        connection.graceful_shutdown();
        let rest = async { while connection.accept().await.is_some() {} };
        let _ = timeout(SHORT, rest).await;
        body.send_data(Bytes::from_static(b"whole"), true)
            .expect("sent");
        while connection.accept().await.is_some() {}
    })
    .await;
    let caller = Caller::of(&server.listener).await;
    let mut first = caller.get("/first").await.expect("a response");
    // The GOAWAY has arrived or arrives now: no later request may get lost.
    for _ in 0..3 {
        match caller.get("/next").await {
            Ok(response) => assert_eq!(response.head.status, 200),
            Err(Failure::Connection(ConnectionError::Unprocessed)) => {}
            Err(failure) => panic!("{failure:?}"),
        }
    }
    let (body, _) = read(&mut first).await.expect("whole");
    assert_eq!(body, b"whole");
    assert!(server.connections() > 1);
}

#[tokio::test]
async fn a_connection_that_closes_is_an_error_of_its_streams_and_is_replaced() {
    let server = Server::accepting(|mut connection| async move {
        let (request, mut respond) = connection.accept().await.expect("one").expect("a stream");
        if request.uri().path() == "/half" {
            let mut body = respond
                .send_response(Response::new(()), false)
                .expect("sent");
            body.send_data(Bytes::from_static(b"half"), false)
                .expect("sent");
            let flushed = async { while connection.accept().await.is_some() {} };
            let _ = timeout(SHORT, flushed).await;
        }
    })
    .await;
    let caller = Caller::of(&server.listener).await;
    let none = caller.get("/none").await.err().expect("a failure");
    assert!(
        matches!(
            none,
            Failure::Connection(ConnectionError::Closed | ConnectionError::Io(_))
        ),
        "{none:?}"
    );
    let mut half = caller.get("/half").await.expect("a head");
    assert!(read(&mut half).await.is_err());
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_reset_after_the_whole_response_is_no_error() {
    let server = Server::serving(|(_request, mut respond)| async move {
        let response = Response::builder()
            .status(413)
            .header("content-length", "4");
        let response = response.body(()).expect("a head");
        let mut body = respond.send_response(response, false).expect("sent");
        body.send_data(Bytes::from_static(b"full"), true)
            .expect("sent");
    })
    .await;
    let caller = Caller::of(&server.listener).await;
    let (pieces, body) = RequestBody::pass_through(None);
    pieces.send(Some("begun".into())).await.expect("taken");
    let mut response = caller.send("/", body).await.expect("a response");
    assert_eq!(response.head.status, 413);
    assert_eq!(read(&mut response).await.expect("whole").0, b"full");
}

#[tokio::test]
async fn a_truncated_request_resets_its_stream() {
    let (seen, mut seen_by_test) = tokio::sync::mpsc::channel(1);
    let server = Server::serving(move |(mut request, respond)| {
        let seen = seen.clone();
        async move {
            // After an error, each further read is one.
            let end = loop {
                match request.body_mut().data().await {
                    Some(Ok(_)) => {}
                    end => break end.and_then(Result::err).and_then(|error| error.reason()),
                }
            };
            let _ = seen.send(end).await;
            drop(respond);
        }
    })
    .await;
    let caller = Caller::of(&server.listener).await;
    let (pieces, body) = RequestBody::pass_through(Some(10));
    pieces.send(Some("half".into())).await.expect("taken");
    let (failed, ()) = tokio::join!(caller.send("/", body), async move { drop(pieces) });
    assert!(matches!(
        failed,
        Err(Failure::Connection(ConnectionError::RequestBody(_)))
    ),);
    let end = timeout(LONG, seen_by_test.recv()).await.expect("in time");
    assert_eq!(end, Some(Some(Reason::CANCEL)));
}

/// What accepts connections, reads nothing and sends nothing, not even SETTINGS.
#[tokio::test]
async fn an_endpoint_that_never_answers_leaves_no_connection_behind() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let caller = Caller::of(&listener).await;
    let body = Bytes::from(vec![0; 1024 * 1024]);
    for _ in 0..3 {
        let begun = clock::now();
        let body = RequestBody::whole(body.clone());
        let late = caller.send_within("/", body, SHORT, None).await;
        assert!(matches!(late, Err(Failure::TimedOut)));
        assert!(begun.elapsed() < LONG);
        // Each request has a connection of its own, since the one before it is not used any more.
        let (mut stream, _) = timeout(LONG, listener.accept())
            .await
            .expect("one")
            .expect("one");
        let closed = async {
            let mut scratch = vec![0; 64 * 1024];
            while stream.read(&mut scratch).await.is_ok_and(|bytes| bytes > 0) {}
        };
        // Before the endpoint reads, the connection is not closed in order; it ends all the same.
        timeout(RELEASED_WITHIN, closed).await.expect("closed");
    }
}

#[tokio::test]
async fn no_task_is_left_after_requests_that_were_not_answered() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let caller = Caller::of(&listener).await;
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    // The first one starts the task that sweeps the pool.
    for _ in 0..20 {
        let late = caller.send_within("/", whole("a"), Duration::from_millis(5), None);
        assert!(matches!(late.await, Err(Failure::TimedOut)));
    }
    let deadline = clock::now() + RELEASED_WITHIN;
    while tasks() > 1 {
        assert!(clock::now() < deadline, "{} tasks", tasks());
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_body_that_the_endpoint_does_not_read_is_sent_as_far_as_its_window() {
    let server = Server::serving(|(request, respond)| async move {
        tokio::time::sleep(LONG).await;
        drop((request, respond));
    })
    .await;
    let caller = Caller::of(&server.listener).await;
    let (pieces, body) = RequestBody::pass_through(None);
    let sending = async {
        let mut taken = 0;
        let piece = Bytes::from(vec![0; 16 * 1024]);
        while let Ok(Ok(())) = timeout(SHORT, pieces.send(Some(piece.clone()))).await {
            taken += piece.len();
        }
        taken
    };
    let waiting = caller.send_within("/", body, SHORT * 20, None);
    let (taken, late) = tokio::join!(sending, waiting);
    assert!(matches!(late, Err(Failure::TimedOut)));
    // The window, the piece that waits for it, and the one in the channel.
    assert!(taken <= 65_535 + 3 * 16 * 1024, "{taken}");
}

#[tokio::test]
async fn a_101_is_malformed_and_is_not_passed_on() {
    let server = Server::serving(|(_request, mut respond)| async move {
        let upgrade = Response::builder().status(101);
        respond
            .send_informational(upgrade.body(()).expect("a head"))
            .expect("sent");
        // The stream ends with its connection.
        std::future::pending::<()>().await;
    })
    .await;
    let caller = Caller::of(&server.listener).await;
    let informational = InformationalResponses::default();
    let sent = caller.send_within("/", whole("a"), LONG, Some(&informational));
    let failure = sent.await.err().expect("no response");
    assert!(
        matches!(failure, Failure::Connection(ConnectionError::Malformed(_))),
        "{failure:?}"
    );
    assert!(informational.is_empty());
}
