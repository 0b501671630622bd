//! The paths in Rust sources.

/// The source without comments and without items that are `#[cfg(test)]`.
pub(crate) fn code_of(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let trimmed = line.trim_start();
        if trimmed == "#[cfg(test)]" {
            let indent = &line[..line.len() - trimmed.len()];
            let item = lines.find(|line| !line.trim_start().starts_with("#["));
            if item.is_some_and(|item| item.ends_with('{')) {
                lines.find(|line| line.strip_prefix(indent) == Some("}"));
            }
        } else if !trimmed.starts_with("//") {
            code.push_str(line);
            code.push('\n');
        }
    }
    code
}

/// The paths that follow each `prefix` that is a whole word; groups are expanded.
pub(crate) fn occurrences(code: &str, prefix: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for (position, _) in code.match_indices(prefix) {
        let before = code[..position].chars().next_back().unwrap_or(' ');
        let is_part_of_a_path = before.is_alphanumeric() || matches!(before, '_' | ':' | '$');
        if !is_part_of_a_path {
            parse_tree(&code[position + prefix.len()..], "", &mut paths);
        }
    }
    paths
}

/// Parses one use tree (`a::B`, `a::{self, B, c::D}`) into flat paths, and returns the rest of the text.
fn parse_tree<'a>(text: &'a str, above: &str, paths: &mut Vec<String>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = rest.trim_start_matches([' ', '\n', ',']);
            if let Some(after) = rest.strip_prefix('}') {
                return after;
            }
            let before = rest.len();
            rest = parse_tree(rest, above, paths);
            // Skips `as Name` and whatever else precedes the next tree.
            rest = rest.find([',', '}']).map_or("", |end| &rest[end..]);
            if rest.is_empty() || rest.len() == before {
                return rest;
            }
        }
    }
    let end = text
        .find(|other: char| !other.is_alphanumeric() && other != '_')
        .unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let path = match (above, name) {
        (above, "self" | "") => above.to_owned(),
        ("", name) => name.to_owned(),
        (above, name) => format!("{above}::{name}"),
    };
    match rest.strip_prefix("::") {
        Some(below) if !below.starts_with('<') => parse_tree(below, &path, paths),
        _ => {
            paths.push(path);
            rest
        }
    }
}
