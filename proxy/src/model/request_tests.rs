use http::HeaderValue;

use super::*;
use crate::model::estimate::Part;

const JSON: &str = "application/json";
const FORM: &str = "multipart/form-data; boundary=cut-here";

fn read(path: &str, content_type: &str, body: &[u8], cut: usize) -> RequestFacts {
    let operation = Operation::of(path).expect("an operation");
    let content_type = HeaderValue::from_str(content_type).expect("a value");
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, content_type)]);
    let mut reader = RequestReader::of(operation, path, &headers);
    for piece in body.chunks(cut.max(1)) {
        reader.feed(piece);
    }
    reader.finish()
}

/// Reads a body in pieces of every size; they must not tell.
fn read_any_cut(path: &str, content_type: &str, body: &[u8]) -> RequestFacts {
    let whole = read(path, content_type, body, body.len());
    for cut in 1..body.len().min(70) {
        let cut_up = read(path, content_type, body, cut);
        assert_eq!(cut_up, whole, "{path} cut at {cut}");
    }
    whole
}

/// The count of a text in which `¶` begins a message, `·` a member and `#` is a token.
fn counted(text: &str) -> TextCount {
    let mut count = TextCount::default();
    for character in text.chars() {
        match character {
            '¶' => count.begin(Part::Message),
            '·' => count.begin(Part::Member),
            '#' => count.begin(Part::Token),
            _ => count.add(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    count
}

fn model_and_stream(question: &RequestFacts) -> (Option<&str>, bool) {
    (question.model.as_deref(), question.stream)
}

/// A path, a body, and what they say: model and stream.
type Row<'a> = (&'a str, &'a str, (Option<&'a str>, bool));

fn assert_said(rows: &[Row<'_>]) {
    for (path, body, expected) in rows {
        for content_type in [JSON, "application/x-www-form-urlencoded", "text/plain"] {
            let question = read_any_cut(path, content_type, body.as_bytes());
            assert_eq!(model_and_stream(&question), *expected, "{path} {body}");
        }
    }
}

#[test]
fn a_body_says_which_model_and_whether_it_wants_a_stream() {
    let chat = "/v1/chat/completions";
    assert_said(&[
        (
            chat,
            r#" {"messages":[{"content":"\"stream\":false"}],"model":"m","stream":true}"#,
            (Some("m"), true),
        ),
        (
            "/v1/completions",
            r#"{"model":"m\u0041"}"#,
            (Some("mA"), false),
        ),
        (
            "/embeddings",
            r#"{"model":"e","input":["a"],"stream":null}"#,
            (Some("e"), false),
        ),
        ("/v1/responses", "{}", (None, false)),
        ("/v1/messages", r#"{"model":null}"#, (None, false)),
        (chat, r#"{"model":7,"stream":1}"#, (None, false)),
        (
            chat,
            r#"{"model":["m"],"stream":{"stream":true}}"#,
            (None, false),
        ),
        (chat, r#"{"model":"","stream":"true"}"#, (None, false)),
        (
            chat,
            r#"{"messages":[{"model":"x","stream":true}],"metadata":{"model":"y"},"model":"m"}"#,
            (Some("m"), false),
        ),
        // Whoever reads JSON takes the last.
        (
            chat,
            r#"{"model":"a","stream":true,"model":"b","stream":false}"#,
            (Some("b"), false),
        ),
        (chat, r#"{"model":"a","model":7}"#, (None, false)),
        (chat, "not json", (None, false)),
        (chat, r#"["m",true]"#, (None, false)),
        (chat, r#"[{"model":"m","stream":true}]"#, (None, false)),
        (
            chat,
            r#"{"model":"a"}{"model":"b","stream":true}"#,
            (Some("a"), false),
        ),
        (chat, r#"{"model":"m","stream":true"#, (Some("m"), false)),
        (chat, r#"{"model":"m","stream":true,]"#, (Some("m"), true)),
        (chat, "", (None, false)),
        (chat, "\u{feff}{\"model\":\"m\"}", (Some("m"), false)),
    ]);
}

#[test]
fn a_path_says_it_too() {
    let deployment = "/openai/deployments/my%20gpt/chat/completions";
    assert_said(&[
        (deployment, r#"{"stream":true}"#, (Some("my gpt"), true)),
        (deployment, r#"{"model":"gpt-4o"}"#, (Some("gpt-4o"), false)),
        (
            "/v1beta/models/g:streamGenerateContent",
            r#"{"contents":[],"model":"models/x"}"#,
            (Some("g"), true),
        ),
        ("/v1beta/models/g:generateContent", "{}", (Some("g"), false)),
        ("/api/chat", r#"{"model":"l"}"#, (Some("l"), true)),
        (
            "/api/chat",
            r#"{"model":"l","stream":false}"#,
            (Some("l"), false),
        ),
        (
            "/api/generate",
            r#"{"model":"l","stream":null}"#,
            (Some("l"), true),
        ),
        ("/api/embed", r#"{"model":"l"}"#, (Some("l"), false)),
        (
            "/v2/chat",
            r#"{"model":"c","stream":true}"#,
            (Some("c"), true),
        ),
        (
            "/v2/rerank",
            r#"{"model":"r","query":"q"}"#,
            (Some("r"), false),
        ),
    ]);
}

#[test]
fn a_stream_may_be_asked_for_its_usage() {
    for (options, expected) in [
        (r#"{"include_usage":true}"#, true),
        (r#"{"include_usage":false}"#, false),
        (r#"{"include_usage":true,"include_usage":null}"#, false),
        (r#"{"include_usage":"true"}"#, false),
        (r#"[{"include_usage":true}]"#, false),
        (r#"{"x":{"include_usage":true}}"#, false),
        ("null", false),
    ] {
        let body = format!(r#"{{"stream":true,"stream_options":{options},"model":"m"}}"#);
        let question = read_any_cut("/v1/chat/completions", JSON, body.as_bytes());
        assert_eq!(question.asks_usage, expected, "{options}");
        assert_eq!(model_and_stream(&question), (Some("m"), true), "{options}");
    }
}

fn assert_counted(rows: &[(&str, &str, &str)]) {
    for (path, body, text) in rows {
        let question = read_any_cut(path, JSON, body.as_bytes());
        assert_eq!(question.text, counted(text), "{path} {body}");
    }
}

#[test]
fn texts_are_counted_and_what_is_no_text_is_not() {
    assert_counted(&[
        (
            "/v1/chat/completions",
            r#"{"model":"m","user":"u","messages":[{"role":"user","content":"h\u00e9\n你"},
                {"role":"user","content":[{"type":"text","text":"look"},
                {"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}},
                {"type":"input_audio","input_audio":{"data":"AAAA","format":"wav"}}]}]}"#,
            "¶hé\n你¶look",
        ),
        (
            "/v1/chat/completions",
            r#"{"messages":[{"role":"assistant","content":null,"tool_calls":[{"id":"call_1",
                "type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]},
                {"role":"tool","tool_call_id":"call_1","content":"sun"}],
                "tools":[{"type":"function","function":{"name":"f","parameters":{"maximum":12}}}]}"#,
            "¶f{\"a\":1}¶sun·typefunction·function·namef·parameters·maximum12",
        ),
        (
            "/v1/messages",
            r#"{"system":[{"type":"text","text":"be","cache_control":{"type":"ephemeral"}}],
                "messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64",
                "media_type":"image/png","data":"AAAA"}},{"type":"text","text":"brief"}]}]}"#,
            "be¶brief",
        ),
        (
            "/v1/responses",
            r#"{"instructions":"be","input":[{"role":"user","content":[{"type":"input_text",
                "text":"brief"},{"type":"input_image","image_url":"https://a.test/b.png"},
                {"type":"input_file","filename":"f","file_data":"AAAA"}]},
                {"type":"reasoning","id":"rs_1","encrypted_content":"AAAA"}]}"#,
            "be¶brief",
        ),
        (
            "/v1/responses",
            r#"{"input":"be brief","previous_response_id":"r"}"#,
            "be brief",
        ),
        (
            "/v1/completions",
            r#"{"prompt":["a","b"],"suffix":"c"}"#,
            "abc",
        ),
        (
            "/v1/embeddings",
            r#"{"input":[[1,2,3],"x"],"encoding_format":"float"}"#,
            "###x",
        ),
    ]);
}

#[test]
fn texts_of_other_formats_are_counted() {
    assert_counted(&[
        (
            "/v1beta/models/g:generateContent",
            r#"{"systemInstruction":{"parts":[{"text":"be"}]},"contents":[{"role":"user",
                "parts":[{"text":"brief"},{"inlineData":{"mimeType":"image/png","data":"AAAA"}},
                {"functionCall":{"name":"f","args":{"k":"v"}}}]}],
                "safetySettings":[{"category":"c"}]}"#,
            "be¶brieff·kv",
        ),
        (
            "/v1beta/models/e:batchEmbedContents",
            r#"{"requests":[{"model":"models/e","content":{"parts":[{"text":"x"}]}}]}"#,
            "x",
        ),
        (
            "/api/generate",
            r#"{"system":"be","prompt":"brief","images":["AAAA"],"options":{"stop":["s"]}}"#,
            "bebrief",
        ),
        (
            "/v2/rerank",
            r#"{"query":"q","documents":["a",{"text":"b"}],"top_n":3}"#,
            "qab",
        ),
        (
            "/v1/chat",
            r#"{"message":"hi","chat_history":[{"role":"USER","message":"ho"}],"preamble":"p"}"#,
            "hi¶hop",
        ),
    ]);
}

fn form(parts: &[(&str, &str)]) -> String {
    let parts = parts.iter().map(|(head, value)| {
        format!("--cut-here\r\nContent-Disposition: form-data; {head}\r\n\r\n{value}\r\n")
    });
    format!("{}--cut-here--\r\n", parts.collect::<String>())
}

#[test]
fn forms_are_read() {
    let recording = "\r\n--cut-her\r\r\n--cut\n\0\r\n-".repeat(9);
    let file = (
        "name=file; filename=\"a;b=c\\\".wav\"\r\nContent-Type: audio/wav",
        &*recording,
    );
    for (parts, model, stream, text) in [
        (
            vec![("name=\"model\"", "whisper-1"), file],
            Some("whisper-1"),
            false,
            "",
        ),
        (
            vec![
                file,
                ("name=\"stream\"", "true"),
                ("NAME=prompt", "be brief\r\n--cut"),
                ("name=\"model\"", " m "),
            ],
            Some("m"),
            true,
            "be brief\r\n--cut",
        ),
        (
            vec![("name=\"stream\"", "false"), ("name=x", "model")],
            None,
            false,
            "",
        ),
        (vec![("name=\"model\"", "")], None, false, ""),
        (
            vec![("name=\"model\"; filename=\"m\"", "x")],
            Some("x"),
            false,
            "",
        ),
        (vec![("x=\"name=model\"; name=\"y\"", "x")], None, false, ""),
        (vec![], None, false, ""),
    ] {
        let body = form(&parts);
        for content_type in [
            FORM,
            "Multipart/Form-Data; charset=utf-8; boundary=\"cut-here\"",
        ] {
            for preamble in ["", "a preamble\r\n"] {
                let body = format!("{preamble}{body}").into_bytes();
                let question = read_any_cut("/v1/audio/transcriptions", content_type, &body);
                assert_eq!(model_and_stream(&question), (model, stream), "{parts:?}");
                // White space behind it is nothing.
                assert_eq!(question.text.tokens(), counted(text).tokens(), "{parts:?}");
            }
        }
    }
}

#[test]
fn a_form_whose_lines_end_with_lf_is_read() {
    let file = ("name=file; filename=a.wav", "RIFF\n--cut\n\0");
    let body = form(&[("name=prompt", "be\nbrief"), file, ("name=model", "m")]);
    let body = body.replace("\r\n", "\n");
    let question = read_any_cut("/v1/audio/transcriptions", FORM, body.as_bytes());
    assert_eq!(question.model.as_deref(), Some("m"));
    assert_eq!(question.text, counted("be\nbrief"));
}

#[test]
fn a_form_that_is_none_says_nothing() {
    let body = form(&[("name=model", "m")]);
    for content_type in [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=another",
        "multipart/form-datax; boundary=cut-here",
    ] {
        let question = read_any_cut("/v1/images/edits", content_type, body.as_bytes());
        assert_eq!(question, RequestFacts::default(), "{content_type}");
    }
    // A delimiter that is not behind a line is content; behind the last one, nothing counts.
    let body = format!("x--cut-here\r\n{body}{body}");
    let question = read_any_cut("/v1/images/edits", FORM, body.as_bytes());
    assert_eq!(question.model.as_deref(), Some("m"));
}

#[test]
fn what_is_held_does_not_grow_with_the_body() {
    let huge = "x".repeat(1 << 20);
    let json = format!(r#"{{"model":"{huge}","messages":[{{"content":"{huge}"}}],"{huge}":1}}"#);
    let question = read("/v1/chat/completions", JSON, json.as_bytes(), 1009);
    assert_eq!(question.model.map(|model| model.len()), Some(128));
    assert_eq!(question.text, counted(&huge));
    let head = format!("name=model\r\nX-Long: {huge}");
    let body = form(&[(&head, &huge), ("name=prompt", &huge)]);
    let question = read("/v1/images/edits", FORM, body.as_bytes(), 1009);
    assert_eq!(question.model.map(|model| model.len()), Some(128));
    assert_eq!(question.text.tokens(), counted(&huge).tokens());
}
