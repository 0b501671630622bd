//! What is known of a response while its documents are read: one for each event of a stream, one for a response that is
//! not a stream.

use std::time::Instant;

use smallvec::SmallVec;

use super::figures::Figures;
use super::kinds::{Status, Type, is_failure, is_interruption};
use super::text::Text;
use super::{Completeness, FINISH_REASONS_MAX, ResponseFacts, ResponseForm};
use crate::model::cut;
use crate::model::ending::Ending;
use crate::model::operation::{Operation, Yields};

mod visit;

/// What was read of all documents.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) said: ResponseFacts,
    pub(super) form: ResponseForm,
    text: Text,
    figures: Figures,
    choices: Choices,
    /// Whose finish reason each of [`ResponseFacts::finish_reasons`] is.
    reasons_of: [u32; FINISH_REASONS_MAX],
    status: Option<Status>,
    /// Whether there is more than an empty object or array.
    pub(super) has_members: bool,
    /// Whether there are results of another operation than the generation of text.
    pub(super) has_results: bool,
    pub(super) documents: u64,
    /// Whether a document of a known format arrived. The name of an event alone is none.
    is_known: bool,
    /// Whether there is a member beside `done` that Ollama's answers have.
    is_like_ollama: bool,
    /// Whether Gemini's candidates arrived.
    is_gemini: bool,
    /// Whether events other than keep-alives arrived.
    has_events: bool,
    /// Whether it ends within a document.
    is_cut: bool,
    operation: Option<Operation>,
    has_failed: bool,
    is_terminal: bool,
    /// Whether its end is inferred: its last event is Gemini's with the finish reasons.
    is_guess: bool,
    /// Whether a document was malformed, so that other parsers may reject it.
    pub(super) is_damaged: bool,
    /// Whether a finish reason means that the same request may get a longer response.
    pub(super) is_interrupted: bool,
    /// Whether more came behind a finish reason of Gemini's, which else is in its last event.
    has_gone_on: bool,
    ends_with_reason: bool,
    /// When the piece came that is being read.
    pub(super) now: Option<Instant>,
    /// Nothing more comes: what has come of a document counts.
    pub(super) is_at_end: bool,
    document: Document,
    /// What the name of the event says that is being read.
    event: Type,
}

/// What was read of one document. It counts when the document ends.
#[derive(Debug)]
struct Document {
    kind: Type,
    choice: Choice,
    /// Choices, and why they ended.
    reasons: SmallVec<[(u32, Box<str>); 1]>,
    /// Whether it is one of Gemini's, and has a finish reason.
    gemini: Option<IsLast>,
    status: Option<Status>,
    /// Ollama's `done`.
    done: Option<bool>,
    is_chunk: bool,
    /// Whether it is one of OpenAI's responses, so that its status is one.
    is_response: bool,
    /// Whether it has parts as a message of Anthropic's has.
    has_parts: bool,
    is_error: bool,
    is_marked_done: bool,
    has_content: bool,
    /// Whether the name of a call is about to come.
    has_new_call: bool,
    /// Whether there is anything to count.
    has_begun: bool,
}

/// Whether an event may be the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IsLast {
    Perhaps,
    No,
}

/// The choice that is being read; its number may follow behind its finish reason.
#[derive(Debug, Default)]
struct Choice {
    index: u32,
    next: u32,
    reason: Option<Box<str>>,
}

/// Which choices there are, and which are finished. Those beyond the last bit share it.
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
    fn is_known(&self, form: ResponseForm) -> bool {
        let is_of_type = match self.kind {
            // Others call theirs so too.
            Type::Message => {
                form == ResponseForm::Text && (self.has_parts || !self.reasons.is_empty())
            }
            Type::KeepAlive | Type::Other => false,
            _ => true,
        };
        let has_status = self.is_response && self.status.is_some();
        let has_ended = !self.reasons.is_empty();
        is_of_type || has_status || has_ended || self.is_chunk || self.gemini.is_some()
    }

    fn new() -> Self {
        Document {
            kind: Type::Other,
            choice: Choice::default(),
            reasons: SmallVec::new(),
            gemini: None,
            status: None,
            done: None,
            is_chunk: false,
            is_response: false,
            has_parts: false,
            is_error: false,
            is_marked_done: false,
            has_content: false,
            has_new_call: false,
            has_begun: false,
        }
    }
}

