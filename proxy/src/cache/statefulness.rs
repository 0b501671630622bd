//! Whether the response to a request depends on more than the request: on state of the backend, on work that is
//! done later, and, in OpenAI's Responses API, on tools of the provider and on items and prompts that are referred to
//! by their ids
//! ([reference](https://platform.openai.com/docs/api-reference/responses/create)).

use crate::model::json::{Container, Interest, JsonPosition, JsonValue, Visitor};
use crate::model::operation::Operation;

/// Finds out while the body is parsed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Statefulness {
    operation: Option<Operation>,
    store: Store,
    /// Whether the current tool or item refers to nothing outside the request.
    is_self_contained: bool,
    is_stateful: bool,
}

/// Whether the backend stores the response as an object (`store`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Store {
    Unspecified,
    No,
    Yes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    Root,
    Store,
    /// The id of an object of the backend.
    Id,
    /// Whether the work is done later.
    Later,
    Tools,
    Tool,
    ToolType,
    Input,
    Item,
    ItemType,
    Prompt,
    Ignored,
}

impl JsonPosition for At {
    const ROOT: Self = At::Root;
    const IGNORED: Self = At::Ignored;

    fn interest(self) -> Interest {
        match self {
            At::Store | At::Id | At::Later | At::ToolType | At::ItemType => Interest::Short,
            _ => Interest::Nothing,
        }
    }
}

impl Statefulness {
    pub(super) fn new(operation: Option<Operation>) -> Self {
        Statefulness {
            operation,
            store: Store::Unspecified,
            is_self_contained: false,
            is_stateful: false,
        }
    }

    /// Whether the response depends on the request alone. The Responses API stores a response by default.
    pub(super) fn is_none(&self) -> bool {
        let stored = match self.store {
            Store::Yes => true,
            Store::No => false,
            Store::Unspecified => self.operation == Some(Operation::Responses),
        };
        !self.is_stateful && !stored
    }

    fn of_root(&self, name: &[u8]) -> At {
        match name {
            b"store" => At::Store,
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
            | b"container" => At::Id,
            b"background" | b"deferred" => At::Later,
            _ if self.operation != Some(Operation::Responses) => At::Ignored,
            b"tools" => At::Tools,
            b"input" => At::Input,
            b"prompt" => At::Prompt,
            _ => At::Ignored,
        }
    }
}

impl Visitor for Statefulness {
    type Position = At;

    fn member(&mut self, of: At, name: &[u8]) -> At {
        match (of, name) {
            (At::Root, name) => self.of_root(name),
            (At::Tool, b"type") => At::ToolType,
            (At::Item, b"type") => At::ItemType,
            (At::Item, b"content") => {
                self.is_self_contained = true;
                At::Ignored
            }
            _ => At::Ignored,
        }
    }

    fn element(&mut self, of: At) -> At {
        match of {
            At::Tools => At::Tool,
            At::Input => At::Item,
            _ => At::Ignored,
        }
    }

    fn open(&mut self, at: At, _container: Container) {
        match at {
            At::Tool | At::Item => self.is_self_contained = false,
            At::Store => self.store = Store::Yes,
            At::Id | At::Later | At::Prompt => self.is_stateful = true,
            _ => {}
        }
    }

    fn close(&mut self, at: At, _container: Container) {
        if matches!(at, At::Tool | At::Item) {
            self.is_stateful |= !self.is_self_contained;
        }
    }

    fn value(&mut self, at: At, value: JsonValue<'_>) {
        match (at, value) {
            (At::Store, JsonValue::Null) => self.store = Store::Unspecified,
            (At::Store, JsonValue::False) => self.store = Store::No,
            (At::Store, _) => self.store = Store::Yes,
            (At::Id, JsonValue::Null | JsonValue::String(b"")) => {}
            (At::Later, JsonValue::Null | JsonValue::False) => {}
            (At::Id | At::Later, _) => self.is_stateful = true,
            (At::ToolType, JsonValue::String(b"function" | b"custom")) => {
                self.is_self_contained = true
            }
            (At::ItemType, JsonValue::String(b"item_reference")) => self.is_stateful = true,
            (At::ItemType, JsonValue::String(_)) => self.is_self_contained = true,
            _ => {}
        }
    }
}

#[cfg(test)]
#[path = "statefulness_tests.rs"]
mod tests;
