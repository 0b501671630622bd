//! A bounded table that every request reads and that rarely grows.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

/// Entries by name. Reading takes no lock; growing copies the table.
pub(super) struct BoundedTable<V> {
    entries: ArcSwap<HashMap<Box<str>, Arc<V>>>,
    growing: Mutex<()>,
    entries_max: usize,
}

impl<V> std::fmt::Debug for BoundedTable<V> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let entries = self.entries.load();
        formatter.debug_set().entries(entries.keys()).finish()
    }
}

impl<V> BoundedTable<V> {
    pub(super) fn new(entries_max: usize) -> Self {
        BoundedTable {
            entries: ArcSwap::default(),
            growing: Mutex::new(()),
            entries_max,
        }
    }

    /// Runs `found` on the entry of `name`; `None` when there is none.
    pub(super) fn with<R>(&self, name: &str, found: impl FnOnce(&V) -> R) -> Option<R> {
        self.entries.load().get(name).map(|entry| found(entry))
    }

    /// Adds an entry if there is none, unless the table is full.
    pub(super) fn add<E>(&self, name: &str, make: impl FnOnce() -> Result<V, E>) -> Result<(), E> {
        let _growing = self.growing.lock();
        let entries = self.entries.load();
        if entries.contains_key(name) || entries.len() >= self.entries_max {
            return Ok(());
        }
        let mut grown = HashMap::clone(&entries);
        grown.insert(name.into(), Arc::new(make()?));
        self.entries.store(Arc::new(grown));
        Ok(())
    }

    /// As [`BoundedTable::with`], after adding the entry if there is none.
    pub(super) fn with_or_add<E>(
        &self,
        name: &str,
        make: impl FnOnce() -> Result<V, E>,
        found: impl Fn(&V),
    ) {
        if self.with(name, &found).is_some() {
            return;
        }
        // A full table does not count the name, which bounds the labels.
        if self.add(name, make).is_ok() {
            self.with(name, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn names_are_added_up_to_the_bound() {
        let known: BoundedTable<AtomicUsize> = BoundedTable::new(2);
        for name in ["a", "b", "a", "c", "a"] {
            known.with_or_add(
                name,
                || Ok::<_, Infallible>(AtomicUsize::new(0)),
                |count| {
                    count.fetch_add(1, Ordering::Relaxed);
                },
            );
        }
        let count = |name| known.with(name, |count| count.load(Ordering::Relaxed));
        assert_eq!(count("a"), Some(3));
        assert_eq!(count("b"), Some(1));
        assert_eq!(count("c"), None);
    }

    #[test]
    fn an_entry_that_cannot_be_made_is_absent() {
        let known: BoundedTable<()> = BoundedTable::new(2);
        assert!(known.add("a", || Err("broken")).is_err());
        assert_eq!(known.with("a", |()| ()), None);
    }
}
