//! What every cell goes through first.

use std::borrow::Cow;

use super::{Cleaned, Rule, Rules};
use crate::kind::Invalid;

/// Full-width forms to half-width, invisible characters out, every kind of space to one plain space, trimmed.
#[must_use]
pub fn fold(raw: &str) -> Cow<'_, str> {
    noting(raw, &mut Rules::default())
}

/// [`fold`], and what it did.
#[must_use]
pub fn folded(raw: &str) -> Cleaned<Cow<'_, str>> {
    let mut rules = Rules::NONE;
    Cleaned { value: noting(raw, &mut rules), rules }
}

/// [`fold`], which notes what it did. Most cells are clean already and are borrowed.
pub(super) fn noting<'t>(raw: &'t str, rules: &mut Rules) -> Cow<'t, str> {
    let text = raw.trim();
    rules.add_if(text.len() < raw.len() && !text.is_empty(), Rule::TextTrimmed);
    let mut after_space = false;
    for (at, c) in text.char_indices() {
        let clean = match c {
            '!'..='~' | '\u{4e00}'..='\u{9fff}' => true,
            ' ' => !after_space,
            c => !is_invisible(c) && !is_space(c) && half_width(c).is_none(),
        };
        if !clean {
            return Cow::Owned(rewritten(text, at, rules));
        }
        after_space = c == ' ';
    }
    Cow::Borrowed(text)
}

/// The text, of which the first `clean` bytes stay as they are.
fn rewritten(text: &str, clean: usize, rules: &mut Rules) -> String {
    let mut out = String::with_capacity(text.len());
    out.push_str(&text[..clean]);
    for c in text[clean..].chars() {
        if let Some(half) = half_width(c) {
            rules.add(Rule::TextFullWidth);
            out.push(half);
        } else if is_space(c) {
            rules.add_if(c != ' ' || out.ends_with(' '), Rule::TextSpaces);
            if !out.ends_with(' ') {
                out.push(' ');
            }
        } else if is_invisible(c) {
            rules.add(Rule::TextInvisible);
        } else {
            out.push(c);
        }
    }
    let before = out.len();
    out.truncate(out.trim_end().len());
    out.drain(..out.len() - out.trim_start().len());
    rules.add_if(out.len() < before, Rule::TextTrimmed);
    out
}

fn half_width(c: char) -> Option<char> {
    if matches!(c, '\u{ff01}'..='\u{ff5e}') { char::from_u32(u32::from(c) - 0xfee0) } else { None }
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{ad}') || (c.is_control() && !c.is_whitespace())
}

fn is_space(c: char) -> bool {
    c.is_whitespace() || c == '\u{3164}'
}

/// Without the apostrophe that a spreadsheet puts before a number that is text.
pub(super) fn unquoted<'t>(text: &'t str, rules: &mut Rules) -> &'t str {
    let rest = text.trim_start_matches('\'');
    rules.add_if(rest.len() < text.len(), Rule::TextApostrophe);
    rest.trim_start()
}

/// Free text as it is kept: trimmed, not empty.
///
/// # Errors
/// An empty text.
pub fn free(raw: &str) -> Result<String, Invalid> {
    let text = raw.trim();
    if text.is_empty() { Err(Invalid("empty text")) } else { Ok(text.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn examples() {
        for (raw, want) in [
            ("１８０７９６", "180796"),
            ("\u{200b}138 \u{a0}\u{3000}0013\u{feff} ", "138 0013"),
            ("＠", "@"),
            (" \t\r\n", ""),
            ("a\u{0}b\tc", "ab c"),
            ("张 三", "张 三"),
        ] {
            assert_eq!(fold(raw), want, "{raw:?}");
        }
        assert!(matches!(fold(" 浙江省 杭州市 "), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn a_folded_text_is_borrowed_unchanged(raw in "(\\PC|[ \u{200b}\u{3000}\u{a0}ａ\t\u{0}\u{3164}]){0,60}") {
            let once = folded(&raw);
            prop_assert!(once.rules.is_empty() == (once.value == raw) || once.value.is_empty());
            let again = folded(&once.value);
            prop_assert_eq!(&again, &Cleaned { value: once.value.clone(), rules: Rules::NONE });
            prop_assert!(matches!(again.value, Cow::Borrowed(_)));
            prop_assert!(!once.value.contains("  ") && !once.value.chars().any(|c| c.is_control() || (c.is_whitespace() && c != ' ')));
        }
    }
}
