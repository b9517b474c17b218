//! Work that writes.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use super::{Operation, Rights, Session, Unaccounted};
use crate::audit::cells;
use crate::house::House;
use crate::store::Pace;
use crate::{Error, Principal, Scope, Settling, Store, keys, ledger, search};

/// A session that may write. Its event commits with its writes, or neither does.
pub struct Change(Arc<Session>);

impl Deref for Change {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.0
    }
}

impl Session {
    /// Writes the event of what was done, with what it left in sealed cells, in the transaction that did it.
    async fn account_for(&self, operation: &Operation) -> Result<(), Error> {
        let list = cells::told(&self.scope).await?;
        let entry = self.entry(operation, "ok", list.as_deref())?;
        if let Some(list) = list {
            cells::keep(&self.scope, entry.id, list).await?;
        }
        ledger::store_in(&self.scope, vec![entry]).await
    }
}

impl Change {
    /// The session, for showing what was written.
    #[must_use]
    pub fn session(&self) -> Arc<Session> {
        Arc::clone(&self.0)
    }

    /// Opens with keys that stand, and that stay until this is over.
    async fn open(house: &House, principal: &Arc<Principal>, store: &Store, pace: Pace) -> Result<Self, Error> {
        let mut rights = Rights::of(house, principal).await?;
        let mut scope = store.write_at(principal.tenant, pace).await?;
        if !keys::hold(&scope, &rights.keyring).await? {
            drop(scope);
            rights.keyring = house.renewed(principal.tenant).await?;
            scope = store.write_at(principal.tenant, pace).await?;
            if !keys::hold(&scope, &rights.keyring).await? {
                return Err(Error::Invalid("the tenant's keys are changing right now; try again".to_owned()));
            }
        }
        Ok(Self(Arc::new(Session::open(house, principal, rights, scope))))
    }

    /// Commits the writes and the event together.
    async fn commit(self, operation: &Operation) -> Result<(), Unaccounted> {
        Ok(self.accounted(operation).await?.commit().await?)
    }

    /// What is left to commit.
    async fn accounted(self, operation: &Operation) -> Result<Scope, Unaccounted> {
        let session = Arc::into_inner(self.0).ok_or(Unaccounted::StillHeld)?;
        session.account_for(operation).await?;
        Ok(session.scope)
    }

    /// Leaves nothing but an event that says so.
    async fn leave(self, house: &House, operation: &Operation, outcome: &'static str) -> Result<(), Unaccounted> {
        let session = Arc::into_inner(self.0).ok_or(Unaccounted::StillHeld)?;
        let entry = session.entry(operation, outcome, None)?;
        let (tried, principal, now) = (std::mem::take(&mut session.account().tried), Arc::clone(&session.principal), session.now);
        drop(session);
        for (masked, exact) in tried {
            search::spend(house.store(), &principal, now, masked, exact).await?;
        }
        Ok(house.ledger().append(entry).await?)
    }

