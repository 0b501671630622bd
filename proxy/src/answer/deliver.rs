//! Passes a backend's answer on, chunk by chunk, as it comes.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;

use super::copying::{Copying, Kept};
use super::last::{Awaited, Framing, Last, end, left, to_nobody, until};
use super::next::{Next, next};
use super::waits::Waits;
use super::withheld::{self, UsageWithheld};
use super::{Delivered, head};
use crate::backend::client::{Answer, AnswerBody};
use crate::clock;
use crate::coding::{Decoder, Progress, Why};
use crate::content::AnswerText;
use crate::exchange::{Exchange, Stage};
use crate::http::io::WriteError;
use crate::http::relay::Relay;
use crate::http::session::Session;
use crate::model::answer::{AnswerReader, Ending, Form};
use crate::refusal::ErrorCode;

/// A write that takes longer has waited for the client to read.
const AT_ONCE_MAX: Duration = Duration::from_millis(1);

/// When an answer has said of itself that nothing follows, its framing gets so long to end: a client that
/// waits for it has everything already, and an endpoint that ends it in time keeps its connection.
pub(super) const FRAMING_TIME: Duration = Duration::from_millis(500);
/// Gemini has no event that is the last by name: an answer of several parts could have a finish reason in
/// each. What comes within this time shows it, and goes on to a client that waits for more.
const FRAMING_TIME_OF_GUESSES: Duration = Duration::from_secs(5);
/// What ends a last event may come on its own: an event is none before its empty line.
const LINE_END_TIME: Duration = Duration::from_secs(1);

/// What is done with an answer on its way.
pub(crate) struct Reading<'a> {
    /// Reads through its codings, where anything of it is read.
    pub(crate) decoder: Option<Decoder>,
    /// Boxed: it is large, and most of what weir passes on is no answer of a model.
    pub(crate) usage: Option<Box<AnswerReader>>,
    /// Its text, where something is kept of it.
    pub(crate) content: Option<AnswerText>,
    /// Takes out what only weir asked for. What is read above has it, the client and the copy do not.
    pub(crate) withheld: Option<UsageWithheld>,
    /// A copy for the cache.
    pub(crate) copying: Option<Copying<'a>>,
    /// How many pieces were read before the head went out, and are still to be written.
    pub(crate) ahead: usize,
    /// The length of the answer that the client is told.
    pub(crate) length: Option<u64>,
    pub(crate) waits: Waits,
}

