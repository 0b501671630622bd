//! The token usage of a model call.

/// The token counts of one call; `None` where a count is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// All tokens of the prompt, including those read from and written to the provider's cache.
    pub input_tokens: Option<u64>,
    /// All generated tokens, including reasoning.
    pub output_tokens: Option<u64>,
    /// Of the input: read from the provider's cache.
    pub cache_read_tokens: Option<u64>,
    /// Of the input: written to the provider's cache.
    pub cache_creation_tokens: Option<u64>,
    /// Of the output: reasoning, visible or not.
    pub reasoning_tokens: Option<u64>,
    pub origin: Origin,
}

/// Where the counts come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// The response.
    #[default]
    Reported,
    /// An estimate of weir from the texts, because the response reported no usage.
    Estimated,
}

impl Usage {
    /// Whether there are counts, and they are estimates.
    #[must_use]
    pub fn is_estimated(&self) -> bool {
        self.origin == Origin::Estimated && !self.is_empty()
    }

    /// Whether there are no counts.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let counts = [
            self.input_tokens,
            self.output_tokens,
            self.cache_read_tokens,
            self.cache_creation_tokens,
            self.reasoning_tokens,
        ];
        counts.iter().all(Option::is_none)
    }
}
