//! Checks of the house: what the compiler and clippy cannot see.
//!
//! Files keep their size, rooms keep their walls, documents name what exists, examples work. They
//! read the repository as it lies on the disk and change nothing.

#![expect(
    clippy::expect_used,
    reason = "a check that cannot read the repository has to fail loudly"
)]

mod alerts;
mod circles;
mod documents;
mod examples;
mod exceptions;
mod imports;
mod markdown;
mod paths;
mod repository;
mod shippers;
mod size;
mod translation;
