//! Requests that the target must reject: unsigned, with an invalid or stale signature, replayed, oversized.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use weir::signature::client_signer::{Again, Signer};

use super::signed::{RequestError, SendOptions, build, signers};
use crate::request::{Expectation, Outcome, RequestSpec};
use crate::routes::TargetRoute;

/// Above this limit of a route no oversized request is sent.
const OVERSIZED_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How much older than the accepted age a stale signature is.
const PAST_AGE_S: u64 = 60;

/// The name of the valid request that is replayed afterwards.
pub(super) const FIRST: &str = "abuse:first";

/// Generates abusive requests, and remembers an accepted one to replay.
#[derive(Debug, Default)]
pub(super) struct Abuse {
    is_first_in_flight: AtomicBool,
    accepted: Mutex<Option<RequestSpec>>,
}

impl Abuse {
    /// Takes the outcome of the request named [`FIRST`].
    pub(super) fn observe(&self, request: &RequestSpec, outcome: Outcome) {
        if outcome == Outcome::Success {
            *self.accepted.lock() = Some(request.clone());
        }
        self.is_first_in_flight.store(false, Ordering::Release);
    }

    /// Each kind in turn.
    pub(super) fn request(
        &self,
        routes: &[TargetRoute],
        number: u64,
        body: Bytes,
    ) -> Result<RequestSpec, RequestError> {
        let (route, signer) = signers(routes).next().ok_or(RequestError::NoSigner)?;
        let with_age = signers(routes).find_map(|(route, signer)| {
            let age = signer.age_max?;
            Some((route, signer, age))
        });
        match (number % 5, with_age) {
            (0, _) => rejected("abuse:unsigned", route, None, body, 0),
            (1, Some((route, signer, age))) => {
                let age_s = age.as_secs() + PAST_AGE_S;
                rejected("abuse:stale", route, Some(signer), body, age_s)
            }
            (2, _) => match self.replayed(routes, body.clone())? {
                Some(request) => Ok(request),
                None => rejected("abuse:wrong", route, Some(&signer.forger()), body, 0),
            },
            (3, _) if route.body_bytes_max < OVERSIZED_BYTES_MAX => {
                let bytes = usize::try_from(route.body_bytes_max).unwrap_or(0) + 1;
                let body = Bytes::from(vec![b' '; bytes]);
                let options = SendOptions::new("abuse:oversized", Expectation::Status(vec![413]));
                build(options, route, Some(signer), body)
            }
            _ => rejected("abuse:wrong", route, Some(&signer.forger()), body, 0),
        }
    }

    /// A replay of an accepted request, or the valid request to be replayed later. `None` while that one is in
    /// flight, or where the target does not detect replays.
    fn replayed(
        &self,
        routes: &[TargetRoute],
        body: Bytes,
    ) -> Result<Option<RequestSpec>, RequestError> {
        let mut signers = signers(routes);
        let Some((route, signer)) = signers.find(|(_, signer)| signer.again == Again::Rejected)
        else {
            return Ok(None);
        };
        if let Some(accepted) = &*self.accepted.lock() {
            return Ok(Some(RequestSpec {
                name: "abuse:replayed".into(),
                expected: Expectation::Status(vec![401]),
                ..accepted.clone()
            }));
        }
        if self.is_first_in_flight.swap(true, Ordering::AcqRel) {
            return Ok(None);
        }
        let options = SendOptions::new(FIRST, Expectation::SuccessOrRateLimited);
        build(options, route, Some(signer), body).map(Some)
    }
}

fn rejected(
    name: &str,
    route: &TargetRoute,
    signer: Option<&Signer>,
    body: Bytes,
    age_s: u64,
) -> Result<RequestSpec, RequestError> {
    let options = SendOptions::new(name, Expectation::Status(vec![401])).aged(age_s);
    build(options, route, signer, body)
}
