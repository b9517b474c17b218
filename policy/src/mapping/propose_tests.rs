//! Proposals for the files that people bring: by example, and for any file at all.

use super::*;
use proptest::prelude::*;

const SALES: &str = "\
序号,客户姓名,手机,邮箱,公司,行业,来源渠道,展会名称,展会日期,首次跟进时间,客户状态,负责人,最后更新时间,备注,,
1,王小明,177 5785 1669,,,,官网搜索,,,2024年6月4日,潜在客户,张经理,2024-10-01 14:49:42,价格敏感,,
2,李建德,15774310802,a2@example.com,,,展会,2024北京餐饮加盟展,2024-05-10,2024/07/19 16:09,意向客户,张经理,20240813,VIP,,
3,陈丽先生,'13428491816,,无锡创想食品有限公司,食品,转介绍,,,45368,成交客户,刘洋,长期,,,
,苏雅淼,13856696772,,,,,,,,,,,,,
";
const SHOP: &str = "\
门店,姓名*, 联系方式,地址,办卡日期,会员等级,累计消费,备注
西湖店,朱旭建,18391534181,辽宁省辽阳市灯塔市胜利街310号东方名城19幢,2023/8/11,钻石,89.80,
,陈金睿,18196246575,内蒙古自治区 赤峰市 元宝山区 学院路677号,2023-02-23,银卡,320.81 ,老会员
,戴龙英,15680408419 或 13873713471,广东省江门市蓬江区解放路377号,2024-05-03,金卡,¥685.90,微信:wx12
滨江店,王先生,,,45574,普通,155.76,
,秦一倩,0571-25314866,迎宾大道263号,20230407,银卡,374.57元,生日券已发
";
const TICKET: &str = "\
工单号,提交时间,联系人,联系电话,邮箱,公司,问题类型,问题描述,处理人,工单状态,满意度
T25059784224,2025-05-15 12:42:09,陈宁小,17796908417,,烟台成越体育文化有限公司,安装服务,没有按约上门,周婷,已解决,5
T24128467987,2024年12月15日,杨英天,手机:13664922096,,,发票申请,\"登录提示,密码错误\",孙强,已关闭,
T24100570322,20230823,苏女士,,x.y@example.cn,,投诉建议,积分没有到账,孙强,处理中,3
";
const ECOM: &str = "\
订单编号,买家昵称,收货人手机,邮箱,商品名称,数量,实付金额,下单时间,收货地址,订单状态,买家留言,,,
E20231226097811785,韩超光,+86 13077304934,,打印纸,5,217.54,2023-12-26 19:41:06,湖北省 恩施土家族苗族自治州 恩施市 朝阳路607号,交易成功,,,,
E20240515214417909,tb426449133,130****2589,,运动鞋,3,￥213.55,21-11-4,四川德阳旌阳区和平大道340号,交易关闭,,,,
E20231222982386152,刘女士,18493103476-1636,r.liu@example.cn,羽绒服,2,253.97元,2023-12-22,大理白族自治州云龙县人民路223号,交易成功,请放驿站,,,
";
const FEBRL: &str = "\
rec_id,true_id,given_name,surname,street_number,address_1,address_2,suburb,postcode,state,date_of_birth,soc_sec_id
rec-1-org,1,,walker,6,tulip street,willow,st james,4011,wa,19081209,6988040
rec-2-org,2,lachlan,bury,69,gibson street,kilarny,bitter,4814,qld,19990219,7364000
rec-2-dup-0,2,lachlan,berry,69,gibson st,kilarny,bitter,,qld,19990219,7364000
rec-3-org,3,kayla,harris,,malt circuit,coal,cooler,3465,nsw,19150612,9004240
";
const PROVIDERS: &str = "\
True Id,Id,Source,Site name,Address,Zip,Phone,Fax,Program Name,Funded Enrollment,Executive Director,Email Address
27,1958,list_a.csv,North Commons Association,27 Washington Oak Park IL 60302,,3865280,,,,Dan Walker,
221,287,list_b.csv,Precious Learning Center Inc.,221 E. 51st St.,60615,2859900,2859901,Community Partnerships,20,,
222,288,list_b.csv,Henry House Academy,722 E 75th Street,60619,7230330,,Head Start,,,
";
const CRM: &str = "\
Contact ID,First Name,Last Name,E-mail,Mobile Phone,Account Name,Mailing Street,Mailing City,Mailing State/Province,Mailing Zip/Postal Code,Lead Source,Lead Status,Contact Owner,Created Date,Last Modified Date,Birthdate,Description
003A,Mary,Lee,mary@example.com,(415) 555-0132,Acme Inc.,12 Main St,Springfield,IL,62701,Website,Open,Dan Walker,2024-02-01,2024-03-01,1980-05-06,met at the fair
003B,John,Smith,john@example.org,+1 415 555 0199,Bolt Ltd,7 Oak Ave,Portland,OR,97201,Referral,Won,Dan Walker,2024-02-03,2024-03-02,1971-01-30,
";

