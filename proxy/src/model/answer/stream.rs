//! An answer that is a stream: each event is looked through once for the few keys that matter,
//! without reading the JSON as a whole.

use std::time::Instant;

use memchr::{memchr, memchr2};

use super::{Said, Text, value_at};

/// Reads the data of one event.
pub(super) fn read_event(data: &[u8], now: Instant, seen: &mut Said) {
    let mut content = Content::None;
    for (key, value) in Members::of(data) {
        match key {
            // OpenAI's chat; reasoning as DeepSeek, vLLM and others send it.
            b"content" | b"reasoning_content" | b"reasoning" | b"refusal"
            // Completions and Anthropic; Anthropic's reasoning and tool calls.
            | b"text" | b"thinking" | b"partial_json"
            // Responses; the key holds an object in the other formats.
            | b"delta" => content.saw(begins_text(value)),
            b"tool_calls" | b"function_call" => content.saw(begins_filled(value)),
            b"type" if repeats_content(value) => content = Content::Repeated,
            b"finish_reason" | b"stop_reason" if value.first() == Some(&b'"') => {
                if let Some(Text(reason)) = value_at(value) {
                    seen.take_finish_reason(&reason);
                }
            }
            b"model" if seen.model.is_none() => {
                if let Some(Text(model)) = value_at(value) {
                    seen.take_model(&model);
                }
            }
            b"usage" if value.first() == Some(&b'{') => {
                if let Some(tokens) = value_at(value) {
                    seen.take_tokens(&tokens);
                }
            }
            _ => {}
        }
    }
    if content == Content::Some {
        seen.first_content_at.get_or_insert(now);
        seen.last_content_at = Some(now);
        seen.chunks_with_content += 1;
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Content {
    None,
    Some,
    /// The event only sums up what earlier ones have sent.
    Repeated,
}

impl Content {
    fn saw(&mut self, content: Content) {
        if *self == Content::None {
            *self = content;
        }
    }
}

fn begins_text(value: &[u8]) -> Content {
    match value {
        [b'"', b'"', ..] => Content::None,
        [b'"', ..] => Content::Some,
        _ => Content::None,
    }
}

fn begins_filled(value: &[u8]) -> Content {
    let Some((b'[' | b'{', inside)) = value.split_first() else {
        return Content::None;
    };
    match inside.trim_ascii_start().first() {
        None | Some(b']' | b'}') => Content::None,
        Some(_) => Content::Some,
    }
}

/// Of the Responses API's events only those named `...delta` bring new content.
fn repeats_content(type_value: &[u8]) -> bool {
    type_value.starts_with(b"\"response.")
        && match memchr(b'"', &type_value[1..]) {
            Some(end) => !type_value[1..=end].ends_with(b".delta"),
            None => true,
        }
}

/// The keys of a JSON text at any depth, in its order, each with the text from its value on. It does
/// not validate: of text that is no JSON it gives what looks like keys.
pub(super) struct Members<'a> {
    rest: &'a [u8],
}

impl<'a> Members<'a> {
    pub(super) fn of(text: &'a [u8]) -> Self {
        Members { rest: text }
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let open = memchr(b'"', self.rest)?;
            let string = &self.rest[open + 1..];
            let close = closing_quote(string)?;
            let after = &string[close + 1..];
            if let Some(value) = value_after_key(after) {
                self.rest = value;
                return Some((&string[..close], value));
            }
            self.rest = after;
        }
    }
}

/// The value behind the colon that must follow a key.
pub(super) fn value_after_key(after: &[u8]) -> Option<&[u8]> {
    let value = after.trim_ascii_start().strip_prefix(b":")?;
    Some(value.trim_ascii_start())
}

fn closing_quote(string: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr2(b'"', b'\\', string.get(at..)?)?;
        if string[at] == b'"' {
            return Some(at);
        }
        // The escaped character is not looked at, be it a quote or another backslash.
        at += 2;
    }
}
