use super::*;

#[test]
fn questions_are_read() {
    let ask = |path: &str, body: &str| {
        let operation = Operation::of(path);
        let question = operation.map(|operation| {
            let mut reader = QuestionReader::new(operation, path);
            reader.feed(body.as_bytes());
            reader.finish()
        });
        let question = question.unwrap_or_default();
        let name = operation.map(Operation::name);
        (question.model.map(String::from), question.stream, name)
    };
    let model = |name: &str| Some(name.to_owned());
    for (path, body, expected) in [
        (
            "/v1/chat/completions",
            r#" {"messages":[{"content":"\"stream\":false"}],"model":"m","stream":true}"#,
            (model("m"), true, Some("chat")),
        ),
        (
            "/v1/completions",
            r#"{"model":"m\u0041"}"#,
            (model("mA"), false, Some("text_completion")),
        ),
        (
            "/embeddings",
            r#"{"model":"e","input":["a"],"stream":null}"#,
            (model("e"), false, Some("embeddings")),
        ),
        ("/v1/responses", r#"{}"#, (None, false, Some("chat"))),
        (
            "/v1/messages",
            r#"{"model":null}"#,
            (None, false, Some("chat")),
        ),
        ("/hooks/feishu", r#"{"model":7}"#, (None, false, None)),
        (
            "/v1/chat/completions",
            "not json",
            (None, false, Some("chat")),
        ),
        (
            "/v1/chat/completions",
            r#"["m",true]"#,
            (None, false, Some("chat")),
        ),
        (
            "/v1/chat/completions",
            r#"{"model":"m","stream":true"#,
            (None, false, Some("chat")),
        ),
        ("/v1/chat/completions", "", (None, false, Some("chat"))),
        ("/v1/models", "", (None, false, None)),
    ] {
        assert_eq!(ask(path, body), expected, "{path} {body}");
    }
}
