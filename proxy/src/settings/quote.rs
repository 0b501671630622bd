//! Quoted lines of a file: secrets are masked by stars, column by column.
//!
//! Names of keys are no criterion. A value is shown only if a setting that is not secret has decoded it; or if it is a
//! single value or a list of another type than expected, looks harmless, and neither the setting nor, if a mapping is
//! expected, any of its keys is secret. Everything else is hidden: secrets in any position, values of unknown keys,
//! comments, and all of a file that is not YAML.

use std::collections::BTreeSet;
use std::ops::Range;

use super::node::{NodeKind, Scalar, YamlNode};

/// The byte ranges of a file that may and may not be quoted.
#[derive(Debug, Default)]
pub(crate) struct QuotableSpans {
    /// Every key and value.
    scalars: Vec<Range<usize>>,
    shown: Vec<Range<usize>>,
    /// Overrides `shown`: an anchor may be used for both.
    secret: BTreeSet<(usize, usize)>,
    /// The structure is broken: secrets cannot be distinguished from other values.
    is_broken: bool,
}

impl QuotableSpans {
    pub(crate) fn note_scalar(&mut self, bytes: Range<usize>) {
        self.scalars.push(bytes);
    }

    pub(crate) fn show(&mut self, bytes: &Range<usize>) {
        self.shown.push(bytes.clone());
    }

    /// Shows a value of another type than expected, or the items of a list, if `may_be_quoted`.
    pub(crate) fn show_if(&mut self, node: &YamlNode, may_be_quoted: impl Fn(&Scalar) -> bool) {
        let nodes = match &node.kind {
            NodeKind::Sequence(items) => items,
            _ => std::slice::from_ref(node),
        };
        for node in nodes {
            match &node.kind {
                NodeKind::Scalar(scalar) if may_be_quoted(scalar) => self.show(&scalar.bytes),
                _ => {}
            }
        }
    }

    pub(crate) fn hide(&mut self, bytes: &Range<usize>) {
        if !bytes.is_empty() {
            self.secret.insert((bytes.start, bytes.end));
        }
    }

    pub(crate) fn is_secret(&self, bytes: &Range<usize>) -> bool {
        self.secret.contains(&(bytes.start, bytes.end))
    }

    pub(crate) fn note_broken(&mut self) {
        self.is_broken = true;
    }

    /// Takes over the secrets that were found when the same file was decoded before.
    pub(crate) fn hide_as(&mut self, other: QuotableSpans) {
        self.secret = other.secret;
    }

    /// The file's lines with as many characters as they have, but for comments.
    /// `known_keys` gives the names of all settings: they are needed only for a file that is not YAML.
    pub(crate) fn lines<'s>(
        mut self,
        source: &'s str,
        known_keys: impl FnOnce() -> BTreeSet<String>,
    ) -> QuotedLines<'s> {
        let mut visible = vec![Visibility::Structure; source.len()];
        let mut fill = |ranges: Vec<Range<usize>>, as_what: Visibility| {
            for range in ranges {
                if let Some(part) = visible.get_mut(range) {
                    part.fill(as_what);
                }
            }
        };
        for ranges in [&mut self.scalars, &mut self.shown] {
            // What aliases repeat is filled once.
            ranges.sort_unstable_by_key(|range| (range.start, range.end));
            ranges.dedup();
        }
        fill(self.scalars, Visibility::Hidden);
        fill(self.shown, Visibility::Shown);
        let secret = self.secret.into_iter();
        fill(
            secret.map(|(start, end)| start..end).collect(),
            Visibility::Hidden,
        );
        let mut starts = vec![0];
        starts.extend(source.match_indices('\n').map(|(at, _)| at + 1));
        QuotedLines {
            source,
            starts,
            visible,
            known_keys: self.is_broken.then(known_keys),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Visibility {
    /// Between values: brackets, colons, dashes.
    Structure,
    Hidden,
    Shown,
}

/// The lines of one file.
pub(crate) struct QuotedLines<'s> {
    source: &'s str,
    starts: Vec<usize>,
    visible: Vec<Visibility>,
    /// Only for a file that is not YAML: the words that may be shown.
    known_keys: Option<BTreeSet<String>>,
}

