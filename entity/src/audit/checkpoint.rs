//! Checkpoints: what is logged goes under a signed root, and the root under that of the installation.
//!
//! A round reads what came since the last checkpoint, hashes it into the tiles and signs. Whoever signs first looks whether
//! the tiles still make up the root that was signed last, here, in the database and in what was published: if not, nothing is
//! signed any more and [`House::damage`] says where it is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::{Condition, QueryOrder, QuerySelect};
use zeroize::Zeroizing;

use super::note::{Checkpoint, Signer, Verifier};
use super::table::{checkpoint, event, installation, tile};
use super::tree::{self, Place, Tiles};
use crate::bulk::Existing;
use crate::vault::{self, Kek};
use crate::{Error, House, Scope, TenantId};

mod signer {
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "log_signer")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: i32,
        pub name: String,
        pub public_key: Vec<u8>,
        pub private_key: Vec<u8>,
        pub kek_id: String,
        pub created_at: ChronoDateTimeUtc,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

/// The installation's own log, whose leaves are the tenants' checkpoints.
pub(crate) const INSTALLATION: TenantId = TenantId(Uuid::nil());

/// Events that one round takes up of a tenant; of more, the next takes the rest.
const ROUND: u64 = 100_000;
/// Events read at once.
const CHUNK: u64 = 2_000;
/// Events of a tenant that are compared with the tree again in a round.
const SCRUBBED: u64 = 2_000;

/// What a process remembers of the logs.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    signer: Option<Arc<Signer>>,
    /// What was signed or published last.
    signed: BTreeMap<String, Checkpoint>,
    /// Whose turn it is to have older events compared with the tree: one tenant in a round.
    turn: usize,
    /// How far the events were compared with the tree.
    scrubbed: BTreeMap<TenantId, u64>,
    damage: BTreeMap<TenantId, String>,
}

/// What a round would sign of one log.
struct Grown {
    tenant: TenantId,
    old: u64,
    checkpoint: Checkpoint,
    tiles: Tiles,
    changed: BTreeSet<Place>,
}

/// Why a log cannot be signed: it is not what it was, or it cannot be read.
enum Refusal {
    Damaged(String),
    Failed(Error),
}

impl<E: Into<Error>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl House {
    /// The key that checks this installation's checkpoints.
    ///
    /// # Errors
    /// The database cannot be reached, or the key does not unwrap.
    pub async fn log_key(&self) -> Result<Verifier, Error> {
        Ok(self.signer().await?.verifier().clone())
    }

    /// What is wrong with a tenant's log, as far as this process has found out.
    #[must_use]
    pub fn damage(&self, tenant: TenantId) -> Option<String> {
        self.memory().damage.get(&tenant).cloned()
    }

    /// Says what was published: nothing that contradicts it will be signed. Notes of other installations are passed over.
    ///
    /// # Errors
    /// The database cannot be reached, or the key does not unwrap.
    pub async fn remember(&self, notes: &[String]) -> Result<(), Error> {
        let key = self.log_key().await?;
        let mut memory = self.memory();
        for checkpoint in notes.iter().filter_map(|note| key.open(note).ok()) {
            let known = memory.signed.entry(checkpoint.origin.clone()).or_insert_with(|| checkpoint.clone());
            if known.size < checkpoint.size {
                *known = checkpoint;
            }
        }
        Ok(())
    }

