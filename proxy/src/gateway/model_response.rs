//! What a response states about a model call (tokens, timing, failure), and what is
//! recorded of its text.

use http::header;
use http::response::Parts;

use crate::answer::ResponseOutcome;
use crate::answer::filter::BodyFilter;
use crate::answer::text::ResponseText;
use crate::cache::CachedResponse;
use crate::coding::Decoder;
use crate::exchange::Exchange;
use crate::model::ending::Ending;
use crate::model::estimate;
use crate::model::operation::{Operation, OperationOutput};
use crate::model::response::ResponseFormat;
use crate::refusal::ErrorCode;

/// How a response can be read.
pub(super) struct Readable {
    /// `None` if weir cannot decode its content coding.
    pub(super) decoder: Option<Decoder>,
    /// Its format, if it is that of a model's response.
    pub(super) format: Option<ResponseFormat>,
}

impl Readable {
    pub(super) fn of(exchange: &Exchange, head: &Parts) -> Self {
        let decoder = Decoder::of(&head.headers);
        let format = format(exchange, head).filter(|_| decoder.is_some());
        Readable { decoder, format }
    }
}

/// The format of a complete, successful response. Audio and transcripts have other formats, unless their
/// content type is that of a model's response.
fn format(exchange: &Exchange, head: &Parts) -> Option<ResponseFormat> {
    if !matches!(head.status.as_u16(), 200..=203) {
        return None;
    }
    let content_type = head.headers.get(header::CONTENT_TYPE);
    match exchange.model.operation.map(Operation::output) {
        Some(OperationOutput::Other) => ResponseFormat::by_name(content_type?),
        _ => ResponseFormat::of_response(content_type),
    }
}

/// The reader of the response's text, if the text is recorded.
pub(super) fn text_reader(exchange: &Exchange, head: &Parts) -> Option<ResponseText> {
    exchange.content.as_ref()?;
    let format = ResponseFormat::of(head.headers.get(header::CONTENT_TYPE)?)?;
    Some(ResponseText::new(format))
}

/// The reader of the text of a response that was requested by an equal request, if the text is recorded.
pub(super) fn followed_text_reader(exchange: &Exchange) -> Option<ResponseText> {
    exchange.content.as_ref()?;
    Some(ResponseText::new(requested_format(exchange)))
}

fn requested_format(exchange: &Exchange) -> ResponseFormat {
    match exchange.model.request_stream {
        true => ResponseFormat::Sse,
        false => ResponseFormat::Json,
    }
}

/// Records the text of a backend's response according to `events.content`.
pub(super) fn record_text(exchange: &mut Exchange, filter: &mut BodyFilter<'_>) {
    let text = filter.text.take().map(ResponseText::finish);
    if let (Some(content), Some(text)) = (&mut exchange.content, text) {
        content.output = content.mode.keep(&text);
    }
}

/// Records the text of a stored response according to `events.content`.
pub(super) fn record_stored_text(exchange: &mut Exchange, stored: &CachedResponse) {
    let format = requested_format(exchange);
    if let Some(content) = &mut exchange.content {
        let mut text = ResponseText::new(format);
        stored.pieces().for_each(|piece| text.feed(&piece));
        content.output = content.mode.keep(&text.finish());
    }
}

/// Notes what the response reported about the model call, and whether the response itself is a failure: an error
/// inside a 200 (`upstream_error`), or a stream without its end (`upstream_incomplete`). If the client did not
/// read a response to its end, it is not known whether it was incomplete.
pub(super) fn note(exchange: &mut Exchange, filter: &mut BodyFilter<'_>, outcome: ResponseOutcome) {
    let Some(reader) = filter.reader.take() else {
        return;
    };
    let Some(operation) = exchange.model.operation else {
        return;
    };
    let read = reader.finish();
    if read.ending == Ending::Failed {
        exchange.fail(ErrorCode::UpstreamError);
    } else if outcome == ResponseOutcome::Whole && read.is_incomplete(operation, exchange.status) {
        exchange.fail(ErrorCode::UpstreamIncomplete);
    }
    let model = &mut exchange.model;
    let is_estimable = read.is_estimable || operation.output() != OperationOutput::Text;
    model.usage = match read.usage.is_empty() && is_estimable {
        true => estimate::usage(operation, read.ending, &model.request_text, &read.text),
        false => read.usage,
    };
    let started = exchange.timing.started();
    model.response_model = read.model;
    model.finish_reasons = read.finish_reasons;
    model.time_to_first_chunk = read
        .first_content_at
        .map(|at| at.saturating_duration_since(started));
    model.generation = match (read.first_content_at, read.last_content_at) {
        (Some(first), Some(last)) => Some(last.saturating_duration_since(first)),
        _ => None,
    };
}
