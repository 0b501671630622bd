//! How settings are declared, read and reported: a file is parsed into a tree with positions (`tree`), its
//! `${...}` are replaced (`interpolate`), and it is decoded into raw settings that are declared once for decoding,
//! defaults and schema (`declare`, `decode`, `schema`). All errors are reported at once (`diagnostic`), with
//! quoted lines in which secrets are masked (`quote`).
//!
//! No key of `weir.yaml` is declared here: `config` does that, and modules with one file per kind, such as the
//! signature schemes.

pub(crate) mod changes;
pub(crate) mod declare;
pub(crate) mod decode;
pub(crate) mod diagnostic;
pub(crate) mod hashed;
pub(crate) mod interpolate;
pub(crate) mod lists;
pub(crate) mod nearest;
pub(crate) mod node;
pub(crate) mod presence;
mod quote;
pub(crate) mod redis_url;
pub(crate) mod schema;
pub(crate) mod secret;
mod syntax;
pub(crate) mod tree;
pub(crate) mod url;
pub(crate) mod values;
