//! An answer that is one JSON text: read whole where it is small, else from its two ends, where
//! models put what is of interest (embeddings may be megabytes, with the usage behind them).

use memchr::memmem;
use serde::Deserialize;

use super::stream::{Members, value_after_key};
use super::{Said, Text, Tokens, value_at};

const HEAD_BYTES_MAX: usize = 64 * 1024;
/// At least so much of the end is kept, and up to twice as much.
const TAIL_BYTES_MIN: usize = 16 * 1024;

/// The begin and the end of a body.
#[derive(Debug, Default)]
pub(super) struct Ends {
    head: Vec<u8>,
    tail: Vec<u8>,
    /// Bytes between the two that are not kept.
    lost_bytes: u64,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    model: Option<Text<'a>>,
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow)]
    stop_reason: Option<Text<'a>>,
    usage: Option<Tokens>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    finish_reason: Option<Text<'a>>,
}

impl Ends {
    pub(super) fn keep(&mut self, chunk: &[u8]) {
        let room = HEAD_BYTES_MAX - self.head.len();
        let (head, tail) = chunk.split_at(room.min(chunk.len()));
        self.head.extend_from_slice(head);
        if tail.is_empty() {
            return;
        }
        if self.tail.len() + tail.len() <= 2 * TAIL_BYTES_MIN {
            self.tail.extend_from_slice(tail);
            return;
        }
        // Only the last part stays; this moves bytes at most once for each that came.
        let new = &tail[tail.len().saturating_sub(TAIL_BYTES_MIN)..];
        let old = (TAIL_BYTES_MIN - new.len()).min(self.tail.len());
        let before = self.tail.len() + tail.len();
        self.tail.drain(..self.tail.len() - old);
        self.tail.extend_from_slice(new);
        self.lost_bytes += (before - self.tail.len()) as u64;
    }

    /// For the test of the bound.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.head.capacity() + self.tail.capacity()
    }

    pub(super) fn read(mut self) -> Said {
        if self.lost_bytes == 0 {
            let head_bytes = self.head.len();
            self.head.append(&mut self.tail);
            if let Some(usage) = read_whole(&self.head) {
                return usage;
            }
            self.tail = self.head.split_off(head_bytes);
        }
        self.read_pieces()
    }

    /// Of a body that is not there whole, or has a field of another type than it should.
    fn read_pieces(&self) -> Said {
        let mut usage = Said::default();
        for (key, value) in Members::of(&self.head) {
            match key {
                b"model" => take_text(value, |model| usage.take_model(model)),
                b"finish_reason" | b"stop_reason" => {
                    take_text(value, |reason| usage.take_finish_reason(reason));
                }
                b"usage" => take_tokens(value, &mut usage),
                _ => {}
            }
        }
        // Where the tail begins, nothing says whether that is inside a string: search for the
        // quoted names instead, which no string can hold unescaped.
        if let Some(value) = last_value(&self.tail, b"\"model\"") {
            take_text(value, |model| usage.take_model(model));
        }
        for name in [b"\"finish_reason\"".as_slice(), b"\"stop_reason\""] {
            if let Some(value) = last_value(&self.tail, name) {
                take_text(value, |reason| usage.take_finish_reason(reason));
            }
        }
        if let Some(value) = last_value(&self.tail, b"\"usage\"") {
            take_tokens(value, &mut usage);
        }
        usage
    }
}

fn read_whole(body: &[u8]) -> Option<Said> {
    let answer: Answer<'_> = serde_json::from_slice(body).ok()?;
    let mut usage = Said::default();
    if let Some(Text(model)) = &answer.model {
        usage.take_model(model);
    }
    let of_choices = answer.choices.iter().flatten();
    let reasons = of_choices
        .filter_map(|choice| choice.finish_reason.as_ref())
        .chain(&answer.stop_reason);
    for Text(reason) in reasons {
        usage.take_finish_reason(reason);
    }
    if let Some(tokens) = &answer.usage {
        usage.take_tokens(tokens);
    }
    Some(usage)
}

fn take_text(value: &[u8], take: impl FnOnce(&str)) {
    if let Some(Text(text)) = value_at(value) {
        take(&text);
    }
}

fn take_tokens(value: &[u8], usage: &mut Said) {
    if let Some(tokens) = value_at(value) {
        usage.take_tokens(&tokens);
    }
}

/// What follows the last key of this name.
fn last_value<'a>(text: &'a [u8], quoted_name: &[u8]) -> Option<&'a [u8]> {
    let position = memmem::rfind(text, quoted_name)?;
    value_after_key(&text[position + quoted_name.len()..])
}
