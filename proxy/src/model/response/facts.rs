//! Collects the facts of a response while its documents are parsed: one document for each event of a stream, one for a
//! response that is not a stream.

use std::time::Instant;

use smallvec::SmallVec;

use super::kinds::{DocumentType, ResponseStatus, is_failure, is_interruption};
use super::text::GeneratedText;
use super::usage_report::UsageReports;
use super::{Completeness, FINISH_REASONS_MAX, ResponseFacts, ResponseLayout};
use crate::model::cut;
use crate::model::ending::Ending;
use crate::model::operation::{Operation, OperationOutput};

mod visit;

/// What has been read of all documents.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) response: ResponseFacts,
    pub(super) layout: ResponseLayout,
    text: GeneratedText,
    usage_reports: UsageReports,
    choices: Choices,
    /// The choice of each of [`ResponseFacts::finish_reasons`].
    reason_choices: [u32; FINISH_REASONS_MAX],
    status: Option<ResponseStatus>,
    /// Whether an object or array is not empty.
    pub(super) has_members: bool,
    /// Whether there are results of an operation other than text generation.
    pub(super) has_results: bool,
    pub(super) documents: u64,
    /// Whether a document of a known format arrived. The name of an event is not sufficient.
    is_known: bool,
    /// Whether a member of Ollama's responses other than `done` arrived.
    is_like_ollama: bool,
    /// Whether Gemini's candidates arrived.
    is_gemini: bool,
    /// Whether events other than keep-alives arrived.
    has_events: bool,
    /// Whether it ended within a document.
    is_truncated: bool,
    operation: Option<Operation>,
    has_failed: bool,
    is_terminal: bool,
    /// Whether its last event is Gemini's with the finish reasons, from which the end is inferred.
    has_inferred_end: bool,
    /// Whether a document was malformed, so that other parsers may reject it.
    pub(super) is_damaged: bool,
    /// Whether a finish reason means that the same request may get a longer response.
    pub(super) is_interrupted: bool,
    /// Whether more arrived after a finish reason of Gemini's, which is usually in its last event.
    continued_after_end: bool,
    ends_with_reason: bool,
    /// When the current piece arrived.
    pub(super) now: Option<Instant>,
    /// Whether the response has ended: an incomplete document counts.
    pub(super) is_at_end: bool,
    document: Document,
    /// The type of the current event, by its name.
    event: DocumentType,
}

/// What has been read of the current document. It takes effect when the document ends.
#[derive(Clone, Debug, Default)]
struct Document {
    kind: DocumentType,
    choice: Choice,
    /// The finish reasons of choices.
    reasons: SmallVec<[(u32, Box<str>); 1]>,
    /// `Some` if it is one of Gemini's: whether it may be the last.
    gemini: Option<MayBeLast>,
    status: Option<ResponseStatus>,
    /// Ollama's `done`.
    done: Option<bool>,
    is_chunk: bool,
    /// Whether it is a response of OpenAI's Responses API, so that its status counts.
    is_response: bool,
    /// Whether it has content parts, like a message of Anthropic's.
    has_parts: bool,
    is_error: bool,
    has_done_marker: bool,
    has_content: bool,
    /// Whether the name of a tool call follows.
    has_new_call: bool,
    /// Whether anything of it has been read.
    has_begun: bool,
}

/// Whether an event may be the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MayBeLast {
    Yes,
    No,
}

/// The current choice; its index may follow its finish reason.
#[derive(Clone, Debug, Default)]
struct Choice {
    index: u32,
    next: u32,
    reason: Option<Box<str>>,
}

/// Bit sets of the choices that have begun and finished. All choices from 63 on share a bit.
#[derive(Clone, Copy, Debug, Default)]
struct Choices {
    begun: u64,
    finished: u64,
}

impl Choices {
    fn bit(index: u32) -> u64 {
        1 << index.min(63)
    }

    fn are_finished(self) -> bool {
        self.begun != 0 && self.are_none_open()
    }

    fn are_none_open(self) -> bool {
        self.begun & !self.finished == 0
    }
}

