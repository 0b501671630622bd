//! How many tokens a model call took.

/// The figures of one call. `None`: nobody said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// All tokens of the prompt, those read from and written to the provider's cache included.
    pub input_tokens: Option<u64>,
    /// All tokens that were generated, reasoning included.
    pub output_tokens: Option<u64>,
    /// Of the input: read from the provider's cache.
    pub cache_read_tokens: Option<u64>,
    /// Of the input: written to the provider's cache.
    pub cache_creation_tokens: Option<u64>,
    /// Of the output: reasoning, whether it was shown or not.
    pub reasoning_tokens: Option<u64>,
    pub origin: Origin,
}

/// Who counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    #[default]
    Reported,
    /// weir, from the texts: the answer reported nothing.
    Estimated,
}

impl Usage {
    /// Whether the figures that there are were counted by weir.
    #[must_use]
    pub fn is_estimated(&self) -> bool {
        self.origin == Origin::Estimated && !self.is_empty()
    }

    /// Whether there is no figure at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let figures = [
            self.input_tokens,
            self.output_tokens,
            self.cache_read_tokens,
            self.cache_creation_tokens,
            self.reasoning_tokens,
        ];
        figures.iter().all(Option::is_none)
    }
}
