//! Whether a model call creates something that outlives it, so that repeating it would create it twice.

use memchr::memmem;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::operation::Operation;

/// The members of a request to the Responses API that matter here.
#[derive(Deserialize)]
struct ResponsesRequest {
    /// A job that goes on after the response.
    background: Option<bool>,
    /// Input and output are appended to it.
    conversation: Option<IgnoredAny>,
}

/// Whether a request for `operation` with this body starts a job or appends to a conversation. A body that is no plain JSON
/// is taken for one that does not.
#[must_use]
pub fn creates_state(operation: Operation, body: &[u8]) -> bool {
    if operation != Operation::Responses {
        return false;
    }
    let names = [&b"\"background\""[..], b"\"conversation\""];
    if !names.iter().any(|name| memmem::find(body, name).is_some()) {
        return false;
    }
    serde_json::from_slice::<ResponsesRequest>(body)
        .is_ok_and(|request| request.background == Some(true) || request.conversation.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_and_conversations_create_something() {
        for (body, expected) in [
            (r#"{"input":"a","background":true}"#, true),
            (r#"{"input":"a","conversation":"c1"}"#, true),
            (r#"{"input":"a","conversation":{"id":"c1"}}"#, true),
            (
                r#"{"input":"a","background":false,"conversation":null}"#,
                false,
            ),
            (r#"{"input":"the \"background\" of it"}"#, false),
            (r#"{"input":"a"}"#, false),
            ("\u{1f}\u{8b}", false),
        ] {
            assert_eq!(
                creates_state(Operation::Responses, body.as_bytes()),
                expected,
                "{body}"
            );
            assert!(!creates_state(Operation::Chat, body.as_bytes()), "{body}");
        }
    }
}
