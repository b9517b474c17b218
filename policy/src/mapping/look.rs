//! What the cells of a column look like: how many read as telephone numbers, as dates, as words of a small set.

use std::collections::{HashMap, HashSet};

use crate::clean::{Reference, address, amount, company, date, email, industry, name, phone, text::fold};
use crate::mask::is_han;
use crate::{Channel, CustomerType, Pii, Status};

/// How many rows are looked at: enough to see what a column holds.
const ROWS: usize = 1_000;
/// How many different words a small set may have.
const SMALL_SET: u32 = 20;
/// The commonest family names, about nineteen in twenty of all Chinese persons.
const SURNAMES: &str = "王李张刘陈杨黄赵周吴徐孙马朱胡郭何林高梁郑罗宋谢唐韩曹许邓萧肖冯曾程蔡彭潘袁于董余苏叶吕魏蒋田杜丁沈姜范江傅付钟卢汪戴崔任陆廖姚方金邱丘夏谭韦贾邹石熊孟秦阎闫薛侯雷白龙段郝孔邵史毛常万顾赖武康贺严尹钱施牛洪龚汤陶黎温莫易樊乔文安殷颜庄章鲁倪庞邢俞翟蓝聂齐向申葛柴伍覃骆关焦柳欧祝纪尚毕耿芦左季管符辛苗詹曲欧阳靳祁路涂兰甘裴梅童翁霍游阮尤岳柯牟滕谷舒卜成饶宁凌盛查单冉鲍华包屈房喻解蒲卫简时连车项闵邬吉党阳费池席晏隋古穆司慕上官令狐诸皇甫尉迟公宇端木东南宫";
const COMPANY_ENDS: [&str; 16] =
    ["公司", "集团", "有限", "工厂", "商行", "事务所", "中心", "医院", "学校", "大学", "学院", "合作社", "银行", "研究院", "协会", "工作室"];
const COMPANY_WORDS: [&str; 30] = [
    "inc",
    "ltd",
    "llc",
    "llp",
    "corp",
    "co",
    "gmbh",
    "plc",
    "pty",
    "bv",
    "limited",
    "company",
    "corporation",
    "association",
    "foundation",
    "university",
    "school",
    "institute",
    "group",
    "center",
    "centre",
    "church",
    "hospital",
    "bank",
    "services",
    "agency",
    "academy",
    "college",
    "clinic",
    "council",
];
const STREETS: [&str; 24] = [
    "street",
    "st",
    "road",
    "rd",
    "avenue",
    "ave",
    "av",
    "boulevard",
    "blvd",
    "lane",
    "ln",
    "drive",
    "dr",
    "court",
    "ct",
    "place",
    "pl",
    "way",
    "parkway",
    "crescent",
    "circuit",
    "highway",
    "terrace",
    "square",
];
/// Words for nothing.
const NOTHING: [&str; 14] = ["无", "没有", "暂无", "不详", "未知", "-", "--", "/", "n/a", "na", "null", "none", "nil", "空"];

/// What a cell can read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Sort {
    Phone,
    Landline,
    Email,
    Date,
    Birth,
    Amount,
    Count,
    Rating,
    Company,
    ChineseName,
    NameLike,
    Address,
    /// An address that begins with its province or city.
    WholeAddress,
    Industry,
    Channel,
    Status,
    CustomerType,
    NationalId,
    Digits,
    Letters,
    Text,
    /// Short words of a small set: statuses, levels, shops.
    SmallSet,
    /// Different in every row.
    Distinct,
}

