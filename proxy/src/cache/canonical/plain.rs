//! The part of parsing JSON that takes most of the time: finding the end of a string.

/// The number of plain bytes in a string: up to a quote, a backslash or a control character. Eight bytes at a time,
/// by the bit tricks for "has a zero byte" and "has a byte below n".
#[inline]
pub(super) fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let below = |word: u64, bound: u64| word.wrapping_sub(ONES * bound) & !word & HIGHS;
    let (words, _) = bytes.as_chunks::<8>();
    for (position, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let quote = below(word ^ (ONES * u64::from(b'"')), 1);
        let backslash = below(word ^ (ONES * u64::from(b'\\')), 1);
        let special = quote | backslash | below(word, 0x20);
        if special != 0 {
            // A borrow can only mark bytes above a marked one, so the lowest mark is correct.
            return position * 8 + special.trailing_zeros() as usize / 8;
        }
    }
    let tail = words.len() * 8;
    let rest = bytes[tail..].iter();
    tail + rest
        .take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_special_byte_is_found_at_any_position() {
        for special in [b'"', b'\\', 0, 0x1f] {
            for position in 0..40 {
                for filler in [b' ', b'!', b'#', b'[', b']', 0x7f, 0x80, 0xa2, 0xdc, 0xff] {
                    let mut bytes = [filler; 40];
                    assert_eq!(plain_length(&bytes[..position]), position);
                    bytes[position] = special;
                    assert_eq!(plain_length(&bytes), position, "{special} after {filler}");
                    bytes[position..].fill(special);
                    assert_eq!(plain_length(&bytes), position, "{special} after {filler}");
                }
            }
        }
    }
}
