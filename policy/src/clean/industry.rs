//! Industries by code, name or colloquial word (GB/T 4754-2017, sections and divisions).

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use super::{Cleaned, Reference, Rule, Rules, rows, text};

/// What stands where the industry is not known yet: to be completed.
pub const UNKNOWN: &str = "待完善";

/// How a word names an industry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// By its name in the standard.
    Name,
    /// By a colloquial word.
    Alias,
}

/// Codes with their names.
static NAMES: LazyLock<HashMap<&str, &str>> = LazyLock::new(|| standard().collect());

/// The division of every two digits.
static DIVISIONS: LazyLock<[Option<&str>; 100]> = LazyLock::new(|| {
    let mut divisions = [None; 100];
    for (code, _) in standard() {
        if let Some(slot) = code.get(1..).and_then(|digits| digits.parse::<usize>().ok()).and_then(|at| divisions.get_mut(at)) {
            *slot = Some(code);
        }
    }
    divisions
});

fn standard() -> impl Iterator<Item = (&'static str, &'static str)> {
    rows(include_str!("../../reference/industries.csv"))
}

/// The words that everyone uses, in capitals.
pub(super) fn words() -> impl Iterator<Item = (&'static str, (&'static str, Written))> {
    let aliases = rows(include_str!("../../reference/industry_aliases.csv")).filter_map(|(word, code)| Some((word, (known(code)?, Written::Alias))));
    let names = standard().filter(|(code, _)| code.len() == 3 || *code == "I").map(|(code, name)| (name, (code, Written::Name)));
    aliases.chain(names)
}

/// The code as the standard has it, where it has it.
pub(super) fn known(code: &str) -> Option<&'static str> {
    NAMES.get_key_value(code).map(|(code, _)| *code)
}

/// The name of a code such as `I65`.
#[must_use]
pub fn name(code: &str) -> Option<&'static str> {
    NAMES.get(code).copied()
}

/// The code of a cell: `I65`, `65`, `6513`, a name of the standard, or an alias.
#[must_use]
pub fn code(raw: &str, reference: &Reference) -> Cleaned<Option<&'static str>> {
    let mut rules = Rules::NONE;
    let text = text::noting(raw, &mut rules);
    let upper = if text.chars().any(char::is_lowercase) { Cow::Owned(text.to_uppercase()) } else { Cow::Borrowed(&*text) };
    // 软件业(SaaS): what stands in brackets only explains.
    let plain = upper.split_once('(').map_or(&*upper, |(head, _)| head.trim_end());
    if let Some((code, written)) = reference.industry(&upper).or_else(|| reference.industry(plain)) {
        rules.add(if written == Written::Name { Rule::IndustryName } else { Rule::IndustryAlias });
        return Cleaned { value: Some(code), rules };
    }
    let code = [&*upper, before_name(plain)].into_iter().find_map(|code| known(code).or_else(|| division(code)));
    rules.add_if(code.is_some_and(|code| *code != *text), Rule::IndustryCode);
    Cleaned::read(code, rules)
}

/// The code of I65 软件和信息技术服务业, which goes before the name. Digits alone may be anything.
fn before_name(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
    if end > 2 && text.starts_with(|c: char| c.is_ascii_uppercase()) { &text[..end] } else { text }
}

/// The division of a code such as `65`, `6513` or `I651`, where the section is the right one.
fn division(upper: &str) -> Option<&'static str> {
    let digits = upper.trim_start_matches(|c: char| c.is_ascii_uppercase());
    let section = &upper[..upper.len() - digits.len()];
    if !(2..=4).contains(&digits.len()) || section.len() > 1 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let at: usize = digits[..2].parse().ok()?;
    DIVISIONS.get(at).copied().flatten().filter(|code| code.starts_with(section))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
            ("I65 软件和信息技术服务业", "I65"),
            ("I65-软件和信息技术服务业", "I65"),
            ("餐饮业（连锁）", "H62"),
        ] {
            assert_eq!(code(raw, Reference::standard()).value, Some(want), "{raw}");
        }
        for raw in ["", "其他", "Z99", "99", "K65", "2024年", "65人", "A股上市公司", "T恤", "E-commerce"] {
            assert_eq!(code(raw, Reference::standard()).value, None, "{raw}");
        }
        assert_eq!(name("I65"), Some("软件和信息技术服务业"));
    }

    proptest! {
        #[test]
        fn a_code_stays(raw in "\\PC{0,8}|[A-Ta-t]?[0-9]{1,4}[ -]?(\\PC{0,3})|[a-t] ?|餐饮|it") {
            if let Some(value) = code(&raw, Reference::standard()).value {
                prop_assert_eq!(code(value, Reference::standard()), Cleaned { value: Some(value), rules: Rules::NONE });
                prop_assert!(name(value).is_some());
            }
        }
    }
}
