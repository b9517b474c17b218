//! Which records are worth comparing.
//!
//! A key of its own comes from what tells few records apart: a long number, a day, an address's house number with a word.
//! What is common, such as a surname or a postcode, makes a key together with a second attribute.

use std::collections::HashMap;

use super::profile::{Field, Profile, Word};
use super::text::{self, Kind};
use super::{Attribute, Comparator};

/// The most keys of a record.
const KEYS: usize = 16;
/// A block up to this size is compared in full.
const FULL: usize = 40;
/// In a larger block each record is compared with so many that follow it in the order of their values.
const WINDOW: usize = 10;

/// Keys of a record in clear text, at most 16; two records are compared when they share one. Keep only keyed hashes.
#[must_use]
pub fn blocking_keys(schema: &[Attribute], profile: &Profile) -> Vec<String> {
    let mut keys: Vec<String> = Vec::new();
    let mut parts: Vec<String> = Vec::new();
    for (i, (attribute, field)) in schema.iter().zip(&profile.fields).enumerate() {
        let Some(field) = field else { continue };
        let tag = match attribute.comparator {
            Comparator::Name => "n".to_owned(),
            Comparator::Organisation => "o".to_owned(),
            Comparator::Words => "w".to_owned(),
            Comparator::Digits => "d".to_owned(),
            Comparator::Date | Comparator::Exact => format!("{i}"),
        };
        keys.extend(own(attribute.comparator, field).into_iter().map(|key| format!("{tag}:{key}")));
        parts.extend(shared(attribute.comparator, field).into_iter().map(|part| format!("{tag}:{part}")));
    }
    for distance in 1..parts.len() {
        for (a, b) in parts.iter().zip(&parts[distance..]) {
            keys.push(if a <= b { format!("{a}+{b}") } else { format!("{b}+{a}") });
        }
    }
    if keys.is_empty() {
        keys.append(&mut parts);
    }
    let mut distinct: Vec<String> = Vec::new();
    for key in keys {
        if distinct.len() < KEYS && !distinct.contains(&key) {
            distinct.push(key);
        }
    }
    distinct
}

/// Keys that stand alone.
fn own(comparator: Comparator, field: &Field) -> Vec<String> {
    let length = field.text.len();
    let whole = || field.text.iter().collect::<String>();
    match comparator {
        Comparator::Digits if length >= 6 => vec![field.text[length.saturating_sub(8)..].iter().collect()],
        // An e-mail address, too, by its part before the @.
        Comparator::Exact if length >= 8 => [Some(whole()), whole().split_once('@').map(|(local, _)| local.to_owned())].into_iter().flatten().collect(),
        Comparator::Date => vec![field.date.map_or_else(whole, |(year, month, day)| format!("{year}-{}-{}", month.min(day), month.max(day)))],
        Comparator::Name if field.words.len() > 1 => vec![beginnings(field, 5)],
        Comparator::Organisation | Comparator::Words => match (field.numbers.first(), comparator) {
            (Some(number), Comparator::Words) => in_order(field).filter(|w| long(w)).take(2).map(|w| format!("{number} {}", start(&w.text, 4))).collect(),
            _ if length >= 4 => vec![longest(field), start(&field.text, 8)],
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// What makes a key together with another attribute.
fn shared(comparator: Comparator, field: &Field) -> Vec<String> {
    match comparator {
        Comparator::Name if field.words.len() > 1 => vec![beginnings(field, 2)],
        Comparator::Name => vec![skeleton(&field.text)],
        Comparator::Words => {
            let word = in_order(field).find(|word| long(word)).map(|word| start(&word.text, 4));
            field.numbers.first().map(u64::to_string).into_iter().chain(word).collect()
        }
        Comparator::Organisation => vec![start(&field.text, 5)],
        Comparator::Date => vec![field.date.map_or_else(|| start(&field.text, 4), |(year, ..)| year.to_string())],
        Comparator::Digits | Comparator::Exact => vec![field.text.iter().collect()],
    }
}

fn long(word: &Word) -> bool {
    word.kind == Kind::Unspaced || (word.kind == Kind::Word && word.text.len() > 3)
}

fn start(text: &[char], most: usize) -> String {
    text.iter().take(most).collect()
}

fn in_order(field: &Field) -> impl Iterator<Item = &Word> {
    let mut words: Vec<&Word> = field.words.iter().collect();
    words.sort_by_key(|word| word.place);
    words.into_iter()
}

/// The beginnings of two words, whatever their order.
fn beginnings(field: &Field, most: usize) -> String {
    let mut words: Vec<String> = field.words.iter().map(|word| start(&word.text, most)).collect();
    words.sort_unstable();
    words.truncate(3);
    words.join(" ")
}

/// The beginnings of the two longest words, for long words are rare.
fn longest(field: &Field) -> String {
    let mut words: Vec<&Word> = field.words.iter().collect();
    words.sort_by_key(|word| (std::cmp::Reverse(word.text.len()), &word.text));
    let mut words: Vec<String> = words.into_iter().take(2).map(|word| start(&word.text, 6)).collect();
    words.sort_unstable();
    words.join(" ")
}

/// The first letter and the consonants that follow: what stays when a name is misheard.
fn skeleton(text: &[char]) -> String {
    let mut skeleton: Vec<char> = text.iter().take(1).copied().collect();
    for c in text.iter().skip(1).filter(|c| !"aeiouyhw".contains(**c)) {
        if skeleton.last() != Some(c) {
            skeleton.push(*c);
        }
    }
    start(&skeleton, 4)
}

/// The pairs of positions worth comparing, each once and in ascending order.
///
/// Blocks too large for all their pairs are narrowed to neighbours in the order of their values.
pub fn candidates(schema: &[Attribute], profiles: &[Profile]) -> impl Iterator<Item = (usize, usize)> + use<> {
    let mut blocks: HashMap<u64, Vec<usize>> = HashMap::new();
    for (i, profile) in profiles.iter().enumerate() {
        for key in blocking_keys(schema, profile) {
            blocks.entry(text::hash(key.chars())).or_default().push(i);
        }
    }
    let mut pairs: Vec<(u32, u32)> = Vec::new();
    for mut block in blocks.into_values().filter(|block| block.len() > 1) {
        let reach = if block.len() > FULL { WINDOW } else { FULL };
        if block.len() > FULL {
            block.sort_by_cached_key(|i| (order(&profiles[*i]), profiles[*i].fingerprint));
        }
        for (at, &i) in block.iter().enumerate() {
            for &j in block[at + 1..].iter().take(reach) {
                pairs.extend(u32::try_from(i.min(j)).ok().zip(u32::try_from(i.max(j)).ok()));
            }
        }
    }
    pairs.sort_unstable();
    pairs.dedup();
    pairs.into_iter().filter_map(|(i, j)| Some((usize::try_from(i).ok()?, usize::try_from(j).ok()?)))
}

/// All values, one after the other.
fn order(profile: &Profile) -> Vec<char> {
    profile.fields.iter().flatten().flat_map(|field| field.text.iter().copied()).take(48).collect()
}
