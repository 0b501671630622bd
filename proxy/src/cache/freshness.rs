//! Freshness: how long a stored response may be used (RFC 9111, section 4.2).

use std::time::Duration;

use http::{HeaderMap, HeaderName, header};

use super::Scope;
use super::cache_control::{LifetimeDirectives, for_each_directive, seconds};

/// The freshness of a response, by its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Freshness {
    /// Its age when it arrived: its `Age` header.
    pub(super) age: Duration,
    /// How long it is fresh from then on, by `s-maxage`, `max-age` or `Expires`; `None` if the head does not
    /// specify it, zero if the value is invalid.
    pub(super) lifetime_left: Option<Duration>,
}

impl Freshness {
    /// Nothing is specified.
    pub(super) const UNSPECIFIED: Freshness = Freshness {
        age: Duration::ZERO,
        lifetime_left: None,
    };

    /// By the head of a response that arrived at `received_at` (since the Unix epoch).
    pub(super) fn of(headers: &HeaderMap, scope: Scope, received_at: Duration) -> Self {
        // Comparing the few names is cheaper than three lookups.
        let matters = |name: &HeaderName| {
            matches!(*name, header::CACHE_CONTROL | header::EXPIRES | header::AGE)
        };
        if !headers.keys().any(matters) {
            return Freshness::UNSPECIFIED;
        }
        let age = age(headers);
        let dated = date(headers, &header::DATE);
        let lifetime = directive(headers, scope).or_else(|| expires(headers, dated, received_at));
        // Section 4.2.3: the larger of its age and of the apparent age by its date.
        let apparent = dated.map_or(Duration::ZERO, |dated| received_at.saturating_sub(dated));
        Freshness {
            age,
            lifetime_left: lifetime.map(|lifetime| lifetime.saturating_sub(age.max(apparent))),
        }
    }
}

/// `s-maxage` takes precedence over `max-age` in a shared cache.
fn directive(headers: &HeaderMap, scope: Scope) -> Option<Duration> {
    let mut lifetimes = LifetimeDirectives::default();
    for_each_directive(headers, |name, argument| lifetimes.read(name, argument));
    let shared = lifetimes.s_maxage.filter(|_| scope == Scope::Route);
    shared.or(lifetimes.max_age)
}

/// The lifetime by `Expires`, of a response that is `dated`.
pub(super) fn expires(
    headers: &HeaderMap,
    dated: Option<Duration>,
    received_at: Duration,
) -> Option<Duration> {
    let expires = single(headers, &header::EXPIRES)?;
    // Section 5.3: an invalid date, such as `0`, is in the past.
    let at = expires.date().unwrap_or_default();
    Some(at.saturating_sub(dated.unwrap_or(received_at)))
}

/// Section 5.1: the first of several values counts; an invalid one is ignored.
pub(super) fn age(headers: &HeaderMap) -> Duration {
    let value = headers.get(header::AGE).map(|value| value.as_bytes());
    let first = value.and_then(|value| value.split(|byte| *byte == b',').next());
    let seconds = first.and_then(|text| seconds(text.trim_ascii()));
    seconds.unwrap_or_default()
}

/// The date in a header that is there once.
pub(super) fn date(headers: &HeaderMap, name: &HeaderName) -> Option<Duration> {
    single(headers, name).and_then(SingleHeader::date)
}

/// A header that must not be repeated.
enum SingleHeader<'a> {
    Once(&'a [u8]),
    Repeated,
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<SingleHeader<'a>> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    Some(match values.next() {
        None => SingleHeader::Once(first.as_bytes()),
        Some(_) => SingleHeader::Repeated,
    })
}

impl SingleHeader<'_> {
    fn date(self) -> Option<Duration> {
        match self {
            SingleHeader::Once(text) => http_date(text),
            SingleHeader::Repeated => None,
        }
    }
}

/// A date of HTTP (RFC 9110, section 5.6.7), since the Unix epoch. Its names may be in any case (RFC 9111, section 4.2).
pub(super) fn http_date(text: &[u8]) -> Option<Duration> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let at = httpdate::parse_http_date(text);
    let at = at.or_else(|_| httpdate::parse_http_date(&with_usual_case(text)));
    let at = at.ok()?;
    Some(
        at.duration_since(std::time::SystemTime::UNIX_EPOCH)
            .unwrap_or_default(),
    )
}

