//! Diagnostics: the errors and warnings of a file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::node::FilePosition;
use super::quote::QuotableSpans;

/// More of a line than this is never shown.
const LINE_CHARACTERS_MAX: usize = 200;
/// Of a longer line only a window around the error is printed.
const WINDOW_CHARACTERS: usize = 100;
/// More errors than this are counted, not shown.
const SHOWN_MAX: usize = 100;

/// All errors of one file, in the order of its lines. `Display` is what `weir check` prints: for each error its
/// position, the message, and the line with a mark below it.
#[derive(Debug, Error)]
#[error("{}", rendered(.file, .list))]
pub struct ConfigError {
    pub file: PathBuf,
    pub list: Vec<Diagnostic>,
}

/// One error; line and column count from 1 (0, 0 for the file as a whole).
#[derive(Clone, Debug)]
pub struct Diagnostic {
    pub line: usize,
    /// In characters.
    pub column: usize,
    pub message: String,
    /// The text of the line, with secrets masked by stars.
    pub source_line: String,
    excerpt: Excerpt,
}

/// The part of a line that is printed, and the column in it of the mark; 0 for none.
#[derive(Clone, Debug, Default)]
struct Excerpt {
    text: String,
    mark: usize,
}

impl Excerpt {
    fn of(line: &str, column: usize) -> Self {
        let count = line.chars().count();
        let has_mark = (1..=count + 1).contains(&column);
        let mark = if has_mark { column } else { 0 };
        if count <= WINDOW_CHARACTERS {
            let text = line.to_owned();
            return Excerpt { text, mark };
        }
        let before = mark.saturating_sub(WINDOW_CHARACTERS / 2);
        let start = before.min(count - WINDOW_CHARACTERS);
        let window = line.chars().skip(start).take(WINDOW_CHARACTERS);
        let begin = if start > 0 { "..." } else { "" };
        let end = match start + WINDOW_CHARACTERS < count {
            true => "...",
            false => "",
        };
        Excerpt {
            text: format!("{begin}{}{end}", window.collect::<String>()),
            mark: match mark {
                0 => 0,
                mark => mark - start + begin.len(),
            },
        }
    }
}

/// A warning about a valid file. `Display` is a whole sentence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Warning {
    /// From 1.
    pub line: usize,
    /// `routes[0].cache.ttl`.
    pub key: String,
    sentence: String,
}

impl std::ops::Deref for Warning {
    type Target = str;

    fn deref(&self) -> &str {
        &self.sentence
    }
}

impl std::fmt::Display for Warning {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.sentence)
    }
}

impl ConfigError {
    /// An error of the file as a whole.
    pub(crate) fn of_file(file: &Path, message: String) -> Self {
        ConfigError {
            file: file.to_owned(),
            list: vec![Diagnostic {
                line: 0,
                column: 0,
                message,
                source_line: String::new(),
                excerpt: Excerpt::default(),
            }],
        }
    }
}

/// The list as `weir check` prints it.
fn rendered(file: &Path, list: &[Diagnostic]) -> String {
    let file = file.display();
    let mut text = String::new();
    for diagnostic in list.iter().take(SHOWN_MAX) {
        let Diagnostic {
            line,
            column,
            message,
            excerpt: Excerpt { text: quoted, mark },
            ..
        } = diagnostic;
        if *line == 0 {
            text += &format!("{file}: {message}\n");
            continue;
        }
        text += &format!("{file}:{line}:{column}: {message}\n");
        if !quoted.is_empty() {
            text += &format!("{line:>5} | {quoted}\n");
        }
        if !quoted.is_empty() && *mark > 0 {
            text += &format!("      | {:>mark$}\n", "^");
        }
    }
    let count = list.len();
    if count > SHOWN_MAX {
        text += &format!("... and {} more\n", count - SHOWN_MAX);
    }
    let noun = if count == 1 { "error" } else { "errors" };
    text + &format!("{count} {noun} in {file}")
}

