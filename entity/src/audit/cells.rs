//! What the log says of sealed cells: each writing event names the digests of the cells that it left, row by row, so that a row
//! that was put back to what it once was is found although it opens.
//!
//! The event holds the number of rows and the SHA-256 of their list; the list stands beside it in `audit_cells`, so that events
//! stay small. A list is entries of 33 bytes, in order: the table's number in [`SEALED`], the row's id, the digest of its cells;
//! zeros are a row that went.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use sea_orm::entity::prelude::*;
use sea_orm::{ActiveValue, Iterable, QueryResult, Set};
use sha2::{Digest, Sha256};

use crate::store::Tenanted;
use crate::{Error, Scope};

pub(crate) mod table {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "audit_cells")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub event_id: Uuid,
        pub cells: Vec<u8>,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

impl Tenanted for table::Entity {
    const TENANT: table::Column = table::Column::TenantId;
}

/// The tables with sealed cells, and these. The order is part of the lists' format: add at the end.
pub const SEALED: [(&str, &[&str]); 7] = [
    ("customer", &["name", "phone", "landline", "email", "address", "remarks"]),
    ("source_record", &["name", "family_name", "phone", "landline", "email", "address", "remarks", "raw", "traits"]),
    ("import_row", &["raw"]),
    ("contact_record", &["summary"]),
    ("ticket", &["body"]),
    ("pin", &["sealed"]),
    ("match_model", &["model"]),
];

/// The place of `customer` in [`SEALED`].
pub(crate) const CUSTOMER: u8 = 0;

/// A row of one of the [`SEALED`] tables.
type Place = (u8, Uuid);

/// The first half of the SHA-256 of a row's sealed cells.
type Mark = [u8; 16];

const GONE: Mark = [0; 16];
const ENTRY: usize = 33;

/// The digest of cells in the order of their columns: for each a zero, or a one, its length in four bytes, and itself.
fn digest<'c>(cells: impl Iterator<Item = Option<&'c [u8]>>) -> Mark {
    let mut hash = Sha256::new();
    for cell in cells {
        match cell {
            None => hash.update([0]),
            Some(cell) => {
                hash.update([1]);
                hash.update(u32::try_from(cell.len()).unwrap_or(u32::MAX).to_be_bytes());
                hash.update(cell);
            }
        }
    }
    let mut mark = GONE;
    mark.copy_from_slice(&hash.finalize()[..16]);
    mark
}

/// Where the sealed cells of a table's rows are.
pub(crate) struct Columns<C> {
    table: u8,
    id: C,
    sealed: Vec<C>,
}

impl<C: ColumnTrait + Iterable> Columns<C> {
    /// Of a table with sealed cells.
    pub fn of() -> Option<Self> {
        let named = |name: &str| C::iter().find(|column| column.as_str() == name);
        let table = table(&C::iter().next()?.entity_name().to_string())?;
        let sealed = SEALED[usize::from(table)].1.iter().map(|name| named(name)).collect::<Option<_>>()?;
        Some(Self { table, id: named("id")?, sealed })
    }
}

/// The rows whose cells a transaction wrote. Those without a digest are read when it ends.
#[derive(Default)]
pub(crate) struct Written(Mutex<HashMap<Place, Option<Mark>>>);

impl Written {
    /// A row is being written whole.
    pub fn row<A: ActiveModelTrait>(&self, columns: &Columns<<A::Entity as EntityTrait>::Column>, row: &A) {
        let value = |column| match row.get(column) {
            ActiveValue::Set(value) | ActiveValue::Unchanged(value) => Some(value),
            ActiveValue::NotSet => None,
        };
        let Some(Value::Uuid(Some(id))) = value(columns.id) else { return };
        let cells: Vec<Option<Value>> = columns.sealed.iter().map(|column| value(*column)).collect();
        let mark = digest(cells.iter().map(|cell| match cell {
            Some(Value::Bytes(Some(bytes))) => Some(bytes.as_slice()),
            _ => None,
        }));
        self.held().insert((columns.table, id), Some(mark));
    }

