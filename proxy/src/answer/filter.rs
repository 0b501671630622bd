//! Processes each piece of a response body: it is decoded and read (tokens, text), a usage
//! chunk that only weir requested is stripped, and a copy is taken for the cache.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;

use super::bytes_ahead::BytesAhead;
use super::copying::{CopyEnd, CopyStored, Copying, Followers, StoredOnce};
use super::tail::{Awaited, FramingEnd, Tail, Terminal};
use super::text::ResponseText;
use super::timeouts::ResponseTimeouts;
use super::usage_stripper::UsageStripper;
use crate::coding::{DecodeProgress, Decoder, StopReason};
use crate::exchange::Exchange;
use crate::model::ending::Ending;
use crate::model::response::{ResponseLayout, ResponseReader};
use crate::refusal::ErrorCode;

/// Reads, changes and copies the body of one response.
pub(crate) struct BodyFilter<'a> {
    /// Decodes the content coding, if anything is read.
    pub(crate) decoder: Option<Decoder>,
    /// Reads what the response states about a model call. Boxed: it is large, and most responses are not a model's.
    pub(crate) reader: Option<Box<ResponseReader>>,
    /// The text, if it is recorded.
    pub(crate) text: Option<ResponseText>,
    /// The readers above receive the chunk that this strips; the client and the copy do not.
    pub(crate) stripper: Option<UsageStripper>,
    /// The copy for the cache.
    pub(crate) copying: Option<Copying<'a>>,
    /// How many pieces of the body have been read ahead, and are still to be written themselves.
    pub(crate) read_ahead: usize,
    /// Their bytes, as far as they were read for followers.
    pub(crate) ahead: BytesAhead,
    /// The `Content-Length` that is sent to the client.
    pub(crate) length: Option<u64>,
    pub(crate) timeouts: ResponseTimeouts,
}

