//! Many rows and many keys in few statements.
//!
//! PostgreSQL takes one array of whole rows, which spares it parsing thousands of placeholders, and one row as it is; SQLite takes
//! statements of a few fixed lengths, which it prepares once.

mod composite;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::extension::postgres::PgFunc;
use sea_orm::sea_query::{ArrayType, ColumnType, ExprTrait, SimpleExpr, ValueType};
use sea_orm::{ActiveValue, DbBackend, IdenStatic, Iterable, Statement};

use composite::Layout;
pub(crate) use composite::Rows;

use crate::Error;
use crate::audit::cells;
use crate::store::{Scope, Tenanted};

/// How many rows a statement holds: few lengths, so that prepared statements are found again.
const LENGTHS: [usize; 4] = [128, 32, 8, 1];

/// The most rows of one statement of arrays.
const ARRAY_ROWS: usize = 1_000;

/// How many rows the first statement holds: few, so that the database has something to do while the next is written.
const FIRST: usize = 64;

/// What happens to a row whose key is there already.
pub(crate) enum Existing<'c, C> {
    /// It is an error.
    Refuse,
    /// These columns are overwritten.
    Overwrite(&'c [C]),
}

impl Scope {
    /// Inserts rows, each made this tenant's.
    pub(crate) async fn insert<A>(&self, rows: Vec<A>) -> Result<(), Error>
    where
        A: ActiveModelTrait + Send,
        A::Entity: Tenanted,
    {
        self.put(rows, Existing::Refuse).await
    }

