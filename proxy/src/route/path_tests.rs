use super::*;

fn canonical(raw: &str) -> Result<Cow<'_, str>, BadPath> {
    super::canonical(raw, EncodedSlash::Keep)
}

#[test]
fn paths_become_canonical() {
    for (raw, expected) in [
        ("/", "/"),
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/a/", "/a/"),
        ("//", "/"),
        ("///a////b//", "/a/b/"),
        ("/a/./b", "/a/b"),
        ("/a/.", "/a/"),
        ("/./", "/"),
        ("/a/..", "/"),
        ("/a/b/..", "/a/"),
        ("/a/b/../c", "/a/c"),
        ("/a//../b", "/b"),
        ("/a/%2e%2e/b", "/b"),
        ("/a/%2E./b", "/b"),
        ("/a/.%2e/%2e/b", "/b"),
        ("/static/%2e%2e/admin", "/admin"),
        ("/.well-known/x", "/.well-known/x"),
        ("/a/...", "/a/..."),
        ("/a/..b", "/a/..b"),
        ("/%61%7e%2D%5f", "/a~-_"),
        ("/a%2fb", "/a%2Fb"),
        ("/a%2Fb/../c", "/c"),
        ("/a%252e%252e", "/a%252e%252e"),
        ("/%e4%bd%a0", "/%E4%BD%A0"),
        ("/a b\"<>^`{|}[]", "/a%20b%22%3C%3E%5E%60%7B%7C%7D%5B%5D"),
        ("/a;x=1/b", "/a;x=1/b"),
        ("/a%3bx", "/a%3Bx"),
        ("/%21!", "/%21!"),
        ("/a:b@c!$&'()*+,;=", "/a:b@c!$&'()*+,;="),
    ] {
        assert_eq!(canonical(raw).as_deref(), Ok(expected), "{raw}");
    }
}

#[test]
fn paths_without_a_canonical_form_are_rejected() {
    use BadPath::*;
    for (raw, expected) in [
        ("", NotAbsolute),
        ("*", NotAbsolute),
        ("a/b", NotAbsolute),
        ("http://host/a", NotAbsolute),
        ("%2Fa", NotAbsolute),
        ("/..", AboveRoot),
        ("/../a", AboveRoot),
        ("/a/../..", AboveRoot),
        ("//..", AboveRoot),
        ("/%2e%2e", AboveRoot),
        ("/a/%2E%2E/%2e%2e/b", AboveRoot),
        ("/a%00", EncodedNul),
        ("/%", InvalidEscape),
        ("/%2", InvalidEscape),
        ("/%zz", InvalidEscape),
        ("/%u002e", InvalidEscape),
        ("/%+1", InvalidEscape),
        ("/%é1", InvalidEscape),
        ("/你", NonAscii),
        ("/v1/caf\u{e9}", NonAscii),
        ("/a%5cb", Backslash),
        ("/a/%5C..", Backslash),
        ("/a%0d%0ab", ControlCharacter),
        ("/a%09", ControlCharacter),
        ("/a%1f", ControlCharacter),
        ("/a%7F", ControlCharacter),
        ("/a%C2%85", ControlCharacter),
        ("/a%c2%9fb", ControlCharacter),
        ("/%c0%ae%c0%ae/", InvalidUtf8),
        ("/%c0%af", InvalidUtf8),
        ("/%e0%80%ae", InvalidUtf8),
        ("/%ff", InvalidUtf8),
        ("/%e4%bd", InvalidUtf8),
        ("/%e4x%bd%a0", InvalidUtf8),
        ("/%ed%a0%80", InvalidUtf8),
        ("/%f4%90%80%80", InvalidUtf8),
        ("/a\\..\\b", Backslash),
        ("/a\tb", ControlCharacter),
        ("/a\r\nb", ControlCharacter),
        ("/a\0", ControlCharacter),
        ("/a\x7f", ControlCharacter),
        ("/a?b", InvalidCharacter),
        ("/a#b", InvalidCharacter),
        ("/static/..%2fadmin", HiddenDotSegment),
        ("/static/%2e%2e%2Fadmin", HiddenDotSegment),
        ("/static/x%2f..%2fadmin", HiddenDotSegment),
        ("/static/..%3b/admin", HiddenDotSegment),
        ("/static/..%3Fx/admin", HiddenDotSegment),
        ("/static/.%23", HiddenDotSegment),
        ("/static/..;/admin", HiddenDotSegment),
        ("/static/..;a=b/admin", HiddenDotSegment),
        ("/.;/admin", HiddenDotSegment),
        ("/static/x%2F..", HiddenDotSegment),
    ] {
        assert_eq!(
            canonical(raw).map(Cow::into_owned),
            Err(expected),
            "{raw:?}"
        );
    }
}

