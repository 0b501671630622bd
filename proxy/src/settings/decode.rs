//! Decoding the tree into raw settings. One declaration (`settings!`, `choice!`, or a [`FromScalar`]) gives the
//! type, its keys, defaults, decoding and JSON Schema, which therefore always agree.
//!
//! Reading never stops at an error: an invalid value is reported and left out, and the rest is read.

use serde_json::Value;

use super::changes::Comparison;
use super::diagnostic::Diagnostics;
use super::nearest::nearest;
use super::node::{FilePosition, NodeKind, Scalar, Substitution, YamlKey, YamlNode};
use super::presence::{Presence, default_node};
use super::quote::{is_harmless, is_key_like, shortened, source_of};
use super::schema::Definitions;

/// What can be decoded from a node.
pub(crate) trait Decode: Sized {
    /// `None` when it is invalid; then the error has been reported.
    fn decode(node: &YamlNode, diagnostics: &mut Diagnostics) -> Option<Self>;

    fn schema(definitions: &mut Definitions) -> Value;

    /// Whether an empty text is a value like any other.
    fn takes_empty() -> bool {
        false
    }

    /// Whether a value that is written where this, of another type, is expected may be quoted: it is no secret, and
    /// looks like none.
    fn may_be_quoted(scalar: &Scalar) -> bool {
        let _ = scalar;
        false
    }

    /// Notes the keys in which two values differ.
    fn compare(old: &YamlNode, new: &YamlNode, comparison: &mut Comparison) {
        if !old.is_equal(new) {
            comparison.changed();
        }
    }
}

/// What is written as one scalar.
pub(crate) trait FromScalar: Sized {
    /// A secret is never shown in a message or a quoted line.
    const SECRET: bool = false;
    const TAKES_EMPTY: bool = false;

    /// The expected value: `a duration such as 30s`.
    fn expected() -> String;

    /// # Errors
    /// Why the text is invalid, without repeating it.
    fn read(text: &str) -> Result<Self, Invalid>;

    /// Whether it is an address, whose text shows whether it contains a secret.
    const IS_ADDRESS: bool = false;

    /// Whether this text, as it is written, is a secret: of an address a part may be.
    fn is_secret(written: &str) -> bool {
        let _ = written;
        Self::SECRET
    }

    /// Its JSON Schema, without `${...}`, which is allowed everywhere.
    fn schema() -> Value;

    /// Whether two texts have the same value, such as `60s` and `1m`.
    fn is_equal(old: &str, new: &str) -> bool {
        old == new
    }

    /// Warns about a valid value.
    fn notice(text: &str, place: FilePosition, diagnostics: &mut Diagnostics) {
        let _ = (text, place, diagnostics);
    }
}

/// Why a text is not a value.
pub(crate) enum Invalid {
    /// It is not what was expected.
    Unexpected,
    /// It is none of the known words; the nearest of them.
    Near(&'static str),
    /// Another reason, as a sentence.
    Because(String),
}

impl<T: FromScalar> Decode for T {
    fn decode(node: &YamlNode, diagnostics: &mut Diagnostics) -> Option<Self> {
        let scalar = match &node.kind {
            NodeKind::Invalid => return None,
            NodeKind::Scalar(scalar) => scalar,
            _ => {
                let message = format!("expected {}, found {}", T::expected(), node.described());
                diagnostics.error(node.place, message);
                diagnostics.spans.show_if(node, T::may_be_quoted);
                return None;
            }
        };
        if node.is_empty() && !T::TAKES_EMPTY {
            let message = match (T::SECRET, source_of(scalar)) {
                (true, Some(source)) => format!("{source} is empty; a secret must not be"),
                (true, None) => "the secret is empty".to_owned(),
                (false, _) => format!("expected {}, found an empty value", T::expected()),
            };
            diagnostics.error(node.place, message);
            return None;
        }
        let is_secret = T::is_secret(&scalar.written);
        if is_secret {
            diagnostics.spans.hide(&scalar.bytes);
        }
        let invalid = match T::read(&scalar.text) {
            Ok(value) => {
                if !is_secret && scalar.stands_here {
                    diagnostics.spans.show(&scalar.bytes);
                }
                T::notice(&scalar.text, node.place, diagnostics);
                return Some(value);
            }
            Err(invalid) => invalid,
        };
        let is_shown = !is_secret
            && !diagnostics.spans.is_secret(&scalar.bytes)
            && (T::IS_ADDRESS && scalar.stands_here || is_harmless(scalar));
        let mut found = String::new();
        if is_shown {
            diagnostics.spans.show(&scalar.bytes);
            found = format!(", found `{}`", shortened(&scalar.written));
        }
        let expected = T::expected();
        let message = match (invalid, source_of(scalar)) {
            (Invalid::Because(message), _) => message,
            (_, Some(source)) => {
                let is = match expected.starts_with("one of ") {
                    true => "one of them",
                    false => "valid",
                };
                format!("expected {expected}; the value of {source} is not {is}")
            }
            (Invalid::Unexpected, None) => format!("expected {expected}{found}"),
            (Invalid::Near(known), None) => {
                format!("expected {expected}{found}; did you mean `{known}`?")
            }
        };
        diagnostics.error(node.place, message);
        None
    }

