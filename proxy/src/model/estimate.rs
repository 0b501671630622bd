//! How many tokens a text is likely to be, for calls whose provider reports none.
//!
//! No vocabulary is loaded: they are tens of megabytes each, and every family of models has its own. A
//! character costs what its script and its place in its word cost on average in the vocabularies of GPT-4o,
//! Llama 3, Qwen 3 and DeepSeek V3, with a little more for those that cut finer (Claude, Mistral). Of prose in
//! any of some twenty languages, of code and of JSON, that is within a third of what each of them counts.

use super::answer::Ending;
use super::operation::Operation;
use super::usage::{Origin, Usage};
use script::Script;

mod script;

/// What was counted of a text so far, piece by piece, however it is cut.
///
/// Feed the texts of a question or an answer in their order: without quotes, with escapes resolved, the
/// names and arguments of tool calls and visible reasoning among them, images and other data not. Call
/// [`TextCount::begin`] where a part begins that costs tokens besides its text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextCount {
    hundredths: u64,
    /// Of the text so far.
    bytes: u64,
    /// Of the character before, and how many of its like stand there.
    script: Script,
    run: u32,
    /// The byte before, if it was punctuation.
    mark: u8,
    partial: Partial,
}

/// A part that costs tokens besides its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A message of a question, its role included.
    Message,
    /// A token that the question brings as its number.
    Token,
    /// A tool call, in an answer or in the history of a question, beside its name and arguments.
    Call,
    /// A member of an object that comes as JSON and not as text (the schema of a tool, or arguments that are an
    /// object): its quotes, colon and comma, beside its name and value.
    Member,
    /// A text that does not continue the one before: another choice, say.
    Text,
}

/// The begin of a character that a piece of text cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Partial {
    code: u32,
    /// Bytes that are still to come.
    missing: u8,
}

/// So much of a text is counted as a whole.
const WHOLE_BYTES: u64 = 16 * 1024;
/// And of the rest one block of this size in so many, in the place of all of them.
const SAMPLE_BYTES: u64 = 1024;
const SAMPLE_EVERY: u64 = 8;

/// What is counted of a stretch of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    Whole,
    Skipped,
    Sample,
}

impl Share {
    /// For the byte at this place of the text, and how many it holds for.
    fn at(place: u64) -> (Share, u64) {
        let Some(behind) = place.checked_sub(WHOLE_BYTES) else {
            return (Share::Whole, WHOLE_BYTES - place);
        };
        let within = behind % (SAMPLE_BYTES * SAMPLE_EVERY);
        match within.checked_sub(SAMPLE_BYTES) {
            None => (Share::Sample, SAMPLE_BYTES - within),
            Some(behind) => (Share::Skipped, SAMPLE_BYTES * (SAMPLE_EVERY - 1) - behind),
        }
    }
}

/// What says that an answer, or a question, is at its end is a token too.
const END: u64 = 1;

/// The usage of a call whose answer, with status 200, reported no figure at all: of the texts that went to the
/// model, and of those that came of it, also of an answer that was cut or that failed behind them. Empty where
/// nothing shows that a model was at work, or where it does not work in tokens of text.
#[must_use]
pub fn usage(
    operation: Operation,
    ending: Ending,
    question: &TextCount,
    answer: &TextCount,
) -> Usage {
    let some = |text: &TextCount| (!text.is_empty()).then(|| text.tokens());
    let (input_tokens, output_tokens) = match operation {
        Operation::Chat
        | Operation::Responses
        | Operation::Messages
        | Operation::TextCompletion
        | Operation::GenerateContent
        | Operation::OllamaChat
        | Operation::OllamaGenerate
        | Operation::CohereChat
            if !answer.is_empty() =>
        {
            (some(question), some(answer))
        }
        Operation::Embeddings
        | Operation::EmbedContent
        | Operation::OllamaEmbed
        | Operation::CohereEmbed
        | Operation::Rerank
            if ending == Ending::Terminal =>
        {
            (some(question), None)
        }
        _ => (None, None),
    };
    Usage {
        input_tokens,
        output_tokens,
        origin: Origin::Estimated,
        ..Usage::default()
    }
}

impl Part {
    const fn hundredths(self) -> u64 {
        match self {
            Part::Message => 400,
            Part::Token => 100,
            Part::Call => 1000,
            Part::Member => 150,
            Part::Text => 0,
        }
    }
}

impl TextCount {
    /// Counts the next piece of the text; a byte that is not UTF-8 counts as something. Of a long text a
    /// share is counted: a look at each character of a megabyte would be the dearest part of its request.
    pub fn add(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while !rest.is_empty() {
            let (share, left) = Share::at(self.bytes);
            let length = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
            let (now, later) = rest.split_at(length);
            match share {
                Share::Whole => self.count(now),
                Share::Skipped => {}
                Share::Sample => {
                    let before = self.hundredths;
                    self.count(now);
                    self.hundredths += (self.hundredths - before) * (SAMPLE_EVERY - 1);
                }
            }
            self.bytes += length as u64;
            if length as u64 == left {
                // What is counted next does not continue what was counted before.
                self.begin(Part::Text);
            }
            rest = later;
        }
    }

