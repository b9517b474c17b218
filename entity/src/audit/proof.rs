//! Proofs: that an event is under a signed checkpoint, that one checkpoint continues another, and that the tenant's log is one
//! of the installation's.

use policy::Verb;
use sea_orm::QueryOrder;
use sea_orm::entity::prelude::*;

use super::checkpoint::{INSTALLATION, last, tiles};
use super::note::Checkpoint;
use super::table::{checkpoint, installation};
use super::tree::{self, Hash};
use crate::{Error, Scope, Session};

/// An inclusion proof of an event.
#[derive(Clone, Debug)]
pub struct Proof {
    /// The event's place, counted from 0.
    pub index: u64,
    /// The hash of its canonical bytes as a leaf.
    pub leaf: Hash,
    /// How many events the checkpoint holds.
    pub size: u64,
    /// The siblings, from the leaf upwards.
    pub hashes: Vec<Hash>,
    /// The signed checkpoint.
    pub checkpoint: String,
}

/// That one checkpoint continues another.
#[derive(Clone, Debug)]
pub struct Consistency {
    /// The older one.
    pub from: String,
    /// The newer one.
    pub to: String,
    /// The proof.
    pub hashes: Vec<Hash>,
}

/// That a tenant's checkpoint is in the installation's log.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The place of the checkpoint's note, counted from 0.
    pub index: u64,
    /// The siblings, from the leaf upwards.
    pub hashes: Vec<Hash>,
    /// The installation's signed checkpoint.
    pub checkpoint: String,
}

/// How a log stands.
#[derive(Clone, Debug)]
pub struct State {
    /// How many events there are.
    pub size: u64,
    /// The last checkpoint.
    pub checkpoint: Option<String>,
    /// That it is in the installation's log.
    pub listed: Option<Listed>,
    /// The key that checks the checkpoints, as the database has it.
    pub key: Option<String>,
    /// What the server has found to be wrong with the log.
    pub damage: Option<String>,
}

/// What a note says, without a look at its signature: it is our own.
pub(super) fn read(note: &str) -> Result<Checkpoint, Error> {
    note.split_once("\n\n")
        .and_then(|(text, _)| Checkpoint::of(text))
        .ok_or_else(|| Error::Invalid("a checkpoint in the database is not one; `panorama audit verify` says more".to_owned()))
}

pub(super) fn damaged(missing: tree::Missing) -> Error {
    Error::Invalid(format!("{missing}; `panorama audit verify` says more"))
}

/// An event, and the last checkpoint.
const UNDER: &str = "SELECT sequence, body, (SELECT note FROM audit_checkpoint WHERE tenant_id = $1 ORDER BY size DESC LIMIT 1) AS note FROM audit_event \
    WHERE tenant_id = $1 AND id = $2";

/// An inclusion proof of an event under the last checkpoint.
///
/// # Errors
/// [`Error::Denied`] to whom may not read the log; [`Error::NotFound`]; [`Error::Invalid`] when the event is under no checkpoint
/// yet.
pub async fn proof(session: &Session, id: Uuid) -> Result<Proof, Error> {
    session.permit(Verb::AuditRead)?;
    let scope = session.scope();
    let row = scope.rows(UNDER, [id.into()]).await?.pop().ok_or(Error::NotFound)?;
    let (sequence, body, note): (i64, Vec<u8>, Option<String>) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?, row.try_get_by_index(2)?);
    let (index, leaf) = (sequence.unsigned_abs(), tree::leaf(&body));
    let early = || Error::Invalid("event: not under a signed checkpoint yet; it will be within ten seconds".to_owned());
    let note = note.ok_or_else(early)?;
    let size = read(&note)?.size;
    if index >= size {
        return Err(early());
    }
    let hashes = included(scope, index, size).await?;
    Ok(Proof { index, leaf, size, hashes, checkpoint: note })
}

pub(super) async fn included(scope: &Scope, index: u64, size: u64) -> Result<Vec<Hash>, Error> {
    tiles(scope, &tree::inclusion_needs(index, size)).await?.inclusion(index, size).map_err(damaged)
}

/// A proof that the log of `to` events continues the log of `from`. Both must be sizes of checkpoints; `None` is the last.
///
/// # Errors
/// [`Error::Denied`] to whom may not read the log; [`Error::Invalid`] when there is no such checkpoint.
pub async fn consistency(session: &Session, from: u64, to: Option<u64>) -> Result<Consistency, Error> {
    session.permit(Verb::AuditRead)?;
    let scope = session.scope();
    let note = async |size: u64, argument: &str| {
        let row = scope.find::<checkpoint::Entity>().filter(checkpoint::Column::Size.eq(size.cast_signed())).one(scope.tx()).await?;
        row.map(|row| row.note).ok_or_else(|| Error::Invalid(format!("{argument}: there is no checkpoint of {size} events")))
    };
    let to = match to {
        Some(size) => note(size, "to").await?,
        None => last(scope).await?.ok_or_else(|| Error::Invalid("to: there is no checkpoint yet".to_owned()))?,
    };
    let (from_note, size) = (note(from, "from").await?, read(&to)?.size);
    if from > size {
        return Err(Error::Invalid("from: must not be larger than to".to_owned()));
    }
    let hashes = tiles(scope, &tree::consistency_needs(from, size)).await?.consistency(from, size).map_err(damaged)?;
    Ok(Consistency { from: from_note, to, hashes })
}

/// How the log stands.
///
/// # Errors
/// [`Error::Denied`] to whom may not read the log.
pub async fn state(session: &Session) -> Result<State, Error> {
    session.permit(Verb::AuditRead)?;
    let scope = session.scope();
    let size = scope.number("SELECT size AS n FROM audit_head WHERE tenant_id = $1", []).await?.unsigned_abs();
    let checkpoint = last(scope).await?;
    let listed = match &checkpoint {
        Some(note) => listed(session, read(note)?.size).await?,
        None => None,
    };
    let key = super::verify::key(session).await?.map(|key| key.to_string());
    Ok(State { size, checkpoint, listed, key, damage: session.damage().map(str::to_owned) })
}

/// That the tenant's checkpoint of this size is in the installation's log.
pub(super) async fn listed(session: &Session, size: u64) -> Result<Option<Listed>, Error> {
    let scope = session.store().read_beside(INSTALLATION);
    let whose = installation::Column::Whose.eq(session.scope().tenant().0);
    let select = scope.find::<installation::Entity>().filter(whose).filter(installation::Column::Size.eq(size.cast_signed()));
    let Some(row) = select.order_by_desc(installation::Column::Sequence).one(scope.tx()).await? else { return Ok(None) };
    let Some(checkpoint) = last(&scope).await? else { return Ok(None) };
    let (index, size) = (row.sequence.unsigned_abs(), read(&checkpoint)?.size);
    Ok(Some(Listed { index, hashes: included(&scope, index, size).await?, checkpoint }))
}
