//! Survivorship: which source record's value becomes the golden one, and why.

use std::cmp::Reverse;
use std::collections::HashMap;

use chrono::NaiveDate;
use policy::field::kinds::{Address, Email, Landline, Name, Phone, Remarks};
use policy::survivorship::{Survives, Survivorship};
use policy::{CustomerType, Field, Pii};
use uuid::Uuid;

use crate::customer::Provenance;
use crate::link::Member;
use crate::pin::Pins;

/// What survives.
pub(crate) struct Golden<'m> {
    pub name: Option<&'m Name>,
    pub phone: Option<&'m Phone>,
    pub landline: Option<&'m Landline>,
    pub email: Option<&'m Email>,
    pub address: Option<&'m Address>,
    pub remarks: Option<&'m Remarks>,
    pub company: Option<&'m str>,
    pub customer_type: i16,
    pub industry: Option<&'m str>,
    pub channel: Option<i16>,
    pub first_follow_up: Option<NaiveDate>,
    pub status: Option<i16>,
    pub owner: Option<Uuid>,
    pub value_tier: Option<i16>,
    pub tags: Vec<(String, String)>,
    pub provenance: Vec<Provenance>,
    pub completeness: i16,
    pub score: i16,
    pub issues: Vec<&'static str>,
}

/// Applies the survivorship rules to the records of one customer. A value pinned by hand stays.
///
/// `company_industry` is what other records say of the same company, for when none of these says it.
pub(crate) fn survive<'m>(members: &[&'m Member], company_industry: Option<&'m str>, rules: &Survivorship, pins: &'m Pins) -> Golden<'m> {
    let mut choice = Choice::of(members, rules);
    let name = choice.of_kind(Field::Name, pins.name.as_ref(), |m| m.link.name.as_ref());
    let phone = choice.of_kind(Field::Phone, pins.phone.as_ref(), |m| m.phone.as_ref());
    let landline = choice.of_kind(Field::Landline, pins.landline.as_ref(), |m| m.landline.as_ref());
    let email = choice.of_kind(Field::Email, pins.email.as_ref(), |m| m.email.as_ref());
    let address = choice.of_kind(Field::Address, pins.address.as_ref(), |m| m.address.as_ref());
    let remarks = choice.of_kind(Field::Remarks, pins.remarks.as_ref(), |m| m.remarks.as_ref());
    let company = choice.one(Field::Company, pins.company.as_deref(), |m| m.company.as_deref());
    // Where no source says it, whoever has a name or no company is a person.
    let person = name.is_some() || company.is_none();
    let derived = if person { CustomerType::Person } else { CustomerType::Company };
    let customer_type = choice.one(Field::CustomerType, None, |m| m.customer_type).unwrap_or_else(|| derived.code());
    let stated = choice.one(Field::Industry, pins.industry.as_deref(), |m| m.industry.as_deref());
    let industry = stated.or_else(|| {
        let filled = company_industry?;
        choice.because(Field::Industry, "", "from the company's other records");
        Some(filled)
    });
    let channel = choice.one(Field::Channel, pins.channel, |m| m.channel);
    let first_follow_up = choice.first_follow_up(pins.first_follow_up);
    let status = choice.one(Field::Status, pins.status, |m| m.status);
    let owner = choice.one(Field::Owner, pins.owner, |m| m.owner);
    let mut tags: Vec<(String, String)> = members.iter().flat_map(|member| member.tags.clone()).collect();
    tags.sort();
    tags.dedup();
    let filled = [
        name.is_some(),
        phone.is_some(),
        email.is_some(),
        address.is_some(),
        industry.is_some(),
        channel.is_some(),
        first_follow_up.is_some(),
        status.is_some(),
        owner.is_some(),
        company.is_some(),
    ];
    let completeness = i16::try_from(filled.iter().filter(|filled| **filled).count() * 10).unwrap_or(100);
    let wrong = [
        (name.is_none(), "missing_name", 25),
        (phone.is_none(), "missing_phone", 25),
        (email.is_none(), "missing_email", 5),
        (address.is_none(), "missing_address", 5),
        (industry.is_none(), "missing_industry", 5),
        (owner.is_none(), "missing_owner", 5),
        (choice.disagree(|m| m.link.name.as_ref().map(Pii::expose)), "names_disagree", 5),
        (choice.disagree(|m| m.status), "statuses_disagree", 5),
    ];
    let issues: Vec<&'static str> = wrong.iter().filter(|(is, ..)| *is).map(|(_, code, _)| *code).collect();
    let score = 100 - wrong.iter().filter(|(is, ..)| *is).map(|(.., weight)| weight).sum::<i16>();
    Golden {
        name,
        phone,
        landline,
        email,
        address,
        remarks,
        company,
        customer_type,
        industry,
        channel,
        first_follow_up,
        status,
        owner,
        value_tier: pins.value_tier,
        tags,
        provenance: choice.why,
        completeness,
        score,
        issues,
    }
}

