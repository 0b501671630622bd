//! Random bits for the identifiers of requests and traces. These must be unique but not secret, so each thread has its
//! own fast generator.

use std::cell::RefCell;

use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};

thread_local! {
    static RANDOM: RefCell<SmallRng> = RefCell::new(SmallRng::from_rng(&mut rand::rng()));
}

/// 128 random bits.
#[must_use]
pub fn bits() -> u128 {
    RANDOM.with_borrow_mut(|random| random.random())
}

/// Fills `bytes`.
pub fn fill(bytes: &mut [u8]) {
    RANDOM.with_borrow_mut(|random| random.fill_bytes(bytes));
}
