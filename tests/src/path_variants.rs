//! Generates variants of a path that a router, or a proxy in front of it, may treat as the same path.

use std::collections::BTreeSet;

/// Sequences that may be treated as a slash, or merged into one.
const SLASHES: [&str; 40] = [
    "%2F",
    "%2f",
    "%252F",
    "%252f",
    "%25252F",
    "%25%32%46",
    "//",
    "///",
    "/./",
    "/.//",
    "/x/../",
    "/%2e/",
    "/%2E/",
    "/x/%2e%2e/",
    "/x/.%2E/",
    "/%252e/",
    "/x/%252e%252e/",
    "%2F%2F",
    "/%2F",
    "%2F/",
    "\\",
    "%5C",
    "%5c",
    "%255C",
    "/\\",
    "%2F%5C",
    ";/",
    ";x=1/",
    "%3B/",
    "%3Bx/",
    "/;/",
    "/.;/",
    "/x/..;/",
    "%c0%af",
    "%e0%80%af",
    "%25c0%25af",
    "%u002f",
    "%EF%BC%8F",
    "/%20/",
    "%0a/",
];

/// Suffixes that may be removed or ignored.
const SUFFIXES: [&str; 96] = [
    "/",
    "//",
    "/.",
    "/./",
    "/x/..",
    "/x/../",
    "/%2e",
    "/%252e",
    "/..;",
    "/.;x",
    "%2F",
    "%2f",
    "%252F",
    "%2F%2F",
    "%2F.",
    "\\",
    "%5C",
    "%255C",
    "/\\",
    "/%5C",
    ".",
    "..",
    "...",
    "%2e",
    "%252e",
    "./",
    "/...",
    "%20",
    "%2520",
    "%20/",
    "/%20",
    "+",
    "%09",
    "%0a",
    "%0A",
    "%0d",
    "%0d%0a",
    "%250a",
    "%250d%250a",
    "%0b",
    "%0c",
    "%00",
    "%2500",
    "%1f",
    "%7f",
    "%C2%A0",
    "%C2%85",
    "%E2%80%A8",
    "%E2%80%8B",
    "%EF%BB%BF",
    "%E3%80%80",
    "%25C2%25A0",
    ";",
    ";x",
    ";x=1",
    ";x=1/",
    ";/",
    ";a;b",
    "%3B",
    "%3bx",
    "%253B",
    "%253Bx=1",
    "?",
    "?x",
    "??",
    "?x=/../y",
    "?#",
    "%3F",
    "%3Fx",
    "%3fx=1",
    "%253F",
    "%253Fx",
    "%23",
    "%23x",
    "%2523",
    "%2523x",
    "#",
    "#x",
    "&x=1",
    "=",
    ":",
    ",",
    "*",
    "~",
    "!",
    "'",
    "\"",
    "|",
    "$",
    ".json",
    ".html",
    "%",
    "%zz",
    "%2",
    "\u{e9}",
    "%E9",
];

/// Prefixes that may be ignored, including the leading slash.
const PREFIXES: [&str; 36] = [
    "//",
    "///",
    "/./",
    "/.//",
    "/x/../",
    "/../",
    "/%2e/",
    "/%2e%2e/",
    "/x/%2e%2e/",
    "/%252e/",
    "/x/%252e%252e/",
    "/x%2F..%2F",
    "/x/%252e%252e%252f",
    "/%2F",
    "/%2f%2f",
    "/%252F",
    "/;/",
    "/;x=1/",
    "/.;/",
    "/..;/",
    "/x/..;/",
    "/x/%2e%2e;/",
    "/x/..%3B/",
    "\\/",
    "/\\",
    "/%5C",
    "/%255C",
    "/%20/",
    "/%0a",
    "/%00/",
    "/x%3F/%252e%252e/",
    "/x%23/%252e%252e/",
    "//weir.test/",
    "/http://weir.test/",
    "*/",
    "",
];

/// Other forms of a request target (RFC 9112, section 3.2), in front of a path.
const ORIGINS: [&str; 8] = [
    "http://weir.test",
    "HTTP://weir.test",
    "http://WEIR.test",
    "https://weir.test",
    "http://weir.test/",
    "http://weir.test:80",
    "http://user@weir.test",
    "http:",
];

/// The distinct variants of `path`, which must be canonical and of unreserved characters.
#[must_use]
pub fn of(path: &str) -> Vec<String> {
    let mut all = BTreeSet::new();
    encode_each_character(path, &mut all);
    change_letters(path, &mut all);
    let inner = &path[1..];
    for (at, _) in inner.match_indices('/') {
        let (before, after) = (&path[..=at], &inner[at + 1..]);
        all.extend(
            SLASHES
                .iter()
                .map(|slash| format!("{before}{slash}{after}")),
        );
    }
    all.extend(SUFFIXES.iter().map(|suffix| format!("{path}{suffix}")));
    all.extend(PREFIXES.iter().map(|prefix| format!("{prefix}{inner}")));
    all.extend(ORIGINS.iter().map(|origin| format!("{origin}{path}")));
    // Combinations of two: a normalisation of one may leave the other.
    let last = path.rfind('/').unwrap_or_default();
    let (before, after) = (&path[..last], &path[last + 1..]);
    for slash in ["%2F", "%252F", "//", "/%252e/", ";x/"] {
        for suffix in ["/", "%20", ";x", "%3Fx", ".", "%2F"] {
            all.insert(format!("{before}{slash}{after}{suffix}"));
            all.insert(format!("{before}{slash}{}{suffix}", after.to_uppercase()));
        }
    }
    all.remove(path);
    all.into_iter().collect()
}

/// Encodes once and twice, in both cases where the escape contains letters.
fn encode_each_character(path: &str, all: &mut BTreeSet<String>) {
    for (at, character) in path.char_indices().skip(1) {
        let code = u32::from(character);
        let (before, after) = (&path[..at], &path[at + 1..]);
        for escape in [
            format!("%{code:02x}"),
            format!("%{code:02X}"),
            format!("%25{code:02x}"),
        ] {
            all.insert(format!("{before}{escape}{after}"));
        }
    }
    let whole = |begin: &str| -> String {
        let escapes = path[1..].bytes().map(|byte| format!("{begin}{byte:02x}"));
        format!("/{}", escapes.collect::<String>())
    };
    all.extend(["%", "%25", "%2525"].map(whole));
}

fn change_letters(path: &str, all: &mut BTreeSet<String>) {
    for (at, letter) in path
        .char_indices()
        .filter(|(_, letter)| letter.is_ascii_lowercase())
    {
        let capital = letter.to_ascii_uppercase();
        all.insert(format!("{}{capital}{}", &path[..at], &path[at + 1..]));
        all.insert(format!(
            "{}%{:02X}{}",
            &path[..at],
            u32::from(capital),
            &path[at + 1..]
        ));
    }
    all.insert(path.to_uppercase());
    // Letters that change with case folding, and full-width letters.
    all.insert(path.replace('s', "%C5%BF"));
    all.insert(path.replace('c', "%EF%BD%83"));
    all.insert(path.replace('i', "%C4%B1"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_hundreds_of_variants_and_none_is_the_path_itself() {
        let all = of(crate::client::CHAT);
        assert!(all.len() >= 250, "{}", all.len());
        assert!(!all.iter().any(|variant| variant == crate::client::CHAT));
        for variant in [
            "/v1/chat%2Fcompletions",
            "/V1/chat/completions",
            "/v1/chat/completions;x=1",
        ] {
            assert!(all.iter().any(|one| one == variant), "{variant}");
        }
    }
}