#[test]
fn an_encoded_slash_may_be_rejected() {
    let reject = |raw| super::canonical(raw, EncodedSlash::Reject);
    for raw in ["/v1/models/Qwen%2FQwen2.5-7B", "/a%2f", "/%2fa"] {
        assert!(canonical(raw).is_ok(), "{raw}");
        assert_eq!(reject(raw), Err(BadPath::EncodedSlash), "{raw}");
    }
    assert_eq!(reject("/a%252Fb").as_deref(), Ok("/a%252Fb"));
    assert_eq!(reject("/a/b").as_deref(), Ok("/a/b"));
}

#[test]
fn a_canonical_path_is_borrowed() {
    for path in [
        "/",
        "/v1/chat/completions",
        "/.env",
        "/a%2Fb",
        "/%E4%BD%A0/x;y",
    ] {
        assert!(matches!(canonical(path), Ok(Cow::Borrowed(_))), "{path}");
    }
}

const PIECES: [&str; 30] = [
    "/", "/", "/", "//", ".", "..", "%2e", "%2E%2e", "%2f", "%2F", "%5c", "\\", ";", ";x=", "a",
    "admin", "%61", "%C3%A9", "é", "%c0%ae", "%", "%zz", "%00", " ", "%25", "%252e", "?", "...",
    "%7E", "~",
];

/// A small generator of its own, so that a failure can be repeated.
fn next(state: &mut u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

#[test]
fn hostile_paths_have_one_stable_form_or_none() {
    let mut state = 7;
    let mut accepted = 0;
    for _ in 0..60_000 {
        let mut raw = String::from("/");
        for _ in 0..=next(&mut state) % 9 {
            raw.push_str(PIECES[next(&mut state) as usize % PIECES.len()]);
        }
        let Ok(path) = canonical(&raw) else { continue };
        accepted += 1;
        assert_eq!(canonical(&path).as_deref(), Ok(&*path), "{raw}");
        assert_is_canonical(&path, &raw);
        assert_names_what_a_lenient_backend_sees(&path, &raw);
    }
    assert!(
        accepted > 5_000,
        "only {accepted} were accepted: the pieces test nothing"
    );
}

fn assert_is_canonical(path: &str, raw: &str) {
    assert!(
        path.starts_with('/') && path.is_ascii() && !path.contains("//"),
        "{raw} -> {path}"
    );
    assert!(
        !path
            .bytes()
            .any(|byte| byte <= b' ' || b"\\?#\"<>^`{|}".contains(&byte)),
        "{raw}"
    );
    assert!(
        path.split('/')
            .all(|segment| segment != "." && segment != ".."),
        "{raw} -> {path}"
    );
    for escape in path.split('%').skip(1) {
        let digits = &escape[..2];
        let value = u8::from_str_radix(digits, 16).expect("hex");
        assert_eq!(digits, digits.to_uppercase(), "{raw} -> {path}");
        assert!(value != 0 && !is_unreserved(value), "{raw} -> {path}");
    }
    let decoded = percent_decode_str(path).decode_utf8();
    assert!(decoded.is_ok(), "{raw} -> {path}");
}

/// Once more in the plainest way: decode everything, then resolve. Where no encoded slash is in play
/// that must name the same resource; and sent on, the canonical path holds no dots to climb with,
/// even for a backend that decodes slashes, takes backslashes for them and cuts parameters off.
fn assert_names_what_a_lenient_backend_sees(path: &str, raw: &str) {
    let decoded = |text: &str| {
        percent_decode_str(text)
            .decode_utf8_lossy()
            .replace('\\', "/")
    };
    let resolved = |text: &str| {
        let mut names: Vec<String> = Vec::new();
        for segment in decoded(text).split('/') {
            match segment {
                "" | "." => {}
                ".." => {
                    names.pop();
                }
                name => names.push(name.to_owned()),
            }
        }
        names
    };
    let lower = raw.to_lowercase();
    if !lower.contains("%2f") && !lower.contains("%5c") {
        assert_eq!(resolved(path), resolved(raw), "{raw} -> {path}");
    }
    assert!(
        decoded(path)
            .split('/')
            .all(|segment| !matches!(segment.split(';').next(), Some("." | ".."))),
        "{raw} -> {path}"
    );
}
