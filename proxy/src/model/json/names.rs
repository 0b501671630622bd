//! Finds out at once whether a name is one of a few that are of interest: most are not.

/// The names of members that are of interest, and what each stands for, by a hash that is built when weir is.
#[derive(Debug)]
pub struct Names<P: 'static> {
    slots: [Option<(&'static [u8], P)>; SLOTS],
}

/// More than twice as many as there are names, so that one that is none is mostly known by an empty slot.
const SLOTS: usize = 64;

impl<P: Copy> Names<P> {
    /// The table of these names, none of them empty, and each once.
    #[must_use]
    pub const fn new(names: &[(&'static [u8], P)]) -> Self {
        let mut slots = [None; SLOTS];
        let mut at = 0;
        while at < names.len() {
            let mut slot = first_slot(names[at].0);
            while slots[slot].is_some() {
                slot = (slot + 1) % SLOTS;
            }
            slots[slot] = Some(names[at]);
            at += 1;
        }
        Names { slots }
    }

    /// What `name` stands for, if it is of interest.
    #[inline]
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<P> {
        if name.is_empty() {
            return None;
        }
        let mut slot = first_slot(name);
        while let Some((known, place)) = self.slots[slot] {
            if known == name {
                return Some(place);
            }
            slot = (slot + 1) % SLOTS;
        }
        None
    }
}

/// By length, first and last byte of a name that is not empty.
const fn first_slot(name: &[u8]) -> usize {
    let last = name[name.len() - 1] as usize;
    (name.len() * 11 + name[0] as usize * 5 + last) % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_and_no_others() {
        // Those of the second row fall into the same slots.
        const NAMES: Names<u8> =
            Names::new(&[(b"model", 1), (b"mabel", 2), (b"a", 3), (b"metal", 4)]);
        for (name, place) in [("model", 1), ("mabel", 2), ("a", 3), ("metal", 4)] {
            assert_eq!(NAMES.find(name.as_bytes()), Some(place), "{name}");
        }
        for name in ["", "b", "medal", "mode", "models", "Model", "aa"] {
            assert_eq!(NAMES.find(name.as_bytes()), None, "{name}");
        }
    }
}
