//! Questions in the OpenAI chat format, the same at every run with their seed.

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

/// Of a question, and of one that was recorded: more would be of no use, and fill this machine.
pub(super) const BYTES_MAX: usize = 64 * 1024 * 1024;
/// Questions that are asked again and again.
const KNOWN: u64 = 100;

/// How questions are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Questions {
    /// The share of questions that were asked before.
    pub repeats: f64,
    /// The shortest and the longest text; lengths between them are equally frequent.
    pub bytes: (usize, usize),
    pub seed: u64,
}

/// Whether the answer is to come at once or in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    Whole,
    Stream,
}

impl Questions {
    /// What is random of the request with this number.
    #[must_use]
    pub fn random(&self, number: u64) -> SmallRng {
        SmallRng::seed_from_u64(self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number)
    }

    /// By its share one of a hundred that are asked again and again, else a new one.
    pub fn body(&self, number: u64, wants: Wants, random: &mut SmallRng) -> Bytes {
        let text = match random.random_bool(self.repeats.clamp(0.0, 1.0)) {
            true => {
                let known = random.random_range(0..KNOWN);
                // The same question is as long at every time.
                let mut its_own = self.random(u64::MAX - known);
                self.text(&format!("known {} {known}", self.seed), &mut its_own)
            }
            false => self.text(&format!("new {} {number}", self.seed), random),
        };
        chat(&text, wants)
    }

    fn text(&self, subject: &str, random: &mut SmallRng) -> String {
        let (shortest, longest) = self.bytes;
        let bytes = random.random_range(shortest..=longest.max(shortest));
        let mut text = format!("{subject}: what is to be said of it? ");
        while text.len() < bytes {
            text.push_str("Tell me more. ");
        }
        // The subject stays, or questions that are meant to differ would be one.
        text.truncate(bytes.max(subject.len()));
        text
    }
}

fn chat(text: &str, wants: Wants) -> Bytes {
    let mut question = json!({
        "model": "demo",
        "messages": [{"role": "user", "content": text}],
    });
    if wants == Wants::Stream {
        question["stream"] = json!(true);
    }
    Bytes::from(question.to_string())
}

/// A question whose body has about so many bytes.
pub(super) fn sized(seed: u64, number: u64, bytes: usize, wants: Wants) -> Bytes {
    let start = format!("{seed} {number} ");
    let rest = bytes.saturating_sub(chat(&start, wants).len());
    chat(&(start + &"x".repeat(rest)), wants)
}

/// Reads `500` and `100..4000`.
///
/// # Errors
/// What was wrong, and what to write instead.
pub fn lengths(text: &str) -> Result<(usize, usize), String> {
    let wrong = || format!("expected bytes such as 500, or 100..4000, found {text:?}");
    let number = |text: &str| text.trim().parse::<usize>().map_err(|_| wrong());
    let (shortest, longest) = match text.split_once("..") {
        Some((shortest, longest)) => (number(shortest)?, number(longest)?),
        None => (number(text)?, number(text)?),
    };
    if shortest > longest {
        return Err(wrong());
    }
    if longest > BYTES_MAX {
        return Err(format!(
            "expected at most {BYTES_MAX} bytes, found {text:?}"
        ));
    }
    Ok((shortest, longest))
}