    /// Rows were written or went; what they are is read when the transaction ends.
    pub fn these(&self, table: u8, ids: impl IntoIterator<Item = Uuid>) {
        self.held().extend(ids.into_iter().map(|id| ((table, id), None)));
    }

    fn held(&self) -> std::sync::MutexGuard<'_, HashMap<Place, Option<Mark>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The number of a table with sealed cells.
pub(crate) fn table(name: &str) -> Option<u8> {
    SEALED.iter().position(|(table, _)| *table == name).and_then(|at| u8::try_from(at).ok())
}

/// The table whose sealed cells a statement writes, or whose rows it takes away. Of customers, any: whoever follows the log
/// sees that they changed.
pub(crate) fn written_by(sql: &str) -> Option<u8> {
    let mut words = sql.split_whitespace();
    let update = match words.next()? {
        "UPDATE" => true,
        "INSERT" | "DELETE" => {
            words.next();
            false
        }
        _ => return None,
    };
    let number = table(words.next()?.trim_matches('"'))?;
    if !update || number == CUSTOMER {
        return Some(number);
    }
    let plain = sql.replace('"', "");
    let set = plain.split_once(" SET ").map_or("", |(_, set)| set);
    let alone = |at: usize, end: usize| set[end..].starts_with(" =") && (at == 0 || set[..at].ends_with([' ', ',']));
    let writes = |column: &&str| set.match_indices(*column).any(|(at, found)| alone(at, at + found.len()));
    SEALED[usize::from(number)].1.iter().any(writes).then_some(number)
}

fn columns(table: u8) -> String {
    SEALED[usize::from(table)].1.join(", ")
}

fn read(table: u8, row: &QueryResult) -> Result<(Place, Mark), Error> {
    let cells: Vec<Option<Vec<u8>>> = SEALED[usize::from(table)].1.iter().map(|name| row.try_get("", name)).collect::<Result<_, _>>()?;
    Ok(((table, row.try_get("", "id")?), digest(cells.iter().map(Option::as_deref))))
}

/// The list of what a transaction wrote so far, and forgets it; `None` when it wrote nothing.
pub(crate) async fn told(scope: &Scope) -> Result<Option<Vec<u8>>, Error> {
    let written = std::mem::take(&mut *scope.written().held());
    let mut marks: BTreeMap<Place, Mark> = written.iter().map(|(place, mark)| (*place, mark.unwrap_or(GONE))).collect();
    for (number, (name, _)) in (0..).zip(SEALED) {
        let unread: Vec<Uuid> = written.iter().filter(|((table, _), mark)| *table == number && mark.is_none()).map(|((_, id), _)| *id).collect();
        for chunk in unread.chunks(1_000) {
            let (these, values) = scope.named("id", chunk, 2);
            let sql = format!("SELECT id, {} FROM {name} WHERE tenant_id = $1 AND {these}", columns(number));
            for row in scope.rows(&sql, values).await? {
                let (place, mark) = read(number, &row)?;
                marks.insert(place, mark);
            }
        }
    }
    let entry = |((table, id), mark): (Place, Mark)| std::iter::once(table).chain(id.into_bytes()).chain(mark);
    Ok((!marks.is_empty()).then(|| marks.into_iter().flat_map(entry).collect()))
}

/// All lists, in the order of their events.
pub(super) const LISTS: &str = "SELECT e.sequence, c.cells FROM audit_cells AS c JOIN audit_event AS e ON e.tenant_id = c.tenant_id AND e.id = c.event_id \
    WHERE c.tenant_id = $1 ORDER BY e.sequence";

/// The customers of a list.
pub(super) fn customers(list: &[u8]) -> Vec<Uuid> {
    list.chunks_exact(ENTRY).filter(|entry| entry[0] == CUSTOMER).filter_map(|entry| Uuid::from_slice(&entry[1..17]).ok()).collect()
}

/// How many rows a list has.
pub(crate) const fn rows(list: &[u8]) -> usize {
    list.len() / ENTRY
}

/// Keeps the list of an event.
pub(crate) async fn keep(scope: &Scope, event: Uuid, list: Vec<u8>) -> Result<(), Error> {
    scope.insert(vec![table::ActiveModel { event_id: Set(event), cells: Set(list), ..Default::default() }]).await
}

/// What the log said last of each row.
#[derive(Default)]
pub(super) struct Told(HashMap<Place, (Mark, i64)>);

impl Told {
    /// What an event says. `None` when the list is no list.
    pub fn hear(&mut self, sequence: i64, list: &[u8]) -> Option<()> {
        if !list.len().is_multiple_of(ENTRY) {
            return None;
        }
        for entry in list.chunks_exact(ENTRY) {
            let id = Uuid::from_slice(&entry[1..17]).ok()?;
            self.0.insert((entry[0], id), (entry[17..].try_into().ok()?, sequence));
        }
        Some(())
    }

