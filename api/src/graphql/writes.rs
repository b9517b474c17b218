//! What departments write: customers, contacts, tickets, orders, tags, relations.

use async_graphql::{Context, Enum, ID, InputObject, Object, Result};
use entity::contact::NewContact;
use entity::order::NewOrder;
use entity::ticket::NewTicket;
use entity::{Change, Error, contact, customer, order, relation, tag, ticket};
use policy::Field;
use policy::clean::amount;

use super::customer::Customer;
use super::id::Kind;
use super::mutation::{Payload, change, key, payload};
use super::steward::alone;
use super::values::Moment;

/// What departments do.
#[derive(Default)]
pub struct Writes;

/// What is to stand in a customer's fields. What is left out stays as it is. Every value is cleaned and validated as an
/// import's cell is.
#[derive(InputObject)]
struct CustomerInput {
    /// 客户姓名.
    name: Option<String>,
    /// 手机号: a mobile number of 11 digits.
    phone: Option<String>,
    /// 固定电话.
    landline: Option<String>,
    /// 邮箱.
    email: Option<String>,
    /// 地址: province|city|district|detail, or as it is written.
    address: Option<String>,
    /// 备注.
    remarks: Option<String>,
    /// 公司.
    company: Option<String>,
    /// 行业: a code such as I65, or a word for it.
    industry: Option<String>,
    /// 来源渠道.
    channel: Option<String>,
    /// 客户状态: such as 成交客户.
    status: Option<String>,
    /// 首次跟进: a date.
    first_follow_up: Option<String>,
    /// 负责人: the subject of a user.
    owner: Option<String>,
}

impl CustomerInput {
    fn written(&self) -> Vec<customer::Written<'_>> {
        let fields = [
            (Field::Name, &self.name),
            (Field::Phone, &self.phone),
            (Field::Landline, &self.landline),
            (Field::Email, &self.email),
            (Field::Address, &self.address),
            (Field::Remarks, &self.remarks),
            (Field::Company, &self.company),
            (Field::Industry, &self.industry),
            (Field::Channel, &self.channel),
            (Field::Status, &self.status),
            (Field::FirstFollowUp, &self.first_follow_up),
            (Field::Owner, &self.owner),
        ];
        fields.into_iter().filter_map(|(field, value)| Some((field, value.as_deref()?))).collect()
    }
}

/// A contact that was made.
#[derive(InputObject)]
struct ContactInput {
    /// 沟通时间; now, if it is left out.
    at: Option<Moment>,
    /// 沟通方式, such as phone, visit or wechat.
    channel: String,
    /// 沟通内容: personal.
    summary: Option<String>,
    /// 沟通结果.
    result: Option<String>,
}

/// A ticket that is opened.
#[derive(InputObject)]
struct TicketInput {
    /// 工单号; made up, if it is left out.
    number: Option<String>,
    /// 问题类型.
    #[graphql(name = "type")]
    kind: Option<String>,
    /// 问题描述: personal.
    body: Option<String>,
}

/// An order that was placed.
#[derive(InputObject)]
struct OrderInput {
    /// 订单编号.
    number: String,
    /// 金额, a decimal with at most two places.
    amount: Option<String>,
    /// 下单时间; now, if it is left out.
    ordered_at: Option<Moment>,
    /// 订单状态.
    status: Option<String>,
    /// 商品.
    items: Option<String>,
}

/// What one customer is to another.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
enum RelationKind {
    /// 家庭成员.
    Household,
    /// 同事.
    Colleague,
    /// 推荐人.
    Referrer,
}

impl RelationKind {
    const fn word(self) -> &'static str {
        match self {
            Self::Household => "household",
            Self::Colleague => "colleague",
            Self::Referrer => "referrer",
        }
    }
}

/// Does something to a customer and hands it over.
async fn with(
    ctx: &Context<'_>,
    id: &ID,
    work: impl AsyncFnOnce(&Change, uuid::Uuid) -> std::result::Result<customer::Customer, Error>,
) -> Result<Payload<Customer>> {
    let done = async { work(change(ctx), key(Kind::Customer, id)?).await };
    payload(ctx, done.await.map(alone))
}

