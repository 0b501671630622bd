//! Lens panels, and the aggregations that Lens derives from them.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{panels, text};

/// A Lens panel.
pub(super) struct Lens {
    pub(super) title: String,
    pub(super) layer: String,
    pub(super) order: Vec<String>,
    pub(super) columns: Map<String, Value>,
    pub(super) visualization: Value,
    pub(super) query: String,
}

/// All Lens panels.
pub(super) fn lenses() -> Vec<Lens> {
    let all = panels().into_iter().filter(|panel| panel["type"] == "lens");
    all.map(|panel| {
        let attributes = &panel["embeddableConfig"]["attributes"];
        let state = &attributes["state"];
        let layers = state["datasourceStates"]["formBased"]["layers"]
            .as_object()
            .expect("layers");
        let (layer, content) = layers.iter().next().expect("a layer");
        assert_eq!(layers.len(), 1, "more layers than one");
        assert_eq!(state["query"]["language"], "kuery");
        let order = content["columnOrder"].as_array().expect("an order");
        Lens {
            title: text(&attributes["title"]),
            layer: layer.clone(),
            order: order.iter().map(text).collect(),
            columns: content["columns"].as_object().expect("columns").clone(),
            visualization: state["visualization"].clone(),
            query: text(&state["query"]["query"]),
        }
    })
    .collect()
}

/// The subset of Kibana's query language that the panels use.
pub(super) fn query(kql: &str) -> Value {
    if kql.is_empty() {
        return json!({"match_all": {}});
    }
    let words: Vec<_> = kql.split_whitespace().collect();
    match words[..] {
        [field, ":", "*"] => json!({"exists": {"field": field}}),
        [field, ">", limit] => {
            let limit: f64 = limit.parse().expect("a number");
            json!({"range": {field: {"gt": limit}}})
        }
        _ => panic!("a query that this test cannot read: {kql}"),
    }
}

/// The aggregation of the columns of a panel: buckets in order, with the metrics inside.
pub(super) fn aggregation(lens: &Lens) -> Value {
    let mut inner = Map::new();
    for (name, column) in &lens.columns {
        if let Some(number) = number(column) {
            inner.insert(name.clone(), number);
        }
    }
    let buckets = lens.order.iter().rev();
    for name in buckets.filter(|name| lens.columns[*name]["isBucketed"] == true) {
        let column = &lens.columns[name];
        let field = &column["sourceField"];
        let mut bucket = match column["operationType"].as_str() {
            Some("terms") => {
                json!({"terms": {"field": field, "size": column["params"]["size"]}})
            }
            Some("date_histogram") => {
                json!({"date_histogram": {"field": field, "fixed_interval": "1h"}})
            }
            other => panic!("{}: buckets by {other:?}", lens.title),
        };
        bucket["aggs"] = Value::Object(inner);
        inner = Map::from_iter([(name.clone(), bucket)]);
    }
    Value::Object(inner)
}

/// The metric of a column as an aggregation; `None` for buckets.
fn number(column: &Value) -> Option<Value> {
    let field = &column["sourceField"];
    match column["operationType"].as_str()? {
        "count" => {
            let kql = column["filter"]["query"].as_str().unwrap_or_default();
            Some(json!({"filter": query(kql)}))
        }
        "percentile" => {
            let percent = &column["params"]["percentile"];
            Some(json!({"percentiles": {"field": field, "percents": [percent]}}))
        }
        "sum" => Some(json!({"sum": {"field": field}})),
        _ => None,
    }
}

/// The names of the columns that a visualization uses.
pub(super) fn accessors(value: &Value) -> BTreeSet<String> {
    let keys = [
        "xAccessor",
        "accessors",
        "splitAccessor",
        "metricAccessor",
        "columnId",
        "primaryGroups",
        "metrics",
    ];
    let mut found = BTreeSet::new();
    let mut waiting = vec![value];
    while let Some(value) = waiting.pop() {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match value {
                        Value::String(column) if keys.contains(&name.as_str()) => {
                            found.insert(column.clone());
                        }
                        Value::Array(columns) if keys.contains(&name.as_str()) => {
                            found.extend(columns.iter().map(text));
                        }
                        other => waiting.push(other),
                    }
                }
            }
            Value::Array(values) => waiting.extend(values),
            _ => {}
        }
    }
    found
}
