//! Which of the stored responses of one URI a request selects (RFC 9111, section 4.1).

use http::header::{self, GetAll};
use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

use super::super::cache_control::members;
use crate::http::hop_by_hop::has_option;

/// Up to this size, a normalised value takes no allocation.
const VALUE_BYTES_USUAL: usize = 128;
/// A longer value is compared as it is: each lookup normalises it.
const NORMALISED_BYTES_MAX: usize = 1024;
/// A response that varies by more headers is not stored.
const NAMES_MAX: usize = 16;

/// The headers that a response varies by, with the normalised values of its request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Variant(Box<[(HeaderName, SelectingValue)]>);

/// The normalised values of a header; `None` if the request has none.
type SelectingValue = Option<Box<[u8]>>;

/// The values of a request that selects one of several responses: each header is normalised once, however many of them
/// vary by it.
pub(super) struct SelectingValues<'a> {
    request: &'a HeaderMap,
    known: Vec<(&'a HeaderName, Option<NormalisedValue>)>,
}

type NormalisedValue = SmallVec<[u8; VALUE_BYTES_USUAL]>;

impl<'a> SelectingValues<'a> {
    pub(super) fn of(request: &'a HeaderMap) -> Self {
        SelectingValues {
            request,
            known: Vec::new(),
        }
    }

    fn get(&mut self, name: &'a HeaderName) -> Option<&[u8]> {
        let position = self.known.iter().position(|(known, _)| *known == name);
        let position = position.unwrap_or_else(|| {
            let value = normalised(name, self.request.get_all(name));
            self.known.push((name, value));
            self.known.len() - 1
        });
        self.known[position].1.as_deref()
    }
}

impl Variant {
    /// `None` if no other request can be known to select the response: `*`, a name that is none, or a header that weir
    /// replaces in each request.
    pub(super) fn of(
        response: &HeaderMap,
        request: &HeaderMap,
        is_replaced: fn(&HeaderName) -> bool,
    ) -> Option<Self> {
        let names = names(response)?;
        if names.len() > NAMES_MAX || names.iter().any(is_replaced) {
            return None;
        }
        let values = names.into_iter().map(|name| {
            // A header that `Connection` names is not forwarded: the backend has responded to a request without it.
            let is_forwarded = !has_option(request, name.as_str().as_bytes());
            let value = is_forwarded.then(|| normalised(&name, request.get_all(&name)));
            let value = value.flatten();
            let value = value.map(|value| Box::from(&value[..]));
            (name, value)
        });
        Some(Variant(values.collect()))
    }

    /// Whether a request selects the response.
    pub(super) fn matches(&self, request: &HeaderMap) -> bool {
        self.0.iter().all(|(name, stored)| {
            let value = normalised(name, request.get_all(name));
            value.as_deref() == stored.as_deref()
        })
    }

    /// As [`Variant::matches`], for one of several responses.
    pub(super) fn matches_one_of<'a>(&'a self, values: &mut SelectingValues<'a>) -> bool {
        let mut fields = self.0.iter();
        fields.all(|(name, stored)| values.get(name) == stored.as_deref())
    }

    /// Calls `add` with what a request selects the response by.
    pub(super) fn for_each_value(&self, request: &HeaderMap, mut add: impl FnMut(&[u8])) {
        for (name, _) in &self.0 {
            match normalised(name, request.get_all(name)) {
                Some(value) => {
                    add(b"=");
                    add(&value);
                }
                None => add(b""),
            }
        }
    }

    /// Whether a request selects the response by all that a newer head of it varies by.
    pub(super) fn covers(&self, head: &HeaderMap) -> bool {
        let is_known = |name: &HeaderName| self.names().any(|known| known == name);
        names(head).is_some_and(|names| names.iter().all(is_known))
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &HeaderName> {
        self.0.iter().map(|(name, _)| name)
    }

    pub(super) fn bytes(&self) -> usize {
        let values = self.0.iter().filter_map(|(_, value)| value.as_ref());
        size_of_val(&*self.0) + values.map(|value| value.len()).sum::<usize>()
    }
}

/// The headers that a response varies by, in their order; `None` if one is `*` or no name.
fn names(response: &HeaderMap) -> Option<Vec<HeaderName>> {
    let mut names: Vec<HeaderName> = Vec::new();
    for line in response.get_all(header::VARY) {
        for name in line.as_bytes().split(|byte| *byte == b',') {
            let name = name.trim_ascii();
            if name.is_empty() {
                continue;
            }
            if name == b"*" {
                return None;
            }
            let name = HeaderName::from_bytes(name).ok()?;
            match name.as_str() {
                // Part of the key, or equal for the whole route.
                "host" | "x-forwarded-host" | "x-forwarded-proto" | "x-weir-platform" => {}
                _ => names.push(name),
            }
        }
    }
    names.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
    names.dedup();
    Some(names)
}

/// The values of one header, combined and without optional white space; `None` if there is none. Members of the
/// `Accept` headers have no order and no case: where their weights differ, they are written. A long value is not
/// normalised (`NORMALISED_BYTES_MAX`).
fn normalised(name: &HeaderName, values: GetAll<'_, HeaderValue>) -> Option<NormalisedValue> {
    let mut lines = values.iter().peekable();
    lines.peek()?;
    let mut joined = SmallVec::new();
    if values.iter().map(HeaderValue::len).sum::<usize>() > NORMALISED_BYTES_MAX {
        for line in lines {
            add(&mut joined, line.as_bytes());
        }
        return Some(joined);
    }
    let lists = lines.flat_map(|line| members(line.as_bytes()));
    let lists = lists
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty());
    let is_unordered = matches!(
        *name,
        header::ACCEPT_ENCODING | header::ACCEPT_LANGUAGE | header::ACCEPT_CHARSET
    );
    if !is_unordered {
        for member in lists {
            add(&mut joined, member);
        }
        return Some(joined);
    }
    let plain = |member: &[u8]| {
        let bytes = member.iter().filter(|byte| !matches!(byte, b' ' | b'\t'));
        bytes
            .map(u8::to_ascii_lowercase)
            .collect::<SmallVec<[u8; 24]>>()
    };
    let mut members: SmallVec<[_; 8]> = lists.map(plain).collect();
    members.sort_unstable();
    for member in &members {
        add(&mut joined, member);
    }
    Some(joined)
}

fn add(joined: &mut NormalisedValue, member: &[u8]) {
    if !joined.is_empty() {
        joined.push(b',');
    }
    joined.extend_from_slice(member);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_normalised_once_however_many_responses_vary_by_it() {
        let request = |value: &'static str| {
            let mut request = HeaderMap::new();
            request.insert("accept-language", HeaderValue::from_static(value));
            request
        };
        let mut response = HeaderMap::new();
        let names = HeaderValue::from_static("accept-language, x-missing");
        response.insert(header::VARY, names);
        let variant =
            |value| Variant::of(&response, &request(value), |_| false).expect("a variant");
        let stored = [variant("de"), variant("fr"), variant("en, de")];
        let (asked, other) = (request("de, EN"), request("nl"));
        let mut values = SelectingValues::of(&asked);
        let selected = stored
            .each_ref()
            .map(|variant| variant.matches_one_of(&mut values));
        assert_eq!(selected, [false, false, true]);
        assert_eq!(values.known.len(), 2, "one for each name");
        let mut values = SelectingValues::of(&other);
        assert!(
            !stored
                .iter()
                .any(|variant| variant.matches_one_of(&mut values))
        );
        assert_eq!(values.known.len(), 1);
    }
}
