//! Masks: total functions that show the part of a value that may be shown.
//!
//! Each mask depends on the visible part alone (non-interference), which is what its property test checks: replace
//! the hidden part and the answer stays the same. A text that is not of the expected shape is `****`.

use crate::clean::{address, phone};

/// What is printed where nothing may be shown.
pub const HIDDEN: &str = "****";

/// `138****5678`.
#[must_use]
pub fn phone(clear: &str) -> String {
    match clear.as_bytes() {
        digits @ [b'1', ..] if digits.len() == 11 && digits.iter().all(u8::is_ascii_digit) => format!("{}****{}", &clear[..3], &clear[7..]),
        _ => HIDDEN.to_owned(),
    }
}

/// Area code and the last four digits: `010-****5678`.
#[must_use]
pub fn landline(clear: &str) -> String {
    match clear.split_once('-') {
        Some((area, number)) if phone::is_area_code(area) && (7..=8).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit()) => {
            format!("{area}-****{}", &number[number.len() - 4..])
        }
        _ => HIDDEN.to_owned(),
    }
}

/// Everything but the domain hidden: `***@example.com`.
#[must_use]
pub fn email(clear: &str) -> String {
    match clear.split_once('@') {
        Some((local, domain)) if !local.is_empty() && domain.contains('.') && domain.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-')) => {
            format!("***@{domain}")
        }
        _ => HIDDEN.to_owned(),
    }
}

/// A Chinese name keeps its last character (`*明`, `**明`); a Latin one the first letter of each part (`M*** L***`);
/// one character, and every other script, is stars alone.
#[must_use]
pub fn name(clear: &str) -> String {
    let characters: Vec<char> = clear.chars().filter(|c| *c != '·').collect();
    if characters.len() > 1 && characters.iter().all(|c| is_han(*c)) {
        let stars = if characters.len() == 2 { "*" } else { "**" };
        return characters.last().map_or_else(|| HIDDEN.to_owned(), |last| format!("{stars}{last}"));
    }
    // A., O'Brien and Smith-Jones: what joins letters is hidden with them.
    let latin =
        |part: &str| part.starts_with(|c: char| c.is_ascii_alphabetic()) && part.chars().all(|c| c.is_ascii_alphabetic() || matches!(c, '-' | '\'' | '.'));
    if !clear.is_empty() && clear.split(' ').all(latin) {
        let part = |part: &str| if part.len() > 1 { format!("{}***", &part[..1]) } else { "*".to_owned() };
        return clear.split(' ').map(part).collect::<Vec<_>>().join(" ");
    }
    if characters.len() == 1 { "*".to_owned() } else { "**".to_owned() }
}

/// Province, city and district as far as they are known divisions of China; the detail never: `浙江省|杭州市|西湖区|****`.
#[must_use]
pub fn address(clear: &str) -> String {
    let mut parts = clear.splitn(4, '|');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(province), Some(city), Some(district), Some(_))
            if [province, city, district].iter().all(|part| part.is_empty() || address::is_division(part)) =>
        {
            format!("{province}|{city}|{district}|{HIDDEN}")
        }
        _ => HIDDEN.to_owned(),
    }
}

/// Free text shows nothing at all.
#[must_use]
pub fn hidden(_clear: &str) -> String {
    HIDDEN.to_owned()
}

pub(crate) fn is_han(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}' | '〇')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn examples() {
        for (mask, clear, shown) in [
            (phone as fn(&str) -> String, "13812345678", "138****5678"),
            (phone, "1381234567", "****"),
            (phone, "１３８１２３４５６７８", "****"),
            (landline, "010-62345678", "010-****5678"),
            (landline, "999-62345678", "****"),
            (email, "li.ming@example.com", "***@example.com"),
            (email, "a@b@example.com", "****"),
            (email, "nobody", "****"),
            (name, "王明", "*明"),
            (name, "王小明", "**明"),
            (name, "阿依努尔·买买提", "**提"),
            (name, "𠮷", "*"),
            (name, "Mary Lee", "M*** L***"),
            (name, "John A. Smith-Jones", "J*** A*** S***"),
            (name, "X Æ", "**"),
            (name, "J Lee", "* L***"),
            (name, "Zoë", "**"),
            (name, "", "**"),
            (address, "浙江省|杭州市|西湖区|文三路1号", "浙江省|杭州市|西湖区|****"),
            (address, "浙江省|杭州市||文三路|1号", "浙江省|杭州市||****"),
            (address, "secret|x|y|z", "****"),
            (address, "文三路1号", "****"),
            (hidden, "anything", "****"),
        ] {
            assert_eq!(mask(clear), shown, "{clear}");
        }
    }

    proptest! {
        #[test]
        fn the_middle_of_a_phone_never_matters(head in "1[0-9]{2}", a in "[0-9]{4}", b in "[0-9]{4}", tail in "[0-9]{4}") {
            prop_assert_eq!(phone(&format!("{head}{a}{tail}")), phone(&format!("{head}{b}{tail}")));
        }

        #[test]
        fn the_local_part_of_an_address_never_matters(a in "[^@]{1,30}", b in "[^@]{1,30}", domain in ".{0,30}") {
            prop_assert_eq!(email(&format!("{a}@{domain}")), email(&format!("{b}@{domain}")));
        }

        #[test]
        fn all_but_the_last_character_of_a_name_never_matters(a in "[\u{4e00}-\u{9fff}]{2,8}", b in "[\u{4e00}-\u{9fff}]{2,8}", last in "[\u{4e00}-\u{9fff}]") {
            prop_assert_eq!(name(&format!("{a}{last}")), name(&format!("{b}{last}")));
        }

        #[test]
        fn the_detail_of_an_address_never_matters(a in ".*", b in ".*", head in prop::sample::select(vec!["浙江省|杭州市|西湖区", "||", "x|y|z", "浙江省|杭州市|"])) {
            prop_assert_eq!(address(&format!("{head}|{a}")), address(&format!("{head}|{b}")));
        }

        /// For any text in any script, no mask shows more than its contract's few characters of it.
        #[test]
        fn a_strange_text_shows_nothing(text in "\\PC{0,40}") {
            if !text.is_ascii() {
                prop_assert_eq!(phone(&text), HIDDEN);
                prop_assert_eq!(landline(&text), HIDDEN);
            }
            let shown: Vec<char> = name(&text).chars().filter(|c| *c != '*' && *c != ' ').collect();
            prop_assert!(shown.len() <= text.split(' ').count());
            prop_assert_eq!(hidden(&text), HIDDEN);
            if !text.contains('|') { prop_assert_eq!(address(&text), HIDDEN); }
        }
    }
}
