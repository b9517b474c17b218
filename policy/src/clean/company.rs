//! Company names: shown as written, compared without their legal form.

use super::text::fold;

const FORMS: [&str; 12] =
    ["股份有限责任公司", "有限责任公司", "股份有限公司", "集团有限公司", "有限公司", "集团公司", "分公司", "股份公司", "有限", "公司", "集团", "股份"];

/// The name as it is kept, or `None` when the cell holds none.
#[must_use]
pub fn name(raw: &str) -> Option<String> {
    let text = fold(raw);
    (text.chars().count() >= 2 && !matches!(text.as_str(), "个人" | "暂无" | "不详")).then_some(text)
}

/// What two spellings of one company have in common: no brackets, no spaces, no legal form.
#[must_use]
pub fn key(name: &str) -> String {
    let mut text: String =
        fold(name).chars().filter(|c| !matches!(c, '(' | ')' | ' ' | '·' | '.' | '-' | ',' | '（' | '）')).flat_map(char::to_lowercase).collect();
    while let Some(shorter) = FORMS.iter().find_map(|form| text.strip_suffix(form)).filter(|rest| rest.chars().count() >= 2) {
        text = shorter.to_owned();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples() {
        assert_eq!(key("（秦皇）岛联泰食品有限公司"), key("秦皇岛联泰食品有限责任公司"));
        assert_eq!(key("长春龙盛商贸有限"), key("长春龙盛商贸股份有限公司 "));
        assert_ne!(key("上海远恒物流有限公司"), key("上海远恒环保有限公司"));
        assert_eq!(name(" "), None);
        assert_eq!(key("公司"), "公司");
    }
}
