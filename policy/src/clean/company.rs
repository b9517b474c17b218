//! Company names: shown as written, compared without their legal form.

use std::borrow::Cow;

use super::{Cleaned, Reference, Rule, Rules, text};

const FORMS: [&str; 12] =
    ["股份有限责任公司", "有限责任公司", "股份有限公司", "集团有限公司", "有限公司", "集团公司", "分公司", "股份公司", "有限", "公司", "集团", "股份"];

/// Words for no company, beside the words for nothing.
const NONE: [&str; 8] = ["个人", "其他", "自由职业", "个体", "个体户", "无业", "退休", "none"];

/// The name as it is kept, where the cell holds one.
#[must_use]
pub fn name(raw: &str, reference: &Reference) -> Cleaned<Option<String>> {
    let mut rules = Rules::NONE;
    let text = text::noting(raw, &mut rules);
    if text.is_empty() {
        return Cleaned::read(None, rules);
    }
    let lower = if text.is_ascii() { Cow::Owned(text.to_ascii_lowercase()) } else { Cow::Borrowed(&*text) };
    if reference.is_nothing(&lower) {
        return Cleaned::nothing(Rule::TextNothing);
    }
    let letters = text.chars().filter(|c| c.is_alphanumeric()).count();
    if letters < 2 || NONE.contains(&&*lower) {
        return Cleaned::nothing(Rule::CompanyNone);
    }
    Cleaned { value: Some(text.into_owned()), rules }
}

/// What two spellings of one company have in common: no brackets, no spaces, no legal form.
#[must_use]
pub fn key(name: &str) -> String {
    let folded = text::fold(name);
    let mut key: String = folded.chars().filter(|c| !matches!(c, '(' | ')' | ' ' | '·' | '.' | '-' | ',' | '（' | '）')).flat_map(char::to_lowercase).collect();
    while let Some(shorter) = FORMS.iter().find_map(|form| key.strip_suffix(form)).filter(|rest| rest.chars().nth(1).is_some()) {
        key.truncate(shorter.len());
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn examples() {
        assert_eq!(key("（秦皇）岛联泰食品有限公司"), key("秦皇岛联泰食品有限责任公司"));
        assert_eq!(key("长春龙盛商贸有限"), key("长春龙盛商贸股份有限公司 "));
        assert_ne!(key("上海远恒物流有限公司"), key("上海远恒环保有限公司"));
        for none in [" ", "--", "N/A", "没有", "自由职业", "无"] {
            assert_eq!(name(none, Reference::standard()).value, None, "{none}");
        }
        assert_eq!(key("公司"), "公司");
    }

    proptest! {
        #[test]
        fn a_kept_name_stays_and_its_key_is_its_own_key(raw in "\\PC{0,20}|( |（)?[秦皇岛联泰]{0,4}(有限|公司|集团|股份){0,3} ?|[nN](/[aA]|one|ull)") {
            let once = name(&raw, Reference::standard());
            if let Some(kept) = &once.value {
                prop_assert_eq!(once.rules.is_empty(), *kept == raw);
                prop_assert_eq!(name(kept, Reference::standard()), Cleaned { value: Some(kept.clone()), rules: Rules::NONE });
                prop_assert!(kept.chars().filter(|c| c.is_alphanumeric()).count() >= 2);
            }
            prop_assert_eq!(key(&key(&raw)), key(&raw));
        }
    }
}
