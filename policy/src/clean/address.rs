//! Addresses of China, taken apart into province, city, district and detail (GB/T 2260 divisions).

use super::division::{Found, STANDARD, is_shaped, short};
use super::{Cleaned, Reference, Rule, Rules, text};
use crate::field::kinds::Address;
use crate::kind::{Invalid, Pii};

/// What may stand between two parts.
const BETWEEN: [char; 7] = ['|', ' ', ',', '-', '/', '、', '—'];
/// Labels before an address.
const LABELS: [&str; 7] = ["地址", "收货地址", "收件地址", "详细地址", "联系地址", "通讯地址", "家庭住址"];

/// Whether `name` is a division of China by its full name.
#[must_use]
pub fn is_division(name: &str) -> bool {
    STANDARD.is_known(name)
}

/// An address as `province|city|district|detail`; parts that the cell does not tell stay empty.
#[must_use]
pub fn clean(raw: &str, reference: &Reference) -> Cleaned<Option<Address>> {
    let mut rules = Rules::NONE;
    let address = standard(raw, reference, &mut rules).and_then(|address| Address::parse(&address).ok());
    Cleaned::read(address, rules)
}

/// `province|city|district|detail`; parts that the text does not tell stay empty. What has these parts already is kept as it is:
/// it may name a division that a tenant added.
///
/// # Errors
/// An empty text.
pub fn text(raw: &str) -> Result<String, Invalid> {
    if is_standard(raw) {
        return Ok(raw.to_owned());
    }
    standard(raw, Reference::standard(), &mut Rules::default()).ok_or(Invalid("empty text"))
}

fn is_standard(text: &str) -> bool {
    let mut parts = text.splitn(4, '|');
    let (Some(province), Some(city), Some(district), Some(detail)) = (parts.next(), parts.next(), parts.next(), parts.next()) else { return false };
    let named = |name: &str| name.is_empty() || (!matches!(name, "市辖区" | "县") && (is_division(name) || is_shaped(name)));
    let placed = match (province, city, district) {
        ("", city, district) => city.is_empty() && district.is_empty(),
        (_, "", district) if !district.is_empty() => is_division(province) && !Reference::standard().divisions().has_district(province, district),
        _ => is_division(province),
    };
    placed && named(city) && named(district) && !detail.starts_with(BETWEEN) && text::folded(text).value == text
}

fn standard(raw: &str, reference: &Reference, rules: &mut Rules) -> Option<String> {
    let folded = text::noting(raw, rules);
    if folded.is_empty() {
        return None;
    }
    rules.add_if(folded.bytes().filter(|b| *b == b'|').count() < 3, Rule::AddressDivided);
    let mut whole = folded.trim_start_matches(BETWEEN);
    loop {
        let shorter = after_prefix(after_proper(whole, false, rules), reference, rules);
        if shorter.len() == whole.len() {
            break;
        }
        whole = shorter;
    }
    let whole = whole.trim_end_matches(['|', ' ']);
    let Reading { province, city, district, detail, rules: read } = parse(whole, reference);
    *rules = rules.with(read);
    let address = [province, city, district, detail].join("|");
    rules.add_if(rules.is_empty() && address != raw, Rule::AddressDivided);
    Some(address)
}

/// An address as far as it was read.
struct Reading<'t> {
    province: &'t str,
    city: &'t str,
    district: &'t str,
    detail: &'t str,
    rules: Rules,
}

/// Of the ways to read an address, the one that tells most: 吉林市龙潭区 is a city, not a province and something.
fn parse<'t>(whole: &'t str, reference: &'t Reference) -> Reading<'t> {
    let start = Place { whole, province: "", rest: whole, shortened: false, rules: Rules::NONE };
    let Some(found) = reference.divisions().province(whole) else { return below(start, reference) };
    let mut rules = Rules::NONE;
    let rest = after(whole, &found, &mut rules);
    let read = below(Place { whole, province: &found.division.name, rest, shortened: found.is_short(), rules }, reference);
    if read.district.is_empty() {
        let as_city = below(start, reference);
        if !as_city.district.is_empty() {
            return as_city;
        }
    }
    read
}

/// What is read of an address before its city.
#[derive(Clone, Copy)]
struct Place<'t> {
    whole: &'t str,
    province: &'t str,
    rest: &'t str,
    shortened: bool,
    rules: Rules,
}