impl Sort {
    /// What is said of cells that are of this sort.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Phone => "read as telephone numbers",
            Self::Landline => "read as landlines",
            Self::Email => "read as e-mail addresses",
            Self::Date | Self::Birth => "read as dates",
            Self::Amount => "read as amounts",
            Self::Count => "are whole numbers",
            Self::Rating => "are ratings from 1 to 5",
            Self::Company => "are called like companies",
            Self::ChineseName => "read as Chinese names",
            Self::NameLike => "can be names",
            Self::Address => "read as addresses",
            Self::WholeAddress => "read as addresses with their city",
            Self::Industry => "read as industries",
            Self::Channel => "read as source channels",
            Self::Status => "read as customer statuses",
            Self::CustomerType => "read as customer types",
            Self::NationalId => "read as identity numbers",
            Self::Digits => "are mostly digits",
            Self::Letters => "are words",
            Self::Text => "are text",
            Self::SmallSet => "are short words of a small set",
            Self::Distinct => "are different from each other",
        }
    }

    /// Whether a folded, filled cell is of this sort.
    fn holds(self, cell: &str) -> bool {
        let digits = || cell.chars().filter(char::is_ascii_digit).count();
        let number = || cell.strip_suffix(".0").unwrap_or(cell).parse::<u32>();
        let wordy = || !cell.parse::<f64>().is_ok_and(f64::is_finite);
        match self {
            Self::Phone => !matches!(telephone(cell), phone::Cell::Empty | phone::Cell::Invalid(_)),
            Self::Landline => matches!(telephone(cell), phone::Cell::Landline(_)),
            Self::Email => email::address(cell).is_ok(),
            Self::Date => date::date(cell).value.is_some(),
            Self::Birth => is_birth(cell),
            Self::Amount => amount::fen(cell).value.is_some(),
            Self::Count => number().is_ok_and(|n| n < 1_000_000),
            Self::Rating => number().is_ok_and(|n| (1..=5).contains(&n)),
            Self::Company => is_company(cell),
            Self::ChineseName => is_chinese_name(cell),
            Self::NameLike => {
                cell.chars().any(char::is_alphabetic) && cell.chars().count() <= 40 && !cell.contains('@') && !is_company(cell) && !is_address(cell)
            }
            Self::Address => is_address(cell),
            Self::WholeAddress => is_address(cell) && (has_division(cell) || cell.matches(',').count() >= 2),
            Self::Industry => industry::code(cell, Reference::standard()).value.is_some(),
            Self::Channel => wordy() && Channel::of_word(cell).is_some(),
            Self::Status => wordy() && Status::of_word(cell).is_some(),
            Self::CustomerType => wordy() && CustomerType::of_word(cell).is_some(),
            Self::NationalId => is_national_id(cell),
            Self::Digits => digits() * 2 >= cell.chars().count(),
            Self::Letters => cell.chars().any(char::is_alphabetic) && !Self::Email.holds(cell) && !Self::Phone.holds(cell),
            Self::Text => !Self::Email.holds(cell) && !matches!(telephone(cell), phone::Cell::Mobile(_)),
            Self::SmallSet => cell.chars().count() <= 30 && Self::Text.holds(cell) && wordy(),
            Self::Distinct => true,
        }
    }
}

fn telephone(cell: &str) -> phone::Cell {
    phone::cell(cell, Reference::standard()).value
}

/// A column of the sample.
pub(super) struct Look {
    cells: Vec<String>,
    counts: HashMap<Sort, u32>,
    /// How many rows there are that are not blank.
    pub rows: u32,
    /// How many cells are filled.
    pub filled: u32,
    distinct: u32,
    /// Whether the first row is filled, and no filled cell is the same as the one before.
    pub heads_groups: bool,
}

impl Look {
    /// Looks at the column at a position.
    pub fn at(position: usize, sample: &[Vec<String>]) -> Self {
        let rows: Vec<&Vec<String>> = sample.iter().take(ROWS).filter(|row| row.iter().any(|cell| !cell.trim().is_empty())).collect();
        let all: Vec<String> = rows.iter().map(|row| row.get(position).map(|cell| fold(cell).into_owned()).unwrap_or_default()).collect();
        let first_filled = all.first().is_some_and(|cell| !cell.is_empty());
        let cells: Vec<String> = all.into_iter().filter(|cell| !cell.is_empty() && !NOTHING.contains(&cell.to_lowercase().as_str())).collect();
        let heads_groups = first_filled && cells.windows(2).all(|two| two[0] != two[1]);
        let distinct = count(cells.iter().collect::<HashSet<_>>().len());
        Self { rows: count(rows.len()), filled: count(cells.len()), distinct, heads_groups, cells, counts: HashMap::new() }
    }

    /// How many cells are of a sort.
    pub fn count(&mut self, sort: Sort) -> u32 {
        match sort {
            Sort::Distinct => return self.distinct,
            Sort::SmallSet if self.distinct > SMALL_SET && self.distinct * 2 > self.filled => return 0,
            _ => {}
        }
        let cells = &self.cells;
        *self.counts.entry(sort).or_insert_with(|| count(cells.iter().filter(|cell| sort.holds(cell)).count()))
    }

    /// The share of the cells that are of a sort, cautious where there are few (rule of succession).
    pub fn share(&mut self, sort: Sort) -> f64 {
        f64::from(self.count(sort) + 1) / f64::from(self.filled + 2)
    }

