//! Values that the file may have many of.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::changes::Comparison;
use super::decode::{Decode, FromScalar, Invalid, mapping_of};
use super::diagnostic::Diagnostics;
use super::node::{FilePosition, NodeKind, Scalar, Substitution, YamlNode};
use super::schema::Definitions;

/// A value and its position.
pub(crate) struct Placed<T> {
    pub(crate) place: FilePosition,
    pub(crate) value: T,
}

/// A list of at least `MIN` values. Invalid values have been reported and are not in it.
pub(crate) struct List<T, const MIN: usize = 0>(pub(crate) Vec<Placed<T>>);

impl<T: Decode, const MIN: usize> Decode for List<T, MIN> {
    fn decode(node: &YamlNode, diagnostics: &mut Diagnostics) -> Option<Self> {
        let items = match &node.kind {
            NodeKind::Sequence(items) => items,
            NodeKind::Invalid => return None,
            _ => {
                let message = format!("expected a list, found {}", node.described());
                diagnostics.error(node.place, message);
                diagnostics.spans.show_if(node, T::may_be_quoted);
                return None;
            }
        };
        if items.len() < MIN {
            diagnostics.error(node.place, "the list is empty; it needs at least one item");
            return None;
        }
        let values = decode_items(items, diagnostics);
        // With too few valid items the list would have another meaning.
        (values.len() >= MIN).then_some(List(values))
    }

    fn schema(definitions: &mut Definitions) -> Value {
        json!({"type": "array", "items": T::schema(definitions), "minItems": MIN})
    }

    fn may_be_quoted(scalar: &Scalar) -> bool {
        T::may_be_quoted(scalar)
    }

    fn compare(old: &YamlNode, new: &YamlNode, comparison: &mut Comparison) {
        comparison.lists((items(old), items(new)), T::compare);
    }
}

/// The items of a list; a single value is one.
fn items(node: &YamlNode) -> &[YamlNode] {
    match &node.kind {
        NodeKind::Sequence(items) => items,
        _ => std::slice::from_ref(node),
    }
}

fn decode_items<T: Decode>(items: &[YamlNode], diagnostics: &mut Diagnostics) -> Vec<Placed<T>> {
    let mut values = Vec::with_capacity(items.len());
    for (position, item) in items.iter().enumerate() {
        let place = item.place;
        let value = diagnostics.within(&format!("[{position}]"), |diagnostics| {
            T::decode(item, diagnostics)
        });
        values.extend(value.map(|value| Placed { place, value }));
    }
    values
}

/// One value, or a list of them.
pub(crate) struct OneOrMany<T>(pub(crate) Vec<Placed<T>>);

impl<T: Decode> Decode for OneOrMany<T> {
    fn decode(node: &YamlNode, diagnostics: &mut Diagnostics) -> Option<Self> {
        if matches!(node.kind, NodeKind::Sequence(_)) {
            return List::<T, 1>::decode(node, diagnostics).map(|list| OneOrMany(list.0));
        }
        let place = node.place;
        T::decode(node, diagnostics).map(|value| OneOrMany(vec![Placed { place, value }]))
    }

    fn schema(definitions: &mut Definitions) -> Value {
        let one = T::schema(definitions);
        json!({"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]})
    }

    fn may_be_quoted(scalar: &Scalar) -> bool {
        T::may_be_quoted(scalar)
    }

    fn compare(old: &YamlNode, new: &YamlNode, comparison: &mut Comparison) {
        match (items(old), items(new)) {
            ([old], [new]) => T::compare(old, new, comparison),
            lists => comparison.lists(lists, T::compare),
        }
    }
}

/// A mapping whose names the file chooses. A value with an empty variable is left out as a
/// whole: `Bearer ` without its key is useless.
pub(crate) struct NamedValues<K, V>(pub(crate) Vec<(Placed<K>, Placed<V>)>);

impl<K: FromScalar, V: FromScalar> Decode for NamedValues<K, V> {
    fn decode(node: &YamlNode, diagnostics: &mut Diagnostics) -> Option<Self> {
        let entries = mapping_of(node, diagnostics)?;
        let mut read = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let is_named = key.has_colon && is_name_like(&key.text);
            if is_named {
                diagnostics.spans.show(&key.bytes);
            }
            let name = match K::read(&key.text) {
                Ok(name) => Some(name),
                Err(Invalid::Because(message)) => {
                    diagnostics.error(key.place, message);
                    None
                }
                Err(_) => {
                    diagnostics.error(key.place, format!("expected {}", K::expected()));
                    None
                }
            };
            if value.is_empty() || value.substitution() == Substitution::Empty {
                if let (true, NodeKind::Scalar(scalar)) = (V::SECRET, &value.kind) {
                    diagnostics.spans.hide(&scalar.bytes);
                }
                continue;
            }
            let path = if is_named { &*key.text } else { "*" };
            let text = diagnostics.within(path, |diagnostics| V::decode(value, diagnostics));
            if let (Some(name), Some(text)) = (name, text) {
                let (key_place, place) = (key.place, value.place);
                let name = Placed {
                    place: key_place,
                    value: name,
                };
                read.push((name, Placed { place, value: text }));
            }
        }
        Some(NamedValues(read))
    }

    fn schema(definitions: &mut Definitions) -> Value {
        json!({"type": "object", "additionalProperties": <V as Decode>::schema(definitions)})
    }
}

/// Whether it looks like the name of a header, not like a value without its name.
fn is_name_like(text: &str) -> bool {
    let is_part = |part: &str| {
        let has_letter = part.bytes().any(|byte| byte.is_ascii_alphabetic());
        let has_digit = part.bytes().any(|byte| byte.is_ascii_digit());
        has_letter != has_digit && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    text.len() <= 40 && text.split(['-', '_']).all(is_part)
}

/// Reports every name that is already used in the same list.
pub(crate) fn refuse_duplicates<'s>(
    what: &str,
    names: impl Iterator<Item = (&'s str, FilePosition)>,
    diagnostics: &mut Diagnostics,
) {
    let mut seen: HashMap<&str, FilePosition> = HashMap::new();
    for (name, place) in names {
        if let Some(first) = seen.insert(name, place) {
            let line = first.line;
            diagnostics.error(
                place,
                format!("duplicate {what}: the name is already used on line {line}"),
            );
        }
    }
}
