//! What a question for one of OpenAI's responses reaches beyond itself, within its lists: tools that look into
//! the world, items and prompts that only their ids stand for
//! ([reference](https://platform.openai.com/docs/api-reference/responses/create)).

use crate::model::json::{Container, Place, Scanner, Value, Visitor, Wants};

/// Whether the answer comes from what stands in the question alone.
pub(super) fn is_self_contained(question: &[u8]) -> bool {
    let mut seen = Seen::default();
    Scanner::new().feed(question, &mut seen);
    !seen.reaches_beyond
}

#[derive(Default)]
struct Seen {
    /// Whether the tool or item that is being read stands for nothing but what is written in it.
    is_plain: bool,
    reaches_beyond: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Root,
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
            At::ToolType | At::ItemType => Wants::Short,
            _ => Wants::Nothing,
        }
    }
}

impl Visitor for Seen {
    type Place = At;

    fn member(&mut self, of: At, name: &[u8]) -> At {
        match (of, name) {
            (At::Root, b"tools") => At::Tools,
            (At::Root, b"input") => At::Input,
            (At::Root, b"prompt") => At::Prompt,
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
            At::Prompt => self.reaches_beyond = true,
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
            (At::ToolType, Value::String(b"function" | b"custom")) => self.is_plain = true,
            (At::ItemType, Value::String(b"item_reference")) => self.reaches_beyond = true,
            (At::ItemType, Value::String(_)) => self.is_plain = true,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_of_the_provider_and_references_reach_beyond() {
        for (question, alone) in [
            (r#"{"input":"a"}"#, true),
            (r#"{"input":"a","tools":[],"prompt":null}"#, true),
            (r#"{"tools":[{"type":"function","name":"f"}]}"#, true),
            (r#"{"tools":[{"name":"f","type":"custom"}]}"#, true),
            (r#"{"tools":[{"type":"web_search"}]}"#, false),
            (
                r#"{"tools":[{"type":"function"},{"type":"file_search","vector_store_ids":["v"]}]}"#,
                false,
            ),
            (
                r#"{"tools":[{"type":"mcp","server_url":"u"},{"type":"function"}]}"#,
                false,
            ),
            (r#"{"tools":[{"t\u0079pe":"code_interpreter"}]}"#, false),
            (r#"{"tools":[{"name":"f"}]}"#, false),
            (r#"{"input":[{"role":"user","content":"a"}]}"#, true),
            (
                r#"{"input":[{"type":"message","role":"user","content":[{"type":"x"}]}]}"#,
                true,
            ),
            (
                r#"{"input":[{"type":"function_call_output","output":"1"}]}"#,
                true,
            ),
            (
                r#"{"input":[{"type":"item_reference","id":"msg_1"}]}"#,
                false,
            ),
            (
                r#"{"input":[{"content":"a"},{"id":"msg_1","type":"item_reference"}]}"#,
                false,
            ),
            (r#"{"input":[{"id":"msg_1"}]}"#, false),
            (r#"{"input":[{"id":"msg_1","type":null}]}"#, false),
            (r#"{"prompt":{"id":"pmpt_1"}}"#, false),
        ] {
            assert_eq!(is_self_contained(question.as_bytes()), alone, "{question}");
        }
    }
}