    /// "97 of 100 cells read as telephone numbers".
    pub fn tell(&mut self, sort: Sort) -> String {
        format!("{} of {} cells {}", self.count(sort), self.filled, sort.words())
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// A date, also of long ago.
fn is_birth(cell: &str) -> bool {
    let day = cell.split([' ', 'T']).next().unwrap_or_default();
    let plain = chrono::NaiveDate::parse_from_str(day, "%Y%m%d").is_ok() && day.len() == 8;
    plain
        || ["%Y-%m-%d", "%Y/%m/%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y"].iter().any(|form| chrono::NaiveDate::parse_from_str(day, form).is_ok())
        || date::date(cell).value.is_some()
}

fn is_company(cell: &str) -> bool {
    company::name(cell, Reference::standard()).value.is_some_and(|name| COMPANY_ENDS.iter().any(|end| name.ends_with(end)) || has_word(&name, &COMPANY_WORDS))
}

fn is_chinese_name(cell: &str) -> bool {
    let bare: String = name::full(cell).ok().or_else(|| name::family(cell).value.map(|family| family.expose().to_owned())).unwrap_or_default();
    let characters = bare.chars().count();
    let known = bare.chars().next().is_some_and(|first| is_han(first) && SURNAMES.contains(first));
    (1..=4).contains(&characters) && known && !is_company(cell)
}

/// A street of China or of a division of China, or an English street with a number.
fn is_address(cell: &str) -> bool {
    if !cell.contains(is_han) {
        return cell.chars().any(|c| c.is_ascii_digit()) && has_word(cell, &STREETS);
    }
    let street = cell.contains(['路', '街', '号', '巷', '弄', '室', '幢', '栋', '村', '镇', '道', '区', '县']);
    street && cell.chars().count() >= 6 && !is_company(cell) && (cell.contains(['号', '室']) || has_division(cell))
}

/// Whether a province or city of China can be read from an address.
fn has_division(cell: &str) -> bool {
    address::text(cell).is_ok_and(|parts| !parts.starts_with("||"))
}

/// An identity number of a Chinese resident: the division, the date of birth, three digits and a sign.
fn is_national_id(cell: &str) -> bool {
    cell.len() == 18
        && cell.is_ascii()
        && cell.bytes().take(17).all(|b| b.is_ascii_digit())
        && cell.ends_with(|c: char| c.is_ascii_digit() || c == 'X' || c == 'x')
        && chrono::NaiveDate::parse_from_str(&cell[6..14], "%Y%m%d").is_ok()
}

fn has_word(text: &str, words: &[&str]) -> bool {
    text.split(|c: char| !c.is_alphanumeric()).any(|word| words.contains(&word.to_lowercase().as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_of_sorts() {
        for (sort, yes, no) in [
            (Sort::Phone, &["177 5785 1669", "130****2589", "0571-25314866"][..], &["12345", "2024-05-01"][..]),
            (Sort::Birth, &["19081209", "1985-03-02", "02/28/1990"], &["20240230", "x"]),
            (Sort::Company, &["通化盛天网络科技有限公司", "Acme Ltd.", "Precious Little One's Learning Center, Inc."], &["个人", "王小明"]),
            (Sort::ChineseName, &["王小明", "张女士", "欧阳强霞"], &["打印纸", "张三有限公司", "Mary Lee", "tb230893_23"]),
            (Sort::Address, &["四川德阳旌阳区和平大道340号", "文三街456号东方名城", "27 Washington St"], &["通化盛天网络科技有限公司", "广交会", "St Mary"]),
            (Sort::NationalId, &["11010519491231002X"], &["110105194913310021", "123"]),
            (Sort::Rating, &["5", "1.0"], &["0", "6", "好"]),
            (Sort::Status, &["意向客户"], &["1", "x"]),
        ] {
            assert!(yes.iter().all(|cell| sort.holds(cell)), "{sort:?}");
            assert!(!no.iter().any(|cell| sort.holds(cell)), "{sort:?}");
        }
    }

    #[test]
    fn blank_rows_and_words_for_nothing_do_not_count() {
        let sample: Vec<Vec<String>> = [["a", "x"], ["", ""], ["无", "x"], ["b", ""]].iter().map(|row| row.map(str::to_owned).to_vec()).collect();
        let mut look = Look::at(0, &sample);
        assert_eq!((look.rows, look.filled, look.heads_groups), (3, 2, true));
        assert_eq!(look.tell(Sort::Distinct), "2 of 2 cells are different from each other");
        assert!(!Look::at(1, &sample).heads_groups);
        assert_eq!(Look::at(7, &sample).filled, 0);
    }
}
