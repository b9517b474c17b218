//! The bracket around every piece of work.
//!
//! [`Session::run`] lends a session for reading and lets the result out only when the ledger is durable.
//! [`Change::run`] does the same for writing, with the event in the transaction of the writes. There is no other way to a
//! session, and without a session nothing can be found, opened or shown.

mod account;
mod change;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use policy::{Field, Matrix, Pii, Sight, Verb, View};
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::guard::{Closed, Guarded, Open, Whose};
use crate::house::House;
use crate::ledger::NotDurable;
use crate::policy_version::Active;
use crate::vault::{Keyring, RecordKey, Sealed, Unreadable, Wrapped};
use crate::{Error, Principal, Scope, Store, search};

use account::Account;

pub use change::Change;

/// What is being done, as the log will tell it.
#[derive(Clone, Debug)]
pub struct Operation {
    kind: &'static str,
    name: String,
    document: Option<[u8; 32]>,
    variables: Vec<u8>,
    request: String,
    limit: Option<Duration>,
}

impl Operation {
    /// An operation of a kind (`query`, `command`, …) with a name.
    #[must_use]
    pub fn new(kind: &'static str, name: impl Into<String>) -> Self {
        Self { kind, name: name.into(), document: None, variables: Vec::new(), request: String::new(), limit: None }
    }

    /// With the text of its document and its variables; the log keeps a hash and a keyed hash of them.
    #[must_use]
    pub fn of_document(mut self, document: &str, variables: Vec<u8>) -> Self {
        self.document = Some(Sha256::digest(document.as_bytes()).into());
        self.variables = variables;
        self
    }

