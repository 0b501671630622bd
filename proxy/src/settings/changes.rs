//! The difference of two files, key by key. Whether a change takes effect with a reload or needs a restart is part of
//! the declaration of the key.

use std::borrow::Cow;

use super::node::{FilePosition, NodeKind, YamlKey, YamlNode};
use super::presence::{Presence, default_node};

/// When a changed key takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Reload,
    Restart,
}

/// The keys in which two configurations differ, in the order of their declaration: `routes[chat].cache.ttl`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub changed: Vec<String>,
    /// Those of `changed` that a reload does not apply.
    pub needs_restart: Vec<String>,
}

/// The state of comparing two files.
pub(crate) struct Comparison {
    path: String,
    effect: Effect,
    changes: Changes,
}

impl Comparison {
    pub(crate) fn new() -> Self {
        Comparison {
            path: String::new(),
            effect: Effect::Reload,
            changes: Changes::default(),
        }
    }

    pub(crate) fn into_changes(self) -> Changes {
        self.changes
    }

    /// Notes that the value of the current key has changed.
    pub(crate) fn changed(&mut self) {
        if self.effect == Effect::Restart {
            self.changes.needs_restart.push(self.path.clone());
        }
        self.changes.changed.push(self.path.clone());
    }

    /// Calls `compare` with `part` (`key` or `[item]`) appended to the path.
    pub(crate) fn within(&mut self, part: &str, effect: Effect, compare: impl FnOnce(&mut Self)) {
        let (length, above) = (self.path.len(), self.effect);
        if !self.path.is_empty() && !part.starts_with('[') {
            self.path.push('.');
        }
        self.path.push_str(part);
        self.effect = effect;
        compare(self);
        self.path.truncate(length);
        self.effect = above;
    }

    /// The items of a list keep the effect of the list.
    pub(crate) fn item(&mut self, item: &str, compare: impl FnOnce(&mut Self)) {
        self.within(&format!("[{item}]"), self.effect, compare);
    }

    /// Compares the values of one key of two mappings, defaults filled in.
    pub(crate) fn key(
        &mut self,
        (old, new): (&YamlNode, &YamlNode),
        key: &str,
        (presence, effect): (Presence, Effect),
        compare: impl FnOnce(&YamlNode, &YamlNode, &mut Self),
    ) {
        self.within(key, effect, |comparison| {
            match (value(old, key, presence), value(new, key, presence)) {
                (None, None) => {}
                (Some(old), Some(new)) => compare(&old, &new, comparison),
                _ => comparison.changed(),
            }
        });
    }

    /// Compares two lists: by the `name` of their items where each has one, else by their positions.
    pub(crate) fn lists(
        &mut self,
        (old, new): (&[YamlNode], &[YamlNode]),
        compare: impl Fn(&YamlNode, &YamlNode, &mut Self),
    ) {
        if let (Some(old_names), Some(new_names)) = (names(old), names(new)) {
            return self.named_lists((old, &old_names), (new, &new_names), compare);
        }
        let is_mapping = |node: &YamlNode| matches!(node.kind, NodeKind::Mapping(_));
        if old.len() == new.len() && old.iter().chain(new).all(is_mapping) {
            for (position, (old, new)) in old.iter().zip(new).enumerate() {
                self.item(&position.to_string(), |comparison| {
                    compare(old, new, comparison);
                });
            }
        } else if !are_equal(old, new) {
            self.changed();
        }
    }

    fn named_lists(
        &mut self,
        (old, old_names): (&[YamlNode], &[&str]),
        (new, new_names): (&[YamlNode], &[&str]),
        compare: impl Fn(&YamlNode, &YamlNode, &mut Self),
    ) {
        let common = |names: &[&str], others: &[&str]| -> Vec<String> {
            let names = names.iter().filter(|name| others.contains(name));
            names.map(|name| (*name).to_owned()).collect()
        };
        if common(old_names, new_names) != common(new_names, old_names) {
            // The order of a list matters: the first route that matches decides.
            self.changed();
        }
        for (name, old) in old_names.iter().zip(old) {
            let position = new_names.iter().position(|other| other == name);
            let new = position.and_then(|position| new.get(position));
            self.item(name, |comparison| match new {
                Some(new) => compare(old, new, comparison),
                None => comparison.changed(),
            });
        }
        for name in new_names.iter().filter(|name| !old_names.contains(name)) {
            self.item(name, Comparison::changed);
        }
    }
}

/// The names of all items; `None` where one has none, or two have the same.
fn names(items: &[YamlNode]) -> Option<Vec<&str>> {
    let mut names = Vec::with_capacity(items.len());
    for item in items {
        let NodeKind::Mapping(entries) = &item.kind else {
            return None;
        };
        let (_, name) = entries.iter().find(|(key, _)| key.text == "name")?;
        let NodeKind::Scalar(name) = &name.kind else {
            return None;
        };
        if names.contains(&name.text.as_str()) {
            return None;
        }
        names.push(name.text.as_str());
    }
    Some(names)
}

/// The value of a key; `None` where it is left out without a default.
fn value<'n>(mapping: &'n YamlNode, key: &str, presence: Presence) -> Option<Cow<'n, YamlNode>> {
    let entries: &[(YamlKey, YamlNode)] = match &mapping.kind {
        NodeKind::Mapping(entries) => entries,
        _ => &[],
    };
    let written = entries.iter().find(|(name, _)| name.text == key);
    if let Some((_, node)) = written.filter(|(_, node)| !node.is_left_out()) {
        return Some(Cow::Borrowed(node));
    }
    match presence {
        Presence::Default(text) => default_node(text, FilePosition::START).map(Cow::Owned),
        _ => None,
    }
}

fn are_equal(old: &[YamlNode], new: &[YamlNode]) -> bool {
    let mut pairs = old.iter().zip(new);
    old.len() == new.len() && pairs.all(|(old, new)| old.is_equal(new))
}
