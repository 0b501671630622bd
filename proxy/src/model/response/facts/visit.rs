//! What is noted of a document while its values are shown.

use super::{Document, Facts, IsLast};
use crate::model::cut;
use crate::model::estimate::Part;
use crate::model::json::{Container, End, Value, Visitor};
use crate::model::response::ResponseForm;
use crate::model::response::kinds::{Status, Type, is_reason};
use crate::model::response::place::{Place, element, member};

impl Visitor for Facts {
    type Place = Place;

    fn member(&mut self, of: Place, name: &[u8]) -> Place {
        match of {
            Place::Document => self.has_members = true,
            Place::Results | Place::Predictions => self.has_results = true,
            // A stream that tells each time all that it said so far: what is new is in its delta.
            Place::Choice if name == b"message" && self.form == ResponseForm::Events => {
                return Place::Nowhere;
            }
            // Arguments that are an object cost what they would as a text.
            Place::Arguments => {
                self.text.begin(Part::Member);
                self.text.add(name);
            }
            _ => {}
        }
        let place = member(of, name);
        match place {
            Place::Choices if name == b"candidates" => {
                self.is_gemini = true;
                self.document.gemini.get_or_insert(IsLast::No);
            }
            Place::GeminiUsage => self.is_gemini = true,
            Place::Model => self.is_like_ollama = true,
            Place::Nowhere if of == Place::Document && name == b"created_at" => {
                self.is_like_ollama = true;
            }
            Place::CallName => self.document.has_new_call = true,
            _ => {}
        }
        place
    }

    fn element(&mut self, of: Place) -> Place {
        match of {
            Place::Choices => {
                self.document.choice.index = self.document.choice.next;
                self.document.choice.reason = None;
                if self.form == ResponseForm::Text {
                    self.text.begin(Part::Text);
                }
            }
            Place::Results | Place::Predictions => self.has_results = true,
            Place::Document => self.has_members = true,
            // A container in an error is something too.
            Place::Error => self.document.is_error = true,
            _ => {}
        }
        element(of)
    }

    fn open(&mut self, at: Place, container: Container) {
        self.document.has_begun = true;
        match (at, container) {
            (Place::Document, Container::Array) if self.form == ResponseForm::Text => {
                self.form = ResponseForm::Array;
            }
            (Place::Document, Container::Array) => self.has_events = true,
            (Place::Choices, _) => self.is_known = true,
            (Place::Function, _) => self.saw_text(),
            (Place::Envelope, Container::Object) => self.is_like_ollama = true,
            (Place::Content, Container::Array) => self.document.has_parts = true,
            (Place::Output, Container::Array) => self.document.is_response = true,
            (Place::InputDetails, _) => self.figures.has_input_details(),
            _ => {}
        }
    }

    fn close(&mut self, at: Place, container: Container) {
        match (at, container) {
            (Place::Choice, Container::Object) => self.choice_ended(),
            (Place::Document, Container::Object) => self.document_ended(),
            _ => {}
        }
    }

    fn value(&mut self, at: Place, value: Value<'_>) {
        let document = &mut self.document;
        match (at, value) {
            (Place::Figure(figure), _) => self.figures.take(figure, value),
            (Place::ChoiceFinish, Value::String(reason)) if is_reason(reason) => {
                document.choice.reason = Some(cut(&String::from_utf8_lossy(reason)).into());
            }
            (Place::ChoiceIndex, Value::Number(index)) => {
                document.choice.index = number(index).unwrap_or(document.choice.index);
            }
            (Place::Finish, Value::String(reason)) if is_reason(reason) => {
                let reason = cut(&String::from_utf8_lossy(reason)).into();
                document.reasons.push((0, reason));
            }
            (Place::Model, Value::String(model)) => self.take_model(model),
            (Place::Type, Value::String(name)) => {
                document.kind = Type::of(name);
                document.is_response |= name.starts_with(b"response.");
                document.status = document.status.or(Status::of_event(name));
            }
            (Place::Object, Value::String(name)) => {
                document.is_chunk |= name.ends_with(b".chunk");
                document.is_error |= name == b"error";
                document.is_response |= name == b"response";
            }
            (Place::Status, Value::String(status)) => {
                document.status = Status::of(status).or(document.status);
            }
            (Place::Done, Value::True) => document.done = Some(true),
            (Place::Done, Value::False) => document.done = Some(false),
            (Place::Error, _) => document.is_error |= is_filled(value),
            (Place::BaseStatus, Value::Number(status)) => document.is_error |= status != b"0",
            (Place::Blocked, Value::String(_)) => document.gemini = Some(IsLast::Perhaps),
            (Place::Document, Value::Word(b"DONE")) => document.is_marked_done = true,
            (Place::Document, _) => self.has_events = true,
            _ => {}
        }
    }

    fn text(&mut self, at: Place, piece: &[u8]) {
        if at == Place::CallName {
            // An event with no more than the name of a call is its begin, and no word of it.
            if std::mem::take(&mut self.document.has_new_call) {
                self.text.begin(Part::Call);
            }
            self.document.has_begun = true;
        } else {
            self.is_like_ollama |= at == Place::Response;
            self.saw_text();
        }
        self.text.add(piece);
    }

    fn end(&mut self, end: End) {
        match end {
            End::Closed if self.form == ResponseForm::Array => self.is_terminal = true,
            End::Closed => {}
            End::Flawed if self.document.is_marked_done && self.form != ResponseForm::Text => {
                self.is_known = true;
                self.is_terminal = true;
            }
            End::Flawed => self.is_damaged = true,
            End::Cut if self.is_at_end && self.document.has_begun => {
                self.is_damaged = true;
                self.is_cut = self.form != ResponseForm::Events;
                self.document_ended();
            }
            End::Cut | End::Malformed => {
                self.is_cut |=
                    end == End::Cut && self.is_at_end && self.form != ResponseForm::Events;
                self.document_dropped();
            }
        }
        if self.document.has_begun {
            self.document = Document::new();
        }
    }

    fn resumes(&self) -> bool {
        self.form == ResponseForm::Lines
    }
}

/// The number of a choice.
fn number(digits: &[u8]) -> Option<u32> {
    match digits {
        [digit @ b'0'..=b'9'] => Some(u32::from(digit - b'0')),
        _ => std::str::from_utf8(digits).ok()?.parse().ok(),
    }
}

/// Whether a value says something.
fn is_filled(value: Value<'_>) -> bool {
    match value {
        Value::Null | Value::False | Value::Word(_) => false,
        Value::True => true,
        Value::Number(number) => number.iter().any(|byte| matches!(byte, b'1'..=b'9')),
        Value::String(text) => !text.is_empty(),
    }
}
