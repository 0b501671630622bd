//! `${NAME}`, `${NAME:-fallback}` and `${file:PATH}`, in every scalar of the file.
//!
//! Values are not expanded again, so that a value cannot inject another `${`. `$${` is a literal `${`. No message
//! repeats a value.

use std::io::Read;

use secrecy::zeroize::Zeroizing;
use thiserror::Error;

use super::diagnostic::Diagnostics;
use super::node::{FilePosition, NodeKind, Scalar, Substitution, YamlNode};
use super::quote::names_a_source;

/// A secret in a file is short; the limit keeps a path to a log or a device from filling memory.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Replaces `${...}` in the whole tree. A scalar with an error becomes [`NodeKind::Invalid`].
pub(crate) fn interpolate(
    node: &mut YamlNode,
    source: &str,
    environment: &dyn Fn(&str) -> Option<String>,
    diagnostics: &mut Diagnostics,
) {
    match &mut node.kind {
        NodeKind::Scalar(scalar) => {
            if scalar.written.contains("${")
                && !fill(scalar, node.place, source, environment, diagnostics)
            {
                node.kind = NodeKind::Invalid;
            }
        }
        NodeKind::Sequence(items) => {
            for item in items {
                interpolate(item, source, environment, diagnostics);
            }
        }
        NodeKind::Mapping(entries) => {
            for (_, value) in entries {
                interpolate(value, source, environment, diagnostics);
            }
        }
        NodeKind::HashedSecret(_) | NodeKind::Null | NodeKind::Invalid => {}
    }
}

/// Replaces `${...}` in one scalar; false when one of them has no value.
fn fill(
    scalar: &mut Scalar,
    place: FilePosition,
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
                let value = Zeroizing::new(value);
                if value.is_empty() {
                    scalar.substitution = Substitution::Empty;
                } else if scalar.substitution == Substitution::None {
                    scalar.substitution = Substitution::Filled;
                }
                text.push_str(&value);
            }
            Err(error) => {
                let token = format!("${{{inside}}}");
                let place = place_in(source, scalar, &token).unwrap_or(place);
                diagnostics.error(place, error.to_string());
                whole = false;
            }
        }
    }
    text.push_str(rest);
    scalar.text = Zeroizing::new(text);
    scalar.written = written;
    whole
}

/// Why a `${...}` has no value. No message repeats what may be a secret that was put into the braces.
#[derive(Debug, Error)]
enum InterpolationError {
    #[error("this is not a variable name; write ${{NAME}}, ${{NAME:-fallback}} or ${{file:PATH}}")]
    NotAName,
    #[error("the fallback contains another `${{`; a fallback is plain text")]
    NestedFallback,
    #[error("the variable `{0}` is not set; set it or write ${{{0}:-fallback}}")]
    Unset(String),
    #[error("the variable that is named here is not set; set it or write ${{NAME:-fallback}}")]
    UnnamedUnset,
    #[error("`{path}` cannot be read: {why}")]
    File { path: String, why: FileError },
    #[error("this file cannot be read: {0}")]
    UnnamedFile(FileError),
}

/// Why a file has no value.
#[derive(Debug, Error)]
enum FileError {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("it is not a file")]
    NotAFile,
    #[error("it is larger than {FILE_BYTES_MAX} bytes")]
    TooLarge,
}

/// The value of what is between the braces.
fn value_of(
    inside: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<String, InterpolationError> {
    if let Some(path) = inside.strip_prefix("file:") {
        return file_value(path).map_err(|why| match path.contains(['/', '.']) {
            true => InterpolationError::File {
                path: path.to_owned(),
                why,
            },
            false => InterpolationError::UnnamedFile(why),
        });
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
        return Err(InterpolationError::NotAName);
    }
    if fallback.is_some_and(|fallback| fallback.contains("${")) {
        return Err(InterpolationError::NestedFallback);
    }
    match (
        environment(name).filter(|value| !value.is_empty()),
        fallback,
    ) {
        (Some(value), _) => Ok(value),
        (None, Some(fallback)) => Ok(fallback.to_owned()),
        (None, None) => environment(name).ok_or_else(|| match names_a_source(name) {
            true => InterpolationError::Unset(name.to_owned()),
            false => InterpolationError::UnnamedUnset,
        }),
    }
}

/// The content of a file without what editors and shells add: a byte-order mark, and trailing newlines.
fn file_value(path: &str) -> Result<String, FileError> {
    // Opening a pipe would wait for its writer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(FileError::NotAFile);
    }
    let file = std::fs::File::open(path)?;
    let mut content = String::new();
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut content)?;
    if content.len() as u64 > FILE_BYTES_MAX {
        return Err(FileError::TooLarge);
    }
    Ok(as_it_was_meant(&content).to_owned())
}

/// A text from a file without what editors and shells add.
#[must_use]
pub fn as_it_was_meant(content: &str) -> &str {
    let content = content.strip_prefix('\u{feff}').unwrap_or(content);
    content.trim_end_matches(['\r', '\n'])
}

/// The position of `token` in a scalar. `None` where YAML escapes hide it.
fn place_in(source: &str, scalar: &Scalar, token: &str) -> Option<FilePosition> {
    let within = source.get(scalar.bytes.clone())?;
    let before = source.get(..scalar.bytes.start + within.find(token)?)?;
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Some(FilePosition {
        line: before.matches('\n').count() + 1,
        column: before.get(line_start..)?.chars().count() + 1,
    })
}