    fn schema(definitions: &mut Definitions) -> Value {
        definitions.or_placeholder(T::schema())
    }

    fn takes_empty() -> bool {
        T::TAKES_EMPTY
    }

    fn may_be_quoted(scalar: &Scalar) -> bool {
        !T::is_secret(&scalar.written) && is_harmless(scalar)
    }

    fn compare(old: &YamlNode, new: &YamlNode, comparison: &mut Comparison) {
        let is_equal = match (&old.kind, &new.kind) {
            (NodeKind::Scalar(old), NodeKind::Scalar(new)) => T::is_equal(&old.text, &new.text),
            _ => old.is_equal(new),
        };
        if !is_equal {
            comparison.changed();
        }
    }
}

/// The value of one key, and where it comes from.
pub(crate) struct Setting<T> {
    /// Of the value; of the mapping when the key is left out.
    pub(crate) place: FilePosition,
    /// Of the key.
    pub(crate) key_place: FilePosition,
    /// `routes[0].cache.ttl`.
    pub(crate) path: String,
    /// Whether a message may repeat the value: it is written here, without variables and aliases.
    may_be_shown: bool,
    source: SettingOrigin,
    value: Option<T>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SettingOrigin {
    Written,
    LeftOut,
    /// Left out although it is required: an error.
    Missing,
}

impl<T> Setting<T> {
    /// `None` when it is left out without a default, or invalid.
    pub(crate) fn value(&self) -> Option<&T> {
        self.value.as_ref()
    }

    pub(crate) fn may_be_shown(&self) -> bool {
        self.may_be_shown
    }

    pub(crate) fn is_written(&self) -> bool {
        self.source == SettingOrigin::Written
    }

    /// Whether it is left out without a default.
    pub(crate) fn is_absent(&self) -> bool {
        self.source == SettingOrigin::LeftOut && self.value.is_none()
    }
}

impl<T: Copy> Setting<T> {
    pub(crate) fn get(&self) -> Option<T> {
        self.value
    }
}

pub(crate) fn mapping_of<'n>(
    node: &'n YamlNode,
    diagnostics: &mut Diagnostics,
) -> Option<&'n [(YamlKey, YamlNode)]> {
    match &node.kind {
        NodeKind::Mapping(entries) => Some(entries),
        NodeKind::Invalid => None,
        _ => {
            let message = format!("expected a mapping of keys, found {}", node.described());
            diagnostics.error(node.place, message);
            None
        }
    }
}

/// A mapping whose keys are known, while it is read.
pub(crate) struct Block<'n> {
    place: FilePosition,
    entries: &'n [(YamlKey, YamlNode)],
    /// The known keys that unknown ones probably stand for: they are not reported as missing, too.
    meant: Vec<&'static str>,
}

impl<'n> Block<'n> {
    /// Reports every key that is not in `known`.
    pub(crate) fn open(
        node: &'n YamlNode,
        known: &[&'static str],
        diagnostics: &mut Diagnostics,
    ) -> Option<Self> {
        let entries = mapping_of(node, diagnostics)?;
        let mut meant = Vec::new();
        for (key, _) in entries {
            if known.contains(&key.text.as_str()) {
                diagnostics.spans.show(&key.bytes);
                continue;
            }
            let near = nearest(&key.text, known);
            let message = match near {
                Some(near) => format!("; did you mean `{near}`?"),
                None => format!("; known here: {}", known.join(", ")),
            };
            meant.extend(near);
            let named = key_named(key, near, diagnostics);
            diagnostics.error(key.place, format!("unknown key{named}{message}"));
        }
        let place = node.place;
        Some(Block {
            place,
            entries,
            meant,
        })
    }

    /// Whether the key is in the file.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(name, _)| name.text == key)
    }

