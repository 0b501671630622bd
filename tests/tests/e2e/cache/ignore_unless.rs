//! `cache.ignore` and `cache.unless`, and what events and `Cache-Status` state about them.

use serde_json::{Value, json};
use weir_tests::backend::Backend;
use weir_tests::client::{CHAT, ClientRequest, chat_request};
use weir_tests::setup::Setup;

const ROUTE: &str = "- {name: chat, path: /v1/*, backend: assistant, cache: {scope: route, \
                      ignore: [/user, /metadata/trace, /messages/0/name], \
                      unless: {temperature_above: 0.5, tools: true}}}";

fn request(changes: &Value) -> ClientRequest {
    let mut body = chat_request("hi", false);
    body["temperature"] = json!(0);
    for (pointer, value) in changes.as_object().expect("an object") {
        body[pointer] = value.clone();
    }
    ClientRequest::json(CHAT, &body)
}

#[tokio::test]
async fn ignored_values_share_a_response_and_unless_names_those_that_bypass_the_cache() {
    let backend = Backend::chat().await;
    let proxy = Setup::new(&backend).routes(ROUTE).start().await;
    let message = |name: &str| json!([{"role": "user", "content": "hi", "name": name}]);
    let hit = "weir; hit; detail=memory";
    let miss = "weir; fwd=miss; stored";
    let mut key = Value::Null;
    for (changes, expected) in [
        (json!({"user": "a"}), miss),
        (json!({"user": {"id": 7}}), hit),
        (json!({}), hit),
        (json!({"messages": message("ann")}), hit),
        (json!({"metadata": {"trace": "1", "kind": "x"}}), miss),
        (json!({"metadata": {"kind": "x", "trace": [2]}}), hit),
        (json!({"metadata": {"kind": "y"}}), miss),
        (json!({"temperature": 0.5, "tools": []}), miss),
        (json!({"temperature": 0.6}), "bypass temperature"),
        (json!({"temperature": null}), "bypass temperature"),
        (json!({"tools": [{"type": "function"}]}), "bypass tools"),
        (json!({"tools": [{"type": "function"}]}), "bypass tools"),
    ] {
        let response = proxy.send(request(&changes)).await;
        let reason = expected.strip_prefix("bypass ");
        let status = reason.map_or(expected, |_| "weir; fwd=bypass");
        assert_eq!(response.header("cache-status"), Some(status), "{changes}");
        let event = proxy.event_of(&response).await;
        let cache = &event["weir"]["cache"];
        assert_eq!(
            cache.get("bypass").and_then(Value::as_str),
            reason,
            "{changes}"
        );
        assert_eq!(cache.get("key").is_some(), reason.is_none(), "{changes}");
        if expected == miss {
            key = cache["key"].clone();
            assert_eq!(key.as_str().map(str::len), Some(32), "{changes}");
        } else if expected == hit && changes["metadata"].is_null() {
            assert_eq!(cache["key"], key, "{changes}");
        }
    }
    let forwarded = backend.requests()[0].text();
    assert!(
        forwarded.contains(r#""user":"a""#),
        "what is ignored is forwarded: {forwarded}"
    );
}