/// A date with the names of its day and month capitalised; empty if the text has another length than a date.
fn with_usual_case(text: &str) -> String {
    // The asctime format, and RFC 850's on a Wednesday.
    if !(24..=33).contains(&text.len()) {
        return String::new();
    }
    let mut is_first = true;
    let capitalised = text.chars().map(|letter| {
        let cased = match is_first {
            true => letter.to_ascii_uppercase(),
            false => letter.to_ascii_lowercase(),
        };
        is_first = !letter.is_ascii_alphabetic();
        cased
    });
    let capitalised: String = capitalised.collect();
    capitalised.replace("Gmt", "GMT")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// Sunday, 6 November 1994, 08:49:37.
    const NOW: Duration = Duration::from_secs(784_111_777);

    fn read(lines: &[(&'static str, &'static str)], scope: Scope) -> (u64, Option<u64>) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let freshness = Freshness::of(&headers, scope, NOW);
        (
            freshness.age.as_secs(),
            freshness.lifetime_left.map(|left| left.as_secs()),
        )
    }

    #[test]
    fn max_age_and_age_bound_the_lifetime() {
        let cc = |value| ("cache-control", value);
        for (lines, expected) in [
            (&[][..], (0, None)),
            (&[cc("public")], (0, None)),
            (&[cc("max-age=60")], (0, Some(60))),
            (&[cc("public, Max-Age = 60 ")], (0, Some(60))),
            (&[cc("max-age=\"60\"")], (0, Some(60))),
            (&[cc("max-age=0")], (0, Some(0))),
            (&[cc("max-age=")], (0, Some(0))),
            (&[cc("max-age")], (0, Some(0))),
            (&[cc("max-age=1.5")], (0, Some(0))),
            (&[cc("max-age=-1")], (0, Some(0))),
            (&[cc("max-age=\"60")], (0, Some(0))),
            (&[cc("max-age=60, max-age=60")], (0, Some(0))),
            (&[cc("max-age=60"), cc("max-age=90")], (0, Some(0))),
            (
                &[cc("max-age=99999999999999999999999")],
                (0, Some(u64::MAX)),
            ),
            (&[cc("max-age=60"), ("age", "20")], (20, Some(40))),
            (&[cc("max-age=60"), ("age", "60")], (60, Some(0))),
            (&[cc("max-age=60"), ("age", "61")], (61, Some(0))),
            (&[("age", "20")], (20, None)),
            (&[("age", "20, 30")], (20, None)),
            (&[("age", "20"), ("age", "30")], (20, None)),
            (&[("age", "soon")], (0, None)),
            (&[("age", "-5")], (0, None)),
            (&[("age", "99999999999999999999999")], (u64::MAX, None)),
        ] {
            assert_eq!(read(lines, Scope::Client), expected, "{lines:?}");
            assert_eq!(read(lines, Scope::Route), expected, "{lines:?}");
        }
    }

    #[test]
    fn expires_bounds_the_lifetime() {
        let cc = |value| ("cache-control", value);
        let expires = |value| ("expires", value);
        let date = |value| ("date", value);
        for (lines, expected) in [
            (
                &[expires("Sun, 06 Nov 1994 08:50:37 GMT")][..],
                (0, Some(60)),
            ),
            (&[expires("Sunday, 06-Nov-94 08:50:37 GMT")], (0, Some(60))),
            (&[expires("Sun Nov  6 08:50:37 1994")], (0, Some(60))),
            (&[expires("SUN, 06 nov 1994 08:50:37 gMT")], (0, Some(60))),
            (&[expires("sundaY, 06-NOV-94 08:50:37 gmt")], (0, Some(60))),
            (&[expires("Sun, 06 Nov 1994 08:50:37 UTC")], (0, Some(0))),
            (&[expires("Sun 06 Nov 1994 08:50:37 GMT")], (0, Some(0))),
            (&[expires("Sun, 06 Nov 1994 08:49:37 GMT")], (0, Some(0))),
            (&[expires("Thu, 01 Jan 1970 00:00:00 GMT")], (0, Some(0))),
            (&[expires("0")], (0, Some(0))),
            (&[expires("-1")], (0, Some(0))),
            (&[expires("tomorrow")], (0, Some(0))),
            (
                &[
                    expires("Sun, 06 Nov 1994 08:50:37 GMT"),
                    expires("Sun, 06 Nov 1994 08:51:37 GMT"),
                ],
                (0, Some(0)),
            ),
            // The backend's clock is an hour ahead; its dates are relative to that.
            (
                &[
                    date("Sun, 06 Nov 1994 09:49:37 GMT"),
                    expires("Sun, 06 Nov 1994 09:50:37 GMT"),
                ],
                (0, Some(60)),
            ),
            // Generated ten seconds ago.
            (
                &[
                    date("Sun, 06 Nov 1994 08:49:27 GMT"),
                    expires("Sun, 06 Nov 1994 08:50:27 GMT"),
                ],
                (0, Some(50)),
            ),
            (
                &[date("Sun, 06 Nov 1994 08:49:27 GMT"), cc("max-age=60")],
                (0, Some(50)),
            ),
            (
                &[
                    date("Sun, 06 Nov 1994 08:49:27 GMT"),
                    cc("max-age=60"),
                    ("age", "30"),
                ],
                (30, Some(30)),
            ),
            (&[date("yesterday"), cc("max-age=60")], (0, Some(60))),
            (
                &[cc("max-age=60"), expires("Thu, 01 Jan 1970 00:00:00 GMT")],
                (0, Some(60)),
            ),
            (&[date("Thu, 01 Jan 1970 00:00:00 GMT")], (0, None)),
        ] {
            assert_eq!(read(lines, Scope::Client), expected, "{lines:?}");
            assert_eq!(read(lines, Scope::Route), expected, "{lines:?}");
        }
    }

    #[test]
    fn s_maxage_is_for_shared_caches() {
        let both = [("cache-control", "max-age=60, s-maxage=5")];
        assert_eq!(read(&both, Scope::Route), (0, Some(5)));
        assert_eq!(read(&both, Scope::Client), (0, Some(60)));
        let longer = [("cache-control", "s-maxage=600, max-age=60")];
        assert_eq!(read(&longer, Scope::Route), (0, Some(600)));
        let invalid = [("cache-control", "s-maxage=x, max-age=60")];
        assert_eq!(read(&invalid, Scope::Route), (0, Some(0)));
        let alone = [("cache-control", "s-maxage=5")];
        assert_eq!(read(&alone, Scope::Client), (0, None));
    }
}
