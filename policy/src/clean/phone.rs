//! Telephone cells: mobile numbers, landlines, and the many things that are neither.
//!
//! Whether a segment is assigned is judged here, where a tenant's [`Reference`] is at hand. A value of the kind
//! [`Phone`] is only of the right shape, so that what was accepted once can be read again wherever it is kept.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::LazyLock;

use super::{Cleaned, Reference, Rule, Rules, rows, text};
use crate::field::kinds::{Landline, Phone};
use crate::kind::{Invalid, Pii};
use crate::mask::is_han;

static AREA_CODES: LazyLock<HashSet<&str>> = LazyLock::new(|| rows(include_str!("../../reference/area_codes.csv")).map(|(code, _)| code).collect());

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
    /// A service number such as 400-800-8888, which is nobody's own: kept in the raw row, never a link key.
    Service,
    /// A number that stands for no number.
    Placeholder,
    /// The row is to be rejected with this reason.
    Invalid(&'static str),
}

/// Reads a telephone cell. Of two numbers the first counts.
#[must_use]
pub fn cell(raw: &str, reference: &Reference) -> Cleaned<Cell> {
    let mut rules = Rules::NONE;
    let folded = text::noting(raw, &mut rules);
    let body = strip_label(text::unquoted(&folded, &mut rules), &mut rules);
    match read(body, reference, &mut rules) {
        Ok(value) => {
            let rules = match value {
                Cell::Empty if folded.is_empty() => rules,
                Cell::Empty => Rules::of(Rule::TextNothing),
                Cell::Masked => Rules::of(Rule::PhoneMasked),
                Cell::Privacy => Rules::of(Rule::PhonePrivacy),
                Cell::Service => Rules::of(Rule::PhoneService),
                Cell::Placeholder => Rules::of(Rule::PhonePlaceholder),
                _ => rules,
            };
            Cleaned { value, rules }
        }
        Err(Invalid(why)) => Cleaned { value: Cell::Invalid(why), rules: Rules::NONE },
    }
}

fn read(body: &str, reference: &Reference, rules: &mut Rules) -> Result<Cell, Invalid> {
    if reference.is_nothing(body) {
        return Ok(Cell::Empty);
    }
    let mut first = body;
    // Most cells are plain digits.
    if !body.bytes().all(|b| b.is_ascii_digit()) {
        if is_scientific(body) {
            return Err(Invalid("in scientific notation: digits are lost; export the column as text"));
        }
        if is_privacy(body) {
            return Ok(Cell::Privacy);
        }
        first = before_label(first_number(body, rules), rules);
        if is_masked(first) {
            return Ok(Cell::Masked);
        }
        first = before_extension(first, rules);
        if first.starts_with('+') && !digits_of(first).starts_with("86") {
            return Err(Invalid("a number of another country"));
        }
        if !first.chars().all(is_of_number) {
            return Err(Invalid("holds something other than digits"));
        }
    }
    if let Some(number) = area_and_number(first) {
        note_landline(first, &number, rules);
        return Landline::parse(&number).map(Cell::Landline);
    }
    let digits = digits_of(first);
    let national = national(&digits);
    if is_service(national) {
        return Ok(Cell::Service);
    }
    shape(national)?;
    if !reference.is_person(national) {
        return Err(Invalid("an unassigned number segment"));
    }
    if reference.is_placeholder(national) {
        return Ok(Cell::Placeholder);
    }
    note_mobile(first, national, rules);
    Phone::parse(national).map(Cell::Mobile)
}

/// A mobile number of 11 digits. Separators, labels, `+86`, `0086` and `86` are dropped.
///
/// # Errors
/// Says which rule the number breaks.
pub fn mobile(raw: &str) -> Result<String, Invalid> {
    let folded = text::fold(raw);
    let body = strip_label(text::unquoted(&folded, &mut Rules::default()), &mut Rules::default());
    if !body.chars().all(is_of_number) {
        return Err(Invalid("a mobile number has 11 digits and nothing else"));
    }
    let digits = digits_of(body);
    let national = national(&digits);
    shape(national).map(|()| national.to_owned())
}

