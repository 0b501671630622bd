//! Detects whether the response to a request depends on more than the request: on state of the backend, on deferred
//! work, and, in OpenAI's Responses API, on tools of the provider and on items and prompts that are referenced by
//! their ids ([reference](https://platform.openai.com/docs/api-reference/responses/create)).

use crate::model::json::{Container, Interest, JsonPosition, JsonValue, Visitor};
use crate::model::operation::Operation;

/// The visitor that detects it while the body is parsed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Statefulness {
    operation: Option<Operation>,
    store: StoreMember,
    /// Whether the current tool or item refers to nothing outside the request.
    is_self_contained: bool,
    is_stateful: bool,
}

/// Whether the backend stores the response as an object (`store`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StoreMember {
    Unspecified,
    No,
    Yes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StatefulnessPosition {
    Root,
    Store,
    /// The id of an object of the backend.
    Id,
    /// Whether the work is deferred.
    Deferred,
    Tools,
    Tool,
    ToolType,
    Input,
    Item,
    ItemType,
    Prompt,
    Ignored,
}

impl JsonPosition for StatefulnessPosition {
    const ROOT: Self = StatefulnessPosition::Root;
    const IGNORED: Self = StatefulnessPosition::Ignored;

    fn interest(self) -> Interest {
        match self {
            StatefulnessPosition::Store
            | StatefulnessPosition::Id
            | StatefulnessPosition::Deferred
            | StatefulnessPosition::ToolType
            | StatefulnessPosition::ItemType => Interest::Short,
            _ => Interest::Nothing,
        }
    }
}

impl Statefulness {
    pub(super) fn new(operation: Option<Operation>) -> Self {
        Statefulness {
            operation,
            store: StoreMember::Unspecified,
            is_self_contained: false,
            is_stateful: false,
        }
    }

    /// Whether the response depends on the request alone. The Responses API stores a response by default.
    pub(super) fn is_none(&self) -> bool {
        let stored = match self.store {
            StoreMember::Yes => true,
            StoreMember::No => false,
            StoreMember::Unspecified => self.operation == Some(Operation::Responses),
        };
        !self.is_stateful && !stored
    }

    fn of_root(&self, name: &[u8]) -> StatefulnessPosition {
        match name {
            b"store" => StatefulnessPosition::Store,
            b"previous_response_id"
            | b"previousResponseId"
            | b"previous_interaction_id"
            | b"conversation"
            | b"conversation_id"
            | b"conversationId"
            | b"thread"
            | b"thread_id"
            | b"threadId"
            | b"session"
            | b"session_id"
            | b"sessionId"
            | b"chat_id"
            | b"chatId"
            | b"parent_id"
            | b"parent_message_id"
            | b"assistant_id"
            | b"container" => StatefulnessPosition::Id,
            b"background" | b"deferred" => StatefulnessPosition::Deferred,
            _ if self.operation != Some(Operation::Responses) => StatefulnessPosition::Ignored,
            b"tools" => StatefulnessPosition::Tools,
            b"input" => StatefulnessPosition::Input,
            b"prompt" => StatefulnessPosition::Prompt,
            _ => StatefulnessPosition::Ignored,
        }
    }
}

impl Visitor for Statefulness {
    type Position = StatefulnessPosition;

    fn member(&mut self, of: StatefulnessPosition, name: &[u8]) -> StatefulnessPosition {
        match (of, name) {
            (StatefulnessPosition::Root, name) => self.of_root(name),
            (StatefulnessPosition::Tool, b"type") => StatefulnessPosition::ToolType,
            (StatefulnessPosition::Item, b"type") => StatefulnessPosition::ItemType,
            (StatefulnessPosition::Item, b"content") => {
                self.is_self_contained = true;
                StatefulnessPosition::Ignored
            }
            _ => StatefulnessPosition::Ignored,
        }
    }

    fn element(&mut self, of: StatefulnessPosition) -> StatefulnessPosition {
        match of {
            StatefulnessPosition::Tools => StatefulnessPosition::Tool,
            StatefulnessPosition::Input => StatefulnessPosition::Item,
            _ => StatefulnessPosition::Ignored,
        }
    }

    fn open(&mut self, at: StatefulnessPosition, _container: Container) {
        match at {
            StatefulnessPosition::Tool | StatefulnessPosition::Item => {
                self.is_self_contained = false;
            }
            StatefulnessPosition::Store => self.store = StoreMember::Yes,
            StatefulnessPosition::Id
            | StatefulnessPosition::Deferred
            | StatefulnessPosition::Prompt => self.is_stateful = true,
            _ => {}
        }
    }

    fn close(&mut self, at: StatefulnessPosition, _container: Container) {
        if matches!(at, StatefulnessPosition::Tool | StatefulnessPosition::Item) {
            self.is_stateful |= !self.is_self_contained;
        }
    }

    fn value(&mut self, at: StatefulnessPosition, value: JsonValue<'_>) {
        match (at, value) {
            (StatefulnessPosition::Store, JsonValue::Null) => self.store = StoreMember::Unspecified,
            (StatefulnessPosition::Store, JsonValue::False) => self.store = StoreMember::No,
            (StatefulnessPosition::Store, _) => self.store = StoreMember::Yes,
            (StatefulnessPosition::Id, JsonValue::Null | JsonValue::String(b"")) => {}
            (StatefulnessPosition::Deferred, JsonValue::Null | JsonValue::False) => {}
            (StatefulnessPosition::Id | StatefulnessPosition::Deferred, _) => {
                self.is_stateful = true;
            }
            (StatefulnessPosition::ToolType, JsonValue::String(b"function" | b"custom")) => {
                self.is_self_contained = true;
            }
            (StatefulnessPosition::ItemType, JsonValue::String(b"item_reference")) => {
                self.is_stateful = true;
            }
            (StatefulnessPosition::ItemType, JsonValue::String(_)) => self.is_self_contained = true,
            _ => {}
        }
    }
}

#[cfg(test)]
#[path = "statefulness_tests.rs"]
mod tests;
