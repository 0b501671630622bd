use super::*;
use crate::model::json::JsonScanner;

fn statefulness(operation: Option<Operation>, body: &str) -> Statefulness {
    let mut statefulness = Statefulness::new(operation);
    JsonScanner::new().feed(body.as_bytes(), &mut statefulness);
    statefulness
}

fn is_stateless(operation: Option<Operation>, members: &[(&str, &str)]) -> bool {
    let members = members.iter();
    let members = members.map(|(name, value)| format!("\"{name}\":{value}"));
    let body = format!("{{{}}}", members.collect::<Vec<_>>().join(","));
    statefulness(operation, &body).is_none()
}

#[test]
fn a_call_of_the_responses_api_is_stateful_unless_it_is_not_stored() {
    use Operation::{Chat, Embeddings, Messages, Responses};
    for (members, responses, others) in [
        (&[][..], false, true),
        (&[("store", "null")], false, true),
        (&[("store", "true")], false, false),
        (&[("store", "\"false\"")], false, false),
        (&[("store", "0")], false, false),
        (&[("store", "false")], true, true),
    ] {
        assert_eq!(
            is_stateless(Some(Responses), members),
            responses,
            "{members:?}"
        );
        for operation in [Some(Chat), Some(Messages), Some(Embeddings), None] {
            let stateless = is_stateless(operation, members);
            assert_eq!(stateless, others, "{members:?} {operation:?}");
        }
    }
}

#[test]
fn conversations_and_deferred_work_are_stateful() {
    let not_stored = ("store", "false");
    for (name, value, expected) in [
        ("previous_response_id", "\"resp_1\"", false),
        ("previous_response_id", "null", true),
        ("previous_response_id", "\"\"", true),
        ("previous_interaction_id", "\"i\"", false),
        ("conversation", "\"conv_1\"", false),
        ("conversation", "{\"id\":\"conv_1\"}", false),
        ("conversation", "null", true),
        ("conversation_id", "\"c\"", false),
        ("conversation_id", "\"\"", true),
        ("thread_id", "7", false),
        ("session_id", "\"s\"", false),
        ("container", "\"cntr_1\"", false),
        ("container", "{\"skills\":[]}", false),
        ("background", "true", false),
        ("background", "false", true),
        ("background", "null", true),
        ("deferred", "true", false),
        ("deferred", "false", true),
        ("conversationId", "\"c\"", false),
        ("sessionId", "\"s\"", false),
        ("threadId", "\"t\"", false),
        ("previousResponseId", "\"r\"", false),
        ("chat_id", "\"c\"", false),
        ("chatId", "7", false),
        ("session", "{\"id\":1}", false),
        ("thread", "\"t\"", false),
        ("parent_message_id", "\"m\"", false),
        ("parent_id", "\"m\"", false),
        ("parent_id", "null", true),
        ("assistant_id", "\"a\"", false),
        ("user", "\"conversation\"", true),
        ("conversations", "\"x\"", true),
    ] {
        for operation in [Some(Operation::Responses), Some(Operation::Chat), None] {
            let members = [not_stored, (name, value)];
            assert_eq!(
                is_stateless(operation, &members),
                expected,
                "{name}: {value}"
            );
        }
    }
}

#[test]
fn tools_of_the_provider_and_references_are_stateful() {
    for (body, expected) in [
        (r#"{"input":"a"}"#, true),
        (r#"{"input":"a","tools":[],"prompt":null}"#, true),
        (r#"{"tools":[{"type":"function","name":"f"}]}"#, true),
        (r#"{"tools":[{"name":"f","type":"custom"}]}"#, true),
        (r#"{"tools":[{"type":"web_search"}]}"#, false),
        (
            r#"{"tools":[{"type":"function"},{"type":"file_search","vector_store_ids":["v"]}]}"#,
            false,
        ),
        (
            r#"{"tools":[{"type":"mcp","server_url":"u"},{"type":"function"}]}"#,
            false,
        ),
        (r#"{"tools":[{"t\u0079pe":"code_interpreter"}]}"#, false),
        (r#"{"tools":[{"name":"f"}]}"#, false),
        (r#"{"input":[{"role":"user","content":"a"}]}"#, true),
        (
            r#"{"input":[{"type":"message","role":"user","content":[{"type":"x"}]}]}"#,
            true,
        ),
        (
            r#"{"input":[{"type":"function_call_output","output":"1"}]}"#,
            true,
        ),
        (
            r#"{"input":[{"type":"item_reference","id":"msg_1"}]}"#,
            false,
        ),
        (
            r#"{"input":[{"content":"a"},{"id":"msg_1","type":"item_reference"}]}"#,
            false,
        ),
        (r#"{"input":[{"id":"msg_1"}]}"#, false),
        (r#"{"input":[{"id":"msg_1","type":null}]}"#, false),
        (r#"{"prompt":{"id":"pmpt_1"}}"#, false),
    ] {
        let body = body.replacen('{', r#"{"store":false,"#, 1);
        let statefulness = statefulness(Some(Operation::Responses), &body);
        assert_eq!(statefulness.is_none(), expected, "{body}");
    }
}
