//! Stored responses: one of them, and all of one URI.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use smallvec::SmallVec;

use super::super::ENTRY_OVERHEAD;
use super::super::memory::Entry;
use super::super::purge::PathHash;
use super::super::segments::{Segments, allocated};
use super::conditional::Validators;
use super::directives::{Directive, RequestDirectives, ResponseDirectives};
use super::freshness::{ReceiptTimes, Shareability, StoredFreshness};
use super::head;
use super::policy::{self, NotStored, RequestCredentials, Use};
use super::vary::{SelectingValues, Variant};

/// How many responses of one URI are stored: the oldest is removed first.
const VARIANTS_MAX: usize = 64;

/// What a response takes besides its head and its body.
pub(super) const OVERHEAD: usize = ENTRY_OVERHEAD + size_of::<StoredVariant>();

/// A response in the cache.
#[derive(Debug)]
pub struct StoredVariant {
    head: StorableHead,
    pub(super) body: Segments,
    /// A request in the background is revalidating it.
    is_revalidating: AtomicBool,
}

/// The head of a response that is stored. What each hit writes is computed once.
#[derive(Clone, Debug)]
pub(super) struct StorableHead {
    status: StatusCode,
    /// Lines of `name: value` and CR LF, with `Date`, without `Age` and `Content-Length`.
    lines: Bytes,
    validators: Validators,
    pub(super) variant: Variant,
    directives: ResponseDirectives,
    freshness: StoredFreshness,
    path: PathHash,
}

impl StorableHead {
    /// Judges a head; `variant` names what it varies by.
    pub(super) fn of(
        status: StatusCode,
        headers: &HeaderMap,
        variant: Option<Variant>,
        credentials: RequestCredentials,
        times: ReceiptTimes,
    ) -> Result<Self, NotStored> {
        let directives = ResponseDirectives::of(headers);
        if let Some(reason) = policy::not_storable(status, headers, &directives) {
            return Err(reason);
        }
        let variant = variant.ok_or(NotStored::Varies)?;
        if !policy::is_for_credentials(credentials, &directives, &variant) {
            return Err(NotStored::Credentials);
        }
        let validators = Validators::of(headers);
        let freshness = StoredFreshness::of(status, headers, &directives, times);
        if !freshness.is_usable(times.received_at) && validators.is_empty() {
            return Err(NotStored::Useless);
        }
        Ok(StorableHead {
            status,
            lines: head::lines(headers, times.received_at),
            validators,
            variant,
            directives,
            freshness,
            path: PathHash::default(),
        })
    }

    /// The head of a response to a request for this path.
    pub(super) fn of_path(self, path: PathHash) -> Self {
        StorableHead { path, ..self }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn lines(&self) -> &[u8] {
        &self.lines
    }

    pub(super) fn validators(&self) -> &Validators {
        &self.validators
    }

    pub(super) fn age(&self, now: Duration) -> Duration {
        self.freshness.age(now)
    }

    /// Whether the response can be shared that arrived at `received_at`.
    pub(super) fn sharing(&self, received_at: Duration) -> Shareability {
        self.freshness.sharing(received_at)
    }

    pub(super) fn bytes(&self) -> usize {
        self.lines.len() + self.variant.bytes() + self.validators.bytes()
    }

    /// Whether a request selects the response, and may be served.
    pub(super) fn serves(&self, request: &HeaderMap, credentials: RequestCredentials) -> bool {
        self.variant.matches(request) && self.serves_credentials(credentials)
    }

    fn serves_credentials(&self, credentials: RequestCredentials) -> bool {
        let basis = self.freshness.basis;
        policy::serves(credentials, &self.directives, &self.variant, basis)
    }

    pub(super) fn with_body(self, body: Segments) -> StoredVariant {
        StoredVariant {
            head: self,
            body,
            is_revalidating: AtomicBool::new(false),
        }
    }
}

impl StoredVariant {
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.head.status
    }

    /// Lines of `name: value` and CR LF, with `Date`, without `Age` and `Content-Length`.
    #[must_use]
    pub fn head_lines(&self) -> &[u8] {
        &self.head.lines
    }

    #[must_use]
    pub fn validators(&self) -> &Validators {
        &self.head.validators
    }

    pub(super) fn variant(&self) -> &Variant {
        &self.head.variant
    }

    /// How it may be used for a request.
    pub(super) fn usable(&self, request: &RequestDirectives, now: Duration) -> Use {
        policy::usable(&self.head.freshness, &self.head.directives, request, now)
    }

    /// The length of the body.
    #[must_use]
    pub fn length(&self) -> usize {
        self.body.len()
    }