    /// Rows of which this event spoke last, to be told of again when it goes.
    pub fn before(&self, sequence: i64) -> impl Iterator<Item = Place> {
        self.0.iter().filter(move |(_, (mark, at))| *at < sequence && *mark != GONE).map(|(place, _)| *place)
    }

    /// Compares the rows of all tables with it: hands over each that is not what was said, with the event that said it.
    pub async fn compare(mut self, scope: &Scope, mut found: impl FnMut(&'static str, Uuid, Option<i64>) -> bool) -> Result<(), Error> {
        for (number, (name, _)) in (0..).zip(SEALED) {
            let mut behind = Uuid::nil();
            loop {
                let sql = format!("SELECT id, {} FROM {name} WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT 2000", columns(number));
                let rows = scope.rows(&sql, [behind.into()]).await?;
                for row in &rows {
                    let (place, mark) = read(number, row)?;
                    behind = place.1;
                    let told = self.0.remove(&place);
                    if told.is_none_or(|(told, _)| told != mark) && !found(name, place.1, told.map(|(_, sequence)| sequence)) {
                        return Ok(());
                    }
                }
                if rows.len() < 2_000 {
                    break;
                }
            }
        }
        let mut missing: Vec<_> = self.0.into_iter().filter(|(_, (mark, _))| *mark != GONE).collect();
        missing.sort_unstable_by_key(|(_, (_, sequence))| *sequence);
        for ((table, id), (_, sequence)) in missing {
            let name = SEALED.get(usize::from(table)).map_or("", |(name, _)| name);
            if !found(name, id, Some(sequence)) {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_that_write_cells_are_known() {
        let of = |sql: &str| written_by(sql).map(|number| SEALED[usize::from(number)].0);
        assert_eq!(of("UPDATE customer SET record_key = NULL, name = NULL WHERE tenant_id = $1"), Some("customer"));
        assert_eq!(of("UPDATE \"import_row\" SET \"raw\" = $1 WHERE TRUE"), Some("import_row"));
        assert_eq!(of("UPDATE customer SET owner_id = $2 WHERE TRUE"), Some("customer"));
        assert_eq!(of("UPDATE source_record SET name_index = NULL, company_name = $2 WHERE TRUE"), None);
        assert_eq!(of("UPDATE source_record SET raw = p.raw FROM (SELECT 1) AS p"), Some("source_record"));
        assert_eq!(of("UPDATE source_record SET customer_id = $2 WHERE tenant_id = $1"), None);
        assert_eq!(of("DELETE FROM \"ticket\" WHERE TRUE"), Some("ticket"));
        assert_eq!(of("INSERT INTO contact_record (id) SELECT 1"), Some("contact_record"));
        assert_eq!(of("DELETE FROM source_record_past WHERE TRUE"), None);
        assert_eq!(of("SELECT * FROM customer"), None);
    }
}
