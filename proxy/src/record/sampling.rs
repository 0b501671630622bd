//! Event sampling: every request that failed or was slow has an event, and of the others a share. Metrics count
//! all requests. The settings come with the exchange: they are those of the generation that the request met.

use std::time::Duration;

use crate::exchange::{ClientEnd, EventSampling, Exchange};

impl EventSampling {
    /// The sampling ratio of the event of this request: `None` for one that is never sampled out.
    #[must_use]
    pub fn ratio(&self, exchange: &Exchange, duration: Duration) -> Option<f64> {
        let is_success = exchange.error_code.is_none()
            && exchange.status < 400
            && exchange.client == ClientEnd::Stayed;
        (self.share < 1.0 && is_success && duration <= self.slow).then_some(self.share)
    }

    /// Whether the event of a request is recorded. `random` must not be under the control of a client, as a
    /// trace id is: otherwise clients could hide their requests.
    #[must_use]
    pub fn samples(&self, exchange: &Exchange, duration: Duration, random: u64) -> bool {
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
    fn failed_and_slow_requests_always_have_an_event() {
        let sampling = EventSampling {
            share: 0.0,
            slow: Duration::from_secs(1),
        };
        let mut exchange = plain();
        exchange.status = 200;
        let quick = Duration::from_millis(1000);
        assert!(!sampling.samples(&exchange, quick, 0));
        assert!(sampling.samples(&exchange, quick + Duration::from_nanos(1), u64::MAX));
        exchange.status = 404;
        assert!(sampling.samples(&exchange, quick, u64::MAX));
        exchange.status = 200;
        exchange.client = ClientEnd::Aborted;
        assert!(sampling.samples(&exchange, quick, u64::MAX));
        exchange.client = ClientEnd::Stayed;
        exchange.error_code = Some(ErrorCode::ClientClosed);
        assert!(sampling.samples(&exchange, quick, u64::MAX));
        assert!(EventSampling::ALL.samples(&plain(), quick, u64::MAX));
    }

    #[test]
    fn the_share_is_that_of_the_random_numbers() {
        let sampling = EventSampling {
            share: 0.25,
            slow: Duration::from_secs(1),
        };
        let mut exchange = plain();
        exchange.status = 200;
        let samples = |random| sampling.samples(&exchange, Duration::ZERO, random);
        assert!(samples(0) && samples(u64::MAX / 4 - 10_000));
        assert!(!samples(u64::MAX / 4 + 10_000) && !samples(u64::MAX));
        assert_eq!(sampling.ratio(&exchange, Duration::ZERO), Some(0.25));
        assert_eq!(EventSampling::ALL.ratio(&exchange, Duration::ZERO), None);
    }
}
