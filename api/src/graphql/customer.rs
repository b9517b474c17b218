//! The customer and what hangs on it.

use std::sync::Arc;

use async_graphql::{Context, ID, Object, Result, SimpleObject};
use chrono::{DateTime, NaiveDate, Utc};
use entity::{Place, Stretch, Wanted, audit};
use policy::clean::industry;
use policy::field::kinds;

use super::connection::{Asked, Connection, Part, TIMELINE, at_most, cost};
use super::hanging::{Contact, Lineage, Order, Ticket, TimelineEntry, TimelineKind};
use super::page::{Counted, Page, SOURCES};
use super::rows::{Row, Rows, plain};
use super::values::{Channel, CustomerType, Personal, Status, ValueTier, View};
use super::{id, session};

/// One customer of a page.
pub struct Customer {
    page: Arc<Page>,
    at: usize,
}

impl Customer {
    /// The customer at a place of a page.
    pub fn at(page: &Arc<Page>, at: usize) -> Self {
        Self { page: Arc::clone(page), at }
    }

    fn row(&self) -> &entity::customer::Customer {
        &self.page.customers[self.at]
    }

    /// This customer's share of what was fetched for the page.
    fn mine<'f, T>(&self, fetched: &'f std::collections::HashMap<uuid::Uuid, Vec<T>>) -> &'f [T] {
        fetched.get(&self.row().id()).map_or(&[], Vec::as_slice)
    }

    fn part(&self, ctx: &Context<'_>, name: &'static str, asked: Asked) -> Result<Part> {
        Ok(Part::of(ctx, &self.page, self.at, name, asked)?)
    }
}