    /// Brings every log that has grown under a signed checkpoint, and compares some older events with the tree again. Returns
    /// the notes that were signed, those of tenants before that of the installation.
    ///
    /// # Errors
    /// The database cannot be reached, or the key does not unwrap. What is damaged is no error: see [`House::damage`].
    pub async fn checkpoint(&self) -> Result<Vec<String>, Error> {
        let signer = self.signer().await?;
        let mut notes = Vec::new();
        loop {
            let mut grown = Vec::new();
            for tenant in self.tenants().await? {
                match self.grown(tenant.id, &signer).await {
                    Ok(one) => grown.extend(one),
                    Err(Refusal::Failed(error)) => return Err(error),
                    Err(Refusal::Damaged(place)) => self.damaged(tenant.id, place),
                }
            }
            if grown.is_empty() {
                break;
            }
            notes.extend(self.sign(&signer, grown).await?);
        }
        let tenants = self.tenants().await?;
        let turn = {
            let mut memory = self.memory();
            memory.turn += 1;
            memory.turn % tenants.len().max(1)
        };
        if let Some(tenant) = tenants.get(turn) {
            self.scrub(tenant.id).await?;
        }
        Ok(notes)
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn damaged(&self, tenant: TenantId, place: String) {
        tracing::error!(tenant = %tenant.0, %place, "the audit log is not what it was");
        self.memory().damage.entry(tenant).or_insert(place);
    }

    async fn signer(&self) -> Result<Arc<Signer>, Error> {
        if let Some(signer) = &self.memory().signer {
            return Ok(Arc::clone(signer));
        }
        let scope = self.store().write_beside(INSTALLATION).await?;
        let known = signer::Entity::find_by_id(1).one(scope.tx()).await?;
        let signer = if let Some(row) = known {
            let seed = self.kek().unwrap(place(), &row.private_key).await?;
            Signer::of(&row.name, &seed)
        } else {
            let mut seed = Zeroizing::new([0; 32]);
            vault::random::fill(seed.as_mut_slice())?;
            let name = format!("panorama/{}", Uuid::now_v7().simple());
            let signer = Signer::of(&name, &seed);
            let row = signer::ActiveModel {
                id: Set(1),
                name: Set(name),
                public_key: Set(signer.public().to_vec()),
                private_key: Set(self.kek().wrap(place(), &seed).await?),
                kek_id: Set(self.kek().id()?),
                created_at: Set(self.now()),
            };
            signer::Entity::insert(row).exec_without_returning(scope.tx()).await?;
            scope.commit().await?;
            signer
        };
        let signer = Arc::new(signer);
        self.memory().signer = Some(Arc::clone(&signer));
        Ok(signer)
    }

    /// What came to a tenant's log since its last checkpoint, hashed. `None` when nothing did.
    async fn grown(&self, tenant: TenantId, signer: &Signer) -> Result<Option<Grown>, Refusal> {
        let scope = self.store().read(tenant);
        let head = scope.number("SELECT size AS n FROM audit_head WHERE tenant_id = $1", []).await?.unsigned_abs();
        let origin = origin(signer.verifier(), tenant);
        let (old, mut tiles) = self.standing(&scope, signer, &origin).await?;
        if head < old {
            return Err(Refusal::Damaged(format!("{old} events were signed, and there are places for {head}")));
        }
        if head == old {
            return Ok(None);
        }
        let (mut next, mut changed) = (old, BTreeSet::new());
        while next < head && next < old + ROUND {
            let rows = bodies(&scope, next, CHUNK.min(head - next)).await?;
            for (sequence, body) in &rows {
                if sequence.unsigned_abs() != next {
                    break;
                }
                tiles.push(next, tree::leaf(body), &mut changed);
                next += 1;
            }
            if rows.is_empty() || rows.last().is_some_and(|(sequence, _)| sequence.unsigned_abs() + 1 != next) {
                return Err(Refusal::Damaged(format!("event {next} is missing")));
            }
        }
        let root = tiles.root(next).map_err(|missing| Refusal::Damaged(missing.to_string()))?;
        Ok(Some(Grown { tenant, old, checkpoint: Checkpoint { origin, size: next, root }, tiles, changed }))
    }

    /// The size at which a log was signed last, and the tiles at its edge; they must make up what was signed.
    async fn standing(&self, scope: &Scope, signer: &Signer, origin: &str) -> Result<(u64, Tiles), Refusal> {
        let last = last(scope).await?;
        let remembered = self.memory().signed.get(origin).cloned();
        let Some(note) = last else {
            return match remembered {
                Some(gone) => Err(Refusal::Damaged(format!("a checkpoint of {} events was signed and is gone", gone.size))),
                None => Ok((0, Tiles::default())),
            };
        };
        let held = signer.verifier().open(&note).map_err(|bad| Refusal::Damaged(format!("the last checkpoint: {bad}")))?;
        let mut needs = tree::edge(held.size);
        needs.extend(tree::root_needs(held.size));
        if let Some(remembered) = &remembered {
            needs.extend(tree::root_needs(remembered.size));
        }
        let tiles = tiles(scope, &needs).await?;
        let stands = |checkpoint: &Checkpoint| checkpoint.origin == origin && tiles.root(checkpoint.size) == Ok(checkpoint.root);
        if !stands(&held) {
            return Err(Refusal::Damaged(format!("the tree of {} events is not the one that was signed", held.size)));
        }
        if remembered.is_some_and(|remembered| remembered.size > held.size || !stands(&remembered)) {
            return Err(Refusal::Damaged(format!("the checkpoint of {} events contradicts one that was signed before", held.size)));
        }
        Ok((held.size, tiles))
    }

    /// Signs what has grown, and the installation's log over it, in one transaction.
    async fn sign(&self, signer: &Signer, grown: Vec<Grown>) -> Result<Vec<String>, Error> {
        let mut scope = self.store().write_beside(INSTALLATION).await?;
        // One signer at a time, whichever process it is in.
        let select = signer::Entity::find_by_id(1).lock(sea_orm::sea_query::LockType::NoKeyUpdate);
        select.one(scope.tx()).await?;
        let (mut notes, mut done) = (Vec::new(), Vec::new());
        for grown in grown {
            scope.turn_to(grown.tenant).await?;
            let last = last(&scope).await?.and_then(|note| signer.verifier().open(&note).ok()).map_or(0, |checkpoint| checkpoint.size);
            if last != grown.old {
                // Another process was here first; what it left is for the next round.
                continue;
            }
            let note = signer.sign(&grown.checkpoint);
            put(&scope, &grown, &note, self.now()).await?;
            notes.push((grown.tenant, grown.checkpoint.size, note));
            done.push(grown.checkpoint);
        }
        scope.turn_to(INSTALLATION).await?;
        let origin = signer.verifier().name().to_owned();
        let (old, mut tiles) = match self.standing(&scope, signer, &origin).await {
            Ok(standing) => standing,
            Err(Refusal::Failed(error)) => return Err(error),
            Err(Refusal::Damaged(place)) => {
                self.damaged(INSTALLATION, place);
                return Ok(Vec::new());
            }
        };
        let (mut changed, mut leaves, mut next) = (BTreeSet::new(), Vec::new(), old);
        for (tenant, size, note) in &notes {
            tiles.push(next, tree::leaf(note.as_bytes()), &mut changed);
            leaves.push(installation::ActiveModel {
                sequence: Set(next.cast_signed()),
                whose: Set(tenant.0),
                size: Set(size.cast_signed()),
                note: Set(note.clone()),
                ..Default::default()
            });
            next += 1;
        }
        if leaves.is_empty() {
            return Ok(Vec::new());
        }
        scope.insert(leaves).await?;
        let root = tiles.root(next).map_err(|missing| Error::Invalid(missing.to_string()))?;
        let checkpoint = Checkpoint { origin, size: next, root };
        let note = signer.sign(&checkpoint);
        put(&scope, &Grown { tenant: INSTALLATION, old, checkpoint: checkpoint.clone(), tiles, changed }, &note, self.now()).await?;
        scope.commit().await?;
        done.push(checkpoint);
        self.memory().signed.extend(done.into_iter().map(|checkpoint| (checkpoint.origin.clone(), checkpoint)));
        Ok(notes.into_iter().map(|(_, _, note)| note).chain([note]).collect())
    }

    /// Compares the next events with the tree, from the last to the first and round again.
    async fn scrub(&self, tenant: TenantId) -> Result<(), Error> {
        let from = self.memory().scrubbed.get(&tenant).copied().unwrap_or(0);
        let scope = self.store().read(tenant);
        let rows = bodies(&scope, from, SCRUBBED).await?;
        let sequences: Vec<u64> = rows.iter().map(|(sequence, _)| sequence.unsigned_abs()).collect();
        let tiles = leaves(&scope, &sequences).await?;
        if let Some((sequence, _)) = rows.iter().find(|(sequence, body)| tiles.leaf(sequence.unsigned_abs()).is_some_and(|leaf| leaf != tree::leaf(body))) {
            self.damaged(tenant, format!("event {sequence} is not the one that was logged"));
        }
        let next = if (rows.len() as u64) < SCRUBBED { 0 } else { sequences.last().map_or(0, |last| last + 1) };
        self.memory().scrubbed.insert(tenant, next);
        Ok(())
    }
}

/// Where the private key is wrapped.
const fn place() -> vault::Place {
    vault::Place { tenant: INSTALLATION, table: "log_signer", column: "private_key", row: Uuid::nil() }
}

/// Wraps the private key with a new key-encryption key, in the transaction that does so with the tenants' keys.
pub(crate) async fn rewrap(scope: &Scope, old: &Kek, new: &Kek) -> Result<(), Error> {
    let (from, to) = (old.id()?, new.id()?);
    let Some(row) = signer::Entity::find_by_id(1).one(scope.tx()).await? else { return Ok(()) };
    if row.kek_id == from {
        let seed = old.unwrap(place(), &row.private_key).await?;
        let update = signer::Entity::update_many().col_expr(signer::Column::PrivateKey, Expr::value(new.wrap(place(), &seed).await?));
        update.col_expr(signer::Column::KekId, Expr::value(to)).exec(scope.tx()).await?;
    }
    Ok(())
}

/// The name of a tenant's log.
pub(crate) fn origin(key: &Verifier, tenant: TenantId) -> String {
    format!("{}/{}", key.name(), tenant.0.simple())
}

/// The last checkpoint of a log.
pub(crate) async fn last(scope: &Scope) -> Result<Option<String>, Error> {
    let row = scope.find::<checkpoint::Entity>().order_by_desc(checkpoint::Column::Size).one(scope.tx()).await?;
    Ok(row.map(|row| row.note))
}

/// Tiles of a log.
pub(crate) async fn tiles(scope: &Scope, needs: &BTreeSet<Place>) -> Result<Tiles, Error> {
    let mut tiles = Tiles::default();
    if needs.is_empty() {
        return Ok(tiles);
    }
    let levels = needs.iter().map(|(level, _)| *level).collect::<BTreeSet<u32>>();
    let of = |level: u32| {
        let positions = needs.iter().filter(move |(of, _)| *of == level).map(|(_, position)| position.cast_signed());
        Condition::all().add(tile::Column::Level.eq(level.cast_signed())).add(tile::Column::Position.is_in(positions))
    };
    let wanted = levels.into_iter().fold(Condition::any(), |wanted, level| wanted.add(of(level)));
    for row in scope.find::<tile::Entity>().filter(wanted).all(scope.tx()).await? {
        tiles.put((row.level.unsigned_abs(), row.position.unsigned_abs()), &row.hashes);
    }
    Ok(tiles)
}

/// The tiles that hold the hashes of these events.
pub(crate) async fn leaves(scope: &Scope, sequences: &[u64]) -> Result<Tiles, Error> {
    tiles(scope, &sequences.iter().map(|sequence| (0, sequence / 256)).collect()).await
}

/// Canonical bytes of events from `first` on.
pub(crate) async fn bodies(scope: &Scope, first: u64, most: u64) -> Result<Vec<(i64, Vec<u8>)>, Error> {
    let select = scope.find::<event::Entity>().filter(event::Column::Sequence.gte(first.cast_signed())).order_by_asc(event::Column::Sequence).limit(most);
    Ok(select.select_only().columns([event::Column::Sequence, event::Column::Body]).into_tuple().all(scope.tx()).await?)
}

async fn put(scope: &Scope, grown: &Grown, note: &str, at: chrono::DateTime<chrono::Utc>) -> Result<(), Error> {
    let rows = grown.changed.iter().map(|place| tile::ActiveModel {
        level: Set(place.0.cast_signed()),
        position: Set(place.1.cast_signed()),
        hashes: Set(grown.tiles.bytes(*place)),
        ..Default::default()
    });
    scope.put(rows.collect(), Existing::Overwrite(&[tile::Column::Hashes])).await?;
    let row = checkpoint::ActiveModel { size: Set(grown.checkpoint.size.cast_signed()), at: Set(at), note: Set(note.to_owned()), ..Default::default() };
    scope.insert(vec![row]).await
}