    /// Inserts rows, each made this tenant's, and says what happens to those that exist.
    pub(crate) async fn put<A>(&self, rows: Vec<A>, existing: Existing<'_, <A::Entity as EntityTrait>::Column>) -> Result<(), Error>
    where
        A: ActiveModelTrait + Send,
        A::Entity: Tenanted,
    {
        self.put_each(rows.into_iter().map(Ok), existing).await
    }

    /// As [`Scope::put`], with rows that are made while the database is busy with those before them.
    pub(crate) async fn put_each<A>(
        &self,
        rows: impl Iterator<Item = Result<A, Error>>,
        existing: Existing<'_, <A::Entity as EntityTrait>::Column>,
    ) -> Result<(), Error>
    where
        A: ActiveModelTrait + Send,
        A::Entity: Tenanted,
    {
        let columns: Vec<_> = <<A::Entity as EntityTrait>::Column as Iterable>::iter().collect();
        let sealed = cells::Columns::of();
        let rows = rows.map(|row| {
            row.map(|mut row| {
                row.set(<A::Entity as Tenanted>::TENANT, self.tenant().into());
                if let Some(sealed) = &sealed {
                    self.written().row(sealed, &row);
                }
                row
            })
        });
        let tail = tail::<A::Entity>(&existing);
        if self.tx().get_database_backend() == DbBackend::Postgres {
            self.put_arrays(&columns, rows, &tail).await
        } else {
            self.put_lists(&columns, rows, &tail).await
        }
    }

    async fn put_lists<A: ActiveModelTrait>(
        &self,
        columns: &[<A::Entity as EntityTrait>::Column],
        mut rows: impl Iterator<Item = Result<A, Error>>,
        tail: &str,
    ) -> Result<(), Error> {
        let mut most = FIRST;
        let mut left: Vec<A> = Vec::new();
        let mut next = || -> Result<Option<Statement>, Error> {
            if left.is_empty() {
                left.reserve(most);
                for row in rows.by_ref().take(most) {
                    left.push(row?);
                }
                most = LENGTHS[0].min(crate::store::BIND_LIMIT / columns.len());
            }
            if left.is_empty() {
                return Ok(None);
            }
            let length = LENGTHS.into_iter().find(|length| *length <= left.len()).unwrap_or(1);
            let rest = left.split_off(length);
            Ok(Some(listed(DbBackend::Sqlite, columns, &mut std::mem::replace(&mut left, rest), tail)))
        };
        let mut statement = next()?;
        while let Some(now) = statement {
            // Polled first, the statement is on its way while the next is written.
            let (done, following) = tokio::join!(biased; self.tx().execute_raw(now), async { next() });
            done?;
            statement = following?;
        }
        Ok(())
    }

    async fn put_arrays<A: ActiveModelTrait>(
        &self,
        columns: &[<A::Entity as EntityTrait>::Column],
        mut rows: impl Iterator<Item = Result<A, Error>>,
        tail: &str,
    ) -> Result<(), Error> {
        let mut first: Vec<A> = rows.by_ref().take(FIRST).collect::<Result<_, _>>()?;
        if first.len() <= 1 {
            if !first.is_empty() {
                self.tx().execute_raw(listed(DbBackend::Postgres, columns, &mut first, tail)).await?;
            }
            return Ok(());
        }
        let table = table(columns);
        let layout = Layout::of(self, &table).await?;
        let found = |name: &str| columns.iter().copied().find(|column| column.as_str() == name);
        let places: Vec<_> = layout.columns.iter().map(|(name, _)| found(name)).collect();
        // A column that only a newer version knows is left to its default.
        let names: Vec<&str> = places.iter().flatten().map(IdenStatic::as_str).collect();
        let write = |mut rows: Vec<A>| Rows::of(&layout, &mut rows, |row, at| places[at].and_then(|column| taken(row, column)));
        let sql = format!("INSERT INTO {table} ({0}) SELECT {0} FROM unnest($1){tail}", names.join(", "));
        let mut array = Some(write(first)?);
        while let Some(now) = array {
            // Polled first, the array is on its way while the next is written.
            let following = async {
                let chunk = rows.by_ref().take(ARRAY_ROWS).collect::<Result<Vec<_>, _>>()?;
                (!chunk.is_empty()).then(|| write(chunk)).transpose()
            };
            let (done, following) = tokio::join!(biased; self.tx().put(&sql, now), following);
            done?;
            array = following?;
        }
        Ok(())
    }

    /// Whether a column holds one of many values: an array on PostgreSQL, which plans a statement of thousands of placeholders
    /// for longer than it runs, a list on SQLite.
    pub(crate) fn among<V: Into<Value> + ValueType>(&self, column: impl ColumnTrait, values: impl IntoIterator<Item = V>) -> SimpleExpr {
        if self.tx().get_database_backend() != DbBackend::Postgres {
            return column.is_in(values);
        }
        let values = Value::Array(V::array_type(), Some(Box::new(values.into_iter().map(Into::into).collect())));
        // Behind a subquery the planner does not see how many there are, and looks each of them up.
        Expr::col(column.as_column_ref()).eq(PgFunc::any(Expr::cust_with_values("ARRAY(SELECT unnest($1))", [values])))
    }

    /// The same in SQL of one's own, with the values from `$first` on.
    pub(crate) fn named(&self, column: &str, ids: &[Uuid], first: usize) -> (String, Vec<Value>) {
        if self.tx().get_database_backend() == DbBackend::Postgres {
            return (format!("{column} = ANY(ARRAY(SELECT unnest(${first}::uuid[])))"), vec![ids.to_vec().into()]);
        }
        let marks: Vec<String> = (first..first + ids.len()).map(|n| format!("${n}")).collect();
        (format!("{column} IN ({})", marks.join(", ")), ids.iter().map(|id| Value::from(*id)).collect())
    }

    /// Has PostgreSQL plan what follows in this transaction without its values: a tenant is then as large as tenants are on average. One of
    /// which it has counted no row yet, among others of which it has, would be looked up by the tenant alone.
    pub(crate) async fn plan_for_any(&self) -> Result<(), Error> {
        if self.tx().get_database_backend() == DbBackend::Postgres {
            self.tx().execute_unprepared("SET LOCAL plan_cache_mode = force_generic_plan").await?;
        }
        Ok(())
    }

    /// Has PostgreSQL count tables that have grown much since it did so last: without knowing what is in them it would look rows
    /// up in ways that are right for empty ones. Where it counts by itself, it only does so once a minute. With `all` set it counts
    /// the others too: of a new tenant's rows among many others' it would know nothing.
    pub(crate) async fn count_grown(&self, tables: &[&str], all: bool) -> Result<(), Error> {
        if self.tx().get_database_backend() != DbBackend::Postgres {
            return Ok(());
        }
        let named: Vec<String> = tables.iter().map(|table| (*table).to_owned()).collect();
        let grown = "SELECT relname::text AS name FROM pg_class WHERE oid = ANY($1::regclass[]) AND ($2 OR pg_relation_size(oid) / 8192 > 4 * relpages + 50) ORDER BY relname";
        for row in self.tx().query_all_raw(Statement::from_sql_and_values(DbBackend::Postgres, grown, [named.into(), all.into()])).await? {
            let name: String = row.try_get("", "name")?;
            // Three thousand rows tell it as much as it needs to know of ids; those that it counts by itself it counts better.
            self.tx().execute_unprepared(&format!("SET LOCAL default_statistics_target = 10; ANALYZE {name}")).await?;
        }
        Ok(())
    }
}

/// A row whose sealed columns are to be written anew.
pub(crate) struct Rewritten {
    /// What it is found by.
    pub key: Vec<Uuid>,
    /// The record key as it was read: a row that has another by now is left alone.
    pub record_key: Option<Vec<u8>>,
    /// The new values, in the order of the columns.
    pub values: Vec<Option<Vec<u8>>>,
}

impl Scope {
    /// Sets `customer_id` of many rows at once: pairs of a row's `key` and the customer.
    pub(crate) async fn point(&self, table: &str, key: &str, pairs: &[(Uuid, Uuid)]) -> Result<(), Error> {
        for chunk in pairs.chunks(5_000) {
            let (given, values): (String, Vec<Value>) = if self.tx().get_database_backend() == DbBackend::Postgres {
                let (rows, customers): (Vec<Uuid>, Vec<Uuid>) = chunk.iter().copied().unzip();
                ("unnest($2::uuid[], $3::uuid[]) AS v (column1, column2)".to_owned(), vec![rows.into(), customers.into()])
            } else {
                let rows: Vec<String> = (0..chunk.len()).map(|at| format!("(${}, ${})", at * 2 + 2, at * 2 + 3)).collect();
                (format!("(VALUES {}) AS v", rows.join(", ")), chunk.iter().flat_map(|(row, customer)| [Value::from(*row), Value::from(*customer)]).collect())
            };
            self.run(&format!("UPDATE {table} SET customer_id = v.column2 FROM {given} WHERE {table}.tenant_id = $1 AND {table}.{key} = v.column1"), values)
                .await?;
        }
        Ok(())
    }