impl Facts {
    pub(super) fn new(operation: Option<Operation>) -> Self {
        Facts {
            said: ResponseFacts::default(),
            form: ResponseForm::Unseen,
            figures: Figures::default(),
            choices: Choices::default(),
            reasons_of: [0; FINISH_REASONS_MAX],
            status: None,
            has_members: false,
            has_results: false,
            documents: 0,
            is_known: false,
            is_like_ollama: false,
            is_gemini: false,
            has_events: false,
            is_cut: false,
            operation,
            has_failed: false,
            is_terminal: false,
            is_guess: false,
            is_damaged: false,
            is_interrupted: false,
            has_gone_on: false,
            ends_with_reason: false,
            now: None,
            is_at_end: false,
            document: Document::new(),
            text: Text::default(),
            event: Type::Other,
        }
    }

    pub(super) fn ending(&self) -> Ending {
        if self.has_failed {
            Ending::Failed
        } else if self.is_terminal || self.is_guess {
            Ending::Terminal
        } else if self.choices.are_finished() {
            Ending::Finished
        } else if self.is_known {
            Ending::Open
        } else {
            Ending::Unknown
        }
    }

    /// Whether text was generated, and every choice of it has its finish reason.
    pub(super) fn is_generated(&self) -> bool {
        let is_under_way = matches!(self.status, Some(Status::NotEnded | Status::Failed));
        self.choices.are_finished() && !is_under_way
    }

    /// Whether it has ended, by its format.
    pub(super) fn has_ended(&self) -> bool {
        self.is_terminal || self.ends_with_reason
    }

    /// Whether its end is inferred from its last finish reason.
    pub(super) fn end_is_inferred(&self) -> bool {
        self.is_guess && !self.is_terminal
    }

    /// Whether it tells of text that is generated, finished or not.
    pub(super) fn is_generating(&self) -> bool {
        self.is_known
    }

    /// Whether there is text that was generated, finished or not.
    pub(super) fn has_generated(&self) -> bool {
        self.choices.begun != 0 || self.status.is_some() || !self.text.is_empty()
    }

