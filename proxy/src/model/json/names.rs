//! Finds out at once whether a name is one of a few that are of interest: most are not.

/// The names of members that are of interest, and what each stands for, by a hash that is built when weir is.
///
/// There should be more than twice as many slots as names, so that one that is none is mostly known by an empty
/// slot.
#[derive(Debug)]
pub struct Names<P: 'static, const SLOTS: usize = 64> {
    slots: [Option<Slot<P>>; SLOTS],
}

#[derive(Clone, Copy, Debug)]
struct Slot<P> {
    name: &'static [u8],
    ends: Ends,
    place: P,
}

/// The first and the last bytes of a name, which up to [`Ends::WHOLE_BYTES_MAX`] are all of it: two numbers
/// are compared sooner than two texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ends(u64, u64);

impl Ends {
    const WHOLE_BYTES_MAX: usize = 16;

    /// Those of a name that is not empty.
    #[inline]
    const fn of(name: &[u8]) -> Ends {
        if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
            return Ends(u64::from_le_bytes(*first), u64::from_le_bytes(*last));
        }
        if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
            let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
            return Ends(first as u64, last as u64);
        }
        let (first, middle, last) = (name[0], name[name.len() / 2], name[name.len() - 1]);
        Ends(first as u64, (middle as u64) << 8 | last as u64)
    }
}

impl<P: Copy, const SLOTS: usize> Names<P, SLOTS> {
    /// The table of these names, none of them empty, and each once.
    #[must_use]
    pub const fn new(names: &[(&'static [u8], P)]) -> Self {
        let mut slots = [None; SLOTS];
        let mut at = 0;
        while at < names.len() {
            let (name, place) = names[at];
            let mut slot = first_slot::<SLOTS>(name);
            while slots[slot].is_some() {
                slot = (slot + 1) % SLOTS;
            }
            let ends = Ends::of(name);
            slots[slot] = Some(Slot { name, ends, place });
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
        let ends = Ends::of(name);
        let mut at = first_slot::<SLOTS>(name);
        while let Some(slot) = &self.slots[at] {
            if slot.ends == ends
                && slot.name.len() == name.len()
                && (name.len() <= Ends::WHOLE_BYTES_MAX || slot.name == name)
            {
                return Some(slot.place);
            }
            at = (at + 1) % SLOTS;
        }
        None
    }
}

/// By length, first and last byte of a name that is not empty.
const fn first_slot<const SLOTS: usize>(name: &[u8]) -> usize {
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
        // One byte apart, wherever it stands, whatever the length.
        const LONG: &[u8] = b"abcdefghijklmnopqrstuvwxyz";
        for length in 1..=LONG.len() {
            let known: &'static [u8] = &LONG[..length];
            let names: Names<u8> = Names::new(&[(known, 1)]);
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
