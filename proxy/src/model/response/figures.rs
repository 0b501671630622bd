//! The tokens that an answer reports, as its format calls them, and what they come to.

use crate::model::json::Value;
use crate::model::usage::{Origin, Usage};

/// A figure of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Figure {
    /// All of the prompt.
    Prompt,
    /// The prompt by Anthropic's count, without what stands beside it as read from or written to the cache;
    /// by OpenAI's responses all of it.
    Fresh,
    Output,
    Total,
    /// Of the prompt: read from the cache.
    Cached,
    /// The same, beside [`Figure::Fresh`].
    CacheRead,
    /// Of the prompt: written to the cache.
    CacheWrite,
    /// The same, beside [`Figure::Fresh`].
    CacheCreation,
    Reasoning,
    /// Gemini's reasoning, beside [`Figure::Output`].
    Thoughts,
    /// Gemini's prompt of the results of tools, beside [`Figure::Prompt`].
    ToolPrompt,
    /// What Cohere takes money for, which is less than there was.
    BilledInput,
    BilledOutput,
    /// The prompt of one of several results.
    Each,
}

const FIGURES: usize = 14;

/// The figures of one document, or of all.
#[derive(Clone, Copy, Debug, Default)]
struct Report {
    figures: [Option<u64>; FIGURES],
    /// Whether it has details of its input as OpenAI gives them, who counts the cache within it.
    has_input_details: bool,
}

/// What the documents of an answer have reported so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    report: Report,
    /// What a document has reported that has not ended.
    pending: Report,
    /// Most documents report nothing.
    is_pending: bool,
    cache: Cache,
}

/// Where the tokens of the cache are counted that stand beside [`Figure::Fresh`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Cache {
    #[default]
    Beside,
    Within,
}

impl Report {
    fn set(&mut self, figure: Figure, count: u64) {
        replace(&mut self.figures[figure as usize], Some(count));
    }

    fn get(&self, figure: Figure) -> Option<u64> {
        self.figures[figure as usize]
    }

    /// Zero where it was not reported.
    fn count(&self, figure: Figure) -> u64 {
        self.get(figure).unwrap_or_default()
    }

    /// The first of two that says something, or else says zero.
    fn either(&self, first: Figure, second: Figure) -> Option<u64> {
        let filled = self.get(first).filter(|count| *count > 0);
        filled.or(self.get(second)).or(self.get(first))
    }

    fn of_cache(&self) -> u64 {
        let read = self.count(Figure::CacheRead);
        read.saturating_add(self.count(Figure::CacheCreation))
    }
}

impl Figures {
    /// Takes a figure of the document that is being read; one that is none is not taken.
    pub(super) fn take(&mut self, figure: Figure, value: Value<'_>) {
        if let Some(count) = count(value) {
            self.is_pending = true;
            let others = match figure {
                Figure::Each => self.pending.count(figure),
                _ => 0,
            };
            self.pending.set(figure, count.saturating_add(others));
        }
    }

    pub(super) fn has_input_details(&mut self) {
        self.is_pending = true;
        self.pending.has_input_details = true;
    }

    /// The document is whole: the last report wins, figure by figure.
    pub(super) fn take_pending(&mut self) {
        if !std::mem::take(&mut self.is_pending) {
            return;
        }
        let report = std::mem::take(&mut self.pending);
        self.note_cache(&report);
        for (figure, count) in self.report.figures.iter_mut().zip(report.figures) {
            replace(figure, count);
        }
        self.report.has_input_details |= report.has_input_details;
    }

    /// The document is not what it should be.
    pub(super) fn drop_pending(&mut self) {
        self.is_pending = false;
        self.pending = Report::default();
    }

