//! Relay's global object identification: any thing by its id.

use async_graphql::{Context, ID, Interface, Result};
use entity::{child, contact, order, ticket};

use super::customer::Customer;
use super::hanging::{Contact, Order, Ticket};
use super::id::{self, Kind};
use super::page::Page;
use super::session;

/// A thing with an id that stays.
#[derive(Interface)]
#[graphql(field(name = "id", ty = "ID", desc = "Opaque."))]
pub enum Node {
    Customer(Customer),
    Order(Order),
    Contact(Contact),
    Ticket(Ticket),
}

/// The thing of an id. `None` when it is missing, another tenant's or beyond reach: one and the same answer.
pub async fn find(ctx: &Context<'_>, id: &ID) -> Result<Option<Node>> {
    let session = session(ctx);
    let of = |kind: Kind| id::key(kind, id);
    if let Some(key) = of(Kind::Customer) {
        let found = entity::customer::get(session, key).await?;
        return Ok(found.map(|customer| Node::Customer(Customer::at(&Page::of(ctx, &[&[]], vec![customer]), 0))));
    }
    if let Some(key) = of(Kind::Order) {
        return Ok(child::get::<order::Row>(session, key).await?.map(|(_, order)| Node::Order(Order(order))));
    }
    if let Some(key) = of(Kind::Contact) {
        let found = child::get::<contact::Row>(session, key).await?;
        return Ok(found.map(|(customer, row)| Node::Contact(Contact { row, page: Page::alone(customer) })));
    }
    if let Some(key) = of(Kind::Ticket) {
        return Ok(child::get::<ticket::Row>(session, key).await?.map(|(_, ticket)| Node::Ticket(Ticket(ticket))));
    }
    Ok(None)
}
