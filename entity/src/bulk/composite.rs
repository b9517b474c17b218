//! Many rows as one value: an array of a table's row type in PostgreSQL's binary format, as `array_recv` and `record_recv` read it.
//!
//! One parameter holds all columns of all rows and their nulls, so the statement is the same whatever is in them, and the database
//! reads each row once.

use chrono::{DateTime, NaiveDate, Utc};
use sea_orm::sqlx::encode::{Encode, IsNull};
use sea_orm::sqlx::error::BoxDynError;
use sea_orm::sqlx::postgres::types::Oid;
use sea_orm::sqlx::postgres::{PgArgumentBuffer, PgTypeInfo};
use sea_orm::sqlx::{Postgres, Type};
use sea_orm::{ConnectionTrait, DbBackend, Statement, Value};

use crate::{Error, Scope};

const JSON: i64 = 114;
const INT8: i64 = 20;
const INT2: i64 = 21;
const INT4: i64 = 23;

/// Days and microseconds are counted from the first of January 2000.
const EPOCH_DAYS: i32 = 730_120;
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// The row type of a table.
pub(super) struct Layout {
    row: i64,
    array: i64,
    /// The columns as the table has them, and their types.
    pub columns: Vec<(String, i64)>,
}

impl Layout {
    pub async fn of(scope: &Scope, table: &str) -> Result<Self, Error> {
        // Each found by its key, for scans may be switched off here.
        let sql = "SELECT t.oid::bigint AS of, t.typarray::bigint AS array, a.attname::text AS name, a.atttypid::bigint AS type \
                   FROM pg_class c JOIN pg_type t ON t.oid = c.reltype JOIN pg_attribute a ON a.attrelid = c.oid \
                   WHERE c.oid = $1::text::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";
        let rows = scope.tx().query_all_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [table.into()])).await?;
        let mut layout = Self { row: 0, array: 0, columns: Vec::with_capacity(rows.len()) };
        for row in rows {
            (layout.row, layout.array) = (row.try_get("", "of")?, row.try_get("", "array")?);
            layout.columns.push((row.try_get("", "name")?, row.try_get("", "type")?));
        }
        Ok(layout)
    }
}

/// Rows of a table.
pub(crate) struct Rows {
    array: Oid,
    bytes: Vec<u8>,
}

impl Rows {
    /// Of these rows, with what `cell` takes out of one for a column of the layout.
    pub(super) fn of<R>(layout: &Layout, rows: &mut [R], mut cell: impl FnMut(&mut R, usize) -> Option<Value>) -> Result<Self, Error> {
        let (row_type, width) = (oid(layout.row)?, length(layout.columns.len())?);
        let mut bytes = Vec::with_capacity(rows.len() * layout.columns.len() * 32);
        // One dimension, without null rows, counted from 1.
        for word in [1, 0, row_type.0.cast_signed(), length(rows.len())?, 1] {
            bytes.extend(word.to_be_bytes());
        }
        for row in rows {
            let begun = bytes.len();
            bytes.extend([0; 4]);
            bytes.extend(width.to_be_bytes());
            for (at, (name, kind)) in layout.columns.iter().enumerate() {
                bytes.extend(oid(*kind)?.0.to_be_bytes());
                put(&mut bytes, *kind, cell(row, at)).ok_or_else(|| Error::Invalid(format!("{name}: a value of another type")))?;
            }
            fill(&mut bytes, begun)?;
        }
        Ok(Self { array: oid(layout.array)?, bytes })
    }
}

fn length(n: usize) -> Result<i32, Error> {
    i32::try_from(n).map_err(|_| Error::Invalid("too much for one statement".to_owned()))
}

fn oid(n: i64) -> Result<Oid, Error> {
    u32::try_from(n).map(Oid).map_err(|error| Error::Invalid(error.to_string()))
}

/// Writes how many bytes have come behind the four at `begun`.
fn fill(bytes: &mut [u8], begun: usize) -> Result<(), Error> {
    let written = length(bytes.len() - begun - 4)?;
    bytes[begun..begun + 4].copy_from_slice(&written.to_be_bytes());
    Ok(())
}

/// A cell with its length. Nothing when it is not of a type that tables have.
fn put(bytes: &mut Vec<u8>, kind: i64, cell: Option<Value>) -> Option<()> {
    let begun = bytes.len();
    bytes.extend((-1_i32).to_be_bytes());
    let Some(cell) = cell else { return Some(()) };
    match cell {
        Value::Bool(Some(value)) => bytes.push(u8::from(value)),
        Value::SmallInt(Some(value)) => integer(bytes, kind, value.into())?,
        Value::Int(Some(value)) => integer(bytes, kind, value.into())?,
        Value::BigInt(Some(value)) => integer(bytes, kind, value)?,
        Value::Double(Some(value)) => bytes.extend(value.to_be_bytes()),
        Value::String(Some(value)) => bytes.extend(value.as_bytes()),
        Value::Bytes(Some(value)) => bytes.extend(&*value),
        Value::Uuid(Some(value)) => bytes.extend(value.as_bytes()),
        Value::Json(Some(value)) => {
            if kind != JSON {
                // The version of jsonb.
                bytes.push(1);
            }
            serde_json::to_writer(&mut *bytes, &*value).ok()?;
        }
        Value::ChronoDate(Some(value)) => bytes.extend(days(value).to_be_bytes()),
        Value::ChronoDateTimeUtc(Some(value)) => bytes.extend(micros(value).to_be_bytes()),
        _ => return None,
    }
    fill(bytes, begun).ok()
}

fn integer(bytes: &mut Vec<u8>, kind: i64, value: i64) -> Option<()> {
    match kind {
        INT2 => bytes.extend(i16::try_from(value).ok()?.to_be_bytes()),
        INT4 => bytes.extend(i32::try_from(value).ok()?.to_be_bytes()),
        INT8 => bytes.extend(value.to_be_bytes()),
        _ => return None,
    }
    Some(())
}

fn days(date: NaiveDate) -> i32 {
    chrono::Datelike::num_days_from_ce(&date) - EPOCH_DAYS
}

fn micros(at: DateTime<Utc>) -> i64 {
    at.timestamp_micros() - EPOCH_MICROS
}

impl Type<Postgres> for Rows {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("record[]")
    }
}

impl Encode<'_, Postgres> for Rows {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(&self.bytes);
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::with_oid(self.array))
    }

    fn size_hint(&self) -> usize {
        self.bytes.len()
    }
}