/// The cells of a text without quoted line breaks.
fn table(text: &str) -> (Vec<String>, Vec<Vec<String>>) {
    let mut rows = text.lines().map(|line| {
        let mut quoted = false;
        let cells = line.split(|c| {
            quoted ^= c == '"';
            c == ',' && !quoted
        });
        cells.map(|cell| cell.trim_matches('"').to_owned()).collect::<Vec<_>>()
    });
    (rows.next().unwrap_or_default(), rows.collect())
}

fn proposed(text: &str) -> Proposal {
    let (header, sample) = table(text);
    propose(&header, &sample)
}

fn column<'p>(proposal: &'p Proposal, header: &str) -> &'p Proposed {
    proposal.columns.iter().find(|column| header_key(&column.header) == header_key(header)).unwrap()
}

/// The columns in another order: every `step`-th, around and around.
fn shuffled(text: &str, step: usize) -> (Vec<String>, Vec<Vec<String>>) {
    let (header, sample) = table(text);
    let order: Vec<usize> = (0..header.len()).map(|n| n * step % header.len()).collect();
    let turn = |row: &Vec<String>| order.iter().map(|at| row.get(*at).cloned().unwrap_or_default()).collect();
    (turn(&header), sample.iter().map(turn).collect())
}

fn is_standard(proposal: &Proposal, source: usize) {
    let source = &standard().unwrap()[source];
    assert_eq!(proposal.tells, source.mapping.tells, "{}", source.name);
    for want in &source.mapping.columns {
        let got = column(proposal, &want.header);
        assert!((got.to, got.fill_down, got.compare) == (want.to, want.fill_down, None) && got.confidence >= 0.7, "{got:?}");
    }
    assert_eq!(proposal.mapping(0.7).columns.len(), source.mapping.columns.len());
}

#[test]
fn the_standard_sources_are_proposed_as_they_are() {
    for (n, text) in [SALES, SHOP, TICKET, ECOM].into_iter().enumerate() {
        is_standard(&proposed(text), n);
    }
}

#[test]
fn the_order_of_the_columns_does_not_matter() {
    for (n, text, step) in [(0, SALES, 5), (1, SHOP, 3), (2, TICKET, 7), (3, ECOM, 5)] {
        let (header, sample) = shuffled(text, step);
        is_standard(&propose(&header, &sample), n);
    }
}

#[test]
fn a_header_alone_is_enough_for_known_words() {
    for (n, text) in [SALES, TICKET, ECOM].into_iter().enumerate() {
        let (header, _) = table(text);
        let proposal = propose(&header, &[]);
        let source = &standard().unwrap()[[0, 2, 3][n]];
        assert_eq!(proposal.tells, source.mapping.tells);
        assert_eq!(proposal.mapping(0.7), source.mapping);
    }
    assert_eq!(propose(&[], &[]), Proposal { tells: Tells::Membership, columns: Vec::new() });
}

#[test]
fn persons_without_a_standard_identity_are_compared() {
    let proposal = proposed(FEBRL);
    for (header, to, compare) in [
        ("rec_id", Some(Target::ExternalId), None),
        ("given_name", Some(Target::GivenName), Some(Comparator::Name)),
        ("surname", Some(Target::Surname), Some(Comparator::Name)),
        ("street_number", Some(Target::AddressPart), Some(Comparator::Exact)),
        ("address_1", Some(Target::AddressPart), Some(Comparator::Words)),
        ("suburb", Some(Target::AddressPart), Some(Comparator::Words)),
        ("state", Some(Target::AddressPart), Some(Comparator::Exact)),
        ("postcode", None, Some(Comparator::Digits)),
        ("date_of_birth", None, Some(Comparator::Date)),
        ("soc_sec_id", None, Some(Comparator::Digits)),
    ] {
        let got = column(&proposal, header);
        assert!((got.to, got.compare) == (to, compare) && got.confidence >= 0.7, "{got:?}");
    }
    assert_eq!(proposal.mapping(0.7).columns.len(), 11);
    assert_eq!(proposal.mapping(0.7).check(), Ok(()));
}

