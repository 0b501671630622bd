//! Classes of non-ASCII characters by their cost in tokens.

/// Characters of similar cost. The blocks are those of Unicode 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Script {
    /// The no-break space.
    Space,
    /// Latin letters.
    Accented,
    Greek,
    Cyrillic,
    Hebrew,
    Arabic,
    /// Devanagari, Bengali, Tamil and related scripts.
    Indic,
    /// Thai and Lao.
    Thai,
    Kana,
    Hangul,
    /// Chinese characters and full-width punctuation.
    Han,
    /// Arrows, signs, dashes, curly quotes.
    Symbol,
    Emoji,
    /// Joiners, variation selectors and combining marks.
    Joiner,
    Other,
}

impl Script {
    pub(super) const fn of(code: u32) -> Script {
        match code {
            0xa0 => Script::Space,
            0x80..=0xbf | 0xd7 | 0xf7 => Script::Symbol,
            0xc0..=0x24f | 0x1e00..=0x1eff => Script::Accented,
            0x300..=0x36f | 0x200b..=0x200f | 0xfe00..=0xfe0f => Script::Joiner,
            0x370..=0x3ff | 0x1f00..=0x1fff => Script::Greek,
            0x400..=0x52f => Script::Cyrillic,
            0x590..=0x5ff => Script::Hebrew,
            0x600..=0x77f | 0x8a0..=0x8ff | 0xfb50..=0xfdff | 0xfe70..=0xfeff => Script::Arabic,
            0x900..=0xdff => Script::Indic,
            0xe00..=0xeff => Script::Thai,
            0x1100..=0x11ff | 0x3130..=0x318f | 0xac00..=0xd7af => Script::Hangul,
            0x3040..=0x30ff | 0x31f0..=0x31ff | 0xff66..=0xff9f => Script::Kana,
            0x2000..=0x2bff => Script::Symbol,
            0x2e80..=0x303f | 0x3100..=0x312f | 0x3400..=0x9fff | 0xf900..=0xfaff => Script::Han,
            0xff00..=0xffef | 0x20000..=0x3347f => Script::Han,
            0x1f000..=0x1ffff => Script::Emoji,
            _ => Script::Other,
        }
    }

    /// The cost of the first character of a run and of each further one, in hundredths of a token.
    pub(super) const fn hundredths(self) -> (u64, u64) {
        match self {
            Script::Space => (0, 0),
            Script::Accented => (97, 75),
            Script::Greek => (60, 60),
            Script::Cyrillic => (130, 19),
            Script::Hebrew => (57, 57),
            Script::Arabic => (46, 46),
            Script::Indic => (75, 75),
            Script::Thai => (50, 50),
            Script::Kana => (58, 58),
            Script::Hangul => (140, 48),
            Script::Han => (72, 72),
            Script::Symbol => (95, 95),
            Script::Emoji => (200, 200),
            Script::Joiner => (30, 30),
            Script::Other => (100, 100),
        }
    }
}
