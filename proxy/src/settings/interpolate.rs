//! `${NAME}`, `${NAME:-fallback}` and `${file:PATH}`, in every scalar of the file.
//!
//! Values are not expanded again, so that a value cannot inject another `${`. `$${` is a literal `${`. No message
//! repeats a value.

use std::io::Read;
use std::path::PathBuf;

use secrecy::zeroize::Zeroizing;
use thiserror::Error;

use super::diagnostic::Diagnostics;
use super::node::{FilePosition, NodeKind, Scalar, Substitution, YamlNode};
use super::quote::names_a_source;

/// A secret in a file is short; the limit keeps a path to a log or a device from filling memory.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// What precedes the path of a file, between the braces.
const FILE: &str = "file:";

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
    let (mut text, mut whole) = (String::new(), true);
    for part in (ScalarParts { rest: &written }) {
        let inside = match part {
            ScalarPart::Text(part) => {
                text.push_str(part);
                continue;
            }
            ScalarPart::Reference(inside) => inside,
            ScalarPart::Unclosed => {
                diagnostics.error(
                    place,
                    "`${` without its `}`; a literal `${` is written `$${`",
                );
                whole = false;
                continue;
            }
        };
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
    scalar.text = Zeroizing::new(text);
    scalar.written = written;
    whole
}

/// The paths of all `${file:PATH}`, each once, in the order of the file.
pub(crate) fn named_files(node: &YamlNode) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    collect_files(node, &mut paths);
    paths
}

fn collect_files(node: &YamlNode, paths: &mut Vec<PathBuf>) {
    match &node.kind {
        NodeKind::Scalar(scalar) => {
            for part in (ScalarParts {
                rest: &scalar.written,
            }) {
                let ScalarPart::Reference(inside) = part else {
                    continue;
                };
                let path = inside.strip_prefix(FILE).map(PathBuf::from);
                paths.extend(path.filter(|path| !paths.contains(path)));
            }
        }
        NodeKind::Sequence(items) => items.iter().for_each(|item| collect_files(item, paths)),
        NodeKind::Mapping(entries) => {
            let values = entries.iter().map(|(_, value)| value);
            values.for_each(|value| collect_files(value, paths));
        }
        NodeKind::HashedSecret(_) | NodeKind::Null | NodeKind::Invalid => {}
    }
}

/// What a scalar is made of.
enum ScalarPart<'t> {
    Text(&'t str),
    /// What is between the braces.
    Reference(&'t str),
    /// A `${` without its `}`; the text after it follows.
    Unclosed,
}

/// The parts of a scalar as it is written.
struct ScalarParts<'t> {
    rest: &'t str,
}

impl<'t> Iterator for ScalarParts<'t> {
    type Item = ScalarPart<'t>;

    fn next(&mut self) -> Option<ScalarPart<'t>> {
        let rest = self.rest;
        if rest.is_empty() {
            return None;
        }
        if let Some(inside) = rest.strip_prefix("${") {
            let Some((inside, after)) = inside.split_once('}') else {
                self.rest = inside;
                return Some(ScalarPart::Unclosed);
            };
            self.rest = after;
            return Some(ScalarPart::Reference(inside));
        }
        if let Some(after) = rest.strip_prefix("$${") {
            self.rest = after;
            return Some(ScalarPart::Text("${"));
        }
        // `$` of an escape belongs to the next part.
        let end = match rest.find("${") {
            Some(at) if rest[..at].ends_with('$') => at - 1,
            Some(at) => at,
            None => rest.len(),
        };
        let (text, after) = rest.split_at(end);
        self.rest = after;
        Some(ScalarPart::Text(text))
    }
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
    if let Some(path) = inside.strip_prefix(FILE) {
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