#[test]
fn organisations_without_a_standard_identity_are_compared() {
    let proposal = proposed(PROVIDERS);
    for (header, to, compare) in [
        ("Id", Some(Target::ExternalId), None),
        ("Site name", Some(Target::Company), Some(Comparator::Organisation)),
        ("Address", Some(Target::Address), Some(Comparator::Words)),
        ("Zip", None, Some(Comparator::Digits)),
        ("Phone", None, Some(Comparator::Digits)),
        ("Fax", None, Some(Comparator::Digits)),
        ("Email Address", Some(Target::Email), Some(Comparator::Exact)),
    ] {
        let got = column(&proposal, header);
        assert_eq!((got.to, got.compare), (to, compare), "{got:?}");
    }
    let sure: Vec<String> = proposal.mapping(0.7).columns.into_iter().map(|column| column.header).collect();
    assert_eq!(sure, ["Id", "Site name", "Address", "Zip", "Phone", "Fax", "Email Address"]);
}

#[test]
fn an_english_crm_export_is_understood() {
    let proposal = proposed(CRM);
    assert_eq!(proposal.tells, Tells::Membership);
    for (header, to, compare) in [
        ("Contact ID", Some(Target::ExternalId), None),
        ("First Name", Some(Target::GivenName), None),
        ("Last Name", Some(Target::Surname), None),
        ("E-mail", Some(Target::Email), None),
        ("Mobile Phone", None, Some(Comparator::Digits)),
        ("Account Name", Some(Target::Company), None),
        ("Mailing Street", Some(Target::AddressPart), None),
        ("Mailing City", Some(Target::AddressPart), None),
        ("Mailing State/Province", Some(Target::AddressPart), None),
        ("Mailing Zip/Postal Code", None, Some(Comparator::Digits)),
        ("Lead Source", Some(Target::Channel), None),
        ("Lead Status", Some(Target::Status), None),
        ("Contact Owner", Some(Target::Owner), None),
        ("Created Date", Some(Target::OccurredAt), None),
        ("Last Modified Date", Some(Target::UpdatedAt), None),
        ("Birthdate", None, Some(Comparator::Date)),
    ] {
        let got = column(&proposal, header);
        assert_eq!((got.to, got.compare), (to, compare), "{got:?}");
    }
}

#[test]
fn a_reason_counts_cells_and_names_what_disagrees() {
    let column = |header: &str, cell: &dyn Fn(u32) -> String| {
        proposed(&(0..100).fold(format!("{header}\n"), |text, n| format!("{text}{}\n", cell(n)))).columns.remove(0)
    };
    let phones = |n: u32| if n < 3 { "x".to_owned() } else { format!("138{:08}", 12_345_678 + n) };
    let agreed = column("手机", &phones);
    assert!(agreed.confidence > 0.98 && agreed.reason.starts_with("header means 手机; 97 of 100 cells read as telephone numbers"), "{agreed:?}");
    let unknown = column("zz", &phones);
    assert!(unknown.to == Some(Target::Phone) && unknown.reason.contains("the header is not known; 97 of 100"), "{unknown:?}");
    let against = column("邮箱", &phones);
    assert!(against.to == Some(Target::Phone) && against.confidence < 0.6 && against.reason.contains("header means 邮箱, but 97 of 100"), "{against:?}");
    let wrong = column("下单时间", &|n| format!("第{n}次"));
    assert!(wrong.to.is_none() && wrong.reason.contains("but only 0 of 100 cells read as dates; too uncertain"), "{wrong:?}");
    let nothing = column("zz", &|n| format!("w{n}"));
    assert!(nothing.to.is_none() && nothing.confidence == 0.0 && nothing.reason.contains("stays in the raw row"), "{nothing:?}");
}

#[test]
fn of_two_columns_for_one_field_the_more_certain_has_it() {
    let proposal = proposed("姓名,电话,手机号,备注,备注\n王小明,13812345679,13912345670,a,b\n李丽,13812345671,13912345671,a,b\n");
    assert_eq!(column(&proposal, "手机号").to, Some(Target::Phone));
    let loser = column(&proposal, "电话");
    assert!(loser.to.is_none() && loser.reason.contains("'手机号' is more certain to hold 手机"), "{loser:?}");
    assert!(proposal.columns[4].reason.contains("same header"), "{:?}", proposal.columns[4]);
    let landline = proposed("姓名,电话,手机号\n王小明,0571-25314866,13912345670\n李丽,010-62345678,13912345671\n");
    assert_eq!(column(&landline, "电话").to, Some(Target::Landline));
}