    /// The value of one key.
    pub(crate) fn setting<T: Decode>(
        &self,
        key: &'static str,
        presence: Presence,
        diagnostics: &mut Diagnostics,
    ) -> Setting<T> {
        diagnostics.within(key, |diagnostics| {
            self.read((key, presence), is_empty_text::<T>, T::decode, diagnostics)
        })
    }

    /// The value of one key, read by `decode`. An empty text is no value.
    pub(crate) fn setting_by<T>(
        &self,
        key: &'static str,
        presence: Presence,
        decode: impl Fn(&YamlNode, &mut Diagnostics) -> Option<T>,
        diagnostics: &mut Diagnostics,
    ) -> Setting<T> {
        diagnostics.within(key, |diagnostics| {
            self.read((key, presence), |_| false, decode, diagnostics)
        })
    }

    fn read<T>(
        &self,
        (key, presence): (&'static str, Presence),
        is_empty_text: impl Fn(&YamlNode) -> bool,
        decode: impl Fn(&YamlNode, &mut Diagnostics) -> Option<T>,
        diagnostics: &mut Diagnostics,
    ) -> Setting<T> {
        let entry = self.entries.iter().find(|(name, _)| name.text == key);
        let key_place = entry.map_or(self.place, |(name, _)| name.place);
        let mut setting = Setting {
            place: key_place,
            key_place,
            path: diagnostics.path().to_owned(),
            may_be_shown: true,
            source: SettingOrigin::LeftOut,
            value: None,
        };
        match entry {
            Some((_, node)) if !node.is_empty() || is_empty_text(node) => {
                setting.place = node.place;
                setting.source = SettingOrigin::Written;
                setting.may_be_shown = may_be_shown(node, diagnostics);
                setting.value = decode(node, diagnostics);
            }
            Some(_) if matches!(presence, Presence::Guard) => {
                let remedy = "which would leave the route or listener unprotected; set a value or remove the key";
                diagnostics.error(key_place, format!("`{key}` is empty, {remedy}"));
                setting.source = SettingOrigin::Written;
            }
            _ => match presence {
                Presence::Optional | Presence::Guard => {}
                Presence::Default(text) => {
                    let node = default_node(text, key_place);
                    setting.value = node.and_then(|node| decode(&node, diagnostics));
                }
                Presence::Required => {
                    setting.source = SettingOrigin::Missing;
                    self.report_missing(key, entry.is_some(), key_place, diagnostics);
                }
            },
        }
        setting
    }

    fn report_missing(
        &self,
        key: &str,
        has_key: bool,
        place: FilePosition,
        diagnostics: &mut Diagnostics,
    ) {
        if has_key {
            diagnostics.error(place, format!("`{key}` is empty, and it is required"));
        } else if !self.meant.contains(&key) {
            diagnostics.error(place, format!("the key `{key}` is missing here"));
        }
    }
}

/// The name of an unknown key, for a message. It may be a value whose key is missing.
fn key_named(key: &YamlKey, near: Option<&str>, diagnostics: &mut Diagnostics) -> String {
    if !key.has_colon || (near.is_none() && !is_key_like(&key.text)) {
        return String::new();
    }
    diagnostics.spans.show(&key.bytes);
    format!(" `{}`", shortened(&key.text))
}

fn may_be_shown(node: &YamlNode, diagnostics: &Diagnostics) -> bool {
    match &node.kind {
        NodeKind::Scalar(scalar) => {
            scalar.substitution == Substitution::None
                && scalar.stands_here
                && !diagnostics.spans.is_secret(&scalar.bytes)
        }
        _ => true,
    }
}

/// Written as `""` where that is a value. One whose variables came out empty is as if left out.
fn is_empty_text<T: Decode>(node: &YamlNode) -> bool {
    let is_text = matches!(node.kind, NodeKind::Scalar(_));
    T::takes_empty() && is_text && node.substitution() == Substitution::None
}

/// The whole JSON Schema of `T`.
pub(crate) fn schema_of<T: Decode>() -> Value {
    let mut definitions = Definitions::default();
    let root = T::schema(&mut definitions);
    definitions.into_schema(root)
}
