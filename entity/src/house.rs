//! The house: the store, the keys, the policies in force and the ledger, opened once and shared.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use moka::sync::Cache;
use policy::{Act, Field, Matrix, Reach, Sight, Verb, View};

use crate::audit::Memory;
use crate::follow::Policies;
use crate::policy_version::Active;
use crate::principal::{Caller, OPERATOR};
use crate::tenant::{self, Standing};
use crate::vault::{BadKek, Kek, Keyring};
use crate::{Error, Ledger, Operation, Principal, Session, Store, TenantId, keys, people, purpose, token};

/// What the house is opened with.
pub struct Settings {
    /// The database.
    pub url: String,
    /// The key-encryption key.
    pub kek: Kek,
    /// The clock.
    pub clock: fn() -> DateTime<Utc>,
}

/// How long a process goes by what it knows of a tenant's keys. Much less than the time that a new epoch stands before it is
/// written with.
const FRESH: Duration = Duration::from_secs(5);

/// How long a caller who was let in is not looked up again, unless this process changed who is. A token that another process
/// revokes is refused within it.
const ADMITTED: Duration = Duration::from_secs(2);

/// What somebody presented, and for what purpose.
type Presented = (TenantId, Caller, Option<String>);

/// What is known of one tenant's keys.
struct Known {
    ring: Arc<Keyring>,
    learned: Instant,
}

/// Everything that requests share. Caches are keyed by tenant and, for decisions, by policy version.
pub struct House {
    store: Store,
    kek: RwLock<Arc<Kek>>,
    clock: fn() -> DateTime<Utc>,
    ledger: Ledger,
    keyrings: Cache<TenantId, Arc<Known>>,
    policies: Policies,
    /// Who was let in a moment ago, and how often it had changed then who is.
    admitted: Cache<Presented, (u64, Arc<Principal>)>,
    pub(crate) log: Mutex<Memory>,
}

/// What is shown to a caller.
pub struct Shows(Matrix);

impl Shows {
    /// Whether it may do a thing for some purpose.
    #[must_use]
    pub const fn does(&self, verb: Verb) -> bool {
        self.0.may(verb)
    }

    /// Whether it sees this field of some row for some purpose.
    #[must_use]
    pub fn sees(&self, field: Field) -> bool {
        Reach::ALL.iter().any(|reach| self.0.sight(field, *reach, View::Clear) > Sight::Withheld)
    }

    /// Whether it may do this with the field of some row for some purpose.
    #[must_use]
    pub fn allows(&self, act: Act, field: Field) -> bool {
        Reach::ALL.iter().any(|reach| self.0.allows(field, act, *reach))
    }
}

impl House {
    /// Opens the store and starts the ledger. Must run inside a Tokio runtime. Unwraps one tenant's keys, so that a wrong
    /// key file is noticed now and not at the first request.
    ///
    /// # Errors
    /// The database cannot be reached, or the key file is not its own.
    pub async fn open(settings: Settings) -> Result<Self, Error> {
        let store = Store::connect(&settings.url).await?;
        let house = Self {
            ledger: Ledger::open(store.clone()),
            store,
            kek: RwLock::new(Arc::new(settings.kek)),
            clock: settings.clock,
            keyrings: Cache::new(1_000),
            policies: Policies::default(),
            admitted: Cache::builder().max_capacity(10_000).time_to_live(ADMITTED).build(),
            log: Mutex::default(),
        };
        if let Some(first) = house.tenants().await?.iter().find(|tenant| !tenant.destroyed) {
            house.keyring(first.id).await?;
        }
        Ok(house)
    }