/// Reads city, district and detail behind a province.
fn below<'t>(Place { whole, mut province, mut rest, mut shortened, mut rules }: Place<'t>, reference: &'t Reference) -> Reading<'t> {
    let divisions = reference.divisions();
    rest = after_proper(rest, false, &mut rules);
    let before_city = rest;
    let found = divisions.city(rest, |city| province.is_empty() || city.province == province);
    let (mut city, mut short_city) = ("", false);
    rules.add_if(shortened, Rule::AddressShortForm);
    let without_city = rules;
    if let Some(found) = found {
        let above = &*found.division.province;
        rules.add_if(province.is_empty(), if above == found.division.name { Rule::AddressMunicipality } else { Rule::AddressProvince });
        rest = after(rest, &found, &mut rules);
        (city, short_city) = (&found.division.name, found.is_short());
        rules.add_if(short_city, Rule::AddressShortForm);
        province = above;
        shortened &= short_city;
    } else if divisions.province_of(province).is_some() {
        // 重庆沙坪坝区: the municipality is written once.
        city = province;
        rules.add(Rule::AddressMunicipality);
    }
    rest = after_proper(rest, !city.is_empty(), &mut rules);
    let read = |city, found: &Found<'t>, text: &'t str, mut rules: Rules| {
        let detail = after(text, found, &mut rules);
        Reading { province, city, district: &found.division.name, detail, rules }
    };
    if let Some(found) = divisions.district(rest, |district| district.province == province && district.city == city) {
        return read(city, &found, rest, rules);
    }
    if city.is_empty() {
        // A district that only one city of the province has gives its city.
        let mut of_cities = divisions.districts(rest, |district| district.province == province && !district.city.is_empty());
        if let Some(first) = of_cities.next()
            && of_cities.all(|other| other.city == first.city)
            && let Some(found) = divisions.district(rest, |district| district.province == province && district.city == first.city)
        {
            rules.add(Rule::AddressCity);
            return read(&first.city, &found, rest, rules);
        }
    } else if !short_city && before_city.len() > city.len() && before_city.starts_with(city) {
        // 济南市中区 is 济南 and 市中区.
        let shorter = before_city.strip_prefix(short(city)).unwrap_or(before_city);
        if let Some(found) = divisions.district(shorter, |district| district.province == province && district.city == city) {
            rules.add(Rule::AddressShortForm);
            return read(city, &found, shorter, rules);
        }
    }
    if province.is_empty() && city.is_empty() {
        // 义乌市: a county-level city of which there is one tells where it is.
        let mut alike = divisions.districts(rest, |district| district.name.ends_with('市') && rest.starts_with(&*district.name));
        if let Some(first) = alike.next()
            && alike.all(|other| other == first)
            && let Some(found) = divisions.district(rest, |district| district == first)
        {
            rules.add(Rule::AddressProvince);
            rules.add_if(!first.city.is_empty(), Rule::AddressCity);
            return Reading { province: &first.province, ..read(&first.city, &found, rest, rules) };
        }
    }
    let left = |province, city, detail| Reading { province, city, district: "", detail, rules };
    // A short form counts only with something certain behind it: 朝阳路1号 is a street, 重庆沙坪坝区 is not.
    if shortened || (short_city && before_city.len() == whole.len()) {
        return Reading { rules: Rules::NONE, ..left("", "", whole) };
    }
    if short_city { Reading { rules: without_city, ..left(province, "", before_city) } } else { left(province, city, rest) }
}

/// What follows a label, the country or a postcode, the latter two where a division is behind them.
fn after_prefix<'t>(text: &'t str, reference: &Reference, rules: &mut Rules) -> &'t str {
    let unlabelled = text.split_once(':').filter(|(label, _)| LABELS.contains(&label.trim_end())).map(|(_, behind)| behind);
    let country = || ["中华人民共和国", "中国"].iter().find_map(|country| text.strip_prefix(country));
    let postcode = || text.split_at_checked(6).filter(|(code, _)| code.bytes().all(|b| b.is_ascii_digit())).map(|(_, behind)| behind);
    let divided = |behind: &str| {
        let behind = behind.trim_start_matches(BETWEEN);
        reference.divisions().province(behind).is_some() || reference.divisions().city(behind, |_| true).is_some() || behind.starts_with("中国")
    };
    let shorter = unlabelled.or_else(|| country().or_else(postcode).filter(|behind| divided(behind))).map(|behind| behind.trim_start_matches(BETWEEN));
    let Some(shorter) = shorter.filter(|shorter| !shorter.is_empty()) else { return text };
    rules.add(Rule::AddressPrefix);
    shorter
}

/// What follows 市辖区, which statistics write between a city and its districts; 上海市辖区 has the one 市 of both.
fn after_proper<'t>(text: &'t str, behind_city: bool, rules: &mut Rules) -> &'t str {
    let mut rest = text;
    while let Some(behind) = rest.strip_prefix("市辖区").or_else(|| rest.strip_prefix("辖区").filter(|_| behind_city)) {
        rules.add(Rule::AddressProper);
        rest = behind.trim_start_matches(BETWEEN);
    }
    rest
}