/// What departments write: each is decided field by field, for this caller and customer.
#[Object(serial)]
impl Writes {
    /// Makes a customer. It is linked as every record is: when a customer whom the caller may write so is known by the same
    /// number or address, it becomes theirs; anybody else who is known makes it an error. Without an owner it is the caller's.
    async fn create_customer(&self, ctx: &Context<'_>, input: CustomerInput) -> Result<Payload<Customer>> {
        payload(ctx, customer::create(change(ctx), &input.written()).await.map(alone))
    }

    /// Corrects fields of a customer: what is written stands, whatever the sources say, until the field is unpinned. With a
    /// `version`, only when the customer is still the one that was read.
    async fn update_customer(&self, ctx: &Context<'_>, id: ID, version: Option<i32>, set: CustomerInput, reason: String) -> Result<Payload<Customer>> {
        with(ctx, &id, async |change, id| customer::update(change, id, version, &set.written(), &reason).await).await
    }

    /// Hands all customers of one user over to another, with a note on each timeline; `from` may have left. At most 500 at a
    /// time: call again while the result is 500.
    async fn hand_over(&self, ctx: &Context<'_>, from: String, to: String, reason: String) -> Result<Payload<i32>> {
        payload(ctx, customer::hand_over(change(ctx), &from, &to, &reason).await.map(|count| i32::try_from(count).unwrap_or(i32::MAX)))
    }

    /// Writes down a contact with a customer.
    async fn add_contact(&self, ctx: &Context<'_>, customer: ID, input: ContactInput) -> Result<Payload<Customer>> {
        let new = NewContact { at: input.at.map(|at| at.0), channel: &input.channel, summary: input.summary.as_deref(), result: input.result.as_deref() };
        with(ctx, &customer, async |change, id| contact::add(change, id, &new).await).await
    }

    /// Opens a ticket of a customer.
    async fn open_ticket(&self, ctx: &Context<'_>, customer: ID, input: TicketInput) -> Result<Payload<Customer>> {
        let new = NewTicket { number: input.number.as_deref(), kind: input.kind.as_deref(), body: input.body.as_deref() };
        with(ctx, &customer, async |change, id| ticket::open(change, id, &new).await).await
    }

    /// Says where a ticket stands.
    async fn set_ticket_status(&self, ctx: &Context<'_>, ticket: ID, status: String) -> Result<Payload<Customer>> {
        let done = async { ticket::set_status(change(ctx), key(Kind::Ticket, &ticket)?, &status).await };
        payload(ctx, done.await.map(alone))
    }

    /// Writes down an order of a customer.
    async fn add_order(&self, ctx: &Context<'_>, customer: ID, input: OrderInput) -> Result<Payload<Customer>> {
        let amount_fen =
            match input.amount.as_deref().map(|text| amount::fen(text).value.ok_or_else(|| Error::Invalid("amount: a decimal such as 199.00".to_owned()))) {
                Some(Err(error)) => return payload(ctx, Err(error)),
                Some(Ok(fen)) => Some(fen),
                None => None,
            };
        let new = NewOrder {
            number: &input.number,
            amount_fen,
            ordered_at: input.ordered_at.map(|at| at.0),
            status: input.status.as_deref(),
            items: input.items.as_deref(),
        };
        with(ctx, &customer, async |change, id| order::place(change, id, &new).await).await
    }

    /// Gives a customer a tag, of a category that does not come from the sources.
    async fn tag_customer(&self, ctx: &Context<'_>, customer: ID, category: String, name: String) -> Result<Payload<Customer>> {
        with(ctx, &customer, async |change, id| tag::add(change, id, &category, &name).await).await
    }

    /// Takes away a tag that was given by hand.
    async fn untag_customer(&self, ctx: &Context<'_>, customer: ID, category: String, name: String) -> Result<Payload<Customer>> {
        with(ctx, &customer, async |change, id| tag::remove(change, id, &category, &name).await).await
    }

    /// Says what one customer is to another.
    async fn relate_customers(&self, ctx: &Context<'_>, customer: ID, other: ID, kind: RelationKind) -> Result<Payload<Customer>> {
        with(ctx, &customer, async |change, id| relation::add(change, id, key(Kind::Customer, &other)?, kind.word()).await).await
    }

    /// Takes a relation away.
    async fn unrelate_customers(&self, ctx: &Context<'_>, customer: ID, other: ID, kind: RelationKind) -> Result<Payload<Customer>> {
        with(ctx, &customer, async |change, id| relation::remove(change, id, key(Kind::Customer, &other)?, kind.word()).await).await
    }
}
