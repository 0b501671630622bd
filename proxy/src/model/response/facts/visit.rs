//! The visitor of the documents of a response.

use super::{Document, Facts, MayBeLast};
use crate::model::cut;
use crate::model::estimate::TextPart;
use crate::model::json::{Container, DocumentEnd, JsonValue, Visitor};
use crate::model::response::ResponseLayout;
use crate::model::response::kinds::{DocumentType, ResponseStatus, is_reason};
use crate::model::response::position::{ResponsePosition, element, member};

impl Visitor for Facts {
    type Position = ResponsePosition;

    fn member(&mut self, of: ResponsePosition, name: &[u8]) -> ResponsePosition {
        match of {
            ResponsePosition::Document => self.has_members = true,
            ResponsePosition::Results | ResponsePosition::Predictions => self.has_results = true,
            // Some streams repeat the whole message in each event; what is new is in its delta.
            ResponsePosition::Choice
                if name == b"message" && self.layout == ResponseLayout::Events =>
            {
                return ResponsePosition::Ignored;
            }
            // Arguments that are an object cost as much as those that are a string.
            ResponsePosition::Arguments => {
                self.text.begin(TextPart::Member);
                self.text.add(name);
            }
            _ => {}
        }
        let place = member(of, name);
        match place {
            ResponsePosition::Choices if name == b"candidates" => {
                self.is_gemini = true;
                self.document.gemini.get_or_insert(MayBeLast::No);
            }
            ResponsePosition::GeminiUsage => self.is_gemini = true,
            ResponsePosition::Model => self.is_like_ollama = true,
            ResponsePosition::Ignored
                if of == ResponsePosition::Document && name == b"created_at" =>
            {
                self.is_like_ollama = true;
            }
            ResponsePosition::CallName => self.document.has_new_call = true,
            _ => {}
        }
        place
    }

    fn element(&mut self, of: ResponsePosition) -> ResponsePosition {
        match of {
            ResponsePosition::Choices => {
                self.document.choice.index = self.document.choice.next;
                self.document.choice.reason = None;
                if self.layout == ResponseLayout::Text {
                    self.text.begin(TextPart::Text);
                }
            }
            ResponsePosition::Results | ResponsePosition::Predictions => self.has_results = true,
            ResponsePosition::Document => self.has_members = true,
            // A container in an error makes it non-empty.
            ResponsePosition::Error => self.document.is_error = true,
            _ => {}
        }
        element(of)
    }

    fn open(&mut self, at: ResponsePosition, container: Container) {
        self.document.has_begun = true;
        match (at, container) {
            (ResponsePosition::Document, Container::Array)
                if self.layout == ResponseLayout::Text =>
            {
                self.layout = ResponseLayout::Array;
            }
            (ResponsePosition::Document, Container::Array) => self.has_events = true,
            (ResponsePosition::Choices, _) => self.is_known = true,
            (ResponsePosition::Function, _) => self.note_text(),
            (ResponsePosition::Envelope, Container::Object) => self.is_like_ollama = true,
            (ResponsePosition::Content, Container::Array) => self.document.has_parts = true,
            (ResponsePosition::Output, Container::Array) => self.document.is_response = true,
            (ResponsePosition::InputDetails, _) => self.usage_reports.has_input_details(),
            _ => {}
        }
    }

    fn close(&mut self, at: ResponsePosition, container: Container) {
        match (at, container) {
            (ResponsePosition::Choice, Container::Object) => self.choice_ended(),
            (ResponsePosition::Document, Container::Object) => self.document_ended(),
            _ => {}
        }
    }