impl Document {
    /// Whether it is of a known format.
    fn is_known(&self, layout: ResponseLayout) -> bool {
        let is_of_type = match self.kind {
            // Other formats use this type too.
            DocumentType::Message => {
                layout == ResponseLayout::Text && (self.has_parts || !self.reasons.is_empty())
            }
            DocumentType::KeepAlive | DocumentType::Other => false,
            _ => true,
        };
        let has_status = self.is_response && self.status.is_some();
        let has_ended = !self.reasons.is_empty();
        is_of_type || has_status || has_ended || self.is_chunk || self.gemini.is_some()
    }
}

impl Facts {
    pub(super) fn new(operation: Option<Operation>) -> Self {
        Facts {
            response: ResponseFacts::default(),
            layout: ResponseLayout::Undetermined,
            usage_reports: UsageReports::default(),
            choices: Choices::default(),
            reason_choices: [0; FINISH_REASONS_MAX],
            status: None,
            has_members: false,
            has_results: false,
            documents: 0,
            is_known: false,
            is_like_ollama: false,
            is_gemini: false,
            has_events: false,
            is_truncated: false,
            operation,
            has_failed: false,
            is_terminal: false,
            has_inferred_end: false,
            is_damaged: false,
            is_interrupted: false,
            continued_after_end: false,
            ends_with_reason: false,
            now: None,
            is_at_end: false,
            document: Document::default(),
            text: GeneratedText::default(),
            event: DocumentType::Other,
        }
    }

    pub(super) fn ending(&self) -> Ending {
        if self.has_failed {
            Ending::Failed
        } else if self.is_terminal || self.has_inferred_end {
            Ending::Terminal
        } else if self.choices.are_finished() {
            Ending::Finished
        } else if self.is_known {
            Ending::Open
        } else {
            Ending::Unknown
        }
    }

    /// Whether text was generated and every choice has a finish reason.
    pub(super) fn is_generated(&self) -> bool {
        let is_unfinished = matches!(
            self.status,
            Some(ResponseStatus::NotEnded | ResponseStatus::Failed)
        );
        self.choices.are_finished() && !is_unfinished
    }

    /// Whether it has ended according to its format.
    pub(super) fn has_ended(&self) -> bool {
        self.is_terminal || self.ends_with_reason
    }

    /// Whether its end is only inferred from its last finish reason.
    pub(super) fn end_is_inferred(&self) -> bool {
        self.has_inferred_end && !self.is_terminal
    }

    /// Whether its format is one of text generation.
    pub(super) fn is_text_generation(&self) -> bool {
        self.is_known
    }

    /// Whether it has generated text, complete or not.
    pub(super) fn has_generated_text(&self) -> bool {
        self.choices.begun != 0 || self.status.is_some() || !self.text.is_empty()
    }