#[test]
fn a_name_and_an_address_are_whole_or_in_parts() {
    let parts = proposed("姓名,手机,省,市,区,详细地址\n王小明,13912345670,浙江省,杭州市,西湖区,文三街1号\n");
    assert!(["省", "市", "区", "详细地址"].iter().all(|header| column(&parts, header).to == Some(Target::AddressPart)), "{parts:?}");
    let whole = proposed("姓名,手机,城市,地址\n王小明,13912345670,杭州市,浙江省杭州市西湖区文三街1号\n");
    assert_eq!((column(&whole, "城市").to, column(&whole, "地址").to), (None, Some(Target::Address)));
    let name = proposed("Full name,First name,Last name,Email\nMary Lee,Mary,Lee,m@example.com\n");
    assert_eq!((column(&name, "Full name").to, column(&name, "Last name").to), (Some(Target::Name), None));
    for proposal in [parts, whole, name] {
        assert_eq!(proposal.mapping(0.5).check(), Ok(()));
    }
}

#[test]
fn a_sparse_column_is_no_group() {
    let sparse = proposed("姓名,公司\n王小明,甲有限公司\n李丽,\n陈明,\n张三,\n赵六,乙有限公司\n");
    assert!(!column(&sparse, "公司").fill_down);
    let grouped = proposed("公司,姓名\n甲有限公司,王小明\n,李丽\n,陈明\n乙有限公司,张三\n,赵六\n");
    assert!(column(&grouped, "公司").fill_down);
}

fn cell() -> impl Strategy<Value = String> {
    prop_oneof![
        "(?s).{0,12}",
        prop::sample::select(vec!["", "13812345679", "王小明", "a@example.com", "2024-05-01", "浙江省杭州市文三街1号", "甲有限公司", "5", "成交", "官网"])
            .prop_map(str::to_owned)
    ]
}

fn head() -> impl Strategy<Value = String> {
    let known =
        "手机|电话|姓名|名|姓|邮箱|公司|地址|省|市|state|status|id|订单编号|工单号|门店|备注|name|first name|last name|address|city|zip|dob|fax|类型|首次跟进";
    prop_oneof!["(?s).{0,8}", prop::sample::select(known.split('|').collect::<Vec<_>>()).prop_map(str::to_owned)]
}

proptest! {
    #[test]
    fn any_file_gets_a_proposal(header in prop::collection::vec(head(), 0..10), sample in prop::collection::vec(prop::collection::vec(cell(), 0..11), 0..8), least in 0.0..1.0) {
        let proposal = propose(&header, &sample);
        prop_assert_eq!(proposal.columns.len(), header.len());
        for column in &proposal.columns {
            prop_assert!((0.0..=1.0).contains(&column.confidence) && !column.reason.is_empty());
            prop_assert!((column.confidence > 0.0) == (column.to.is_some() || column.compare.is_some()), "{:?}", column);
        }
        let used = proposal.columns.iter().filter(|column| column.confidence >= least && column.confidence > 0.0);
        let used = used.map(|column| Column { header: column.header.clone(), to: column.to, fill_down: column.fill_down, compare: column.compare });
        let faults = Mapping { tells: proposal.tells, columns: used.collect() }.check().err().unwrap_or_default();
        prop_assert!(faults.iter().all(|fault| *fault == Fault::NoIdentity), "{:?}", faults);
        for least in [0.0, least] {
            let mapping = proposal.mapping(least);
            prop_assert!(mapping.columns.is_empty() || mapping.check().is_ok(), "{:?}", mapping.check());
            prop_assert_eq!(Mapping::from_toml(&mapping.to_toml().unwrap()), Ok(mapping.clone()));
        }
    }

    #[test]
    fn no_reason_quotes_a_cell(header in prop::collection::vec(head(), 1..8), tail in "[a-z0-9@.]{0,6}") {
        let row: Vec<String> = header.iter().map(|_| format!("私密内容{tail}")).collect();
        for column in propose(&header, &vec![row; 3]).columns { prop_assert!(!column.reason.contains("私密内容")); }
    }
}