    fn value(&mut self, at: ResponsePosition, value: JsonValue<'_>) {
        let document = &mut self.document;
        match (at, value) {
            (ResponsePosition::Tokens(field), _) => self.usage_reports.take(field, value),
            (ResponsePosition::ChoiceFinish, JsonValue::String(reason)) if is_reason(reason) => {
                document.choice.reason = Some(cut(&String::from_utf8_lossy(reason)).into());
            }
            (ResponsePosition::ChoiceIndex, JsonValue::Number(index)) => {
                document.choice.index = number(index).unwrap_or(document.choice.index);
            }
            (ResponsePosition::Finish, JsonValue::String(reason)) if is_reason(reason) => {
                let reason = cut(&String::from_utf8_lossy(reason)).into();
                document.reasons.push((0, reason));
            }
            (ResponsePosition::Model, JsonValue::String(model)) => self.take_model(model),
            (ResponsePosition::Type, JsonValue::String(name)) => {
                document.kind = DocumentType::of(name);
                document.is_response |= name.starts_with(b"response.");
                document.status = document.status.or(ResponseStatus::of_event(name));
            }
            (ResponsePosition::Object, JsonValue::String(name)) => {
                document.is_chunk |= name.ends_with(b".chunk");
                document.is_error |= name == b"error";
                document.is_response |= name == b"response";
            }
            (ResponsePosition::Status, JsonValue::String(status)) => {
                document.status = ResponseStatus::of(status).or(document.status);
            }
            (ResponsePosition::Done, JsonValue::True) => document.done = Some(true),
            (ResponsePosition::Done, JsonValue::False) => document.done = Some(false),
            (ResponsePosition::Error, _) => document.is_error |= is_set(value),
            (ResponsePosition::BaseStatus, JsonValue::Number(status)) => {
                document.is_error |= status != b"0";
            }
            (ResponsePosition::Blocked, JsonValue::String(_)) => {
                document.gemini = Some(MayBeLast::Yes);
            }
            (ResponsePosition::Document, JsonValue::Word(b"DONE")) => {
                document.has_done_marker = true;
            }
            (ResponsePosition::Document, _) => self.has_events = true,
            _ => {}
        }
    }

    fn text(&mut self, at: ResponsePosition, piece: &[u8]) {
        if at == ResponsePosition::CallName {
            // An event with only the name of a call begins it, but has no content.
            if std::mem::take(&mut self.document.has_new_call) {
                self.text.begin(TextPart::Call);
            }
            self.document.has_begun = true;
        } else {
            self.is_like_ollama |= at == ResponsePosition::Response;
            self.note_text();
        }
        self.text.add(piece);
    }

    fn end(&mut self, end: DocumentEnd) {
        match end {
            DocumentEnd::Closed if self.layout == ResponseLayout::Array => self.is_terminal = true,
            DocumentEnd::Closed => {}
            DocumentEnd::Flawed
                if self.document.has_done_marker && self.layout != ResponseLayout::Text =>
            {
                self.is_known = true;
                self.is_terminal = true;
            }
            DocumentEnd::Flawed => self.is_damaged = true,
            DocumentEnd::Truncated if self.is_at_end && self.document.has_begun => {
                self.is_damaged = true;
                self.is_truncated = true;
                self.document_ended();
            }
            DocumentEnd::Truncated | DocumentEnd::Malformed => {
                self.is_truncated |= end == DocumentEnd::Truncated && self.is_at_end;
                self.document_dropped();
            }
        }
        if self.document.has_begun {
            self.document = Document::default();
        }
    }

    fn resumes(&self) -> bool {
        self.layout == ResponseLayout::Lines
    }
}

/// The index of a choice.
fn number(digits: &[u8]) -> Option<u32> {
    match digits {
        [digit @ b'0'..=b'9'] => Some(u32::from(digit - b'0')),
        _ => std::str::from_utf8(digits).ok()?.parse().ok(),
    }
}

/// Whether a value is set: neither null, false, zero nor empty.
fn is_set(value: JsonValue<'_>) -> bool {
    match value {
        JsonValue::Null | JsonValue::False | JsonValue::Word(_) => false,
        JsonValue::True => true,
        JsonValue::Number(number) => number.iter().any(|byte| matches!(byte, b'1'..=b'9')),
        JsonValue::String(text) => !text.is_empty(),
    }
}
