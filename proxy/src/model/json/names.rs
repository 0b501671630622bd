//! A hash table of member names, built at compile time. Most lookups are for names that are not in it.

/// Member names and the position that each leads to.
///
/// With more than twice as many slots as names, most lookups of unknown names end at an empty slot.
#[derive(Debug)]
pub struct NameTable<P: 'static, const SLOTS: usize = 64> {
    slots: [Option<NameSlot<P>>; SLOTS],
}

#[derive(Clone, Copy, Debug)]
struct NameSlot<P> {
    name: &'static [u8],
    ends: NameEnds,
    position: P,
}

/// The first and last bytes of a name as two integers, which compare faster than slices. Up to
/// [`NameEnds::WHOLE_BYTES_MAX`] they cover the whole name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NameEnds(u64, u64);

impl NameEnds {
    const WHOLE_BYTES_MAX: usize = 16;

    /// Of a non-empty name.
    #[inline]
    const fn of(name: &[u8]) -> NameEnds {
        if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
            return NameEnds(u64::from_le_bytes(*first), u64::from_le_bytes(*last));
        }
        if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
            let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
            return NameEnds(first as u64, last as u64);
        }
        let (first, middle, last) = (name[0], name[name.len() / 2], name[name.len() - 1]);
        NameEnds(first as u64, (middle as u64) << 8 | last as u64)
    }
}

impl<P: Copy, const SLOTS: usize> NameTable<P, SLOTS> {
    /// The table of these names, which must be unique and non-empty.
    #[must_use]
    pub const fn new(names: &[(&'static [u8], P)]) -> Self {
        let mut slots = [None; SLOTS];
        let mut at = 0;
        while at < names.len() {
            let (name, position) = names[at];
            let mut slot = first_slot::<SLOTS>(name);
            while slots[slot].is_some() {
                slot = (slot + 1) % SLOTS;
            }
            let ends = NameEnds::of(name);
            slots[slot] = Some(NameSlot {
                name,
                ends,
                position,
            });
            at += 1;
        }
        NameTable { slots }
    }

    /// The position of `name`, if it is in the table.
    #[inline]
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<P> {
        if name.is_empty() {
            return None;
        }
        let ends = NameEnds::of(name);
        let mut at = first_slot::<SLOTS>(name);
        while let Some(slot) = &self.slots[at] {
            if slot.ends == ends
                && slot.name.len() == name.len()
                && (name.len() <= NameEnds::WHOLE_BYTES_MAX || slot.name == name)
            {
                return Some(slot.position);
            }
            at = (at + 1) % SLOTS;
        }
        None
    }
}

/// The hash of a non-empty name: its length, first and last byte.
const fn first_slot<const SLOTS: usize>(name: &[u8]) -> usize {
    let last = name[name.len() - 1] as usize;
    (name.len() * 11 + name[0] as usize * 5 + last) % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_names_are_found() {
        // Some of these collide.
        const NAMES: NameTable<u8> =
            NameTable::new(&[(b"model", 1), (b"mabel", 2), (b"a", 3), (b"metal", 4)]);
        for (name, position) in [("model", 1), ("mabel", 2), ("a", 3), ("metal", 4)] {
            assert_eq!(NAMES.find(name.as_bytes()), Some(position), "{name}");
        }
        // Names that differ in one byte, at each position and length.
        const LONG: &[u8] = b"abcdefghijklmnopqrstuvwxyz";
        for length in 1..=LONG.len() {
            let known: &'static [u8] = &LONG[..length];
            let names: NameTable<u8> = NameTable::new(&[(known, 1)]);
            assert_eq!(names.find(known), Some(1));
            for at in 0..length {
                let mut other = known.to_vec();
                other[at] = b'_';
                assert_eq!(names.find(&other), None, "{length} {at}");
            }
        }
        for name in ["", "b", "medal", "mode", "models", "Model", "aa"] {
            assert_eq!(NAMES.find(name.as_bytes()), None, "{name}");
        }
    }
}
