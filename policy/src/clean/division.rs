//! Divisions of China (GB/T 2260) of the first three levels, found by the first two characters of a text: an address is read
//! without a look at the three thousand names that it does not start with.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock};

use crate::mask::is_han;

type Name = Cow<'static, str>;
type Start = [char; 2];

/// The standard divisions, which every reference shares.
pub(super) static STANDARD: LazyLock<Arc<Table>> = LazyLock::new(|| Arc::new(Table::standard()));

/// A division and what stands above it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Division {
    /// One way to write it.
    spelling: Name,
    /// Its full name.
    pub(super) name: Name,
    /// Its province; empty for a province.
    pub(super) province: Name,
    /// The city of a district; empty where it stands directly under its province.
    pub(super) city: Name,
}

/// The divisions of one table.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    provinces: HashMap<Start, Vec<Division>>,
    cities: HashMap<Start, Vec<Division>>,
    districts: HashMap<Start, Vec<Division>>,
    province_of: HashMap<Name, Name>,
    known: HashSet<Name>,
}

impl Table {
    fn standard() -> Self {
        let mut table = Self::default();
        let (mut province, mut city) = ("", "");
        for line in include_str!("../../reference/divisions.csv").lines().filter(|line| !line.starts_with(['#', 'c'])) {
            let mut cells = line.split(',').skip(1);
            let (name, level) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
            match level {
                "1" => {
                    (province, city) = (name, "");
                    table.add_province(name);
                }
                "2" => {
                    // A municipality is its own city; districts under no city stand directly under the province.
                    city = if matches!(name, "市辖区" | "县") {
                        province
                    } else if name.ends_with("直辖县级行政区划") {
                        ""
                    } else {
                        name
                    };
                    if !city.is_empty() && !table.province_of.contains_key(city) {
                        table.add_city(city.into(), province.into());
                    }
                }
                _ => table.add_district(name.into(), province.into(), city.into()),
            }
            table.known.insert(name.into());
        }
        table
    }

    /// Whether `name` is a division by its full name.
    pub(super) fn is_known(&self, name: &str) -> bool {
        self.known.contains(name)
    }

    fn add_province(&mut self, name: &'static str) {
        spell(&mut self.provinces, &Division { spelling: "".into(), name: name.into(), province: "".into(), city: "".into() });
    }

    fn add_city(&mut self, name: Name, province: Name) {
        self.known.insert(name.clone());
        self.province_of.insert(name.clone(), province.clone());
        spell(&mut self.cities, &Division { spelling: "".into(), name, province, city: "".into() });
    }

    fn add_district(&mut self, name: Name, province: Name, city: Name) {
        self.known.insert(name.clone());
        if let Some(start) = start(&name) {
            self.districts.entry(start).or_default().push(Division { spelling: name.clone(), name, province, city });
        }
    }
}

/// Enters a division under its full name and the short form, where it has one.
fn spell(index: &mut HashMap<Start, Vec<Division>>, division: &Division) {
    let short = short(&division.name);
    let short = (short != division.name).then(|| Name::Owned(short.to_owned()));
    for spelling in std::iter::once(division.name.clone()).chain(short) {
        if let Some(start) = start(&spelling) {
            index.entry(start).or_default().push(Division { spelling, ..division.clone() });
        }
    }
}

fn start(text: &str) -> Option<Start> {
    let mut characters = text.chars();
    Some([characters.next()?, characters.next()?])
}

/// The standard divisions and what a tenant added to them.
#[derive(Clone, Debug)]
pub(super) struct Divisions {
    standard: Arc<Table>,
    added: Arc<Table>,
}

/// A division at the start of a text.
pub(super) struct Found<'r> {
    pub(super) division: &'r Division,
    /// The part of the text that names it.
    pub(super) width: usize,
}

impl Found<'_> {
    /// Whether the text has the short form.
    pub(super) fn is_short(&self) -> bool {
        self.division.spelling != self.division.name
    }
}

impl Divisions {
    pub(super) fn standard() -> Self {
        Self { standard: Arc::clone(&STANDARD), added: Arc::default() }
    }

    /// The province of a city.
    pub(super) fn province_of(&self, city: &str) -> Option<&str> {
        self.tables().find_map(|table| table.province_of.get(city)).map(AsRef::as_ref)
    }

