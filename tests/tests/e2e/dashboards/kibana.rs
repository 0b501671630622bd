//! The Kibana objects: their form and references, and the aggregation of each panel on a real node.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use weir_tests::node::Node;
use weir_tests::node::events::{like_example, mapping};

mod lens;

use lens::{accessors, aggregation, lenses, query};

const OBJECTS: &str = include_str!("../../../../dashboards/kibana/weir.ndjson");

/// Columns of the grid of a Kibana dashboard.
const COLUMNS: u64 = 48;

/// The field name that stands for a count.
const RECORDS: &str = "___records___";

fn objects() -> Vec<Value> {
    let lines = OBJECTS.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("a line is one object"))
        .collect()
}

fn object(kind: &str) -> Value {
    let mut all = objects().into_iter();
    all.find(|object| object["type"] == kind).expect(kind)
}

/// A string that contains JSON.
fn unpacked(text: &Value) -> Value {
    let text = text.as_str().expect("JSON as a text");
    serde_json::from_str(text).expect("a text that is JSON")
}

fn panels() -> Vec<Value> {
    let panels = unpacked(&object("dashboard")["attributes"]["panelsJSON"]);
    panels.as_array().expect("panels").clone()
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("no text: {value}"))
        .to_owned()
}

#[test]
fn the_list_of_alert_changes_shows_existing_fields() {
    let mappings = include_str!("../../../../deploy/elasticsearch/alert-mappings.json");
    let mappings: Value = serde_json::from_str(mappings).expect("mappings");
    let mut objects = objects().into_iter();
    let search = objects
        .find(|object| object["id"] == "weir-alert-changes")
        .expect("the list");
    let columns = search["attributes"]["columns"].as_array().expect("columns");
    assert!(!columns.is_empty());
    for column in columns {
        let path = text(column).replace('.', "/properties/");
        let field = format!("/template/mappings/properties/{path}/type");
        assert!(mappings.pointer(&field).is_some(), "{column} has no type");
    }
}

#[test]
fn every_reference_resolves_within_the_file() {
    let objects = objects();
    let ids: BTreeSet<_> = objects
        .iter()
        .map(|one| (text(&one["type"]), text(&one["id"])))
        .collect();
    assert_eq!(ids.len(), objects.len());
    for object in &objects {
        assert_eq!(object["coreMigrationVersion"], "8.8.0");
        let mut names = BTreeSet::new();
        for reference in object["references"].as_array().expect("references") {
            let to = (text(&reference["type"]), text(&reference["id"]));
            assert!(ids.contains(&to), "{to:?} is not in the file");
            assert!(
                names.insert(text(&reference["name"])),
                "duplicate reference {reference}"
            );
        }
    }
    let required: BTreeMap<_, _> = [
        ("index-pattern", "8.0.0"),
        ("search", "8.0.0"),
        ("dashboard", "8.9.0"),
    ]
    .into();
    for object in &objects {
        let kind = text(&object["type"]);
        assert_eq!(
            object["typeMigrationVersion"],
            required[kind.as_str()],
            "{kind}"
        );
    }
    assert_eq!(
        object("index-pattern")["attributes"]["title"],
        "logs-weir.access-*"
    );
}

#[test]
fn the_dashboard_has_exactly_the_references_it_uses() {
    let dashboard = object("dashboard");
    let references = dashboard["references"].as_array().expect("references");
    let there: BTreeSet<_> = references.iter().map(|one| text(&one["name"])).collect();
    let mut used = BTreeSet::new();
    for panel in panels() {
        let index = text(&panel["panelIndex"]);
        assert_eq!(panel["gridData"]["i"], panel["panelIndex"]);
        if panel["type"] == "lens" {
            let own = &panel["embeddableConfig"]["attributes"]["references"];
            for reference in own.as_array().expect("references") {
                used.insert(format!("{index}:{}", text(&reference["name"])));
            }
        } else {
            used.insert(format!("{index}:{}", text(&panel["panelRefName"])));
        }
    }
    let controls = unpacked(&dashboard["attributes"]["controlGroupInput"]["panelsJSON"]);
    let known = mapping();
    for (id, control) in controls.as_object().expect("controls") {
        let input = &control["explicitInput"];
        assert_eq!(input["id"], id.as_str());
        assert_eq!(known[&text(&input["fieldName"])], "keyword");
        used.insert(format!("controlGroup_{id}:optionsListDataView"));
    }
    assert_eq!(there, used);
    for text in ["optionsJSON", "kibanaSavedObjectMeta/searchSourceJSON"] {
        let value = dashboard
            .pointer(&format!("/attributes/{text}"))
            .expect(text);
        assert!(unpacked(value).is_object(), "{text}");
    }
}

