//! What hangs on a customer: orders, contact records, tickets, where its source records came from, and all of them in one timeline.

use std::sync::Arc;

use async_graphql::{Context, ID, Object, Result, SimpleObject};
use chrono::{DateTime, Utc};
use entity::{contact, order, record, ticket};
use policy::clean::amount;
use policy::field::kinds;

use super::id::{self, Kind};
use super::page::Page;
use super::rows::plain;
use super::session;
use super::values::{Personal, View};

/// An order.
#[derive(Clone)]
pub struct Order(pub order::Order);

/// 订单.
#[Object(serial)]
impl Order {
    /// Opaque.
    pub async fn id(&self) -> ID {
        id::of(Kind::Order, self.0.id())
    }
    /// 订单编号.
    async fn number(&self, ctx: &Context<'_>) -> Option<String> {
        session(ctx).tell(self.0.number())
    }
    /// 金额, a decimal with two places: `"199.00"`.
    async fn amount(&self, ctx: &Context<'_>) -> Option<String> {
        session(ctx).tell(self.0.amount_fen()).flatten().map(amount::yuan)
    }
    /// 下单时间.
    async fn ordered_at(&self, ctx: &Context<'_>) -> Option<DateTime<Utc>> {
        session(ctx).tell(self.0.ordered_at()).flatten()
    }
    /// 订单状态, in the words of the source.
    async fn status(&self, ctx: &Context<'_>) -> Option<String> {
        session(ctx).tell(self.0.status()).flatten()
    }
    /// 商品.
    async fn items(&self, ctx: &Context<'_>) -> Option<String> {
        session(ctx).tell(self.0.items()).flatten()
    }
}

plain! { Order: "id" id, "number" number, "amount" amount, "orderedAt" ordered_at, "status" status, "items" items, }

/// A contact record.
#[derive(Clone)]
pub struct Contact {
    /// The row.
    pub row: contact::Contact,
    /// The page that its customer is of.
    pub page: Arc<Page>,
}

/// 沟通记录.
#[Object(serial)]
impl Contact {
    /// Opaque.
    pub async fn id(&self) -> ID {
        id::of(Kind::Contact, self.row.id())
    }
    /// 沟通时间.
    async fn at(&self, ctx: &Context<'_>) -> Option<DateTime<Utc>> {
        session(ctx).tell(self.row.at())
    }
    /// 沟通方式.
    async fn channel(&self, ctx: &Context<'_>) -> Option<String> {
        session(ctx).tell(self.row.channel())
    }
    /// 沟通内容.
    async fn summary(&self, #[graphql(default)] view: View) -> Option<Personal<kinds::Summary>> {
        Personal::of(self.row.summary(), view)
    }
    /// 跟进人.
    async fn by(&self, ctx: &Context<'_>) -> Result<Option<String>> {
        let Some(Some(user)) = session(ctx).tell(self.row.by()) else { return Ok(None) };
        Ok(self.page.people(session(ctx)).await?.get(&user).map(|person| person.name.clone()))
    }
    /// 沟通结果.
    async fn result(&self, ctx: &Context<'_>) -> Option<String> {
        session(ctx).tell(self.row.result()).flatten()
    }
}

plain! { Contact: "id" id, "at" at, "channel" channel, "summary" summary(View::Masked), "result" result, }

/// A ticket.
#[derive(Clone)]
pub struct Ticket(pub ticket::Ticket);

/// 工单.
#[Object(serial)]
impl Ticket {
    /// Opaque.
    pub async fn id(&self) -> ID {
        id::of(Kind::Ticket, self.0.id())
    }
    /// 工单号.
    async fn number(&self, ctx: &Context<'_>) -> Option<String> {
        session(ctx).tell(self.0.number())
    }
    /// 问题类型.
    #[graphql(name = "type")]
    async fn kind(&self, ctx: &Context<'_>) -> Option<String> {
        session(ctx).tell(self.0.kind()).flatten()
    }
    /// 提交时间.
    async fn opened_at(&self, ctx: &Context<'_>) -> Option<DateTime<Utc>> {
        session(ctx).tell(self.0.opened_at()).flatten()
    }
    /// 问题描述.
    async fn body(&self, #[graphql(default)] view: View) -> Option<Personal<kinds::Body>> {
        Personal::of(self.0.body(), view)
    }
    /// 工单状态.
    async fn status(&self, ctx: &Context<'_>) -> Option<String> {
        session(ctx).tell(self.0.status()).flatten()
    }
    /// 满意度, 1 to 5.
    async fn satisfaction(&self, ctx: &Context<'_>) -> Option<i16> {
        session(ctx).tell(self.0.satisfaction()).flatten()
    }
}

plain! { Ticket:
    "id" id,
    "number" number,
    "type" kind,
    "openedAt" opened_at,
    "body" body(View::Masked),
    "status" status,
    "satisfaction" satisfaction,
}

/// Where a source record came from.
pub struct Lineage(pub record::Lineage);

/// Where a source record came from.
#[Object(serial)]
impl Lineage {
    /// The source system.
    async fn system(&self) -> &str {
        &self.0.system
    }
    /// What the source calls the row.
    async fn external_id(&self) -> &str {
        &self.0.external_id
    }
    /// When it was imported last.
    async fn imported_at(&self) -> DateTime<Utc> {
        self.0.imported_at
    }
    /// The line of the file.
    async fn line(&self) -> i32 {
        self.0.line
    }
    /// The record itself, for splitting.
    async fn id(&self) -> ID {
        id::of(id::Kind::Record, self.0.record)
    }
    /// The import that brought it.
    async fn import(&self) -> ID {
        id::of(id::Kind::Import, self.0.import)
    }
    /// Which version of the mapping read it.
    async fn mapping_version(&self) -> i32 {
        self.0.mapping_version
    }
    /// The cleaning rules that touched its cells.
    async fn rules(&self) -> Vec<Applied> {
        self.0.rules().into_iter().map(|(field, rules)| Applied { field, rules }).collect()
    }
}

plain! { Lineage:
    "system" system,
    "externalId" external_id,
    "importedAt" imported_at,
    "line" line,
    "id" id,
    "import" import,
    "mappingVersion" mapping_version,
}

/// The cleaning rules that touched a cell.
#[derive(SimpleObject)]
#[graphql(serial)]
struct Applied {
    /// The field of the mapping.
    field: String,
    rules: Vec<String>,
}

/// What a timeline entry tells of.
#[derive(async_graphql::Enum, Clone, Copy, PartialEq, Eq)]
pub enum TimelineKind {
    /// An order was placed.
    Order,
    /// Somebody spoke with the customer.
    Contact,
    /// A ticket was opened.
    Ticket,
    /// A source record was imported.
    Import,
}

/// One thing that happened.
#[derive(SimpleObject, Clone)]
#[graphql(serial)]
pub struct TimelineEntry {
    /// When.
    pub at: DateTime<Utc>,
    /// What it tells of.
    pub kind: TimelineKind,
    /// In a few words.
    pub title: String,
}

plain! { TimelineEntry: "at" at, "title" title, }
