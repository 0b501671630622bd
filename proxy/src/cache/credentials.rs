//! Which headers carry a credential, judged by their names.

/// Words in the names of headers that identify a user.
const WORDS: [&str; 9] = [
    "auth",
    "authorization",
    "cookie",
    "credential",
    "key",
    "apikey",
    "password",
    "secret",
    "token",
];
/// A key of the request, not of its client.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Whether a word in the name of a header (in lower case) suggests that it identifies a user.
pub(crate) fn may_carry_credential(name: &str) -> bool {
    name != IDEMPOTENCY_KEY && name.split(['-', '_']).any(|word| WORDS.contains(&word))
}

/// Whether the name ends with such a word, as those of all known API keys and tokens do. It is asked of every header of a
/// request.
#[inline]
pub(super) fn ends_as_credential(name: &str) -> bool {
    let end = name.rfind(['-', '_']).map_or(0, |separator| separator + 1);
    WORDS.contains(&&name[end..]) && name != IDEMPOTENCY_KEY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_known_by_the_words_of_their_names() {
        for (name, may, ends) in [
            ("authorization", true, true),
            ("proxy-authorization", true, true),
            ("x-api-key", true, true),
            ("api_key", true, true),
            ("apikey", true, true),
            ("x-goog-api-key", true, true),
            ("ocp-apim-subscription-key", true, true),
            ("x-auth-token", true, true),
            ("x-auth-request-email", true, false),
            ("idempotency-key", false, false),
            ("accept", false, false),
            ("if-none-match", false, false),
            ("x-monkey", false, false),
            ("", false, false),
        ] {
            assert_eq!(may_carry_credential(name), may, "{name}");
            assert_eq!(ends_as_credential(name), ends, "{name}");
        }
    }
}
