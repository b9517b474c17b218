//! The rows that an import refused, as they came.

use policy::Verb;
use policy::field::kinds::Raw;
use sea_orm::entity::prelude::*;
use sea_orm::{QueryOrder, QuerySelect};

use super::{row, table};
use crate::guard::{Closed, Guarded, Reaching, Whose};
use crate::{Error, Session};

/// A refused row.
pub struct Rejected {
    /// Counted from 1 behind the header.
    pub row_number: i32,
    /// Line of the file.
    pub line: i32,
    /// `invalid_phone`, `mostly_empty`, `not_a_record` or `erased_person`.
    pub reason: String,
    /// Why, in words; never the value.
    pub detail: String,
    /// The row as it came, a JSON array of cells.
    pub raw: Guarded<Raw>,
}

/// The most rows of a window; each may be a megabyte.
const WINDOW: u64 = 500;

/// The header of an import's file.
///
/// # Errors
/// [`Error::Denied`] to whom may not read import reports; [`Error::NotFound`].
pub async fn header(session: &Session, import: Uuid) -> Result<Vec<String>, Error> {
    session.permit(Verb::ImportRead)?;
    let scope = session.scope();
    let found = scope.find::<table::Entity>().filter(table::Column::Id.eq(import)).one(scope.tx()).await?.ok_or(Error::NotFound)?;
    Ok(found.header.map(|header| crate::people::words(&header)).unwrap_or_default())
}

/// The next refused rows of an import behind a row of its file, in order; none behind the last.
///
/// # Errors
/// [`Error::Denied`] to whom may not read import reports.
pub async fn behind(session: &Session, import: Uuid, row_number: i32) -> Result<Vec<Rejected>, Error> {
    session.permit(Verb::ImportRead)?;
    let scope = session.scope();
    let rows = scope.find::<row::Entity>().filter(row::Column::ImportId.eq(import)).filter(row::Column::RowNumber.gt(row_number));
    let rows = rows.filter(row::Column::Outcome.eq("rejected")).order_by_asc(row::Column::RowNumber).limit(WINDOW).all(scope.tx()).await?;
    // A refused row is nobody's customer: it is reached like a customer without an owner.
    let whose = Whose { customer: import, owner: None, department: None, closed: Closed::Nothing };
    let rejected = rows.into_iter().map(|row| Rejected {
        row_number: row.row_number,
        line: row.line,
        reason: row.reason.clone().unwrap_or_default(),
        detail: row.detail.clone().unwrap_or_default(),
        raw: Reaching::new(whose, row).guard(|row| &row.raw),
    });
    Ok(rejected.collect())
}