/// What follows a division and the separators behind it.
fn after<'t>(text: &'t str, found: &Found<'_>, rules: &mut Rules) -> &'t str {
    let behind = &text[found.width..];
    let rest = behind.trim_start_matches(BETWEEN);
    rules.add_if(behind[..behind.len() - rest.len()].contains(|c: char| c != '|'), Rule::AddressSeparators);
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clean::{Addition, ReferenceKind};
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
            ("中国浙江省杭州市西湖区", "浙江省|杭州市|西湖区|"),
            ("310000 浙江省杭州市文三路1号", "浙江省|杭州市||文三路1号"),
            ("收货地址：浙江省-杭州市-西湖区-文三路1号", "浙江省|杭州市|西湖区|文三路1号"),
            ("浙江省、杭州市/西湖区 文三路1号", "浙江省|杭州市|西湖区|文三路1号"),
            ("义乌市稠州路1号", "浙江省|金华市|义乌市|稠州路1号"),
            ("昆山市人民路1号", "江苏省|苏州市|昆山市|人民路1号"),
            ("中国大厦3楼", "|||中国大厦3楼"),
            ("310000号信箱", "|||310000号信箱"),
            ("山东济南市中区科技路378号", "山东省|济南市|市中区|科技路378号"),
            ("吉林市龙潭区朝阳路172号", "吉林省|吉林市|龙潭区|朝阳路172号"),
            ("海南藏族自治州共和县文三街332号", "青海省|海南藏族自治州|共和县|文三街332号"),
            ("湖南省株洲市醴陵市学院大道55号", "湖南省|株洲市|醴陵市|学院大道55号"),
            (",北京市市辖区市辖区朝阳区建国路1号", "北京市|北京市|朝阳区|建国路1号"),
            ("上海市辖区嘉定区文三路1号", "上海市|上海市|嘉定区|文三路1号"),
            ("浙江省市辖区杭州市西湖区", "浙江省|杭州市|西湖区|"),
            ("上海市|市辖区|嘉定区|文三路1号", "上海市|上海市|嘉定区|文三路1号"),
            ("上海市||嘉定区|文三路1号", "上海市|上海市|嘉定区|文三路1号"),
            ("河南省||济源市|文三路1号", "河南省||济源市|文三路1号"),
            ("上海市@市 上海市", "上海市|上海市||@市 上海市"),
            ("江苏省|连云港市|科技街|839号", "江苏省|连云港市||科技街|839号"),
        ] {
            assert_eq!(text(raw).as_deref(), Ok(want), "{raw}");
            assert_eq!(clean(raw, Reference::standard()).value.unwrap().expose(), want, "{raw}");
        }
        assert_eq!(clean(" ", Reference::standard()), Cleaned { value: None, rules: Rules::NONE });
    }

    #[test]
    fn a_division_that_a_tenant_added_is_read_and_stays() {
        let division = |key: &str, value: &str| Addition { kind: ReferenceKind::Division, key: key.into(), value: value.into() };
        let reference = Reference::standard()
            .extended(&[division("未来科技城", "浙江省|杭州市"), division("新海市", "浙江省"), division("东岛区", "浙江省|新海市")])
            .unwrap();
        for (raw, want) in [
            ("杭州市未来科技城文三路1号", "浙江省|杭州市|未来科技城|文三路1号"),
            ("新海东岛区1号", "浙江省|新海市|东岛区|1号"),
            ("浙江省东岛区1号", "浙江省|新海市|东岛区|1号"),
            ("上海市 上海市 闵行区 延安街531号", "上海市|上海市|闵行区|延安街531号"),
        ] {
            let address = clean(raw, &reference).value.unwrap();
            assert_eq!(address.expose(), want, "{raw}");
            assert_eq!(Address::parse(want).unwrap(), address, "what a vault gives back is what it got");
        }
        assert_eq!(text("杭州市未来科技城文三路1号").as_deref(), Ok("浙江省|杭州市||未来科技城文三路1号"));
    }

    /// Texts that look like addresses, and texts that do not.
    fn any_address() -> impl Strategy<Value = String> {
        let pieces = [
            "浙江省",
            "浙江",
            "杭州市",
            "杭州",
            "西湖区",
            "北京市",
            "北京",
            "重庆",
            "市辖区",
            "县",
            "朝阳区",
            "吉林市",
            "吉林",
            "济南",
            "市中区",
            "河南省",
            "济源市",
            "香港特别行政区",
            "|",
            " ",
            ",",
            "文三路1号",
            "、",
            "-",
            "中国",
            "地址:",
            "310000",
            "义乌市",
        ];
        prop_oneof!["\\PC{0,40}", prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..9).prop_map(|pieces| pieces.concat())]
    }

    proptest! {
        #[test]
        fn a_clean_address_is_of_four_parts_and_stays(raw in any_address()) {
            let reference = Reference::standard();
            let once = clean(&raw, reference);
            if let Some(address) = &once.value {
                prop_assert_eq!(clean(address.expose(), reference), Cleaned { value: Some(address.clone()), rules: Rules::NONE });
                prop_assert!(is_standard(address.expose()), "{}", address.expose());
                prop_assert_eq!(once.rules.is_empty(), address.expose() == raw, "{}", address.expose());
                prop_assert_eq!(text(&raw).is_ok(), true);
            }
        }
    }
}
