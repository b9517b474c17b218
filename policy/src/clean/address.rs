//! Addresses of China, taken apart into province, city, district and detail (GB/T 2260 divisions).

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use super::text::{fold, free};
use crate::kind::Invalid;

/// Names of divisions of the first three levels, and how they hang together.
struct Divisions {
    provinces: Vec<&'static str>,
    /// City to its province.
    cities: HashMap<&'static str, &'static str>,
    cities_of: HashMap<&'static str, Vec<&'static str>>,
    /// Province and city to the districts.
    districts: HashMap<(&'static str, &'static str), Vec<&'static str>>,
    known: HashSet<&'static str>,
}

static DIVISIONS: LazyLock<Divisions> = LazyLock::new(|| {
    let mut divisions =
        Divisions { provinces: Vec::new(), cities: HashMap::new(), cities_of: HashMap::new(), districts: HashMap::new(), known: HashSet::new() };
    let (mut province, mut city) = ("", "");
    for line in include_str!("../../reference/divisions.csv").lines().filter(|line| !line.starts_with(['#', 'c'])) {
        let mut cells = line.split(',').skip(1);
        let (name, level) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
        match level {
            "1" => {
                (province, city) = (name, "");
                divisions.provinces.push(name);
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
                if !city.is_empty() && divisions.cities.insert(city, province).is_none() {
                    divisions.cities_of.entry(province).or_default().push(city);
                }
            }
            _ => divisions.districts.entry((province, city)).or_default().push(name),
        }
        divisions.known.insert(name);
    }
    divisions
});

/// Whether `name` is a division of China by its full name.
#[must_use]
pub fn is_division(name: &str) -> bool {
    DIVISIONS.known.contains(name)
}

/// `province|city|district|detail`; parts that the text does not tell stay empty.
///
/// # Errors
/// An empty text.
pub fn text(raw: &str) -> Result<String, Invalid> {
    let folded = free(&fold(raw))?;
    let (province, city, district, detail) = parse(&folded);
    Ok(format!("{province}|{city}|{district}|{detail}"))
}

type Parts<'t> = (&'static str, &'static str, &'static str, &'t str);

/// Of the ways to read an address, the one that tells most: 吉林市龙潭区 is a city, not a province and something.
fn parse(folded: &str) -> (&'static str, &'static str, &'static str, String) {
    let whole = folded.trim_matches(['|', ' ']);
    let (province, rest, shortened) = take(whole, DIVISIONS.provinces.iter().copied()).unwrap_or(("", whole, false));
    let mut read = below(whole, province, rest, shortened);
    if read.2.is_empty() && !province.is_empty() {
        let as_city = below(whole, "", whole, false);
        if !as_city.2.is_empty() {
            read = as_city;
        }
    }
    let (province, city, district, detail) = read;
    (province, city, district, detail.trim_start_matches(['|', ' ', ',']).to_owned())
}

/// Reads city, district and detail behind a province.
fn below<'t>(whole: &'t str, mut province: &'static str, rest: &'t str, mut shortened: bool) -> Parts<'t> {
    let mut rest = rest;
    let mut city = "";
    let found = match DIVISIONS.cities_of.get(province) {
        Some(cities) => take(rest, cities.iter().copied()),
        None => take(rest, DIVISIONS.cities.keys().copied()),
    };
    let before_city = rest;
    let mut short_city = false;
    if let Some((name, after, short)) = found {
        (city, rest, short_city) = (name, after, short);
        province = DIVISIONS.cities.get(name).copied().unwrap_or(province);
        shortened &= short;
    } else if DIVISIONS.cities.contains_key(province) {
        city = province; // 重庆沙坪坝区: the municipality is written once
    }
    if rest.starts_with("市辖区") {
        rest = after(rest, "市辖区");
    }
    let under = |city: &'static str| DIVISIONS.districts.get(&(province, city)).map_or(&[][..], Vec::as_slice).iter().copied();
    if let Some((name, after)) = take_whole(rest, under(city)) {
        return (province, city, name, after);
    }
    if city.is_empty() {
        // A district that only one city of the province has gives its city.
        let cities = DIVISIONS.cities_of.get(province).into_iter().flatten();
        let found: Vec<_> = cities.filter_map(|city| take_whole(rest, under(city)).map(|hit| (*city, hit))).collect();
        if let [(only, (name, after))] = found[..] {
            return (province, only, name, after);
        }
    } else if !short_city && before_city.len() > city.len() {
        // 济南市中区 is 济南 and 市中区.
        let shorter = &before_city[short(city).len().min(before_city.len())..];
        if let Some((name, after)) = take_whole(shorter, under(city)) {
            return (province, city, name, after);
        }
    }
    // A short form counts only with something certain behind it: 朝阳路1号 is a street, 重庆沙坪坝区 is not.
    if shortened || (short_city && before_city.len() == whole.len()) {
        return ("", "", "", whole);
    }
    if short_city { (province, "", "", before_city) } else { (province, city, "", rest) }
}

