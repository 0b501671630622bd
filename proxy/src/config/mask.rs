//! Lines of a file as they may be shown: what stands where secrets stand is stars, column by column.
//!
//! It works on the text and not on the tree, because a file that is no YAML has mistakes, too.

use std::sync::LazyLock;

use regex::Regex;

/// A key whose value is a secret, and what there is of the value on its line.
static SECRET: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r#"(?i)(?:^|[\s{,\["'])(?:[a-z]+[_-])?(?:secrets?|password|token|keys?|authorization)["']?\s*:(?:\s|$)"#,
    )
    .ok()
});

/// The password of an address.
static PASSWORD: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"://[^\s/@:"']*:([^\s@"']+)@"#).ok());

/// What the lines before have begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    Nothing,
    /// The block under a key with this indentation.
    Block(usize),
    /// A list in brackets, so many deep.
    Brackets(usize),
}

/// The lines of a file with as many characters as they have, and no secret.
pub(super) fn lines(source: &str) -> Vec<String> {
    let mut within = Within::Nothing;
    source
        .lines()
        .map(|line| masked(line, &mut within))
        .collect()
}

fn masked(line: &str, within: &mut Within) -> String {
    let mut hidden: Vec<bool> = vec![false; line.len()];
    let indentation = line.len() - line.trim_start().len();
    let mut from = 0;
    match *within {
        Within::Brackets(depth) => from = hide_list(line, 0, depth, &mut hidden, within),
        Within::Block(of) => {
            let goes_on = indentation > of || line.trim_start().starts_with('-');
            if line.trim().is_empty() || goes_on && indentation >= of {
                hidden[indentation..].fill(true);
                from = line.len();
            } else {
                *within = Within::Nothing;
            }
        }
        Within::Nothing => {}
    }
    while let Some(key) = SECRET.as_ref().and_then(|key| key.find_at(line, from)) {
        let value = key.end() + line[key.end()..].len() - line[key.end()..].trim_start().len();
        let rest = &line[value..];
        from = if rest.is_empty() || rest.starts_with(['#', '|', '>']) {
            *within = Within::Block(indentation);
            line.len()
        } else if rest.starts_with('[') {
            hide_list(line, value, 0, &mut hidden, within)
        } else {
            let end = value + end_of_scalar(rest);
            hidden[value..end].fill(!is_path(&line[value..end]));
            end
        };
    }
    for found in PASSWORD.iter().flat_map(|regex| regex.captures_iter(line)) {
        if let Some(password) = found.get(1) {
            hidden[password.range()].fill(true);
        }
    }
    show(line, &hidden)
}

/// Hides all of a list but its brackets and commas; where the line goes on.
fn hide_list(
    line: &str,
    from: usize,
    mut depth: usize,
    hidden: &mut [bool],
    within: &mut Within,
) -> usize {
    *within = Within::Nothing;
    for (at, character) in line[from..].char_indices() {
        match character {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            ',' | ' ' => {}
            other => hidden[from + at..from + at + other.len_utf8()].fill(true),
        }
        if depth == 0 {
            return from + at + 1;
        }
    }
    *within = Within::Brackets(depth);
    line.len()
}

/// Whether it names a file, as the key of a certificate does. No text of a key has a slash first and a
/// full stop: neither base64 nor hex knows one.
fn is_path(text: &str) -> bool {
    let text = text.trim_matches(['"', '\'']);
    text.starts_with(['/', '.']) && text.contains('/') && text.contains('.')
}

/// Where a value ends: with its quotes, else before what cannot be in a plain one.
fn end_of_scalar(text: &str) -> usize {
    for quote in ['"', '\''] {
        if let Some(inside) = text.strip_prefix(quote) {
            return inside.find(quote).map_or(text.len(), |end| end + 2);
        }
    }
    let ends = [text.find(" #"), text.find([',', '}', ']'])];
    // A reference to a variable has a brace of its own.
    match text.starts_with("${") {
        true => text.find('}').map_or(text.len(), |end| end + 1),
        false => ends.into_iter().flatten().min().unwrap_or(text.len()),
    }
}

/// Stars for what is hidden, but for references: `${NAME}` is the name of a secret and none, unless a
/// fallback stands in it.
fn show(line: &str, hidden: &[bool]) -> String {
    let mut references = vec![false; line.len()];
    for (at, _) in line.match_indices("${") {
        let end = line[at..].find('}').map_or(line.len(), |end| at + end + 1);
        if !line[at..end].contains(":-") {
            references[at..end].fill(true);
        }
    }
    line.char_indices()
        .map(|(at, character)| match hidden[at] && !references[at] {
            // Quotes show whether anything stands between them.
            true if !character.is_whitespace() && !matches!(character, '"' | '\'') => '*',
            _ => character,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_stars_wherever_it_stands() {
        for text in [
            "signature: {scheme: hmac, clients: [{name: w, secrets: [s3cr3t, \"s3cr3t-2\"]}]}",
            "secrets: [s3cr3t",
            "secrets: [\n  s3cr3t,\n  s3cr3t ]\nname: x",
            "    secrets:\n      - s3cr3t\n      - 's3cr3t'\n    path: /x",
            "secrets:\n- s3cr3t\npath: /x",
            "token: s3cr3t",
            "admin: {token: 's3cr3t', address: x}",
            "password: s3cr3t # why",
            "verification_token: ${TOKEN:-s3cr3t}",
            "api_key: |\n  s3cr3t\n  s3cr3t",
            "\"secrets\": [\"s3cr3t\"]",
            "redis: {url: redis://me:s3cr3t@127.0.0.1/0}",
            "urls: [http://me:s3cr3t@h:9200]",
            "request_headers: {Authorization: \"Bearer s3cr3t\"}",
            "aes_key: s3cr3t-日本",
        ] {
            let shown = lines(text).join("\n");
            assert!(!shown.contains("s3cr3t"), "{shown}");
            assert_eq!(shown.chars().count(), text.chars().count(), "{shown}");
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        for text in [
            "path: /v1/* # and the key of it",
            "signature: {scheme: hmac, key_header: X-Key, secrets: [\"${WEB_SECRET}\"]}",
            "urls: [http://127.0.0.1:9200]",
            "tolerance: 300s",
            "tls: {certificate: /etc/weir/tls.crt, key: /etc/weir/tls.key}",
        ] {
            let shown = lines(text).join("\n").replace("\"", "");
            assert_eq!(
                shown.replace('*', ""),
                text.replace(['"', '*'], ""),
                "{shown}"
            );
        }
        let after = lines("secrets:\n  - a\npath: /x\nname: y");
        assert_eq!(after[2..], ["path: /x", "name: y"]);
        let after = lines("{secrets: [a, b], name: y}");
        assert_eq!(after, ["{secrets: [*, *], name: y}"]);
    }
}
