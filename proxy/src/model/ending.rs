//! How far a response has come.

/// How far a response has come, by its own format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// Nothing of a known format has arrived.
    #[default]
    Unknown,
    /// It is not finished.
    Open,
    /// Every choice has a finish reason; the terminal event is missing.
    Finished,
    /// Its terminal event has arrived, or it is one complete JSON text: nothing that matters follows.
    Terminal,
    /// It reports a failure.
    Failed,
}
