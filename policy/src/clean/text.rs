//! What every cell goes through first.

use crate::kind::Invalid;

/// Full-width forms to half-width, invisible characters out, every kind of space to one plain space, trimmed.
#[must_use]
pub fn fold(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    for c in raw.chars() {
        match c {
            '\u{ff01}'..='\u{ff5e}' => out.extend(char::from_u32(u32::from(c) - 0xfee0)),
            '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{ad}' => {}
            c if c.is_whitespace() || c == '\u{3164}' => {
                if !out.ends_with(' ') {
                    out.push(' ');
                }
            }
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out.truncate(out.trim_end().len());
    out.drain(..out.len() - out.trim_start().len());
    out
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
        assert_eq!(fold("１８０７９６"), "180796");
        assert_eq!(fold("\u{200b}138 \u{a0}\u{3000}0013\u{feff} "), "138 0013");
        assert_eq!(fold("＠"), "@");
        assert_eq!(fold(" \t\r\n"), "");
    }

    proptest! {
        #[test]
        fn folding_twice_is_folding_once(raw in "\\PC{0,60}") {
            let once = fold(&raw);
            prop_assert_eq!(fold(&once), once);
        }
    }
}
