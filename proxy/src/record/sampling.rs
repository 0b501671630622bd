//! Which requests leave an event when not all do: every one that failed or was slow, and of the others a
//! share. Metrics count them all.

use std::time::Duration;

use crate::exchange::{ClientEnd, Exchange};

/// The checked `events.sample` and `events.slow`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Of requests that went well, from 0 to 1.
    pub share: f64,
    /// What took longer went not well.
    pub slow: Duration,
}

impl Sampling {
    /// Every request leaves an event.
    pub const ALL: Sampling = Sampling {
        share: 1.0,
        slow: Duration::ZERO,
    };

    /// For how many requests of its kind the event of this one stands, as a share: `None` for one that
    /// stands for itself.
    #[must_use]
    pub fn ratio(&self, exchange: &Exchange, duration: Duration) -> Option<f64> {
        let went_well = exchange.error_code.is_none()
            && exchange.status < 400
            && exchange.client == ClientEnd::Stayed;
        (self.share < 1.0 && went_well && duration <= self.slow).then_some(self.share)
    }

    /// Whether a request leaves its event. `random` is any number: not one that a client may choose, such
    /// as the trace's, or it could leave none.
    #[must_use]
    pub fn takes(&self, exchange: &Exchange, duration: Duration, random: u64) -> bool {
        match self.ratio(exchange, duration) {
            None => true,
            Some(share) => (random >> 11) as f64 / ((1_u64 << 53) as f64) < share,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::fixture::plain;
    use crate::refusal::ErrorCode;

    #[test]
    fn what_failed_or_was_slow_is_always_kept() {
        let sampling = Sampling {
            share: 0.0,
            slow: Duration::from_secs(1),
        };
        let mut exchange = plain();
        exchange.status = 200;
        let quick = Duration::from_millis(1000);
        assert!(!sampling.takes(&exchange, quick, 0));
        assert!(sampling.takes(&exchange, quick + Duration::from_nanos(1), u64::MAX));
        exchange.status = 404;
        assert!(sampling.takes(&exchange, quick, u64::MAX));
        exchange.status = 200;
        exchange.client = ClientEnd::Aborted;
        assert!(sampling.takes(&exchange, quick, u64::MAX));
        exchange.client = ClientEnd::Stayed;
        exchange.error_code = Some(ErrorCode::ClientClosed);
        assert!(sampling.takes(&exchange, quick, u64::MAX));
        assert!(Sampling::ALL.takes(&plain(), quick, u64::MAX));
    }

    #[test]
    fn a_share_is_a_share_of_the_numbers() {
        let sampling = Sampling {
            share: 0.25,
            slow: Duration::from_secs(1),
        };
        let mut exchange = plain();
        exchange.status = 200;
        let takes = |random| sampling.takes(&exchange, Duration::ZERO, random);
        assert!(takes(0) && takes(u64::MAX / 4 - 10_000));
        assert!(!takes(u64::MAX / 4 + 10_000) && !takes(u64::MAX));
        assert_eq!(sampling.ratio(&exchange, Duration::ZERO), Some(0.25));
        assert_eq!(Sampling::ALL.ratio(&exchange, Duration::ZERO), None);
    }
}