/// What reading and checking report.
#[derive(Debug, Default)]
pub(crate) struct Diagnostics {
    errors: Vec<(FilePosition, String)>,
    /// With the path of the key, and the predicate of the sentence.
    warnings: Vec<(FilePosition, String, String)>,
    /// The parts of the file that may be quoted.
    pub(crate) spans: QuotableSpans,
    /// The key that is being read: `routes[0].cache.ttl`.
    path: String,
}

impl Diagnostics {
    pub(crate) fn error(&mut self, place: FilePosition, message: impl Into<String>) {
        self.errors.push((place, message.into()));
    }

    /// A warning about the key at `path`. `does` is its predicate, without a full stop.
    pub(crate) fn warn(&mut self, path: &str, place: FilePosition, does: &str) {
        self.warnings
            .push((place, path.to_owned(), does.to_owned()));
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Calls `read` with `key` appended to the path.
    pub(crate) fn within<T>(&mut self, key: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        if !self.path.is_empty() && !key.starts_with('[') {
            self.path.push('.');
        }
        self.path.push_str(key);
        let value = read(self);
        self.path.truncate(length);
        value
    }

    /// How many errors have been reported so far.
    pub(crate) fn errors(&self) -> usize {
        self.errors.len()
    }

    /// The warnings in the order of the file. `name_of` gives the name of an item of a list, such as `routes`.
    pub(crate) fn into_warnings<'n>(
        mut self,
        name_of: impl Fn(&str, usize) -> Option<&'n str>,
    ) -> Vec<Warning> {
        self.warnings.sort();
        self.warnings.dedup();
        let warnings = self.warnings.into_iter();
        warnings
            .map(|(place, key, does)| Warning {
                line: place.line,
                sentence: format!("{} (line {}) {does}.", subject(&key, &name_of), place.line),
                key,
            })
            .collect()
    }

    /// The errors in the order of the file; what an alias repeats is reported once.
    pub(crate) fn into_error(
        mut self,
        file: &Path,
        source: &str,
        known_keys: impl FnOnce() -> BTreeSet<String>,
    ) -> ConfigError {
        self.errors.sort();
        self.errors.dedup();
        let lines = self.spans.lines(source, known_keys);
        let list = self
            .errors
            .into_iter()
            .map(|(place, message)| {
                let line = lines.get(place.line).unwrap_or_default();
                let line = printable(&line, usize::MAX);
                Diagnostic {
                    line: place.line,
                    column: place.column,
                    message: printable(&message, usize::MAX),
                    excerpt: Excerpt::of(&line, place.column),
                    source_line: line.chars().take(LINE_CHARACTERS_MAX).collect(),
                }
            })
            .collect();
        ConfigError {
            file: file.to_owned(),
            list,
        }
    }
}

/// What a key is called in a sentence: `` `cache.ttl` of route `chat` `` for `routes[0].cache.ttl`.
fn subject<'n>(path: &str, name_of: &impl Fn(&str, usize) -> Option<&'n str>) -> String {
    for (list, item) in [("routes", "route"), ("backends", "backend")] {
        let inside = path
            .strip_prefix(list)
            .and_then(|rest| rest.strip_prefix('[')?.split_once(']'));
        let Some((position, key)) = inside else {
            continue;
        };
        let position = position.parse().ok();
        if let Some(name) = position.and_then(|position| name_of(list, position)) {
            return match key.strip_prefix('.') {
                None => format!("{item} `{name}`"),
                Some(key) => format!("`{key}` of {item} `{name}`"),
            };
        }
    }
    format!("`{path}`")
}

/// Replaces control characters, which could control the terminal; each character keeps its column.
fn printable(text: &str, characters_max: usize) -> String {
    text.chars()
        .take(characters_max)
        .map(|character| match character {
            '\t' => ' ',
            other if other.is_control() => '\u{fffd}',
            other => other,
        })
        .collect()
}
