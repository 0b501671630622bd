//! What came of writing down everything that was recorded.

/// Whether everything was written in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushOutcome {
    Flushed,
    TimedOut,
}

impl FlushOutcome {
    /// The outcome of two flushes together.
    pub(super) fn worse_of(self, other: FlushOutcome) -> FlushOutcome {
        match (self, other) {
            (FlushOutcome::Flushed, FlushOutcome::Flushed) => FlushOutcome::Flushed,
            _ => FlushOutcome::TimedOut,
        }
    }
}
