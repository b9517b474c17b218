//! The desk at which a command works: the operator in one role at one tenant, in the same bracket as a request.

use std::sync::Arc;

use entity::{Change, House, Operation, Principal, Session, Unaccounted};

use crate::config::{Config, login};
use crate::error::Stop;
use crate::home;

/// One operator, one role, one tenant.
pub struct Desk {
    house: House,
    operator: Arc<Principal>,
}

impl Desk {
    /// Of the tenant's administrator.
    pub async fn admin(config: &Config, tenant: &str) -> Result<Self, Stop> {
        Self::open(config, tenant, "admin", None).await
    }

    /// Of the compliance auditor.
    pub async fn auditor(config: &Config, tenant: &str) -> Result<Self, Stop> {
        Self::open(config, tenant, "auditor", None).await
    }

    /// Of the data steward.
    pub async fn steward(config: &Config, tenant: &str) -> Result<Self, Stop> {
        Self::open(config, tenant, "steward", Some("data_quality")).await
    }

    /// Of the privacy officer.
    pub async fn officer(config: &Config, tenant: &str) -> Result<Self, Stop> {
        Self::open(config, tenant, "privacy", Some("privacy_request")).await
    }

    async fn open(config: &Config, tenant: &str, role: &str, purpose: Option<&str>) -> Result<Self, Stop> {
        let house = home::open(config).await?;
        let operator = house.operator(house.tenant(tenant).await?.id, &login(), role, purpose);
        Ok(Self { house, operator })
    }

    /// The house, for what is no tenant's.
    pub const fn house(&self) -> &House {
        &self.house
    }

    /// Reads.
    pub async fn look<T>(&self, name: &str, work: impl AsyncFnOnce(Arc<Session>) -> Result<T, entity::Error>) -> Result<T, Stop> {
        Ok(Session::run(&self.house, &self.operator, Operation::new("command", name), work).await??)
    }

    /// Writes.
    pub async fn write<T>(&self, name: &str, work: impl AsyncFnOnce(&Change) -> Result<T, entity::Error>) -> Result<T, Stop> {
        let done = Change::run(&self.house, &self.operator, Operation::new("command", name), async |change| work(change).await.map_err(Unaccounted::Failed));
        Ok(done.await?)
    }
}
