//! Why a request is rejected.

use std::borrow::Cow;

use crate::exchange::SignatureOutcome;

/// A request that is not authentic.
#[derive(Debug)]
pub(super) struct SignatureRejection {
    pub(super) outcome: SignatureOutcome,
    /// The detail for the client: names headers and windows, never secrets.
    pub(super) detail: Cow<'static, str>,
}

impl SignatureRejection {
    pub(super) fn missing(detail: impl Into<Cow<'static, str>>) -> Self {
        SignatureRejection {
            outcome: SignatureOutcome::Missing,
            detail: detail.into(),
        }
    }

    pub(super) fn invalid(detail: impl Into<Cow<'static, str>>) -> Self {
        SignatureRejection {
            outcome: SignatureOutcome::Invalid,
            detail: detail.into(),
        }
    }

    pub(super) fn expired(detail: impl Into<Cow<'static, str>>) -> Self {
        SignatureRejection {
            outcome: SignatureOutcome::Expired,
            detail: detail.into(),
        }
    }

    pub(super) fn replayed(detail: impl Into<Cow<'static, str>>) -> Self {
        SignatureRejection {
            outcome: SignatureOutcome::Replayed,
            detail: detail.into(),
        }
    }

    /// The one text for an invalid signature, an invalid secret and an unknown client.
    pub(super) fn invalid_signature() -> Self {
        SignatureRejection::invalid("no secret of this route makes this signature of this request")
    }
}
