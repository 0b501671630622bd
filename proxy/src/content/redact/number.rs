//! Detects personal numbers: card, identity and phone numbers.

/// The fewest digits of a personal number: a Hong Kong identity card has six and a check digit.
const DIGITS_MIN: usize = 6;
/// The most digits of a personal number; a card has up to 19.
const DIGITS_MAX: usize = 21;
/// How many pieces of a run are matched together: each digit of a card may be followed by two separators.
const PIECES_MAX: usize = 40;

/// A run of digits with spaces, hyphens and parentheses, with personal numbers replaced.
pub(super) fn redacted(run: &str) -> String {
    let mut out = String::with_capacity(run.len());
    let pieces: Vec<&str> = run.split_inclusive(is_separator).collect();
    let mut place = 0;
    while place < pieces.len() {
        match longest(&pieces[place..]) {
            Some((count, kind)) => {
                out.push_str(kind);
                let last = pieces[place + count - 1];
                out.push_str(&last[last.trim_end_matches(is_behind).len()..]);
                place += count;
            }
            None => {
                out.push_str(pieces[place]);
                place += 1;
            }
        }
    }
    out
}

/// Whether a character separates the pieces of a number.
fn is_separator(character: char) -> bool {
    digit(character).is_none() && !character.is_alphabetic()
}

/// Whether a character after a number is not part of it; a closing bracket may be.
fn is_behind(character: char) -> bool {
    is_separator(character) && !matches!(character, ')' | '）')
}

/// The longest number that begins with the first piece, in pieces: a card in groups of four is not a series of short
/// numbers.
fn longest(pieces: &[&str]) -> Option<(usize, &'static str)> {
    let (mut text, mut digits) = (String::new(), 0);
    let mut found = None;
    for (place, piece) in pieces.iter().take(PIECES_MAX).enumerate() {
        let more = piece.chars().filter(|it| digit(*it).is_some()).count();
        digits += more;
        if place > 0 && digits > DIGITS_MAX {
            break;
        }
        text.push_str(piece);
        if more == 0 || digits < DIGITS_MIN {
            continue;
        }
        let text = text.trim_end_matches(is_behind).trim_start();
        found = kind(text).map(|kind| (place + 1, kind)).or(found);
    }
    found
}

/// The kind of a number, if it is personal.
fn kind(text: &str) -> Option<&'static str> {
    let digits: Vec<u8> = text.chars().filter_map(digit).collect();
    let letters: String = text.chars().filter(char::is_ascii_alphabetic).collect();
    let starts_with_plus = text.starts_with(['+', '＋']);
    let separators = text.chars().any(|character| digit(character).is_none());
    if is_chinese_identity(&digits, &letters) || is_document(text, &digits, &letters) {
        return Some("[identity]");
    }
    if !letters.is_empty() {
        return None;
    }
    if shape(text) == "3-2-4" {
        return Some("[identity]");
    }
    let without_code = [&[0, 0, 8, 6][..], &[8, 6]]
        .iter()
        .find_map(|code| digits.strip_prefix(*code))
        .unwrap_or(&digits);
    let is_chinese_mobile = |digits: &[u8]| digits.len() == 11 && matches!(*digits, [1, 3..=9, ..]);
    if is_chinese_mobile(&digits) || is_chinese_mobile(without_code) {
        return Some("[phone]");
    }
    if starts_with_plus && (8..=15).contains(&digits.len()) {
        return Some("[phone]");
    }
    if (13..=19).contains(&digits.len()) && is_grouped_as_card(text) && passes_luhn(&digits) {
        return Some("[card]");
    }
    // With an area code: 010-12345678, 0755-1234567; (555) 123-4567, 555-123-4567, 555.123.4567.
    let is_landline = matches!(*digits, [0, 1..=9, ..]) && (10..=12).contains(&digits.len());
    let is_american = separators && matches!(&*shape(text), "3-3-4" | "1-3-3-4");
    // Without separators: ten digits in America and India, eleven in Russia.
    let is_bare = matches!(
        (&*digits, separators),
        ([2..=9, ..], false) if digits.len() == 10
    ) || matches!(*digits, [7 | 8, 3..=9, ..] if digits.len() == 11);
    (is_landline || is_american || is_bare).then_some("[phone]")
}

