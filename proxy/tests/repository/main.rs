//! Repository checks: what the compiler and clippy cannot check.
//!
//! The size of files, imports between modules, what documents mention, examples. The checks read the
//! working tree and change nothing.

#![expect(
    clippy::expect_used,
    reason = "a check that cannot read the repository has to fail loudly"
)]

mod alerts;
mod cycles;
mod documents;
mod examples;
mod exceptions;
mod files;
mod imports;
mod markdown;
mod paths;
mod shippers;
mod size;
mod translation;
mod type_names;
mod vocabulary;
