//! Tombstones: keyed hashes of what an erased person was known by. Without the tenant's keys they tell nothing, and with them
//! only whether a value that one already holds is an erased person's.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use policy::field::kinds::{Email, Landline, Name, Phone, Raw};
use policy::{Pii, clean};
use sea_orm::ActiveValue::Set;
use sea_orm::QuerySelect;
use sea_orm::entity::prelude::*;
use zeroize::Zeroizing;

use crate::bulk::Existing;
use crate::guard::Vaulted;
use crate::import::row;
use crate::link::Member;
use crate::pin::Pins;
use crate::record::{Column as RecordColumn, Draft, Entity as Records};
use crate::store::Tenanted;
use crate::vault::{Keyring, Sealed, Wrapped};
use crate::{Error, Scope};

mod table {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "tombstone")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub mark: Vec<u8>,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}
use table::{Column, Entity};

impl Tenanted for Entity {
    const TENANT: Column = Column::TenantId;
}

/// A source system and what it calls a row.
pub(crate) type RowName = (Uuid, String);

/// What one row tells of a person, by which the person could come back.
#[derive(Default)]
pub(crate) struct Told<'p> {
    pub phone: Option<&'p Phone>,
    pub email: Option<&'p Email>,
    pub landline: Option<&'p Landline>,
    pub name: Option<&'p Name>,
    pub company: Option<&'p str>,
    pub row: Option<(Uuid, &'p str)>,
}

impl<'p> Told<'p> {
    pub fn by_draft(draft: &'p Draft, source: Uuid, external_id: &'p str) -> Self {
        Self {
            phone: draft.phone.as_ref(),
            email: draft.email.as_ref(),
            landline: draft.landline.as_ref(),
            name: draft.name.as_ref(),
            company: draft.company.as_deref(),
            row: Some((source, external_id)),
        }
    }

    pub fn by_member(member: &'p Member, row: Option<&'p RowName>) -> Self {
        Self {
            phone: member.phone.as_ref(),
            email: member.email.as_ref(),
            landline: member.landline.as_ref(),
            name: member.link.name.as_ref(),
            company: member.company.as_deref(),
            row: row.map(|(source, external_id)| (*source, external_id.as_str())),
        }
    }

    /// What was pinned; where neither name nor company was, those of a record.
    pub fn by_pins(pins: &'p Pins, record: Option<&'p Member>) -> Self {
        Self {
            phone: pins.phone.as_ref(),
            email: pins.email.as_ref(),
            landline: pins.landline.as_ref(),
            name: pins.name.as_ref().or_else(|| record?.link.name.as_ref()),
            company: pins.company.as_deref().or_else(|| record?.company.as_deref()),
            row: None,
        }
    }

    /// A landline alone may be a switchboard, and a company is no person: both count together with the name, as linking has it.
    pub fn marks(&self, keys: &Keyring) -> Result<Vec<Vec<u8>>, Error> {
        let name = self.name.map(Pii::expose);
        let lines = |one: &str, other: &str| Zeroizing::new(format!("{one}\n{other}"));
        let known = [
            ("phone", self.phone.map(|phone| Zeroizing::new(phone.expose().to_owned()))),
            ("email", self.email.map(|email| Zeroizing::new(email.expose().to_owned()))),
            ("landline", self.landline.map(|landline| lines(landline.expose(), name.unwrap_or_default()))),
            ("person", self.company.zip(name).map(|(company, name)| lines(&clean::company::key(company), name))),
            ("row", self.row.map(|(source, external_id)| lines(&source.simple().to_string(), external_id))),
        ];
        let known = known.into_iter().filter_map(|(kind, value)| Some((kind, value?)));
        known.map(|(kind, value)| mark(keys, kind, &value)).collect()
    }
}

fn mark(keys: &Keyring, kind: &str, value: &str) -> Result<Vec<u8>, Error> {
    Ok(keys.digest(&format!("tombstone {kind}"), value.as_bytes())?.to_vec())
}

/// What a row of a file that was refused may tell of a person: every telephone number and e-mail address in it.
pub(crate) fn in_raw(keys: &Keyring, clear: &str) -> Result<Vec<Vec<u8>>, Error> {
    let Folded { digits, lower } = Folded::of(clear);
    let phones: BTreeSet<&str> = (0..digits.len()).filter_map(|at| digits.get(at..at + 11)).filter(|run| run.starts_with('1')).collect();
    let words = lower.split(|c: char| !(c.is_ascii_alphanumeric() || "@._%+-".contains(c))).filter(|word| word.contains('@'));
    let emails: Vec<Email> = words.filter_map(|word| Email::parse(word).ok()).collect();
    let phones = phones.into_iter().map(|phone| mark(keys, "phone", phone));
    phones.chain(emails.iter().map(|email| mark(keys, "email", email.expose()))).collect()
}

/// A row as it came, in the two forms in which it is searched.
struct Folded {
    digits: Zeroizing<String>,
    lower: Zeroizing<String>,
}

impl Folded {
    fn of(clear: &str) -> Self {
        let lower = Zeroizing::new(clean::text::fold(clear).to_lowercase());
        Self { digits: Zeroizing::new(lower.chars().filter(char::is_ascii_digit).collect()), lower }
    }
}