    /// The store, for questions that concern no tenant's rows.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// The key-encryption key.
    pub(crate) fn kek(&self) -> Arc<Kek> {
        Arc::clone(&self.kek.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Which key-encryption key the house goes by: 16 characters, or `command`.
    ///
    /// # Errors
    /// As [`Kek::id`].
    pub fn kek_id(&self) -> Result<String, Error> {
        Ok(self.kek().id()?)
    }

    pub(crate) const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Whether requests can be answered: the database answers, a tenant's keys unwrap, and the log is there and can be written.
    ///
    /// # Errors
    /// What is not ready.
    pub async fn ready(&self) -> Result<(), Error> {
        let tenants = self.tenants().await?;
        let first = tenants.iter().find(|tenant| !tenant.destroyed).map(|tenant| tenant.id);
        if let Some(first) = first {
            self.keyring(first).await?;
        }
        let tenant = first.unwrap_or(TenantId(uuid::Uuid::nil()));
        let scope = self.store.write_log(tenant).await?;
        crate::audit::writable(&scope).await
    }

    /// Lets go of the database, so that its file can be copied.
    pub async fn close(self) {
        self.store.close().await;
    }

    /// The clock.
    pub(crate) const fn clock(&self) -> fn() -> DateTime<Utc> {
        self.clock
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        (self.clock)()
    }

    /// A tenant's keys, as they were at most five seconds ago.
    pub(crate) async fn keyring(&self, tenant: TenantId) -> Result<Arc<Keyring>, Error> {
        match self.keyrings.get(&tenant) {
            Some(known) if known.learned.elapsed() < FRESH => Ok(Arc::clone(&known.ring)),
            _ => self.renewed(tenant).await,
        }
    }

    /// A tenant's keys as they are. What is unwrapped already is not unwrapped again, so that a server goes on when the
    /// key-encryption key is exchanged; for what is new it reads the exchanged key file.
    pub(crate) async fn renewed(&self, tenant: TenantId) -> Result<Arc<Keyring>, Error> {
        let (known, kek) = (self.keyrings.get(&tenant), self.kek());
        let known = known.as_ref().map(|known| &*known.ring);
        let learned = Instant::now();
        let scope = self.store.read(tenant);
        let mut read = keys::keyring(&scope, &kek, known, self.now()).await;
        if matches!(read, Err(Error::Kek(BadKek::Wrong)))
            && let Ok(Some(exchanged)) = kek.again()
        {
            read = keys::keyring(&scope, &exchanged, known, self.now()).await;
            if read.is_ok() {
                *self.kek.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(exchanged);
            }
        }
        let ring = Arc::new(read.inspect_err(|_| self.keyrings.invalidate(&tenant))?);
        self.keyrings.insert(tenant, Arc::new(Known { ring: Arc::clone(&ring), learned }));
        Ok(ring)
    }

    /// The policy version in force, as far as this process knows.
    pub(crate) async fn policy(&self, tenant: TenantId) -> Result<Arc<Active>, Error> {
        self.policies.of(&self.store, tenant).await
    }

    /// The matrix of a principal under a policy version.
    pub(crate) async fn matrix(&self, active: &Active, principal: &Principal) -> Result<Arc<Matrix>, Error> {
        self.policies.matrix(active, principal.tenant, &principal.roles, principal.purpose.as_deref()).await
    }

    /// What a caller's roles may see and do for whatever purpose: what it is shown, and not what it is allowed.
    ///
    /// # Errors
    /// The database cannot be reached, or the policy cannot be read.
    pub async fn shows(&self, principal: &Principal) -> Result<Shows, Error> {
        let active = self.policy(principal.tenant).await?;
        let mut all = Matrix::clone(&*self.matrix(&active, principal).await?);
        for purpose in active.policy.purposes() {
            all = all.or(&*self.policies.matrix(&active, principal.tenant, &principal.roles, Some(purpose)).await?);
        }
        Ok(Shows(all))
    }

    /// Admits a caller whose token has been verified: the person or token must exist, stand and belong to this tenant.
    ///
    /// # Errors
    /// [`Error::Denied`] says no more; [`Error::Invalid`] when the purpose is not one of the tenant's.
    pub async fn admit(&self, tenant: TenantId, caller: Caller, address: String, purpose: Option<String>) -> Result<Principal, Error> {
        let (presented, changes) = ((tenant, caller.clone(), purpose.clone()), self.store.admissions());
        if let Some((then, principal)) = self.admitted.get(&presented)
            && then == changes
        {
            return Ok(Principal { address, ..Principal::clone(&principal) });
        }
        let scope = self.store.read(tenant);
        let standing = tenant::standing(&scope).await?;
        let admitted = match &caller {
            _ if standing != Standing::Stands => Err(Error::Denied),
            Caller::Person { subject, token } => people::admit(&scope, subject, token.clone()).await,
            Caller::Machine { hash } => token::admit(&scope, hash, self.now()).await,
        };
        if matches!(admitted, Err(Error::Denied)) {
            // A signed token, or a service token that once stood: the tenant's log is told. Made-up ones are not.
            let refused = match caller {
                // Without keys there is no event; whoever destroyed the tenant is in its log.
                _ if standing == Standing::Gone => None,
                Caller::Person { subject, token } => Some((subject, token)),
                Caller::Machine { hash } => token::known(&scope, &hash).await?.map(|name| (format!("token:{name}"), String::new())),
            };
            drop(scope);
            if let Some((subject, token)) = refused {
                self.refused(tenant, subject, token, address).await;
            }
            return Err(Error::Denied);
        }
        let mut principal = admitted?;
        principal.address = address;
        // That of a token too: it may have been retired since.
        principal.purpose = purpose.or(principal.purpose);
        if let Some(purpose) = &principal.purpose {
            purpose::known(&scope, purpose).await?;
        }
        self.admitted.insert(presented, (changes, Arc::new(principal.clone())));
        Ok(principal)
    }

    /// Logs that somebody with a good token is nobody here, or not any more.
    async fn refused(&self, tenant: TenantId, subject: String, token: String, address: String) {
        let nobody = Principal {
            tenant,
            name: subject.clone(),
            subject,
            user: None,
            department: None,
            roles: vec![],
            token,
            address,
            purpose: None,
            registered_only: false,
            operator: false,
        };
        let logged = Session::run(self, &Arc::new(nobody), Operation::new("login", "login"), async |session| session.deny("login")).await;
        if let Err(error) = logged {
            tracing::error!(%error, "a refused login cannot be logged");
        }
    }

    /// The operator at the terminal, who holds the keys anyway, acting in one role for one purpose; the log says so.
    #[must_use]
    pub fn operator(&self, tenant: TenantId, login: &str, role: &str, purpose: Option<&str>) -> Arc<Principal> {
        Arc::new(Principal { roles: vec![role.to_owned()], purpose: purpose.map(str::to_owned), ..at_terminal(tenant, login) })
    }

    /// The operator at the terminal, keeping the installation: in no role, so that no tenant's policy stands in the way of what
    /// concerns all.
    #[must_use]
    pub fn keeper(&self, tenant: TenantId, login: &str) -> Arc<Principal> {
        Arc::new(at_terminal(tenant, login))
    }
}

fn at_terminal(tenant: TenantId, login: &str) -> Principal {
    Principal {
        tenant,
        subject: format!("{OPERATOR}{login}"),
        name: login.to_owned(),
        user: None,
        department: None,
        roles: vec![],
        token: "terminal".to_owned(),
        address: "local".to_owned(),
        purpose: None,
        registered_only: false,
        operator: true,
    }
}
