//! Errors of the settings of schemes, and of signing.

/// Why a scheme cannot be built from its settings. No message repeats a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemeError {
    /// The owner of the secrets.
    #[error("{0} has no secret, or only empty ones; add at least one")]
    NoSecret(String),
    #[error("{0} has no clients; add `secrets` or `clients`")]
    NoClients(&'static str),
    #[error("feishu has neither `secrets` nor a `verification_token`")]
    NoToken,
    #[error(
        "secret {position} of client {client:?} is not valid in the `key_encoding` of this entry"
    )]
    UndecodableSecret { position: usize, client: String },
    #[error(
        "secret {position} of client {client:?} begins with sha256: but is not followed by 64 hex digits"
    )]
    InvalidHash { position: usize, client: String },
    #[error("HMAC takes no key of this length")]
    KeyLength,
    #[error("signed: {0}")]
    Template(#[from] TemplateError),
}

/// Why a template of what is signed is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("{rest:?} does not begin with any of {known}")]
    UnknownPlaceholder { rest: String, known: String },
    #[error("names no part of the request; write {{timestamp}}.{{id}}.{{body}}")]
    NoPart,
    #[error("{0} appears twice")]
    Twice(&'static str),
    #[error("put a separator between {0} and {1}")]
    NoSeparator(&'static str, &'static str),
}

/// Why a request cannot be signed. No message repeats a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    #[error("the secret is empty")]
    EmptySecret,
    #[error("scheme {scheme:?} is not in this version; one of: {known}")]
    UnknownScheme { scheme: String, known: String },
    #[error("--id must be printable ASCII without spaces")]
    InvalidId,
    #[error("the key must be printable ASCII without spaces")]
    InvalidKey,
    #[error("the id must not contain \".\", which separates it in the signed text")]
    SeparatorInId,
    #[error("sha256:HEX is how a key is stored; sign with the key itself")]
    HashOfKey,
    #[error("its hmac has parts of its own, which weir does not sign")]
    CustomHmac,
    #[error("HMAC takes no key of this length")]
    KeyLength,
}
