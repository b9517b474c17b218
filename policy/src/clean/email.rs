//! E-mail addresses.

use super::text::fold;
use crate::kind::Invalid;

/// Addresses that stand for no address.
const PLACEHOLDERS: [&str; 4] = ["1@1.com", "test@test.com", "a@a.com", "123@123.com"];

/// Lower-cased and trimmed, full-width signs and trailing punctuation mended (the common part of RFC 5321).
///
/// # Errors
/// Not an address, or a placeholder.
pub fn address(raw: &str) -> Result<String, Invalid> {
    let folded = fold(raw).to_lowercase();
    let text = folded.trim_matches([';', ',', '.', '<', '>', ' ', '\'']);
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
    if PLACEHOLDERS.contains(&text) {
        return Err(Invalid("a placeholder, not an e-mail address"));
    }
    Ok(text.to_owned())
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
        fn what_comes_out_goes_in_unchanged(raw in "\\PC{0,20}@?[a-z.]{0,12}") {
            if let Ok(once) = address(&raw) { prop_assert_eq!(address(&once), Ok(once)); }
        }
    }
}
