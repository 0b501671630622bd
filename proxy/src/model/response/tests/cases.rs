//! Responses in every format, each with the expected facts.

use super::*;

mod failures;
mod openai;
mod others;

/// A response and its expected facts.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) format: ResponseFormat,
    pub(super) operation: Option<Operation>,
    pub(super) body: String,
    pub(super) model: Option<&'static str>,
    pub(super) reasons: &'static [&'static str],
    /// Input, output, read from the cache, written to the cache, reasoning.
    pub(super) tokens: [Option<u64>; 5],
    pub(super) contents: u64,
    pub(super) layout: ResponseLayout,
    pub(super) ending: Ending,
    pub(super) is_successful: bool,
}

/// Input and output only.
pub(super) const fn tokens(input: u64, output: u64) -> [Option<u64>; 5] {
    [Some(input), Some(output), None, None, None]
}

pub(super) const NO_TOKENS: [Option<u64>; 5] = [None; 5];

/// Events without names.
pub(super) fn events(data: &[&str]) -> String {
    data.iter()
        .map(|data| format!("data: {data}\n\n"))
        .collect()
}

/// Events whose names are the types that their data begins with.
pub(super) fn named(data: &[&str]) -> String {
    let name = |data: &str| data.split('"').nth(3).unwrap_or_default().to_owned();
    data.iter()
        .map(|data| format!("event: {}\r\ndata: {data}\r\n\r\n", name(data)))
        .collect()
}

fn lines(data: &[&str]) -> String {
    data.iter().map(|data| format!("{data}\n")).collect()
}

fn text(operation: Operation, name: &'static str, body: &str) -> Case {
    Case {
        name,
        format: ResponseFormat::Json,
        operation: Some(operation),
        body: body.to_owned(),
        model: None,
        reasons: &[],
        tokens: NO_TOKENS,
        contents: 0,
        layout: ResponseLayout::Text,
        ending: Ending::Terminal,
        is_successful: true,
    }
}

fn stream(operation: Operation, name: &'static str, body: String) -> Case {
    Case {
        format: ResponseFormat::Sse,
        body,
        layout: ResponseLayout::Events,
        ..text(operation, name, "")
    }
}

pub(super) fn all() -> Vec<Case> {
    [
        openai::chats(),
        openai::streams(),
        openai::unfinished(),
        openai::embeddings(),
        openai::responses(),
        openai::anthropic(),
        others::gemini(),
        others::gemini_of_several(),
        others::ollama(),
        others::cohere(),
        others::without_text(),
        others::of_no_format(),
        failures::texts(),
        failures::streams(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