/// 客户: one golden record, made of source records. Every field is decided by policy for this caller, row and purpose; what
/// may not be seen is null.
#[Object(serial)]
impl Customer {
    /// Opaque; stays the same when customers are merged.
    pub async fn id(&self) -> ID {
        id::of_customer(self.row().id())
    }
    /// 客户编号: the human number.
    async fn number(&self, ctx: &Context<'_>) -> Option<String> {
        session(ctx).tell(self.row().number())
    }
    /// How often it was derived anew; `updateCustomer` takes the one that was read.
    async fn version(&self, ctx: &Context<'_>) -> Option<i32> {
        session(ctx).tell(self.row().version())
    }
    /// 客户姓名.
    async fn name(&self, #[graphql(default)] view: View) -> Option<Personal<kinds::Name>> {
        Personal::of(self.row().name(), view)
    }
    /// 手机号.
    async fn phone(&self, #[graphql(default)] view: View) -> Option<Personal<kinds::Phone>> {
        Personal::of(self.row().phone(), view)
    }
    /// 固定电话.
    async fn landline(&self, #[graphql(default)] view: View) -> Option<Personal<kinds::Landline>> {
        Personal::of(self.row().landline(), view)
    }
    /// 邮箱.
    async fn email(&self, #[graphql(default)] view: View) -> Option<Personal<kinds::Email>> {
        Personal::of(self.row().email(), view)
    }
    /// 地址: province|city|district|detail.
    async fn address(&self, #[graphql(default)] view: View) -> Option<Personal<kinds::Address>> {
        Personal::of(self.row().address(), view)
    }
    /// 备注.
    async fn remarks(&self, #[graphql(default)] view: View) -> Option<Personal<kinds::Remarks>> {
        Personal::of(self.row().remarks(), view)
    }
    /// 客户类型.
    #[graphql(name = "type")]
    async fn kind(&self, ctx: &Context<'_>) -> Option<CustomerType> {
        session(ctx).tell(self.row().customer_type()).flatten().map(Into::into)
    }
    /// 公司名称.
    async fn company(&self, ctx: &Context<'_>) -> Option<String> {
        session(ctx).tell(self.row().company()).flatten()
    }
    /// 所属行业 (GB/T 4754-2017); null where it may not be seen, 待完善 where it is not known.
    async fn industry(&self, ctx: &Context<'_>) -> Option<Industry> {
        session(ctx).tell(self.row().industry()).map(Industry::of)
    }
    /// 来源渠道.
    async fn channel(&self, ctx: &Context<'_>) -> Option<Channel> {
        session(ctx).tell(self.row().channel()).flatten().map(Into::into)
    }
    /// 首次跟进时间.
    async fn first_follow_up(&self, ctx: &Context<'_>) -> Option<NaiveDate> {
        session(ctx).tell(self.row().first_follow_up()).flatten()
    }
    /// 客户状态.
    async fn status(&self, ctx: &Context<'_>) -> Option<Status> {
        session(ctx).tell(self.row().status()).flatten().map(Into::into)
    }
    /// 客户价值等级.
    async fn value_tier(&self, ctx: &Context<'_>) -> Option<ValueTier> {
        session(ctx).tell(self.row().value_tier()).flatten().map(Into::into)
    }
    /// 负责人.
    async fn owner(&self, ctx: &Context<'_>) -> Result<Option<User>> {
        let Some(Some(owner)) = session(ctx).tell(self.row().owner()) else { return Ok(None) };
        Ok(self.page.people(session(ctx)).await?.get(&owner).map(User::of))
    }
    /// 标签.
    #[graphql(complexity = "3 * child_complexity")]
    async fn tags(&self, ctx: &Context<'_>) -> Result<Rows<Tag>> {
        let hanging = self.page.hanging(session(ctx), Wanted { tags: true, ..Wanted::default() }, self.at, Stretch::default()).await?;
        let told = hanging.tags.mine(self.row().id()).iter().filter_map(|tag| session(ctx).tell(tag.label()));
        Ok(Rows(told.map(|(name, category)| Tag { name, category }).collect()))
    }
    /// 最后更新时间.
    async fn updated_at(&self, ctx: &Context<'_>) -> Option<DateTime<Utc>> {
        session(ctx).tell(self.row().updated_at())
    }
    /// Orders, newest first.
    #[graphql(complexity = "cost(first.or(last), 20, child_complexity)")]
    async fn orders(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Row<Connection<Order>>> {
        let part = self.part(ctx, "orders", Asked { first, after, last, before })?;
        let orders = &part.fetch(ctx, |limit| Wanted { orders: limit, ..Wanted::default() }).await?.orders;
        let rows = orders.mine(part.customer()).iter().map(|row| (row.place(), Order(row.clone())));
        let total = orders.total(part.customer());
        Ok(Row(part.connection(rows, total, &[Counted::Orders])))
    }
    /// Contact records, newest first.
    #[graphql(complexity = "cost(first.or(last), 20, child_complexity)")]
    async fn contacts(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Row<Connection<Contact>>> {
        let part = self.part(ctx, "contacts", Asked { first, after, last, before })?;
        let contacts = &part.fetch(ctx, |limit| Wanted { contacts: limit, ..Wanted::default() }).await?.contacts;
        let rows = contacts.mine(part.customer()).iter().map(|row| (row.place(), Contact { row: row.clone(), page: Arc::clone(&self.page) }));
        let total = contacts.total(part.customer());
        Ok(Row(part.connection(rows, total, &[Counted::Contacts])))
    }
    /// Tickets, newest first.
    #[graphql(complexity = "cost(first.or(last), 20, child_complexity)")]
    async fn tickets(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Row<Connection<Ticket>>> {
        let part = self.part(ctx, "tickets", Asked { first, after, last, before })?;
        let tickets = &part.fetch(ctx, |limit| Wanted { tickets: limit, ..Wanted::default() }).await?.tickets;
        let rows = tickets.mine(part.customer()).iter().map(|row| (row.place(), Ticket(row.clone())));
        let total = tickets.total(part.customer());
        Ok(Row(part.connection(rows, total, &[Counted::Tickets])))
    }
    /// Orders, contacts, tickets and imports in one order, newest first.
    #[graphql(complexity = "cost(first.or(last), 20, child_complexity)")]
    async fn timeline(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Row<Connection<TimelineEntry>>> {
        let part = self.part(ctx, TIMELINE, Asked { first, after, last, before })?;
        let entries = self.entries(ctx, &part).await?;
        Ok(Row(part.connection(entries, None, &[Counted::Orders, Counted::Contacts, Counted::Tickets, Counted::Records])))
    }
    /// The source records that this customer is made of, the newest hundred.
    #[graphql(complexity = "10 * child_complexity")]
    async fn sources(&self, ctx: &Context<'_>) -> Result<Rows<Lineage>> {
        let session = session(ctx);
        let hanging = self.page.hanging(session, Wanted { lineages: Some(SOURCES), ..Wanted::default() }, self.at, Stretch::default()).await?;
        Ok(Rows(hanging.lineages.mine(self.row().id()).iter().filter_map(|record| session.tell(record.told())).map(Lineage).collect()))
    }
    /// Why each golden value won.
    async fn provenance(&self, ctx: &Context<'_>) -> Result<Option<Vec<Provenance>>> {
        let background = self.page.background(session(ctx)).await?;
        let told = background.get(&self.row().id()).and_then(|behind| session(ctx).tell(behind.provenance.clone()));
        Ok(told.map(|why| why.into_iter().map(|why| Provenance { field: why.field, source: why.source, rule: why.rule }).collect()))
    }
    /// 数据质量.
    async fn quality(&self, ctx: &Context<'_>) -> Result<Option<Quality>> {
        let background = self.page.background(session(ctx)).await?;
        let told = background.get(&self.row().id()).and_then(|behind| session(ctx).tell(behind.quality.clone()));
        Ok(told.map(|quality| Quality { score: quality.score, completeness: quality.completeness, issues: quality.issues }))
    }
    /// Household, colleagues, referrer.
    #[graphql(complexity = "5 * child_complexity")]
    async fn relations(&self, ctx: &Context<'_>) -> Result<Vec<Relation>> {
        let session = session(ctx);
        let all = self.page.relations(session).await?;
        let told: Vec<_> = self.mine(&all).iter().filter_map(|relation| session.tell(relation.link())).collect();
        let keys: Vec<_> = told.iter().map(|(_, key)| *key).collect();
        if told.is_empty() {
            return Ok(vec![]);
        }
        let related = self.page.related(session, self.at, &keys).await?;
        Ok(told.into_iter().filter_map(|(kind, key)| related.get(&key).map(|(page, at)| Relation { kind, customer: Self::at(page, *at) })).collect())
    }
    /// Consents by purpose, newest first.
    #[graphql(complexity = "3 * child_complexity")]
    async fn consents(&self, ctx: &Context<'_>) -> Result<Vec<Consent>> {
        let consents = self.page.consents(session(ctx)).await?;
        Ok(self
            .mine(&consents)
            .iter()
            .filter_map(|consent| session(ctx).tell(consent.state()))
            .map(|(purpose, given, at)| Consent { purpose, given, at })
            .collect())
    }
    /// Who has looked at this customer, newest first, from the audit log; null where it may not be seen.
    #[graphql(complexity = "cost(first, 20, child_complexity)")]
    async fn seen_by(&self, ctx: &Context<'_>, first: Option<i32>) -> Result<Option<SeenByConnection>> {
        let looks = audit::seen_by(session(ctx), self.row(), at_most(first, 20)?).await?;
        let nodes = session(ctx).tell(looks).map(|looks| looks.into_iter().map(Seen::of).collect());
        Ok(nodes.map(|nodes| SeenByConnection { nodes }))
    }
}

plain! { Customer:
    "id" id,
    "number" number,
    "version" version,
    "name" name(View::Masked),
    "phone" phone(View::Masked),
    "landline" landline(View::Masked),
    "email" email(View::Masked),
    "address" address(View::Masked),
    "remarks" remarks(View::Masked),
    "type" kind,
    "company" company,
    "channel" channel,
    "firstFollowUp" first_follow_up,
    "status" status,
    "valueTier" value_tier,
    "updatedAt" updated_at,
}

impl Customer {
    /// What happened, newest first.
    async fn entries(&self, ctx: &Context<'_>, part: &Part) -> Result<Vec<(Place, TimelineEntry)>> {
        let session = session(ctx);
        let all = |limit| Wanted { orders: limit, contacts: limit, tickets: limit, lineages: limit, tags: false };
        let hanging = part.fetch(ctx, all).await?;
        let customer = part.customer();
        let words = |parts: [Option<String>; 3]| parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
        let mut entries = Vec::new();
        let mut add = |place, at: Option<DateTime<Utc>>, kind, title: [Option<String>; 3]| {
            entries.extend(at.map(|at| (place, TimelineEntry { at, kind, title: words(title) })));
        };
        for order in hanging.orders.mine(customer) {
            if let Some(at) = session.tell(order.ordered_at()) {
                add(order.place(), at, TimelineKind::Order, [session.tell(order.number()), session.tell(order.status()).flatten(), None]);
            }
        }
        for contact in hanging.contacts.mine(customer) {
            if let Some(at) = session.tell(contact.at()) {
                add(contact.place(), Some(at), TimelineKind::Contact, [session.tell(contact.channel()), None, None]);
            }
        }
        for ticket in hanging.tickets.mine(customer) {
            if let Some(at) = session.tell(ticket.opened_at()) {
                let title = [session.tell(ticket.number()), session.tell(ticket.kind()).flatten(), session.tell(ticket.status()).flatten()];
                add(ticket.place(), at, TimelineKind::Ticket, title);
            }
        }
        for record in hanging.lineages.mine(customer) {
            if let Some(lineage) = session.tell(record.told()) {
                add(record.place(), Some(lineage.imported_at), TimelineKind::Import, [Some(lineage.system), Some(lineage.external_id), None]);
            }
        }
        entries.sort_by_key(|(place, _)| *place);
        Ok(entries)
    }
}

/// An industry of GB/T 4754-2017.
#[derive(SimpleObject)]
#[graphql(serial)]
pub struct Industry {
    /// Section and division: I65; null when not known yet.
    code: Option<String>,
    /// Its name; 待完善 (to be completed) when not known yet.
    name: String,
}

impl Industry {
    fn of(code: Option<String>) -> Self {
        let name = code.as_deref().and_then(industry::name).unwrap_or(industry::UNKNOWN);
        Self { name: name.to_owned(), code }
    }
}

/// A user of the tenant.
#[derive(SimpleObject)]
#[graphql(serial)]
pub struct User {
    /// What they are called.
    name: String,
    /// Their department.
    department: Option<String>,
}

impl User {
    fn of(person: &entity::people::Person) -> Self {
        Self { name: person.name.clone(), department: person.department.clone() }
    }
}

/// 标签.
#[derive(SimpleObject)]
#[graphql(serial)]
pub struct Tag {
    name: String,
    category: String,
}

plain! { Tag: "name" name, "category" category, }

/// Why a golden value won.
#[derive(SimpleObject)]
#[graphql(serial)]
pub struct Provenance {
    /// The field, as the dictionary calls it.
    field: String,
    /// The source system whose value it is.
    source: String,
    /// The survivorship rule.
    rule: String,
}

/// Completeness and quality.
#[derive(SimpleObject)]
#[graphql(serial)]
pub struct Quality {
    /// 0 to 100: 100 less 25 for a missing name or phone and 5 for a missing e-mail, address, industry or owner.
    score: i16,
    /// Share of ten fields that are filled, 0 to 100.
    completeness: i16,
    /// What is missing, as codes.
    issues: Vec<String>,
}

/// A relation to another customer.
#[derive(SimpleObject)]
#[graphql(serial)]
pub struct Relation {
    kind: String,
    customer: Customer,
}

/// A consent given or withdrawn.
#[derive(SimpleObject)]
#[graphql(serial)]
pub struct Consent {
    purpose: String,
    given: bool,
    at: DateTime<Utc>,
}

/// The newest looks.
#[derive(SimpleObject)]
#[graphql(serial)]
pub struct SeenByConnection {
    nodes: Vec<Seen>,
}

/// One look at a customer, from the audit log.
#[derive(SimpleObject)]
#[graphql(serial)]
pub struct Seen {
    at: DateTime<Utc>,
    actor: String,
    /// The personal fields.
    fields: Vec<String>,
    /// The most that was seen: clear, masked, withheld; open when nothing personal was asked for.
    level: String,
    purpose: Option<String>,
}

impl Seen {
    fn of(look: audit::Look) -> Self {
        let level = look.level().to_owned();
        Self { at: look.event.at, actor: look.event.actor, fields: look.seen.into_iter().map(|(field, _)| field).collect(), level, purpose: look.event.purpose }
    }
}
