//! `cache.ignore` and `cache.ignore_headers`: what is left out of the cache key. An entry that has no effect, or that surely
//! mixes up responses, causes a warning.

use http::HeaderName;

use crate::cache::credentials::may_carry_credential;
use crate::cache::pointer::{POINTERS_MAX, Pointer};
use crate::cache::unkeyed::is_unkeyed;
use crate::config::raw::cache::{Cache, JsonPointer};
use crate::settings::diagnostic::Diagnostics;
use crate::settings::lists::{Placed, refuse_duplicates};
use crate::signature;

/// Headers that select the format of a response, or how the backend reads the body.
const FORMAT_HEADERS: [&str; 3] = ["accept", "content-type", "x-dashscope-sse"];

pub(super) fn headers(
    raw: &Cache,
    schemes: &[signature::Config],
    diagnostics: &mut Diagnostics,
) -> Vec<HeaderName> {
    let list = raw.ignore_headers.value().map_or(&[][..], |list| &list.0);
    let names = list.iter().map(|at| (at.value.as_str(), at.place));
    refuse_duplicates("header", names, diagnostics);
    for (position, Placed { place, value }) in list.iter().enumerate() {
        match value.as_str() {
            "*" => diagnostics.error(*place, "`*` is not supported for headers; list the names"),
            "host" | "x-forwarded-host" => diagnostics.error(
                *place,
                "the host is always part of the cache key; remove it from this list",
            ),
            _ => {
                if let Some(does) = flaw_of_header(value, schemes) {
                    let path = format!("{}[{position}]", raw.ignore_headers.path);
                    diagnostics.warn(&path, *place, &does);
                }
            }
        }
    }
    list.iter().map(|at| at.value.clone()).collect()
}

/// What a header in the list does that is surely not intended.
fn flaw_of_header(name: &HeaderName, schemes: &[signature::Config]) -> Option<String> {
    let is_verified =
        |scheme: &signature::Config| scheme.unkeyed_headers().any(|unkeyed| unkeyed == name);
    if is_unkeyed(name.as_str()) {
        Some(format!(
            "has no effect: `{name}` is never part of the cache key; remove it"
        ))
    } else if !schemes.is_empty() && schemes.iter().all(is_verified) {
        Some(format!(
            "has no effect: the signature verifies `{name}`, which is therefore not part of the cache key; remove it"
        ))
    } else if may_carry_credential(name.as_str()) {
        Some(format!(
            "removes `{name}` from the cache key: a response to one credential is served to requests with \
             another credential, or with none"
        ))
    } else if FORMAT_HEADERS.contains(&name.as_str()) {
        Some(changes_responses(name.as_str()))
    } else {
        None
    }
}

pub(super) fn pointers(raw: &Cache, diagnostics: &mut Diagnostics) -> Vec<Pointer> {
    let list = raw.ignore.value().map_or(&[][..], |list| &list.0);
    let pointers = list.iter().map(|at| (&*at.value.text, at.place));
    refuse_duplicates("JSON pointer", pointers, diagnostics);
    if let Some(beyond) = list.get(POINTERS_MAX) {
        let message = format!("a route has at most {POINTERS_MAX} JSON pointers");
        diagnostics.error(beyond.place, message);
    }
    for (position, Placed { place, value }) in list.iter().enumerate() {
        if let Some(does) = flaw_of_pointer(value, list) {
            let path = format!("{}[{position}]", raw.ignore.path);
            diagnostics.warn(&path, *place, &does);
        }
    }
    list.iter().map(|at| at.value.pointer.clone()).collect()
}

