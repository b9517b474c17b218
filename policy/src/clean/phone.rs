//! Telephone cells: mobile numbers, landlines, and the many things that are neither.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use super::{rows, text::fold};
use crate::field::kinds::{Landline, Phone};
use crate::kind::{Invalid, Pii};

/// Segments of the numbering plan; the longest prefix wins.
static SEGMENTS: LazyLock<HashMap<&str, &str>> = LazyLock::new(|| rows(include_str!("../../reference/mobile_segments.csv")).collect());
static AREA_CODES: LazyLock<HashSet<&str>> = LazyLock::new(|| rows(include_str!("../../reference/area_codes.csv")).map(|(code, _)| code).collect());

/// The number that everyone types when a number is required.
const PLACEHOLDERS: [&str; 3] = ["13800138000", "13888888888", "13912345678"];

/// What a telephone cell turned out to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Nothing, or a word for nothing.
    Empty,
    /// A mobile number that links.
    Mobile(Phone),
    /// A landline: kept, never a link key.
    Landline(Landline),
    /// A number that its source has masked already: kept in the raw row, never a link key.
    Masked,
    /// A relay number with an extension: kept in the raw row, never a link key.
    Privacy,
    /// A number that stands for no number.
    Placeholder,
    /// The row is to be rejected with this reason.
    Invalid(&'static str),
}

/// Reads a telephone cell. Of two numbers the first counts.
#[must_use]
pub fn cell(raw: &str) -> Cell {
    let folded = fold(raw);
    let body = strip_label(folded.trim_start_matches('\'').trim());
    if body.is_empty() || matches!(body, "无" | "没有" | "不详" | "未知" | "-" | "--" | "/" | "N/A" | "n/a" | "null" | "NULL" | "暂无") {
        return Cell::Empty;
    }
    if is_scientific(body) {
        return Cell::Invalid("in scientific notation: digits are lost; export the column as text");
    }
    let first = first_number(body);
    let starred = first.chars().filter(|c| *c == '*').count();
    let digits: String = first.chars().filter(char::is_ascii_digit).collect();
    if (3..=6).contains(&starred) && digits.len() + starred == 11 && digits.starts_with('1') && first.ends_with(|c: char| c.is_ascii_digit()) {
        return Cell::Masked;
    }
    if let Some((number, extension)) = first.rsplit_once(['-', '转']) {
        let number: String = number.chars().filter(char::is_ascii_digit).collect();
        if extension.len() == 4 && extension.bytes().all(|b| b.is_ascii_digit()) && number.len() == 11 && number.starts_with('1') {
            return Cell::Privacy;
        }
    }
    if first.chars().any(|c| !c.is_ascii_digit() && !matches!(c, ' ' | '-' | '+' | '(' | ')' | '.')) {
        return Cell::Invalid("holds something other than digits");
    }
    if let Ok(number) = Landline::parse(first) {
        return Cell::Landline(number);
    }
    let national = national(&digits_of(first));
    match judge(&national) {
        Ok(()) if PLACEHOLDERS.contains(&national.as_str()) => Cell::Placeholder,
        Ok(()) => Phone::parse(&national).map_or(Cell::Invalid("not a mobile number"), Cell::Mobile),
        Err(Invalid(why)) => Cell::Invalid(why),
    }
}

/// A mobile number of 11 digits on an assigned segment. Separators, labels, `+86`, `0086` and `86` are dropped.
///
/// # Errors
/// Says which rule the number breaks.
pub fn mobile(raw: &str) -> Result<String, Invalid> {
    let folded = fold(raw);
    let body = strip_label(folded.trim_start_matches('\'').trim());
    if body.chars().any(|c| !c.is_ascii_digit() && !matches!(c, ' ' | '-' | '+' | '(' | ')' | '.')) {
        return Err(Invalid("a mobile number has 11 digits and nothing else"));
    }
    let national = national(&digits_of(body));
    judge(&national).map(|()| national)
}

/// A landline with a known area code, as `010-62345678`.
///
/// # Errors
/// Says which rule the number breaks.
pub fn landline(raw: &str) -> Result<String, Invalid> {
    let folded = fold(raw);
    let digits = digits_of(&folded);
    let digits = digits.strip_prefix("86").filter(|rest| rest.starts_with('0')).unwrap_or(&digits);
    if !folded.chars().all(|c| c.is_ascii_digit() || matches!(c, ' ' | '-' | '(' | ')' | '+')) {
        return Err(Invalid("a landline is an area code and 7 or 8 digits"));
    }
    for width in [3, 4] {
        if let Some((area, number)) = digits.split_at_checked(width)
            && is_area_code(area)
            && (7..=8).contains(&number.len())
            && !number.starts_with(['0', '1'])
        {
            return Ok(format!("{area}-{number}"));
        }
    }
    Err(Invalid("a landline is a known area code and 7 or 8 digits"))
}

/// Whether `area` is a landline area code such as `010`.
#[must_use]
pub fn is_area_code(area: &str) -> bool {
    AREA_CODES.contains(area)
}

fn judge(national: &str) -> Result<(), Invalid> {
    let bare = |head: usize| national.len() >= head && national[head..].bytes().all(|b| b == b'0');
    match national.len() {
        13 if national.starts_with("10") || national.starts_with("14") => Err(Invalid("13 digits: a machine number")),
        11 => match segment(national) {
            Some("mobile" | "mvno" | "data_card") if bare(3) || bare(4) => Err(Invalid("a bare number segment")),
            Some("mobile" | "mvno" | "data_card") => Ok(()),
            _ => Err(Invalid("an unassigned number segment")),
        },
        0..=8 if national.starts_with('1') => Err(Invalid("a bare number segment")),
        _ => Err(Invalid("not 11 digits")),
    }
}

