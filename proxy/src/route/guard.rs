//! A protected route guards the variants of its path, against path confusion.
//!
//! Backends differ in which paths they treat as equal, and some treat `/v1/chat%2Fcompletions` as
//! `/v1/chat/completions`. Where the folded form of a path (see [`super::path::folded`]) belongs
//! to a stricter route than the path itself, the stricter route decides.
//!
//! A route is stricter than another when it rejects what the other admits, compared in this order:
//!
//! 1. its `allow` rejects the address of this request, and the other's does not;
//! 2. it requires a signature and the other does not; all its schemes cover the body and not all of the other's do;
//!    or the other accepts a key that it does not accept
//!    (compared by the signature stage, and passed in as [`Requirements`]);
//! 3. both require the same, and it has limits and the other has none.
//!
//! The `allow` of the route that matched applies in any case: a path variant does not bypass it.

use std::net::IpAddr;

use http::Method;

use super::path::folded;
use super::{Config, PathPattern, PatternGroup, RouteMatch, Table};

/// What the guard decides for a request that a route has matched.
#[derive(Debug, PartialEq, Eq)]
pub enum Guarded {
    /// The route that matched decides.
    Not,
    /// The route at this position decides.
    By(usize),
    /// A stricter route has this path but not this method: the value of `Allow`.
    MethodNotAllowed(String),
}

/// What routes require of a request beyond its source address. The comparison is passed in by the owner of signatures
/// and limits.
#[derive(Clone, Debug, Default)]
pub struct Requirements {
    /// For each route the kind of its signatures: routes of one kind have equal ones.
    pub kinds: Vec<usize>,
    /// `stricter[ours][theirs]`: whether signatures of the first kind are stricter than those of the second.
    pub stricter: Vec<Vec<bool>>,
    /// For each route whether it has any limit.
    pub limited: Vec<bool>,
}

impl Requirements {
    /// Compares the signatures of all routes; `limited` states of each route whether it has any limit.
    pub fn compare<S: PartialEq + ?Sized>(
        signatures: &[&S],
        limited: Vec<bool>,
        is_stricter: impl Fn(&S, &S) -> bool,
    ) -> Self {
        let mut distinct: Vec<&S> = Vec::new();
        let mut kinds = Vec::with_capacity(signatures.len());
        for signature in signatures {
            let known = distinct.iter().position(|kind| kind == signature);
            kinds.push(known.unwrap_or(distinct.len()));
            if known.is_none() {
                distinct.push(signature);
            }
        }
        let row = |ours: &&S| -> Vec<bool> {
            let theirs = distinct.iter();
            theirs.map(|theirs| is_stricter(ours, theirs)).collect()
        };
        Requirements {
            stricter: distinct.iter().map(row).collect(),
            kinds,
            limited,
        }
    }

    /// Whether the route at `ours` is stricter than that at `theirs`, for an address that both admit.
    fn is_stricter(&self, ours: usize, theirs: usize) -> bool {
        let (our_kind, their_kind) = (self.kinds[ours], self.kinds[theirs]);
        if our_kind != their_kind {
            return self.stricter[our_kind][their_kind];
        }
        self.limited[ours] && !self.limited[theirs]
    }
}

/// Which of two routes is stricter.
#[derive(Debug)]
pub(super) struct Strictness {
    requirements: Requirements,
    /// For each route whether any route can be stricter: otherwise its paths need not be folded.
    outdone: Vec<bool>,
}

impl Strictness {
    pub(super) fn new(routes: &[Config], requirements: Requirements) -> Self {
        let any_allow = routes.iter().any(|route| !route.allow.is_empty());
        let others = 0..routes.len();
        let is_outdone = |theirs: usize| {
            any_allow
                || others
                    .clone()
                    .any(|ours| requirements.is_stricter(ours, theirs))
        };
        Strictness {
            outdone: (0..routes.len()).map(is_outdone).collect(),
            requirements,
        }
    }

    fn is_stricter(&self, routes: &[Config], ours: usize, theirs: usize, from: IpAddr) -> bool {
        let rejects_only = !routes[ours].admits(from) && routes[theirs].admits(from);
        rejects_only || self.requirements.is_stricter(ours, theirs)
    }
}