/// A landline with a known area code, as `010-62345678`.
///
/// # Errors
/// Says which rule the number breaks.
pub fn landline(raw: &str) -> Result<String, Invalid> {
    area_and_number(&text::fold(raw)).ok_or(Invalid("a landline is a known area code and 7 or 8 digits"))
}

/// Whether `area` is a landline area code such as `010`.
#[must_use]
pub fn is_area_code(area: &str) -> bool {
    AREA_CODES.contains(area)
}

fn area_and_number(text: &str) -> Option<String> {
    let digits = digits_of(text);
    // Abroad the area code loses its 0.
    let abroad = ["0086", "86"].iter().find_map(|code| digits.strip_prefix(code)).filter(|_| text.starts_with(['+', '0']));
    let with_zero = abroad.filter(|rest| !rest.starts_with('0')).map(|rest| format!("0{rest}"));
    let digits = with_zero.as_deref().or(abroad).unwrap_or_else(|| digits.strip_prefix("86").unwrap_or(&digits));
    if !digits.starts_with('0') || !text.chars().all(|c| c != '.' && is_of_number(c)) {
        return None;
    }
    [3, 4].into_iter().find_map(|width| {
        let (area, number) = digits.split_at_checked(width)?;
        let good = (7..=8).contains(&number.len()) && !number.starts_with(['0', '1']) && is_area_code(area);
        good.then(|| format!("{area}-{number}"))
    })
}

fn note_landline(written: &str, number: &str, rules: &mut Rules) {
    let local = without_country(written, number);
    rules.add_if(local.len() < written.len(), Rule::PhoneCountryCode);
    rules.add_if(local != number, if local.bytes().all(|b| b.is_ascii_digit()) { Rule::PhoneAreaCode } else { Rule::PhoneSeparators });
}

fn note_mobile(written: &str, number: &str, rules: &mut Rules) {
    let plain = without_decimal(written);
    rules.add_if(plain.len() < written.len(), Rule::PhoneSpreadsheetDecimal);
    let local = without_country(plain, number);
    rules.add_if(local.len() < plain.len(), Rule::PhoneCountryCode);
    rules.add_if(local != number, Rule::PhoneSeparators);
}

/// What stands behind the country code, where that is how the number was written.
fn without_country<'t>(written: &'t str, number: &str) -> &'t str {
    let code = ["+86", "0086", "86"].iter().find_map(|code| written.strip_prefix(code));
    let local = code.map_or(written, |rest| rest.trim_start_matches([' ', '-']));
    let digits = |text: &str| text.bytes().filter(u8::is_ascii_digit).count();
    if digits(local) == digits(number) { local } else { written }
}

/// What a mobile number is by its form alone.
fn shape(national: &str) -> Result<(), Invalid> {
    let bare = |head: usize| national[head..].bytes().all(|b| b == b'0');
    match national.as_bytes() {
        [b'1', b'0' | b'4', ..] if national.len() == 13 => Err(Invalid("13 digits: a machine number")),
        [b'1', b'3'..=b'9', ..] if national.len() == 11 && (bare(3) || bare(4)) => Err(Invalid("a bare number segment")),
        [b'1', b'3'..=b'9', ..] if national.len() == 11 => Ok(()),
        _ if national.len() == 11 => Err(Invalid("an unassigned number segment")),
        [b'1', ..] if national.len() <= 8 => Err(Invalid("a bare number segment")),
        _ => Err(Invalid("not 11 digits")),
    }
}

/// Drops a label such as `Tel:` or 手机：, but never a single letter that may stand for a digit.
fn strip_label<'t>(text: &'t str, rules: &mut Rules) -> &'t str {
    let start = text.find(|c: char| c.is_ascii_digit() || matches!(c, '+' | '(')).unwrap_or(0);
    let (label, number) = text.split_at(start);
    let is_label = label.chars().nth(1).is_some() && label.chars().all(|c| c.is_alphabetic() || matches!(c, ':' | '.' | ' '));
    rules.add_if(is_label, Rule::PhoneLabel);
    if is_label { number } else { text }
}

