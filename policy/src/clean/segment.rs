//! Segments of the mobile numbering plan, in a table with one place for every first five digits: reading a number looks up one.

use super::rows;

/// What a segment's numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// A person's telephone, whether of an operator, a virtual operator or a data card.
    Person,
    /// Satellites, machines, emergencies, and what nobody has.
    Other,
}

impl Use {
    /// The use that the numbering plan calls so.
    pub(super) fn of_word(word: &str) -> Option<Self> {
        match word {
            "mobile" | "mvno" | "data_card" => Some(Self::Person),
            "satellite" | "m2m" | "emergency" | "unassigned" => Some(Self::Other),
            _ => None,
        }
    }
}

/// The numbering plan.
#[derive(Clone, Debug)]
pub(super) struct Segments(Vec<(u8, Use)>);

impl Segments {
    pub(super) fn standard() -> Self {
        let mut plan = Self(vec![(0, Use::Other); 10_000]);
        for (segment, word) in rows(include_str!("../../reference/mobile_segments.csv")) {
            plan.assign(segment, Use::of_word(word).unwrap_or(Use::Other));
        }
        plan
    }

    /// Assigns a segment of 3 to 5 digits. The longest segment wins, and of two equal ones the later.
    pub(super) fn assign(&mut self, segment: &str, to: Use) {
        let width = u8::try_from(segment.len()).unwrap_or(u8::MAX);
        let Some(first) = place(&format!("{segment:0<5}")) else { return };
        let numbers = 10_usize.pow(u32::from(5_u8.saturating_sub(width)));
        for (by, now) in self.0.iter_mut().skip(first).take(numbers) {
            if *by <= width {
                (*by, *now) = (width, to);
            }
        }
    }

    /// Whether a number is on a segment of persons.
    pub(super) fn is_person(&self, number: &str) -> bool {
        place(number).and_then(|at| self.0.get(at)).is_some_and(|(_, to)| *to == Use::Person)
    }
}

/// Whether numbers of this segment are of a mobile number's shape: 3 to 5 digits from 13 on.
pub(super) fn is_segment(text: &str) -> bool {
    (3..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()) && matches!(text.as_bytes(), [b'1', b'3'..=b'9', ..])
}

/// The place of a number: what its second to fifth digits say.
fn place(number: &str) -> Option<usize> {
    let digits = number.strip_prefix('1')?.get(..4)?;
    digits.bytes().try_fold(0, |place, b| b.is_ascii_digit().then(|| place * 10 + usize::from(b - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_segment_wins_and_of_two_equal_ones_the_later() {
        let mut plan = Segments::standard();
        for (number, person) in [("13812345678", true), ("13491234567", false), ("13401234567", true), ("17491234567", false), ("16012345678", false)] {
            assert_eq!(plan.is_person(number), person, "{number}");
        }
        plan.assign("160", Use::Person);
        plan.assign("134", Use::Other);
        assert!(plan.is_person("16012345678") && plan.is_person("13401234567"));
        plan.assign("1340", Use::Other);
        assert!(!plan.is_person("13401234567") && !plan.is_person("138") && !plan.is_person("1381x345678"));
    }

    #[test]
    fn every_bundled_segment_has_a_known_use() {
        for (segment, word) in rows(include_str!("../../reference/mobile_segments.csv")) {
            assert!(is_segment(segment) && Use::of_word(word).is_some(), "{segment}");
        }
    }
}
