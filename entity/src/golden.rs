//! Survivorship: which source record's value becomes the golden one, and why.

use chrono::{DateTime, NaiveDate, Utc};
use policy::Field;
use policy::field::kinds::{Address, Email, FamilyName, Landline, Name, Phone, Remarks};
use uuid::Uuid;

use crate::customer::Provenance;

/// A source record in the clear, in memory, while golden values are derived.
pub(crate) struct Member {
    pub id: Uuid,
    pub source: String,
    /// How trusted the source is: 0 most.
    pub position: i32,
    pub at: Option<DateTime<Utc>>,
    pub name: Option<Name>,
    pub family_name: Option<FamilyName>,
    pub phone: Option<Phone>,
    pub landline: Option<Landline>,
    pub email: Option<Email>,
    pub address: Option<Address>,
    pub remarks: Option<Remarks>,
    pub company: Option<String>,
    pub industry: Option<String>,
    pub channel: Option<i16>,
    pub first_follow_up: Option<NaiveDate>,
    pub status: Option<i16>,
    pub owner: Option<Uuid>,
    pub tags: Vec<(String, String)>,
}

/// What survives.
pub(crate) struct Golden<'m> {
    pub name: Option<&'m Name>,
    pub phone: Option<&'m Phone>,
    pub landline: Option<&'m Landline>,
    pub email: Option<&'m Email>,
    pub address: Option<&'m Address>,
    pub remarks: Option<&'m Remarks>,
    pub company: Option<String>,
    pub industry: Option<String>,
    pub channel: Option<i16>,
    pub first_follow_up: Option<NaiveDate>,
    pub status: Option<i16>,
    pub owner: Option<Uuid>,
    pub provenance: Vec<Provenance>,
    pub completeness: i16,
    pub score: i16,
    pub issues: Vec<&'static str>,
}

/// Applies the default survivorship rules to the records of one customer.
///
/// `company_industry` is what other records say of the same company, for when none of these says it.
pub(crate) fn survive<'m>(members: &[&'m Member], company_industry: Option<&str>) -> Golden<'m> {
    let mut why = Vec::new();
    let mut newest: Vec<&'m Member> = members.to_vec();
    newest.sort_by(|a, b| b.at.cmp(&a.at).then(a.position.cmp(&b.position)).then(a.id.cmp(&b.id)));
    let mut trusted = newest.clone();
    trusted.sort_by_key(|member| member.position);
    let mut oldest = newest.clone();
    oldest.sort_by_key(|member| (member.at.is_none(), member.at));

    let name = name(&trusted, &mut why);
    let phone = first(&newest, Field::Phone, "newest", &mut why, |m| m.phone.as_ref());
    let landline = first(&newest, Field::Landline, "newest", &mut why, |m| m.landline.as_ref());
    let email = first(&newest, Field::Email, "newest", &mut why, |m| m.email.as_ref());
    let address = first(&newest, Field::Address, "newest, whole", &mut why, |m| m.address.as_ref());
    let remarks = first(&newest, Field::Remarks, "newest", &mut why, |m| m.remarks.as_ref());
    let company = first(&trusted, Field::Company, "most trusted source, newest", &mut why, |m| m.company.clone());
    let stated = first(&trusted, Field::Industry, "most trusted source, newest", &mut why, |m| m.industry.clone());
    let industry = stated.or_else(|| {
        let filled = company_industry?.to_owned();
        why.push(Provenance { field: Field::Industry.entry().key.to_owned(), source: String::new(), rule: "from the company's other records".to_owned() });
        Some(filled)
    });
    let channel = first(&oldest, Field::Channel, "earliest", &mut why, |m| m.channel);
    let mut by_follow_up = newest.clone();
    by_follow_up.sort_by_key(|member| (member.first_follow_up.is_none(), member.first_follow_up));
    let first_follow_up = first(&by_follow_up, Field::FirstFollowUp, "earliest", &mut why, |m| m.first_follow_up);
    let status = first(&trusted, Field::Status, "most trusted source, newest", &mut why, |m| m.status);
    let owner = first(&trusted, Field::Owner, "most trusted source, newest", &mut why, |m| m.owner);
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
    let missing = [
        (name.is_none(), "missing_name", 25),
        (phone.is_none(), "missing_phone", 25),
        (email.is_none(), "missing_email", 5),
        (address.is_none(), "missing_address", 5),
        (industry.is_none(), "missing_industry", 5),
        (owner.is_none(), "missing_owner", 5),
    ];
    let issues: Vec<&'static str> = missing.iter().filter(|(is, ..)| *is).map(|(_, code, _)| *code).collect();
    let score = 100 - missing.iter().filter(|(is, ..)| *is).map(|(.., weight)| weight).sum::<i16>();
    Golden {
        name,
        phone,
        landline,
        email,
        address,
        remarks,
        company,
        industry,
        channel,
        first_follow_up,
        status,
        owner,
        provenance: why,
        completeness,
        score,
        issues,
    }
}

