//! The body stage: reads the whole body once, within its limits, before anything is forwarded.
//!
//! The bytes that are verified are the bytes that are forwarded. The memory of all bodies together is
//! bounded: past the budget a request is rejected at once, and those in flight finish.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::clock;
use crate::http::budget::{Booking, Budget, STEP_BYTES};
use crate::http::io::BodyReadError;
use crate::http::session::Session;
use crate::refusal::{ErrorCode, Refusal};

/// The most that is reserved at once for a body whose head announces that much or more.
const CAPACITY_BYTES_MAX: usize = 1 << 20;

/// A whole body with its reservation in the budget, and how long weir waited for the client.
#[derive(Debug)]
pub struct Body {
    pub bytes: Bytes,
    pub client_wait: Duration,
    booking: Booking,
}

impl Body {
    /// The bytes, and their reservation in the budget, which must be held as long as they are.
    #[must_use]
    pub fn into_parts(self) -> (Bytes, Booking) {
        (self.bytes, self.booking)
    }
}

/// Why a body could not be read.
#[derive(Debug)]
pub enum BodyFailure {
    Refused(Refusal),
    ClientLeft,
}

impl From<Refusal> for BodyFailure {
    fn from(refusal: Refusal) -> Self {
        BodyFailure::Refused(refusal)
    }
}

/// Rejects a body whose head announces too much, before a byte of it is read.
///
/// # Errors
/// `body_too_large`.
pub(crate) fn check_announced(session: &Session, bytes_max: u64) -> Result<(), Refusal> {
    match session.announced_bytes() {
        Some(bytes) if bytes > bytes_max => Err(Refusal::body_too_large(bytes_max)),
        _ => Ok(()),
    }
}

/// Reads the whole body: at most `bytes_max`, in at most `timeout`.
///
/// # Errors
/// `body_too_large` (before a byte is read where the head announces it), `body_timeout`,
/// `over_capacity` when the budget is exhausted, `bad_request` for a malformed chunk, or that the client
/// left.
pub(crate) async fn read(
    session: &mut Session,
    bytes_max: u64,
    timeout: Duration,
    budget: &Arc<Budget>,
) -> Result<Body, BodyFailure> {
    let mut booking = Booking::none(budget);
    if session.is_body_empty() {
        return Ok(Body {
            bytes: Bytes::new(),
            client_wait: Duration::ZERO,
            booking,
        });
    }
    check_announced(session, bytes_max)?;
    let announced = session.announced_bytes();
    // Announced bytes are not reserved in advance: a few heads could exhaust the budget.
    booking.grow_to(announced.unwrap_or(STEP_BYTES).min(STEP_BYTES))?;
    if session.expects_continue() && session.write_continue().await.is_err() {
        return Err(BodyFailure::ClientLeft);
    }
    // A body that arrived with its head causes no wait.
    let waits_since = (!session.has_body_arrived()).then(clock::now);
    let reading = gather(session, bytes_max, announced, &mut booking);
    match clock::timeout(timeout, reading).await {
        Ok(Ok(bytes)) => Ok(Body {
            bytes,
            client_wait: waits_since.map_or(Duration::ZERO, |since| {
                clock::now().saturating_duration_since(since)
            }),
            booking,
        }),
        Ok(Err(failure)) => Err(failure),
        Err(_) => {
            let detail = format!(
                "the whole body must arrive within {} ms",
                timeout.as_millis()
            );
            Err(Refusal::new(ErrorCode::BodyTimeout, detail).into())
        }
    }
}

async fn gather(
    session: &mut Session,
    bytes_max: u64,
    announced: Option<u64>,
    booking: &mut Booking,
) -> Result<Bytes, BodyFailure> {
    let Some(first) = next(session).await? else {
        return Ok(Bytes::new());
    };
    let complete = announced == Some(first.len() as u64);
    if complete && session.is_body_done() {
        return Ok(first);
    }
    let capacity = usize::try_from(announced.unwrap_or(STEP_BYTES)).unwrap_or(usize::MAX);
    let mut all = BytesMut::with_capacity(capacity.min(CAPACITY_BYTES_MAX).max(first.len()));
    let mut piece = Some(first);
    while let Some(bytes) = piece {
        let length = (all.len() + bytes.len()) as u64;
        if length > bytes_max {
            return Err(Refusal::body_too_large(bytes_max).into());
        }
        booking.grow_to(
            length
                .next_multiple_of(STEP_BYTES)
                .min(bytes_max.max(length)),
        )?;
        all.extend_from_slice(&bytes);
        piece = next(session).await?;
    }
    Ok(all.freeze())
}

async fn next(session: &mut Session) -> Result<Option<Bytes>, BodyFailure> {
    session.read_body().await.map_err(|why| match why {
        BodyReadError::Malformed(flaw) => Refusal::malformed_body(flaw).into(),
        BodyReadError::Stalled => Refusal::stalled_body().into(),
        BodyReadError::ClientLeft => BodyFailure::ClientLeft,
    })
}
