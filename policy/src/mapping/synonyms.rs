//! What headers mean, in Chinese and English: the words of `reference/header_synonyms.csv`, and how a header is looked up in them.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde::de::{IntoDeserializer, value};

use super::{Comparator, LONGEST_HEADER, Target};
use crate::clean::text::fold;
use crate::mask::is_han;

/// The sort of file that a header belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Belongs {
    Order,
    Ticket,
    FollowUp,
    /// Any file that keeps the parts of addresses apart.
    Address,
}

/// One thing that a header can mean: a field, or a value that is only compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Synonym {
    pub to: Option<Target>,
    pub compare: Option<Comparator>,
    pub belongs: Option<Belongs>,
    /// How certain the header alone makes it, 0 to 1.
    pub sure: f64,
}

impl Synonym {
    /// From here on a header decides the sort of its file; below, it counts in full only in the file of its sort.
    pub const DECIDES: f64 = 0.8;
}

/// What a header turned out to mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Meaning {
    pub synonym: Synonym,
    /// How certain: less than the synonym's when only a part of the header is known.
    pub sure: f64,
    /// Whether the whole header is known.
    pub whole: bool,
}

static SYNONYMS: LazyLock<HashMap<String, Vec<Synonym>>> = LazyLock::new(|| {
    let mut synonyms: HashMap<String, Vec<Synonym>> = HashMap::new();
    for line in include_str!("../../reference/header_synonyms.csv").lines().filter(|line| !line.starts_with('#')).skip(1) {
        let [to, compare, belongs, sure, headers] = line.splitn(5, ',').collect::<Vec<_>>()[..] else { continue };
        let synonym =
            Synonym { to: Target::of_word(to), compare: comparator(compare), belongs: belongs_to(belongs), sure: sure.parse().unwrap_or(0.0) / 100.0 };
        for header in headers.split('|') {
            let known = synonyms.entry(key(header)).or_default();
            if !known.contains(&synonym) {
                known.push(synonym);
            }
        }
    }
    synonyms
});

fn comparator(word: &str) -> Option<Comparator> {
    let word: value::StrDeserializer<value::Error> = word.into_deserializer();
    Comparator::deserialize(word).ok()
}

fn belongs_to(word: &str) -> Option<Belongs> {
    match word {
        "order" => Some(Belongs::Order),
        "ticket" => Some(Belongs::Ticket),
        "follow_up" => Some(Belongs::FollowUp),
        "address" => Some(Belongs::Address),
        _ => None,
    }
}

/// What a header can mean: by its whole text; else without a note in brackets or a number behind it; else by its last or first words.
pub(super) fn meanings(header: &str) -> Vec<Meaning> {
    let header: String = fold(header).chars().take(LONGEST_HEADER).collect();
    let bare = without_notes(&header);
    let unnumbered = bare.trim_end_matches(|c: char| c.is_ascii_digit() || c == ' ' || c == '_');
    [(header.as_str(), 1.0, true), (&bare, 0.97, true), (unnumbered, 0.85, false)]
        .into_iter()
        .find_map(|(text, factor, whole)| known(&key(text), factor, whole))
        .or_else(|| in_part(&pieces(unnumbered)))
        .unwrap_or_default()
}

/// The field that a header of exactly this word most certainly means.
pub(super) fn meant(word: &str) -> Option<Target> {
    SYNONYMS.get(&key(word))?.iter().filter(|synonym| synonym.to.is_some()).max_by(|a, b| a.sure.total_cmp(&b.sure))?.to
}

fn known(key: &str, factor: f64, whole: bool) -> Option<Vec<Meaning>> {
    Some(SYNONYMS.get(key)?.iter().map(|synonym| Meaning { synonym: *synonym, sure: synonym.sure * factor, whole }).collect())
}

