//! The cleaning rules by name: what was done to a cell is part of its lineage, and a person can look each rule up.
//!
//! A key never changes its meaning: source records keep the keys of the rules that touched them.

/// Declares the rules: what each is called, what it does in both languages, and a cell before and after it.
macro_rules! rules {
    ($($rule:ident $key:literal $en:literal $zh:literal $before:literal => $after:literal;)+) => {
        /// A rule that may change a cell.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Rule { $(#[doc = $en] $rule,)+ }

        impl Rule {
            /// Every rule.
            pub const ALL: &'static [Self] = &[$(Self::$rule,)+];

            /// What lineage calls the rule.
            #[must_use]
            pub const fn key(self) -> &'static str { match self { $(Self::$rule => $key,)+ } }

            /// What the rule does, in English.
            #[must_use]
            pub const fn en(self) -> &'static str { match self { $(Self::$rule => $en,)+ } }

            /// What the rule does, in Chinese.
            #[must_use]
            pub const fn zh(self) -> &'static str { match self { $(Self::$rule => $zh,)+ } }

            /// A cell that this rule alone changes: before and after, which is empty where the rule leaves nothing.
            #[must_use]
            pub const fn example(self) -> (&'static str, &'static str) { match self { $(Self::$rule => ($before, $after),)+ } }

            /// The rule whose key is `key`.
            #[must_use]
            pub fn of_key(key: &str) -> Option<Self> { match key { $($key => Some(Self::$rule),)+ _ => None } }
        }
    };
}