/// Whether digits are grouped like a card number: without separators, in groups of equal length except the last, or
/// as 4-6-5 and 4-6-4 (as on the specimens of card networks; ISO/IEC 7812 does not define it). Two phone numbers
/// are not.
fn is_grouped_as_card(text: &str) -> bool {
    let shape = shape(text);
    let lengths: Vec<&str> = shape.split('-').collect();
    let (last, others) = match lengths.split_last() {
        Some(both) => both,
        None => return false,
    };
    let is_even = others.windows(2).all(|pair| pair[0] == pair[1]);
    let fits = others.first().is_none_or(|first| last <= first);
    (is_even && fits) || matches!(&*shape, "4-6-5" | "4-6-4")
}

/// The lengths of the groups of digits, joined by hyphens.
fn shape(text: &str) -> String {
    let groups = text.split(|character| digit(character).is_none());
    let lengths = groups
        .map(|group| group.chars().count())
        .filter(|length| *length > 0);
    let lengths: Vec<String> = lengths.map(|length| length.to_string()).collect();
    lengths.join("-")
}

fn digit(character: char) -> Option<u8> {
    let full_width = u32::from(character).checked_sub(u32::from('０'));
    let value = match full_width {
        Some(value @ 0..=9) => value,
        _ => character.to_digit(10)?,
    };
    u8::try_from(value).ok()
}

/// Resident identity numbers of China (GB 11643): 17 digits and a check digit, `X` for ten; or 15 digits, as issued
/// before 1999.
fn is_chinese_identity(digits: &[u8], letters: &str) -> bool {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    const CHECKS: &[u8; 11] = b"10X98765432";
    let is_date = |month: &[u8], day: &[u8]| {
        let (month, day) = (month[0] * 10 + month[1], day[0] * 10 + day[1]);
        (1..=12).contains(&month) && (1..=31).contains(&day)
    };
    if digits.len() == 15 && letters.is_empty() {
        return matches!(*digits, [1..=8, ..]) && is_date(&digits[8..10], &digits[10..12]);
    }
    let check = match (digits.len(), letters) {
        (18, "") => b'0' + digits[17],
        (17, "X" | "x") => b'X',
        _ => return false,
    };
    let sum: u32 = digits
        .iter()
        .zip(WEIGHTS)
        .map(|(digit, weight)| u32::from(*digit) * weight)
        .sum();
    is_date(&digits[10..12], &digits[12..14]) && CHECKS[(sum % 11) as usize] == check
}

/// Passports of China (`E12345678`), identity cards of Hong Kong (`A123456(7)`) and Taiwan (`A123456789`).
fn is_document(text: &str, digits: &[u8], letters: &str) -> bool {
    if !text.starts_with(|first: char| first.is_ascii_uppercase()) {
        return false;
    }
    let has_brackets = text.ends_with([')', '）']);
    match letters.len() {
        1 if has_brackets => digits.len() == 7 || digits.len() == 6,
        2 if has_brackets => digits.len() == 7 || digits.len() == 6,
        1 => digits.len() == 8 || (digits.len() == 9 && matches!(digits[0], 1 | 2 | 8 | 9)),
        2 => digits.len() == 7,
        _ => false,
    }
}

/// ISO/IEC 7812-1, annex B.
fn passes_luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, u32::from(*digit)) {
            (0, digit) => digit,
            (_, digit) if digit > 4 => digit * 2 - 9,
            (_, digit) => digit * 2,
        })
        .sum();
    sum.is_multiple_of(10) && digits.iter().any(|digit| *digit > 0)
}