/// The records of a customer in the orders that the rules ask for, and why each value won so far.
struct Choice<'m, 'r> {
    rules: &'r Survivorship,
    newest: Vec<&'m Member>,
    earliest: Vec<&'m Member>,
    trusted: Vec<&'m Member>,
    why: Vec<Provenance>,
}

impl<'m, 'r> Choice<'m, 'r> {
    /// Of equal records the digest of their content decides, so that the order of imports does not.
    fn of(members: &[&'m Member], rules: &'r Survivorship) -> Self {
        let mut newest = members.to_vec();
        newest.sort_by(|a, b| b.at.cmp(&a.at).then(a.position.cmp(&b.position)).then(a.digest.cmp(&b.digest)));
        let mut trusted = newest.clone();
        trusted.sort_by_key(|member| member.position);
        let mut earliest = newest.clone();
        earliest.sort_by_key(|member| (member.at.is_none(), member.at));
        Self { rules, newest, earliest, trusted, why: Vec::new() }
    }

    fn because(&mut self, field: Field, source: &str, rule: &str) {
        self.why.push(Provenance { field: field.entry().key.to_owned(), source: source.to_owned(), rule: rule.to_owned() });
    }

    fn of_kind<K: Pii>(&mut self, field: Field, pinned: Option<&'m K>, read: impl Fn(&'m Member) -> Option<&'m K>) -> Option<&'m K> {
        self.chosen(field, pinned, read, |value| value.expose().to_owned())
    }

    fn one<T: Copy + ToString>(&mut self, field: Field, pinned: Option<T>, read: impl Fn(&'m Member) -> Option<T>) -> Option<T> {
        self.chosen(field, pinned, read, |value| value.to_string())
    }

    fn chosen<T: Copy>(&mut self, field: Field, pinned: Option<T>, read: impl Fn(&'m Member) -> Option<T>, same: impl Fn(T) -> String) -> Option<T> {
        if pinned.is_some() {
            self.because(field, "", "pinned by hand");
            return pinned;
        }
        let rule = self.rules.rule(field);
        let stated = |members: &[&'m Member]| -> Vec<(&'m Member, T)> { members.iter().filter_map(|member| Some((*member, read(member)?))).collect() };
        let (member, value) = match rule {
            Survives::Newest => *stated(&self.newest).first()?,
            Survives::Earliest => *stated(&self.earliest).first()?,
            Survives::MostTrusted => *stated(&self.trusted).first()?,
            Survives::MostFrequent => {
                let stated = stated(&self.trusted);
                if stated.len() == 1 {
                    stated[0]
                } else {
                    let words: Vec<String> = stated.iter().map(|(_, value)| same(*value)).collect();
                    stated[most_frequent(&words)?]
                }
            }
        };
        self.because(field, &member.source, rule.words());
        Some(value)
    }

    /// Of dates "earliest" means the date.
    fn first_follow_up(&mut self, pinned: Option<NaiveDate>) -> Option<NaiveDate> {
        if pinned.is_none() && self.rules.rule(Field::FirstFollowUp) == Survives::Earliest {
            let member = self.newest.iter().filter(|member| member.first_follow_up.is_some()).min_by_key(|member| member.first_follow_up)?;
            let (source, date) = (member.source.clone(), member.first_follow_up);
            self.because(Field::FirstFollowUp, &source, Survives::Earliest.words());
            return date;
        }
        self.one(Field::FirstFollowUp, pinned, |m| m.first_follow_up)
    }

    fn disagree<T: PartialEq>(&self, read: impl Fn(&'m Member) -> Option<T>) -> bool {
        let mut stated = self.newest.iter().filter_map(|member| read(member));
        stated.next().is_some_and(|first| stated.any(|other| other != first))
    }
}

/// Where the word stands first that is said most often; of equally frequent ones the one that is said first.
fn most_frequent(words: &[String]) -> Option<usize> {
    let mut said: HashMap<&str, (usize, Reverse<usize>)> = HashMap::with_capacity(words.len());
    for (at, word) in words.iter().enumerate() {
        said.entry(word).or_insert((0, Reverse(at))).0 += 1;
    }
    said.into_values().max().map(|(_, Reverse(first))| first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn member(source: &str, position: i32, day: u32, name: &str, phone: &str) -> Member {
        Member {
            source: source.into(),
            position,
            at: NaiveDate::from_ymd_opt(2024, 5, day).and_then(|d| d.and_hms_opt(0, 0, 0)).map(|d| d.and_utc()),
            link: policy::link::Record { name: Name::parse(name).ok(), ..Default::default() },
            phone: Phone::parse(phone).ok(),
            first_follow_up: NaiveDate::from_ymd_opt(2024, 5, day),
            ..Member::default()
        }
    }

    #[test]
    fn the_standard_rules() {
        let members = [member("sales", 0, 1, "王小明", "13812345678"), member("ecom", 3, 9, "王晓明", "13912345679"), member("shop", 1, 5, "王晓明", "")];
        let (rules, none) = (Survivorship::default(), Pins::default());
        let refs: Vec<&Member> = members.iter().collect();
        let golden = survive(&refs, Some("C14"), &rules, &none);
        assert_eq!(golden.name.unwrap().expose(), "王晓明", "most frequent");
        assert_eq!(golden.phone.unwrap().expose(), "13912345679", "newest valid");
        assert_eq!(golden.first_follow_up, NaiveDate::from_ymd_opt(2024, 5, 1), "earliest");
        assert_eq!(golden.industry, Some("C14"), "filled in");
        assert_eq!(golden.issues.last(), Some(&"names_disagree"));
        let phone = golden.provenance.iter().find(|p| p.field == "Customer.phone").unwrap();
        assert_eq!((phone.source.as_str(), phone.rule.as_str()), ("ecom", "newest"));
    }

    proptest! {
        #[test]
        fn counting_once_finds_what_comparing_all_with_all_finds(words in prop::collection::vec("[ab]{0,2}", 0..20)) {
            let times = |word: &String| words.iter().filter(|other| *other == word).count();
            let slow = (0..words.len()).max_by_key(|&i| (times(&words[i]), Reverse(i)));
            prop_assert_eq!(most_frequent(&words), slow);
        }
    }

    #[test]
    fn a_tenants_rule_and_a_pin() {
        let members = [member("sales", 0, 1, "王小明", "13812345678"), member("ecom", 3, 9, "王晓明", "13912345679")];
        let refs: Vec<&Member> = members.iter().collect();
        let rules = Survivorship::default().with("Customer.phone", Survives::MostTrusted).unwrap();
        let none = Pins::default();
        assert_eq!(survive(&refs, None, &rules, &none).phone.unwrap().expose(), "13812345678");
        let pins = Pins { name: Name::parse("王大明").ok(), ..Pins::default() };
        let golden = survive(&refs, None, &rules, &pins);
        assert_eq!(golden.name.unwrap().expose(), "王大明");
        assert_eq!(golden.provenance.iter().find(|p| p.field == "Customer.name").unwrap().rule, "pinned by hand");
    }
}