impl Reading<'_> {
    /// Reads a piece that came at `now`, and gives what of it goes on. Where the answer is whole with it, its
    /// copy is kept.
    pub(super) fn feed(&mut self, data: Bytes, exchange: &mut Exchange, now: Instant) -> Bytes {
        if let Some(decoder) = &mut self.decoder {
            decoder.feed(&data, |plain| {
                if let Some(usage) = &mut self.usage {
                    usage.feed(plain, now);
                }
                if let Some(content) = &mut self.content {
                    content.feed(plain);
                }
            });
            if let Progress::Stopped(why) = decoder.progress() {
                self.stop_reading(why);
            }
        }
        let shown = match &mut self.withheld {
            Some(withheld) => withheld.feed(&data),
            None => data,
        };
        self.show(&shown, exchange);
        match self.ending() {
            Ending::Failed => {
                exchange.fail(ErrorCode::UpstreamError);
                self.forget();
            }
            Ending::Terminal if self.has_ended_itself() && !self.is_a_guess() => {
                if let Some(attempt) = exchange.attempt() {
                    attempt.succeed(now);
                }
                if self.is_copied_whole() {
                    self.keep(exchange.at(now));
                }
            }
            _ => {}
        }
        shown
    }

    /// What goes on when nothing more comes: what was held until then.
    pub(super) fn rest(&mut self, exchange: &mut Exchange) -> Bytes {
        let withheld = self.withheld.take();
        let rest = withheld.map(UsageWithheld::finish).unwrap_or_default();
        self.show(&rest, exchange);
        rest
    }

    fn show(&mut self, shown: &Bytes, exchange: &mut Exchange) {
        exchange.response_body_bytes += shown.len() as u64;
        if let Some(copying) = &mut self.copying {
            copying.push(shown);
        }
    }

    /// Whether the copy has the last event with the line that ends it.
    fn is_copied_whole(&self) -> bool {
        let Some(copying) = &self.copying else {
            return false;
        };
        let withheld = self.withheld.as_ref();
        if !withheld.is_none_or(UsageWithheld::is_empty) {
            return false;
        }
        match self.form() {
            Form::Events => copying.ends_with_any(&[b"\n\n", b"\n\r\n", b"\r\r"]),
            Form::Lines => copying.ends_with_any(&[b"\n"]),
            // Nobody knows an array for whole before its framing ends.
            Form::Array | Form::Text | Form::Unseen | Form::Other => false,
        }
    }

    /// Reads a piece, unless that was done before the head went out.
    pub(super) fn feed_once(
        &mut self,
        data: Bytes,
        exchange: &mut Exchange,
        now: Instant,
    ) -> Bytes {
        match self.ahead.checked_sub(1) {
            Some(ahead) => {
                self.ahead = ahead;
                data
            }
            None => self.feed(data, exchange, now),
        }
    }

    /// How far the answer has come, as its own format tells. What no model was asked for has none: it may
    /// look like one by chance.
    fn ending(&self) -> Ending {
        let usage = self.usage.as_ref();
        let of_model = usage.filter(|usage| usage.operation().is_some());
        of_model.map_or(Ending::Unknown, |usage| usage.ending())
    }

    /// Whether the answer has said of itself that nothing follows, so that its framing matters no more. A
    /// body whose length the client was told ends by that, a coding by what stands behind the answer.
    fn has_ended_itself(&self) -> bool {
        self.ending() == Ending::Terminal
            && self.form().is_stream()
            && self.length.is_none()
            && self.is_decoded()
    }

    fn is_decoded(&self) -> bool {
        let decoder = self.decoder.as_ref();
        decoder.is_none_or(|decoder| decoder.progress() == Progress::Whole)
    }

    /// Whether its last event is one only because nothing more comes.
    fn is_a_guess(&self) -> bool {
        let usage = self.usage.as_ref();
        usage.is_some_and(|usage| usage.ends_by_guess())
    }

    /// How the answer comes, where it is read.
    pub(super) fn form(&self) -> Form {
        self.usage
            .as_ref()
            .map_or(Form::Other, |usage| usage.form())
    }

    /// What is waited for if the answer has ended itself by `now`. What comes meanwhile gives no more time,
    /// unless it shows that a guess was wrong.
    pub(super) fn last(&self, now: Instant, before: Option<Last>) -> Option<Last> {
        if !self.has_ended_itself() {
            return None;
        }
        let is_line_ended = self
            .usage
            .as_ref()
            .is_some_and(|usage| usage.is_dispatched());
        let awaited = match is_line_ended {
            true => Awaited::FramingEnd,
            false => Awaited::LineEnd,
        };
        let is_a_guess = self.is_a_guess();
        let goes_on = |before: &Last| {
            !is_a_guess && (before.awaited == awaited || before.awaited == Awaited::FramingEnd)
        };
        let time = match awaited {
            _ if is_a_guess => FRAMING_TIME_OF_GUESSES,
            Awaited::LineEnd => LINE_END_TIME,
            Awaited::FramingEnd => FRAMING_TIME,
        };
        before.filter(goes_on).or_else(|| {
            Some(Last {
                awaited,
                until: now + time,
            })
        })
    }

    /// An answer that cannot be decoded says nothing, and is nothing to give to others.
    fn stop_reading(&mut self, why: Why) {
        log::debug!("an answer cannot be decoded: {why:?}");
        self.decoder = None;
        self.usage = None;
        self.content = None;
        self.forget();
        self.copying = None;
    }

    /// Whether the copy is in the cache as it is.
    pub(super) fn kept(&self) -> Kept {
        let copying = self.copying.as_ref();
        copying.map_or(Kept::No, Copying::kept)
    }

    /// The backend's answer is whole: its copy is kept before the client has the last of it, so that
    /// the same question right behind it finds it.
    pub(super) fn came_whole(&mut self, framing: Framing, stored_at: Duration) {
        // An event without its empty line is none to those who read it again.
        let ends = match (framing, self.form()) {
            // Only its framing would have shown that nothing follows.
            (Framing::GivenUp, _) if self.is_a_guess() => false,
            (_, Form::Events) => self.is_copied_whole(),
            (Framing::GivenUp, Form::Lines) => self.is_copied_whole(),
            (Framing::Ended | Framing::GivenUp, _) => true,
        };
        if ends {
            self.keep(stored_at);
        } else {
            self.forget();
        }
    }

    fn keep(&mut self, stored_at: Duration) {
        let is_good = self.usage.as_ref().is_some_and(|usage| usage.is_good());
        let is_whole = self.is_decoded();
        match &mut self.copying {
            Some(copying) if is_good && is_whole => copying.keep(stored_at),
            _ => self.forget(),
        }
    }

    fn forget(&mut self) {
        if let Some(copying) = &mut self.copying {
            copying.forget();
        }
    }
}

