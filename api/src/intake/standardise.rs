//! Rows to drafts: every cell through its cleaning rule, every row judged.

use std::collections::HashMap;

use entity::import::Reject;
use entity::record::{Detail, Draft};
use policy::clean::{self, phone, text::fold};
use policy::field::kinds::{Address, Body, Email, FamilyName, Name, Raw, Remarks, Summary};
use policy::mapping::{Target, Tells, header_key};
use policy::{Channel, Pii, Status};
use uuid::Uuid;

use super::map::Columns;
use super::read::Row;

/// What a batch of rows became.
#[derive(Default)]
pub struct Standardised {
    /// Rows to load.
    pub drafts: Vec<Draft>,
    /// Rows to report.
    pub rejects: Vec<Reject>,
    /// Cells that could not be read.
    pub warnings: i32,
}

/// What one batch hands on to the next: how many rows were read, and the cells to fill down.
#[derive(Default)]
pub struct Carried {
    read: i32,
    cells: HashMap<usize, String>,
    /// The different rows under one order number, as hashes.
    lines: HashMap<String, Vec<[u8; 32]>>,
}

impl Carried {
    /// What distinguishes a row among those of one order: an order with several items is written on several rows, and each is
    /// a record. The same row again is the same record.
    fn line_of(&mut self, number: &str, raw: &Raw) -> String {
        use sha2::Digest;
        let hash: [u8; 32] = sha2::Sha256::digest(raw.expose().as_bytes()).into();
        let lines = self.lines.entry(number.to_owned()).or_default();
        let place = lines.iter().position(|line| *line == hash).unwrap_or_else(|| {
            lines.push(hash);
            lines.len() - 1
        });
        if place == 0 { number.to_owned() } else { format!("{number}/{}", place + 1) }
    }
}

/// Standardises a batch.
pub fn rows(batch: &[Row], header: &[String], columns: &Columns, tells: Tells, people: &HashMap<String, Uuid>, carried: &mut Carried) -> Standardised {
    let mut out = Standardised::default();
    for row in batch {
        carried.read += 1;
        let mut cells = row.cells.clone();
        let place = Place { row_number: carried.read, line: i32::try_from(row.line).unwrap_or(i32::MAX) };
        if let Some(detail) = not_a_record(&cells, header) {
            out.rejects.push(place.reject("not_a_record", detail, &cells));
            continue;
        }
        for &at in &columns.fill_down {
            match cells.get(at).map(|cell| fold(cell)).filter(|cell| !cell.is_empty()) {
                Some(cell) => {
                    carried.cells.insert(at, cell);
                }
                None => {
                    if let (Some(slot), Some(above)) = (cells.get_mut(at), carried.cells.get(&at)) {
                        slot.clone_from(above);
                    }
                }
            }
        }
        match one(&place, &cells, columns, tells, people) {
            Ok((mut draft, warnings)) => {
                out.warnings += warnings;
                if let (Tells::Order, Some(number), Some(raw)) = (tells, &draft.number, &draft.raw) {
                    draft.external_id = Some(carried.line_of(number, raw));
                }
                out.drafts.push(draft);
            }
            Err(reject) => out.rejects.push(*reject),
        }
    }
    out
}

struct Place {
    row_number: i32,
    line: i32,
}

impl Place {
    fn reject(&self, reason: &'static str, detail: impl Into<String>, cells: &[String]) -> Reject {
        Reject { row_number: self.row_number, line: self.line, reason, detail: detail.into(), raw: raw(cells) }
    }
}

fn raw(cells: &[String]) -> Raw {
    let json = serde_json::to_string(cells).unwrap_or_default();
    // A JSON array is never an empty text, which is all that Raw refuses.
    Raw::parse(&json).unwrap_or_else(|_| unreachable!("a JSON array is not empty"))
}

/// Blank rows, totals, repeated headers and footers.
fn not_a_record(cells: &[String], header: &[String]) -> Option<&'static str> {
    let filled: Vec<String> = cells.iter().map(|cell| fold(cell)).filter(|cell| !cell.is_empty()).collect();
    if filled.is_empty() {
        return Some("a blank row");
    }
    let first = cells.first().map(|cell| fold(cell)).unwrap_or_default();
    let same = cells.iter().zip(header).filter(|(cell, head)| !cell.trim().is_empty() && header_key(cell) == header_key(head)).count();
    if same >= 2 && same * 2 > filled.len() {
        return Some("a repeated header");
    }
    let starts = |words: &[&str]| words.iter().any(|word| first.starts_with(word));
    if starts(&["合计", "总计", "小计", "共计", "Total", "TOTAL"]) {
        return Some("a line of totals");
    }
    if filled.len() <= 2 && starts(&["制表", "填表", "审核", "打印", "备注:", "说明", "注:", "---"]) {
        return Some("a footer");
    }
    None
}

