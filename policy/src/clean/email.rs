//! E-mail addresses.

use std::borrow::Cow;

use super::{Cleaned, Rule, Rules, text};
use crate::field::kinds::Email;
use crate::kind::{Invalid, Pii};

/// Addresses that stand for no address.
const PLACEHOLDERS: [&str; 4] = ["1@1.com", "test@test.com", "a@a.com", "123@123.com"];
/// What is left around an address by a list of addresses.
const AROUND: [char; 10] = [';', ',', '.', '<', '>', ' ', '\'', '"', '。', '、'];
const PLACEHOLDER: Invalid = Invalid("a placeholder, not an e-mail address");
const MASKED: Invalid = Invalid("masked already; the address is needed as it is");

/// The address of a cell: lower-cased and trimmed, full-width signs and trailing punctuation mended.
#[must_use]
pub fn clean(raw: &str) -> Cleaned<Option<Email>> {
    match Email::parse(raw) {
        Ok(email) if email.expose() == raw => Cleaned { value: Some(email), rules: Rules::NONE },
        Ok(email) => {
            let mut rules = Rules::NONE;
            let _ = standard(raw, &mut rules);
            Cleaned { value: Some(email), rules }
        }
        Err(PLACEHOLDER) => Cleaned::nothing(Rule::EmailPlaceholder),
        Err(MASKED) => Cleaned::nothing(Rule::EmailMasked),
        Err(_) => Cleaned { value: None, rules: Rules::NONE },
    }
}

/// Lower-cased and trimmed, full-width signs and trailing punctuation mended (the common part of RFC 5321).
///
/// # Errors
/// Not an address, a placeholder, or one that is masked.
pub fn address(raw: &str) -> Result<String, Invalid> {
    let address = standard(raw, &mut Rules::default());
    judge(&address).map(|()| address.into_owned())
}

fn standard<'t>(raw: &'t str, rules: &mut Rules) -> Cow<'t, str> {
    let folded = text::noting(raw, rules);
    let (first, several) = first(&folded);
    let trimmed = bare(first);
    rules.add_if(several, Rule::EmailFirstOfTwo);
    rules.add_if(trimmed.len() < folded.len() && !several, Rule::EmailTrimmed);
    let capitals = trimmed.bytes().any(|b| b.is_ascii_uppercase()) || (!trimmed.is_ascii() && trimmed.chars().any(char::is_uppercase));
    rules.add_if(capitals, Rule::EmailLowerCase);
    match folded {
        Cow::Borrowed(folded) if !capitals => Cow::Borrowed(bare(self::first(folded).0)),
        _ => Cow::Owned(trimmed.to_lowercase()),
    }
}

/// The first of several addresses, and whether there are several. Before the @ a / belongs to the address; of a space nobody knows
/// whether it parts two.
fn first(folded: &str) -> (&str, bool) {
    let mut parts = folded.split([';', ',', '、']).filter(|part| part.contains('@'));
    let first = parts.next().unwrap_or(folded);
    let end = first.find('@').and_then(|at| first[at..].find(['/', '|']).map(|sign| at + sign)).unwrap_or(first.len());
    let several = parts.next().is_some() || first[end..].contains('@');
    let first = &first[..end];
    let mut words = first.split(' ').filter(|word| !word.is_empty());
    let spaced = words.clone().count() > 1 && words.all(|word| word.contains('@'));
    if spaced { (first.trim().split(' ').next().unwrap_or(first), true) } else { (first, several) }
}

/// Without what stands around an address: 张三 <a@x.cn>, mailto:a@x.cn, a@x.cn(工作).
fn bare(text: &str) -> &str {
    let text = text.split_once('<').map_or(text, |(_, inner)| inner.split('>').next().unwrap_or(inner));
    let text = text.trim_matches(AROUND);
    let text = text.get(..7).filter(|head| head.eq_ignore_ascii_case("mailto:")).map_or(text, |head| &text[head.len()..]);
    text.find('@').and_then(|at| text[at..].find('(').map(|note| &text[..at + note])).unwrap_or(text).trim_matches(AROUND)
}

fn judge(text: &str) -> Result<(), Invalid> {
    let (local, domain) = text.split_once('@').ok_or(Invalid("an e-mail address has an @"))?;
    if local.contains('*') {
        return Err(MASKED);
    }
    let label =
        |label: &str| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let good_local = !local.is_empty()
        && local.len() <= 64
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..")
        && local.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'+-/=?^_`{|}~.".contains(&b));
    let top = domain.rsplit('.').next().unwrap_or_default();
    let good_domain = domain.contains('.') && domain.split('.').all(label) && top.len() >= 2 && top.bytes().all(|b| b.is_ascii_alphabetic());
    if !good_local || !good_domain || text.len() > 254 {
        return Err(Invalid("not an e-mail address"));
    }
    if PLACEHOLDERS.contains(&text) { Err(PLACEHOLDER) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn examples() {
        for (raw, want) in [
            ("HUHUIDE88118@163.COM", "huhuide88118@163.com"),
            (" a.b@x.cn ", "a.b@x.cn"),
            ("zherui@txlpw.cn；", "zherui@txlpw.cn"),
            ("q63244＠163.com", "q63244@163.com"),
            ("张三 <a@x.cn>", "a@x.cn"),
            ("mailto:a@x.cn", "a@x.cn"),
            ("a@x.cn。", "a@x.cn"),
            ("a@x.cn（工作）", "a@x.cn"),
            ("a@x.cn / b@x.cn", "a@x.cn"),
            ("a@x.cn b@x.cn", "a@x.cn"),
            ("a/b@x.cn", "a/b@x.cn"),
            ("a@x.cn/工作", "a@x.cn"),
            ("工作:无;a@x.cn", "a@x.cn"),
        ] {
            assert_eq!(address(raw).as_deref(), Ok(want), "{raw}");
        }
        for raw in ["", "无", "abc", "x@qq", "x#qq.com", "x@@qq.com", "limin@", "1@1.com", "test@test.com", "a b@x.cn", "x@-y.com", "***@qq.com", "a**@qq.com"]
        {
            assert!(address(raw).is_err(), "{raw}");
        }
    }

    proptest! {
        #[test]
        fn a_clean_address_stays(raw in "\\PC{0,20}@?[a-z.]{0,12}|(mailto:|张三)?[<' ]?[a-zA-Z0-9.*]{1,8}[@＠][a-zA-Z0-9-]{1,8}\\.[a-zA-Z]{2,3}[>;. (]?(/b@x.cn)?") {
            let once = clean(&raw);
            if let Some(email) = &once.value {
                let shown = email.expose();
                prop_assert_eq!(once.rules.is_empty(), shown == raw);
                prop_assert_eq!(clean(shown), Cleaned { value: Some(email.clone()), rules: Rules::NONE });
                prop_assert!(shown.is_ascii() && shown.len() <= 254 && shown.matches('@').count() == 1);
                prop_assert!(!shown.bytes().any(|b| b.is_ascii_uppercase() || b == b' '));
            }
        }
    }
}
