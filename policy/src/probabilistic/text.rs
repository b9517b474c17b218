//! Folding and splitting of text, and hashes of it.
//!
//! Case, full width, apostrophes and punctuation carry no identity; nothing is transliterated. Languages written without
//! spaces have no words to split at, so their text becomes overlapping pairs of characters.

/// Lower case, half width, and no apostrophes.
pub(super) fn fold(value: &str) -> impl Iterator<Item = char> {
    value
        .chars()
        .map(|c| match c {
            '\u{3000}' => ' ',
            '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
            _ => c,
        })
        .filter(|c| !matches!(c, '\'' | '\u{2018}' | '\u{2019}' | '`'))
        .flat_map(char::to_lowercase)
}

/// A letter of a script written without spaces.
pub(super) fn unspaced(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
}

/// What a word is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Letters.
    Word,
    /// Digits.
    Number,
    /// Characters of a script without spaces.
    Unspaced,
}

fn kind(c: char) -> Option<Kind> {
    match c {
        _ if unspaced(c) => Some(Kind::Unspaced),
        _ if c.is_ascii_digit() => Some(Kind::Number),
        _ if c.is_alphanumeric() => Some(Kind::Word),
        _ => None,
    }
}

/// The runs of one kind, in the order of the text.
pub(super) fn runs(value: &str) -> Vec<(Kind, String)> {
    let mut runs: Vec<(Kind, String)> = Vec::new();
    let mut last = None;
    for c in fold(value) {
        let now = kind(c);
        match (now, runs.last_mut()) {
            (Some(_), Some((_, run))) if now == last => run.push(c),
            (Some(kind), _) => runs.push((kind, c.to_string())),
            (None, _) => {}
        }
        last = now;
    }
    runs
}

/// FNV-1a, finished by the mixer of `SplitMix64` so that every bit can be used.
pub(super) fn hash(chars: impl IntoIterator<Item = char>) -> u64 {
    mix(chars.into_iter().fold(0xcbf2_9ce4_8422_2325, |h, c| (h ^ u64::from(u32::from(c))).wrapping_mul(0x0100_0000_01b3)))
}

/// The mixer of `SplitMix64`.
pub(super) fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
