//! The folded form of a path: how the most lenient backend could read it.
//!
//! Frameworks decode once more, cut at an encoded `?`, drop `;` parameters, ignore a trailing slash,
//! dots and white space at the end of a segment and the case of letters, each in its own way. The folded form
//! removes all of that: decoded to a fixed point, `\` as `/`, slashes merged, dots resolved, cut at `?` and `#`,
//! `;...`, trailing dots and white space dropped in each segment, letters folded. It
//! only selects a stricter route ([`crate::route::Table::guard`]) and is never sent to a backend.

/// Whether the folded form can differ from this canonical path: one scan, so that an ordinary path costs no more.
#[must_use]
pub fn may_differ(canonical: &str) -> bool {
    let bytes = canonical.as_bytes();
    let ends = bytes.len() > 1 && matches!(bytes.last(), Some(b'/' | b'.'));
    let mut previous = b'/';
    ends || bytes.iter().any(|byte| {
        let before = std::mem::replace(&mut previous, *byte);
        match byte {
            b'%' | b';' | b'A'..=b'Z' => true,
            b'/' => before == b'.',
            _ => false,
        }
    })
}

/// The folded form of a canonical path. Where an encoded `?` or `#` is followed by dot segments, a
/// backend that cuts first and one that resolves first see two paths; then there is a second form.
#[must_use]
pub fn forms(canonical: &str) -> (String, Option<String>) {
    let decoded = decoded(canonical);
    let Some(cut) = decoded.find(['?', '#']) else {
        return (folded(&decoded), None);
    };
    let resolved = resolved(&decoded).join("/");
    let end = resolved.find(['?', '#']).unwrap_or(resolved.len());
    let first = folded(&resolved[..end]);
    let second = folded(&decoded[..cut]);
    let second = (second != first).then_some(second);
    (first, second)
}

/// The folded form of a route's own path, which has no query.
#[must_use]
pub fn form(canonical: &str) -> String {
    forms(canonical).0
}

