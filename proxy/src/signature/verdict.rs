//! The verdict of the signature stage on a request.

use std::sync::Arc;

use super::delivery::{Delivery, Repeat};
use super::rejection::SignatureRejection;
use super::scheme::{Descriptor, PlatformResponse, SignedBy};
use crate::exchange::SignatureOutcome;

/// The verdict on a request.
#[derive(Debug)]
pub struct SignatureVerdict {
    pub scheme: &'static str,
    pub outcome: SignatureOutcome,
    /// The verified client, with `Valid` and `Duplicate`.
    pub client: Option<Arc<str>>,
    /// Which of the client's secrets matched.
    pub key: Option<usize>,
    /// With `Handshake` and `Duplicate`: the response that the platform expects.
    pub response: Option<PlatformResponse>,
    /// The detail of a rejection: names headers and windows, never secrets.
    pub detail: String,
    /// The title of a rejection, where the title of its code does not fit.
    pub title: Option<&'static str>,
    /// With `Valid`, of a platform that redelivers: the delivery, which counts as failed if this is dropped before the
    /// backend has accepted it.
    pub delivery: Option<Delivery>,
    /// With `Duplicate` of a delivery that another request has in progress: `response` applies once that has
    /// succeeded.
    pub repeat: Option<Repeat>,
}

impl SignatureVerdict {
    pub(super) fn new(scheme: &'static str, outcome: SignatureOutcome) -> Self {
        SignatureVerdict {
            scheme,
            outcome,
            client: None,
            key: None,
            response: None,
            detail: String::new(),
            title: None,
            delivery: None,
            repeat: None,
        }
    }

    pub(super) fn rejected(scheme: &'static Descriptor, rejection: SignatureRejection) -> Self {
        let title = match rejection.outcome {
            SignatureOutcome::Invalid => scheme.invalid_title,
            _ => None,
        };
        SignatureVerdict {
            title,
            detail: rejection.detail.into_owned(),
            ..SignatureVerdict::new(scheme.name, rejection.outcome)
        }
    }

    pub(super) fn valid(scheme: &'static Descriptor, by: SignedBy) -> Self {
        SignatureVerdict {
            client: Some(by.client),
            key: by.key,
            ..SignatureVerdict::new(scheme.name, SignatureOutcome::Valid)
        }
    }

    /// Of a redelivery.
    pub(super) fn duplicate(self, response: PlatformResponse, repeat: Option<Repeat>) -> Self {
        SignatureVerdict {
            outcome: SignatureOutcome::Duplicate,
            response: Some(response),
            repeat,
            ..self
        }
    }
}