/// The longest of `names` with which `text` starts, in full or shortened; with what follows, and whether it was shortened.
fn take(text: &str, names: impl Iterator<Item = &'static str>) -> Option<(&'static str, &str, bool)> {
    let spellings = names.flat_map(|name| [(name, name), (name, short(name))]);
    let (name, spelling) =
        spellings.filter(|(_, spelling)| text.starts_with(spelling)).max_by_key(|(name, spelling)| (spelling.len(), std::cmp::Reverse(name.len())))?;
    Some((name, after(text, spelling), spelling != name))
}

/// The longest of `names` with which `text` starts in full.
fn take_whole(text: &str, names: impl Iterator<Item = &'static str>) -> Option<(&'static str, &str)> {
    names.filter(|name| text.starts_with(name)).max_by_key(|name| name.len()).map(|name| (name, after(text, name)))
}

fn after<'t>(text: &'t str, name: &str) -> &'t str {
    text[name.len()..].trim_start_matches(['|', ' ', ','])
}

/// How people shorten a division: 浙江省 → 浙江, 广西壮族自治区 → 广西.
fn short(name: &'static str) -> &'static str {
    for (full, short) in [
        ("内蒙古自治区", "内蒙古"),
        ("广西壮族自治区", "广西"),
        ("西藏自治区", "西藏"),
        ("宁夏回族自治区", "宁夏"),
        ("新疆维吾尔自治区", "新疆"),
        ("香港特别行政区", "香港"),
        ("澳门特别行政区", "澳门"),
    ] {
        if name == full {
            return short;
        }
    }
    ["省", "市", "地区", "盟"].iter().find_map(|suffix| name.strip_suffix(suffix)).filter(|rest| rest.chars().count() >= 2).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn examples() {
        for (raw, want) in [
            ("湖北省 恩施土家族苗族自治州 恩施市 朝阳路607号", "湖北省|恩施土家族苗族自治州|恩施市|朝阳路607号"),
            ("四川德阳旌阳区和平大道340号", "四川省|德阳市|旌阳区|和平大道340号"),
            ("大理白族自治州云龙县人民路223号", "云南省|大理白族自治州|云龙县|人民路223号"),
            ("江苏省|连云港市|海州区|科技街839号", "江苏省|连云港市|海州区|科技街839号"),
            ("上海市 上海市 闵行区 延安街531号", "上海市|上海市|闵行区|延安街531号"),
            ("重庆沙坪坝区朝阳街51号", "重庆市|重庆市|沙坪坝区|朝阳街51号"),
            ("北京市市辖区朝阳区建国路1号", "北京市|北京市|朝阳区|建国路1号"),
            ("河北省邢台市新华路760号", "河北省|邢台市||新华路760号"),
            ("内蒙古阿拉善盟阿拉善左旗中山路636号", "内蒙古自治区|阿拉善盟|阿拉善左旗|中山路636号"),
            ("合肥市合肥经济技术开发区解放街443号", "安徽省|合肥市|合肥经济技术开发区|解放街443号"),
            ("文三街456号东方名城", "|||文三街456号东方名城"),
            ("朝阳路542号", "|||朝阳路542号"),
            ("山东济南市中区科技路378号", "山东省|济南市|市中区|科技路378号"),
            ("吉林市龙潭区朝阳路172号", "吉林省|吉林市|龙潭区|朝阳路172号"),
            ("海南藏族自治州共和县文三街332号", "青海省|海南藏族自治州|共和县|文三街332号"),
            ("湖南省株洲市醴陵市学院大道55号", "湖南省|株洲市|醴陵市|学院大道55号"),
        ] {
            assert_eq!(text(raw).as_deref(), Ok(want), "{raw}");
        }
    }

    proptest! {
        #[test]
        fn four_parts_always_come_out(raw in "\\PC{1,40}") {
            if let Ok(address) = text(&raw) { prop_assert!(address.matches('|').count() >= 3); }
        }
    }
}
