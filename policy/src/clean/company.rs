//! Company names: shown as written, compared without their legal form.

use super::text::fold;

const FORMS: [&str; 12] =
    ["股份有限责任公司", "有限责任公司", "股份有限公司", "集团有限公司", "有限公司", "集团公司", "分公司", "股份公司", "有限", "公司", "集团", "股份"];

/// Words for no company.
const NONE: [&str; 14] = ["个人", "暂无", "不详", "没有", "未知", "其他", "自由职业", "个体", "个体户", "无业", "退休", "n/a", "none", "null"];

/// The name as it is kept, or `None` when the cell holds none.
#[must_use]
pub fn name(raw: &str) -> Option<String> {
    let text = fold(raw);
    let letters = text.chars().filter(|c| c.is_alphanumeric()).count();
    (letters >= 2 && !NONE.contains(&text.to_lowercase().as_str())).then_some(text)
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
        for none in [" ", "--", "N/A", "没有", "自由职业", "无"] {
            assert_eq!(name(none), None, "{none}");
        }
        assert_eq!(key("公司"), "公司");
    }
}
