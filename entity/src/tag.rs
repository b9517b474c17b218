//! Tags of customers.

use std::cmp::Ordering;
use std::collections::HashMap;

use chrono::{DateTime, Utc};
use policy::Field;
use policy::mapping::Target;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::ExprTrait;
use sea_orm::{QuerySelect, QueryTrait};

use crate::child::{Child, Slots};
use crate::customer::{Customer, writable};
use crate::guard::{Open, Reaching};
use crate::store::Tenanted;
use crate::{Change, Error, Scope, Session};

pub(crate) mod table {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "tag")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub name: String,
        pub category: String,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

#[expect(clippy::struct_field_names, reason = "the columns are keys")]
pub(crate) mod tagged {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "customer_tag")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub customer_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub tag_id: Uuid,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

impl Tenanted for table::Entity {
    const TENANT: table::Column = table::Column::TenantId;
}
impl Tenanted for tagged::Entity {
    const TENANT: tagged::Column = tagged::Column::TenantId;
}

/// A tag as a customer bears it.
pub struct Row {
    id: Uuid,
    name: String,
    category: String,
}

impl Row {
    /// By category, and in each by name.
    pub(crate) fn by_name(&self, other: &Self) -> Ordering {
        (&self.category, &self.name).cmp(&(&other.category, &other.name))
    }
}

impl Child for Row {
    const KIND: u8 = 4;
    const FIELD: Field = Field::Tags;
    const FROM: &'static str = "customer_tag AS h JOIN tag AS t ON t.tenant_id = h.tenant_id AND t.id = h.tag_id";
    const ID: &'static str = "h.tag_id";
    const ORDER: &'static str = "t.category, t.name";
    const READ: [&'static str; 10] = ["", "t.name", "t.category", "", "", "", "", "", "", ""];
    fn read(row: &Slots) -> Result<Self, DbErr> {
        Ok(Self { id: row.id()?, name: row.get(1)?, category: row.get(2)? })
    }
    fn at(&self) -> (Option<DateTime<Utc>>, Uuid) {
        (None, self.id)
    }
}

/// A tag that a customer bears.
pub type Tag = Reaching<Row>;

impl Tag {
    /// Name and category.
    #[must_use]
    pub fn label(&self) -> Open<(String, String)> {
        self.open(Field::Tags, (self.model.name.clone(), self.model.category.clone()))
    }
}

pub(crate) fn customers_with(session: &Session, name: &str) -> sea_orm::sea_query::SelectStatement {
    let tags = session.scope().find::<table::Entity>().filter(table::Column::Name.eq(name)).select_only().column(table::Column::Id).into_query();
    let links = session.scope().find::<tagged::Entity>().filter(tagged::Column::TagId.in_subquery(tags));
    links.select_only().column(tagged::Column::CustomerId).into_query()
}

/// What records say as tags; each is a category under its label. Tags of other categories were given by hand.
const DERIVED: [Target; 3] = [Target::Level, Target::Place, Target::Tags];

/// Gives customers tags of `(category, name)`, making the tags that are new. Customers that were derived anew first lose all that
/// records once said of them; what was given by hand stays.
pub(crate) async fn replace(scope: &Scope, rederived: &[Uuid], wanted: &[(Uuid, String, String)]) -> Result<(), Error> {
    for chunk in rederived.chunks(5_000) {
        let of_category =
            scope.find::<table::Entity>().filter(table::Column::Category.is_in(DERIVED.map(Target::zh))).select_only().column(table::Column::Id).into_query();
        let theirs = scope.among(tagged::Column::CustomerId, chunk.iter().copied());
        scope.delete_where::<tagged::Entity>(sea_orm::Condition::all().add(theirs).add(tagged::Column::TagId.in_subquery(of_category))).await?;
    }
    let names: std::collections::BTreeSet<&str> = wanted.iter().map(|(_, _, name)| name.as_str()).collect();
    let mut tags: HashMap<(String, String), Uuid> = HashMap::new();
    for chunk in names.into_iter().collect::<Vec<_>>().chunks(5_000) {
        let select = scope.find::<table::Entity>().filter(scope.among(table::Column::Name, chunk.iter().map(|name| (*name).to_owned())));
        tags.extend(select.all(scope.tx()).await?.into_iter().map(|tag| ((tag.category, tag.name), tag.id)));
    }
    let mut new = Vec::new();
    for (_, category, name) in wanted {
        tags.entry((category.clone(), name.clone())).or_insert_with(|| {
            let id = Uuid::now_v7();
            new.push(table::ActiveModel { id: Set(id), name: Set(name.clone()), category: Set(category.clone()), ..Default::default() });
            id
        });
    }
    scope.insert(new).await?;
    let mut borne = std::collections::HashSet::new();
    for chunk in wanted.chunks(5_000) {
        let links = scope
            .find::<tagged::Entity>()
            .filter(scope.among(tagged::Column::CustomerId, chunk.iter().map(|(customer, ..)| *customer)))
            .all(scope.tx())
            .await?;
        borne.extend(links.into_iter().map(|link| (link.customer_id, link.tag_id)));
    }
    let links = wanted.iter().filter_map(|(customer, category, name)| {
        let tag = *tags.get(&(category.clone(), name.clone()))?;
        borne.insert((*customer, tag)).then(|| tagged::ActiveModel { customer_id: Set(*customer), tag_id: Set(tag), ..Default::default() })
    });
    scope.insert(links.collect()).await
}

/// Gives a customer a tag by hand.
///
/// # Errors
/// [`Error::Denied`] to whom may not write tags of this customer; [`Error::NotFound`]; [`Error::Faults`].
pub async fn add(change: &Change, id: Uuid, category: &str, name: &str) -> Result<Customer, Error> {
    let customer = by_hand(change, id, category, name).await?;
    replace(change.scope(), &[], &[(customer.id(), category.to_owned(), name.to_owned())]).await?;
    Ok(customer)
}

/// Takes away a tag that was given by hand.
///
/// # Errors
/// As [`add`]; [`Error::NotFound`] when the customer does not bear it.
pub async fn remove(change: &Change, id: Uuid, category: &str, name: &str) -> Result<Customer, Error> {
    let customer = by_hand(change, id, category, name).await?;
    let scope = change.scope();
    let these = table::Column::Category.eq(category).and(table::Column::Name.eq(name));
    let tags = scope.find::<table::Entity>().filter(these).select_only().column(table::Column::Id).into_query();
    let borne = tagged::Column::CustomerId.eq(customer.id()).and(tagged::Column::TagId.in_subquery(tags));
    if scope.delete_where::<tagged::Entity>(borne).await? == 0 { Err(Error::NotFound) } else { Ok(customer) }
}

async fn by_hand(change: &Change, id: Uuid, category: &str, name: &str) -> Result<Customer, Error> {
    let customer = writable(change, id, [Field::Tags]).await?;
    let mut faults = Vec::new();
    for (what, text) in [("category", category), ("name", name)] {
        if text.is_empty() || text.chars().count() > 40 {
            faults.push(format!("{what}: 1 to 40 characters"));
        }
    }
    if DERIVED.map(Target::zh).contains(&category) {
        faults.push("category: tags of this category are what the sources say; choose another".to_owned());
    }
    if faults.is_empty() { Ok(customer) } else { Err(Error::Faults(faults)) }
}