fn segment(number: &str) -> Option<&'static str> {
    (3..=5).rev().find_map(|width| SEGMENTS.get(number.get(..width)?).copied())
}

/// Drops a label such as `Tel:` or 手机：, but never a single letter that may stand for a digit.
fn strip_label(text: &str) -> &str {
    let start = text.find(|c: char| c.is_ascii_digit() || matches!(c, '+' | '(')).unwrap_or(0);
    let label = &text[..start];
    let is_label = label.chars().count() > 1 && label.chars().all(|c| c.is_alphabetic() || matches!(c, ':' | '.' | ' '));
    if is_label { &text[start..] } else { text }
}

fn first_number(text: &str) -> &str {
    let cut = text.find(['/', '、', ',', ';', '，', '；', '或']).unwrap_or(text.len());
    text[..cut].trim()
}

/// The digits of a cell; the `.0` that a spreadsheet adds to a number is not part of it.
fn digits_of(text: &str) -> String {
    let text = text.strip_suffix(".0").or_else(|| text.strip_suffix(".00")).unwrap_or(text);
    text.chars().filter(char::is_ascii_digit).collect()
}

/// Without the country code, when 11 digits that start with 1 remain.
fn national(digits: &str) -> String {
    ["0086", "86"].iter().find_map(|code| digits.strip_prefix(code).filter(|rest| rest.len() == 11 && rest.starts_with('1'))).unwrap_or(digits).to_owned()
}

fn is_scientific(text: &str) -> bool {
    text.split_once(['E', 'e']).is_some_and(|(mantissa, exponent)| {
        mantissa.bytes().next().is_some_and(|b| b.is_ascii_digit())
            && mantissa.bytes().all(|b| b.is_ascii_digit() || b == b'.')
            && !exponent.is_empty()
            && exponent.bytes().all(|b| b.is_ascii_digit() || b == b'+')
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn examples() {
        let mobile = |n: &str| Cell::Mobile(Phone::parse(n).unwrap());
        for (raw, want) in [
            ("17757851669", "17757851669"),
            ("145-4231-5830", "14542315830"),
            ("１８０７９６５９７２６", "18079659726"),
            ("+86 15125286372", "15125286372"),
            ("+86-177-2716-5043", "17727165043"),
            ("8613548104418", "13548104418"),
            ("008617847295800", "17847295800"),
            ("'13428491816", "13428491816"),
            ("18127086962.0", "18127086962"),
            ("\u{200b}18251870360\u{a0}", "18251870360"),
            ("Tel:15157382684", "15157382684"),
            ("手机：151 5738 2684", "15157382684"),
            ("15680408419 或 13873713471", "15680408419"),
            ("15315088743/18890780216", "15315088743"),
            ("13190585059、18645480319", "13190585059"),
            ("16585423242", "16585423242"),
            ("17012345678", "17012345678"),
            ("19212345678", "19212345678"),
        ] {
            assert_eq!(cell(raw), mobile(want), "{raw}");
        }
        for raw in [
            "136193389441",
            "1571109081",
            "138",
            "1851",
            "1380013",
            "13800000000",
            "15600000000",
            "153XXXXXXXX",
            "198********",
            "1.37221E+10",
            "1440334483578",
            "1460536179360",
            "155858?4564",
            "181144l8841",
            "177544O7316",
            "10067312594",
            "11087841374",
            "14424551023",
            "16012345678",
        ] {
            assert!(matches!(cell(raw), Cell::Invalid(_)), "{raw}: {:?}", cell(raw));
        }
        for raw in ["", " ", "无", "-"] {
            assert_eq!(cell(raw), Cell::Empty, "{raw}");
        }
        assert_eq!(cell("130****2589"), Cell::Masked);
        assert_eq!(cell("18493103476-1636"), Cell::Privacy);
        assert_eq!(cell("13800138000"), Cell::Placeholder);
        assert_eq!(cell("025-48634010"), Cell::Landline(Landline::parse("025-48634010").unwrap()));
        assert_eq!(cell("(0755)76360204"), Cell::Landline(Landline::parse("0755-76360204").unwrap()));
        assert!(Phone::parse("13800000000").is_err());
    }

    proptest! {
        /// However a good number is written, the same number comes out.
        #[test]
        fn format_does_not_matter(head in prop::sample::select(vec!["138", "150", "177", "199", "162"]), a in 1000u32..9999, b in 1000u32..9999, before in prop::sample::select(vec!["", "+86", "+86 ", "86", "0086", "'", "电话:", "\u{feff}"]), gap in prop::sample::select(vec!["", " ", "-", "\u{a0}"])) {
            let plain = format!("{head}{a}{b}");
            prop_assume!(!PLACEHOLDERS.contains(&plain.as_str()));
            prop_assert_eq!(cell(&format!("{before}{head}{gap}{a}{gap}{b}")), Cell::Mobile(Phone::parse(&plain).unwrap()));
        }

        #[test]
        fn any_text_gets_an_answer(raw in "\\PC{0,40}") {
            if let Cell::Mobile(phone) = cell(&raw) {
                prop_assert_eq!(phone.expose().len(), 11);
            }
        }
    }
}
