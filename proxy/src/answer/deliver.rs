//! Passes a backend's answer on, chunk by chunk, as it comes.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::Frame;

use super::usage::UsageReader;
use super::{Delivered, head};
use crate::backend::client::{Answer, AnswerBody};
use crate::cache::Stored;
use crate::cache::copy::CopyBuffer;
use crate::clock;
use crate::content::AnswerText;
use crate::exchange::{Exchange, Stage};
use crate::listener::session::Session;
use crate::refusal::ErrorCode;

/// What is done with an answer on its way.
pub(crate) struct Reading<'a> {
    pub(crate) usage: Option<UsageReader>,
    /// Its text, where something is kept of it.
    pub(crate) content: Option<AnswerText>,
    /// A copy for the cache.
    pub(crate) copying: Option<Copying<'a>>,
    /// Between two chunks.
    pub(crate) idle_timeout: Duration,
    /// When the whole exchange with the backend must be over.
    pub(crate) deadline: Instant,
}

/// A copy on its way, and who takes it when the answer has come whole.
pub(crate) struct Copying<'a> {
    pub(crate) copy: CopyBuffer,
    pub(crate) keep: &'a (dyn Fn(Stored) + Sync),
}

impl Reading<'_> {
    /// The backend's answer is whole: its copy is kept before the client has the last of it, so that
    /// the same question right behind it finds it.
    fn came_whole(&mut self, stored_at: Duration) {
        if let Some(copying) = self.copying.take()
            && let Some(stored) = copying.copy.finish(stored_at)
        {
            (copying.keep)(stored);
        }
    }
}

/// What came of one wait for the backend.
enum Next {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
    Failed(ErrorCode),
    ClientLeft,
}

/// Passes the answer on to its end. What was read and copied on the way is left in `reading`.
pub(crate) async fn deliver(
    session: &mut Session,
    exchange: &mut Exchange,
    answer: Answer,
    reading: &mut Reading<'_>,
) -> Delivered {
    let mut body = answer.body;
    let head = head::of_backend(answer.head.status, &answer.head.headers, exchange);
    exchange.status = answer.head.status.as_u16();
    if session.write_head(head).await.is_err() {
        return Delivered::ClientLeft;
    }
    // Its fields hold on to the buffer that they arrived in, and the body may take hours.
    drop(answer.head);
    let mut now = clock::now();
    exchange.timing.lap(Stage::Answer, now);
    loop {
        let next = match body.is_at_end(now) {
            true => Next::End,
            false => next(session, &mut body, reading).await,
        };
        now = clock::now();
        exchange.timing.lap(Stage::Backend, now);
        let written = match next {
            Next::Data(data) => {
                if let Some(usage) = &mut reading.usage {
                    usage.feed(&data, now);
                }
                if let Some(content) = &mut reading.content {
                    content.feed(&data);
                }
                if let Some(copying) = &mut reading.copying {
                    copying.copy.push(&data);
                }
                exchange.response_body_bytes += data.len() as u64;
                let last = body.is_at_end(now);
                if last {
                    reading.came_whole(exchange.at(now));
                }
                let written = session.write_body(data, last).await;
                if last && written.is_ok() {
                    return Delivered::Whole;
                }
                written
            }
            Next::Trailers(trailers) => session.write_trailers(trailers).await,
            Next::End => {
                reading.came_whole(exchange.at(now));
                return match session.write_body(Bytes::new(), true).await {
                    Ok(()) => Delivered::Whole,
                    Err(_) => Delivered::ClientLeft,
                };
            }
            Next::Failed(code) => {
                exchange.error_code = Some(code);
                exchange.cut_short = true;
                return Delivered::CutShort;
            }
            Next::ClientLeft => return Delivered::ClientLeft,
        };
        if written.is_err() {
            return Delivered::ClientLeft;
        }
        now = clock::now();
        exchange.timing.lap(Stage::Answer, now);
    }
}

/// The next piece of the answer. Only when it has not arrived yet, what was written so far is sent on
/// and waiting begins.
async fn next(session: &mut Session, body: &mut AnswerBody, reading: &Reading<'_>) -> Next {
    match body.arrived().await {
        Some(frame) => of_result(frame),
        None if session.flush().await.is_err() => Next::ClientLeft,
        None => wait(session, body, reading).await,
    }
}

/// Waits for the next piece of the answer, or for the client to leave.
async fn wait(session: &mut Session, body: &mut AnswerBody, reading: &Reading<'_>) -> Next {
    let deadline = reading.deadline.min(clock::now() + reading.idle_timeout);
    tokio::select! {
        biased;
        frame = body.frame(deadline) => match frame {
            Ok(frame) => of_result(frame),
            Err(_) => Next::Failed(ErrorCode::UpstreamTimeout),
        },
        () = session.left() => Next::ClientLeft,
    }
}

fn of_result(frame: Option<hyper::Result<Frame<Bytes>>>) -> Next {
    match frame {
        Some(Ok(frame)) => of_frame(frame),
        Some(Err(_)) => Next::Failed(ErrorCode::UpstreamReset),
        None => Next::End,
    }
}

fn of_frame(frame: Frame<Bytes>) -> Next {
    match frame.into_data() {
        Ok(data) => Next::Data(data),
        Err(frame) => match frame.into_trailers() {
            Ok(trailers) => Next::Trailers(trailers),
            Err(_) => Next::Data(Bytes::new()),
        },
    }
}
