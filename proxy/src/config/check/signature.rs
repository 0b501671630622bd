//! `signature`: the entries of a route, each checked by its scheme.

use crate::config::raw::route::Route;
use crate::settings::diagnostic::Diagnostics;
use crate::settings::lists::{Placed, refuse_duplicates};
use crate::signature::Config;

/// All entries of a route. `None` when one of them is invalid.
pub(super) fn check(route: &Route, diagnostics: &mut Diagnostics) -> Option<Vec<Config>> {
    if route.signature.is_absent() {
        return Some(Vec::new());
    }
    let name = route.name.value().map_or("", |name| name.0.as_str());
    let list = &route.signature.value()?.0;
    let schemes = list
        .iter()
        .filter_map(|Placed { place, value }| Some((value.scheme()?, *place)));
    refuse_duplicates("scheme of this route", schemes, diagnostics);
    let mut checked = Vec::with_capacity(list.len());
    for Placed { value, .. } in list {
        checked.extend(value.check(name, diagnostics));
    }
    if let Some((one, other)) = Config::shared_secret(&checked) {
        let does = format!(
            "gives the clients `{one}` and `{other}` the same secret, so that limits and the cache cannot tell \
             them apart; give each client its own"
        );
        let setting = &route.signature;
        diagnostics.warn(&setting.path, setting.place, &does);
    }
    (checked.len() == list.len()).then_some(checked)
}
