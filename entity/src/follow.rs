//! Following the policy: which version is in force, and what it decides, kept in memory and renewed off the request's way.
//!
//! A process asks the database at most every two seconds. A request that finds older knowledge goes on with it while a task
//! asks again and takes the new version's decisions from Casbin; only then does the new version take the old one's place.
//! What is older than four seconds is waited for, so that a change is in force everywhere within five. When the database
//! does not say for half a minute which version is in force, nobody sees anything personal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use moka::sync::Cache;
use policy::Matrix;

use crate::policy_version::{self, Active};
use crate::{Error, Store, TenantId};

const FRESH: Duration = Duration::from_secs(2);
const WAITED_FOR: Duration = Duration::from_secs(4);
const CLOSED: Duration = Duration::from_secs(30);

type MatrixKey = (TenantId, i32, Vec<String>, Option<String>);

/// What is known of one tenant's policy.
struct Known {
    active: Arc<Active>,
    learned: Instant,
    renewing: AtomicBool,
}

/// The policies in force and their decisions, by tenant.
#[derive(Clone)]
pub(crate) struct Policies {
    known: Cache<TenantId, Arc<Known>>,
    matrices: Cache<MatrixKey, Arc<Matrix>>,
    building: Arc<tokio::sync::Mutex<()>>,
}

impl Default for Policies {
    fn default() -> Self {
        Self { known: Cache::new(1_000), matrices: Cache::new(4_000), building: Arc::default() }
    }
}

impl Policies {
    /// The version in force.
    pub async fn of(&self, store: &Store, tenant: TenantId) -> Result<Arc<Active>, Error> {
        let Some(known) = self.known.get(&tenant) else {
            let active = Arc::new(policy_version::active(&store.read(tenant)).await?);
            self.keep(tenant, Arc::clone(&active));
            return Ok(active);
        };
        let age = known.learned.elapsed();
        if age >= FRESH && age < WAITED_FOR && !known.renewing.swap(true, Ordering::Relaxed) {
            let (this, store, old) = (self.clone(), store.clone(), Arc::clone(&known));
            tokio::spawn(async move {
                if let Err(error) = this.renew(&store, tenant, &old).await {
                    tracing::warn!(%error, "which policy is in force could not be learned");
                    old.renewing.store(false, Ordering::Relaxed);
                }
            });
        }
        if age < WAITED_FOR {
            return Ok(Arc::clone(&known.active));
        }
        match self.renew(store, tenant, &known).await {
            Ok(active) => Ok(active),
            Err(error) if age < CLOSED => {
                tracing::warn!(%error, "which policy is in force could not be learned");
                Ok(Arc::clone(&known.active))
            }
            Err(error) => {
                tracing::error!(%error, "which policy is in force is not known: nothing personal is shown");
                Ok(Arc::new(known.active.shut()))
            }
        }
    }

    /// Learns which version is in force; when it is another, takes the decisions in use from Casbin before it counts.
    async fn renew(&self, store: &Store, tenant: TenantId, known: &Known) -> Result<Arc<Active>, Error> {
        let scope = store.read(tenant);
        let version = policy_version::in_force(&scope, None).await?.version;
        let active = if version == known.active.version {
            Arc::clone(&known.active)
        } else {
            let active = Arc::new(policy_version::stored(&scope, version).await?);
            let used: Vec<MatrixKey> =
                self.matrices.iter().map(|(key, _)| (*key).clone()).filter(|(of, old, ..)| *of == tenant && *old == known.active.version).collect();
            for (_, _, roles, purpose) in used {
                self.matrix(&active, tenant, &roles, purpose.as_deref()).await?;
            }
            active
        };
        self.keep(tenant, Arc::clone(&active));
        Ok(active)
    }

    fn keep(&self, tenant: TenantId, active: Arc<Active>) {
        self.known.insert(tenant, Arc::new(Known { active, learned: Instant::now(), renewing: AtomicBool::new(false) }));
    }

    /// What a version lets a set of roles do for a purpose: from memory, or taken from Casbin.
    pub async fn matrix(&self, active: &Active, tenant: TenantId, roles: &[String], purpose: Option<&str>) -> Result<Arc<Matrix>, Error> {
        let mut roles = roles.to_vec();
        roles.sort_unstable();
        let key = (tenant, active.version, roles, purpose.map(str::to_owned));
        let shut = |matrix: Arc<Matrix>| if active.closed { Arc::new(matrix.impersonal()) } else { matrix };
        if let Some(matrix) = self.matrices.get(&key) {
            return Ok(shut(matrix));
        }
        // Casbin takes a while: of many that ask for the same at once, one builds.
        let _one_at_a_time = self.building.lock().await;
        if let Some(matrix) = self.matrices.get(&key) {
            return Ok(shut(matrix));
        }
        let roles: Vec<&str> = key.2.iter().map(String::as_str).collect();
        let matrix = Arc::new(Matrix::of(&active.policy, &roles, purpose).await?);
        self.matrices.insert(key, Arc::clone(&matrix));
        Ok(shut(matrix))
    }
}
