//! The known word that was probably intended.

/// The known word that was probably intended.
pub(crate) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    if word.len() > 64 {
        return None;
    }
    let word = word.to_lowercase();
    known
        .iter()
        .map(|known| {
            (
                strsim::damerau_levenshtein(&word, &known.to_lowercase()),
                *known,
            )
        })
        .filter(|(distance, known)| *distance <= 1.max(known.len().max(word.len()) / 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}