    /// Bytes held, for tests of the bound.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.text.held_bytes()
    }

    pub(super) fn has_figures(&self) -> bool {
        !self.figures.usage(false).is_empty()
    }

    pub(super) fn finish(mut self) -> ResponseFacts {
        self.said.ending = self.ending();
        self.said.is_estimable = self.is_known && !self.figures.has_total();
        self.said.completeness = self.completeness();
        self.said.usage = self.figures.usage(self.has_generated());
        if self.said.usage.is_empty() {
            self.said.text = self.text.count();
        }
        self.said
    }

    /// What of an answer is missing beside its ending.
    fn completeness(&self) -> Completeness {
        match self.form {
            ResponseForm::Unseen => Completeness::Empty,
            ResponseForm::Events if !self.has_events => Completeness::NoEvents,
            ResponseForm::Text | ResponseForm::Lines if self.is_cut => Completeness::Truncated,
            _ => Completeness::Complete,
        }
    }

    /// The event that comes, or has come, has this name.
    pub(super) fn event_named(&mut self, name: &[u8]) {
        self.event = Type::of(name);
    }

    /// An event ends.
    pub(super) fn event_ended(&mut self) {
        let generates = self.operation.map(Operation::yields) == Some(Yields::Text);
        self.has_failed |= self.event == Type::Error && (generates || self.operation.is_none());
        self.event = Type::Other;
    }

    fn take_model(&mut self, model: &[u8]) {
        if self.said.model.is_none() && !model.is_empty() {
            self.said.model = Some(cut(&String::from_utf8_lossy(model)).into());
        }
    }

    /// Why a choice ended. The last reason that is given for it counts.
    fn finished(&mut self, index: u32, reason: Box<str>) {
        self.has_failed |= is_failure(reason.as_bytes());
        self.is_interrupted |= is_interruption(reason.as_bytes());
        self.choices.begun |= Choices::bit(index);
        self.choices.finished |= Choices::bit(index);
        let reasons = &mut self.said.finish_reasons;
        let mut known = self.reasons_of.iter().zip(reasons.iter_mut());
        if let Some((_, known)) = known.find(|(of, _)| **of == index) {
            *known = reason;
        } else if let Some(of) = self.reasons_of.get_mut(reasons.len()) {
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

    /// A document ends, and counts.
    fn document_ended(&mut self) {
        let mut document = std::mem::replace(&mut self.document, Document::new());
        self.is_known |= document.is_known(self.form);
        self.has_events |= document.kind != Type::KeepAlive;
        if !self.is_like_ollama && !self.is_known {
            document.done = None;
        }
        self.is_known |= document.done.is_some();
        if document.kind == Type::Other && self.is_known {
            document.kind = self.event;
        }
        let kind = document.kind;
        if kind.brings_no_text() {
            self.text.take_back();
        }
        self.text.mark();
        self.documents += 1;
        self.figures.take_pending();
        self.has_failed |= document.is_error || kind == Type::Error;
        let is_event = document.is_chunk || kind == Type::Event || document.done == Some(false);
        if self.form == ResponseForm::Text && (is_event || self.documents > 1) {
            // Behind a whole text nothing is expected; others may read the first, or none.
            self.is_damaged |= self.documents > 1;
            self.form = ResponseForm::Lines;
        }
        self.take_ending(&mut document);
        let has_content = document.has_content && (!kind.brings_no_text() || kind == Type::Sound);
        if has_content && self.form.is_stream() {
            self.said.first_content_at = self.said.first_content_at.or(self.now);
            self.said.last_content_at = self.now;
            self.said.chunks_with_content += 1;
        }
    }

    /// What the document says of the end of the answer.
    fn take_ending(&mut self, document: &mut Document) {
        let gemini = document
            .gemini
            .map(|is_last| match document.reasons.is_empty() {
                true => is_last,
                false => IsLast::Perhaps,
            });
        for (index, reason) in document.reasons.drain(..) {
            self.finished(index, reason);
        }
        if let Some(status) = document.status.filter(|_| document.is_response) {
            self.status = Some(status);
            self.has_failed |= status == Status::Failed;
            if let Some(reason) = status.reason() {
                self.finished(0, reason.into());
            }
        }
        if document.done == Some(true) {
            self.choices.begun |= 1;
            self.choices.finished |= 1;
        }
        if let Some(is_last) = gemini
            && self.form == ResponseForm::Events
        {
            self.has_gone_on |= self.is_guess;
            self.ends_with_reason = is_last == IsLast::Perhaps && self.choices.are_none_open();
            self.is_guess = self.ends_with_reason && !self.has_gone_on;
        }
        let is_last = document.kind.is_last() || document.done == Some(true);
        self.is_terminal |= !self.is_cut && (is_last || self.form == ResponseForm::Text);
    }

    /// A document ends that does not count.
    fn document_dropped(&mut self) {
        self.has_events = true;
        self.text.take_back();
        self.document = Document::new();
        self.figures.drop_pending();
        self.is_damaged = true;
    }

    /// How it comes. Only Gemini's contents are a stream as an array.
    pub(super) fn form(&self) -> ResponseForm {
        match self.form {
            ResponseForm::Array if !self.is_gemini => ResponseForm::Text,
            form => form,
        }
    }

    fn saw_text(&mut self) {
        self.document.has_content = true;
        self.document.has_begun = true;
    }
}
