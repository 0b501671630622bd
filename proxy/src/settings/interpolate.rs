//! `${NAME}`, `${NAME:-fallback}` and `${file:PATH}`, in every scalar of the file.
//!
//! What is put in is never looked at again, so a value cannot smuggle in another `${`. `$${` is a
//! literal `${`. No message repeats what was put in.

use std::io::Read;

use super::diagnostic::Diagnostics;
use super::node::{Kind, Node, Place, Scalar, Substitution};
use super::quote::names_a_source;

/// A secret in a file is short; this keeps a wrong path (a log, a device) from filling memory.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Replaces in the whole tree. A scalar that cannot be filled becomes [`Kind::Invalid`].
pub(crate) fn interpolate(
    node: &mut Node,
    source: &str,
    environment: &dyn Fn(&str) -> Option<String>,
    diagnostics: &mut Diagnostics,
) {
    match &mut node.kind {
        Kind::Scalar(scalar) => {
            if scalar.written.contains("${")
                && !fill(scalar, node.place, source, environment, diagnostics)
            {
                node.kind = Kind::Invalid;
            }
        }
        Kind::Sequence(items) => {
            for item in items {
                interpolate(item, source, environment, diagnostics);
            }
        }
        Kind::Mapping(entries) => {
            for (_, value) in entries {
                interpolate(value, source, environment, diagnostics);
            }
        }
        Kind::Null | Kind::Invalid => {}
    }
}

/// Fills one scalar; false when anything in it has no value.
fn fill(
    scalar: &mut Scalar,
    place: Place,
    source: &str,
    environment: &dyn Fn(&str) -> Option<String>,
    diagnostics: &mut Diagnostics,
) -> bool {
    let written = std::mem::take(&mut scalar.written);
    let (mut text, mut rest, mut whole) = (String::new(), written.as_str(), true);
    while let Some(at) = rest.find("${") {
        let before = &rest[..at];
        rest = &rest[at + 2..];
        if let Some(before) = before.strip_suffix('$') {
            text.push_str(before);
            text.push_str("${");
            continue;
        }
        text.push_str(before);
        let Some((inside, after)) = rest.split_once('}') else {
            diagnostics.error(
                place,
                "`${` without its `}`; a literal `${` is written `$${`",
            );
            whole = false;
            break;
        };
        rest = after;
        match value_of(inside, environment) {
            Ok(value) => {
                if value.is_empty() {
                    scalar.substitution = Substitution::Empty;
                } else if scalar.substitution == Substitution::None {
                    scalar.substitution = Substitution::Filled;
                }
                text.push_str(&value);
            }
            Err(message) => {
                let token = format!("${{{inside}}}");
                diagnostics.error(place_in(source, scalar, &token).unwrap_or(place), message);
                whole = false;
            }
        }
    }
    text.push_str(rest);
    scalar.text = text;
    scalar.written = written;
    whole
}

/// The value for what stands between the braces.
fn value_of(inside: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    if let Some(path) = inside.strip_prefix("file:") {
        return file_value(path);
    }
    let (name, fallback) = match inside.split_once(":-") {
        Some((name, fallback)) => (name, Some(fallback)),
        None => (inside, None),
    };
    let is_name = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !is_name {
        return Err(
            "this is not a variable name; write ${NAME}, ${NAME:-fallback} or ${file:PATH}"
                .to_owned(),
        );
    }
    if fallback.is_some_and(|fallback| fallback.contains("${")) {
        return Err("the fallback contains another `${`; a fallback is plain text".to_owned());
    }
    match (
        environment(name).filter(|value| !value.is_empty()),
        fallback,
    ) {
        (Some(value), _) => Ok(value),
        (None, Some(fallback)) => Ok(fallback.to_owned()),
        (None, None) => environment(name).ok_or_else(|| match names_a_source(name) {
            true => {
                format!("the variable `{name}` is not set; set it or write ${{{name}:-fallback}}")
            }
            // It may be a secret that was put into the braces.
            false => {
                "the variable that is named here is not set; set it or write ${NAME:-fallback}"
                    .to_owned()
            }
        }),
    }
}

/// The content of a file without what editors and shells add: a byte-order mark, and the ends of lines after
/// the last.
fn file_value(path: &str) -> Result<String, String> {
    let cannot = |why: &dyn std::fmt::Display| match path.contains(['/', '.']) {
        true => format!("`{path}` cannot be read: {why}"),
        false => format!("this file cannot be read: {why}"),
    };
    // Opening a pipe would wait for its writer.
    let metadata = std::fs::metadata(path).map_err(|error| cannot(&error))?;
    if !metadata.is_file() {
        return Err(cannot(&"it is not a file"));
    }
    let file = std::fs::File::open(path).map_err(|error| cannot(&error))?;
    let mut content = String::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut content)
        .map_err(|error| cannot(&error))?;
    if content.len() as u64 > FILE_BYTES_MAX {
        return Err(cannot(&format_args!(
            "it is larger than {FILE_BYTES_MAX} bytes"
        )));
    }
    Ok(as_it_was_meant(&content).to_owned())
}

/// A text out of a file without what editors and shells add.
#[must_use]
pub fn as_it_was_meant(content: &str) -> &str {
    let content = content.strip_prefix('\u{feff}').unwrap_or(content);
    content.trim_end_matches(['\r', '\n'])
}

/// Where `token` stands inside of a scalar. `None` where YAML's escapes hide it.
fn place_in(source: &str, scalar: &Scalar, token: &str) -> Option<Place> {
    let within = source.get(scalar.bytes.clone())?;
    let before = source.get(..scalar.bytes.start + within.find(token)?)?;
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Some(Place {
        line: before.matches('\n').count() + 1,
        column: before.get(line_start..)?.chars().count() + 1,
    })
}