    /// The province with which a text starts.
    pub(super) fn province(&self, text: &str) -> Option<Found<'_>> {
        longest(self.tables().map(|table| &table.provinces), text, |_| true)
    }

    /// The city with which a text starts, of those that `wanted` accepts.
    pub(super) fn city(&self, text: &str, wanted: impl Fn(&Division) -> bool) -> Option<Found<'_>> {
        longest(self.tables().map(|table| &table.cities), text, wanted)
    }

    /// The district with which a text starts, of those that `wanted` accepts.
    pub(super) fn district(&self, text: &str, wanted: impl Fn(&Division) -> bool) -> Option<Found<'_>> {
        longest(self.tables().map(|table| &table.districts), text, wanted)
    }

    /// Every district with which a text starts, of those that `wanted` accepts.
    pub(super) fn districts<'r>(&'r self, text: &str, wanted: impl Fn(&Division) -> bool) -> impl Iterator<Item = &'r Division> {
        let start = start(text);
        let all = self.tables().filter_map(move |table| table.districts.get(&start?)).flatten();
        all.filter(move |division| text.starts_with(&*division.spelling) && wanted(division))
    }

    /// Whether a city of the province has a district of this name.
    pub(super) fn has_district(&self, province: &str, name: &str) -> bool {
        self.districts(name, |district| district.name == name && district.province == province && !district.city.is_empty()).next().is_some()
    }

    /// Adds a city under `province`, or a district under `province|city` and `province|`.
    ///
    /// # Errors
    /// Says what is wrong with the division or its parents.
    pub(super) fn add(&mut self, name: &str, parents: &str) -> Result<(), &'static str> {
        if !is_shaped(name) {
            return Err("a division is 2 to 20 Chinese characters that end in 市, 区, 县, 旗, 州, 盟 or 城");
        }
        let (province, city) = parents.split_once('|').map_or((parents, None), |(province, city)| (province, Some(city)));
        if !self.province(province).is_some_and(|found| found.width == province.len() && !found.is_short()) {
            return Err("a division stands under its parents, province or province|city by their full names; this province is unknown");
        }
        let (name, above) = (Name::Owned(name.to_owned()), Name::Owned(province.to_owned()));
        match city {
            None if self.province_of(&name).is_some_and(|of| of != province) => return Err("a city of this name stands under another province"),
            None if self.province_of(&name).is_some() => {}
            None => Arc::make_mut(&mut self.added).add_city(name, above),
            Some(city) if city.is_empty() || self.province_of(city) == Some(province) => {
                Arc::make_mut(&mut self.added).add_district(name, above, Name::Owned(city.to_owned()));
            }
            Some(_) => return Err("a district stands under a city; this city is unknown in its province"),
        }
        Ok(())
    }

    /// Of two alike, what a tenant added comes last and wins.
    fn tables(&self) -> impl Iterator<Item = &Table> {
        [&*self.standard, &*self.added].into_iter()
    }
}

/// The longest spelling with which a text starts; of two alike the one with the shorter full name.
fn longest<'r>(indexes: impl Iterator<Item = &'r HashMap<Start, Vec<Division>>>, text: &str, wanted: impl Fn(&Division) -> bool) -> Option<Found<'r>> {
    let start = start(text)?;
    let all = indexes.filter_map(|index| index.get(&start)).flatten();
    let fitting = all.filter(|division| text.starts_with(&*division.spelling) && wanted(division));
    let division = fitting.max_by_key(|division| (division.spelling.len(), std::cmp::Reverse(division.name.len())))?;
    Some(Found { division, width: division.spelling.len() })
}

/// Whether a text has the form of a division's full name, which is all that can be said of one that a tenant added.
pub(super) fn is_shaped(name: &str) -> bool {
    name != "市辖区" && name.ends_with(['市', '区', '县', '旗', '州', '盟', '城']) && name.chars().all(is_han) && (2..=20).contains(&name.chars().count())
}

/// How people shorten a division: 浙江省 → 浙江, 广西壮族自治区 → 广西.
pub(super) fn short(name: &str) -> &str {
    match name {
        "内蒙古自治区" => "内蒙古",
        "广西壮族自治区" => "广西",
        "西藏自治区" => "西藏",
        "宁夏回族自治区" => "宁夏",
        "新疆维吾尔自治区" => "新疆",
        "香港特别行政区" => "香港",
        "澳门特别行政区" => "澳门",
        _ => ["省", "市", "地区", "盟"].iter().find_map(|suffix| name.strip_suffix(suffix)).filter(|rest| rest.chars().count() >= 2).unwrap_or(name),
    }
}
