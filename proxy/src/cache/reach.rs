//! What the answer to a request depends on beside the request: what the backend remembers, what it is to do
//! later, and, of a request for one of OpenAI's responses, tools that look into the world and items and prompts
//! of which there are only the ids
//! ([reference](https://platform.openai.com/docs/api-reference/responses/create)).

use crate::model::json::{Container, Place, Value, Visitor, Wants};
use crate::model::operation::Operation;

/// Sees what a request reaches beyond itself, while its body is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    operation: Option<Operation>,
    store: Store,
    /// Whether the tool or item that is being read stands for nothing but what is written in it.
    is_plain: bool,
    reaches_beyond: bool,
}

/// Whether the backend is to keep the answer as an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Store {
    Unsaid,
    No,
    Yes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    Root,
    Store,
    /// The id of something that the backend remembers.
    Id,
    /// Whether the answer is given later.
    Later,
    Tools,
    Tool,
    ToolType,
    Input,
    Item,
    ItemType,
    Prompt,
    Nowhere,
}

impl Place for At {
    const ROOT: Self = At::Root;
    const NOWHERE: Self = At::Nowhere;

    fn wants(self) -> Wants {
        match self {
            At::Store | At::Id | At::Later | At::ToolType | At::ItemType => Wants::Short,
            _ => Wants::Nothing,
        }
    }
}

impl Reach {
    pub(super) fn new(operation: Option<Operation>) -> Self {
        Reach {
            operation,
            store: Store::Unsaid,
            is_plain: false,
            reaches_beyond: false,
        }
    }

    /// Whether the answer comes from the request alone. Who asks for a response and does not say otherwise
    /// has it stored.
    pub(super) fn is_none(&self) -> bool {
        let stored = match self.store {
            Store::Yes => true,
            Store::No => false,
            Store::Unsaid => self.operation == Some(Operation::Responses),
        };
        !self.reaches_beyond && !stored
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
            _ if self.operation != Some(Operation::Responses) => At::Nowhere,
            b"tools" => At::Tools,
            b"input" => At::Input,
            b"prompt" => At::Prompt,
            _ => At::Nowhere,
        }
    }
}

impl Visitor for Reach {
    type Place = At;

    fn member(&mut self, of: At, name: &[u8]) -> At {
        match (of, name) {
            (At::Root, name) => self.of_root(name),
            (At::Tool, b"type") => At::ToolType,
            (At::Item, b"type") => At::ItemType,
            (At::Item, b"content") => {
                self.is_plain = true;
                At::Nowhere
            }
            _ => At::Nowhere,
        }
    }

    fn element(&mut self, of: At) -> At {
        match of {
            At::Tools => At::Tool,
            At::Input => At::Item,
            _ => At::Nowhere,
        }
    }

    fn open(&mut self, at: At, _container: Container) {
        match at {
            At::Tool | At::Item => self.is_plain = false,
            At::Store => self.store = Store::Yes,
            At::Id | At::Later | At::Prompt => self.reaches_beyond = true,
            _ => {}
        }
    }

    fn close(&mut self, at: At, _container: Container) {
        if matches!(at, At::Tool | At::Item) {
            self.reaches_beyond |= !self.is_plain;
        }
    }

    fn value(&mut self, at: At, value: Value<'_>) {
        match (at, value) {
            (At::Store, Value::Null) => self.store = Store::Unsaid,
            (At::Store, Value::False) => self.store = Store::No,
            (At::Store, _) => self.store = Store::Yes,
            (At::Id, Value::Null | Value::String(b"")) => {}
            (At::Later, Value::Null | Value::False) => {}
            (At::Id | At::Later, _) => self.reaches_beyond = true,
            (At::ToolType, Value::String(b"function" | b"custom")) => self.is_plain = true,
            (At::ItemType, Value::String(b"item_reference")) => self.reaches_beyond = true,
            (At::ItemType, Value::String(_)) => self.is_plain = true,
            _ => {}
        }
    }
}

#[cfg(test)]
#[path = "reach_tests.rs"]
mod tests;