/// The first of several numbers: signs part them, and a space where a whole number stands on either side.
fn first_number<'t>(text: &'t str, rules: &mut Rules) -> &'t str {
    let cut = text.find(['/', '、', ',', ';', '或', '和', '|', '&', '\\']).unwrap_or(text.len());
    let first = text[..cut].trim();
    let whole = |part: &str| digits_in(part) >= 11 && part.chars().all(is_of_number);
    let first = first.split_once(' ').filter(|(one, other)| whole(one) && whole(other)).map_or(first, |(one, _)| one);
    rules.add_if(first.len() < text.len(), Rule::PhoneFirstOfTwo);
    first
}

/// Without the note that stands behind a number: 13912345678(微信同号).
fn before_label<'t>(text: &'t str, rules: &mut Rules) -> &'t str {
    let noted = |(at, c): &(usize, char)| (is_han(*c) && *c != '转') || (*c == '(' && !text[at + 1..].trim_start().starts_with(|c: char| c.is_ascii_digit()));
    let end = text.char_indices().find(noted).map_or(text.len(), |(at, _)| at);
    let number = text[..end].trim_end();
    if end == text.len() || digits_in(number) < 7 {
        return text;
    }
    rules.add(Rule::PhoneLabel);
    number
}

/// A landline without the extension that is dialled behind it: 010-62345678-801.
fn before_extension<'t>(text: &'t str, rules: &mut Rules) -> &'t str {
    let whole = text.trim_end_matches([')', ' ']);
    let extension = &whole[whole.len() - whole.bytes().rev().take_while(u8::is_ascii_digit).count()..];
    let number = &whole[..whole.len() - extension.len()];
    let number = number.trim_end_matches(|c: char| !c.is_ascii_digit());
    if (1..=6).contains(&extension.len()) && area_and_number(number).is_some() {
        rules.add(Rule::PhoneExtension);
        return number;
    }
    text
}

fn digits_in(text: &str) -> usize {
    text.bytes().filter(u8::is_ascii_digit).count()
}

const fn is_of_number(c: char) -> bool {
    c.is_ascii_digit() || matches!(c, ' ' | '-' | '+' | '(' | ')' | '.' | '_' | '·' | '\u{2010}'..='\u{2015}' | '\u{2212}')
}

/// What sources write for a digit that they hide.
const fn is_star(c: char) -> bool {
    matches!(c, '*' | '•' | '●' | 'x' | 'X')
}

/// 11 characters, of which 3 to 6 are stars.
fn is_masked(text: &str) -> bool {
    let text = ["+86", "0086"].iter().find_map(|code| text.strip_prefix(code)).unwrap_or(text);
    let (starred, digits) = (text.chars().filter(|c| is_star(*c)).count(), digits_in(text));
    (3..=6).contains(&starred)
        && digits + starred == 11
        && text.chars().all(|c| is_star(c) || is_of_number(c))
        && text.bytes().find(u8::is_ascii_digit) == Some(b'1')
}

/// 11 digits and an extension of 4, whatever stands between them.
fn is_privacy(text: &str) -> bool {
    let text = text.trim_end_matches([')', ' ']);
    let (number, extension) = text.split_at(text.len() - text.bytes().rev().take_while(u8::is_ascii_digit).count());
    let bare = number.trim_end_matches(|c: char| !c.is_ascii_digit());
    let between = &number[bare.len()..];
    let digits = digits_of(bare);
    let national = national(&digits);
    let sign = |c: char| is_of_number(c) || matches!(c, ',' | ';' | '#' | '/' | '*' | '转' | '接' | '分' | '机' | ':' | 'e' | 'x' | 't' | 'E' | 'X' | 'T');
    extension.len() == 4
        && !between.is_empty()
        && between.chars().all(sign)
        && national.len() == 11
        && national.starts_with('1')
        && bare.chars().all(is_of_number)
}

/// 400 or 800 and 7 digits.
fn is_service(national: &str) -> bool {
    national.len() == 10 && (national.starts_with("400") || national.starts_with("800"))
}

/// The `.0` that a spreadsheet adds to a number is not part of it.
fn without_decimal(text: &str) -> &str {
    text.strip_suffix(".0").or_else(|| text.strip_suffix(".00")).unwrap_or(text)
}

