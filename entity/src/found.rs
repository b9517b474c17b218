//! What rows are found by: the blind indexes of a source record and of a customer, made in one place, whether a row is new or
//! the index key is rotated.

use policy::field::kinds::{Email, Name, Phone};
use policy::{Pii, clean};

use crate::vault::{BlindIndex, Indexer, Unreadable};

/// What a source record is found and linked by.
pub(crate) struct Record {
    pub phone: Option<BlindIndex<Phone>>,
    pub email: Option<BlindIndex<Email>>,
    pub company: Option<Vec<u8>>,
    pub person: Option<Vec<u8>>,
}

impl Record {
    const TABLE: &'static str = "source_record";
    pub const COLUMNS: [&'static str; 4] = ["phone_index", "email_index", "company_index", "person_index"];

    pub fn of(indexer: &Indexer<'_>, name: Option<&Name>, company: Option<&str>, phone: Option<&Phone>, email: Option<&Email>) -> Result<Self, Unreadable> {
        let company = company.map(clean::company::key);
        let person = company.as_ref().zip(name).map(|(company, name)| zeroize::Zeroizing::new(format!("{company}\n{}", name.expose())));
        Ok(Self {
            phone: phone.map(|phone| indexer.of(Self::TABLE, phone)).transpose()?,
            email: email.map(|email| indexer.of(Self::TABLE, email)).transpose()?,
            company: company.as_deref().map(|company| indexer.derived(Self::TABLE, "company", company)).transpose()?,
            person: person.map(|person| indexer.derived(Self::TABLE, "person", &person)).transpose()?,
        })
    }

    /// In the order of [`Record::COLUMNS`].
    pub fn columns(self) -> [Option<Vec<u8>>; 4] {
        [bytes(self.phone), bytes(self.email), self.company, self.person]
    }
}

/// What a customer is found by.
pub(crate) struct Customer {
    pub name: Option<BlindIndex<Name>>,
    pub phone: Option<BlindIndex<Phone>>,
    pub phone_tail: Option<Vec<u8>>,
    pub email: Option<BlindIndex<Email>>,
}

impl Customer {
    const TABLE: &'static str = "customer";
    pub const COLUMNS: [&'static str; 4] = ["name_index", "phone_index", "phone_tail_index", "email_index"];

    pub fn of(indexer: &Indexer<'_>, name: Option<&Name>, phone: Option<&Phone>, email: Option<&Email>) -> Result<Self, Unreadable> {
        Ok(Self {
            name: name.map(|name| indexer.of(Self::TABLE, name)).transpose()?,
            phone: phone.map(|phone| indexer.of(Self::TABLE, phone)).transpose()?,
            phone_tail: phone.map(|phone| indexer.derived(Self::TABLE, "phone tail", &phone.expose()[7..])).transpose()?,
            email: email.map(|email| indexer.of(Self::TABLE, email)).transpose()?,
        })
    }

    /// In the order of [`Customer::COLUMNS`].
    pub fn columns(self) -> [Option<Vec<u8>>; 4] {
        [bytes(self.name), bytes(self.phone), self.phone_tail, bytes(self.email)]
    }
}

fn bytes<K>(index: Option<BlindIndex<K>>) -> Option<Vec<u8>> {
    index.map(|index| index.bytes().to_vec())
}
