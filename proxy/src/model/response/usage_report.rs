//! The token usage that a response reports in the terms of its format, and the [`Usage`] that follows from it.

use crate::model::json::JsonValue;
use crate::model::usage::{Origin, Usage};

/// A field of a usage report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenField {
    /// The whole prompt.
    Prompt,
    /// The `input_tokens`: of Anthropic, the prompt without the tokens read from and written to the cache; of OpenAI's
    /// Responses API, the whole prompt.
    Input,
    Output,
    Total,
    /// Of the prompt: read from the cache.
    Cached,
    /// Of the prompt, but not included in [`TokenField::Input`]: read from the cache.
    CacheRead,
    /// Of the prompt: written to the cache.
    CacheWrite,
    /// Of the prompt, but not included in [`TokenField::Input`]: written to the cache.
    CacheCreation,
    Reasoning,
    /// Gemini's reasoning, not included in [`TokenField::Output`].
    Thoughts,
    /// Gemini's tokens of tool results, not included in [`TokenField::Prompt`].
    ToolPrompt,
    /// What Cohere bills, which may be less than was used.
    BilledInput,
    BilledOutput,
    /// The prompt of one of several results.
    PerResult,
}

const TOKEN_FIELDS: usize = 14;

/// The fields of one document, or of all.
#[derive(Clone, Copy, Debug, Default)]
struct UsageReport {
    counts: [Option<u64>; TOKEN_FIELDS],
    /// Whether it has OpenAI's details of the input, which includes the tokens of the cache.
    has_input_details: bool,
}

/// What the documents of a response have reported so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct UsageReports {
    report: UsageReport,
    /// What the current document has reported.
    pending: UsageReport,
    /// Whether it has reported anything: most documents report nothing.
    is_pending: bool,
    cache: CacheAccounting,
}

/// Whether [`TokenField::Input`] includes the tokens of the cache that are reported besides it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum CacheAccounting {
    #[default]
    Separate,
    Included,
}

impl UsageReport {
    fn set(&mut self, field: TokenField, count: u64) {
        replace(&mut self.counts[field as usize], Some(count));
    }

    fn get(&self, field: TokenField) -> Option<u64> {
        self.counts[field as usize]
    }

    /// Zero if it was not reported.
    fn count(&self, field: TokenField) -> u64 {
        self.get(field).unwrap_or_default()
    }

    /// The first of two fields that is positive, or else reported.
    fn either(&self, first: TokenField, second: TokenField) -> Option<u64> {
        let filled = self.get(first).filter(|count| *count > 0);
        filled.or(self.get(second)).or(self.get(first))
    }

    fn of_cache(&self) -> u64 {
        let read = self.count(TokenField::CacheRead);
        read.saturating_add(self.count(TokenField::CacheCreation))
    }
}

impl UsageReports {
    /// Records a field of the current document, unless its value is not a count.
    pub(super) fn take(&mut self, field: TokenField, value: JsonValue<'_>) {
        if let Some(count) = count(value) {
            self.is_pending = true;
            let others = match field {
                TokenField::PerResult => self.pending.count(field),
                _ => 0,
            };
            self.pending.set(field, count.saturating_add(others));
        }
    }

    pub(super) fn has_input_details(&mut self) {
        self.is_pending = true;
        self.pending.has_input_details = true;
    }

    /// The current document is complete: its fields replace those of earlier ones.
    pub(super) fn take_pending(&mut self) {
        if !std::mem::take(&mut self.is_pending) {
            return;
        }
        let report = std::mem::take(&mut self.pending);
        self.note_cache(&report);
        for (field, count) in self.report.counts.iter_mut().zip(report.counts) {
            replace(field, count);
        }
        self.report.has_input_details |= report.has_input_details;
    }

    /// The current document is malformed: its fields are discarded.
    pub(super) fn drop_pending(&mut self) {
        self.is_pending = false;
        self.pending = UsageReport::default();
    }

