//! How far a response has progressed.

/// How far a response has progressed, according to its format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// No document of a known format has arrived.
    #[default]
    Unknown,
    /// It is not finished.
    Open,
    /// Every choice has a finish reason; the terminal event is missing.
    Finished,
    /// Its terminal event has arrived, or it is one complete JSON text: nothing relevant follows.
    Terminal,
    /// It reports a failure.
    Failed,
}