    /// With a limit to the time that it may take.
    #[must_use]
    pub const fn within(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// With the id of the request that asked.
    #[must_use]
    pub fn in_request(mut self, id: impl Into<String>) -> Self {
        self.request = id.into();
        self
    }
}

/// Why a result stays inside.
#[derive(Debug, thiserror::Error)]
pub enum Unaccounted {
    /// The audit log cannot be written.
    #[error(transparent)]
    NotDurable(#[from] NotDurable),
    /// The work took too long.
    #[error("the work took too long")]
    TooLong,
    /// Something still holds the session: its account is not complete.
    #[error("the session was kept beyond its bracket")]
    StillHeld,
    /// The bracket could not be opened or closed.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// One request: one principal, one tenant, one transaction, one account of what was seen.
pub struct Session {
    scope: Scope,
    store: Store,
    keyring: Arc<Keyring>,
    principal: Arc<Principal>,
    policy: Arc<Active>,
    matrix: Arc<Matrix>,
    now: DateTime<Utc>,
    damage: Option<String>,
    account: Mutex<Account>,
    /// The record key that was unwrapped last, and of what: the cells of a row are shown one after the other.
    unwrapped: Mutex<Option<(Vec<u8>, RecordKey)>>,
}

/// What a principal may do and with which keys. Pinned before the scope is opened, so that a session needs one connection.
struct Rights {
    keyring: Arc<Keyring>,
    policy: Arc<Active>,
    matrix: Arc<Matrix>,
}

impl Rights {
    async fn of(house: &House, principal: &Principal) -> Result<Self, Error> {
        let keyring = house.keyring(principal.tenant).await?;
        let policy = house.policy(principal.tenant).await?;
        let matrix = house.matrix(&policy, principal).await?;
        Ok(Self { keyring, policy, matrix })
    }
}

impl Session {
    /// Lends a session to `work` and releases its result when the event is durable.
    ///
    /// # Errors
    /// [`Unaccounted`]: the bracket did not open, or the event is not durable. Nothing of the result leaves then.
    pub async fn run<T>(house: &House, principal: &Arc<Principal>, operation: Operation, work: impl AsyncFnOnce(Arc<Self>) -> T) -> Result<T, Unaccounted> {
        let _at_work = house.ledger().enter();
        let rights = Rights::of(house, principal).await?;
        let scope = house.store().read(principal.tenant);
        let session = Arc::new(Self::open(house, principal, rights, scope));
        // The limit is inside the bracket: what was opened before it struck is in the log.
        let result = tokio::time::timeout(operation.limit.unwrap_or(Duration::MAX), work(Arc::clone(&session))).await;
        let session = Arc::into_inner(session).ok_or(Unaccounted::StillHeld)?;
        let entry = session.entry(&operation, if result.is_ok() { "ok" } else { "failed" }, None)?;
        drop(session);
        house.ledger().append(entry).await?;
        result.map_err(|_| Unaccounted::TooLong)
    }

    fn open(house: &House, principal: &Arc<Principal>, rights: Rights, scope: Scope) -> Self {
        let Rights { keyring, policy, matrix } = rights;
        let damage = house.damage(principal.tenant);
        Self {
            scope,
            store: house.store().clone(),
            keyring,
            principal: Arc::clone(principal),
            policy,
            matrix,
            now: house.now(),
            damage,
            account: Mutex::default(),
            unwrapped: Mutex::default(),
        }
    }

    /// Who asks.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The instant at which this session was opened.
    #[must_use]
    pub const fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// Shows a personal value as policy allows: decides, records, opens, masks. `None` when it is withheld.
    ///
    /// # Errors
    /// The value does not open in its place.
    pub fn show<K: Pii>(&self, value: &Guarded<K>, view: View) -> Result<Option<String>, Unreadable> {
        let sight = self.sight(K::FIELD, &value.whose, view);
        self.account().record(&value.whose, K::FIELD, sight);
        let Some(sealed) = value.sealed.as_ref().filter(|_| sight > Sight::Withheld) else { return Ok(None) };
        let clear = self.open_cell(value, sealed)?;
        Ok(Some(if sight == Sight::Clear { clear.to_string() } else { K::FIELD.masked(&clear) }))
    }

    fn open_cell<K: Pii>(&self, value: &Guarded<K>, sealed: &Sealed<K>) -> Result<Zeroizing<String>, Unreadable> {
        let wrapped = value.record_key.as_deref().ok_or(Unreadable::Erased)?;
        let mut last = self.unwrapped.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, key)) = &*last
            && of == wrapped
            && key.is_of(value.table, value.row)
        {
            return key.open(sealed);
        }
        let key = self.keyring.record(value.table, value.row, Wrapped(Some(wrapped)))?;
        let (_, key) = last.insert((wrapped.to_vec(), key));
        key.open(sealed)
    }

    /// Tells an open value if policy allows it.
    pub fn tell<T>(&self, value: Open<T>) -> Option<T> {
        let seen = self.sight(value.field, &value.whose, View::Clear) > Sight::Withheld;
        self.account().record(&value.whose, value.field, if seen { Sight::Clear } else { Sight::Withheld });
        seen.then_some(value.value)
    }

    /// How much of a field the caller sees of a customer: what the policy says, less what the customer or the law has closed.
    pub(crate) fn sight(&self, field: Field, whose: &Whose, view: View) -> Sight {
        let open = match whose.closed {
            Closed::Nothing => true,
            Closed::Personal => !field.personal(),
            Closed::Everything => false,
        };
        if open { self.matrix.sight(field, self.principal.reach(whose), view) } else { Sight::Withheld }
    }

    /// Whether the caller may do a thing as a whole.
    ///
    /// # Errors
    /// [`Error::Denied`], which the log will say.
    pub fn permit(&self, verb: Verb) -> Result<(), Error> {
        if self.matrix.may(verb) {
            return Ok(());
        }
        self.deny(verb.word());
        Err(Error::Denied)
    }

