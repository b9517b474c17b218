//! Names of persons: titles and notes stripped, real surnames kept.

use std::borrow::Cow;

use super::{Cleaned, Rule, Rules, text};
use crate::field::kinds::{FamilyName, Name};
use crate::kind::{Invalid, Pii};
use crate::mask::is_han;

const TITLES: [&str; 12] = ["先生", "女士", "小姐", "老师", "经理", "老板", "同学", "师傅", "医生", "主任", "总", "阿姨"];
const COMPOUND: [&str; 16] = ["欧阳", "司马", "上官", "诸葛", "夏侯", "东方", "皇甫", "尉迟", "公孙", "慕容", "令狐", "长孙", "宇文", "司徒", "端木", "南宫"];
/// What stands for a name where nobody wrote one.
const NOBODY: [&str; 19] = [
    "未知",
    "不详",
    "暂无",
    "没有",
    "无名",
    "无名氏",
    "佚名",
    "匿名",
    "匿名用户",
    "匿名买家",
    "某某",
    "散客",
    "客户",
    "顾客",
    "用户",
    "会员",
    "买家",
    "前台",
    "总台",
];
/// Labels before a name.
const LABELS: [&str; 8] = ["姓名", "客户", "联系人", "收货人", "收件人", "买家", "用户", "会员"];
/// What parts several names.
const BETWEEN: [char; 6] = ['/', '、', ',', ';', '&', '|'];
const INCOMPLETE: Invalid = Invalid("not a full name");

/// The full name of a cell.
#[must_use]
pub fn clean(raw: &str) -> Cleaned<Option<Name>> {
    match Name::parse(raw) {
        Ok(name) if name.expose() == raw => Cleaned { value: Some(name), rules: Rules::NONE },
        Ok(name) => {
            let mut rules = Rules::NONE;
            let _ = read(raw, &mut rules);
            Cleaned { value: Some(name), rules }
        }
        Err(_) => Cleaned { value: None, rules: Rules::NONE },
    }
}

/// A full name: family and given name.
///
/// # Errors
/// A name that is missing, or only a family name with a title (王女士), or a nickname of a shop system.
pub fn full(raw: &str) -> Result<String, Invalid> {
    read(raw, &mut Rules::default()).map(Cow::into_owned)
}

/// The family name that is left of a partial name such as 王女士.
#[must_use]
pub fn family(raw: &str) -> Cleaned<Option<FamilyName>> {
    let mut rules = Rules::NONE;
    let noted = without_notes(text::noting(raw, &mut rules), &mut rules);
    let bare = without_titles(&noted, &mut rules);
    let bare = familiar(bare).unwrap_or(bare);
    let good = bare.len() < noted.len() && bare.chars().all(is_han) && (1..=2).contains(&bare.chars().count()) && !["老", "小", "大"].contains(&bare);
    rules.add_if(good, Rule::NameTitle);
    let family = if good { FamilyName::parse(bare).ok() } else { None };
    Cleaned::read(family, rules)
}

fn read<'t>(raw: &'t str, rules: &mut Rules) -> Result<Cow<'t, str>, Invalid> {
    let noted = without_notes(text::noting(raw, rules), rules);
    if noted.chars().any(is_han) { han(noted, rules) } else { latin(noted, rules) }
}

/// The family name of 小张, 老王 and 王姐.
fn familiar(text: &str) -> Option<&str> {
    let family = text.strip_prefix(['小', '老']).or_else(|| text.strip_suffix(['姐', '哥', '叔', '姨', '工']))?;
    (family.chars().count() == 1).then_some(family)
}

