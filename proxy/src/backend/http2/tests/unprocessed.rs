//! What the failure of a stream states about its request, over a new connection and over one that was used before
//! (RFC 9113, sections 6.8 and 8.7).

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::backend::failure::BrokenConnection;

/// What the endpoint does with a request instead of responding.
#[derive(Clone, Copy, Debug)]
enum Ending {
    /// RST_STREAM with REFUSED_STREAM.
    Refused,
    /// GOAWAY, with this stream above the last one that was processed.
    GoAway,
    /// GOAWAY, with this stream as the last one that was processed; then the connection closes.
    GoAwayAfter,
    /// RST_STREAM with INTERNAL_ERROR.
    Reset,
    /// The connection closes.
    Closed,
}

/// What is known of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Unprocessed,
    /// It may have been processed.
    Nothing,
}

/// A frame without a payload of variable form: its type, flags, stream and payload.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// RST_STREAM.
fn reset(stream: u32, reason: Reason) -> Vec<u8> {
    frame(3, 0, stream, &u32::from(reason).to_be_bytes())
}

/// GOAWAY without an error.
fn go_away(last: u32) -> Vec<u8> {
    let payload = [last.to_be_bytes(), [0; 4]].concat();
    frame(7, 0, 0, &payload)
}

/// Responds with 200 to `served` requests, and ends the next one. h2's own server cannot state that it has not
/// processed a stream.
async fn serve(mut stream: TcpStream, served: u32, ending: Ending) -> std::io::Result<()> {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await?;
    stream.write_all(&frame(4, 0, 0, &[])).await?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await?;
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        if head[3] != 1 {
            continue;
        }
        // The streams of a client are 1, 3, 5...
        let frames = match ending {
            // `:status: 200`, and the end of the stream.
            _ if id < served * 2 => frame(1, 5, id, &[0x88]),
            Ending::Refused => reset(id, Reason::REFUSED_STREAM),
            Ending::Reset => reset(id, Reason::INTERNAL_ERROR),
            Ending::GoAway => go_away(id.saturating_sub(2)),
            Ending::GoAwayAfter => go_away(id),
            Ending::Closed => Vec::new(),
        };
        stream.write_all(&frames).await?;
        if id > served * 2 && matches!(ending, Ending::Closed | Ending::GoAwayAfter) {
            return Ok(());
        }
    }
}

/// What a POST comes to after `served` others over the same connection.
async fn unanswered(served: u32, ending: Ending) -> UnansweredRequest {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let caller = Caller::of(&listener).await;
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        let _ = serve(stream, served, ending).await;
    });
    for _ in 0..served {
        let mut response = caller.get("/").await.expect("a response");
        read(&mut response).await.expect("whole");
    }
    let attempt = caller.attempt("/", whole("x"), LONG, None);
    attempt.await.err().expect("no response")
}

#[tokio::test]
async fn a_request_is_unprocessed_only_where_the_endpoint_states_that() {
    use BrokenConnection::{Other, Stale};
    use Known::{Nothing, Unprocessed};
    let cases = [
        // What ends the request, what is known, and of which kind the connection is if it was used before.
        (Ending::Refused, Unprocessed, Stale),
        (Ending::GoAway, Unprocessed, Stale),
        (Ending::GoAwayAfter, Nothing, Stale),
        (Ending::Closed, Nothing, Stale),
        (Ending::Reset, Nothing, Other),
    ];
    for (ending, expected, used) in cases {
        for (served, connection) in [(0, Other), (1, used), (2, used)] {
            let what = format!("{ending:?} after {served} requests");
            let unanswered = unanswered(served, ending).await;
            assert_eq!(unanswered.connection, connection, "{what}");
            let known = match unanswered.failure {
                Failure::Connection(ConnectionError::Unprocessed) => Unprocessed,
                Failure::Connection(_) => Nothing,
                failure => panic!("{what}: {failure:?}"),
            };
            assert_eq!(known, expected, "{what}");
        }
    }
}