/// The most frequent full name; of equally frequent ones that of the most trusted source.
fn name<'m>(trusted: &[&'m Member], why: &mut Vec<Provenance>) -> Option<&'m Name> {
    let frequency = |name: &Name| trusted.iter().filter(|member| member.name.as_ref() == Some(name)).count();
    let mut best: Option<(&Member, &Name, usize)> = None;
    for member in trusted {
        if let Some(name) = &member.name {
            let times = frequency(name);
            if best.is_none_or(|(.., most)| times > most) {
                best = Some((member, name, times));
            }
        }
    }
    best.map(|(member, name, _)| {
        why.push(Provenance {
            field: Field::Name.entry().key.to_owned(),
            source: member.source.clone(),
            rule: "most frequent, then most trusted source".to_owned(),
        });
        name
    })
}

fn first<'m, T>(members: &[&'m Member], field: Field, rule: &str, why: &mut Vec<Provenance>, read: impl Fn(&'m Member) -> Option<T>) -> Option<T> {
    let (member, value) = members.iter().find_map(|member| read(member).map(|value| (member, value)))?;
    why.push(Provenance { field: field.entry().key.to_owned(), source: member.source.clone(), rule: rule.to_owned() });
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::Pii;

    fn member(source: &str, position: i32, day: u32, name: &str, phone: &str) -> Member {
        Member {
            id: Uuid::now_v7(),
            source: source.into(),
            position,
            at: NaiveDate::from_ymd_opt(2024, 5, day).and_then(|d| d.and_hms_opt(0, 0, 0)).map(|d| d.and_utc()),
            name: Name::parse(name).ok(),
            family_name: None,
            phone: Phone::parse(phone).ok(),
            landline: None,
            email: None,
            address: None,
            remarks: None,
            company: None,
            industry: None,
            channel: None,
            first_follow_up: NaiveDate::from_ymd_opt(2024, 5, day),
            status: None,
            owner: None,
            tags: vec![],
        }
    }

    #[test]
    fn the_standard_rules() {
        let members = [member("sales", 0, 1, "王小明", "13812345678"), member("ecom", 3, 9, "王晓明", "13912345679"), member("shop", 1, 5, "王晓明", "")];
        let golden = survive(&members.iter().collect::<Vec<_>>(), Some("C14"));
        assert_eq!(golden.name.unwrap().expose(), "王晓明", "most frequent");
        assert_eq!(golden.phone.unwrap().expose(), "13912345679", "newest valid");
        assert_eq!(golden.first_follow_up, NaiveDate::from_ymd_opt(2024, 5, 1), "earliest");
        assert_eq!(golden.industry.as_deref(), Some("C14"), "filled in");
        let phone = golden.provenance.iter().find(|p| p.field == "Customer.phone").unwrap();
        assert_eq!((phone.source.as_str(), phone.rule.as_str()), ("ecom", "newest"));
    }
}
