//! ASCII text, by far the most frequent: counted with branch-free comparisons, which the compiler vectorises.

/// The largest block: the counters of a block are single bytes.
pub(super) const BLOCK_BYTES_MAX: usize = 192;

/// Costs in hundredths of a token: of a letter, and of a word besides its letters.
const LETTER: u64 = 24;
const WORD: u64 = 30;
const DIGIT: u64 = 73;
/// Punctuation and other marks; a repeated one is part of a ruler or a border.
const MARK: u64 = 53;
const REPEATED_MARK: u64 = 4;
const NEWLINE: u64 = 102;

/// Splits off the ASCII prefix of `text`, up to one block.
pub(super) fn split(text: &[u8]) -> (&[u8], &[u8]) {
    let at_most = &text[..text.len().min(BLOCK_BYTES_MAX)];
    let length = match at_most.is_ascii() {
        true => at_most.len(),
        false => at_most.iter().take_while(|byte| byte.is_ascii()).count(),
    };
    text.split_at(length)
}

/// The cost of a block of at most [`BLOCK_BYTES_MAX`] bytes that follows the byte `before`.
pub(super) fn hundredths(before: u8, block: &[u8]) -> u64 {
    let Some((&first, rest)) = block.split_first() else {
        return 0;
    };
    let mut sums = AsciiCounts::default();
    sums.add(before, first);
    for (before, byte) in block.iter().zip(rest) {
        sums.add(*before, *byte);
    }
    sums.hundredths()
}

#[derive(Default)]
struct AsciiCounts {
    letters: u8,
    words: u8,
    digits: u8,
    marks: u8,
    repeated_marks: u8,
    newlines: u8,
}

impl AsciiCounts {
    fn add(&mut self, before: u8, byte: u8) {
        let letter = is_letter(byte);
        let digit = byte.wrapping_sub(b'0') < 10;
        // Spaces and control characters are free: the space before a word belongs to its token.
        let mark = (byte > b' ') & !letter & !digit;
        self.letters += u8::from(letter);
        self.words += u8::from(letter & !is_letter(before));
        self.digits += u8::from(digit);
        self.marks += u8::from(mark);
        self.repeated_marks += u8::from(mark & (byte == before));
        self.newlines += u8::from(byte == b'\n');
    }

    fn hundredths(&self) -> u64 {
        u64::from(self.letters) * LETTER
            + u64::from(self.words) * WORD
            + u64::from(self.digits) * DIGIT
            + u64::from(self.marks) * MARK
            + u64::from(self.newlines) * NEWLINE
            - u64::from(self.repeated_marks) * (MARK - REPEATED_MARK)
    }
}

fn is_letter(byte: u8) -> bool {
    (byte | 0x20).wrapping_sub(b'a') < 26
}