    /// A part of the body, in pieces.
    pub fn pieces(&self, part: Range<usize>) -> impl Iterator<Item = Bytes> {
        self.body.range(part)
    }

    /// The value of `Age`.
    #[must_use]
    pub fn age_s(&self, now: Duration) -> u64 {
        self.head.freshness.age(now).as_secs()
    }

    /// Whether it can be shared by requests that have waited for it until `now`.
    #[must_use]
    pub fn sharing(&self, now: Duration) -> Shareability {
        self.head.freshness.sharing(now)
    }

    /// Whether it may be served because the backend fails (RFC 5861, section 4).
    #[must_use]
    pub fn serves_errors(&self, now: Duration) -> bool {
        !self.head.directives.has(Directive::NoCache)
            && !self.head.directives.has(Directive::MustRevalidate)
            && self.head.directives.lifetimes.s_maxage.is_none()
            && self.head.freshness.stale_for(now) < self.head.freshness.stale_if_error
    }

    /// Whether this caller is the one that revalidates it; until [`StoredVariant::end_revalidation`] no other is.
    #[must_use]
    pub fn begin_revalidation(&self) -> bool {
        !self.is_revalidating.swap(true, Ordering::AcqRel)
    }

    pub fn end_revalidation(&self) {
        self.is_revalidating.store(false, Ordering::Release);
    }

    /// This response, with its head updated by a 304. The credentials of the request were judged when it was stored.
    pub(super) fn updated(
        &self,
        by: &HeaderMap,
        times: ReceiptTimes,
    ) -> Result<StoredVariant, NotStored> {
        let headers = head::updated(&self.head.lines, by);
        // If it varies by more headers than before, their values in its own request are not known.
        let variant = &self.head.variant;
        let variant = variant.covers(&headers).then(|| variant.clone());
        let head = StorableHead::of(
            self.head.status,
            &headers,
            variant,
            RequestCredentials::None,
            times,
        )?;
        Ok(head.of_path(self.head.path).with_body(self.body.clone()))
    }

    fn bytes(&self) -> u64 {
        (OVERHEAD + allocated(self.head.bytes()) + self.body.bytes()) as u64
    }
}

/// The responses of one URI, the newest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Resource {
    responses: SmallVec<[Arc<StoredVariant>; 1]>,
}

impl Resource {
    /// The newest response that a request selects and may be served.
    pub(super) fn select(
        &self,
        request: &HeaderMap,
        credentials: RequestCredentials,
    ) -> Option<&Arc<StoredVariant>> {
        if let [stored] = &self.responses[..] {
            return stored.head.serves(request, credentials).then_some(stored);
        }
        let mut values = SelectingValues::of(request);
        self.responses.iter().find(|stored| {
            let head = &stored.head;
            head.variant.matches_one_of(&mut values) && head.serves_credentials(credentials)
        })
    }

    /// The newest response.
    pub(super) fn newest(&self) -> Option<&StoredVariant> {
        self.responses.first().map(|stored| &**stored)
    }

    /// With a response, in place of the one that the same requests select.
    pub(super) fn with(&self, response: Arc<StoredVariant>) -> Self {
        let others = self.responses.iter();
        let others = others.filter(|stored| stored.head.variant != response.head.variant);
        let others = others.take(VARIANTS_MAX - 1).cloned();
        Resource {
            responses: std::iter::once(response.clone()).chain(others).collect(),
        }
    }

    /// With responses replaced or, where `change` gives `None`, removed; `None` if nothing is left.
    pub(super) fn changed(
        &self,
        mut change: impl FnMut(&Arc<StoredVariant>) -> Option<Arc<StoredVariant>>,
    ) -> Option<Self> {
        let responses: SmallVec<[_; 1]> = self.responses.iter().filter_map(&mut change).collect();
        (!responses.is_empty()).then_some(Resource { responses })
    }

    /// Whether no response can be used any longer, not even by validating it.
    pub(super) fn is_expired(&self, now: Duration, kept_stale: Duration) -> bool {
        let mut responses = self.responses.iter();
        responses.all(|stored| {
            let freshness = &stored.head.freshness;
            !freshness.is_usable(now)
                && (stored.head.validators.is_empty() || freshness.stale_for(now) > kept_stale)
        })
    }
}

impl Entry for Resource {
    fn is_of_path(&self, path: PathHash) -> bool {
        self.newest().is_some_and(|stored| stored.head.path == path)
    }

    fn bytes(&self) -> u64 {
        self.responses.iter().map(|stored| stored.bytes()).sum()
    }
}

/// The length of a body as the head announces it.
pub(super) fn announced_bytes(headers: &HeaderMap) -> Option<usize> {
    let length = headers.get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.trim().parse().ok()
}
