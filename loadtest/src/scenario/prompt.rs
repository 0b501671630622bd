//! Prompts in the OpenAI chat format, reproducible from a seed.

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use crate::request::ResponseMode;

/// The largest prompt or recorded body: larger ones serve no test and fill the memory of this machine.
pub(super) const BYTES_MAX: usize = 64 * 1024 * 1024;
/// How many prompts are sent repeatedly.
const REPEATED: u64 = 100;

/// Generates prompts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prompts {
    /// The share of prompts that were sent before, so that a cache can answer them.
    pub repeats: f64,
    /// The shortest and the longest text; lengths are uniformly distributed.
    pub bytes: (usize, usize),
    pub seed: u64,
}

/// Why a length of prompts is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LengthError {
    #[error("expected a number of bytes such as 500, or a range such as 100..4000, found {0:?}")]
    Malformed(String),
    #[error("expected at most {BYTES_MAX} bytes, found {0:?}")]
    TooLong(String),
}

impl Prompts {
    /// The random numbers of the request with this number.
    #[must_use]
    pub fn random(&self, number: u64) -> SmallRng {
        SmallRng::seed_from_u64(self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number)
    }

    /// The body of a chat request: a repeated prompt with the probability of `repeats`, else a new one.
    pub fn body(&self, number: u64, mode: ResponseMode, random: &mut SmallRng) -> Bytes {
        let text = match random.random_bool(self.repeats.clamp(0.0, 1.0)) {
            true => {
                let known = random.random_range(0..REPEATED);
                // A repeated prompt always has the same length.
                let mut its_own = self.random(u64::MAX - known);
                self.text(&format!("known {} {known}", self.seed), &mut its_own)
            }
            false => self.text(&format!("new {} {number}", self.seed), random),
        };
        chat(&text, mode)
    }

    fn text(&self, subject: &str, random: &mut SmallRng) -> String {
        let (shortest, longest) = self.bytes;
        let bytes = random.random_range(shortest..=longest.max(shortest));
        let mut text = format!("{subject}: what is to be said of it? ");
        while text.len() < bytes {
            text.push_str("Tell me more. ");
        }
        // The subject is kept, or different prompts would become equal.
        text.truncate(bytes.max(subject.len()));
        text
    }
}

fn chat(text: &str, mode: ResponseMode) -> Bytes {
    let mut body = json!({
        "model": "demo",
        "messages": [{"role": "user", "content": text}],
    });
    if mode == ResponseMode::Stream {
        body["stream"] = json!(true);
    }
    Bytes::from(body.to_string())
}

/// A chat request of about this many bytes.
pub(super) fn sized(seed: u64, number: u64, bytes: usize, mode: ResponseMode) -> Bytes {
    let start = format!("{seed} {number} ");
    let rest = bytes.saturating_sub(chat(&start, mode).len());
    chat(&(start + &"x".repeat(rest)), mode)
}

/// Parses `500` and `100..4000`.
///
/// # Errors
/// What is wrong, and what to write instead.
pub fn lengths(text: &str) -> Result<(usize, usize), LengthError> {
    let malformed = || LengthError::Malformed(text.to_owned());
    let number = |text: &str| text.trim().parse::<usize>().map_err(|_| malformed());
    let (shortest, longest) = match text.split_once("..") {
        Some((shortest, longest)) => (number(shortest)?, number(longest)?),
        None => (number(text)?, number(text)?),
    };
    if shortest > longest {
        return Err(malformed());
    }
    if longest > BYTES_MAX {
        return Err(LengthError::TooLong(text.to_owned()));
    }
    Ok((shortest, longest))
}