    /// Writes columns of bytes of many rows of a table anew, and which epoch they are of; the rows are made while the
    /// database is busy with those before them. Returns how many rows.
    pub(crate) async fn rewrite(
        &self,
        table: &str,
        key: &[&str],
        columns: &[&str],
        epoch: (&str, u32),
        mut rows: impl Iterator<Item = Result<Rewritten, Error>>,
    ) -> Result<u64, Error> {
        let postgres = self.tx().get_database_backend() == DbBackend::Postgres;
        let mut next = || -> Result<Option<Statement>, Error> {
            let chunk = rows.by_ref().take(ARRAY_ROWS).collect::<Result<Vec<_>, _>>()?;
            let write = if postgres { rewrite_arrays } else { rewrite_list };
            Ok((!chunk.is_empty()).then(|| write(table, key, columns, epoch, chunk, self)))
        };
        let mut written = 0;
        let mut statement = next()?;
        while let Some(now) = statement {
            let (done, following) = tokio::join!(biased; self.tx().execute_raw(now), async { next() });
            written += done?.rows_affected();
            statement = following?;
        }
        Ok(written)
    }
}

/// `UPDATE … FROM unnest($3::uuid[], …)`. No value is empty: an empty one stands for null.
fn rewrite_arrays(table: &str, key: &[&str], columns: &[&str], epoch: (&str, u32), rows: Vec<Rewritten>, scope: &Scope) -> Statement {
    let count = rows.len();
    let mut keys: Vec<Vec<Value>> = key.iter().map(|_| Vec::with_capacity(count)).collect();
    let mut cells: Vec<Vec<Value>> = (0..=columns.len()).map(|_| Vec::with_capacity(count)).collect();
    for row in rows {
        for (part, into) in row.key.into_iter().zip(&mut keys) {
            into.push(part.into());
        }
        for (cell, into) in std::iter::once(row.record_key).chain(row.values).zip(&mut cells) {
            into.push(cell.unwrap_or_default().into());
        }
    }
    let mut values: Vec<Value> = vec![scope.tenant().into(), epoch.1.cast_signed().into()];
    let (mut given, mut names) = (Vec::new(), Vec::new());
    for (at, part) in keys.into_iter().enumerate() {
        values.push(Value::Array(ArrayType::Uuid, Some(Box::new(part))));
        given.push(format!("${}::uuid[]", values.len()));
        names.push(format!("k{at}"));
    }
    for (at, cells) in cells.into_iter().enumerate() {
        values.push(Value::Array(ArrayType::Bytes, Some(Box::new(cells))));
        given.push(format!("${}::bytea[]", values.len()));
        names.push(format!("c{at}"));
    }
    let set: Vec<String> = columns.iter().enumerate().map(|(at, column)| format!("{column} = NULLIF(given.c{}, '')", at + 1)).collect();
    let found: Vec<String> = key.iter().enumerate().map(|(at, part)| format!("{table}.{part} = given.k{at}")).collect();
    let sql = format!(
        "UPDATE {table} SET {}, {} = $2 FROM unnest({}) AS given ({}) WHERE {table}.tenant_id = $1 AND {} AND {table}.record_key IS NOT DISTINCT FROM NULLIF(given.c0, '')",
        set.join(", "),
        epoch.0,
        given.join(", "),
        names.join(", "),
        found.join(" AND ")
    );
    Statement::from_sql_and_values(DbBackend::Postgres, sql, values)
}

/// `UPDATE … FROM (VALUES (?, …), …)`. Numbered placeholders would be looked for in a list that grows with them.
fn rewrite_list(table: &str, key: &[&str], columns: &[&str], epoch: (&str, u32), rows: Vec<Rewritten>, scope: &Scope) -> Statement {
    let set: Vec<String> = columns.iter().enumerate().map(|(at, column)| format!("{column} = given.column{}", key.len() + at + 2)).collect();
    let found: Vec<String> = key.iter().enumerate().map(|(at, part)| format!("{table}.{part} = given.column{}", at + 1)).collect();
    let row = format!("({})", vec!["?"; key.len() + 1 + columns.len()].join(", "));
    let sql = format!(
        "UPDATE {table} SET {}, {} = ? FROM (VALUES {}) AS given WHERE {table}.tenant_id = ? AND {} AND {table}.record_key IS given.column{}",
        set.join(", "),
        epoch.0,
        vec![row.as_str(); rows.len()].join(", "),
        found.join(" AND "),
        key.len() + 1
    );
    let mut values: Vec<Value> = vec![epoch.1.cast_signed().into()];
    for row in rows {
        values.extend(row.key.into_iter().map(Value::from));
        values.extend(std::iter::once(row.record_key).chain(row.values).map(Value::from));
    }
    values.push(scope.tenant().into());
    Statement::from_sql_and_values(DbBackend::Sqlite, sql, values)
}

/// What follows the rows.
fn tail<E: Tenanted>(existing: &Existing<'_, E::Column>) -> String {
    use sea_orm::PrimaryKeyToColumn;
    let key: Vec<String> = E::PrimaryKey::iter().map(|part| part.into_column().as_str().to_owned()).collect();
    match existing {
        Existing::Refuse => String::new(),
        Existing::Overwrite(columns) => {
            let set: Vec<String> = columns.iter().map(|column| format!("{0} = excluded.{0}", column.as_str())).collect();
            format!(" ON CONFLICT ({}) DO UPDATE SET {}", key.join(", "), set.join(", "))
        }
    }
}

fn table<C: ColumnTrait>(columns: &[C]) -> String {
    columns.first().map(|column| column.entity_name().to_string()).unwrap_or_default()
}

fn taken<A: ActiveModelTrait>(row: &mut A, column: <A::Entity as EntityTrait>::Column) -> Option<Value> {
    match row.take(column) {
        ActiveValue::Set(value) | ActiveValue::Unchanged(value) => Some(value).filter(|value| *value != value.as_null()),
        ActiveValue::NotSet => None,
    }
}

/// `INSERT INTO … VALUES (…), …`. PostgreSQL is told of what type a null is; SQLite is not told of columns that none of the rows fills.
///
/// Where a row is refused SQLite leaves those before it (`OR FAIL`), for the whole transaction goes then: to undo the statement alone it would
/// copy every page first.
fn listed<A: ActiveModelTrait>(backend: DbBackend, columns: &[<A::Entity as EntityTrait>::Column], rows: &mut [A], tail: &str) -> Statement {
    let mut cells: Vec<Option<Value>> = Vec::with_capacity(columns.len() * rows.len());
    for row in rows.iter_mut() {
        cells.extend(columns.iter().map(|column| taken(row, *column)));
    }
    let postgres = backend == DbBackend::Postgres;
    let filled = |at: &usize| postgres || cells.iter().skip(*at).step_by(columns.len()).any(Option::is_some);
    let filled: Vec<usize> = (0..columns.len()).filter(filled).collect();
    let names: Vec<&str> = filled.iter().map(|at| columns[*at].as_str()).collect();
    let marks: Vec<String> = if postgres { (1..=filled.len()).map(|n| format!("${n}")).collect() } else { vec!["?".to_owned(); filled.len()] };
    let row = format!("({})", marks.join(", "));
    let verb = if postgres || !tail.is_empty() { "INSERT" } else { "INSERT OR FAIL" };
    let sql = format!("{verb} INTO {} ({}) VALUES {}{tail}", table(columns), names.join(", "), vec![row.as_str(); rows.len()].join(", "));
    let mut values = Vec::with_capacity(filled.len() * rows.len());
    for row in cells.chunks_exact_mut(columns.len()) {
        values.extend(filled.iter().map(|at| row[*at].take().unwrap_or_else(|| null(columns[*at].def().get_column_type()))));
    }
    Statement::from_sql_and_values(backend, sql, values)
}

/// Null in a column of a type.
const fn null(column: &ColumnType) -> Value {
    match column {
        ColumnType::Uuid => Value::Uuid(None),
        ColumnType::SmallInteger => Value::SmallInt(None),
        ColumnType::Integer => Value::Int(None),
        ColumnType::BigInteger => Value::BigInt(None),
        ColumnType::Double => Value::Double(None),
        ColumnType::Boolean => Value::Bool(None),
        ColumnType::Date => Value::ChronoDate(None),
        ColumnType::TimestampWithTimeZone => Value::ChronoDateTimeUtc(None),
        ColumnType::Json | ColumnType::JsonBinary => Value::Json(None),
        ColumnType::VarBinary(_) | ColumnType::Binary(_) | ColumnType::Blob => Value::Bytes(None),
        _ => Value::String(None),
    }
}
