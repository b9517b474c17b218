//! What became of every row of the files that were imported.

use std::collections::{HashMap, HashSet};

use chrono::NaiveDate;
use policy::{Field, Verb, clean};
use sea_orm::entity::prelude::*;

use crate::customer::Customer;
use crate::guard::{Closed, Open, Reaching, Whose};
use crate::record::{Column, Entity, Model, Record};
use crate::{Error, Session, customer, import};

/// What became of a row of a file.
pub struct Fate {
    /// `sales:1`: source and position behind the header; `sales#2:1` of the source's second import.
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

/// An import that stands.
pub struct Told {
    id: Uuid,
    /// What its rows are called: `sales`, of the source's second import `sales#2`.
    name: String,
    rows: i32,
}

/// All imports that were not undone, by source and in the order in which they began.
///
/// # Errors
/// [`Error::Denied`] to whom may not read import reports.
pub async fn standing(session: &Session) -> Result<Vec<Told>, Error> {
    session.permit(Verb::ImportRead)?;
    let mut told = Vec::new();
    for source in crate::source::in_scope(session.scope()).await? {
        for (at, import) in import::standing(session.scope(), source.id).await?.into_iter().enumerate() {
            let name = if at == 0 { source.name.clone() } else { format!("{}#{}", source.name, at + 1) };
            told.push(Told { id: import.id, name, rows: import.rows_read });
        }
    }
    Ok(told)
}

impl Told {
    /// Windows of row numbers, to be asked for one after the other.
    pub fn windows(&self) -> impl Iterator<Item = std::ops::RangeInclusive<i32>> {
        let rows = self.rows;
        (0..=(rows - 1) / WINDOW).map(move |n| n * WINDOW + 1..=rows.min((n + 1) * WINDOW))
    }
}

/// How many rows are told of at once.
const WINDOW: i32 = 5_000;

/// What became of the rows of a window. A row that a later one replaced is told with what its record is now.
///
/// # Errors
/// [`Error::Denied`] to whom may not read import reports.
pub async fn of(session: &Session, told: &Told, window: std::ops::RangeInclusive<i32>) -> Result<Vec<Fate>, Error> {
    session.permit(Verb::ImportRead)?;
    let scope = session.scope();
    let (from, to) = (*window.start(), *window.end());
    let kept = scope.find::<Entity>().filter(Column::ImportId.eq(told.id)).filter(Column::RowNumber.between(from, to)).all(scope.tx()).await?;
    let rows = scope.find::<import::row::Entity>().filter(import::row::Column::ImportId.eq(told.id));
    let rows = rows.filter(import::row::Column::RowNumber.between(from, to)).all(scope.tx()).await?;
    let replaced = "SELECT id, row_number FROM source_record_past WHERE tenant_id = $1 AND import_id = $2 AND row_number BETWEEN $3 AND $4";
    let replaced = scope.rows(replaced, [told.id.into(), from.into(), to.into()]).await?;
    let replaced = replaced.iter().map(|row| Ok((row.try_get("", "row_number")?, row.try_get("", "id")?))).collect::<Result<Vec<(i32, Uuid)>, DbErr>>()?;
    let named: Vec<Uuid> = rows.iter().filter_map(|row| row.record_id).chain(replaced.iter().map(|(_, id)| *id)).collect();
    let mut records: HashMap<Uuid, Model> = kept.iter().map(|row| (row.id, row.clone())).collect();
    records.extend(scope.find::<Entity>().filter(Column::Id.is_in(named)).all(scope.tx()).await?.into_iter().map(|row| (row.id, row)));
    let ids: HashSet<Uuid> = records.values().filter_map(|row| row.customer_id).collect();
    let found = customer::any_of(session, ids).await?;
    let customers: HashMap<Uuid, Customer> = found.into_iter().map(|customer| (customer.id(), customer)).collect();
    let mut fates: Vec<(i32, Fate)> = Vec::with_capacity(kept.len() + rows.len());
    let fate = |number: i32, record: Option<&Model>, reason: Option<String>| {
        let customer = record.and_then(|record| customers.get(&record.customer_id?));
        let whose = customer.map_or(Whose { customer: told.id, owner: None, department: None, closed: Closed::Nothing }, Customer::whose);
        let fate = Fate {
            row_id: format!("{}:{number}", told.name),
            customer: customer.map(Customer::number),
            reason,
            flags: record.map(|record| crate::people::words(&record.flags)).unwrap_or_default(),
            industry: customer.and_then(|customer| customer.industry().value),
            record: record.map(|record| Reaching::new(whose, record.clone())),
        };
        (number, fate)
    };
    fates.extend(kept.iter().map(|record| fate(record.row_number, Some(record), None)));
    let told_already: HashSet<i32> = kept.iter().map(|record| record.row_number).chain(rows.iter().map(|row| row.row_number)).collect();
    fates.extend(replaced.iter().filter(|(number, _)| !told_already.contains(number)).map(|(number, id)| fate(*number, records.get(id), None)));
    fates.extend(rows.into_iter().map(|row| fate(row.row_number, row.record_id.and_then(|id| records.get(&id)), row.reason)));
    fates.sort_by_key(|(number, _)| *number);
    Ok(fates.into_iter().map(|(_, fate)| fate).collect())
}