    /// A later report may say how much of an input that was reported before came from the cache. Then it is
    /// within that input, unless it is more; and so it is where the same input is reported again.
    fn note_cache(&mut self, report: &Report) {
        let of_cache = report.of_cache();
        let before = self.report.count(Figure::Fresh);
        let told_without = before > 0 && self.report.of_cache() == 0;
        let fresh = report.count(Figure::Fresh);
        if of_cache == 0 {
            return;
        }
        if told_without && (fresh == 0 || fresh == before) && of_cache <= before {
            self.cache = Cache::Within;
        } else if fresh > 0 && fresh != before {
            self.cache = Cache::Beside;
        }
    }

    /// Whether a sum was reported, be it with its parts or without.
    pub(super) fn has_total(&self) -> bool {
        self.report.get(Figure::Total).is_some()
    }

    /// What it comes to. Where there is nothing but a total, it is the input of an answer that generated no
    /// text.
    pub(super) fn usage(&self, has_generated: bool) -> Usage {
        let report = &self.report;
        let only_total = || report.get(Figure::Total).filter(|_| !has_generated);
        let output = self.output();
        let input = self.input();
        Usage {
            input_tokens: match (input, output) {
                (None, None) => only_total(),
                _ => input,
            },
            output_tokens: output,
            cache_read_tokens: report.either(Figure::CacheRead, Figure::Cached),
            cache_creation_tokens: report.either(Figure::CacheCreation, Figure::CacheWrite),
            reasoning_tokens: report.either(Figure::Reasoning, Figure::Thoughts),
            origin: Origin::Reported,
        }
    }

    fn input(&self) -> Option<u64> {
        let report = &self.report;
        if let Some(prompt) = report.get(Figure::Prompt) {
            return Some(prompt.saturating_add(report.count(Figure::ToolPrompt)));
        }
        let Some(fresh) = report.get(Figure::Fresh) else {
            return report.get(Figure::BilledInput).or(report.get(Figure::Each));
        };
        let total = report.get(Figure::Total);
        let is_all =
            total.is_some_and(|total| total == fresh.saturating_add(report.count(Figure::Output)));
        match self.cache == Cache::Within || report.has_input_details || is_all {
            true => Some(fresh),
            false => Some(fresh.saturating_add(report.of_cache())),
        }
    }

    fn output(&self) -> Option<u64> {
        let report = &self.report;
        let thoughts = report.get(Figure::Thoughts);
        let Some(output) = report.get(Figure::Output) else {
            return thoughts.or(report.get(Figure::BilledOutput));
        };
        let reasoning = report.count(Figure::Reasoning);
        let prompt = report.get(Figure::Prompt);
        match (prompt, report.get(Figure::Total)) {
            // xAI's chat counts reasoning in the total alone.
            (Some(prompt), Some(total))
                if reasoning > 0 && total.checked_sub(prompt) == output.checked_add(reasoning) =>
            {
                Some(output.saturating_add(reasoning))
            }
            // Google's way into OpenAI's format does so too, and names no reasoning.
            (Some(prompt), Some(total))
                if reasoning == 0
                    && thoughts.is_none()
                    && report.get(Figure::ToolPrompt).is_none()
                    && output > 0 =>
            {
                Some(output.max(total.saturating_sub(prompt)))
            }
            _ => Some(output.saturating_add(thoughts.unwrap_or_default())),
        }
    }
}

/// A count takes the place of an earlier one, but zero of none.
fn replace(figure: &mut Option<u64>, count: Option<u64>) {
    if count.is_some_and(|count| count > 0) || figure.is_none() {
        *figure = count;
    }
}

/// A count of tokens: a whole number, also as a float or as a text.
fn count(value: Value<'_>) -> Option<u64> {
    /// Beyond this not every whole number is a float, so that nobody can have counted so far in JSON.
    const COUNT_MAX: u64 = 1 << 53;

    let (Value::Number(text) | Value::String(text)) = value else {
        return None;
    };
    let text = std::str::from_utf8(text).ok()?;
    if !text.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let count = text.parse().ok().or_else(|| {
        let float: f64 = text.parse().ok()?;
        (float.fract() == 0.0 && float >= 0.0).then_some(float as u64)
    });
    count.filter(|count| *count <= COUNT_MAX)
}