    /// Determines whether the input includes the tokens of the cache. It does if an earlier report had the same input
    /// without them and they do not exceed it.
    fn note_cache(&mut self, report: &UsageReport) {
        let of_cache = report.of_cache();
        let before = self.report.count(TokenField::Input);
        let was_reported_without = before > 0 && self.report.of_cache() == 0;
        let fresh = report.count(TokenField::Input);
        if of_cache == 0 {
            return;
        }
        if was_reported_without && (fresh == 0 || fresh == before) && of_cache <= before {
            self.cache = CacheAccounting::Included;
        } else if fresh > 0 && fresh != before {
            self.cache = CacheAccounting::Separate;
        }
    }

    /// Whether a total was reported, with or without its parts.
    pub(super) fn has_total(&self) -> bool {
        self.report.get(TokenField::Total).is_some()
    }

    /// The resulting usage. If only a total was reported, and no text was generated, it is the input.
    pub(super) fn usage(&self, has_generated_text: bool) -> Usage {
        let report = &self.report;
        let only_total = || {
            report
                .get(TokenField::Total)
                .filter(|_| !has_generated_text)
        };
        let output = self.output();
        let input = self.input();
        Usage {
            input_tokens: match (input, output) {
                (None, None) => only_total(),
                _ => input,
            },
            output_tokens: output,
            cache_read_tokens: report.either(TokenField::CacheRead, TokenField::Cached),
            cache_creation_tokens: report.either(TokenField::CacheCreation, TokenField::CacheWrite),
            reasoning_tokens: report.either(TokenField::Reasoning, TokenField::Thoughts),
            origin: Origin::Reported,
        }
    }

    fn input(&self) -> Option<u64> {
        let report = &self.report;
        if let Some(prompt) = report.get(TokenField::Prompt) {
            return Some(prompt.saturating_add(report.count(TokenField::ToolPrompt)));
        }
        let Some(fresh) = report.get(TokenField::Input) else {
            return report
                .get(TokenField::BilledInput)
                .or(report.get(TokenField::PerResult));
        };
        let total = report.get(TokenField::Total);
        let is_all = total
            .is_some_and(|total| total == fresh.saturating_add(report.count(TokenField::Output)));
        match self.cache == CacheAccounting::Included || report.has_input_details || is_all {
            true => Some(fresh),
            false => Some(fresh.saturating_add(report.of_cache())),
        }
    }

    fn output(&self) -> Option<u64> {
        let report = &self.report;
        let thoughts = report.get(TokenField::Thoughts);
        let Some(output) = report.get(TokenField::Output) else {
            return thoughts.or(report.get(TokenField::BilledOutput));
        };
        let reasoning = report.count(TokenField::Reasoning);
        let prompt = report.get(TokenField::Prompt);
        match (prompt, report.get(TokenField::Total)) {
            // xAI's chat includes reasoning only in the total.
            (Some(prompt), Some(total))
                if reasoning > 0 && total.checked_sub(prompt) == output.checked_add(reasoning) =>
            {
                Some(output.saturating_add(reasoning))
            }
            // Google's OpenAI-compatible endpoint does so too, and does not report reasoning.
            (Some(prompt), Some(total))
                if reasoning == 0
                    && thoughts.is_none()
                    && report.get(TokenField::ToolPrompt).is_none()
                    && output > 0 =>
            {
                Some(output.max(total.saturating_sub(prompt)))
            }
            _ => Some(output.saturating_add(thoughts.unwrap_or_default())),
        }
    }
}

/// Replaces a count, unless by zero.
fn replace(field: &mut Option<u64>, count: Option<u64>) {
    if count.is_some_and(|count| count > 0) || field.is_none() {
        *field = count;
    }
}

/// A token count: a whole number, also as a float or a string.
fn count(value: JsonValue<'_>) -> Option<u64> {
    /// The largest integer that every JSON parser represents exactly.
    const COUNT_MAX: u64 = 1 << 53;

    let (JsonValue::Number(text) | JsonValue::String(text)) = value else {
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
