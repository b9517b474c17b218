//! Blocking: which records are worth comparing. Each record leaves keyed hashes of its blocking keys; records that share one
//! are candidates, unless so many share it that it says nothing.

use std::collections::{BTreeSet, HashMap, HashSet};

use policy::probabilistic::{Attribute, blocking_keys};
use sea_orm::ActiveValue::Set;
use sea_orm::QuerySelect;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::ExprTrait;

use super::probable::{customers_of, profile, schema};
use super::{Member, Run};
use crate::bulk::Existing;
use crate::store::Tenanted;
use crate::vault::Keyring;
use crate::{Change, Error};

pub(super) mod block {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "block_key")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub block: i64,
        #[sea_orm(primary_key, auto_increment = false)]
        pub record_id: Uuid,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

impl Tenanted for block::Entity {
    const TENANT: block::Column = block::Column::TenantId;
}

/// A block of more records says nothing.
const BLOCK: usize = 40;
/// Where phone and e-mail tell who is who, so many blocking keys are enough.
const STANDARD_KEYS: usize = 8;
/// And blocks of so many records.
const STANDARD_BLOCK: usize = 10;
/// Pairs of records of different customers that share a block of moderate size.
pub(super) async fn candidates(change: &Change, schema: &[Attribute], new: &[Member]) -> Result<BTreeSet<(Uuid, Uuid)>, Error> {
    let (scope, keys) = (change.scope(), change.keyring());
    let mut blocks: HashMap<i64, Vec<(Uuid, Option<Uuid>)>> = HashMap::new();
    let (mut fresh, mut traited): (HashSet<Uuid>, HashSet<Uuid>) = Default::default();
    // Records of one customer that say the same are compared once.
    let mut said: HashSet<(Option<Uuid>, Vec<i64>)> = HashSet::new();
    for member in new {
        let hashed = blocks_of(keys, schema, member)?;
        if said.insert((member.customer, hashed.clone())) {
            fresh.insert(member.id);
            if member.traited {
                traited.insert(member.id);
            }
            for block in hashed {
                blocks.entry(block).or_default().push((member.id, member.customer));
            }
        }
    }
    let most = |held: &[(Uuid, Option<Uuid>)]| if held.iter().any(|(id, _)| traited.contains(id)) { BLOCK } else { STANDARD_BLOCK };
    let asked: Vec<i64> = blocks.keys().copied().collect();
    let mut stored: Vec<(i64, Uuid)> = Vec::new();
    for chunk in asked.chunks(5_000) {
        let select = scope.find::<block::Entity>().filter(scope.among(block::Column::Block, chunk.iter().copied())).select_only();
        stored.extend(select.columns([block::Column::Block, block::Column::RecordId]).into_tuple::<(i64, Uuid)>().all(scope.tx()).await?);
    }
    let mut sizes: HashMap<i64, usize> = HashMap::new();
    for (block, _) in &stored {
        *sizes.entry(*block).or_default() += 1;
    }
    // What is too large stays so: nothing is added to it.
    blocks.retain(|block, held| sizes.get(block).is_none_or(|size| *size <= most(held)));
    stored.retain(|(block, _)| blocks.contains_key(block));
    let customers = customers_of(scope, stored.iter().map(|(_, id)| *id)).await?;
    // What a stored record of the same customer says in full needs not be said again.
    let mut again: HashMap<Uuid, HashMap<Uuid, usize>> = HashMap::new();
    let mut of: HashMap<Uuid, usize> = HashMap::new();
    for (block, id) in stored.into_iter().filter(|(_, id)| !fresh.contains(id)) {
        let Some(customer) = customers.get(&id).copied() else { continue };
        let held = blocks.entry(block).or_default();
        for (mine, of_mine) in held.iter().filter(|(mine, of_mine)| fresh.contains(mine) && of_mine.is_some() && *of_mine == customer) {
            *again.entry(*mine).or_default().entry(id).or_default() += usize::from(of_mine.is_some());
        }
        held.push((id, customer));
    }
    for (id, _) in blocks.values().flatten() {
        *of.entry(*id).or_default() += 1;
    }
    let known = |id: &Uuid| again.get(id).is_some_and(|others| others.values().any(|shared| Some(shared) == of.get(id)));
    let known: HashSet<Uuid> = fresh.iter().filter(|id| known(id)).copied().collect();
    let (mut rows, mut pairs) = (Vec::new(), BTreeSet::new());
    for (block, mut held) in blocks {
        held.retain(|(id, _)| !known.contains(id));
        // One more than a block may hold is kept, so that it is known to be too large.
        let stored = held.iter().filter(|(id, _)| !fresh.contains(id)).count();
        let most = most(&held);
        let room = (most + 1).saturating_sub(stored);
        rows.extend(held.iter().filter(|(id, _)| fresh.contains(id)).take(room).map(|(id, _)| block::ActiveModel {
            block: Set(block),
            record_id: Set(*id),
            ..Default::default()
        }));
        if held.len() > most {
            continue;
        }
        for (i, (a, of_a)) in held.iter().enumerate() {
            let others = held[i + 1..].iter().filter(|(b, of_b)| (of_a.is_none() || of_a != of_b) && (fresh.contains(a) || fresh.contains(b)));
            pairs.extend(others.map(|(b, _)| (*a.min(b), *a.max(b))));
        }
    }
    rows.sort_by_key(|row| *row.block.as_ref());
    scope.put(rows, Existing::Overwrite(&[block::Column::RecordId])).await?;
    Ok(pairs)
}

/// The hashed blocking keys of a record.
fn blocks_of(keys: &Keyring, schema: &[Attribute], member: &Member) -> Result<Vec<i64>, Error> {
    let most = if member.traited { usize::MAX } else { STANDARD_KEYS };
    let clear = blocking_keys(schema, &profile(schema, member));
    Ok(clear.iter().take(most).map(|key| block_of(keys, key)).collect::<Result<BTreeSet<_>, _>>()?.into_iter().collect())
}

/// Records go: their blocking keys too.
pub(crate) async fn forget(change: &Change, run: &Run, gone: &[Member]) -> Result<(), Error> {
    let schema = schema(&run.sources);
    let mut pairs: Vec<(i64, Uuid)> = Vec::new();
    for member in gone {
        pairs.extend(blocks_of(change.keyring(), &schema, member)?.into_iter().map(|block| (block, member.id)));
    }
    for chunk in pairs.chunks(5_000) {
        let (blocks, records): (Vec<i64>, Vec<Uuid>) = chunk.iter().copied().unzip();
        let scope = change.scope();
        let these = scope.among(block::Column::Block, blocks).and(scope.among(block::Column::RecordId, records));
        scope.delete_where::<block::Entity>(these).await?;
    }
    Ok(())
}

fn block_of(keys: &Keyring, key: &str) -> Result<i64, Error> {
    let hash = keys.indexer()?.derived("block_key", "block", key)?;
    Ok(hash.first_chunk().copied().map_or(0, i64::from_be_bytes))
}
