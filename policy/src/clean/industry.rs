//! Industries by code, name or colloquial word (GB/T 4754-2017, sections and divisions).

use std::collections::HashMap;
use std::sync::LazyLock;

use super::{rows, text::fold};

/// What stands where the industry is not known yet: to be completed.
pub const UNKNOWN: &str = "待完善";

static NAMES: LazyLock<HashMap<&str, &str>> = LazyLock::new(|| rows(include_str!("../../reference/industries.csv")).collect());
static WORDS: LazyLock<HashMap<&str, &str>> = LazyLock::new(|| {
    let names = rows(include_str!("../../reference/industries.csv")).map(|(code, name)| (name, code)).filter(|(_, code)| code.len() == 3 || *code == "I");
    names.chain(rows(include_str!("../../reference/industry_aliases.csv"))).collect()
});

/// The name of a code such as `I65`.
#[must_use]
pub fn name(code: &str) -> Option<&'static str> {
    NAMES.get(code).copied()
}

/// The code of a cell: `I65`, `65`, `6513`, a name of the standard, or an alias.
#[must_use]
pub fn code(raw: &str) -> Option<String> {
    let text = fold(raw);
    let upper = text.to_uppercase();
    if let Some(code) = NAMES.get_key_value(upper.as_str()).map(|(code, _)| (*code).to_owned()) {
        return Some(code);
    }
    let digits = upper.trim_start_matches(|c: char| c.is_ascii_uppercase());
    if (2..=4).contains(&digits.len()) && upper.len() - digits.len() <= 1 && digits.bytes().all(|b| b.is_ascii_digit()) {
        return NAMES
            .keys()
            .find(|code| code.len() == 3 && code[1..] == digits[..2] && upper.starts_with(|c: char| c.is_ascii_digit() || code.starts_with(c)))
            .map(|code| (*code).to_owned());
    }
    WORDS.get(text.as_str()).or_else(|| WORDS.get(upper.as_str())).map(|code| (*code).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples() {
        for (raw, want) in [
            ("I65", "I65"),
            ("i65", "I65"),
            ("65", "I65"),
            ("6513", "I65"),
            ("7251", "L72"),
            ("餐饮业", "H62"),
            ("it", "I65"),
            ("软件和信息技术服务业", "I65"),
            ("健身", "R89"),
            ("医药制造业", "C27"),
            ("教育", "P83"),
            ("房地产业", "K70"),
        ] {
            assert_eq!(code(raw).as_deref(), Some(want), "{raw}");
        }
        for raw in ["", "其他", "Z99", "99", "K65"] {
            assert_eq!(code(raw), None, "{raw}");
        }
        assert_eq!(name("I65"), Some("软件和信息技术服务业"));
    }
}
