//! What all records together say of a company's industry: a customer whose own records say nothing takes it over.

use std::collections::{BTreeMap, HashMap, HashSet};

use policy::link::Key;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::ExprTrait;
use sea_orm::{QuerySelect, QueryTrait};

use super::member::Member;
use crate::customer::table as customer;
use crate::record::{Column, Entity};
use crate::{Error, Scope};

/// How often each industry was said of each company.
#[derive(Default)]
pub(super) struct Companies(HashMap<Key, BTreeMap<String, i64>>);

impl Companies {
    /// What stored records say, but for those that are about to be written anew.
    pub async fn stored(scope: &Scope, companies: &HashSet<Key>, rewritten: &HashSet<Uuid>) -> Result<Self, Error> {
        let mut said = Self::default();
        let companies: Vec<&Key> = companies.iter().collect();
        for chunk in companies.chunks(5_000) {
            let select = scope
                .find::<Entity>()
                .filter(scope.among(Column::CompanyIndex, chunk.iter().map(|key| key.to_vec())))
                .filter(Column::Industry.is_not_null())
                .select_only()
                .columns([Column::Id, Column::CompanyIndex, Column::Industry]);
            for (id, company, industry) in select.into_tuple::<(Uuid, Vec<u8>, String)>().all(scope.tx()).await? {
                if let (false, Ok(company)) = (rewritten.contains(&id), Key::try_from(company)) {
                    said.hear(company, &industry);
                }
            }
        }
        Ok(said)
    }

    fn hear(&mut self, company: Key, industry: &str) {
        let said = self.0.entry(company).or_default();
        match said.get_mut(industry) {
            Some(times) => *times += 1,
            None => {
                said.insert(industry.to_owned(), 1);
            }
        }
    }

    /// With what records say that are not stored yet.
    pub fn hear_all<'m>(&mut self, members: impl Iterator<Item = &'m Member>) {
        for member in members {
            if let (Some(company), Some(industry)) = (member.company_key, &member.industry) {
                self.hear(company, industry);
            }
        }
    }

    /// What is said most often; of equals the last in the order of codes.
    pub fn industry(&self, company: Key) -> Option<&str> {
        self.0.get(&company)?.iter().max_by_key(|(_, times)| **times).map(|(industry, _)| industry.as_str())
    }
}

/// Customers that have records of these companies and no industry of their own to show.
pub(super) async fn without_industry(scope: &Scope, companies: &[(Key, Option<String>)]) -> Result<Vec<Uuid>, Error> {
    let mut customers = Vec::new();
    for chunk in companies.chunks(1_000) {
        let theirs = scope.find::<Entity>().filter(scope.among(Column::CompanyIndex, chunk.iter().map(|(key, _)| key.to_vec())));
        let theirs = theirs.select_only().column(Column::CustomerId).into_query();
        let before: Vec<&String> = chunk.iter().filter_map(|(_, before)| before.as_ref()).collect();
        let open = customer::Column::Industry.is_null().or(customer::Column::Industry.is_in(before));
        let select = scope.find::<customer::Entity>().filter(customer::Column::Id.in_subquery(theirs)).filter(open);
        customers.extend(select.select_only().column(customer::Column::Id).into_tuple::<Uuid>().all(scope.tx()).await?);
    }
    Ok(customers)
}
