//! The effect of leaving a key out.

use super::diagnostic::Diagnostics;
use super::node::{FilePosition, NodeKind, YamlNode};
use super::tree;

/// The effect of leaving a key out.
#[derive(Clone, Copy)]
pub(crate) enum Presence {
    Required,
    Optional,
    /// May be left out, but a written value must not be empty: an empty guard would protect nothing.
    Guard,
    /// This text, in YAML.
    Default(&'static str),
}

/// The tree of a default; every position in it is that of the mapping without the key.
pub(crate) fn default_node(text: &str, place: FilePosition) -> Option<YamlNode> {
    fn move_to(node: &mut YamlNode, place: FilePosition) {
        node.place = place;
        match &mut node.kind {
            NodeKind::Scalar(scalar) => scalar.bytes = 0..0,
            NodeKind::Sequence(items) => items.iter_mut().for_each(|item| move_to(item, place)),
            NodeKind::Mapping(entries) => {
                for (key, value) in entries {
                    (key.place, key.bytes) = (place, 0..0);
                    move_to(value, place);
                }
            }
            _ => {}
        }
    }
    let mut node = tree::parse(text, &mut Diagnostics::default())?;
    move_to(&mut node, place);
    Some(node)
}