fn han<'t>(noted: Cow<'t, str>, rules: &mut Rules) -> Result<Cow<'t, str>, Invalid> {
    let noted = match noted.find(BETWEEN).filter(|at| noted[..*at].chars().filter(|c| is_han(*c)).count() > 1) {
        Some(end) => {
            rules.add_if(noted[end..].contains(is_han), Rule::NameFirstOfTwo);
            rules.add_if(!noted[end..].contains(is_han), Rule::NameSigns);
            let end = noted[..end].trim_end().len();
            shortened(noted, 0, end)
        }
        None => noted,
    };
    let is_of_name = |c: char| is_han(c) || c == '·' || c.is_ascii_alphabetic();
    let letters = if noted.chars().all(is_of_name) {
        noted
    } else {
        rules.add_if(noted.contains(' '), Rule::NameSpaces);
        rules.add_if(noted.chars().any(|c| c != ' ' && !is_of_name(c)), Rule::NameSigns);
        Cow::Owned(noted.chars().filter(|c| is_of_name(*c)).collect())
    };
    let bare = without_titles(&letters, rules);
    let characters = bare.chars().count();
    if characters < 2 || familiar(bare).is_some() || (bare.len() < letters.len() && COMPOUND.contains(&bare)) {
        return Err(Invalid("a family name alone"));
    }
    if NOBODY.contains(&bare) || bare.bytes().any(|b| b.is_ascii_alphabetic()) || bare.starts_with('·') || bare.ends_with('·') || characters > 20 {
        return Err(INCOMPLETE);
    }
    let length = bare.len();
    Ok(shortened(letters, 0, length))
}

fn latin<'t>(noted: Cow<'t, str>, rules: &mut Rules) -> Result<Cow<'t, str>, Invalid> {
    let edge = ['*', '.', ' '];
    let start = noted.len() - noted.trim_start_matches(edge).len();
    let name = noted.trim_matches(edge);
    rules.add_if(name.len() < noted.len(), Rule::NameSigns);
    let is_part = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphabetic() || matches!(c, '-' | '\'' | '.'));
    let good = name.contains(' ') && name.split(' ').all(is_part) && (2..=40).contains(&name.chars().count());
    let length = name.len();
    if good { Ok(shortened(noted, start, length)) } else { Err(INCOMPLETE) }
}

/// A part of a text, borrowed where the text is.
fn shortened(text: Cow<'_, str>, start: usize, length: usize) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[start..start + length]),
        Cow::Owned(mut text) => {
            text.drain(..start);
            text.truncate(length);
            Cow::Owned(text)
        }
    }
}

/// Whether two full names may be one person's: equal, or the same family name and at most one character different.
#[must_use]
pub fn agree(a: &str, b: &str) -> bool {
    if a.eq_ignore_ascii_case(b) {
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

/// Without titles, of which there may be several: 王总经理 is 王.
fn without_titles<'t>(text: &'t str, rules: &mut Rules) -> &'t str {
    let mut bare = text;
    while let Some(shorter) = TITLES.iter().find_map(|title| bare.strip_suffix(title)) {
        rules.add(Rule::NameTitle);
        bare = shorter;
    }
    bare
}

/// Without what stands in brackets, labels and VIP notes, and with one kind of dot.
fn without_notes<'t>(text: Cow<'t, str>, rules: &mut Rules) -> Cow<'t, str> {
    let text = without_brackets(text, rules);
    if !text.contains(is_han) {
        return text;
    }
    let named = text.split_once(':').filter(|(label, _)| LABELS.contains(&label.trim())).map_or(&*text, |(_, name)| name.trim());
    let mut bare = named;
    while let Some(shorter) = without_vip(bare) {
        bare = shorter;
    }
    if bare.len() == text.len() || bare.is_empty() {
        return text;
    }
    rules.add(Rule::NameNote);
    let (start, length) = (text.find(bare).unwrap_or(0), bare.len());
    shortened(text, start, length)
}

/// Without one VIP, SVIP or VIP3 at either end.
fn without_vip(text: &str) -> Option<&str> {
    const AROUND: [char; 6] = [' ', '-', '_', '/', ':', '|'];
    let digits = |c: char| c.is_ascii_digit();
    let vip = |word: &str| ["VIP", "SVIP", "VVIP"].iter().any(|vip| word.eq_ignore_ascii_case(vip));
    let letters = |c: char| c.is_ascii_alphabetic();
    let before = text.trim_end_matches(digits);
    let head = before.trim_end_matches(letters);
    if vip(&before[head.len()..]) {
        return Some(head.trim_end_matches(AROUND));
    }
    let tail = text.trim_start_matches(letters);
    vip(&text[..text.len() - tail.len()]).then(|| tail.trim_start_matches(digits).trim_start_matches(AROUND))
}

