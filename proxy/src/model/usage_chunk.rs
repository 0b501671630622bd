//! The chunk that tells the usage of a stream of chat completions whose client asked for it: `choices` is an
//! empty array, `usage` an object (platform.openai.com/docs/api-reference/chat-streaming).

use super::json::{Container, End, Place, Scanner, Value, Visitor, Wants};

/// Members that belong to the answer, of whatever provider: a chunk with one of them tells more than the usage,
/// and its client would miss it.
const OF_THE_ANSWER: [&[u8]; 17] = [
    b"annotations",
    b"citations",
    b"content_filter_results",
    b"delta",
    b"documents",
    b"grounding_metadata",
    b"images",
    b"message",
    b"prompt_annotations",
    b"prompt_filter_results",
    b"references",
    b"related_questions",
    b"search_info",
    b"search_results",
    b"sources",
    b"warnings",
    b"web_search",
];

/// Looks at the data of one event as it comes.
#[derive(Debug, Default)]
pub struct UsageChunk {
    scanner: Scanner<At>,
    seen: Seen,
}

/// What the data may still be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looks {
    /// The usage chunk, as far as it has come.
    LikeUsage,
    /// Something else, whatever follows.
    Otherwise,
}

#[derive(Debug, Default)]
struct Seen {
    no_choices: bool,
    usage: bool,
    closed: bool,
    anything_else: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Root,
    Choices,
    Choice,
    Usage,
    Error,
    /// Nothing stands there, or the chunk is another one.
    OfTheAnswer,
    Nowhere,
}

impl UsageChunk {
    /// Reads the next piece of the data.
    pub fn feed(&mut self, piece: &[u8]) -> Looks {
        self.scanner.feed(piece, &mut self.seen);
        match self.seen.anything_else {
            true => Looks::Otherwise,
            false => Looks::LikeUsage,
        }
    }

    /// Whether the data that was fed is the chunk.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let Seen {
            no_choices,
            usage,
            closed,
            anything_else,
        } = self.seen;
        no_choices && usage && closed && !anything_else
    }
}

impl Place for At {
    const ROOT: Self = At::Root;
    const NOWHERE: Self = At::Nowhere;

    fn wants(self) -> Wants {
        match self {
            At::Nowhere => Wants::Nothing,
            _ => Wants::Short,
        }
    }
}

impl Visitor for Seen {
    type Place = At;

    fn member(&mut self, of: At, name: &[u8]) -> At {
        match (of, name) {
            (At::Root, b"choices") => At::Choices,
            (At::Root, b"usage") => At::Usage,
            (At::Root, b"error") => At::Error,
            (At::Root, name) if OF_THE_ANSWER.contains(&name) => At::OfTheAnswer,
            (At::OfTheAnswer, _) => {
                self.anything_else = true;
                At::Nowhere
            }
            _ => At::Nowhere,
        }
    }

    fn element(&mut self, of: At) -> At {
        match of {
            At::Choices => At::Choice,
            At::OfTheAnswer => {
                self.anything_else = true;
                At::Nowhere
            }
            _ => At::Nowhere,
        }
    }

    fn open(&mut self, at: At, container: Container) {
        match (at, container) {
            (At::Root, Container::Object) if !self.closed => {}
            (At::Choices, Container::Array) => self.no_choices = true,
            (At::Usage, Container::Object) => self.usage = true,
            (At::OfTheAnswer, _) => {}
            _ => self.anything_else = true,
        }
    }

    fn value(&mut self, at: At, value: Value<'_>) {
        self.anything_else |= match (at, value) {
            (At::Error | At::OfTheAnswer, Value::Null) => false,
            (At::OfTheAnswer, Value::String(text)) => !text.is_empty(),
            _ => true,
        };
    }

    fn end(&mut self, end: End) {
        match end {
            End::Closed if !self.closed => self.closed = true,
            _ => self.anything_else = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_usage(pieces: &[&[u8]]) -> bool {
        let mut chunk = UsageChunk::default();
        for piece in pieces {
            chunk.feed(piece);
        }
        chunk.is_whole()
    }

    #[test]
    fn the_chunk_is_told_from_all_others_however_it_is_cut() {
        for (data, expected) in [
            (r#"{"choices":[],"usage":{"total_tokens":3}}"#, true),
            (r#" { "usage" : { } , "choices" : [ ] } "#, true),
            (
                r#"{"id":"x","choices":[],"obfuscation":"[{","usage":{"a":[1]},"error":null}"#,
                true,
            ),
            (r#"{"\u0063hoices":[],"us\u0061ge":{}}"#, true),
            (
                r#"{"x":{"choices":[1]},"choices":[],"usage":{"usage":null}}"#,
                true,
            ),
            (
                r#"{"choices":[],"usage":{},"citations":[],"search_results":null,"sources":""}"#,
                true,
            ),
            (
                r#"{"choices":[],"usage":{},"service_tier":"x","system_fingerprint":"y","timings":{"ms":1}}"#,
                true,
            ),
            (r#"{"choices":[],"usage":{},"citations":["a"]}"#, false),
            (
                r#"{"search_results":[{"url":"a"}],"choices":[],"usage":{}}"#,
                false,
            ),
            (
                r#"{"choices":[],"usage":{},"grounding_metadata":{"chunks":[]}}"#,
                false,
            ),
            (r#"{"choices":[],"usage":{},"sources":"a"}"#, false),
            (r#"{"choices":[{}],"usage":{}}"#, false),
            (r#"{"choices":[null],"usage":{}}"#, false),
            (r#"{"choices":[],"usage":null}"#, false),
            (r#"{"choices":[],"usage":[]}"#, false),
            (r#"{"choices":[],"prompt_filter_results":[{}]}"#, false),
            (r#"{"choices":null,"usage":{}}"#, false),
            (r#"{"choices":{},"usage":{}}"#, false),
            (r#"{"usage":{}}"#, false),
            (
                r#"{"choices":[],"usage":{},"choices":[{"index":0}]}"#,
                false,
            ),
            (r#"{"choices":[],"usage":{},"usage":null}"#, false),
            (
                r#"{"choices":[],"usage":{},"error":{"message":"x"}}"#,
                false,
            ),
            (r#"{"choices":[],"usage":{}"#, false),
            (r#"{"choices":[],"usage":{},}"#, false),
            (r#"{"choices":[],"usage":{}}{}"#, false),
            (r#"[{"choices":[],"usage":{}}]"#, false),
            ("[DONE]", false),
            ("", false),
            ("null", false),
            ("7", false),
        ] {
            let bytes = data.as_bytes();
            for at in 0..=bytes.len() {
                let (before, after) = bytes.split_at(at);
                assert_eq!(is_usage(&[before, after]), expected, "{data} cut at {at}");
            }
        }
    }

    #[test]
    fn what_is_something_else_is_known_as_soon_as_it_shows() {
        for (begin, looks) in [
            (r#"{"id":"x","model":"m","choices":"#, Looks::LikeUsage),
            (r#"{"id":"x","model":"m","choices":["#, Looks::LikeUsage),
            (r#"{"id":"x","model":"m","choices":[{"#, Looks::Otherwise),
            (r#"{"usage":{"completion_tokens":"#, Looks::LikeUsage),
            (r#"{"usage":null,"#, Looks::Otherwise),
            ("[", Looks::Otherwise),
            ("hello", Looks::LikeUsage),
            ("<", Looks::Otherwise),
        ] {
            assert_eq!(
                UsageChunk::default().feed(begin.as_bytes()),
                looks,
                "{begin}"
            );
        }
    }
}
