//! What it means when a key is left out.

use super::diagnostic::Diagnostics;
use super::node::{FilePosition, NodeKind, YamlNode};
use super::tree;

/// What a left-out key means.
#[derive(Clone, Copy)]
pub(crate) enum Presence {
    Required,
    Optional,
    /// May be left out, but what is written must not come out empty: an empty lock is no lock.
    Guard,
    /// This text, in YAML.
    Default(&'static str),
}

/// The tree of a default; every place in it is that of the mapping it was left out of.
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
