//! What cleaning knows of the world. A tenant may know more: its operator's new segment, its own words.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};

use super::division::Divisions;
use super::industry::{self, Written};
use super::segment::{Segments, Use, is_segment};
use super::text::fold;
use crate::code::{Channel, Status};

type Word = Cow<'static, str>;

/// The numbers that everyone types when a number is required.
const PLACEHOLDERS: [&str; 3] = ["13800138000", "13888888888", "13912345678"];

/// What people write into a cell that holds nothing.
const NOTHING: [&str; 12] = ["无", "没有", "不详", "未知", "暂无", "-", "--", "/", "N/A", "n/a", "null", "NULL"];

/// Reference data: tables that are shared, so that a copy costs next to nothing.
#[derive(Clone, Debug)]
pub struct Reference {
    segments: Arc<Segments>,
    divisions: Divisions,
    industries: Arc<HashMap<Word, (&'static str, Written)>>,
    statuses: Arc<HashMap<Word, Status>>,
    channels: Arc<HashMap<Word, Channel>>,
    placeholders: Arc<HashSet<Word>>,
    nothing: Arc<HashSet<Word>>,
}

/// What an addition adds to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReferenceKind {
    /// 3 to 5 digits to `mobile`, `mvno`, `data_card`, `satellite`, `m2m`, `emergency` or `unassigned`.
    MobileSegment,
    /// A word to the code of an industry, such as `I65`.
    IndustryAlias,
    /// A division's name to its parents: `province` of a city, `province|city` of a district.
    Division,
    /// A word to a status, by code, label or known word.
    StatusWord,
    /// A word to a channel, by code, label or known word.
    ChannelWord,
    /// A number of 11 digits that stands for no number; to nothing.
    PlaceholderPhone,
}

/// One entry that a tenant adds. It wins over a standard one and over an earlier one of the same key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Addition {
    /// What it adds to.
    pub kind: ReferenceKind,
    /// What a cell says.
    pub key: String,
    /// What that means.
    #[serde(default)]
    pub value: String,
}

/// Why an addition cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("addition {at}: {why}")]
pub struct Fault {
    /// Which addition, counted from 1.
    pub at: usize,
    /// Its key.
    pub key: String,
    /// What is wrong with it.
    pub why: &'static str,
}

static STANDARD: LazyLock<Reference> = LazyLock::new(|| Reference {
    segments: Arc::new(Segments::standard()),
    divisions: Divisions::standard(),
    industries: Arc::new(industry::words().map(|(word, meaning)| (Word::Borrowed(word), meaning)).collect()),
    statuses: Arc::new(Status::WORDS.iter().map(|(word, status)| (Word::Borrowed(*word), *status)).collect()),
    channels: Arc::new(Channel::WORDS.iter().map(|(word, channel)| (Word::Borrowed(*word), *channel)).collect()),
    placeholders: Arc::new(PLACEHOLDERS.into_iter().map(Word::Borrowed).collect()),
    nothing: Arc::new(NOTHING.into_iter().map(Word::Borrowed).collect()),
});

