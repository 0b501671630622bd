//! Keys whose feature is not in this version: they are read and checked, and each that is set causes a warning. A
//! feature that is switched off causes none.

use crate::config::raw::File;
use crate::config::raw::route::Route;
use crate::settings::decode::Setting;
use crate::settings::diagnostic::Diagnostics;

pub(super) fn warn(file: &File, diagnostics: &mut Diagnostics) {
    let mut pending = PendingFeatures { diagnostics };
    for route in file.routes.value().map_or(&[][..], |list| &list.0) {
        pending.route(&route.value);
    }
}

struct PendingFeatures<'f> {
    diagnostics: &'f mut Diagnostics,
}

impl PendingFeatures<'_> {
    /// Warns when the key is set.
    fn key<T>(&mut self, setting: &Setting<T>, instead: &str) {
        if setting.is_written() {
            let does = format!("is not in this version yet; {instead}");
            self.diagnostics
                .warn(&setting.path, setting.key_place, &does);
        }
    }

    /// Warns when the key is set to a value that switches something on.
    fn key_if<T: Copy>(
        &mut self,
        setting: &Setting<T>,
        is_on: impl FnOnce(T) -> bool,
        instead: &str,
    ) {
        if setting.get().is_some_and(is_on) {
            self.key(setting, instead);
        }
    }

    fn route(&mut self, route: &Route) {
        for limit in route.rate_limits.value().map_or(&[][..], |list| &list.0) {
            self.key(&limit.value.tokens, "tokens are not limited");
            let here = "the limit counts in this process";
            self.key_if(&limit.value.shared, |shared| shared, here);
        }
        let has_rounds = route
            .conversation
            .value()
            .and_then(|kept| kept.rounds.get());
        if has_rounds.is_none_or(|rounds| rounds.0 > 0) {
            self.key(&route.conversation, "no conversation is kept");
        }
    }
}