rules! {
    TextFullWidth "text.full_width" "Full-width signs become half-width" "全角字符转为半角" "ＡＢ１" => "AB1";
    TextInvisible "text.invisible" "Invisible characters are dropped" "删除不可见字符" "保温\u{200b}杯" => "保温杯";
    TextSpaces "text.spaces" "Unusual and repeated spaces become one plain space" "特殊或连续空格合并为一个空格" "Mary\u{a0} Lee" => "Mary Lee";
    TextTrimmed "text.trimmed" "Spaces at either end are dropped" "删除首尾空格" " 保温杯 " => "保温杯";
    TextApostrophe "text.apostrophe" "The apostrophe with which a spreadsheet marks text is dropped" "删除表格的文本标记(单引号)" "'13812345678" => "13812345678";
    TextNothing "text.nothing" "A word for nothing is nothing" "表示“无”的词按空值处理" "暂无" => "";
    PhoneLabel "phone.label" "A label beside the number is dropped" "删除号码前后的说明文字" "手机:13812345678" => "13812345678";
    PhoneSeparators "phone.separators" "Separators between digits are dropped" "删除号码中的分隔符" "138-1234-5678" => "13812345678";
    PhoneCountryCode "phone.country_code" "The country code is dropped" "删除国家代码" "+8613812345678" => "13812345678";
    PhoneFirstOfTwo "phone.first_of_two" "Of several numbers the first counts" "多个号码取第一个" "13812345678/13912340000" => "13812345678";
    PhoneSpreadsheetDecimal "phone.spreadsheet_decimal" "The decimal places that a spreadsheet adds are dropped" "删除表格自动添加的小数位" "13812345678.0" => "13812345678";
    PhoneAreaCode "phone.area_code" "The area code is set apart from the number" "分开区号与号码" "02548634010" => "025-48634010";
    PhoneMasked "phone.masked" "A number that its source has masked is not kept" "来源已打码的号码不保留" "138****5678" => "";
    PhonePrivacy "phone.privacy_number" "A relay number with an extension is not kept" "带分机号的隐私号码不保留" "18493103476-1636" => "";
    PhoneService "phone.service_number" "A service number, which is nobody's own, is not kept" "400/800服务号码不保留" "400-800-8888" => "";
    PhoneExtension "phone.extension" "The extension behind a landline is dropped" "删除固定电话的分机号" "010-62345678-801" => "010-62345678";
    PhonePlaceholder "phone.placeholder" "A number that stands for no number is not kept" "占位号码不保留" "13800138000" => "";
    NameTitle "name.title_removed" "A title behind the name is dropped" "删除姓名后的称谓" "吕炜妍先生" => "吕炜妍";
    NameNote "name.note_removed" "A note or a label beside the name is dropped" "删除姓名前后的备注或说明" "丁建玉(VIP)" => "丁建玉";
    NameSpaces "name.spaces" "Spaces within a Chinese name are dropped" "删除中文姓名中的空格" "程 建德" => "程建德";
    NameSigns "name.signs_removed" "Signs that belong to no name are dropped" "删除姓名中的特殊符号" "吴妍嘉*" => "吴妍嘉";
    NameFirstOfTwo "name.first_of_two" "Of several names the first counts" "多个姓名取第一个" "张三/李四" => "张三";
    NameMiddleDot "name.middle_dot" "Every kind of dot within a name becomes ·" "间隔号统一为·" "阿依古丽•买买提" => "阿依古丽·买买提";
    DateSlashes "date.slashes" "A date with slashes is written anew" "斜杠日期转为标准格式" "2024/5/1" => "2024-05-01";
    DateDots "date.dots" "A date with dots is written anew" "点分日期转为标准格式" "2024.5.1" => "2024-05-01";
    DateChinese "date.chinese" "A date with 年, 月 and 日 is written anew" "年月日日期转为标准格式" "2024年5月1日" => "2024-05-01";
    DateCompact "date.compact" "A date of eight digits is written anew" "八位数字日期转为标准格式" "20240501" => "2024-05-01";
    DateExcelSerial "date.excel_serial" "A spreadsheet's day number becomes a date" "表格日期序号转为日期" "44982" => "2023-02-25";
    DateTwoDigitYear "date.two_digit_year" "A year of two digits is one of 1969 to 2068" "两位年份按1969至2068年处理" "22-12-20" => "2022-12-20";
    DatePadded "date.padded" "Months and days get two digits" "月日补足两位" "2024-5-1" => "2024-05-01";
    DateYearLast "date.year_last" "A date whose year stands last is written anew" "年份在后的日期转为标准格式" "5/13/2024" => "2024-05-13";
    DateTimeDropped "date.time_dropped" "The time of day is dropped" "删除时刻" "2024-05-01 16:09" => "2024-05-01";
    DateClockUnread "date.clock_unread" "A part of the time of day that cannot be read counts as zero" "无法识别的时刻按零处理" "2024-05-01 25:00" => "2024-05-01 00:00:00";
    DateImpossible "date.impossible" "A day that does not exist, or not between 1900 and 2100, is not kept" "不存在或不在1900至2100年间的日期不保留" "2024-02-30" => "";
    EmailLowerCase "email.lower_case" "Capital letters become small" "大写字母转为小写" "Ming@Example.COM" => "ming@example.com";
    EmailTrimmed "email.trimmed" "What stands around the address is dropped" "删除邮箱前后的标点和说明" "<ming@example.com>;" => "ming@example.com";
    EmailMasked "email.masked" "An address that its source has masked is not kept" "来源已打码的邮箱不保留" "***@example.com" => "";
    EmailFirstOfTwo "email.first_of_two" "Of several addresses the first counts" "多个邮箱取第一个" "ming@example.com;li@example.com" => "ming@example.com";
    EmailPlaceholder "email.placeholder" "An address that stands for no address is not kept" "占位邮箱不保留" "test@test.com" => "";
    CompanyNone "company.none" "A word for no company is no company" "表示无公司的词按空值处理" "自由职业" => "";
    AddressDivided "address.divided" "The address is taken apart into province, city, district and detail" "地址拆分为省、市、区、详细地址" "浙江省杭州市西湖区文三路1号" => "浙江省|杭州市|西湖区|文三路1号";
    AddressPrefix "address.prefix" "The country, a postcode or a label before the address is dropped" "删除地址前的国名、邮编或说明" "中国|浙江省|杭州市|西湖区|文三路1号" => "浙江省|杭州市|西湖区|文三路1号";
    AddressSeparators "address.separators" "Spaces and signs between the parts are dropped" "删除各部分之间的空格和符号" "浙江省| 杭州市| 西湖区| 文三路1号" => "浙江省|杭州市|西湖区|文三路1号";
    AddressShortForm "address.short_form" "The short form of a division becomes its full name" "行政区划简称补为全称" "浙江|杭州|西湖区|文三路1号" => "浙江省|杭州市|西湖区|文三路1号";
    AddressProvince "address.province_from_city" "The city tells its province" "由城市补全省份" "|杭州市|西湖区|文三路1号" => "浙江省|杭州市|西湖区|文三路1号";
    AddressCity "address.city_from_district" "The district tells its city" "由区县补全城市" "浙江省||西湖区|文三路1号" => "浙江省|杭州市|西湖区|文三路1号";
    AddressMunicipality "address.municipality" "A municipality is its own city" "直辖市同时作为城市" "北京市||朝阳区|建国路1号" => "北京市|北京市|朝阳区|建国路1号";
    AddressProper "address.city_proper" "市辖区, which names no division, is dropped" "删除不具名的“市辖区”" "北京市|北京市市辖区|朝阳区|建国路1号" => "北京市|北京市|朝阳区|建国路1号";
    AmountThousands "amount.thousands" "Thousands separators are dropped" "删除千位分隔符" "1,546.52" => "1546.52";
    AmountCurrency "amount.currency_sign" "The currency is dropped" "删除货币符号" "¥59.10" => "59.10";
    AmountSpaces "amount.spaces" "Spaces within the amount are dropped" "删除金额中的空格" "1 546.52" => "1546.52";
    AmountWan "amount.unit_wan" "万 is ten thousand" "万换算为元" "1.5万" => "15000.00";
    AmountRounded "amount.rounded" "The amount is rounded to two decimal places" "金额保留两位小数" "59.104" => "59.10";
    IndustryCode "industry.code" "The code becomes that of the division" "行业代码转为大类代码" "6513" => "I65";
    IndustryName "industry.name" "The name of the standard becomes its code" "行业标准名称转为代码" "房地产业" => "K70";
    IndustryAlias "industry.alias" "A colloquial word becomes the code it stands for" "行业俗称转为代码" "餐饮" => "H62";
    TypeAlias "customer_type.alias" "The source's word becomes the type of customer it stands for" "来源用词转为客户类型" "公司" => "企业";
    StatusAlias "status.alias" "The source's word becomes the status it stands for" "来源用词转为客户状态" "意向客户" => "潜在客户";
    ChannelAlias "channel.alias" "The source's word becomes the channel it stands for" "来源用词转为来源渠道" "会展" => "展会";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clean::{Cleaned, Reference, Rules, address, amount, company, date, email, industry, name, phone, text, word};
    use crate::kind::Pii;

    fn shown<T>(cleaned: Cleaned<Option<T>>, show: impl Fn(T) -> String) -> (String, Rules) {
        (cleaned.value.map(show).unwrap_or_default(), cleaned.rules)
    }

    /// Runs the cleaning function whose cells `rule` is about.
    fn run(rule: Rule, raw: &str) -> (String, Rules) {
        let reference = Reference::standard();
        match (rule, rule.key().split_once('.').unwrap().0) {
            (Rule::TextApostrophe, _) | (_, "phone") => shown(phone::cell(raw, reference).map(Some), |cell| match cell {
                phone::Cell::Mobile(number) => number.expose().to_owned(),
                phone::Cell::Landline(number) => number.expose().to_owned(),
                _ => String::new(),
            }),
            (Rule::TextNothing, _) | (_, "company") => shown(company::name(raw, reference), |name| name),
            (Rule::DateClockUnread, _) => shown(date::instant(raw), |at| at.with_timezone(&date::zone()).format("%F %T").to_string()),
            (_, "text") => shown(text::folded(raw).map(Some), std::borrow::Cow::into_owned),
            (_, "name") => shown(name::clean(raw), |name| name.expose().to_owned()),
            (_, "date") => shown(date::date(raw), |date| date.to_string()),
            (_, "email") => shown(email::clean(raw), |email| email.expose().to_owned()),
            (_, "address") => shown(address::clean(raw, reference), |address| address.expose().to_owned()),
            (_, "amount") => shown(amount::fen(raw), amount::yuan),
            (_, "industry") => shown(industry::code(raw, reference), str::to_owned),
            (_, "customer_type") => shown(word::customer_type(raw), |kind| kind.zh().to_owned()),
            (_, "status") => shown(word::status(raw, reference), |status| status.zh().to_owned()),
            (_, "channel") => shown(word::channel(raw, reference), |channel| channel.zh().to_owned()),
            (_, other) => panic!("no cells of {other}"),
        }
    }

    #[test]
    fn every_rule_has_an_example_that_it_alone_changes() {
        for rule in Rule::ALL {
            let (before, after) = rule.example();
            assert_eq!(run(*rule, before), (after.to_owned(), Rules::of(*rule)), "{}", rule.key());
            if !after.is_empty() {
                assert_eq!(run(*rule, after), (after.to_owned(), Rules::NONE), "{} again", rule.key());
            }
        }
    }

    #[test]
    fn keys_are_snake_case_unique_and_name_their_rule() {
        for rule in Rule::ALL {
            assert!(rule.key().bytes().all(|b| b.is_ascii_lowercase() || matches!(b, b'_' | b'.')), "{}", rule.key());
            assert_eq!(Rule::of_key(rule.key()), Some(*rule), "{} twice", rule.key());
            assert!(!rule.en().is_empty() && !rule.zh().is_ascii(), "{}", rule.key());
        }
        assert_eq!(Rule::of_key("phone.guessed"), None);
    }
}