impl Reference {
    /// What holds for everyone.
    #[must_use]
    pub fn standard() -> &'static Self {
        &STANDARD
    }

    /// This reference and what a tenant adds.
    ///
    /// # Errors
    /// Every addition that cannot be, and why.
    pub fn extended(&self, additions: &[Addition]) -> Result<Self, Vec<Fault>> {
        let mut extended = self.clone();
        let mut faults = Vec::new();
        // Cities before their districts, in whatever order they come.
        let mut ordered: Vec<_> = additions.iter().enumerate().collect();
        ordered.sort_by_key(|(_, addition)| addition.kind == ReferenceKind::Division && addition.value.contains('|'));
        for (at, addition) in ordered {
            if let Err(why) = extended.add(addition) {
                faults.push(Fault { at: at + 1, key: addition.key.clone(), why });
            }
        }
        faults.sort_by_key(|fault| fault.at);
        if faults.is_empty() { Ok(extended) } else { Err(faults) }
    }

    fn add(&mut self, addition: &Addition) -> Result<(), &'static str> {
        let (key, value) = (fold(&addition.key), fold(&addition.value));
        if key.is_empty() {
            return Err("the key is empty");
        }
        let word = || Word::Owned(key.clone().into_owned());
        match addition.kind {
            ReferenceKind::MobileSegment => {
                if !is_segment(&key) {
                    return Err("a mobile segment is 3 to 5 digits that start with 13 to 19");
                }
                let to = Use::of_word(&value).ok_or("a mobile segment is mobile, mvno, data_card, satellite, m2m, emergency or unassigned")?;
                Arc::make_mut(&mut self.segments).assign(&key, to);
            }
            ReferenceKind::IndustryAlias => {
                let code = industry::known(&value).ok_or("no industry of GB/T 4754-2017 has this code")?;
                Arc::make_mut(&mut self.industries).insert(Word::Owned(key.to_uppercase()), (code, Written::Alias));
            }
            ReferenceKind::Division => self.divisions.add(&key, &value)?,
            ReferenceKind::StatusWord => {
                let status = Status::of_word(&value).ok_or("there is no such status")?;
                Arc::make_mut(&mut self.statuses).insert(word(), status);
            }
            ReferenceKind::ChannelWord => {
                let channel = Channel::of_word(&value).ok_or("there is no such channel")?;
                Arc::make_mut(&mut self.channels).insert(word(), channel);
            }
            ReferenceKind::PlaceholderPhone => {
                if key.len() != 11 || !is_segment(&key[..3]) || !key.bytes().all(|b| b.is_ascii_digit()) {
                    return Err("a placeholder is a mobile number of 11 digits");
                }
                Arc::make_mut(&mut self.placeholders).insert(word());
            }
        }
        Ok(())
    }

    /// Whether a mobile number is on a segment of persons.
    pub(super) fn is_person(&self, number: &str) -> bool {
        self.segments.is_person(number)
    }

    /// Whether a mobile number stands for no number.
    pub(super) fn is_placeholder(&self, number: &str) -> bool {
        self.placeholders.contains(number)
    }

    /// Whether a folded cell holds nothing or a word for it.
    /// Whether a cell holds nothing, or a word for nothing.
    #[must_use]
    pub fn is_nothing(&self, text: &str) -> bool {
        text.is_empty() || self.nothing.contains(text)
    }

    pub(super) const fn divisions(&self) -> &Divisions {
        &self.divisions
    }

    /// The industry that a word names, in capitals, and how.
    pub(super) fn industry(&self, word: &str) -> Option<(&'static str, Written)> {
        self.industries.get(word).copied()
    }

    pub(super) fn status(&self, word: &str) -> Option<Status> {
        self.statuses.get(word).copied()
    }

    pub(super) fn channel(&self, word: &str) -> Option<Channel> {
        self.channels.get(word).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clean::{industry, phone, word};
    use crate::kind::Pii;

    fn addition(kind: ReferenceKind, key: &str, value: &str) -> Addition {
        Addition { kind, key: key.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn additions_win_over_what_is_standard_and_over_earlier_ones() {
        let standard = Reference::standard();
        let mine = standard
            .extended(&[
                addition(ReferenceKind::MobileSegment, "160", "mobile"),
                addition(ReferenceKind::MobileSegment, "138", "unassigned"),
                addition(ReferenceKind::IndustryAlias, "餐饮", "H61"),
                addition(ReferenceKind::IndustryAlias, "saas", "I64"),
                addition(ReferenceKind::IndustryAlias, "SaaS", "I65"),
                addition(ReferenceKind::StatusWord, "意向客户", "成交客户"),
                addition(ReferenceKind::StatusWord, "有意向", "1"),
                addition(ReferenceKind::ChannelWord, "小红书", "官网搜索"),
                addition(ReferenceKind::PlaceholderPhone, "13900000001", ""),
            ])
            .unwrap();
        let phone = |raw: &str, reference: &Reference| phone::cell(raw, reference).value;
        assert!(matches!(phone("160-1234-5678", &mine), phone::Cell::Mobile(number) if number.expose() == "16012345678"));
        assert!(matches!(phone("16012345678", standard), phone::Cell::Invalid(_)));
        assert!(matches!(phone("13812345678", &mine), phone::Cell::Invalid(_)));
        assert_eq!(phone("13900000001", &mine), phone::Cell::Placeholder);
        assert_eq!(industry::code("餐饮", &mine).value, Some("H61"));
        assert_eq!(industry::code("餐饮", standard).value, Some("H62"));
        assert_eq!(industry::code("Saas", &mine).value, Some("I65"));
        assert_eq!(word::status("意向客户", &mine).value, Some(Status::Won));
        assert_eq!(word::status("有意向", &mine).value, Some(Status::Prospect));
        assert_eq!(word::status("有意向", standard).value, None);
        assert_eq!(word::channel("小红书", &mine).value, Some(Channel::Search));
        assert!(Arc::ptr_eq(&mine.extended(&[]).unwrap().segments, &mine.segments));
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let faults = Reference::standard()
            .extended(&[
                addition(ReferenceKind::MobileSegment, "12", "mobile"),
                addition(ReferenceKind::MobileSegment, "120", "mobile"),
                addition(ReferenceKind::MobileSegment, "160", "radio"),
                addition(ReferenceKind::IndustryAlias, "宠物", "Z99"),
                addition(ReferenceKind::Division, "东岛区", "浙江省|新海市"),
                addition(ReferenceKind::Division, "东岛区", ""),
                addition(ReferenceKind::Division, "secret", "浙江省|杭州市"),
                addition(ReferenceKind::Division, "杭州市", "江苏省"),
                addition(ReferenceKind::StatusWord, "有意向", "maybe"),
                addition(ReferenceKind::ChannelWord, "小红书", "8"),
                addition(ReferenceKind::PlaceholderPhone, "1390000", ""),
                addition(ReferenceKind::StatusWord, " ", "1"),
                addition(ReferenceKind::StatusWord, "有意向", "1"),
            ])
            .unwrap_err();
        assert_eq!(faults.iter().map(|fault| fault.at).collect::<Vec<_>>(), (1..=12).collect::<Vec<_>>());
        assert_eq!(faults[3].to_string(), "addition 4: no industry of GB/T 4754-2017 has this code");
    }

    #[test]
    fn an_addition_is_read_from_json() {
        let json = r#"[{"kind":"placeholder_phone","key":"13900000001"},{"kind":"mobile_segment","key":"160","value":"mobile"}]"#;
        assert!(Reference::standard().extended(&serde_json::from_str::<Vec<Addition>>(json).unwrap()).is_ok());
        assert!(serde_json::from_str::<Addition>(r#"{"kind":"holiday","key":"x","value":"y"}"#).is_err());
    }
}
