//! E-mail addresses.

use std::borrow::Cow;

use super::{Cleaned, Rule, Rules, text};
use crate::field::kinds::Email;
use crate::kind::{Invalid, Pii};

/// Addresses that stand for no address.
const PLACEHOLDERS: [&str; 4] = ["1@1.com", "test@test.com", "a@a.com", "123@123.com"];
/// What is left around an address by a list of addresses.
const AROUND: [char; 7] = [';', ',', '.', '<', '>', ' ', '\''];
const PLACEHOLDER: Invalid = Invalid("a placeholder, not an e-mail address");

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
        Err(_) => Cleaned { value: None, rules: Rules::NONE },
    }
}

/// Lower-cased and trimmed, full-width signs and trailing punctuation mended (the common part of RFC 5321).
///
/// # Errors
/// Not an address, or a placeholder.
pub fn address(raw: &str) -> Result<String, Invalid> {
    let address = standard(raw, &mut Rules::default());
    judge(&address).map(|()| address.into_owned())
}

fn standard<'t>(raw: &'t str, rules: &mut Rules) -> Cow<'t, str> {
    let folded = text::noting(raw, rules);
    let trimmed = folded.trim_matches(AROUND);
    rules.add_if(trimmed.len() < folded.len(), Rule::EmailTrimmed);
    let capitals = trimmed.bytes().any(|b| b.is_ascii_uppercase()) || (!trimmed.is_ascii() && trimmed.chars().any(char::is_uppercase));
    rules.add_if(capitals, Rule::EmailLowerCase);
    match folded {
        Cow::Borrowed(folded) if !capitals => Cow::Borrowed(folded.trim_matches(AROUND)),
        _ => Cow::Owned(trimmed.to_lowercase()),
    }
}

fn judge(text: &str) -> Result<(), Invalid> {
    let (local, domain) = text.split_once('@').ok_or(Invalid("an e-mail address has an @"))?;
    let label =
        |label: &str| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let good_local = !local.is_empty()
        && local.len() <= 64
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..")
        && local.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&b));
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
        ] {
            assert_eq!(address(raw).as_deref(), Ok(want), "{raw}");
        }
        for raw in ["", "无", "abc", "x@qq", "x#qq.com", "x@@qq.com", "limin@", "1@1.com", "test@test.com", "a b@x.cn", "x@-y.com"] {
            assert!(address(raw).is_err(), "{raw}");
        }
    }

    proptest! {
        #[test]
        fn a_clean_address_stays(raw in "\\PC{0,20}@?[a-z.]{0,12}|[<' ]?[a-zA-Z0-9.]{1,8}[@＠][a-zA-Z0-9-]{1,8}\\.[a-zA-Z]{2,3}[>;. ]?") {
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
