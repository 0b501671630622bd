//! The exchange of a request that weir makes in the background, such as the revalidation of a stored response.

use std::time::Instant;

use super::{Exchange, Phase};

impl Exchange {
    /// An exchange for a request of weir's own that repeats this one: see [`super::Recorder::record_background`].
    #[must_use]
    pub fn in_background(&self, now: Instant) -> Self {
        let mut own = Exchange::new(
            now,
            self.client_ip,
            self.platform.clone(),
            self.recorder.clone(),
        );
        own.phase = Phase::Background;
        own.client_name.clone_from(&self.client_name);
        own.method.clone_from(&self.method);
        own.version = self.version;
        own.scheme = self.scheme;
        own.path.clone_from(&self.path);
        own.domain.clone_from(&self.domain);
        own.authority.clone_from(&self.authority);
        own.cdn_loop.clone_from(&self.cdn_loop);
        own.route.clone_from(&self.route);
        own.route_path.clone_from(&self.route_path);
        own.trace.clone_from(&self.trace);
        own.signature.clone_from(&self.signature);
        own
    }
}
