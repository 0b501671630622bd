use http::HeaderValue;

use super::*;
use crate::model::estimate::TextPart;

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

/// Reads a body in pieces of every size, with the same result.
fn read_in_any_pieces(path: &str, content_type: &str, body: &[u8]) -> RequestFacts {
    let whole = read(path, content_type, body, body.len());
    for cut in 1..body.len().min(70) {
        let in_pieces = read(path, content_type, body, cut);
        assert_eq!(in_pieces, whole, "{path} cut at {cut}");
    }
    whole
}

/// The estimate for a text in which `¶` begins a message, `·` a member and `#` is a token.
fn counted(text: &str) -> TokenEstimator {
    let mut count = TokenEstimator::default();
    for character in text.chars() {
        match character {
            '¶' => count.begin(TextPart::Message),
            '·' => count.begin(TextPart::Member),
            '#' => count.begin(TextPart::Token),
            _ => count.add(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    count
}

fn model_and_stream(request: &RequestFacts) -> (Option<&str>, bool) {
    (request.model.as_deref(), request.stream)
}

/// A path, a body, and the expected model and stream.
type Row<'a> = (&'a str, &'a str, (Option<&'a str>, bool));

fn assert_read(rows: &[Row<'_>]) {
    for (path, body, expected) in rows {
        for content_type in [JSON, "application/x-www-form-urlencoded", "text/plain"] {
            let request = read_in_any_pieces(path, content_type, body.as_bytes());
            assert_eq!(model_and_stream(&request), *expected, "{path} {body}");
        }
    }
}

#[test]
fn model_and_stream_are_read_from_the_body() {
    let chat = "/v1/chat/completions";
    assert_read(&[
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
        // Of duplicate members the last one counts.
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
fn model_and_stream_are_read_from_the_path() {
    let deployment = "/openai/deployments/my%20gpt/chat/completions";
    assert_read(&[
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
fn include_usage_is_read() {
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
        let request = read_in_any_pieces("/v1/chat/completions", JSON, body.as_bytes());
        assert_eq!(request.include_usage, expected, "{options}");
        assert_eq!(model_and_stream(&request), (Some("m"), true), "{options}");
    }
}

fn assert_counted(rows: &[(&str, &str, &str)]) {
    for (path, body, text) in rows {
        let request = read_in_any_pieces(path, JSON, body.as_bytes());
        assert_eq!(request.text, counted(text), "{path} {body}");
    }
}

#[test]
fn only_texts_are_counted() {
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
                let request = read_in_any_pieces("/v1/audio/transcriptions", content_type, &body);
                assert_eq!(model_and_stream(&request), (model, stream), "{parts:?}");
                // Trailing white space costs nothing.
                assert_eq!(request.text.tokens(), counted(text).tokens(), "{parts:?}");
            }
        }
    }
}

#[test]
fn a_form_whose_lines_end_with_lf_is_read() {
    let file = ("name=file; filename=a.wav", "RIFF\n--cut\n\0");
    let body = form(&[("name=prompt", "be\nbrief"), file, ("name=model", "m")]);
    let body = body.replace("\r\n", "\n");
    let request = read_in_any_pieces("/v1/audio/transcriptions", FORM, body.as_bytes());
    assert_eq!(request.model.as_deref(), Some("m"));
    assert_eq!(request.text, counted("be\nbrief"));
}

#[test]
fn nothing_is_read_from_an_invalid_form() {
    let body = form(&[("name=model", "m")]);
    for content_type in [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=another",
        "multipart/form-datax; boundary=cut-here",
    ] {
        let request = read_in_any_pieces("/v1/images/edits", content_type, body.as_bytes());
        assert_eq!(request, RequestFacts::default(), "{content_type}");
    }
    // A delimiter within a line is content; whatever follows the last one is ignored.
    let body = format!("x--cut-here\r\n{body}{body}");
    let request = read_in_any_pieces("/v1/images/edits", FORM, body.as_bytes());
    assert_eq!(request.model.as_deref(), Some("m"));
}

#[test]
fn held_bytes_do_not_grow_with_the_body() {
    let huge = "x".repeat(1 << 20);
    let json = format!(r#"{{"model":"{huge}","messages":[{{"content":"{huge}"}}],"{huge}":1}}"#);
    let request = read("/v1/chat/completions", JSON, json.as_bytes(), 1009);
    assert_eq!(request.model.map(|model| model.len()), Some(128));
    assert_eq!(request.text, counted(&huge));
    let head = format!("name=model\r\nX-Long: {huge}");
    let body = form(&[(&head, &huge), ("name=prompt", &huge)]);
    let request = read("/v1/images/edits", FORM, body.as_bytes(), 1009);
    assert_eq!(request.model.map(|model| model.len()), Some(128));
    assert_eq!(request.text.tokens(), counted(&huge).tokens());
}