impl Table {
    /// Whether a stricter route has the folded form of the path, for a request from `address` whose canonical path matched
    /// the route at `found`.
    ///
    /// Methods are compared as in [`Table::find`]. The first pattern that has the form itself ends the search;
    /// one that has it only when the pattern is folded as well (`/Admin`, `/admin/`) does not.
    #[must_use]
    pub fn guard(&self, method: &Method, path: &str, found: usize, address: IpAddr) -> Guarded {
        let is_outdone = self.strictness.outdone.get(found).copied();
        if !is_outdone.unwrap_or_default() {
            return Guarded::Not;
        }
        if !folded::may_differ(path) {
            return match self.is_only_variant(path, found) {
                true => self.guard_form(method, path, found, address),
                false => Guarded::Not,
            };
        }
        let (first, second) = folded::forms(path);
        [Some(first), second]
            .into_iter()
            .flatten()
            .filter(|form| form != path || self.is_only_variant(path, found))
            .map(|form| self.guard_form(method, &form, found, address))
            .find(|guarded| *guarded != Guarded::Not)
            .unwrap_or(Guarded::Not)
    }

    fn guard_form(&self, method: &Method, form: &str, found: usize, address: IpAddr) -> Guarded {
        let is_stricter = |ours| {
            self.strictness
                .is_stricter(&self.routes, ours, found, address)
        };
        let own = self
            .group_of(found)
            .filter(|own| own.folded.matches_form(form));
        for group in &self.groups {
            let is_plain = group.pattern.matches(form);
            if !is_plain && !group.folded.matches_form(form) {
                continue;
            }
            // `/static/*` names `/static/` itself: a catch-all does not take precedence.
            let is_wider = own.is_some_and(|own| group.pattern.covers(&own.pattern));
            if !is_wider {
                match self.take(group, method) {
                    RouteMatch::Route(position) if is_stricter(position) => {
                        return Guarded::By(position);
                    }
                    RouteMatch::MethodNotAllowed(allow)
                        if group.routes.iter().copied().any(is_stricter) =>
                    {
                        return Guarded::MethodNotAllowed(allow);
                    }
                    _ => {}
                }
            }
            if is_plain {
                break;
            }
        }
        Guarded::Not
    }

    /// Whether a path that is its own folded form is a variant of a pattern that does not match it: `/admin` is one
    /// of `/admin/*` and of `/Admin`. A route that names the path exactly decides by itself.
    fn is_only_variant(&self, path: &str, found: usize) -> bool {
        let is_variant =
            |group: &PatternGroup| group.folded.matches_form(path) && !group.pattern.matches(path);
        let is_named = |own: &PatternGroup| matches!(own.pattern, PathPattern::Exact(_));
        self.groups.iter().any(is_variant) && !self.group_of(found).is_some_and(is_named)
    }

    fn group_of(&self, position: usize) -> Option<&PatternGroup> {
        let mut groups = self.groups.iter();
        groups.find(|group| group.routes.contains(&position))
    }
}

impl PathPattern {
    /// The pattern of the folded forms of its paths.
    pub(super) fn folded(&self) -> PathPattern {
        match self {
            PathPattern::Exact(path) => PathPattern::Exact(folded::form(path)),
            // A prefix may end inside a segment: `/a/.*` matches `/a/.env`.
            PathPattern::Prefix(prefix) => {
                let mut form = folded::form(&format!("{prefix}x"));
                form.truncate(form.strip_suffix('x').unwrap_or(&form).len());
                PathPattern::Prefix(form)
            }
        }
    }

    /// Whether this folded pattern matches a folded form. Folding removes the slash at the end of a path, so a prefix
    /// that ends with one matches without it, too.
    fn matches_form(&self, form: &str) -> bool {
        let is_stem = |prefix: &String| prefix.strip_suffix('/') == Some(form);
        match self {
            PathPattern::Exact(exact) => exact == form,
            PathPattern::Prefix(prefix) => form.starts_with(prefix.as_str()) || is_stem(prefix),
        }
    }
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