    /// Bytes held, for tests of the bound.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.text.held_bytes()
    }

    pub(super) fn has_usage(&self) -> bool {
        !self.usage_reports.usage(false).is_empty()
    }

    pub(super) fn finish(mut self) -> ResponseFacts {
        self.response.ending = self.ending();
        self.response.is_estimable = self.is_known && !self.usage_reports.has_total();
        self.response.completeness = self.completeness();
        self.response.usage = self.usage_reports.usage(self.has_generated_text());
        if self.response.usage.is_empty() {
            self.response.text = self.text.count();
        }
        self.response
    }

    /// What is missing of the response, apart from its ending.
    fn completeness(&self) -> Completeness {
        match self.layout {
            ResponseLayout::Undetermined => Completeness::Empty,
            ResponseLayout::Events if !self.has_events => Completeness::NoEvents,
            // The ending of a known format is more specific.
            ResponseLayout::Events if self.is_truncated && !self.is_known => {
                Completeness::Truncated
            }
            ResponseLayout::Text | ResponseLayout::Lines if self.is_truncated => {
                Completeness::Truncated
            }
            _ => Completeness::Complete,
        }
    }

    /// The current event has this name.
    pub(super) fn event_named(&mut self, name: &[u8]) {
        self.event = DocumentType::of(name);
    }

    /// The current event ends.
    pub(super) fn event_ended(&mut self) {
        let generates = self.operation.map(Operation::output) == Some(OperationOutput::Text);
        self.has_failed |=
            self.event == DocumentType::Error && (generates || self.operation.is_none());
        self.event = DocumentType::Other;
    }

    fn take_model(&mut self, model: &[u8]) {
        if self.response.model.is_none() && !model.is_empty() {
            self.response.model = Some(cut(&String::from_utf8_lossy(model)).into());
        }
    }

    /// Records the finish reason of a choice. The last one counts.
    fn finished(&mut self, index: u32, reason: Box<str>) {
        self.has_failed |= is_failure(reason.as_bytes());
        self.is_interrupted |= is_interruption(reason.as_bytes());
        self.choices.begun |= Choices::bit(index);
        self.choices.finished |= Choices::bit(index);
        let reasons = &mut self.response.finish_reasons;
        let mut known = self.reason_choices.iter().zip(reasons.iter_mut());
        if let Some((_, known)) = known.find(|(of, _)| **of == index) {
            *known = reason;
        } else if let Some(of) = self.reason_choices.get_mut(reasons.len()) {
            *of = index;
            reasons.push(reason);
        }
    }

    fn choice_ended(&mut self) {
        let index = self.document.choice.index;
        self.choices.begun |= Choices::bit(index);
        if let Some(reason) = self.document.choice.reason.take() {
            self.document.reasons.push((index, reason));
        }
        self.document.choice.next = index.saturating_add(1);
    }

    /// The current document ends, and takes effect.
    fn document_ended(&mut self) {
        let mut document = std::mem::take(&mut self.document);
        self.is_known |= document.is_known(self.layout);
        self.has_events |= document.kind != DocumentType::KeepAlive;
        if !self.is_like_ollama && !self.is_known {
            document.done = None;
        }
        self.is_known |= document.done.is_some();
        if document.kind == DocumentType::Other && self.is_known {
            document.kind = self.event;
        }
        let kind = document.kind;
        if kind.has_no_new_text() {
            self.text.roll_back();
        }
        self.text.checkpoint();
        self.documents += 1;
        self.usage_reports.take_pending();
        self.has_failed |= document.is_error || kind == DocumentType::Error;
        let is_event =
            document.is_chunk || kind == DocumentType::Event || document.done == Some(false);
        if self.layout == ResponseLayout::Text && (is_event || self.documents > 1) {
            // Nothing may follow a complete text: other parsers may use the first one, or reject both.
            self.is_damaged |= self.documents > 1;
            self.layout = ResponseLayout::Lines;
        }
        self.apply_ending(&mut document);
        let has_content =
            document.has_content && (!kind.has_no_new_text() || kind == DocumentType::Audio);
        if has_content && self.layout.is_stream() {
            self.response.first_content_at = self.response.first_content_at.or(self.now);
            self.response.last_content_at = self.now;
            self.response.chunks_with_content += 1;
        }
    }

    /// Applies finish reasons, status and end markers of a document.
    fn apply_ending(&mut self, document: &mut Document) {
        let gemini = document
            .gemini
            .map(|is_last| match document.reasons.is_empty() {
                true => is_last,
                false => MayBeLast::Yes,
            });
        for (index, reason) in document.reasons.drain(..) {
            self.finished(index, reason);
        }
        if let Some(status) = document.status.filter(|_| document.is_response) {
            self.status = Some(status);
            self.has_failed |= status == ResponseStatus::Failed;
            if let Some(reason) = status.reason() {
                self.finished(0, reason.into());
            }
        }
        if document.done == Some(true) {
            self.choices.begun |= 1;
            self.choices.finished |= 1;
        }
        if let Some(is_last) = gemini
            && self.layout == ResponseLayout::Events
        {
            self.continued_after_end |= self.has_inferred_end;
            self.ends_with_reason = is_last == MayBeLast::Yes && self.choices.are_none_open();
            self.has_inferred_end = self.ends_with_reason && !self.continued_after_end;
        }
        let is_last = document.kind.is_last() || document.done == Some(true);
        self.is_terminal |= !self.is_truncated && (is_last || self.layout == ResponseLayout::Text);
    }

    /// The current document is malformed, and discarded.
    fn document_dropped(&mut self) {
        self.has_events = true;
        self.text.roll_back();
        self.document = Document::default();
        self.usage_reports.drop_pending();
        self.is_damaged = true;
    }

    /// The layout. Only an array of Gemini's is a stream.
    pub(super) fn layout(&self) -> ResponseLayout {
        match self.layout {
            ResponseLayout::Array if !self.is_gemini => ResponseLayout::Text,
            layout => layout,
        }
    }

    fn note_text(&mut self) {
        self.document.has_content = true;
        self.document.has_begun = true;
    }
}