    fn count(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while let Some((&byte, after)) = rest.split_first() {
            match byte {
                // Most of most texts: words, and a space between each two of them.
                b'a'..=b'z' if self.partial.missing == 0 => {
                    let letters = lowercase(rest);
                    self.letters(Script::Lower, u32::try_from(letters).unwrap_or(u32::MAX));
                    rest = &rest[letters..];
                }
                b' ' if self.partial.missing == 0 && self.script != Script::Space => {
                    self.script = Script::Space;
                    self.run = 1;
                    rest = after;
                }
                _ => {
                    self.byte(byte);
                    rest = after;
                }
            }
        }
    }

    /// A part begins; what is counted next does not continue what was counted before.
    pub fn begin(&mut self, part: Part) {
        *self = TextCount {
            hundredths: self.hundredths + part.hundredths(),
            bytes: self.bytes,
            ..TextCount::default()
        };
    }

    /// Whether nothing that costs tokens was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hundredths == 0
    }

    /// The estimate, in tokens.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        match self.hundredths {
            0 => 0,
            hundredths => (hundredths + 50) / 100 + END,
        }
    }

    fn byte(&mut self, byte: u8) {
        let Partial { code, missing } = self.partial;
        match byte {
            0x80..=0xbf if missing > 0 => {
                let code = (code << 6) | u32::from(byte & 0x3f);
                let missing = missing - 1;
                self.partial = Partial { code, missing };
                if missing == 0 {
                    self.character(Script::of(code), code);
                }
                return;
            }
            _ if missing > 0 => self.cut_off(),
            _ => {}
        }
        match byte {
            0..=0x7f => self.character(Script::of_ascii(byte), byte.into()),
            0xc2..=0xdf => self.start(byte & 0x1f, 1),
            0xe0..=0xef => self.start(byte & 0x0f, 2),
            0xf0..=0xf4 => self.start(byte & 0x07, 3),
            _ => self.cut_off(),
        }
    }

    fn start(&mut self, bits: u8, missing: u8) {
        let code = bits.into();
        self.partial = Partial { code, missing };
    }

    /// Something that is no character, or only the begin of one.
    fn cut_off(&mut self) {
        self.partial = Partial::default();
        self.character(Script::Other, 0);
    }

    fn character(&mut self, script: Script, code: u32) {
        let before = self.script;
        match script {
            // It goes with the line feed behind it.
            Script::None => return,
            Script::Lower | Script::Upper | Script::Accented => return self.letters(script, 1),
            _ => {}
        }
        self.run = match before == script {
            true => self.run.saturating_add(1),
            false => 1,
        };
        self.script = script;
        // A space goes with the word behind it, but not with a number, nor before punctuation if that goes
        // with the word behind it too.
        let behind_space = before == Script::Space;
        self.hundredths += match script {
            Script::Digit if self.run % 3 != 1 => 5,
            Script::Digit if behind_space => 185,
            Script::Digit => 140,
            Script::Mark => self.of_mark(code, behind_space),
            Script::Space => u64::from(self.run == 3) * 55,
            _ if self.run == 1 => script.hundredths().0,
            _ => script.hundredths().1,
        };
    }

    fn of_mark(&mut self, code: u32, behind_space: bool) -> u64 {
        let mark = u8::try_from(code).unwrap_or_default();
        let again = std::mem::replace(&mut self.mark, mark) == mark;
        match self.run {
            1 if behind_space => 148,
            1 => 38,
            2..=4 if again => 18,
            // Rules and borders are long and cheap.
            _ if again => 3,
            _ => 30,
        }
    }

    /// Counts letters of a script in which words are long.
    fn letters(&mut self, script: Script, count: u32) {
        let before = match (self.script, script) {
            // A word begins in the middle: camelCase.
            (Script::Lower, Script::Upper) => 0,
            (Script::Lower | Script::Upper | Script::Accented, _) => self.run,
            _ => 0,
        };
        self.run = before.saturating_add(count);
        self.script = script;
        self.hundredths += of_word(self.run) - of_word(before);
        let extra = match script {
            Script::Upper if before > 0 => 25,
            Script::Accented => 55,
            _ => 0,
        };
        self.hundredths += extra * u64::from(count);
    }
}

/// How many lowercase letters of ASCII a text begins with; eight at a time, for words are short.
fn lowercase(text: &[u8]) -> usize {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * EACH;
    let mut letters = 0;
    while let Some(eight) = text.get(letters..).and_then(<[u8]>::first_chunk) {
        let eight = u64::from_le_bytes(*eight);
        let low = eight & !HIGH;
        let from_a = low + (0x80 - u64::from(b'a')) * EACH;
        let past_z = low + (0x7f - u64::from(b'z')) * EACH;
        let others = !(from_a & !past_z & !eight) & HIGH;
        if others != 0 {
            return letters + others.trailing_zeros() as usize / 8;
        }
        letters += 8;
    }
    let rest = text[letters..].iter();
    letters + rest.take_while(|byte| byte.is_ascii_lowercase()).count()
}

/// What the first letters of a word cost: common words are short, and one token each.
fn of_word(letters: u32) -> u64 {
    const COSTS: [u64; 11] = [0, 65, 80, 95, 110, 125, 140, 169, 198, 227, 256];
    match COSTS.get(letters as usize) {
        Some(cost) => *cost,
        None => 256 + 60 * (u64::from(letters) - 10),
    }
}

#[cfg(test)]
#[path = "estimate_tests.rs"]
mod tests;
