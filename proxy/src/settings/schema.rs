//! The JSON Schema (2020-12) of the file, from the declarations that also decode it.

use serde_json::{Map, Value, json};

use super::changes::Effect;
use super::node::{FilePosition, NodeKind, YamlNode};
use super::presence::{Presence, default_node};

/// The definitions that the schema refers to by name.
#[derive(Default)]
pub(crate) struct Definitions {
    named: Map<String, Value>,
}

/// The keys of one mapping, while they are collected.
pub(crate) struct Mapping<'d> {
    definitions: &'d mut Definitions,
    properties: Map<String, Value>,
    required: Vec<&'static str>,
}

impl Definitions {
    /// The schema of a file whose root is `root`.
    pub(crate) fn into_schema(mut self, root: Value) -> Value {
        // The keys of the root are at the top, where editors and readers expect them.
        let name = root["$ref"]
            .as_str()
            .and_then(|path| path.rsplit('/').next());
        let mut whole = name
            .and_then(|name| self.named.remove(name))
            .unwrap_or(root);
        whole["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
        whole["title"] = json!("weir.yaml");
        whole["$defs"] = Value::Object(self.named);
        whole
    }

    /// A mapping with known keys, and a reference to it.
    pub(crate) fn mapping(
        &mut self,
        name: &str,
        about: &str,
        gather: impl FnOnce(&mut Mapping<'_>),
    ) -> Value {
        let reference = json!({"$ref": format!("#/$defs/{name}")});
        if self.named.contains_key(name) {
            return reference;
        }
        let mut mapping = Mapping {
            definitions: self,
            properties: Map::new(),
            required: Vec::new(),
        };
        gather(&mut mapping);
        let Mapping {
            properties,
            required,
            ..
        } = mapping;
        let whole = json!({
            "type": "object",
            "description": about.trim(),
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        });
        self.named.insert(name.to_owned(), whole);
        reference
    }

    /// `value`, or a text with a `${...}` in it.
    pub(crate) fn or_placeholder(&mut self, value: Value) -> Value {
        self.named
            .entry("Placeholder")
            .or_insert_with(|| {
                json!({
                    "type": "string",
                    "description": "Replaced from the environment or a file: ${NAME}, ${NAME:-fallback}, ${file:PATH}.",
                    "pattern": "\\$\\{[^}]+\\}",
                })
            });
        json!({"anyOf": [value, {"$ref": "#/$defs/Placeholder"}]})
    }
}

impl Mapping<'_> {
    /// Where the definitions go that the values of the keys refer to.
    pub(crate) fn definitions(&mut self) -> &mut Definitions {
        self.definitions
    }

    /// Adds a key, unless there is one of this name.
    pub(crate) fn key(
        &mut self,
        key: &'static str,
        about: &'static str,
        kind: (Presence, Effect),
        value: Value,
    ) {
        self.key_by(key, about, kind, |_| value);
    }

    /// Adds a key whose value `describe` describes, unless there is one of this name.
    pub(crate) fn key_by(
        &mut self,
        key: &'static str,
        about: &'static str,
        (presence, effect): (Presence, Effect),
        schema: impl FnOnce(&mut Definitions) -> Value,
    ) {
        if self.properties.contains_key(key) {
            return;
        }
        let value = schema(self.definitions);
        let mut property = match presence {
            // A key without a value counts as left out.
            Presence::Optional | Presence::Default(_) => {
                json!({"anyOf": [value, {"type": "null"}]})
            }
            Presence::Required | Presence::Guard => value,
        };
        if let Some(property) = property.as_object_mut() {
            property.insert("description".to_owned(), json!(about.trim()));
            property.insert("x-reload".to_owned(), json!(effect == Effect::Reload));
            if let Presence::Default(text) = presence
                && let Some(node) = default_node(text, FilePosition::START)
            {
                property.insert("default".to_owned(), to_json(&node));
            }
        }
        if matches!(presence, Presence::Required) {
            self.required.push(key);
        }
        self.properties.insert(key.to_owned(), property);
    }
}

fn to_json(node: &YamlNode) -> Value {
    match &node.kind {
        NodeKind::Null | NodeKind::Invalid | NodeKind::HashedSecret(_) => Value::Null,
        NodeKind::Scalar(scalar) => match scalar.text.as_str() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            text => text
                .parse::<u64>()
                .map_or_else(|_| json!(text), |number| json!(number)),
        },
        NodeKind::Sequence(items) => items.iter().map(to_json).collect(),
        NodeKind::Mapping(entries) => entries
            .iter()
            .map(|(key, value)| (key.text.clone(), to_json(value)))
            .collect::<Map<_, _>>()
            .into(),
    }
}