/// All escapes decoded, including those that result from decoding (`%252F`), with `\` as `/`. One pass: an escape is
/// complete with its last digit, and the decoded byte may complete another escape, so only the end of the output is
/// checked.
fn decoded(path: &str) -> String {
    let mut bytes: Vec<u8> = Vec::with_capacity(path.len());
    for &byte in path.as_bytes() {
        bytes.push(byte);
        while let [.., b'%', high, low] = bytes[..]
            && let (Some(high), Some(low)) = (digit(high), digit(low))
        {
            bytes.truncate(bytes.len() - 3);
            bytes.push(high * 16 + low);
        }
    }
    for byte in &mut bytes {
        if *byte == b'\\' {
            *byte = b'/';
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn digit(byte: u8) -> Option<u8> {
    let value = char::from(byte).to_digit(16)?;
    u8::try_from(value).ok()
}

/// The segments without empty ones and dots; `..;x` is one of the dots.
fn resolved(decoded: &str) -> Vec<&str> {
    let mut segments: Vec<&str> = Vec::new();
    for segment in decoded.split('/') {
        match without_parameters(segment) {
            ".." => {
                segments.pop();
            }
            "." => {}
            _ if segment.is_empty() => {}
            _ => segments.push(segment),
        }
    }
    segments
}

fn without_parameters(segment: &str) -> &str {
    segment.split(';').next().unwrap_or_default()
}

/// What is left of a path without a query.
fn folded(decoded: &str) -> String {
    let mut path = String::with_capacity(decoded.len());
    let is_ignored = |last: char| last == '.' || is_white_space(last);
    let names = resolved(decoded).into_iter().map(without_parameters);
    let names = names.map(|name| name.trim_end_matches(is_ignored));
    for name in names.filter(|name| !name.is_empty()) {
        path.push('/');
        for letter in name.chars() {
            if letter.is_ascii() {
                path.push(letter.to_ascii_lowercase());
            } else {
                path.extend(folded_letters(letter));
            }
        }
    }
    if path.is_empty() {
        path.push('/');
    }
    path
}

/// Upper case first: the long s and the Kelvin sign are letters of ASCII then.
fn folded_letters(letter: char) -> impl Iterator<Item = char> {
    letter.to_uppercase().flat_map(char::to_lowercase)
}

/// Unicode's white space, and the byte order mark, which JavaScript counts as such.
fn is_white_space(character: char) -> bool {
    character.is_whitespace() || character == '\u{feff}'
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::path::{EncodedSlash, canonical};

    const CHAT: &str = "/v1/chat/completions";

    #[test]
    fn what_a_lenient_backend_takes_for_the_same_path_folds_to_it() {
        for spelling in [
            "/v1/chat%2Fcompletions",
            "/v1%252fchat/completions",
            "/v1/chat%25252525252Fcompletions",
            "/v1/chat%255Ccompletions",
            "/v1/chat/completions/",
            "/v1/chat/completions/.",
            "/v1/chat/completions%2F",
            "/v1/chat/completions.",
            "/v1/chat/completions...",
            "/v1/chat/completions%20",
            "/v1/chat/completions%C2%A0",
            "/v1/chat/completions%EF%BB%BF",
            "/v1/chat/completions.%20/",
            "/v1./chat/completions",
            "/v1/chat%20/completions",
            "/v1.%C2%A0/chat.../completions",
            "/V1/Chat/COMPLETIONS",
            "/v1/chat/completion%C5%BF",
            "/v1/chat/completions;x=1",
            "/v1;a/chat;b=c/completions;",
            "/v1/chat/completions%3Bx",
            "/v1/chat/completions%3Fx",
            "/v1/chat/completions%3Fx=/y",
            "/v1/chat/completions%23x",
            "/v1/chat/completions%253Fx%2523",
            "/v1/x/%252e%252e/chat/completions",
            "/x/%252e%252e%252fv1/chat/completions",
            "/v1/%252e/chat/completions",
            "/v1/chat/%2Fcompletions",
            "/%2Fv1/chat/completions",
            "/v1/chat/%2563ompletions",
            "/v1/chat/com%25%37%30letions",
            "/v1/x/%252e%252e;y/chat/completions",
            "/v1/chat/;/completions",
        ] {
            let path = canonical(spelling, EncodedSlash::Keep).expect(spelling);
            assert!(may_differ(&path), "{spelling}");
            assert_eq!(forms(&path).0, CHAT, "{spelling}");
        }
    }

    #[test]
    fn an_ordinary_path_is_its_own_form() {
        for path in ["/", CHAT, "/a-b/c_d~1/e.f", "/a:b@c!$&'()*+,="] {
            assert!(!may_differ(path), "{path}");
            assert_eq!(forms(path), (path.to_owned(), None), "{path}");
        }
        for (path, form) in [
            ("/%E4%BD%A0", "/\u{4f60}"),
            ("/a%20b", "/a b"),
            ("/a%", "/a%"),
            ("/a%25zz", "/a%zz"),
            ("/A/", "/a"),
            ("/;x", "/"),
        ] {
            assert_eq!(forms(path).0, form, "{path}");
        }
    }

    #[test]
    fn who_cuts_first_and_who_resolves_first_see_two_paths() {
        let path = "/open%3F/%252e%252e/v1/chat";
        assert_eq!(forms(path), ("/v1/chat".into(), Some("/open".into())));
        let path = "/v1/chat%3Fx/%252e%252e/y";
        assert_eq!(forms(path), ("/v1/y".into(), Some("/v1/chat".into())));
    }

    #[test]
    fn folding_is_stable_and_cheap_also_for_what_is_made_to_be_folded() {
        let nested = format!("/%{}41", "25".repeat(10_000));
        assert_eq!(form(&nested), "/a");
        let dots = format!("/{}", "a/%252e%252e/".repeat(5_000));
        assert_eq!(form(&dots), "/");
        for path in ["/a%252Fb;c/%252e%252e/D%3Fe", "/a;%2F.%20", "/.%20./%20"] {
            let once = form(path);
            assert_eq!(form(&once), once, "{path}");
        }
    }

    /// Decodes again and again, as the definition has it.
    #[test]
    fn decoding_in_one_pass_is_decoding_to_a_fixed_point() {
        const PIECES: [&str; 12] = [
            "%", "25", "2", "5", "41", "%25", "%32", "%35", "%41", "a", "%zz", "f",
        ];
        let mut state = 11_u64;
        for _ in 0..20_000 {
            let mut path = String::from("/");
            for _ in 0..9 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                path.push_str(PIECES[(state >> 33) as usize % PIECES.len()]);
            }
            let mut fixed = path.clone().into_bytes();
            loop {
                let next: Vec<u8> = percent_encoding::percent_decode(&fixed).collect();
                if next == fixed {
                    break;
                }
                fixed = next;
            }
            let fixed = String::from_utf8_lossy(&fixed).into_owned();
            assert_eq!(decoded(&path), fixed, "{path}");
        }
    }
}
