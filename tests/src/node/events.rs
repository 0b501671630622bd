//! Events to index, and the mapping of the index.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// An example event.
const EVENT: &str = include_str!("../../../proxy/tests/vectors/event.json");

/// The mapping of the data stream, as weir creates it.
pub const MAPPINGS: &str = include_str!("../../../deploy/elasticsearch/mappings.json");

/// The example event.
///
/// # Panics
/// It is not JSON.
#[must_use]
pub fn example() -> Value {
    serde_json::from_str(EVENT).expect("the example event")
}

/// A variant of the example event, with its own id.
///
/// # Panics
/// The example is not an object.
#[must_use]
pub fn like_example(
    number: usize,
    platform: &str,
    error_code: Option<&str>,
    response_time: f64,
) -> (String, Value) {
    let mut event = example();
    let id = format!("01KAN0X3S8Q5V4R8C9J2M7{number:04}");
    event["event"]["id"] = json!(id);
    event["http"]["request"]["id"] = json!(id);
    event["platform"] = json!(platform);
    event["response_time"] = json!(response_time);
    let fields = event.as_object_mut().expect("an object");
    match error_code {
        Some(code) => fields.insert("error_code".to_owned(), json!(code)),
        None => fields.remove("error_code"),
    };
    (id, event)
}

/// The type of every mapped field, by its dotted path.
///
/// # Panics
/// These are not the properties of a mapping.
#[must_use]
pub fn mapped(properties: &Value) -> BTreeMap<String, String> {
    fn walk(path: &str, properties: &Map<String, Value>, into: &mut BTreeMap<String, String>) {
        for (name, field) in properties {
            let path = format!("{path}{name}");
            if let Some(inner) = field["properties"].as_object() {
                walk(&format!("{path}."), inner, into);
            } else {
                let kind = field["type"].as_str().expect("a type");
                into.insert(path, kind.to_owned());
            }
        }
    }
    let mut into = BTreeMap::new();
    walk("", properties.as_object().expect("properties"), &mut into);
    into
}

/// The type of every field in `mappings.json`.
///
/// # Panics
/// The file is not a mapping.
#[must_use]
pub fn mapping() -> BTreeMap<String, String> {
    let body: Value = serde_json::from_str(MAPPINGS).expect("JSON");
    mapped(&body["template"]["mappings"]["properties"])
}