fn digits_of(text: &str) -> Cow<'_, str> {
    let text = without_decimal(text);
    if text.bytes().all(|b| b.is_ascii_digit()) { Cow::Borrowed(text) } else { Cow::Owned(text.chars().filter(char::is_ascii_digit).collect()) }
}

/// Without the country code, when 11 digits that start with 1 remain.
fn national(digits: &str) -> &str {
    ["0086", "86"].iter().find_map(|code| digits.strip_prefix(code).filter(|rest| rest.len() == 11 && rest.starts_with('1'))).unwrap_or(digits)
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

    fn cell(raw: &str) -> Cell {
        super::cell(raw, Reference::standard()).value
    }

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
            "+1 305 555 1234",
        ] {
            assert!(matches!(cell(raw), Cell::Invalid(_)), "{raw}: {:?}", cell(raw));
        }
        for raw in [
            "13611110001 13711110002",
            "13611110001\n13711110002",
            "13611110001|13711110002",
            "13611110001和13711110002",
            "13611110001（微信同号）",
            "13611110001(张三)",
            "13611110001 李四",
            "136—1111—0001",
            "136·1111·0001",
            "136_1111_0001",
        ] {
            assert_eq!(cell(raw), mobile("13611110001"), "{raw}");
        }
        for raw in [
            "13611110001,1234",
            "13611110001/1234",
            "13611110001#1234",
            "13611110001 ext. 1234",
            "13611110001 转 1234",
            "13611110001(1234)",
            "13611110001_1234",
        ] {
            assert_eq!(cell(raw), Cell::Privacy, "{raw}");
        }
        for raw in ["+86 136****0001", "1361111****", "136••••0001", "136XXXX0001"] {
            assert_eq!(cell(raw), Cell::Masked, "{raw}");
        }
        for raw in ["010-62345678-801", "010-62345678转801", "+86-10-62345678", "010—62345678", "0086 10 62345678", "(010)62345678 ext 12", "010-62345678(801)"]
        {
            assert_eq!(cell(raw), Cell::Landline(Landline::parse("010-62345678").unwrap()), "{raw}");
        }
        for raw in ["400-800-8888", "4008008888", "800 810 8888"] {
            assert_eq!(cell(raw), Cell::Service, "{raw}");
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
        assert!(Phone::parse("16012345678").is_ok(), "whether a segment is assigned is not of the kind");
    }

    proptest! {
        /// However a good number is written, the same number comes out.
        #[test]
        fn format_does_not_matter(head in prop::sample::select(vec!["138", "150", "177", "199", "162"]), a in 1000u32..9999, b in 1000u32..9999, before in prop::sample::select(vec!["", "+86", "+86 ", "86", "0086", "'", "电话:", "\u{feff}"]), gap in prop::sample::select(vec!["", " ", "-", "\u{a0}"])) {
            let plain = format!("{head}{a}{b}");
            prop_assume!(!Reference::standard().is_placeholder(&plain));
            prop_assert_eq!(cell(&format!("{before}{head}{gap}{a}{gap}{b}")), Cell::Mobile(Phone::parse(&plain).unwrap()));
        }

        /// A number that was read is of its documented shape, and reading it again changes nothing.
        #[test]
        fn a_clean_number_stays(raw in "\\PC{0,40}|(\\+86|0086|Tel:|')?[01][0-9]{2,3}[ -]?[0-9]{4}[ -]?[0-9]{3,5}(\\.0|/1|-1234|转12|\\(张三\\)| 13611110001)?") {
            let once = super::cell(&raw, Reference::standard());
            let (shown, dot) = match &once.value {
                Cell::Mobile(phone) => (phone.expose(), None),
                Cell::Landline(landline) => (landline.expose(), landline.expose().find('-')),
                _ => return Ok(()),
            };
            prop_assert_eq!(once.rules.is_empty(), shown == raw, "{} {:?}", shown, once.rules);
            prop_assert_eq!(super::cell(shown, Reference::standard()), Cleaned { value: once.value.clone(), rules: Rules::NONE });
            prop_assert!(shown.len() == 11 || dot.is_some_and(|dot| dot == 3 || dot == 4));
        }
    }
}
