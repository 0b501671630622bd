//! How settings are declared, read and reported: a file becomes a tree that keeps its places (`tree`), its
//! `${...}` are filled (`interpolate`), and it is read into raw settings that are declared once for reading,
//! defaults and schema (`declare`, `decode`, `schema`). All errors are reported at once (`diagnostic`), with
//! lines quoted that show no secret (`quote`).
//!
//! It knows no key of `weir.yaml`: those are declared by `config`, and by modules whose kinds are declared
//! in one file each, such as the signature schemes.

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
pub(crate) mod schema;
pub(crate) mod secret;
mod syntax;
pub(crate) mod tree;
pub(crate) mod url;
pub(crate) mod values;
