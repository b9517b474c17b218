//! Names of persons: titles and notes stripped, real surnames kept.

use super::text::fold;
use crate::kind::Invalid;
use crate::mask::is_han;

const TITLES: [&str; 12] = ["先生", "女士", "小姐", "老师", "经理", "老板", "同学", "师傅", "医生", "主任", "总", "阿姨"];
const COMPOUND: [&str; 16] = ["欧阳", "司马", "上官", "诸葛", "夏侯", "东方", "皇甫", "尉迟", "公孙", "慕容", "令狐", "长孙", "宇文", "司徒", "端木", "南宫"];

/// A full name: family and given name.
///
/// # Errors
/// A name that is missing, or only a family name with a title (王女士), or a nickname of a shop system.
pub fn full(raw: &str) -> Result<String, Invalid> {
    let noted = strip_notes(&fold(raw));
    let han_only = noted.chars().any(is_han);
    let text: String = if han_only {
        noted.chars().filter(|c| is_han(*c) || *c == '·' || c.is_ascii_alphabetic()).collect()
    } else {
        noted.trim_matches(['*', '.', ' ']).to_owned()
    };
    let characters = text.chars().count();
    if han_only {
        let bare = TITLES.iter().find_map(|title| text.strip_suffix(title)).unwrap_or(&text);
        let family_only = bare.chars().count() < 2 || (bare.len() < text.len() && COMPOUND.contains(&bare));
        if family_only {
            return Err(Invalid("a family name alone"));
        }
        if bare.chars().any(|c| c.is_ascii_alphabetic()) || bare.starts_with('·') || bare.ends_with('·') || bare.chars().count() > 20 {
            return Err(Invalid("not a full name"));
        }
        return Ok(bare.to_owned());
    }
    let latin = text.split(' ').all(|part| !part.is_empty() && part.chars().all(|c| c.is_alphabetic() || matches!(c, '-' | '\'' | '.')));
    if latin && (2..=40).contains(&characters) && text.contains(' ') { Ok(text) } else { Err(Invalid("not a full name")) }
}

/// The family name that is left of a partial name such as 王女士.
#[must_use]
pub fn family(raw: &str) -> Option<String> {
    let text = strip_notes(&fold(raw));
    let bare = TITLES.iter().find_map(|title| text.strip_suffix(title))?;
    (bare.chars().all(is_han) && (1..=2).contains(&bare.chars().count())).then(|| bare.to_owned())
}

/// Whether two full names may be one person's: equal, or the same family name and at most one character different.
#[must_use]
pub fn agree(a: &str, b: &str) -> bool {
    if a == b {
        return true;
    }
    let (x, y): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let family = |name: &[char]| if name.len() > 2 && COMPOUND.contains(&name[..2].iter().collect::<String>().as_str()) { 2 } else { 1 };
    let width = family(&x);
    if x.len() < 2 || y.len() < 2 || width != family(&y) || x.get(..width) != y.get(..width) {
        return false;
    }
    edits_at_most_one(&x[width..], &y[width..])
}

/// One substitution, insertion or deletion, or two neighbours swapped.
fn edits_at_most_one(a: &[char], b: &[char]) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    if long.len() - short.len() > 1 || short.is_empty() {
        return false;
    }
    let head = short.iter().zip(long).take_while(|(x, y)| x == y).count();
    let tail = short[head..].iter().rev().zip(long[head..].iter().rev()).take_while(|(x, y)| x == y).count();
    let swapped = short.len() == long.len() && head + 2 + tail == short.len() && short[head] == long[head + 1] && short[head + 1] == long[head];
    swapped || long.len() - head - tail <= 1
}

fn strip_notes(text: &str) -> String {
    let mut out = String::new();
    let mut depth = 0usize;
    for c in text.chars() {
        match c {
            '(' | '[' | '【' | '（' => depth += 1,
            ')' | ']' | '】' | '）' => depth = depth.saturating_sub(1),
            '•' | '・' | '‧' if depth == 0 => out.push('·'),
            c if depth == 0 => out.push(c),
            _ => {}
        }
    }
    out.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn examples() {
        for (raw, want) in [
            (" 常峰霞 ", "常峰霞"),
            ("吕炜妍先生", "吕炜妍"),
            ("丁建玉（VIP）", "丁建玉"),
            ("吴妍嘉*", "吴妍嘉"),
            ("程\u{3000}建德", "程建德"),
            ("司\u{3000}马梓星", "司马梓星"),
            ("李建继😊", "李建继"),
            ("阿依古丽•买买提", "阿依古丽·买买提"),
            ("王总", ""),
            ("刘老师", ""),
            ("tb230893_23", ""),
            ("欧阳女士", ""),
            ("李", ""),
            ("Mary Lee", "Mary Lee"),
            ("", ""),
        ] {
            assert_eq!(full(raw).unwrap_or_default(), want, "{raw}");
        }
        assert_eq!(family("王女士").as_deref(), Some("王"));
        assert_eq!(family("王小明"), None);
    }

    #[test]
    fn names_agree_when_one_character_differs() {
        for (a, b, want) in [
            ("王小明", "王小明", true),
            ("王小明", "王晓明", true),
            ("王小明", "王明小", true),
            ("王小明", "王明", true),
            ("王小明", "李小明", false),
            ("王小明", "王大伟", false),
            ("欧阳强霞", "欧阳强夏", true),
            ("王明", "王丽", true),
            ("赵海", "赵海波", true),
        ] {
            assert_eq!(agree(a, b), want, "{a} {b}");
            assert_eq!(agree(b, a), want, "{b} {a}");
        }
    }

    proptest! {
        #[test]
        fn a_cleaned_name_is_clean(raw in "\\PC{0,24}") {
            if let Ok(once) = full(&raw) { prop_assert_eq!(full(&once), Ok(once)); }
        }

        #[test]
        fn agreement_is_mutual(a in "[王李欧阳张][小明丽伟强]{0,3}", b in "[王李欧阳张][小明丽伟强]{0,3}") {
            prop_assert_eq!(agree(&a, &b), agree(&b, &a));
            prop_assert!(agree(&a, &a));
        }
    }
}