#[test]
fn every_panel_uses_its_own_columns_and_matching_fields() {
    let known = mapping();
    for lens in lenses() {
        let title = &lens.title;
        let ordered: BTreeSet<_> = lens.order.iter().cloned().collect();
        let columns: BTreeSet<_> = lens.columns.keys().cloned().collect();
        assert_eq!(ordered, columns, "{title}");
        assert_eq!(accessors(&lens.visualization), columns, "{title}");
        assert!(
            lens.visualization.to_string().contains(&lens.layer),
            "{title}"
        );
        for column in lens.columns.values() {
            let field = text(&column["sourceField"]);
            let kind = known.get(&field).map(String::as_str);
            let fits = match column["operationType"].as_str() {
                Some("count") => field == RECORDS,
                Some("terms") => kind == Some("keyword"),
                Some("date_histogram") => kind == Some("date"),
                Some("percentile" | "sum") => matches!(kind, Some("double" | "long" | "integer")),
                _ => false,
            };
            assert!(
                fits,
                "{title}: {} of {field}, which is {kind:?}",
                column["operationType"]
            );
            let order = &column["params"]["orderBy"]["columnId"];
            assert!(order.is_null() || columns.contains(&text(order)), "{title}");
        }
    }
    let search = object("search");
    for column in search["attributes"]["columns"].as_array().expect("columns") {
        assert!(known.contains_key(&text(column)), "{column}");
    }
}

#[test]
fn panels_do_not_overlap() {
    let mut taken = BTreeSet::new();
    for panel in panels() {
        let side = |name: &str| panel["gridData"][name].as_u64().expect("a place");
        let (left, top) = (side("x"), side("y"));
        assert!(left + side("w") <= COLUMNS, "{}", panel["panelIndex"]);
        for column in left..left + side("w") {
            for line in top..top + side("h") {
                assert!(
                    taken.insert((column, line)),
                    "{} lies over another",
                    panel["panelIndex"]
                );
            }
        }
    }
}

/// Every list of buckets and every number in a response, by path.
fn collect_values(path: &str, value: &Value, into: &mut Vec<(String, bool)>) {
    let Some(fields) = value.as_object() else {
        return;
    };
    for (name, value) in fields {
        let path = format!("{path}/{name}");
        if let Some(buckets) = value["buckets"].as_array() {
            into.push((path.clone(), !buckets.is_empty()));
            for bucket in buckets {
                collect_values(&path, bucket, into);
            }
        } else if let Some(count) = value["doc_count"].as_u64() {
            into.push((path, count > 0));
        } else if let Some(values) = value["values"].as_object() {
            into.push((path, values.values().all(Value::is_number)));
        } else if value.get("value").is_some() {
            into.push((path, value["value"].is_number()));
        }
    }
}

#[tokio::test]
async fn every_panel_has_data_on_a_real_node() {
    let Some(node) = Node::get().await else {
        return;
    };
    let stream = "logs-weir.kibana-panels";
    let events = [
        like_example(1, "feishu", Some("upstream_timeout"), 1500.5),
        like_example(2, "feishu", Some("upstream_timeout"), 2500.0),
        like_example(3, "feishu", Some("rate_limited"), 1001.0),
        like_example(4, "slack", Some("rate_limited"), 1001.0),
        like_example(5, "feishu", None, 10.0),
    ];
    node.fill(stream, &events).await;

    let mut totals = BTreeMap::new();
    for lens in lenses() {
        let search = json!({"size": 0, "query": query(&lens.query), "aggs": aggregation(&lens)});
        let found = node.search(stream, &search).await;
        let mut parts = Vec::new();
        collect_values("", &found["aggregations"], &mut parts);
        assert!(
            parts.len() >= lens.columns.len(),
            "{}: {found:#}",
            lens.title
        );
        for (path, has_data) in parts {
            assert!(has_data, "{}: nothing at {path}: {found:#}", lens.title);
        }
        totals.insert(lens.title, found["hits"]["total"]["value"].as_u64());
    }
    assert_eq!(totals["Requests"], Some(5));
    assert_eq!(totals["Slower than a second"], Some(4));
    assert_eq!(totals["With an error"], Some(4));
}

#[tokio::test]
async fn the_panel_of_slow_responses_runs_the_documented_query() {
    let Some(node) = Node::get().await else {
        return;
    };
    let stream = "logs-weir.kibana-slow";
    let events = [
        like_example(1, "feishu", Some("upstream_timeout"), 1500.5),
        like_example(2, "feishu", Some("upstream_timeout"), 1000.4),
        like_example(3, "feishu", Some("rate_limited"), 1001.0),
        like_example(4, "slack", Some("rate_limited"), 1001.0),
        like_example(5, "feishu", Some("rate_limited"), 1000.0),
    ];
    node.fill(stream, &events).await;

    let mut all = lenses().into_iter();
    let lens = all
        .find(|lens| lens.title == "Slow responses by error")
        .expect("the panel");
    // The control above the panels, set to one platform.
    let platform = json!({"term": {"platform": "feishu"}});
    let search = json!({
        "query": {"bool": {"must": [query(&lens.query), platform]}}, "aggs": aggregation(&lens),
    });
    let found = node.search(stream, &search).await;
    assert_eq!(found["hits"]["total"]["value"], 3);
    let buckets = found["aggregations"]["code"]["buckets"]
        .as_array()
        .expect("buckets");
    let counted: Vec<_> = buckets
        .iter()
        .map(|one| (&one["key"], &one["n"]["doc_count"]))
        .collect();
    let expected = [
        (&json!("upstream_timeout"), &json!(2)),
        (&json!("rate_limited"), &json!(1)),
    ];
    assert_eq!(counted, expected);
}
