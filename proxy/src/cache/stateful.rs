//! Which questions may be answered by what was answered before.
//!
//! Only those whose answer comes from the question alone. A call that makes or changes an object (a file,
//! a batch, a thread, an image), or that goes on from what the backend remembers, is asked each time: its
//! answer is the number of a thing, and two askers want two things.

use crate::model::operation::Operation;

/// How a route came to this path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// The configuration names this very path: whoever switched its cache on knows what is asked there.
    Exactly,
    /// It lies under a wildcard, with whatever else lies there.
    ByWildcard,
}

/// Collections whose members come and go by calls, in OpenAI's, Anthropic's and Gemini's APIs. A path
/// through one of them asks for such a call.
const COLLECTIONS: [&str; 23] = [
    "assistants",
    "audio",
    "batches",
    "cachedcontents",
    "chatkit",
    "containers",
    "conversations",
    "evals",
    "files",
    "filesearchstores",
    "fine-tunes",
    "fine_tuning",
    "images",
    "interactions",
    "predictions",
    "realtime",
    "skills",
    "threads",
    "tunedmodels",
    "uploads",
    "vector_stores",
    "video",
    "videos",
];

/// Whether a question at this path can have been answered before, whatever its body says. Under a wildcard
/// only what is known to be a question is one.
pub(super) fn is_question(path: &str, operation: Option<Operation>, named: Named) -> bool {
    match (operation, named) {
        (Some(operation), _) if operation.creates() => false,
        // Nothing else ends like this, and what stands before it is anybody's own (`/assistants/v1/...`,
        // a deployment called `images`).
        (Some(Operation::Chat), _) => true,
        (Some(_), _) | (None, Named::Exactly) => !leads_into_a_collection(path),
        (None, Named::ByWildcard) => false,
    }
}

/// A slash may be encoded, and a segment have more behind its name: there are backends that take `files;a=1`
/// for `files`.
fn leads_into_a_collection(path: &str) -> bool {
    let path = path.as_bytes();
    let mut begin = 0;
    (0..=path.len()).any(|at| {
        let ends = match path.get(at..) {
            Some([] | [b'/', ..]) => 1,
            Some([b'%', b'2', b'f' | b'F', ..]) => 3,
            _ => return false,
        };
        let segment = &path[begin.min(at)..at];
        begin = at + ends;
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let word = segment.iter().position(|byte| !is_word(byte));
        let name = &segment[..word.unwrap_or(segment.len())];
        COLLECTIONS
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
    })
}

/// What the members of a question say of state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    store: Store,
    reach: Reach,
}

/// Whether the backend is to keep the answer as an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Store {
    #[default]
    Unsaid,
    No,
    Yes,
}

/// What an answer depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Reach {
    #[default]
    Question,
    /// Also on what the backend remembers, or it is the number of something that it will do.
    Beyond,
}

impl State {
    /// Reads one member of the question itself, as its canonical text has it: the name with its quotes.
    #[inline]
    pub(super) fn note(&mut self, name: &[u8], value: &[u8]) {
        match name {
            b"\"store\"" => {
                self.store = match value {
                    b"null" => Store::Unsaid,
                    b"false" => Store::No,
                    _ => Store::Yes,
                }
            }
            b"\"previous_response_id\""
            | b"\"previous_interaction_id\""
            | b"\"conversation\""
            | b"\"conversation_id\""
            | b"\"thread_id\""
            | b"\"session_id\""
            | b"\"container\""
                if !matches!(value, b"null" | b"\"\"") =>
            {
                self.reach = Reach::Beyond;
            }
            b"\"background\"" | b"\"deferred\"" if !matches!(value, b"null" | b"false") => {
                self.reach = Reach::Beyond;
            }
            _ => {}
        }
    }

    /// Whether the answer comes from the question alone. Who asks for a response and does not say
    /// otherwise has it stored.
    pub(super) fn is_none(self, operation: Option<Operation>) -> bool {
        let stored = match self.store {
            Store::Yes => true,
            Store::No => false,
            Store::Unsaid => operation == Some(Operation::Responses),
        };
        self.reach == Reach::Question && !stored
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(members: &[(&str, &str)]) -> State {
        let mut state = State::default();
        for (name, value) in members {
            state.note(format!("\"{name}\"").as_bytes(), value.as_bytes());
        }
        state
    }

    #[test]
    fn a_response_is_a_question_only_when_it_is_not_stored() {
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
                read(members).is_none(Some(Responses)),
                responses,
                "{members:?}"
            );
            for operation in [Some(Chat), Some(Messages), Some(Embeddings), None] {
                let said = read(members).is_none(operation);
                assert_eq!(said, others, "{members:?} {operation:?}");
            }
        }
    }

    #[test]
    fn whoever_goes_on_from_before_or_wants_it_later_is_answered_anew() {
        let not_stored = ("store", "false");
        for (name, value, alone) in [
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
            ("user", "\"conversation\"", true),
            ("conversations", "\"x\"", true),
        ] {
            for operation in [Some(Operation::Responses), Some(Operation::Chat), None] {
                let state = read(&[not_stored, (name, value)]);
                assert_eq!(state.is_none(operation), alone, "{name}: {value}");
            }
        }
    }

    #[test]
    fn under_a_wildcard_only_what_is_known_is_a_question() {
        use Named::{ByWildcard, Exactly};
        for (path, exactly, by_wildcard) in [
            ("/v1/chat/completions", true, true),
            ("/assistants/v1/chat/completions", true, true),
            ("/openai/deployments/images/chat/completions", true, true),
            ("/v1/completions", true, true),
            ("/v1/responses", true, true),
            ("/anthropic/v1/messages", true, true),
            ("/v1/embeddings", true, true),
            ("/ask", true, false),
            ("/v1/some_new_objects", true, false),
            ("/v1/responses/resp_1/cancel", true, false),
            ("/v1/filesystem", true, false),
            ("/v1/files", false, false),
            ("/v1/Files/", false, false),
            ("/files", false, false),
            ("/v1/uploads/u/parts", false, false),
            ("/v1/batches", false, false),
            ("/v1/messages/batches", false, false),
            ("/v1/threads", false, false),
            ("/v1/threads/t/messages", false, false),
            ("/v1/threads/t/runs", false, false),
            ("/v1/threads%2Ft/messages", false, false),
            ("/v1/threads;v=2/t/messages", false, false),
            ("/v1/files%20/f", false, false),
            ("/v1%2fthreads/t/messages", false, false),
            ("/v1/conversations/c/responses", false, false),
            ("/v1/assistants", false, false),
            ("/v1/vector_stores/v/search", false, false),
            ("/v1/fine_tuning/jobs", false, false),
            ("/v1/containers/c/files", false, false),
            ("/v1/evals/e/runs", false, false),
            ("/v1/images/generations", false, false),
            ("/v1/audio/speech", false, false),
            ("/v1/videos", false, false),
            ("/v1beta/cachedContents", false, false),
        ] {
            let operation = Operation::of(path);
            assert_eq!(is_question(path, operation, Exactly), exactly, "{path}");
            assert_eq!(
                is_question(path, operation, ByWildcard),
                by_wildcard,
                "{path}"
            );
        }
    }
}