/// Without what stands in brackets, and with one kind of dot.
fn without_brackets<'t>(text: Cow<'t, str>, rules: &mut Rules) -> Cow<'t, str> {
    if !text.contains(['(', '[', '【', '（', ')', ']', '】', '）', '•', '・', '‧', '.']) {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut depth = 0_usize;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '(' | '[' | '【' | '（' => depth += 1,
            ')' | ']' | '】' | '）' => depth = depth.saturating_sub(1),
            '.' if depth == 0 && !(out.ends_with(is_han) && rest.as_str().starts_with(is_han)) => {
                out.push(c);
                continue;
            }
            '•' | '・' | '‧' | '.' if depth == 0 => {
                rules.add(Rule::NameMiddleDot);
                out.push('·');
                continue;
            }
            c if depth == 0 => {
                out.push(c);
                continue;
            }
            _ => {}
        }
        rules.add(Rule::NameNote);
    }
    out.truncate(out.trim_end().len());
    out.drain(..out.len() - out.trim_start().len());
    Cow::Owned(out)
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
            ("王总经理", ""),
            ("李", ""),
            ("Mary Lee", "Mary Lee"),
            ("王五一VIP", "王五一"),
            ("VIP赵六", "赵六"),
            ("赵六 vip3", "赵六"),
            ("张三先生VIP", "张三"),
            ("收货人：张三", "张三"),
            ("张三/李四", "张三"),
            ("买买提．艾力", "买买提·艾力"),
            ("未知", ""),
            ("匿名用户", ""),
            ("小张", ""),
            ("王姐", ""),
            ("老王先生", ""),
            ("赵小姐", ""),
            ("VIP", ""),
            ("", ""),
        ] {
            assert_eq!(full(raw).unwrap_or_default(), want, "{raw}");
        }
        for (raw, want) in [
            ("王女士", Some("王")),
            ("王总经理", Some("王")),
            ("小张", Some("张")),
            ("王姐", Some("王")),
            ("老王先生", Some("王")),
            ("小姐", None),
            ("老板", None),
            ("老总", None),
            ("王小明", None),
            ("先生", None),
        ] {
            assert_eq!(family(raw).value.as_ref().map(Pii::expose), want, "{raw}");
        }
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
            ("John Smith", "JOHN SMITH", true),
        ] {
            assert_eq!(agree(a, b), want, "{a} {b}");
            assert_eq!(agree(b, a), want, "{b} {a}");
        }
    }

    proptest! {
        #[test]
        fn a_clean_name_stays(raw in "\\PC{0,24}|[ (王李欧阳小明总•*]{0,5}(先生|经理|主任|\\(VIP\\)|VIP|/李四){0,3} ?|(姓名:|VIP )?[小老王李][张姐明.]{1,2}|[*. ]?[A-Z][a-z]{1,4}[ .]{1,2}[A-Z][a-z]{0,4}[.*]?") {
            let once = clean(&raw);
            if let Some(name) = &once.value {
                prop_assert_eq!(once.rules.is_empty(), name.expose() == raw, "{} {:?}", name.expose(), once.rules);
                prop_assert_eq!(clean(name.expose()), Cleaned { value: Some(name.clone()), rules: Rules::NONE });
                prop_assert!((2..=40).contains(&name.expose().chars().count()));
            }
            if let Some(family) = family(&raw).value {
                prop_assert!((1..=2).contains(&family.expose().chars().count()) && family.expose().chars().all(is_han));
            }
        }

        #[test]
        fn agreement_is_mutual(a in "[王李欧阳张][小明丽伟强]{0,3}", b in "[王李欧阳张][小明丽伟强]{0,3}") {
            prop_assert_eq!(agree(&a, &b), agree(&b, &a));
            prop_assert!(agree(&a, &a));
        }
    }
}
