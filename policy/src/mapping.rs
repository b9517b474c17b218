//! How the columns of a source system map to standard fields. A mapping is tenant data, versioned.

use serde::{Deserialize, Serialize};

/// What a source column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// What the source calls the row.
    ExternalId,
    /// A person's name.
    Name,
    /// A telephone number of any sort.
    Phone,
    /// An e-mail address.
    Email,
    /// A company name.
    Company,
    /// An industry, as code, name or word.
    Industry,
    /// A source channel.
    Channel,
    /// The name of an exhibition.
    Exhibition,
    /// The date of an exhibition.
    ExhibitionDate,
    /// The first follow-up.
    FirstFollowUp,
    /// A customer status.
    Status,
    /// The name of the user who looks after the customer.
    Owner,
    /// When the source last changed the row.
    UpdatedAt,
    /// Free text about the customer.
    Remarks,
    /// A postal address.
    Address,
    /// An amount of money.
    Amount,
    /// When what the row tells of happened.
    OccurredAt,
    /// What was ordered.
    Items,
    /// How many were ordered.
    Quantity,
    /// Where an order or ticket stands, in the source's words.
    State,
    /// What a ticket is about.
    Topic,
    /// What a customer wrote.
    Body,
    /// 1 to 5.
    Satisfaction,
    /// A member level, kept as a tag.
    Level,
    /// A place of business, kept as a tag.
    Place,
}

/// What a row of the source tells of, beside the customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tells {
    /// A first follow-up: a contact record.
    FollowUp,
    /// An order.
    Order,
    /// A ticket.
    Ticket,
    /// Nothing more.
    Membership,
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// The header, as the source writes it.
    pub header: String,
    /// What it holds.
    pub to: Target,
    /// Whether a cell is filled only in the first row of a group.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fill_down: bool,
}

/// A source system as a tenant starts with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The short name: `sales`.
    pub name: String,
    /// What people call it.
    pub label: String,
    /// What its rows and columns mean.
    pub mapping: Mapping,
}

/// What the rows and columns of a source mean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// What a row tells of.
    pub tells: Tells,
    /// The columns.
    pub columns: Vec<Column>,
}

/// The four source systems that a new tenant starts with, most trusted first.
///
/// # Errors
/// None in a build that passed its tests.
pub fn standard() -> Result<Vec<Source>, serde_json::Error> {
    serde_json::from_str(include_str!("../standard_sources.json"))
}

/// A header as it is compared: folded, without spaces and required-marks, lower case.
#[must_use]
pub fn header_key(header: &str) -> String {
    crate::clean::text::fold(header).chars().filter(|c| !matches!(c, ' ' | '*' | ':' | '_')).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_sources_read() {
        let sources = standard().unwrap();
        assert_eq!(sources.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["sales", "shop", "ticket", "ecom"]);
        assert_eq!(header_key(" 联系方式* "), "联系方式");
    }
}
