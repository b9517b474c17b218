//! From two values to a level of agreement.
//!
//! The levels follow Winkler (1990): equal, nearly equal by a string comparator fit for the kind of value, and different.
//! Words are weighed by their rarity, so that a branch of a chain is told from its sister by what is special to it.

use super::frequency::{Frequency, overlap};
use super::level::{Level, Vector};
use super::profile::{Field, Profile, Word};
use super::similarity::{dice, edits, jaro_winkler};
use super::text::Kind;
use super::{Attribute, Comparator};

/// Compares two records, attribute by attribute.
pub(super) fn compare(schema: &[Attribute], frequencies: &[Frequency], a: &Profile, b: &Profile) -> Vector {
    let mut vector = Vector::default();
    for (i, attribute) in schema.iter().enumerate().take(Vector::MOST) {
        let (Some(x), Some(y)) = (field(a, i), field(b, i)) else { continue };
        // One order of the two, so that the result is the same for both.
        let level = level(attribute.comparator, &frequencies[i], x.min(y), x.max(y));
        let others = || (0..schema.len()).filter(|j| *j != i && schema[*j].comparator == attribute.comparator);
        let apart = level <= Level::Weak && others().any(|j| crossed(attribute.comparator, &frequencies[i], [a, b], i, j));
        vector = vector.with(i, if apart { Level::Crossed } else { level });
    }
    vector
}

fn field(profile: &Profile, i: usize) -> Option<&Field> {
    profile.fields.get(i)?.as_ref()
}

/// Whether the two records have swapped attributes i and j, or have the value of i in j and nothing to swap it with.
fn crossed(comparator: Comparator, frequency: &Frequency, [a, b]: [&Profile; 2], i: usize, j: usize) -> bool {
    let same = |x: Option<&Field>, y: Option<&Field>| {
        x.zip(y).is_some_and(|(x, y)| match comparator {
            Comparator::Name | Comparator::Words | Comparator::Organisation => x.value == y.value || slip(&x.text, &y.text),
            Comparator::Digits => x.value == y.value && x.text.len() > 6,
            Comparator::Date | Comparator::Exact => false,
        })
    };
    let fits = |x: Option<&Field>, y: Option<&Field>| x.zip(y).is_none_or(|(x, y)| level(comparator, frequency, x.min(y), x.max(y)) >= Level::Similar);
    let (ai, aj, bi, bj) = (field(a, i), field(a, j), field(b, i), field(b, j));
    (same(ai, bj) && fits(aj, bi)) || (same(aj, bi) && fits(ai, bj))
}

fn level(comparator: Comparator, frequency: &Frequency, a: &Field, b: &Field) -> Level {
    match comparator {
        _ if a.value == b.value => Level::Equal,
        Comparator::Name => names(a, b),
        Comparator::Organisation => texts(frequency, a, b),
        Comparator::Words => addresses(frequency, a, b),
        Comparator::Digits => digits(&a.text, &b.text),
        Comparator::Date => dates(a, b),
        Comparator::Exact if a.text.len().min(b.text.len()) >= 8 && edits(&a.text, &b.text).is_some() => Level::Close,
        Comparator::Exact => Level::Different,
    }
}

/// One slip of the pen in a text long enough to be known by the rest.
fn slip(a: &[char], b: &[char]) -> bool {
    a.len().min(b.len()) > 3 && a.len().abs_diff(b.len()) < 2 && edits(a, b).is_some_and(|n| n < 2)
}

fn names(a: &Field, b: &Field) -> Level {
    let like = jaro_winkler(&a.text, &b.text);
    let held = |a: &Field, b: &Field| a.words.iter().all(|x| b.words.iter().any(|y| x.hash == y.hash || initial(x, y)));
    let (a_held, b_held) = (held(a, b), held(b, a));
    match () {
        () if slip(&a.text, &b.text) || like >= 0.94 || (a_held && b_held && a.words.len() > 1) => Level::Close,
        () if like >= 0.86 || a_held || b_held => Level::Similar,
        () if like >= 0.75 => Level::Weak,
        () => Level::Different,
    }
}

/// A single letter and a name that begins with it.
fn initial(x: &Word, y: &Word) -> bool {
    x.kind == Kind::Word && y.kind == Kind::Word && (x.text.len() == 1 || y.text.len() == 1) && x.text[0] == y.text[0]
}

/// The same word but for a slip, or one the abbreviation of the other.
fn alike(x: &Word, y: &Word) -> bool {
    if x.kind != Kind::Word || y.kind != Kind::Word || x.text[0] != y.text[0] {
        return false;
    }
    let (short, long) = if x.text.len() <= y.text.len() { (x, y) } else { (y, x) };
    long.text.starts_with(&short.text) || slip(&x.text, &y.text)
}

/// How alike two texts are, between 0 and 1.
fn likeness(frequency: &Frequency, a: &Field, b: &Field) -> f64 {
    let words = overlap(frequency, &a.words, &b.words, alike);
    // A space too many or too few breaks words; the letters tell. Numbers must not differ then.
    let letters = if a.bigrams.len().min(b.bigrams.len()) >= 5 && a.numbers == b.numbers { dice(&a.bigrams, &b.bigrams) } else { 0.0 };
    words.max(letters)
}

fn texts(frequency: &Frequency, a: &Field, b: &Field) -> Level {
    match likeness(frequency, a, b) {
        like if like >= 0.85 => Level::Close,
        like if like >= 0.6 => Level::Similar,
        like if like >= 0.35 => Level::Weak,
        _ => Level::Different,
    }
}

/// Texts in which a number, such as that of the house, must not differ.
fn addresses(frequency: &Frequency, a: &Field, b: &Field) -> Level {
    let conflict = match (a.numbers.first(), b.numbers.first()) {
        (Some(first), Some(second)) => !a.numbers.contains(second) && !b.numbers.contains(first),
        _ => false,
    };
    match likeness(frequency, a, b) {
        like if conflict => {
            if like >= 0.5 {
                Level::Weak
            } else {
                Level::Different
            }
        }
        like if like >= 0.8 => Level::Close,
        like if like >= 0.5 => Level::Similar,
        like if like >= 0.3 => Level::Weak,
        _ => Level::Different,
    }
}

fn digits(a: &[char], b: &[char]) -> Level {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    // With and without area or country code.
    if short.len() >= 7 && long.ends_with(short) {
        return Level::Close;
    }
    match edits(a, b) {
        Some(..=1) if short.len() >= 4 => Level::Close,
        Some(..=2) if short.len() >= 6 => Level::Similar,
        _ => Level::Different,
    }
}

fn dates(a: &Field, b: &Field) -> Level {
    let (Some((year, month, day)), Some((other_year, other_month, other_day))) = (a.date, b.date) else {
        return digits(&a.text, &b.text);
    };
    let swapped = year == other_year && month == other_day && day == other_month;
    let same = [year == other_year, month == other_month, day == other_day].into_iter().filter(|same| *same).count();
    match () {
        () if same == 3 => Level::Equal,
        () if swapped || edits(&a.text, &b.text).is_some_and(|n| n < 2) => Level::Close,
        () if same == 2 => Level::Similar,
        () if year == other_year => Level::Weak,
        () => Level::Different,
    }
}