/// What a pointer in the list does that is surely not intended.
fn flaw_of_pointer(
    JsonPointer { text, pointer }: &JsonPointer,
    list: &[Placed<JsonPointer>],
) -> Option<String> {
    let has = |name: &str| pointer.tokens().any(|token| token == name);
    let is_outer = |at: &&Placed<JsonPointer>| pointer.is_inside(&at.value.pointer);
    if has("-") {
        Some(
            "names no element: `-` is the place after the last one (RFC 6901); \
             write an index, such as /messages/0/name"
                .to_owned(),
        )
    } else if has("*") {
        Some(
            "names a member called `*`: a JSON pointer has no wildcards (RFC 6901); \
             write an index, such as /messages/0/name"
                .to_owned(),
        )
    } else if let Some(index) = zero_padded_index(pointer) {
        let number = match index.trim_start_matches('0') {
            "" => "0",
            number => number,
        };
        Some(format!(
            "names no element: the index of one has no leading zero (RFC 6901); write `{number}` instead of `{index}`"
        ))
    } else if let Some(outer) = list.iter().find(is_outer) {
        let (outer, line) = (&outer.value.text, outer.place.line);
        Some(format!(
            "has no effect: `{outer}` (line {line}) contains it; remove one of them"
        ))
    } else if may_change_responses(pointer) {
        Some(changes_responses(text))
    } else {
        None
    }
}

/// An index with a leading zero, of a list of a request. Elsewhere it may be the name of a member.
fn zero_padded_index(pointer: &Pointer) -> Option<&str> {
    const LISTS: [&str; 2] = ["content", "parts"];
    let lists = pointer.tokens();
    let pairs = lists.zip(pointer.tokens().skip(1)).enumerate();
    pairs
        .filter(|(depth, (list, _))| match depth {
            0 => CONTENT.contains(list),
            _ => LISTS.contains(list),
        })
        .map(|(_, (_, index))| index)
        .find(|index| index.len() > 1 && index.starts_with('0') && is_number(index))
}

fn is_number(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_digit())
}

fn changes_responses(what: &str) -> String {
    format!(
        "removes `{what}` from the cache key, which changes responses: a request gets the stored response to \
         a request with another value"
    )
}

/// Whether a value surely changes a response: the model, the prompt or a part of it, how the response is generated or
/// sent. A `seed` is none of them: it selects one of several valid responses.
fn may_change_responses(pointer: &Pointer) -> bool {
    let mut tokens = pointer.tokens();
    let Some(first) = tokens.next() else {
        return false;
    };
    let rest: Vec<&str> = tokens.collect();
    match &rest[..] {
        [] => [&CONTENT[..], &PARAMETERS, &OBJECTS_OF_PARAMETERS[..3]]
            .iter()
            .any(|names| names.contains(&first)),
        [name] if OBJECTS_OF_PARAMETERS.contains(&first) => PARAMETERS.contains(name),
        [.., last] => CONTENT.contains(&first) && is_part(last),
    }
}

/// A part of the prompt that a model reads.
fn is_part(name: &str) -> bool {
    const PARTS: [&str; 4] = ["content", "parts", "role", "text"];
    PARTS.contains(&name) || is_number(name)
}

/// What a model reads.
const CONTENT: [&str; 17] = [
    "contents",
    "documents",
    "functions",
    "input",
    "inputs",
    "instructions",
    "messages",
    "model",
    "previous_response_id",
    "prompt",
    "query",
    "suffix",
    "system",
    "systemInstruction",
    "system_instruction",
    "texts",
    "tools",
];

/// How a response is generated and sent.
const PARAMETERS: [&str; 42] = [
    "dimensions",
    "encoding_format",
    "format",
    "frequencyPenalty",
    "frequency_penalty",
    "function_call",
    "logit_bias",
    "logprobs",
    "maxOutputTokens",
    "maxTokens",
    "max_completion_tokens",
    "max_output_tokens",
    "max_tokens",
    "min_p",
    "modalities",
    "n",
    "num_ctx",
    "num_predict",
    "presencePenalty",
    "presence_penalty",
    "reasoning",
    "reasoning_effort",
    "repetition_penalty",
    "responseMimeType",
    "responseSchema",
    "response_format",
    "result_format",
    "stop",
    "stopSequences",
    "stop_sequences",
    "stream",
    "temperature",
    "thinking",
    "thinkingConfig",
    "toolConfig",
    "tool_choice",
    "topK",
    "topP",
    "top_k",
    "top_logprobs",
    "top_n",
    "top_p",
];

/// Where Gemini, Bedrock, Ollama and DashScope have their parameters. The names of the last two may mean something else
/// in other formats.
const OBJECTS_OF_PARAMETERS: [&str; 5] = [
    "generationConfig",
    "generation_config",
    "inferenceConfig",
    "options",
    "parameters",
];