/// Passes the answer on to its end. What was read and copied on the way is left in `reading`, and what
/// became of it is noted in the exchange and its attempt.
pub(crate) async fn deliver(
    session: &mut Session,
    exchange: &mut Exchange,
    answer: &mut Answer,
    reading: &mut Reading<'_>,
    relay: &mut Relay,
) -> Delivered {
    let Answer {
        head: parts, body, ..
    } = answer;
    if relay.is_unfinished() {
        // What is left of the request may never come, and must not be taken for another one.
        session.close_after_answer();
        body.close_connection_at_end();
    }
    let status = parts.status;
    let head = head::of_backend(status, &parts.headers, reading.length, exchange);
    exchange.status = status.as_u16();
    let now = clock::now();
    if body.is_at_end(now) {
        end(exchange, reading, Framing::Ended, now);
        return match session.write_bare_head(head).await {
            Ok(()) => Delivered::Whole,
            Err(_) => Delivered::ClientLeft,
        };
    }
    if session.write_head(head).await.is_err() {
        return Delivered::ClientLeft;
    }
    // Its fields hold on to the buffer that they arrived in, and the body may take hours.
    parts.headers = HeaderMap::new();
    exchange.timing.lap(Stage::Answer, now);
    let delivered = pass_on(session, exchange, body, reading, relay, now).await;
    if let Some(attempt) = exchange.attempt()
        && attempt.is_open()
    {
        attempt.end(clock::now());
    }
    delivered
}

/// Passes the body on, piece by piece.
async fn pass_on(
    session: &mut Session,
    exchange: &mut Exchange,
    body: &mut AnswerBody,
    reading: &mut Reading<'_>,
    relay: &mut Relay,
    mut now: Instant,
) -> Delivered {
    // What is waited for, once the answer has ended itself.
    let mut last = None;
    loop {
        let next = match body.is_at_end(now) {
            true => Next::End,
            false => next(session, body, &reading.waits, relay, until(last)).await,
        };
        now = clock::now();
        exchange.timing.lap(Stage::Backend, now);
        let written = match next {
            Next::Data(data) => {
                let shown = reading.feed_once(data, exchange, now);
                let is_last = body.is_at_end(now) && reading.withheld.is_none();
                if is_last {
                    end(exchange, reading, Framing::Ended, now);
                }
                let written = match shown.is_empty() && !is_last {
                    true => Ok(()),
                    false => session.write_body(shown, is_last).await,
                };
                if is_last && written.is_ok() {
                    return Delivered::Whole;
                }
                written
            }
            Next::Trailers(trailers) => write_trailers(session, exchange, reading, trailers).await,
            Next::Failed(code) if last.is_none() => {
                exchange.fail(code);
                let rest = reading.rest(exchange);
                if !rest.is_empty() && session.write_body(rest, false).await.is_err() {
                    return Delivered::ClientLeft;
                }
                return Delivered::CutShort;
            }
            Next::End | Next::Failed(_) => {
                let framing = match next {
                    Next::End => Framing::Ended,
                    _ => Framing::GivenUp,
                };
                let rest = reading.rest(exchange);
                end(exchange, reading, framing, now);
                return match session.write_body(rest, true).await {
                    Ok(()) => Delivered::Whole,
                    Err(_) => left(last),
                };
            }
            Next::ClientLeft => Err(WriteError),
        };
        let begun = std::mem::replace(&mut now, clock::now());
        let writing = now.saturating_duration_since(begun);
        if writing > AT_ONCE_MAX {
            exchange.timing.waited_for_client(writing);
        }
        if written.is_err() {
            to_nobody(exchange, body, reading, last).await;
            return left(last);
        }
        exchange.timing.lap(Stage::Answer, now);
        last = reading.last(now, last);
    }
}

/// Passes on what comes behind the body. A digest of bytes that did not all go on is none of theirs.
async fn write_trailers(
    session: &mut Session,
    exchange: &mut Exchange,
    reading: &mut Reading<'_>,
    trailers: HeaderMap,
) -> Result<(), WriteError> {
    let mut trailers = head::trailers(trailers);
    if reading.withheld.is_some() {
        withheld::forget_digests(&mut trailers);
        let rest = reading.rest(exchange);
        if !rest.is_empty() {
            session.write_body(rest, false).await?;
        }
    }
    session.write_trailers(trailers).await
}