    /// Spends one guess of the caller's search budget: at most five distinct values per masked value in a day, and sixty in
    /// an hour. Kept in the database in a transaction of its own, so that a failing query spends it too.
    ///
    /// # Errors
    /// [`Error::SearchBudget`] when it is spent.
    pub(crate) async fn spend_guess<K: Pii>(&self, value: &K) -> Result<(), Error> {
        self.account().search(K::FIELD);
        let masked = search::mark::<K>(&self.keyring, &K::FIELD.masked(value.expose()))?;
        let exact = search::mark::<K>(&self.keyring, value.expose())?;
        let spent = search::spend(&self.store, &self.principal, self.now, masked, exact).await?;
        if !spent {
            self.deny("search budget");
            return Err(Error::SearchBudget);
        }
        Ok(())
    }

    /// The same, of a value that is about to be written and may turn out to be somebody's: in the transaction, and beside it
    /// when that is not kept. Whoever calls holds the tenant's row, so that two do not see the same count.
    ///
    /// # Errors
    /// As [`Session::spend_guess`].
    pub(crate) async fn try_value<K: Pii>(&self, masked: &str, exact: &str) -> Result<(), Error> {
        let (masked, exact) = (search::mark::<K>(&self.keyring, masked)?, search::mark::<K>(&self.keyring, exact)?);
        {
            let mut account = self.account();
            account.search(K::FIELD);
            account.tried.push((masked.clone(), exact.clone()));
        }
        if search::spend_in(&self.scope, &self.principal, self.now, masked, exact).await? {
            return Ok(());
        }
        self.deny("search budget");
        Err(Error::SearchBudget)
    }

    /// What is answered is told once and kept nowhere.
    pub(crate) fn confide(&self) {
        self.account().confided = true;
    }

    /// Whether the answer can be given again without being asked for: nothing of a person was seen, and nothing is told that is
    /// told once.
    #[must_use]
    pub fn repeatable(&self) -> bool {
        self.account().repeatable()
    }

    /// The decisions of this session.
    pub(crate) fn matrix(&self) -> &Matrix {
        &self.matrix
    }

    pub(crate) fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    pub(crate) fn keyring_arc(&self) -> Arc<Keyring> {
        Arc::clone(&self.keyring)
    }

    pub(crate) const fn scope(&self) -> &Scope {
        &self.scope
    }

    /// What this process has found to be wrong with the tenant's log.
    pub(crate) fn damage(&self) -> Option<&str> {
        self.damage.as_deref()
    }

    /// The store, for what lies outside of this tenant's rows.
    pub(crate) const fn store(&self) -> &Store {
        &self.store
    }

    /// Refuses roles that the policy does not know.
    pub(crate) fn known_roles(&self, roles: &[&str]) -> Result<(), Error> {
        let known = self.policy.policy.roles();
        match roles.iter().find(|role| !known.contains(*role)) {
            Some(role) => Err(Error::Invalid(format!("there is no role '{role}'; the policy has {}", known.into_iter().collect::<Vec<_>>().join(", ")))),
            None => Ok(()),
        }
    }

    /// The version that this session is pinned to, with its rules.
    pub(crate) fn policy(&self) -> &Active {
        &self.policy
    }

    /// The policy version that decides here.
    #[must_use]
    pub fn policy_version(&self) -> i32 {
        self.policy.version
    }

    /// Per field how many values were clear, masked and withheld so far.
    #[must_use]
    pub fn disclosure(&self) -> BTreeMap<&'static str, [i32; 3]> {
        self.account().disclosure()
    }

    /// Notes a fact for the event, such as how many rows an import read.
    pub(crate) fn note(&self, key: &'static str, value: impl Into<Value>) {
        self.account().note(key, value.into());
    }

    /// Names a customer in the event, whatever is read of it.
    pub(crate) fn met(&self, customer: Uuid) {
        self.account().met(customer);
    }

    /// Notes in the event that the work did not succeed.
    pub fn fail(&self) {
        self.account().fail();
    }

    /// Notes in the event that something was refused.
    pub(crate) fn deny(&self, what: &str) {
        self.account().deny(what);
    }

    fn account(&self) -> std::sync::MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