/// What is looked for in rows that were refused.
#[derive(Default)]
pub(super) struct Sought<'p> {
    pub phones: BTreeSet<&'p str>,
    pub emails: BTreeSet<&'p str>,
    landlines: BTreeSet<String>,
    names: BTreeSet<&'p str>,
    companies: BTreeSet<&'p str>,
}

impl<'p> Sought<'p> {
    pub fn of(told: &[Told<'p>]) -> Self {
        Self {
            phones: told.iter().filter_map(|told| told.phone).map(Pii::expose).collect(),
            emails: told.iter().filter_map(|told| told.email).map(Pii::expose).collect(),
            landlines: told.iter().filter_map(|told| told.landline).map(|line| line.expose().chars().filter(char::is_ascii_digit).collect()).collect(),
            names: told.iter().filter_map(|told| told.name).map(Pii::expose).collect(),
            companies: told.iter().filter_map(|told| told.company).collect(),
        }
    }

    /// Whether a row tells of the person: by number or address, or by name together with a landline or the company.
    pub fn stands_in(&self, clear: &str) -> bool {
        let Folded { digits, lower } = Folded::of(clear);
        let says = |words: &BTreeSet<&str>| words.iter().any(|word| lower.contains(&word.to_lowercase()));
        self.phones.iter().any(|phone| digits.contains(phone))
            || says(&self.emails)
            || (says(&self.names) && (says(&self.companies) || self.landlines.iter().any(|line| digits.contains(line.as_str()))))
    }
}

/// Sets tombstones.
pub(super) async fn set(scope: &Scope, keys: &Keyring, told: &[Told<'_>]) -> Result<(), Error> {
    let mut marks: BTreeSet<Vec<u8>> = BTreeSet::new();
    for told in told {
        marks.extend(told.marks(keys)?);
    }
    let rows = marks.into_iter().map(|mark| table::ActiveModel { mark: Set(mark), ..Default::default() }).collect();
    scope.put(rows, Existing::Overwrite(&[Column::Mark])).await
}

/// Whether anybody of the tenant was erased.
pub(crate) async fn any(scope: &Scope) -> Result<bool, Error> {
    Ok(scope.find::<Entity>().one(scope.tx()).await?.is_some())
}

/// Which of these are marked as an erased person's, by position; each has several marks.
pub(crate) async fn erased(scope: &Scope, all: impl Iterator<Item = Result<Vec<Vec<u8>>, Error>>) -> Result<HashSet<usize>, Error> {
    let mut places: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
    for (at, marks) in all.enumerate() {
        for mark in marks? {
            places.entry(mark).or_default().push(at);
        }
    }
    let asked: Vec<Vec<u8>> = places.keys().cloned().collect();
    let mut found = HashSet::new();
    for chunk in asked.chunks(5_000) {
        let select = scope.find::<Entity>().filter(scope.among(Column::Mark, chunk.iter().cloned()));
        found.extend(select.all(scope.tx()).await?.into_iter().filter_map(|row| places.get(&row.mark)).flatten().copied());
    }
    Ok(found)
}

/// What sources call these records.
pub(crate) async fn names_of(scope: &Scope, records: &[Uuid]) -> Result<HashMap<Uuid, RowName>, Error> {
    let mut names = HashMap::new();
    for chunk in records.chunks(5_000) {
        let select = scope.find::<Records>().filter(scope.among(RecordColumn::Id, chunk.iter().copied())).select_only();
        let select = select.columns([RecordColumn::Id, RecordColumn::SourceId, RecordColumn::ExternalId]);
        let rows: Vec<(Uuid, Uuid, String)> = select.into_tuple().all(scope.tx()).await?;
        names.extend(rows.into_iter().map(|(id, source, external_id)| (id, (source, external_id))));
    }
    Ok(names)
}

/// Opens what an import keeps of a row that it refused.
pub(crate) fn opened(keys: &Keyring, id: Uuid, record_key: Option<&[u8]>, raw: Option<&Sealed<Raw>>) -> Result<Option<Zeroizing<String>>, Error> {
    let Some(raw) = raw else { return Ok(None) };
    Ok(Some(keys.record(<row::Model as Vaulted>::TABLE, id, Wrapped(record_key))?.open(raw)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_row_is_known_by_number_address_or_name_and_company() {
        let (phone, email) = (Phone::parse("13612340005").unwrap(), Email::parse("wu@example.com").unwrap());
        let name = Name::parse("司徒戊五").unwrap();
        let sought = Sought::of(&[Told { phone: Some(&phone), email: Some(&email), name: Some(&name), company: Some("戊公司"), ..Told::default() }]);
        for theirs in [r#"["x１３６１２３４０００５x99"]"#, r#"["136-1234-0005"]"#, r#"["WU＠example.com"]"#, r#"["司徒戊五","","戊公司"]"#]
        {
            assert!(sought.stands_in(theirs), "{theirs}");
        }
        for other in [r#"["13612340006"]"#, r#"["司徒戊五","","己公司"]"#, r#"["戊公司"]"#] {
            assert!(!sought.stands_in(other), "{other}");
        }
    }
}
