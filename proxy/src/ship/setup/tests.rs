use super::*;

fn stream() -> DataStreamSpec {
    let mut config = Config::fixture();
    config.data_stream = "logs-weir.access-default".to_owned();
    config.retention = Duration::from_secs(30 * 86_400);
    DataStreamSpec::new(&config, Dataset::Access)
}

#[test]
fn the_server_is_identified_by_its_root_response() {
    let opensearch = br#"{"version":{"distribution":"opensearch","number":"2.19.1"}}"#;
    assert_eq!(server_of(opensearch), Server::OpenSearch);
    let elasticsearch = br#"{"name":"a","version":{"number":"8.17.0"},"tagline":"x"}"#;
    assert_eq!(server_of(elasticsearch), Server::Elasticsearch);
    assert_eq!(server_of(b"<html>"), Server::Elasticsearch);
    assert_eq!(server_of(b"{}"), Server::Elasticsearch);
}

#[test]
fn only_permanent_errors_reject_the_set_up() {
    for status in [200, 201, 409] {
        assert_eq!(outcome_of(status, b""), SetUp::Done);
    }
    for status in [401, 408, 429, 500, 503] {
        assert!(
            matches!(outcome_of(status, b"x"), SetUp::Unavailable(_)),
            "{status}"
        );
    }
    for status in [400, 403, 404, 405] {
        assert!(
            matches!(outcome_of(status, b"x"), SetUp::Rejected(_)),
            "{status}"
        );
    }
}

#[test]
fn templates_and_policies_have_the_pattern_and_the_retention() {
    let stream = stream();
    let steps = templates(&stream, Retention::Lifecycle);
    let paths: Vec<_> = steps.iter().map(|step| &*step.path).collect();
    assert_eq!(
        paths,
        [
            "/_component_template/weir.access-mappings",
            "/_component_template/weir.access-settings",
            "/_index_template/weir.access"
        ]
    );
    let fields = &steps[0].body["template"]["mappings"]["properties"];
    assert_eq!(fields["platform"]["type"], "keyword");
    assert_eq!(fields["error_code"]["type"], "keyword");
    assert_eq!(fields["response_time"]["type"], "double");
    let settings = &steps[1].body["template"]["settings"];
    assert_eq!(settings["index.lifecycle.name"], "weir.access");
    assert_eq!(steps[2].body["index_patterns"][0], "logs-weir.access-*");
    assert_eq!(steps[2].body["template"], Value::Null);
    let steps = templates(&stream, Retention::DataStream);
    assert_eq!(
        steps[1].body["template"]["settings"]["index.lifecycle.name"],
        Value::Null
    );
    assert_eq!(
        steps[2].body["template"]["lifecycle"]["data_retention"],
        "30d"
    );
    let policy = lifecycle_policy(&stream);
    assert_eq!(policy.path, "/_ilm/policy/weir.access");
    assert_eq!(policy.body["policy"]["phases"]["delete"]["min_age"], "30d");
    let policy = state_policy(&stream).body;
    assert_eq!(
        policy["policy"]["ism_template"][0]["index_patterns"][0],
        "logs-weir.access-*"
    );
}

#[test]
fn every_field_of_an_event_has_a_mapping() {
    fn missing(event: &Value, mapping: &Value, path: &str, out: &mut Vec<String>) {
        let Value::Object(members) = event else {
            return;
        };
        for (name, value) in members {
            let path = format!("{path}.{name}");
            match &mapping["properties"][name] {
                Value::Null => out.push(path),
                field => missing(value, field, &path, out),
            }
        }
    }
    let event = include_str!("../../../tests/vectors/event.json");
    let event: Value = serde_json::from_str(event).expect("an event");
    // Fields that only some settings add.
    let optional = json!({"weir": {"sampling_ratio": 0.1, "content": {
        "input": "", "output": "", "input_sha256": "", "output_sha256": ""
    }}});
    let mappings: Value = serde_json::from_str(stream().mappings).expect("mappings");
    let mut out = Vec::new();
    for event in [&event, &optional] {
        missing(event, &mappings["template"]["mappings"], "", &mut out);
    }
    assert_eq!(out, Vec::<String>::new());
}

#[test]
fn times_are_written_in_days_or_hours() {
    assert_eq!(age(Duration::from_secs(86_400)), "1d");
    assert_eq!(age(Duration::from_secs(90_000)), "25h");
    assert_eq!(age(Duration::from_secs(1)), "1h");
}
