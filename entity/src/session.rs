//! The bracket around every piece of work.
//!
//! [`Session::run`] lends a session for reading and lets the result out only when the ledger is durable.
//! [`Change::run`] does the same for writing, with the event in the transaction of the writes. There is no other way to a
//! session, and without a session nothing can be found, opened or shown.

mod change;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use policy::{Field, Matrix, Pii, Sight, Verb, View};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::audit::cells;
use crate::guard::{Closed, Guarded, Open, Whose};
use crate::house::House;
use crate::ledger::{self, Entry, NotDurable};
use crate::policy_version::Active;
use crate::vault::{Keyring, Unreadable, Wrapped, hex};
use crate::{Error, Principal, Scope, Store, search};

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

/// What one request has seen, by customer and field.
#[derive(Default)]
struct Account {
    fields: BTreeMap<&'static str, [i32; 3]>,
    persons: BTreeMap<Uuid, BTreeMap<Field, Sight>>,
    facts: BTreeMap<&'static str, Value>,
    /// Values that a change tried, each as its masked and its exact mark: they count even if nothing of the change is kept.
    tried: Vec<(Vec<u8>, Vec<u8>)>,
    outcome: Option<&'static str>,
    /// Whether something is told that is told once.
    confided: bool,
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
        let rights = Rights::of(house, principal).await?;
        let scope = house.store().read(principal.tenant).await?;
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
        self.record(&value.whose, K::FIELD, sight);
        let Some(sealed) = value.sealed.as_ref().filter(|_| sight > Sight::Withheld) else { return Ok(None) };
        let record = self.keyring.record(value.table, value.row, Wrapped(value.record_key.as_deref()))?;
        let clear = record.open(sealed)?;
        Ok(Some(if sight == Sight::Clear { clear.to_string() } else { K::FIELD.masked(&clear) }))
    }

    /// Tells an open value if policy allows it.
    pub fn tell<T>(&self, value: Open<T>) -> Option<T> {
        let seen = self.sight(value.field, &value.whose, View::Clear) > Sight::Withheld;
        self.record(&value.whose, value.field, if seen { Sight::Clear } else { Sight::Withheld });
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
        self.account().tried.push((masked.clone(), exact.clone()));
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
        let account = self.account();
        let seen = account.persons.values().flat_map(BTreeMap::values).any(|sight| *sight > Sight::Withheld);
        !seen && !account.confided
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
        self.account().fields.clone()
    }

    /// Notes a fact for the event, such as how many rows an import read.
    pub(crate) fn note(&self, key: &'static str, value: impl Into<Value>) {
        self.account().facts.insert(key, value.into());
    }

    /// Names a customer in the event, whatever is read of it.
    pub(crate) fn met(&self, customer: Uuid) {
        self.account().persons.entry(customer).or_default();
    }

    /// Notes in the event that the work did not succeed.
    pub fn fail(&self) {
        self.account().outcome.get_or_insert("failed");
    }

    /// Notes in the event that something was refused.
    pub(crate) fn deny(&self, what: &str) {
        self.account().outcome = Some("denied");
        self.note("denied", what);
    }

    fn record(&self, whose: &Whose, field: Field, sight: Sight) {
        let mut account = self.account();
        let slot = match sight {
            Sight::Clear => 0,
            Sight::Masked => 1,
            Sight::Withheld => 2,
        };
        account.fields.entry(field.entry().key).or_default()[slot] += 1;
        let person = account.persons.entry(whose.customer).or_default();
        if field.personal() {
            let most = person.entry(field).or_insert(sight);
            *most = (*most).max(sight);
        }
    }

    fn account(&self) -> std::sync::MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The event of this session. `cells` is the list of what it left in sealed cells.
    fn entry(&self, operation: &Operation, outcome: &'static str, cells: Option<&[u8]>) -> Result<Entry, Error> {
        let account = self.account();
        let outcome = account.outcome.unwrap_or(outcome);
        let principal = &*self.principal;
        // Persons of whom the same was seen share one group: a page of a thousand is a few lines.
        let mut groups: BTreeMap<Vec<(&str, &str)>, BTreeSet<[u8; 16]>> = BTreeMap::new();
        for (customer, fields) in &account.persons {
            let seen = fields.iter().map(|(field, sight)| (field.entry().key, sight.word())).collect();
            groups.entry(seen).or_default().insert(self.keyring.alias(*customer)?);
        }
        let sights: Vec<Value> = groups
            .iter()
            .map(|(seen, aliases)| {
                let fields: serde_json::Map<String, Value> = seen.iter().map(|(field, sight)| ((*field).to_owned(), json!(sight))).collect();
                json!({ "fields": fields, "subjects": aliases.iter().map(|alias| hex(alias).as_str().to_owned()).collect::<Vec<_>>() })
            })
            .collect();
        let personal =
            |slot: usize| account.fields.iter().filter(|(key, _)| Field::of_key(key).is_some_and(Field::personal)).map(|(_, counts)| counts[slot]).sum();
        let counts: [i32; 3] = [personal(0), personal(1), personal(2)];
        let fields: serde_json::Map<String, Value> = account
            .fields
            .iter()
            .map(|(key, [clear, masked, withheld])| ((*key).to_owned(), json!({ "clear": clear, "masked": masked, "withheld": withheld })))
            .collect();
        let id = Uuid::now_v7();
        let mut body = json!({
            "v": 1,
            "id": id.to_string(),
            "time": self.now.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string(),
            "actor": { "subject": principal.subject, "name": principal.name, "roles": principal.roles, "token": principal.token, "address": principal.address },
            "operation": {
                "kind": operation.kind,
                "name": operation.name,
                "document": operation.document.map(|hash| hex(&hash).as_str().to_owned()),
                "variables": if operation.variables.is_empty() { None } else { Some(hex(&self.keyring.digest("variables", &operation.variables)?).as_str().to_owned()) },
                "request": operation.request,
            },
            "purpose": principal.purpose,
            "fields": fields,
            "sights": sights,
            "policy": { "version": self.policy.version, "hash": hex(&self.policy.hash).as_str() },
            "outcome": outcome,
            "facts": account.facts,
        });
        if let Some(list) = cells {
            body["cells"] = json!({ "rows": cells::rows(list), "sha256": hex(&Sha256::digest(list)).as_str() });
        }
        Ok(Entry {
            tenant: principal.tenant,
            id,
            at: self.now,
            actor: principal.subject.clone(),
            roles: crate::audit::spaced(&principal.roles),
            address: principal.address.clone(),
            request: operation.request.clone(),
            operation: operation.name.clone(),
            outcome,
            purpose: principal.purpose.clone(),
            counts,
            subjects: groups.into_values().flatten().collect::<BTreeSet<_>>().into_iter().collect(),
            body: ledger::canonical(&body),
        })
    }
}
