//! What a gate says of a request.

use std::sync::Arc;

use super::delivery::{Delivery, Repeat};
use super::scheme::{Accepted, Rejection, Scheme};
use crate::exchange::SignatureOutcome;

/// What becomes of a request after the check.
#[derive(Debug)]
pub struct Verdict {
    pub scheme: &'static str,
    pub outcome: SignatureOutcome,
    /// The verified client, with `Valid` and `Duplicate`.
    pub client: Option<Arc<str>>,
    /// Which of the client's secrets matched.
    pub key: Option<usize>,
    /// With `Handshake` and `Duplicate`: what the platform is told.
    pub answer: Option<PlatformAnswer>,
    /// For the person who has to mend a refusal: names headers and windows, never secrets.
    pub detail: String,
    /// What a refusal is called, where its code's own title says something else.
    pub title: Option<&'static str>,
    /// With `Valid` of a platform that sends again what was not taken: without a word of its end it counts
    /// as that.
    pub delivery: Option<Delivery>,
    /// With `Duplicate` of a delivery that another request has in hand: `answer` holds once that has ended
    /// well.
    pub repeat: Option<Repeat>,
}

/// An answer that a platform expects from the address itself.
#[derive(Debug)]
pub struct PlatformAnswer {
    pub status: u16,
    pub content_type: &'static str,
    pub body: Vec<u8>,
}

impl Verdict {
    pub(super) fn new(scheme: &'static str, outcome: SignatureOutcome) -> Self {
        Verdict {
            scheme,
            outcome,
            client: None,
            key: None,
            answer: None,
            detail: String::new(),
            title: None,
            delivery: None,
            repeat: None,
        }
    }

    pub(super) fn of(scheme: &dyn Scheme, result: Result<Accepted, Rejection>) -> Self {
        let mut verdict = Verdict::new(scheme.name(), SignatureOutcome::Valid);
        match result {
            Ok(Accepted::Valid { by, delivery }) => {
                verdict.client = Some(by.client);
                verdict.key = by.key;
                verdict.delivery = delivery;
            }
            Ok(Accepted::Handshake { key, answer }) => {
                verdict.outcome = SignatureOutcome::Handshake;
                verdict.key = key;
                verdict.answer = Some(answer);
            }
            Ok(Accepted::Duplicate { by, repeat, answer }) => {
                verdict.outcome = SignatureOutcome::Duplicate;
                verdict.repeat = repeat;
                verdict.client = Some(by.client);
                verdict.key = by.key;
                verdict.answer = Some(answer);
            }
            Err(rejection) => {
                verdict.outcome = rejection.outcome;
                if rejection.outcome == SignatureOutcome::Invalid {
                    verdict.title = scheme.invalid_title();
                }
                verdict.detail = rejection.detail.into_owned();
            }
        }
        verdict
    }
}