/// The longest known end of a header (客户联系电话 ends with 联系电话), else its longest known beginning.
fn in_part(pieces: &[String]) -> Option<Vec<Meaning>> {
    let ends = (1..pieces.len()).map(|at| pieces[at..].concat());
    let beginnings = (1..pieces.len()).rev().map(|at| pieces[..at].concat());
    ends.chain(beginnings).filter(|part| part.chars().count() >= 2).find_map(|part| {
        let tells_much = if part.contains(is_han) { part.chars().count() >= 3 } else { part.len() >= 5 };
        known(&part, if tells_much { 0.8 } else { 0.65 }, false)
    })
}

/// A header as it is looked up: letters and digits only, lower case.
fn key(text: &str) -> String {
    fold(text).chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// A header without notes in brackets: 手机号（必填）, Amount [USD].
fn without_notes(header: &str) -> String {
    let mut depth = 0_usize;
    let mut out = String::new();
    for c in header.chars() {
        match c {
            '(' | '[' | '{' | '【' => depth += 1,
            ')' | ']' | '}' | '】' => depth = depth.saturating_sub(1),
            c if depth == 0 => out.push(c),
            _ => {}
        }
    }
    out
}

/// The words of a header as keys; a Chinese character is a word.
fn pieces(header: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    let mut before = ' ';
    for c in header.chars() {
        if c.is_alphanumeric() {
            let starts = !before.is_alphanumeric() || is_han(c) || is_han(before) || (c.is_uppercase() && before.is_lowercase());
            match pieces.last_mut() {
                Some(piece) if !starts => piece.extend(c.to_lowercase()),
                _ => pieces.push(c.to_lowercase().collect()),
            }
        }
        before = c;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_line_of_the_table_reads() {
        for line in include_str!("../../reference/header_synonyms.csv").lines().filter(|line| !line.starts_with('#')).skip(1) {
            let cells: Vec<&str> = line.split(',').collect();
            assert_eq!(cells.len(), 5, "{line}");
            assert!(cells[0].is_empty() != Target::of_word(cells[0]).is_some() && cells[1].is_empty() != comparator(cells[1]).is_some(), "{line}");
            assert!(cells[2].is_empty() != belongs_to(cells[2]).is_some() && (1..=99).contains(&cells[3].parse::<u8>().unwrap()), "{line}");
            assert!(!cells[0].is_empty() || !cells[1].is_empty(), "{line}");
            assert!(cells[4].split('|').all(|header| !key(header).is_empty()), "{line}");
        }
        for (header, synonyms) in SYNONYMS.iter() {
            for (n, synonym) in synonyms.iter().enumerate() {
                let twice = synonyms[..n].iter().any(|other| (other.to, other.belongs) == (synonym.to, synonym.belongs));
                assert!(!twice, "{header} means the same twice");
            }
        }
        assert!(SYNONYMS.len() > 800, "{}", SYNONYMS.len());
    }

    #[test]
    fn a_header_is_known_in_whole_or_in_part() {
        for (header, want, whole) in [
            (" 手机号（必填）*", Target::Phone, true),
            ("E-Mail", Target::Email, true),
            ("Phone 2", Target::Phone, false),
            ("金额(元)", Target::Amount, true),
            ("主要客户联系电话", Target::Phone, false),
            ("PatientLastName", Target::Surname, false),
            ("amount_usd", Target::Amount, false),
            ("店铺手机号码", Target::Phone, false),
            ("ORDER_ID", Target::ExternalId, true),
        ] {
            let best = meanings(header).into_iter().max_by(|a, b| a.sure.total_cmp(&b.sure)).unwrap();
            assert_eq!((best.synonym.to, best.whole), (Some(want), whole), "{header}");
        }
        for header in ["", "?", "随便", "Progmod", "Length of Day"] {
            assert_eq!(meanings(header), [], "{header}");
        }
        assert_eq!(meanings("soc_sec_id")[0].synonym.compare, Some(Comparator::Digits));
        assert_eq!((meant("Handy"), meant("cell")), (None, Some(Target::Phone)));
    }

    proptest! {
        #[test]
        fn any_header_gets_an_answer(header in "(?s).{0,40}") {
            for meaning in meanings(&header) { prop_assert!(meaning.sure > 0.0 && meaning.sure < 1.0); }
        }
    }
}
