//! The parts of `Accept` and `Content-Type` that are in the key.
//!
//! The response to a request in JSON is JSON, or the event stream that its body requests: an SDK's
//! `application/json`, curl's `*/*` and no `Accept` at all are equal. A client that prefers an event stream, or
//! something else, has another key.

use http::HeaderValue;

use crate::coding;

const JSON: &[u8] = b"application/json";
const EVENTS: &[u8] = b"text/event-stream";

/// The media type that a client prefers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Preference {
    /// JSON, no less than anything else, or any type.
    Json,
    /// An event stream rather than JSON.
    Events,
    /// Both are named and neither is preferred: the backend may choose.
    Either,
    /// Something else, or a value that cannot be parsed.
    Other,
}

/// Weights in thousandths; 0 means "not acceptable".
#[derive(Default)]
struct Weights {
    json: Option<u16>,
    events: Option<u16>,
    /// `application/*`, else `*/*`.
    any_application: Option<u16>,
    any: Option<u16>,
    /// The highest of all others.
    others: u16,
}

impl Preference {
    /// Reads all values of `Accept` (RFC 9110, section 12.5.1).
    pub(super) fn of<'a>(values: impl IntoIterator<Item = &'a HeaderValue>) -> Self {
        let mut weights = Weights::default();
        let mut ranges = 0;
        for value in values {
            if matches!(value.as_bytes(), b"application/json" | b"*/*") {
                weights.add(value.as_bytes(), 1000);
                ranges += 1;
                continue;
            }
            for range in value.as_bytes().split(|byte| *byte == b',') {
                let range = range.trim_ascii();
                if range.is_empty() {
                    continue;
                }
                let Some((name, weight)) = read(range) else {
                    return Preference::Other;
                };
                weights.add(name, weight);
                ranges += 1;
            }
        }
        match ranges {
            0 => Preference::Other,
            _ => weights.preferred(),
        }
    }

    /// One text for all equal preferences; `None` if the value itself is part of the key.
    pub(super) fn text(self) -> Option<&'static [u8]> {
        match self {
            Preference::Json => Some(b""),
            Preference::Events => Some(EVENTS),
            Preference::Either => Some(b"application/json, text/event-stream"),
            Preference::Other => None,
        }
    }
}

impl Weights {
    fn add(&mut self, name: &[u8], weight: u16) {
        let place = if name.eq_ignore_ascii_case(JSON) {
            &mut self.json
        } else if name.eq_ignore_ascii_case(EVENTS) {
            &mut self.events
        } else if name == b"*/*" {
            &mut self.any
        } else if name.eq_ignore_ascii_case(b"application/*") {
            &mut self.any_application
        } else {
            self.others = self.others.max(weight);
            return;
        };
        *place = Some(place.unwrap_or_default().max(weight));
    }

    fn preferred(&self) -> Preference {
        let unnamed = self.any_application.or(self.any).unwrap_or_default();
        let json = self.json.unwrap_or(unnamed);
        let events = self.events.unwrap_or_default();
        let above = match self.json {
            Some(_) => self.others.max(unnamed) > json,
            // It is not preferred to the other types that a wildcard covers.
            None => self.others > 0 && self.others >= json,
        };
        if events > 0 && events >= json && events >= self.others {
            return match self.json {
                Some(_) if events == json => Preference::Either,
                _ => Preference::Events,
            };
        }
        match json > 0 && !above {
            true => Preference::Json,
            false => Preference::Other,
        }
    }
}

/// A media range and its weight; `None` with any parameter besides the weight and a `charset`.
fn read(range: &[u8]) -> Option<(&[u8], u16)> {
    let mut parts = range.split(|byte| *byte == b';');
    let name = parts.next()?.trim_ascii();
    let mut weight = 1000;
    for parameter in parts {
        let (key, value) = parameter_of(parameter)?;
        if key.eq_ignore_ascii_case(b"q") {
            weight = coding::weight(value)?;
        } else if !key.eq_ignore_ascii_case(b"charset") {
            return None;
        }
    }
    Some((name, weight))
}

fn parameter_of(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = text.iter().position(|byte| *byte == b'=')?;
    Some((text[..equals].trim_ascii(), text[equals + 1..].trim_ascii()))
}

/// Whether a `Content-Type` is JSON in UTF-8, with or without its charset: JSON has no other (RFC 8259, section
/// 8.1).
pub(super) fn is_json(value: &HeaderValue) -> bool {
    let mut parts = value.as_bytes().split(|byte| *byte == b';');
    let name = parts.next().unwrap_or_default().trim_ascii();
    name.eq_ignore_ascii_case(JSON)
        && parts.all(|parameter| {
            parameter.trim_ascii().is_empty()
                || parameter_of(parameter).is_some_and(|(key, value)| {
                    key.eq_ignore_ascii_case(b"charset")
                        && (value.eq_ignore_ascii_case(b"utf-8")
                            || value.eq_ignore_ascii_case(b"\"utf-8\""))
                })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preference(values: &[&'static str]) -> Preference {
        let values: Vec<_> = values.iter().map(|v| HeaderValue::from_static(v)).collect();
        Preference::of(&values)
    }

    #[test]
    fn the_preferred_media_type() {
        use Preference::{Either, Events, Json, Other};
        for (accept, expected) in [
            ("application/json", Json),
            ("*/*", Json),
            ("application/*", Json),
            ("APPLICATION/JSON", Json),
            ("application/json, text/plain, */*", Json),
            ("application/json, */*", Json),
            ("application/json;charset=utf-8", Json),
            ("application/json; q=0.9, */*; q=0.8", Json),
            ("application/json, text/event-stream;q=0.5", Json),
            ("application/json;q=0.9,text/event-stream;q=0.899", Json),
            ("*/*;q=0.5, text/event-stream;q=0", Json),
            (", application/json,", Json),
            ("text/html;q=0.5, application/json", Json),
            ("text/event-stream", Events),
            ("Text/Event-Stream; q=0.3", Events),
            ("text/event-stream, */*", Events),
            ("text/event-stream, application/json;q=0.9", Events),
            ("text/event-stream, text/plain", Events),
            ("application/json, text/event-stream", Either),
            ("text/event-stream;q=0.5, application/json;q=0.5", Either),
            ("text/html", Other),
            ("text/plain, */*", Other),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Other),
            ("application/json;q=0.5, text/html", Other),
            ("application/json;q=0.5, */*", Other),
            ("application/json;q=0", Other),
            ("application/json;q=0, */*", Other),
            ("application/json;version=2", Other),
            ("application/json;q=2", Other),
            ("application/json;q=0.1234", Other),
            ("application/json;q", Other),
            ("application/x-ndjson", Other),
            ("", Other),
            (",", Other),
        ] {
            assert_eq!(preference(&[accept]), expected, "{accept}");
        }
        assert_eq!(preference(&["text/plain", "application/json"]), Json);
        assert_eq!(preference(&["text/event-stream", "*/*;q=0.1"]), Events);
        assert_eq!(preference(&[]), Other);
    }

    #[test]
    fn json_is_recognised_with_or_without_its_charset() {
        for (text, json) in [
            ("application/json", true),
            ("Application/JSON", true),
            ("application/json; charset=utf-8", true),
            ("application/json;charset=\"UTF-8\"", true),
            ("application/json;", true),
            ("application/json; charset=latin1", false),
            ("application/json; profile=x", false),
            ("application/json; charset", false),
            ("application/jsonp", false),
            ("text/plain", false),
            ("", false),
        ] {
            assert_eq!(is_json(&HeaderValue::from_static(text)), json, "{text}");
        }
    }
}
