//! What became of every row of the files that were imported.

use std::collections::HashMap;

use chrono::NaiveDate;
use policy::{Field, Verb, clean};
use sea_orm::entity::prelude::*;
use sea_orm::{QueryOrder, QuerySelect, QueryTrait};

use crate::customer::Customer;
use crate::guard::{Open, Reaching, Whose};
use crate::record::{Column, Entity, Model, Record};
use crate::{Error, Session, customer, import};

/// What became of a row of a file.
pub struct Fate {
    /// `sales:1`: source and position behind the header.
    pub row_id: String,
    /// The customer's number, for rows that were kept.
    pub customer: Option<Open<String>>,
    /// Why it was refused.
    pub reason: Option<String>,
    /// What is odd about it.
    pub flags: Vec<String>,
    /// The record, for rows that were kept.
    pub record: Option<Record>,
    industry: Option<String>,
}

impl Fate {
    /// The open values of the record: date, industry code (filled in from the customer's other records where it has none),
    /// amount in fen.
    #[must_use]
    pub fn facts(&self) -> Option<Facts> {
        let record = self.record.as_ref()?;
        let row = &record.model;
        let date = row.first_follow_up.or_else(|| row.occurred_at.map(|at| at.with_timezone(&clean::date::zone()).date_naive()));
        Some(Facts {
            date: record.open(Field::FirstFollowUp, date),
            industry: record.open(Field::Industry, row.industry.clone().or_else(|| self.industry.clone())),
            amount_fen: record.open(Field::OrderAmount, row.amount_fen),
        })
    }
}

/// What a kept row says that is not personal.
pub struct Facts {
    /// The first follow-up, or when what the row tells of happened.
    pub date: Open<Option<NaiveDate>>,
    /// An industry code, filled in from the customer's other records where the row has none.
    pub industry: Open<Option<String>>,
    /// An amount in fen.
    pub amount_fen: Open<Option<i64>>,
}

/// What became of every row of the newest import of each source's files.
///
/// # Errors
/// [`Error::Denied`] to whom may not read import reports.
pub async fn all(session: &Session) -> Result<Vec<Fate>, Error> {
    session.permit(Verb::ImportRead)?;
    let scope = session.scope();
    let mut fates = Vec::new();
    for source in crate::source::in_scope(scope).await? {
        let newest =
            scope.find::<import::table::Entity>().filter(import::table::Column::SourceId.eq(source.id)).filter(import::table::Column::State.eq("done"));
        let Some(import) = newest.order_by_desc(import::table::Column::Id).limit(1).one(scope.tx()).await? else { continue };
        let records: HashMap<Uuid, Model> =
            scope.find::<Entity>().filter(Column::SourceId.eq(source.id)).all(scope.tx()).await?.into_iter().map(|row| (row.id, row)).collect();
        let customers: HashMap<Uuid, customer::table::Model> = {
            let mine = scope.find::<Entity>().filter(Column::SourceId.eq(source.id)).select_only().column(Column::CustomerId).into_query();
            let rows = scope.find::<customer::table::Entity>().filter(customer::table::Column::Id.in_subquery(mine)).all(scope.tx()).await?;
            rows.into_iter().map(|row| (row.id, row)).collect()
        };
        let rows = scope
            .find::<import::row::Entity>()
            .filter(import::row::Column::ImportId.eq(import.id))
            .order_by_asc(import::row::Column::RowNumber)
            .all(scope.tx())
            .await?;
        for row in rows {
            let model = row.record_id.and_then(|id| records.get(&id));
            let golden = model.and_then(|model| customers.get(&model.customer_id?));
            let industry = golden.and_then(|golden| golden.industry.clone());
            let customer = golden.cloned().map(Customer::from);
            let whose = customer.as_ref().map_or(Whose { customer: row.id, owner: None, department: None }, Customer::whose);
            fates.push(Fate {
                row_id: format!("{}:{}", source.name, row.row_number),
                customer: customer.as_ref().map(Customer::number),
                reason: row.reason,
                flags: model.map(|model| crate::people::words(&model.flags)).unwrap_or_default(),
                record: model.map(|model| Reaching::new(whose, model.clone())),
                industry,
            });
        }
    }
    Ok(fates)
}
