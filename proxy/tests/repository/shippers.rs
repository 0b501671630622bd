//! Filebeat and Logstash ship the event file with the same ids and to the same data stream as weir.

use serde_json::{Value, json};

use crate::files::read;

const FILEBEAT: &str = "deploy/filebeat/filebeat.yml";
const LOGSTASH: &str = "deploy/logstash/weir.conf";

/// The default data stream of weir.
const DATA_STREAM: &str = "logs-weir.access-default";

fn filebeat() -> Value {
    serde_saphyr::from_str(&read(FILEBEAT)).unwrap_or_else(|error| panic!("{FILEBEAT}: {error}"))
}

/// The lines of the pipeline, trimmed, without comments and empty lines.
fn logstash() -> Vec<String> {
    read(LOGSTASH)
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn filebeat_uses_the_event_id_as_document_id() {
    let settings = filebeat();
    let inputs = settings["filebeat.inputs"].as_array().expect("inputs");
    assert_eq!(inputs.len(), 1);
    let input = &inputs[0];
    assert_eq!(input["type"], "filestream");
    assert_eq!(input["id"], "weir-access");
    let ndjson = &input["parsers"][0]["ndjson"];
    assert_eq!(ndjson["document_id"], "event.id");
    assert_eq!(ndjson["target"], "");
    assert_eq!(ndjson["overwrite_keys"], true);
    // The parser removes the id from the event; it is restored from its copy.
    let restored = &settings["processors"][0]["copy_fields"]["fields"][0];
    assert_eq!(
        restored,
        &json!({"from": "http.request.id", "to": "event.id"})
    );
    let dropped = settings["processors"][1]["drop_fields"]["fields"].clone();
    assert_eq!(dropped, json!(["agent", "host", "input", "log"]));

    let output = &settings["output.elasticsearch"];
    assert_eq!(output["index"], DATA_STREAM);
    assert_eq!(settings["setup.template.enabled"], false);
    assert_eq!(settings["setup.ilm.enabled"], false);
}

#[test]
fn fields_dropped_or_restored_by_filebeat_match_the_event() {
    let text = read("proxy/tests/vectors/event.json");
    let example: Value = serde_json::from_str(&text).expect("the example of an event");
    assert_eq!(example["event"]["id"], example["http"]["request"]["id"]);
    for name in ["agent", "host", "input", "log"] {
        assert!(example.get(name).is_none(), "an event has a field {name}");
    }
    let line = event_line_bytes(&example);
    let length = &filebeat()["filebeat.inputs"][0]["prospector.scanner.fingerprint"]["length"];
    let length = length.as_u64().expect("a length in bytes");
    // A file that is shorter than the fingerprint is not read, so one event must be enough.
    assert!(
        length < line,
        "the fingerprint has {length} bytes, an event {line}"
    );
}

/// The length of the shortest event: without optional fields.
fn event_line_bytes(example: &Value) -> u64 {
    let required = [
        "@timestamp",
        "ecs",
        "event",
        "platform",
        "response_time",
        "route",
        "client",
        "http",
        "url",
        "service",
    ];
    let fields = example.as_object().expect("an object").iter();
    let shortest: serde_json::Map<_, _> = fields
        .filter(|(name, _)| required.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    Value::Object(shortest).to_string().len() as u64
}

#[test]
fn logstash_creates_documents_with_the_event_id() {
    let lines = logstash();
    for expected in [
        format!("index => \"{DATA_STREAM}\""),
        "action => \"create\"".to_owned(),
        "document_id => \"%{[event][id]}\"".to_owned(),
        "data_stream => \"false\"".to_owned(),
        "manage_template => false".to_owned(),
        "if ![event][id] {".to_owned(),
    ] {
        let times = lines.iter().filter(|line| **line == expected).count();
        assert_eq!(times, 1, "{LOGSTASH}: {expected}");
    }
    let sections: Vec<_> = lines
        .iter()
        .filter(|line| ["input {", "filter {", "output {"].contains(&line.as_str()))
        .collect();
    assert_eq!(sections, ["input {", "filter {", "output {"]);
}

#[test]
fn the_braces_of_the_logstash_pipeline_match() {
    let mut open = 0_i32;
    for line in logstash() {
        // Quoted strings contain braces of their own: ${NAME} and %{[field]}.
        let code: String = line.split('"').step_by(2).collect();
        open += code.matches('{').count() as i32 - code.matches('}').count() as i32;
        assert!(open >= 0, "{LOGSTASH}: unmatched closing brace in {line:?}");
        assert_eq!(line.matches('"').count() % 2, 0, "{LOGSTASH}: {line:?}");
    }
    assert_eq!(open, 0, "{LOGSTASH}: unmatched opening brace");
}
