//! The paths that Rust sources name.

/// The text without comments and without its tests: a block of them ends the file, what else is only
/// for tests is one item.
pub(crate) fn code_of(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines().map(str::trim_start);
    while let Some(line) = lines.next() {
        if line == "#[cfg(test)]" {
            let item = lines.find(|line| !line.starts_with("#["));
            if item.is_some_and(|item| item.ends_with('{')) {
                break;
            }
        } else if !line.starts_with("//") {
            code.push_str(line);
            code.push('\n');
        }
    }
    code
}

/// The code without its `use` statements.
pub(crate) fn without_imports(code: &str) -> String {
    let mut importing = false;
    let lines = code.lines().filter(|line| {
        let line = line.trim_start();
        let begins = ["use ", "pub use ", "pub(crate) use "]
            .iter()
            .any(|word| line.starts_with(word));
        let import = importing || begins;
        importing = import && !line.contains(';');
        !import
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The paths that follow `prefix` wherever it stands as a whole word; groups are taken apart.
pub(crate) fn occurrences(code: &str, prefix: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for (position, _) in code.match_indices(prefix) {
        let before = code[..position].chars().next_back().unwrap_or(' ');
        let part_of_a_path = before.is_alphanumeric() || matches!(before, '_' | ':' | '$');
        if !part_of_a_path {
            read_tree(&code[position + prefix.len()..], "", &mut paths);
        }
    }
    paths
}

/// Reads one tree of a path (`a::B`, `a::{self, B, c::D}`) into flat paths; gives what follows it.
fn read_tree<'a>(text: &'a str, above: &str, paths: &mut Vec<String>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = rest.trim_start_matches([' ', '\n', ',']);
            if let Some(after) = rest.strip_prefix('}') {
                return after;
            }
            let before = rest.len();
            rest = read_tree(rest, above, paths);
            // `as Name` and whatever else stands before the next part.
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
        Some(below) if !below.starts_with('<') => read_tree(below, &path, paths),
        _ => {
            paths.push(path);
            rest
        }
    }
}
