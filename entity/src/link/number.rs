//! Human numbers of customers: C, the date, and a sequence that starts anew every day.

use chrono::{DateTime, Utc};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Func;
use sea_orm::{QueryOrder, QuerySelect};

use crate::bulk::Existing;
use crate::customer::table as customer;
use crate::store::Tenanted;
use crate::{Error, Scope};

pub(crate) mod table {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "number_sequence")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub day: String,
        pub last: i32,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

impl Tenanted for table::Entity {
    const TENANT: table::Column = table::Column::TenantId;
}

/// The numbers of today. Whoever takes one holds the tenant's row.
pub(super) struct Numbers {
    day: String,
    last: i32,
    taken: bool,
}

impl Numbers {
    pub async fn of(scope: &Scope, now: DateTime<Utc>) -> Result<Self, Error> {
        let day = format!("C{}", now.with_timezone(&policy::clean::date::zone()).format("%Y%m%d"));
        let row = scope.find::<table::Entity>().filter(table::Column::Day.eq(&day)).one(scope.tx()).await?;
        let last = match row {
            Some(row) => row.last,
            None => highest(scope, &day).await?,
        };
        Ok(Self { day, last, taken: false })
    }

    pub fn next(&mut self) -> String {
        self.last += 1;
        self.taken = true;
        format!("{}{:03}", self.day, self.last)
    }

    /// Writes down how far the sequence went.
    pub async fn keep(self, scope: &Scope) -> Result<(), Error> {
        if !self.taken {
            return Ok(());
        }
        let row = table::ActiveModel { day: Set(self.day), last: Set(self.last), ..Default::default() };
        scope.put(vec![row], Existing::Overwrite(&[table::Column::Last])).await
    }
}

/// The highest number of a day for which no sequence is written down.
async fn highest(scope: &Scope, day: &str) -> Result<i32, Error> {
    let length = Func::char_length(Expr::col(customer::Column::Number));
    let last: Option<String> = scope
        .find::<customer::Entity>()
        .filter(customer::Column::Number.starts_with(day))
        .select_only()
        .column(customer::Column::Number)
        .order_by_desc(Expr::from(length))
        .order_by_desc(customer::Column::Number)
        .limit(1)
        .into_tuple()
        .one(scope.tx())
        .await?;
    Ok(last.and_then(|number| number[day.len()..].parse().ok()).unwrap_or(0))
}