fn one(place: &Place, cells: &[String], columns: &Columns, tells: Tells, people: &HashMap<String, Uuid>) -> Result<(Draft, i32), Box<Reject>> {
    let cell = |target: Target| columns.at.get(&target).and_then(|at| cells.get(*at)).map_or("", String::as_str);
    let text = |target: Target| Some(fold(cell(target))).filter(|text| !text.is_empty());
    let filled = columns.at.values().filter(|at| cells.get(**at).is_some_and(|cell| !fold(cell).is_empty())).count();
    if filled * 2 < columns.at.len() {
        return Err(Box::new(place.reject(
            "mostly_empty",
            format!("{filled} of {} mapped fields are filled; complete the row at its source", columns.at.len()),
            cells,
        )));
    }
    let mut warnings = 0;
    // A cell that is filled and cannot be read leaves its field empty, and is counted.
    let mut warn = |unread: bool| warnings += i32::from(unread);
    let mut draft = Draft {
        row_number: place.row_number,
        line: place.line,
        raw: Some(raw(cells)),
        external_id: text(Target::ExternalId),
        number: text(Target::ExternalId),
        ..Draft::default()
    };
    match phone::cell(cell(Target::Phone)) {
        phone::Cell::Mobile(phone) => draft.phone = Some(phone),
        phone::Cell::Landline(landline) => draft.landline = Some(landline),
        phone::Cell::Masked => draft.flags.push("masked_phone"),
        phone::Cell::Privacy => draft.flags.push("privacy_number"),
        phone::Cell::Placeholder => draft.flags.push("placeholder_phone"),
        phone::Cell::Empty => {}
        phone::Cell::Invalid(why) => return Err(Box::new(place.reject("invalid_phone", format!("the telephone number is {why}"), cells))),
    }
    draft.name = Name::parse(cell(Target::Name)).ok();
    if draft.name.is_none() {
        draft.family_name = clean::name::family(cell(Target::Name)).and_then(|family| FamilyName::parse(&family).ok());
    }
    draft.email = Email::parse(cell(Target::Email)).ok();
    warn(draft.email.is_none() && text(Target::Email).is_some());
    draft.address = Address::parse(cell(Target::Address)).ok();
    draft.company = clean::company::name(cell(Target::Company));
    draft.industry = clean::industry::code(cell(Target::Industry));
    warn(draft.industry.is_none() && text(Target::Industry).is_some());
    draft.channel = text(Target::Channel).and_then(|word| Channel::of_word(&word)).map(Channel::code);
    warn(draft.channel.is_none() && text(Target::Channel).is_some());
    draft.status = text(Target::Status).and_then(|word| Status::of_word(&word)).map(Status::code);
    warn(draft.status.is_none() && text(Target::Status).is_some());
    draft.owner = text(Target::Owner).and_then(|name| people.get(&name).copied());
    warn(draft.owner.is_none() && text(Target::Owner).is_some());
    draft.first_follow_up = clean::date::date(cell(Target::FirstFollowUp));
    warn(draft.first_follow_up.is_none() && text(Target::FirstFollowUp).is_some());
    draft.occurred_at = clean::date::instant(cell(Target::OccurredAt));
    warn(draft.occurred_at.is_none() && text(Target::OccurredAt).is_some());
    draft.source_updated_at = clean::date::instant(cell(Target::UpdatedAt));
    draft.amount_fen = clean::amount::fen(cell(Target::Amount));
    warn(draft.amount_fen.is_none() && text(Target::Amount).is_some());
    draft.remarks = Remarks::parse(cell(Target::Remarks)).ok();
    if draft.channel == Some(Channel::Exhibition.code())
        && let (Some(follow_up), Some(exhibition)) = (draft.first_follow_up, clean::date::date(cell(Target::ExhibitionDate)))
        && follow_up <= exhibition
    {
        draft.flags.push("exhibition_after_followup");
    }
    for (target, category) in [(Target::Level, "会员等级"), (Target::Place, "门店")] {
        draft.tags.extend(text(target).map(|name| (category, name)));
    }
    draft.detail = match tells {
        Tells::Membership => Detail::Nothing,
        Tells::Order => Detail::Order {
            items: text(Target::Items).map(|items| text(Target::Quantity).map_or_else(|| items.clone(), |n| format!("{items} ×{n}"))),
            state: text(Target::State),
        },
        Tells::Ticket => Detail::Ticket {
            topic: text(Target::Topic),
            body: Body::parse(cell(Target::Body)).ok(),
            state: text(Target::State),
            satisfaction: text(Target::Satisfaction).and_then(|n| n.parse().ok()).filter(|n| (1..=5).contains(n)),
        },
        Tells::FollowUp => match clean::date::instant(cell(Target::FirstFollowUp)) {
            Some(at) => Detail::FollowUp { at, by: draft.owner, summary: Summary::parse(cell(Target::Remarks)).ok() },
            None => Detail::Nothing,
        },
    };
    Ok((draft, warnings))
}
