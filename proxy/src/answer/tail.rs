//! What may follow the terminal event of a stream (`[DONE]`, `message_stop`): the end of its line, and the
//! end of the framing. weir waits for both, but not for long: the client has the whole response already.

use std::time::{Duration, Instant};

use super::ResponseOutcome;

/// How long to wait for the end of the framing after the terminal event. An endpoint that ends it in time keeps its
/// connection.
pub(super) const FRAMING_TIME: Duration = Duration::from_millis(500);
/// Gemini has no event that is terminal by name: a response of several parts could have a finish reason in
/// each. If more arrives within this time, the response had not ended, and the rest is forwarded.
const FRAMING_TIME_OF_GUESSES: Duration = Duration::from_secs(5);
/// The end of the terminal event may arrive on its own: an event is dispatched at its empty line.
const LINE_END_TIME: Duration = Duration::from_secs(1);

/// How the framing ended after the terminal event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FramingEnd {
    Arrived,
    /// It did not arrive in time, or the connection broke.
    GivenUp,
}

/// What is expected after the terminal event, and until when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tail {
    awaited: Awaited,
    until: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// The end of the terminal event, or of the last line.
    LineEnd,
    FramingEnd,
}

/// How the terminal event is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Terminal {
    ByName,
    /// It is terminal only if nothing follows.
    Guessed,
}

impl Tail {
    /// The wait after what arrived at `now`. What arrives during a wait does not prolong it, unless it shows
    /// that a guess was wrong.
    pub(super) fn after(
        before: Option<Tail>,
        awaited: Awaited,
        terminal: Terminal,
        now: Instant,
    ) -> Tail {
        let continues = |before: &Tail| {
            terminal == Terminal::ByName
                && (before.awaited == awaited || before.awaited == Awaited::FramingEnd)
        };
        let time = match (terminal, awaited) {
            (Terminal::Guessed, _) => FRAMING_TIME_OF_GUESSES,
            (Terminal::ByName, Awaited::LineEnd) => LINE_END_TIME,
            (Terminal::ByName, Awaited::FramingEnd) => FRAMING_TIME,
        };
        before.filter(continues).unwrap_or(Tail {
            awaited,
            until: now + time,
        })
    }

    pub(super) fn until(self) -> Instant {
        self.until
    }
}

/// The client disconnected: after the terminal event it had the whole response.
pub(super) fn client_left(tail: Option<Tail>) -> ResponseOutcome {
    match tail {
        Some(_) => ResponseOutcome::LeftAtEnd,
        None => ResponseOutcome::ClientLeft,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_wait_is_prolonged_only_for_a_guess() {
        let begun = clock::now();
        let later = begun + Duration::from_millis(100);
        let after =
            |before, awaited, terminal| Tail::after(before, awaited, terminal, later).until();
        let by_name = Tail::after(None, Awaited::FramingEnd, Terminal::ByName, begun);
        assert_eq!(by_name.until(), begun + FRAMING_TIME);
        let line = Tail::after(None, Awaited::LineEnd, Terminal::ByName, begun);
        assert_eq!(line.until(), begun + LINE_END_TIME);
        for (before, awaited, terminal, until) in [
            (
                by_name,
                Awaited::FramingEnd,
                Terminal::ByName,
                by_name.until(),
            ),
            (by_name, Awaited::LineEnd, Terminal::ByName, by_name.until()),
            (line, Awaited::LineEnd, Terminal::ByName, line.until()),
            (
                line,
                Awaited::FramingEnd,
                Terminal::ByName,
                later + FRAMING_TIME,
            ),
            (
                by_name,
                Awaited::FramingEnd,
                Terminal::Guessed,
                later + FRAMING_TIME_OF_GUESSES,
            ),
        ] {
            assert_eq!(after(Some(before), awaited, terminal), until);
        }
    }
}
