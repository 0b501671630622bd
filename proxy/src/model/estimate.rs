//! How many tokens a text is likely to be, for calls whose provider reports none.

/// What was counted of a text so far, piece by piece, however it is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextCount {
    characters: u64,
}

impl TextCount {
    /// Counts a piece of UTF-8; what is none counts as something.
    pub fn add(&mut self, piece: &[u8]) {
        let starts = piece.iter().filter(|byte| **byte & 0xc0 != 0x80);
        self.characters += starts.count() as u64;
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.characters == 0
    }

    /// The estimate, in tokens.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.characters.div_ceil(4)
    }
}
