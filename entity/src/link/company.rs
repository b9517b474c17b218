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
#[derive(Clone, Default)]
pub(super) struct Companies(HashMap<Key, BTreeMap<String, i64>>);

impl Companies {
    /// What stored records say. The database counts, for of a large company there are very many.
    pub async fn stored(scope: &Scope, companies: &HashSet<Key>) -> Result<Self, Error> {
        let mut said = Self::default();
        let companies: Vec<&Key> = companies.iter().collect();
        for chunk in companies.chunks(5_000) {
            let select = scope
                .find::<Entity>()
                .filter(scope.among(Column::CompanyIndex, chunk.iter().map(|key| key.to_vec())))
                .filter(Column::Industry.is_not_null())
                .select_only()
                .columns([Column::CompanyIndex, Column::Industry])
                .column_as(Column::Industry.count(), "times")
                .group_by(Column::CompanyIndex)
                .group_by(Column::Industry);
            for (company, industry, times) in select.into_tuple::<(Vec<u8>, String, i64)>().all(scope.tx()).await? {
                said.hear(company, &industry, times);
            }
        }
        Ok(said)
    }

    /// Without what these say as they are stored: they are about to be written anew.
    pub async fn without(mut self, scope: &Scope, rewritten: &HashSet<Uuid>) -> Result<Self, Error> {
        let rewritten: Vec<Uuid> = rewritten.iter().copied().collect();
        for chunk in rewritten.chunks(5_000) {
            let select = scope
                .find::<Entity>()
                .filter(scope.among(Column::Id, chunk.iter().copied()))
                .filter(Column::CompanyIndex.is_not_null())
                .filter(Column::Industry.is_not_null())
                .select_only()
                .columns([Column::CompanyIndex, Column::Industry]);
            for (company, industry) in select.into_tuple::<(Vec<u8>, String)>().all(scope.tx()).await? {
                if Key::try_from(company.as_slice()).is_ok_and(|company| self.0.contains_key(&company)) {
                    self.hear(company, &industry, -1);
                }
            }
        }
        Ok(self)
    }

    fn hear(&mut self, company: impl TryInto<Key>, industry: &str, times: i64) {
        let Ok(company) = company.try_into() else { return };
        let said = self.0.entry(company).or_default();
        match said.get_mut(industry) {
            Some(before) => *before += times,
            None => {
                said.insert(industry.to_owned(), times);
            }
        }
    }

    /// With what records say that are not stored yet.
    pub fn hear_all<'m>(&mut self, members: impl Iterator<Item = &'m Member>) {
        for member in members {
            if let (Some(company), Some(industry)) = (member.company_key, &member.industry) {
                self.hear(company, industry, 1);
            }
        }
    }

    /// What is said most often; of equals the last in the order of codes.
    pub fn industry(&self, company: Key) -> Option<&str> {
        self.0.get(&company)?.iter().filter(|(_, times)| **times > 0).max_by_key(|(_, times)| **times).map(|(industry, _)| industry.as_str())
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