impl QuotedLines<'_> {
    /// A line, counted from 1.
    pub(crate) fn get(&self, line: usize) -> Option<String> {
        let start = *self.starts.get(line.checked_sub(1)?)?;
        let text = self.source.get(start..)?.lines().next()?;
        Some(match &self.known_keys {
            Some(known) => keys_alone(text, known),
            None => self.masked(start, text),
        })
    }

    fn masked(&self, start: usize, text: &str) -> String {
        let references = references(text);
        let mut shown = String::with_capacity(text.len());
        for (at, character) in text.char_indices() {
            let is_shown = match self.visible.get(start + at) {
                Some(Visibility::Shown) => true,
                Some(Visibility::Hidden) => {
                    // Quotes show whether anything is between them.
                    matches!(character, ' ' | '\t' | '"' | '\'')
                        || references.iter().any(|range| range.contains(&at))
                }
                _ => {
                    let begins = shown.is_empty() || shown.ends_with([' ', '\t']);
                    if character == '#' && begins {
                        break;
                    }
                    " \t{}[],:-?|>&*!\"'".contains(character)
                }
            };
            shown.push(if is_shown { character } else { '*' });
        }
        shown.truncate(shown.trim_end().len());
        shown
    }
}

/// A line of a file that is not YAML: known keys and the marks around them, and stars for everything else.
fn keys_alone(line: &str, known: &BTreeSet<String>) -> String {
    let is_word = |character: char| !" \t{}[],\"'".contains(character);
    let mut shown = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        if first == '#' && (shown.is_empty() || shown.ends_with([' ', '\t'])) {
            break;
        }
        let end = match is_word(first) {
            true => rest.find(|next| !is_word(next)).unwrap_or(rest.len()),
            false => first.len_utf8(),
        };
        let (word, after) = rest.split_at(end);
        let key = word.strip_suffix(':').filter(|key| known.contains(*key));
        match (is_word(first), key) {
            (false, _) | (true, Some(_)) => shown.push_str(word),
            (true, None) => shown.extend(word.char_indices().map(|(at, character)| {
                let is_mark = at + 1 == word.len() && character == ':' || word == "-";
                if is_mark { character } else { '*' }
            })),
        }
        rest = after;
    }
    shown.truncate(shown.trim_end().len());
    shown
}

/// The positions of `${NAME}` and `${file:PATH}`: they name a secret and contain none. Those with a fallback are left
/// out.
fn references(text: &str) -> Vec<Range<usize>> {
    let starts = text.match_indices("${").map(|(at, _)| at);
    let ranges = starts.filter_map(|at| {
        let inside = text.get(at + 2..)?.split('}').next()?;
        let end = at + 2 + inside.len() + 1;
        (end <= text.len() && names_a_source(inside)).then_some(at..end)
    });
    ranges.collect()
}

/// Whether the text in `${...}` is certainly the name of a variable or a file, not a secret that was put there by
/// mistake.
pub(crate) fn names_a_source(inside: &str) -> bool {
    match inside.strip_prefix("file:") {
        Some(path) => path.contains(['/', '.']),
        None => {
            let is_upper =
                |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
            inside.len() <= 64 && !inside.is_empty() && inside.bytes().all(is_upper)
        }
    }
}

/// The variable or file that a whole text comes from, for messages.
pub(crate) fn source_of(scalar: &Scalar) -> Option<String> {
    let written = scalar.written.trim();
    let inside = written.strip_prefix("${")?.strip_suffix('}')?;
    let name = inside.split_once(":-").map_or(inside, |(name, _)| name);
    if inside.contains('}') || !names_a_source(name) {
        return None;
    }
    Some(match name.strip_prefix("file:") {
        Some(path) => format!("the file `{path}`"),
        None => format!("the variable `{name}`"),
    })
}

/// Whether an invalid text looks like a value of a setting that is not secret: a word, a number with its unit, an
/// address. With a missing quote, half a file may be in one value.
pub(crate) fn is_harmless(scalar: &Scalar) -> bool {
    let mut text = scalar.written.to_string();
    while let Some(range) = references(&text).first().cloned() {
        text.replace_range(range, "");
    }
    let is_word =
        |character: char| character.is_ascii_alphabetic() || " _-./*:".contains(character);
    let begins_as_number =
        text.starts_with(|first: char| first.is_ascii_digit() || "+-.:[%/".contains(first));
    let has_few = text.chars().count() <= if begins_as_number { 24 } else { 32 };
    let is_address = text.rsplit_once(':').is_some_and(|(name, port)| {
        name.chars().all(is_word) && port.bytes().all(|byte| byte.is_ascii_digit())
    });
    scalar.stands_here
        && has_few
        && !text.contains(['@', '$'])
        && (begins_as_number || is_address || text.chars().all(is_word))
}

/// Whether an unknown key may be repeated: it looks like a key.
pub(crate) fn is_key_like(text: &str) -> bool {
    text.len() <= 40
        && text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text
            .chars()
            .all(|character| character.is_ascii_alphabetic() || "_-.".contains(character))
}

/// The beginning of a long text, for a message.
pub(crate) fn shortened(text: &str) -> String {
    if text.chars().count() <= 60 {
        return text.to_owned();
    }
    text.chars().take(57).chain("...".chars()).collect()
}
