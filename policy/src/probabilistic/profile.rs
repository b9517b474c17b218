//! The normalised form of a record: folded and split once, so that comparing a pair only merges sorted lists.

use super::text::{self, Kind};
use super::{Attribute, Comparator};

/// A record ready to be compared and blocked. Only valid with the schema it was made with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Profile {
    pub(super) fields: Vec<Option<Field>>,
    /// A hash of all values; records with the same values have the same fingerprint.
    pub(super) fingerprint: u64,
}

/// One value.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Field {
    /// A hash of `text`.
    pub value: u64,
    /// The folded value without spaces and punctuation.
    pub text: Box<[char]>,
    /// The different words, sorted by hash.
    pub words: Box<[Word]>,
    /// The numbers in their order.
    pub numbers: Box<[u64]>,
    /// The pairs of neighbouring letters of `text`, sorted.
    pub bigrams: Box<[u32]>,
    /// Year, month and day.
    pub date: Option<(u32, u32, u32)>,
}

/// One word, number, or pair of neighbouring characters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Word {
    pub hash: u64,
    pub text: Box<[char]>,
    /// The position among the words of the value.
    pub place: usize,
    pub kind: Kind,
}

impl Profile {
    /// The profile of a record's values, which are in the order of the schema. Empty values are missing ones.
    #[must_use]
    pub fn of(schema: &[Attribute], values: &[Option<&str>]) -> Self {
        let fields: Vec<_> =
            schema.iter().enumerate().map(|(i, attribute)| values.get(i).copied().flatten().and_then(|value| Field::of(attribute.comparator, value))).collect();
        let fingerprint = fields.iter().fold(0, |h, field| text::mix(h ^ field.as_ref().map_or(0, |f| f.value)));
        Self { fields, fingerprint }
    }
}

impl Field {
    /// The lesser of two by hash. Comparing in one order makes the result the same for both.
    pub(super) fn min<'f>(&'f self, other: &'f Self) -> &'f Self {
        if self.value <= other.value { self } else { other }
    }

    /// The greater of two by hash.
    pub(super) fn max<'f>(&'f self, other: &'f Self) -> &'f Self {
        if self.value <= other.value { other } else { self }
    }

    fn of(comparator: Comparator, value: &str) -> Option<Self> {
        let runs = text::runs(value);
        let text: Box<[char]> = match comparator {
            Comparator::Exact => text::fold(value).filter(|c| !c.is_whitespace()).collect(),
            _ => runs.iter().flat_map(|(_, run)| run.chars()).collect(),
        };
        if runs.is_empty() {
            return None;
        }
        let mut field = Self { value: text::hash(text.iter().copied()), text, ..Self::default() };
        match comparator {
            Comparator::Name => field.words = words(&runs),
            Comparator::Organisation | Comparator::Words => {
                field.words = words(&runs);
                field.numbers = runs.iter().filter(|(kind, _)| *kind == Kind::Number).filter_map(|(_, run)| run.parse().ok()).collect();
                field.bigrams = bigrams(&field.text);
            }
            Comparator::Date => field.date = date(&runs),
            Comparator::Digits | Comparator::Exact => {}
        }
        Some(field)
    }
}

fn words(runs: &[(Kind, String)]) -> Box<[Word]> {
    let mut words: Vec<Word> = Vec::new();
    let mut push = |text: &[char], kind| {
        let place = words.len();
        words.push(Word { hash: text::hash(text.iter().copied()), text: text.into(), place, kind });
    };
    for (kind, run) in runs {
        let run: Vec<char> = run.chars().collect();
        match kind {
            Kind::Unspaced if run.len() > 1 => run.windows(2).for_each(|pair| push(pair, *kind)),
            _ => push(&run, *kind),
        }
    }
    words.sort_by_key(|word| (word.hash, word.place));
    words.dedup_by_key(|word| word.hash);
    words.into()
}

fn bigrams(text: &[char]) -> Box<[u32]> {
    let letters: Vec<char> = text.iter().copied().filter(|c| !c.is_ascii_digit()).collect();
    let mut bigrams: Vec<u32> = letters.windows(2).map(|pair| u32::from(pair[0]).wrapping_mul(0x0001_0001).wrapping_add(u32::from(pair[1]) << 7)).collect();
    bigrams.sort_unstable();
    bigrams.into()
}

/// Reads 19801231, 1980-12-31, 31/12/1980 and 1980年12月31日; a time after the day is left out.
fn date(runs: &[(Kind, String)]) -> Option<(u32, u32, u32)> {
    let numbers: Vec<&str> = runs.iter().filter(|(kind, _)| *kind == Kind::Number).map(|(_, run)| run.as_str()).collect();
    let (year, month, day) = match numbers[..] {
        [whole, ..] if whole.len() == 8 => (&whole[..4], &whole[4..6], &whole[6..]),
        [year, month, day, ..] if year.len() == 4 => (year, month, day),
        [day, month, year, ..] if year.len() == 4 => (year, month, day),
        _ => return None,
    };
    Some((year.parse().ok()?, month.parse().ok()?, day.parse().ok()?))
}
