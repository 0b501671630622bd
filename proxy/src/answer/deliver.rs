//! Passes a backend's answer on, chunk by chunk, as it comes.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;

use super::{Delivered, head};
use crate::backend::client::{Answer, AnswerBody, Piece};
use crate::cache::Stored;
use crate::cache::copy::CopyBuffer;
use crate::clock;
use crate::content::AnswerText;
use crate::exchange::{Exchange, Stage};
use crate::listener::relay::{Attended, Relay};
use crate::listener::session::Session;
use crate::model::answer::AnswerReader;
use crate::refusal::{Blame, ErrorCode};

/// A write that takes longer has waited for the client to read.
const AT_ONCE_MAX: Duration = Duration::from_millis(1);

/// What is done with an answer on its way.
pub(crate) struct Reading<'a> {
    pub(crate) usage: Option<AnswerReader>,
    /// Its text, where something is kept of it.
    pub(crate) content: Option<AnswerText>,
    /// A copy for the cache.
    pub(crate) copying: Option<Copying<'a>>,
    pub(crate) kept: Kept,
    /// How many pieces were read before the head went out, and are still to be written.
    pub(crate) ahead: usize,
    /// The length of the answer that the client is told.
    pub(crate) length: Option<u64>,
    pub(crate) waits: Waits,
}

/// Whether the copy of an answer is in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Yes,
    No,
}

/// How long the backend is waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits {
    pub(crate) asked_at: Instant,
    /// Between two chunks, in whichever direction.
    pub(crate) idle_timeout: Duration,
    /// From when the backend has had all of the request to the end of its answer; `None`: for ever.
    pub(crate) total_timeout: Option<Duration>,
}

impl Waits {
    /// Until when the next piece is waited for, where the last came at `since`.
    fn deadline(&self, relay: &Relay, since: Instant, now: Instant) -> Instant {
        let idle = since.max(relay.moved_at()) + self.idle_timeout;
        let Some(total) = self.total_timeout else {
            return idle;
        };
        let begun = match relay.is_unfinished() {
            true => now,
            false => relay.sent_at().unwrap_or(self.asked_at),
        };
        idle.min(begun + total)
    }
}

/// A copy on its way, and who takes it when the answer has come whole.
pub(crate) struct Copying<'a> {
    pub(crate) copy: CopyBuffer,
    pub(crate) keep: &'a (dyn Fn(Stored) + Sync),
}

impl Reading<'_> {
    /// Reads a piece that came at `now`.
    pub(super) fn feed(&mut self, data: &Bytes, now: Instant) {
        if let Some(usage) = &mut self.usage {
            usage.feed(data, now);
        }
        if let Some(content) = &mut self.content {
            content.feed(data);
        }
        if let Some(copying) = &mut self.copying {
            copying.copy.push(data);
        }
    }

    /// The backend's answer is whole: its copy is kept before the client has the last of it, so that
    /// the same question right behind it finds it.
    pub(super) fn came_whole(&mut self, stored_at: Duration) {
        let is_good = self.usage.as_ref().is_some_and(AnswerReader::is_good);
        if let Some(copying) = self.copying.take()
            && is_good
            && let Some(stored) = copying.copy.finish(stored_at)
        {
            (copying.keep)(stored);
            self.kept = Kept::Yes;
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
    relay: &mut Relay,
) -> Delivered {
    let mut body = answer.body;
    if relay.is_unfinished() {
        // What is left of the request may never come, and must not be taken for another one.
        session.close_after_answer();
        body.close_connection_at_end();
    }
    let status = answer.head.status;
    let head = head::of_backend(status, &answer.head.headers, reading.length, exchange);
    exchange.status = status.as_u16();
    let mut now = clock::now();
    if body.is_at_end(now) {
        reading.came_whole(exchange.at(now));
        return match session.write_bare_head(head).await {
            Ok(()) => Delivered::Whole,
            Err(_) => Delivered::ClientLeft,
        };
    }
    if session.write_head(head).await.is_err() {
        return Delivered::ClientLeft;
    }
    // Its fields hold on to the buffer that they arrived in, and the body may take hours.
    drop(answer.head);
    exchange.timing.lap(Stage::Answer, now);
    loop {
        let next = match body.is_at_end(now) {
            true => Next::End,
            false => next(session, &mut body, reading, relay).await,
        };
        now = clock::now();
        exchange.timing.lap(Stage::Backend, now);
        let written = match next {
            Next::Data(data) => {
                match reading.ahead.checked_sub(1) {
                    Some(ahead) => reading.ahead = ahead,
                    None => reading.feed(&data, now),
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
            Next::Trailers(trailers) => session.write_trailers(head::trailers(trailers)).await,
            Next::End => {
                reading.came_whole(exchange.at(now));
                return match session.write_body(Bytes::new(), true).await {
                    Ok(()) => Delivered::Whole,
                    Err(_) => Delivered::ClientLeft,
                };
            }
            Next::Failed(code) => {
                exchange.error_code = Some(code);
                exchange.cut_short = code.blame() != Blame::Client;
                return Delivered::CutShort;
            }
            Next::ClientLeft => return Delivered::ClientLeft,
        };
        let begun = std::mem::replace(&mut now, clock::now());
        let writing = now.saturating_duration_since(begun);
        if writing > AT_ONCE_MAX {
            exchange.timing.waited_for_client(writing);
        }
        if written.is_err() {
            return Delivered::ClientLeft;
        }
        exchange.timing.lap(Stage::Answer, now);
    }
}

/// The next piece of the answer. Only when it has not arrived yet, what was written so far is sent on
/// and waiting begins.
async fn next(
    session: &mut Session,
    body: &mut AnswerBody,
    reading: &Reading<'_>,
    relay: &mut Relay,
) -> Next {
    match body.arrived().await {
        Some(piece) => of_result(piece),
        None if session.flush().await.is_err() => Next::ClientLeft,
        None => wait(session, body, &reading.waits, relay).await,
    }
}

/// Waits for the next piece of the answer, or for what comes of the client.
async fn wait(
    session: &mut Session,
    body: &mut AnswerBody,
    waits: &Waits,
    relay: &mut Relay,
) -> Next {
    let since = clock::now();
    let mut now = since;
    loop {
        let deadline = waits.deadline(relay, since, now);
        tokio::select! {
            biased;
            piece = body.frame(deadline) => match piece {
                Ok(piece) => return of_result(piece),
                Err(_) => {
                    now = clock::now();
                    // The client may have gone on meanwhile.
                    if waits.deadline(relay, since, now) <= now {
                        return Next::Failed(ErrorCode::UpstreamTimeout);
                    }
                }
            },
            attended = relay.attend(session) => match attended {
                Attended::Sent => now = clock::now(),
                Attended::ClientLeft => return Next::ClientLeft,
                Attended::Refused(refusal) => return Next::Failed(refusal.code),
            },
        }
    }
}

fn of_result<E>(piece: Option<Result<Piece, E>>) -> Next {
    match piece {
        Some(Ok(Piece::Data(data))) => Next::Data(data),
        Some(Ok(Piece::Trailers(trailers))) => Next::Trailers(trailers),
        Some(Err(_)) => Next::Failed(ErrorCode::UpstreamReset),
        None => Next::End,
    }
}