    /// Lends a writing session to `work`. On `Ok` its writes and its event commit together; on `Err` nothing is
    /// written but an event that says so.
    ///
    /// # Errors
    /// The error of `work`, or that the bracket did not open or close.
    pub async fn run<T, E: From<Unaccounted>>(
        house: &House,
        principal: &Arc<Principal>,
        operation: Operation,
        work: impl AsyncFnOnce(&Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let change = Self::open(house, principal, house.store(), Pace::Synced).await.map_err(Unaccounted::from)?;
        match work(&change).await {
            Ok(result) => {
                change.commit(&operation).await?;
                Ok(result)
            }
            Err(error) => {
                change.leave(house, &operation, "failed").await?;
                Err(error)
            }
        }
    }

    /// As [`Change::run`], for one of many that follow each other: it can be lost only with all that follows, and until what is returned
    /// with the result says that it is durable, nobody may be told of it.
    ///
    /// # Errors
    /// As [`Change::run`].
    pub async fn run_ahead<T, E: From<Unaccounted>>(
        house: &House,
        principal: &Arc<Principal>,
        operation: Operation,
        work: impl AsyncFnOnce(&Self) -> Result<T, E>,
    ) -> Result<(T, Settling), E> {
        let change = Self::open(house, principal, house.store(), Pace::Ahead).await.map_err(Unaccounted::from)?;
        match work(&change).await {
            Ok(result) => {
                let scope = change.accounted(&operation).await?;
                Ok((result, scope.commit_ahead().await.map_err(Unaccounted::from)?))
            }
            Err(error) => {
                change.leave(house, &operation, "failed").await?;
                Err(error)
            }
        }
    }

    /// Lends a writing session that can be shared. `work` says whether what it wrote is to be kept.
    ///
    /// # Errors
    /// [`Unaccounted`]: the bracket did not open or close, or the work took too long. Nothing was written then.
    pub async fn lend<T>(
        house: &House,
        principal: &Arc<Principal>,
        operation: Operation,
        work: impl AsyncFnOnce(Arc<Self>) -> (T, bool),
    ) -> Result<T, Unaccounted> {
        let change = Arc::new(Self::open(house, principal, house.store(), Pace::Synced).await?);
        let done = tokio::time::timeout(operation.limit.unwrap_or(Duration::MAX), work(Arc::clone(&change))).await;
        let change = Arc::into_inner(change).ok_or(Unaccounted::StillHeld)?;
        match done {
            Ok((result, true)) => {
                change.commit(&operation).await?;
                Ok(result)
            }
            Ok((result, false)) => {
                change.leave(house, &operation, "failed").await?;
                Ok(result)
            }
            Err(_) => {
                change.leave(house, &operation, "failed").await?;
                Err(Unaccounted::TooLong)
            }
        }
    }

    /// Lends a writing session to `work` and keeps nothing of what it wrote: the event says that it was a rehearsal.
    ///
    /// # Errors
    /// As [`Change::run`].
    pub async fn rehearse<T, E: From<Unaccounted>>(
        house: &House,
        principal: &Arc<Principal>,
        operation: Operation,
        work: impl AsyncFnOnce(&Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let rehearsal = house.store().rehearsal().await.map_err(Unaccounted::from)?;
        let change = Self::open(house, principal, &rehearsal.store, Pace::Synced).await.map_err(Unaccounted::from)?;
        let result = work(&change).await;
        change.note("rehearsal", true);
        change.leave(house, &operation, if result.is_ok() { "ok" } else { "failed" }).await?;
        rehearsal.close().await;
        result
    }

    /// Does the same for each of these tenants in one transaction, in which each tenant's log gets its own event: for all or
    /// for none.
    ///
    /// # Errors
    /// The error of `work`, or that the bracket did not open or close.
    pub(crate) async fn each(
        house: &House,
        principals: &[Arc<Principal>],
        operation: &Operation,
        work: impl AsyncFn(&Self) -> Result<(), Error>,
    ) -> Result<(), Unaccounted> {
        let mut all = Vec::new();
        // The logs are taken in the one order that all who take several follow.
        let mut principals: Vec<&Arc<Principal>> = principals.iter().collect();
        principals.sort_by_key(|principal| principal.tenant);
        for principal in principals {
            all.push((principal, Rights::of(house, principal).await?));
        }
        let Some((first, _)) = all.first() else { return Ok(()) };
        let mut scope = house.store().write(first.tenant).await?;
        for (principal, rights) in all {
            scope.turn_to(principal.tenant).await?;
            let change = Self(Arc::new(Session::open(house, principal, rights, scope)));
            work(&change).await?;
            let session = Arc::into_inner(change.0).ok_or(Unaccounted::StillHeld)?;
            session.account_for(operation).await?;
            scope = session.scope;
        }
        Ok(scope.commit().await?)
    }
}
