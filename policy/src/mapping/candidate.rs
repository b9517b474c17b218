//! What one column may be, by its header and by its cells, each with a confidence and a reason.
//!
//! A reason names headers and counts cells. It never quotes a cell, for cells are personal.

use super::expect::{SUGGESTED, expected};
use super::look::{Look, Sort};
use super::synonyms::{Belongs, Meaning, Synonym, meanings};
use super::{Comparator, Target, Tells};

/// The share of cells from which a pattern speaks for itself.
const CLEAR: f64 = 0.6;
/// What remains of a pattern's certainty when the header says something else.
const AGAINST_THE_HEADER: f64 = 0.65;
/// How certain a column can be of which only a part of the header is known.
const IN_PART: f64 = 0.88;

/// One thing that a column may be.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub to: Option<Target>,
    /// How it is compared; for a field, only where rows must be compared at all.
    pub compare: Option<Comparator>,
    pub confidence: f64,
    pub reason: String,
}

/// What all the headers together say of the file.
pub(super) struct Context {
    pub tells: Tells,
    address_parts: bool,
}

impl Context {
    /// The sort of file that most headers belong to, each counted as certain as it is.
    pub fn of(header: &[String]) -> Self {
        let deciding: Vec<(Belongs, f64)> = header.iter().filter_map(|cell| decides(&meanings(cell))).collect();
        let votes = |sort: Belongs| deciding.iter().filter(|(belongs, _)| *belongs == sort).map(|(_, sure)| sure).sum::<f64>();
        let sorts = [(Tells::FollowUp, votes(Belongs::FollowUp)), (Tells::Ticket, votes(Belongs::Ticket)), (Tells::Order, votes(Belongs::Order))];
        let most = sorts.into_iter().filter(|(_, votes)| *votes > 0.0).max_by(|a, b| a.1.total_cmp(&b.1));
        Self { tells: most.map_or(Tells::Membership, |(tells, _)| tells), address_parts: votes(Belongs::Address) > 0.0 }
    }

    fn is(&self, sort: Belongs) -> bool {
        match sort {
            Belongs::Order => self.tells == Tells::Order,
            Belongs::Ticket => self.tells == Tells::Ticket,
            Belongs::FollowUp => self.tells == Tells::FollowUp,
            Belongs::Address => self.address_parts,
        }
    }
}

fn decides(meanings: &[Meaning]) -> Option<(Belongs, f64)> {
    match meanings {
        [Meaning { synonym: Synonym { belongs: Some(belongs), sure, .. }, whole: true, .. }] if *sure >= Synonym::DECIDES => Some((*belongs, *sure)),
        _ => None,
    }
}

/// Everything that a column may be.
pub(super) fn candidates(header: &str, look: &mut Look, context: &Context) -> Vec<Candidate> {
    let meanings = meanings(header);
    let mut found: Vec<Candidate> = meanings.iter().map(|meaning| by_header(meaning, look, context)).collect();
    found.extend(foreign_number(&meanings, look));
    for candidate in by_cells(look) {
        if found.iter().any(|other| other.to == candidate.to && other.compare == candidate.compare) {
            continue;
        }
        found.push(match found.first() {
            None => Candidate { reason: format!("the header is not known; {}", candidate.reason), ..candidate },
            Some(other) => Candidate {
                confidence: candidate.confidence * AGAINST_THE_HEADER,
                reason: format!("{}, but {}", other.reason.split(';').next().unwrap_or_default(), candidate.reason),
                ..candidate
            },
        });
    }
    for candidate in &mut found {
        candidate.confidence = (candidate.confidence.clamp(0.0, 1.0) * 100.0).round() / 100.0;
    }
    found
}

/// What the header says, made more or less certain by the cells.
fn by_header(meaning: &Meaning, look: &mut Look, context: &Context) -> Candidate {
    let Synonym { to, compare, belongs, sure, .. } = meaning.synonym;
    let elsewhere = sure < Synonym::DECIDES && belongs.is_some_and(|sort| !context.is(sort));
    let header = if elsewhere { meaning.sure / 2.0 } else { meaning.sure };
    let says = format!("header {} {}", if meaning.whole { "means" } else { "holds a word for" }, label(to, compare));
    let expected = expected(to, compare);
    let most = if meaning.whole { 1.0 } else { IN_PART };
    let strong = expected.strong.map_or(0.0, |sort| look.share(sort));
    let plausible = look.share(expected.plausible);
    let (confidence, reason) = if look.filled == 0 {
        (header * 0.9, format!("{says}; the sample has no filled cell"))
    } else if let Some(sort) = expected.strong.filter(|_| strong >= 0.5) {
        (header + (most - header).max(0.0) * (strong - 0.5) * 1.8, format!("{says}; {}", look.tell(sort)))
    } else if plausible >= 0.5 {
        (header, format!("{says}; {}", look.tell(expected.plausible)))
    } else {
        (header * (0.2 + 1.2 * plausible), format!("{says}; but only {}", look.tell(expected.plausible)))
    };
    Candidate { to, compare, confidence, reason }
}

/// Telephone numbers of another country are no field of a customer here, but they tell persons apart.
fn foreign_number(meanings: &[Meaning], look: &mut Look) -> Option<Candidate> {
    let meaning = meanings.iter().find(|meaning| meaning.synonym.to == Some(Target::Phone))?;
    let foreign = look.filled > 0 && look.share(Sort::Phone) < 0.5 && look.share(Sort::Digits) >= CLEAR;
    foreign.then(|| Candidate {
        to: None,
        compare: Some(Comparator::Digits),
        confidence: meaning.sure * look.share(Sort::Digits),
        reason: format!(
            "header means {}; {}, but only {}: compared, not kept as a telephone number",
            Target::Phone.zh(),
            look.tell(Sort::Digits),
            look.tell(Sort::Phone)
        ),
    })
}

/// What the cells say by themselves.
fn by_cells(look: &mut Look) -> Vec<Candidate> {
    let mut found = Vec::new();
    for (sort, to, compare, most) in SUGGESTED {
        let share = look.share(sort);
        if look.filled > 0 && share >= CLEAR {
            found.push(Candidate { to, compare, confidence: most * share, reason: look.tell(sort) });
        }
    }
    found
}

fn label(to: Option<Target>, compare: Option<Comparator>) -> &'static str {
    match (to, compare) {
        (Some(target), _) => target.zh(),
        (None, Some(Comparator::Date)) => "a date that tells persons apart",
        (None, Some(Comparator::Digits)) => "a number that tells persons apart",
        (None, _) => "a word that helps to tell persons apart",
    }
}
