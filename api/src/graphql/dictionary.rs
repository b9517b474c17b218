//! The data dictionary over GraphQL.

use async_graphql::SimpleObject;
use policy::Field;

/// One field of the data dictionary.
#[derive(SimpleObject)]
#[graphql(serial)]
pub struct DictionaryEntry {
    /// What rules, events and mappings call it: Customer.phone.
    key: String,
    /// Chinese label.
    zh: String,
    /// English label.
    en: String,
    /// open, identity, contact, location or free text; everything but open is personal.
    class: String,
    /// Whether it is personal, and so sealed at rest.
    personal: bool,
    /// Type, length and allowed values.
    shape: String,
    /// An invented example.
    example: String,
    /// How the example is masked; null for open fields.
    masked: Option<String>,
    /// The standard followed.
    standard: Option<String>,
}

/// The whole dictionary.
pub fn all() -> Vec<DictionaryEntry> {
    Field::ALL
        .iter()
        .map(|field| {
            let entry = field.entry();
            DictionaryEntry {
                key: entry.key.to_owned(),
                zh: entry.zh.to_owned(),
                en: entry.en.to_owned(),
                class: entry.class.word().to_owned(),
                personal: field.personal(),
                shape: entry.shape.to_owned(),
                example: entry.example.to_owned(),
                masked: field.personal().then(|| field.masked(entry.example)),
                standard: Some(entry.standard.to_owned()).filter(|standard| !standard.is_empty()),
            }
        })
        .collect()
}