impl BodyFilter<'_> {
    /// Reads a piece that arrived at `now`, and returns the part of it that is forwarded. If it completes the
    /// response, its copy is stored.
    pub(super) fn feed(&mut self, data: Bytes, exchange: &mut Exchange, now: Instant) -> Bytes {
        if let Some(decoder) = &mut self.decoder {
            decoder.feed(&data, |plain| {
                if let Some(reader) = &mut self.reader {
                    reader.feed(plain, now);
                }
                if let Some(text) = &mut self.text {
                    text.feed(plain);
                }
            });
            if let DecodeProgress::Stopped(reason) = decoder.progress() {
                self.stop_reading(reason);
            }
        }
        let forwarded = match &mut self.stripper {
            Some(stripper) => stripper.feed(&data),
            None => data,
        };
        self.count(&forwarded, exchange);
        match self.ending() {
            Ending::Failed => {
                exchange.fail(ErrorCode::UpstreamError);
                self.remove_copy();
            }
            Ending::Terminal if self.has_ended_itself() && self.terminal() == Terminal::ByName => {
                if let Some(attempt) = exchange.attempt() {
                    attempt.succeed(now);
                }
                if self.is_copy_whole() {
                    self.store_copy(exchange.at(now));
                }
            }
            _ => {}
        }
        forwarded
    }

    /// The bytes that the stripper has held back, at the end of the body.
    pub(super) fn rest(&mut self, exchange: &mut Exchange) -> Bytes {
        let stripper = self.stripper.take();
        let rest = stripper.map(UsageStripper::finish).unwrap_or_default();
        self.count(&rest, exchange);
        rest
    }

    /// Counts and copies what is forwarded.
    fn count(&mut self, forwarded: &Bytes, exchange: &mut Exchange) {
        exchange.response_body_bytes += forwarded.len() as u64;
        if let Some(copying) = &mut self.copying {
            copying.push(forwarded);
        }
    }

    /// Whether the copy contains the terminal event and the line that ends it.
    fn is_copy_whole(&self) -> bool {
        let Some(copying) = &self.copying else {
            return false;
        };
        let stripper = self.stripper.as_ref();
        if !stripper.is_none_or(UsageStripper::is_empty) {
            return false;
        }
        match self.form() {
            ResponseLayout::Events => copying.ends_with_any(&[b"\n\n", b"\n\r\n", b"\r\r"]),
            ResponseLayout::Lines => copying.ends_with_any(&[b"\n"]),
            // Whether an array is complete is only known at the end of its framing.
            ResponseLayout::Array
            | ResponseLayout::Text
            | ResponseLayout::Undetermined
            | ResponseLayout::Other => false,
        }
    }

    /// Reads a piece, unless it has been read ahead.
    pub(super) fn feed_once(
        &mut self,
        data: Bytes,
        exchange: &mut Exchange,
        now: Instant,
    ) -> Bytes {
        match self.read_ahead.checked_sub(1) {
            Some(left) => {
                self.read_ahead = left;
                self.ahead.remove(data.len());
                data
            }
            None => self.feed(data, exchange, now),
        }
    }

    /// How far the response has progressed in its own format. A response that is not a model's has none, although it
    /// may look like one by chance.
    fn ending(&self) -> Ending {
        let reader = self.reader.as_ref();
        let of_model = reader.filter(|reader| reader.operation().is_some());
        of_model.map_or(Ending::Unknown, |reader| reader.ending())
    }

    /// Whether a terminal event has arrived, so that the end of the framing no longer matters. A body with a
    /// `Content-Length` ends with that length, a content coding with its own trailer.
    fn has_ended_itself(&self) -> bool {
        self.ending() == Ending::Terminal
            && self.form().is_stream()
            && self.length.is_none()
            && self.is_decoded()
    }

    fn is_decoded(&self) -> bool {
        let decoder = self.decoder.as_ref();
        decoder.is_none_or(|decoder| decoder.progress() == DecodeProgress::Whole)
    }

    fn terminal(&self) -> Terminal {
        let reader = self.reader.as_ref();
        match reader.is_some_and(|reader| reader.end_is_inferred()) {
            true => Terminal::Guessed,
            false => Terminal::ByName,
        }
    }

    /// The form of the response, if it is read.
    pub(super) fn form(&self) -> ResponseLayout {
        self.reader
            .as_ref()
            .map_or(ResponseLayout::Other, |reader| reader.layout())
    }

    /// What is still expected, if the terminal event has arrived by `now`.
    pub(super) fn tail(&self, now: Instant, before: Option<Tail>) -> Option<Tail> {
        if !self.has_ended_itself() {
            return None;
        }
        let reader = self.reader.as_ref();
        let awaited = match reader.is_some_and(|reader| reader.is_dispatched()) {
            true => Awaited::FramingEnd,
            false => Awaited::LineEnd,
        };
        Some(Tail::after(before, awaited, self.terminal(), now))
    }

    /// A response that cannot be decoded cannot be read, and must not be stored.
    fn stop_reading(&mut self, reason: StopReason) {
        log::debug!("a response cannot be decoded: {reason:?}");
        self.decoder = None;
        self.reader = None;
        self.text = None;
        self.remove_copy();
        // Nobody may follow what cannot be read.
        self.cut(ErrorCode::UpstreamReset);
        self.copying = None;
    }

    /// Whether the complete copy is in the cache.
    pub(super) fn is_stored(&self) -> CopyStored {
        let copying = self.copying.as_ref();
        copying.map_or(CopyStored::No, Copying::is_stored)
    }

    /// The backend's response has ended. Its copy is stored before the client receives the last byte, so that an
    /// equal request right after it is a hit.
    pub(super) fn end(&mut self, framing: FramingEnd, stored_at: Duration) {
        // Clients that receive the copy would discard an event without its empty line.
        let is_whole = match (framing, self.form()) {
            // Only the end of the framing would have shown that nothing follows.
            (FramingEnd::GivenUp, _) if self.terminal() == Terminal::Guessed => false,
            (_, ResponseLayout::Events) => self.is_copy_whole(),
            (FramingEnd::GivenUp, ResponseLayout::Lines) => self.is_copy_whole(),
            (FramingEnd::Arrived | FramingEnd::GivenUp, _) => true,
        };
        match is_whole {
            true => self.store_copy(stored_at),
            false => self.remove_copy(),
        }
        if self.followers().is_some() {
            self.end_copy(CopyEnd::Whole(self.failure()));
        }
    }

    /// The error inside a response with a complete framing. Only a 200 is shared.
    fn failure(&self) -> Option<ErrorCode> {
        let reader = self.reader.as_ref()?;
        let operation = reader.operation()?;
        if reader.is_successful() {
            return None;
        }
        // The reader itself is finished once the response has been delivered; its followers do not wait for that.
        let facts = (**reader).clone().finish();
        match facts.ending {
            Ending::Failed => Some(ErrorCode::UpstreamError),
            _ => facts
                .is_incomplete(operation, StatusCode::OK.as_u16())
                .then_some(ErrorCode::UpstreamIncomplete),
        }
    }

    /// The backend's response has ended at `now`, and its attempt has succeeded.
    pub(super) fn complete(&mut self, exchange: &mut Exchange, framing: FramingEnd, now: Instant) {
        self.end(framing, exchange.at(now));
        if let Some(attempt) = exchange.attempt() {
            attempt.succeed(now);
        }
    }

    /// The backend's response was cut short.
    pub(super) fn cut(&mut self, code: ErrorCode) {
        self.end_copy(CopyEnd::Cut(code));
    }

    fn end_copy(&mut self, end: CopyEnd) {
        if let Some(copying) = &mut self.copying {
            copying.end(end);
        }
    }

    /// The requests that follow this one, if any may.
    pub(super) fn followers(&self) -> Option<&dyn Followers> {
        self.copying.as_ref()?.followers()
    }

    fn store_copy(&mut self, stored_at: Duration) {
        let is_successful = self
            .reader
            .as_ref()
            .is_some_and(|reader| reader.is_successful());
        let is_decoded = self.is_decoded();
        match &mut self.copying {
            Some(copying) if copying.stored_once() == StoredOnce::Complete => {
                copying.store(stored_at);
            }
            Some(copying) if is_successful && is_decoded => copying.store(stored_at),
            _ => self.remove_copy(),
        }
    }

    fn remove_copy(&mut self) {
        if let Some(copying) = &mut self.copying {
            copying.remove();
        }
    }
}
