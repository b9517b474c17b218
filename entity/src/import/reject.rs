//! The rows that an import refused, as they came.

use policy::Verb;
use policy::field::kinds::Raw;
use sea_orm::QueryOrder;
use sea_orm::entity::prelude::*;

use super::{row, table};
use crate::guard::{Closed, Guarded, Reaching, Whose};
use crate::{Error, Session};

/// The refused rows of an import.
pub struct Rejects {
    /// The file's header.
    pub header: Vec<String>,
    /// The rows, in the order of the file.
    pub rows: Vec<Rejected>,
}

/// A refused row.
pub struct Rejected {
    /// Line of the file.
    pub line: i32,
    /// `invalid_phone`, `mostly_empty`, `not_a_record` or `erased_person`.
    pub reason: String,
    /// Why, in words; never the value.
    pub detail: String,
    /// The row as it came, a JSON array of cells.
    pub raw: Guarded<Raw>,
}

/// The refused rows of an import.
///
/// # Errors
/// [`Error::Denied`] to whom may not read import reports; [`Error::NotFound`].
pub async fn of(session: &Session, import: Uuid) -> Result<Rejects, Error> {
    session.permit(Verb::ImportRead)?;
    let scope = session.scope();
    let found = scope.find::<table::Entity>().filter(table::Column::Id.eq(import)).one(scope.tx()).await?.ok_or(Error::NotFound)?;
    let rows = scope.find::<row::Entity>().filter(row::Column::ImportId.eq(import)).filter(row::Column::Outcome.eq("rejected"));
    let rows = rows.order_by_asc(row::Column::RowNumber).all(scope.tx()).await?;
    // A refused row is nobody's customer: it is reached like a customer without an owner.
    let whose = Whose { customer: import, owner: None, department: None, closed: Closed::Nothing };
    Ok(Rejects {
        header: found.header.map(|header| crate::people::words(&header)).unwrap_or_default(),
        rows: rows
            .into_iter()
            .map(|row| Rejected {
                line: row.line,
                reason: row.reason.clone().unwrap_or_default(),
                detail: row.detail.clone().unwrap_or_default(),
                raw: Reaching::new(whose, row).guard(|row| &row.raw),
            })
            .collect(),
    })
}
