//! Rows to drafts: every cell through its cleaning rule, every row judged.

use std::collections::{BTreeMap, HashMap};

use entity::import::{Reject, Tally};
use entity::record::{Detail, Draft};
use policy::clean::{self, Cleaned, Reference, Rules, phone, text::fold};
use policy::field::kinds::{Body, Email, Phone, Raw, Remarks, Summary};
use policy::mapping::{Target, Tells, header_key};
use policy::{Channel, CustomerType, Pii, Status};
use sha2::Digest;
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
    /// What was counted.
    pub tally: Tally,
}

/// How the rows of a file are read.
pub struct Standard {
    /// The file's header.
    pub header: Vec<String>,
    /// Where its columns stand.
    pub columns: Columns,
    /// What a row tells of.
    pub tells: Tells,
    /// Whether its ids may only count the rows.
    pub counts: bool,
    /// The tenant's people by name.
    pub people: HashMap<String, Uuid>,
    /// What cleaning knows of the world.
    pub reference: Reference,
}

/// What one batch hands on to the next: how many rows were read, and the cells to fill down.
#[derive(Default)]
pub struct Carried {
    read: i32,
    cells: HashMap<usize, String>,
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
    kept(&serde_json::to_string(cells).unwrap_or_default())
}

fn kept(json: &str) -> Raw {
    // JSON is never an empty text, which is all that Raw refuses.
    Raw::parse(json).unwrap_or_else(|_| unreachable!("JSON is not empty"))
}

/// The tags of a cell.
fn words(cell: &str) -> impl Iterator<Item = &str> {
    cell.split([';', '、', ',', '|']).map(str::trim).filter(|word| !word.is_empty())
}

/// 1 to 5, also as a sheet writes it and with its unit: 5.0, 5分.
fn satisfaction(cell: &str) -> Option<i16> {
    let folded = fold(cell);
    let number = folded.trim_end_matches(['分', '星', ' ']);
    number.strip_suffix(".0").unwrap_or(number).parse().ok().filter(|n| (1..=5).contains(n))
}

/// The most bytes of an id or a tag: an index entry of PostgreSQL holds 2.7 kB at most.
const LONGEST: usize = 500;

/// Among how many of its first cells a line of totals says that it is one.
const TOTAL_CELLS: usize = 3;

/// Whether a cell says that its row sums up others: 合 计, 本页小计:, Grand Total.
fn is_total(cell: &str) -> bool {
    let plain: String = cell.chars().filter(|c| !c.is_whitespace() && !matches!(c, ':' | '：')).flat_map(char::to_lowercase).collect();
    let bare = ["本页", "本月", "本年", "累计", "以上", "全部", "grand", "sub"].iter().find_map(|head| plain.strip_prefix(head)).unwrap_or(&plain);
    let ends = |rest: &str| {
        let rest = rest.split('(').next().unwrap_or(rest).trim_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | ',' | '¥'));
        ["", "人", "人数", "数", "数量", "金额", "笔", "笔数", "元", "行", "条", "户"].contains(&rest)
    };
    ["合计", "总计", "小计", "共计", "total", "sum"].iter().any(|word| bare.strip_prefix(word).is_some_and(ends))
}

impl Standard {
    /// Standardises a batch.
    pub fn rows(&self, batch: Vec<Row>, carried: &mut Carried) -> Standardised {
        let mut out = Standardised { drafts: Vec::with_capacity(batch.len()), ..Standardised::default() };
        for row in batch {
            carried.read += 1;
            let mut cells = row.cells;
            for &at in &self.columns.report {
                if let Some(cell) = cells.get_mut(at) {
                    cell.clear();
                }
            }
            while cells.last().is_some_and(String::is_empty) {
                cells.pop();
            }
            let place = Place { row_number: carried.read, line: i32::try_from(row.line).unwrap_or(i32::MAX) };
            let judged = if let Some(detail) = self.not_a_record(&cells) {
                Err(Box::new(place.reject("not_a_record", detail, &cells)))
            } else {
                self.fill_down(&mut cells, carried);
                self.one(&place, &cells, &mut out.tally)
            };
            match judged {
                Ok(draft) => out.drafts.push(draft),
                Err(reject) => {
                    *out.tally.reasons.entry(reject.reason.to_owned()).or_default() += 1;
                    out.rejects.push(*reject);
                }
            }
        }
        out
    }

    fn fill_down(&self, cells: &mut Vec<String>, carried: &mut Carried) {
        for &at in &self.columns.fill_down {
            match cells.get(at).map(|cell| fold(cell)).filter(|cell| !cell.is_empty()) {
                Some(cell) => {
                    carried.cells.insert(at, cell.into_owned());
                }
                None => {
                    if let Some(above) = carried.cells.get(&at) {
                        if cells.len() <= at {
                            cells.resize(at + 1, String::new());
                        }
                        cells[at].clone_from(above);
                    }
                }
            }
        }
    }

    /// Blank rows, totals, repeated headers and footers.
    fn not_a_record(&self, cells: &[String]) -> Option<&'static str> {
        let filled = cells.iter().filter(|cell| !fold(cell).is_empty()).count();
        if filled == 0 {
            return Some("a blank row");
        }
        let first = cells.first().map(|cell| fold(cell)).unwrap_or_default();
        let alike = |(cell, head): &(&String, &String)| !cell.is_empty() && cell.chars().next() == head.chars().next();
        let same = cells.iter().zip(&self.header).filter(alike).filter(|(cell, head)| header_key(cell) == header_key(head)).count();
        if same >= 2 && same * 2 > filled {
            return Some("a repeated header");
        }
        let starts = |words: &[&str]| words.iter().any(|word| first.starts_with(word));
        // Whoever has a number to call is no total, whatever they are called.
        let called = [Target::Phone, Target::Landline, Target::Email].into_iter().any(|target| {
            let cell = fold(self.columns.cell(cells, target));
            cell.contains('@') || cell.bytes().filter(u8::is_ascii_digit).count() >= 7
        });
        if !called && cells.iter().take(TOTAL_CELLS).any(|cell| is_total(&fold(cell))) {
            return Some("a line of totals");
        }
        if filled <= 2 && starts(&["制表", "填表", "审核", "打印", "备注:", "说明", "注:", "---"]) {
            return Some("a footer");
        }
        None
    }

    fn one(&self, place: &Place, cells: &[String], tally: &mut Tally) -> Result<Draft, Box<Reject>> {
        let columns = &self.columns;
        let is_filled = |at: &usize| cells.get(*at).is_some_and(|cell| !fold(cell).is_empty());
        let filled = columns.mapped.iter().filter(|at| is_filled(at)).count();
        if filled * 2 < columns.mapped.len() {
            let detail = format!("{filled} of {} mapped fields are filled; complete the row at its source", columns.mapped.len());
            return Err(Box::new(place.reject("mostly_empty", detail, cells)));
        }
        if let Some(header) = self.too_long(cells) {
            let detail = format!("the column '{header}' holds an id or a tag of more than {LONGEST} bytes; shorten it at its source");
            return Err(Box::new(place.reject("too_long", detail, cells)));
        }
        let cell = |target: Target| columns.cell(cells, target);
        let text = |target: Target| Some(fold(cell(target)).into_owned()).filter(|text| !text.is_empty());
        let mut seen = Seen { tally, filled: Vec::new(), unread: Vec::new(), rules: Vec::new() };
        let external_id = self.external_id(cells);
        let mut draft = Draft {
            row_number: place.row_number,
            line: place.line,
            raw: Some(raw(cells)),
            content: external_id.is_none().then(|| self.content(cells)),
            number: text(Target::ExternalId),
            external_id,
            ..Draft::default()
        };
        let telephone = phone::cell(cell(Target::Phone), &self.reference);
        seen.applied(Target::Phone, telephone.rules);
        match telephone.value {
            phone::Cell::Mobile(phone) => draft.phone = Some(phone),
            phone::Cell::Landline(landline) => draft.landline = Some(landline),
            phone::Cell::Masked => draft.flags.push("masked_phone"),
            phone::Cell::Privacy => draft.flags.push("privacy_number"),
            phone::Cell::Service => draft.flags.push("service_number"),
            phone::Cell::Placeholder => draft.flags.push("placeholder_phone"),
            phone::Cell::Empty => {}
            phone::Cell::Invalid(why) => return Err(Box::new(place.reject("invalid_phone", format!("the telephone number: {why}"), cells))),
        }
        if !draft.flags.is_empty() {
            seen.unread.push(Target::Phone);
        }
        for (target, places) in columns.targets() {
            if places.iter().any(is_filled) {
                seen.filled.push(target);
            }
        }
        let landline = match phone::cell(cell(Target::Landline), &self.reference).value {
            phone::Cell::Landline(landline) => Some(landline),
            _ => None,
        };
        seen.warn(Target::Landline, landline.is_none());
        draft.landline = draft.landline.or(landline);
        self.name(cells, &mut draft, &mut seen);
        draft.email = seen.read(Target::Email, clean::email::clean(cell(Target::Email)));
        // A register's id that is a number to call is the person's; that of an order may only look like one.
        let called = draft.number.as_deref().unwrap_or_default();
        let theirs = || {
            draft.phone.as_ref().is_some_and(|phone| Phone::parse(called).is_ok_and(|called| called == *phone))
                || draft.email.as_ref().is_some_and(|email| Email::parse(called).is_ok_and(|called| called == *email))
        };
        draft.personal_id = match self.tells {
            Tells::Order | Tells::Ticket => theirs() || Email::parse(called).is_ok(),
            _ => clean::is_personal(called),
        };
        draft.counted_id = self.counts && called.len() <= 7 && called.bytes().all(|b| b.is_ascii_digit());
        draft.number = draft.number.filter(|_| !draft.personal_id);
        draft.address = self.address(cells, &mut seen);
        draft.company = seen.quiet(Target::Company, clean::company::name(cell(Target::Company), &self.reference));
        draft.customer_type = seen.read(Target::CustomerType, clean::word::customer_type(cell(Target::CustomerType))).map(CustomerType::code);
        draft.industry = seen.read(Target::Industry, clean::industry::code(cell(Target::Industry), &self.reference)).map(str::to_owned);
        draft.channel = seen.read(Target::Channel, clean::word::channel(cell(Target::Channel), &self.reference)).map(Channel::code);
        draft.status = seen.read(Target::Status, clean::word::status(cell(Target::Status), &self.reference)).map(Status::code);
        draft.owner = seen.known(Target::Owner, text(Target::Owner).and_then(|name| self.people.get(&name).copied()));
        draft.first_follow_up = seen.read(Target::FirstFollowUp, clean::date::date(cell(Target::FirstFollowUp)));
        draft.occurred_at = seen.read(Target::OccurredAt, clean::date::instant(cell(Target::OccurredAt)));
        draft.source_updated_at = seen.read(Target::UpdatedAt, clean::date::instant(cell(Target::UpdatedAt)));
        draft.amount_fen = seen.read(Target::Amount, clean::amount::fen(cell(Target::Amount)));
        draft.remarks = Remarks::parse(cell(Target::Remarks)).ok();
        let exhibition = clean::date::date(cell(Target::ExhibitionDate)).value;
        seen.warn(Target::ExhibitionDate, exhibition.is_none());
        if draft.channel == Some(Channel::Exhibition.code())
            && let (Some(follow_up), Some(exhibition)) = (draft.first_follow_up, exhibition)
            && follow_up <= exhibition
        {
            draft.flags.push("exhibition_after_followup");
        }
        for (target, category) in [(Target::Level, "会员等级"), (Target::Place, "门店")] {
            draft.tags.extend(text(target).map(|name| (category, name)));
        }
        draft.tags.extend(words(&text(Target::Tags).unwrap_or_default()).map(|word| ("标签", word.to_owned())));
        if self.tells == Tells::Ticket {
            seen.warn(Target::Satisfaction, satisfaction(cell(Target::Satisfaction)).is_none());
        }
        draft.detail = self.detail(cells, &draft);
        draft.traits = columns
            .traits
            .iter()
            .filter_map(|(at, name)| Some((name.clone(), fold(cells.get(*at)?).into_owned())).filter(|(_, value)| !value.is_empty()))
            .collect();
        let joined = |target: &Target| columns.cells(cells, *target).map(fold).collect::<Vec<_>>().join(" ");
        draft.unread = seen.unread.iter().map(|target| (target.word(), joined(target))).collect();
        draft.rules = seen.finish();
        Ok(draft)
    }

    /// What the source calls the row. An order with several items is written on several rows under one number: each is a
    /// record, told apart by its item.
    fn external_id(&self, cells: &[String]) -> Option<String> {
        let folded = |target| fold(self.columns.cell(cells, target));
        let id = folded(Target::ExternalId);
        let items = folded(Target::Items);
        if self.reference.is_nothing(&id) {
            return None;
        }
        if self.tells != Tells::Order || items.is_empty() {
            return Some(id.into_owned());
        }
        let hash: [u8; 32] = sha2::Sha256::digest(items.as_bytes()).into();
        Some(format!("{id}/{:02x}{:02x}{:02x}{:02x}", hash[0], hash[1], hash[2], hash[3]))
    }

    /// What the mapped cells say, by their meaning: the same wherever the columns stand and whatever else there is. Dates and
    /// amounts as they are read, for a sheet writes them in its own way.
    fn content(&self, cells: &[String]) -> Raw {
        let said = |target: Target, cell: &str| match target {
            Target::FirstFollowUp | Target::OccurredAt | Target::UpdatedAt | Target::ExhibitionDate => {
                clean::date::instant(cell).value.map(|instant| instant.to_rfc3339())
            }
            Target::Amount => clean::amount::fen(cell).value.map(|fen| fen.to_string()),
            _ => None,
        };
        let plain = |cell: &str| fold(cell).split_whitespace().collect::<String>();
        let mut content: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (target, places) in self.columns.targets() {
            let mine = places.iter().filter_map(|at| cells.get(*at)).filter(|cell| !fold(cell).is_empty());
            content.entry(target.word()).or_default().extend(mine.map(|cell| said(target, cell).unwrap_or_else(|| plain(cell))));
        }
        for (at, attribute) in &self.columns.traits {
            content.entry(attribute).or_default().extend(cells.get(*at).map(|cell| plain(cell)));
        }
        content.retain(|_, said| said.iter().any(|cell| !cell.is_empty()));
        kept(&serde_json::to_string(&content).unwrap_or_default())
    }

    /// The header of a column whose cell is too long for an index.
    fn too_long(&self, cells: &[String]) -> Option<&str> {
        let named = self.columns.targets().filter(|(target, _)| matches!(target, Target::ExternalId | Target::Level | Target::Place | Target::Tags));
        let long = |cell: &String, target: Target| {
            let folded = fold(cell);
            if target == Target::Tags { words(&folded).any(|word| word.len() > LONGEST) } else { folded.len() > LONGEST }
        };
        let mut places = named.flat_map(|(target, places)| places.iter().map(move |at| (target, *at)));
        let (_, at) = places.find(|(target, at)| cells.get(*at).is_some_and(|cell| long(cell, *target)))?;
        self.header.get(at).map(String::as_str)
    }

    fn name(&self, cells: &[String], draft: &mut Draft, seen: &mut Seen<'_>) {
        let (surname, given) = (fold(self.columns.cell(cells, Target::Surname)), fold(self.columns.cell(cells, Target::GivenName)));
        let joined = match (surname.is_empty(), given.is_empty()) {
            (true, true) => None,
            _ if given.is_ascii() && surname.is_ascii() => Some(format!("{given} {surname}").trim().to_owned()),
            _ => Some(format!("{surname}{given}")),
        };
        let raw = joined.as_deref().unwrap_or_else(|| self.columns.cell(cells, Target::Name));
        draft.name = seen.quiet(Target::Name, clean::name::clean(raw));
        if draft.name.is_none() {
            draft.family_name = seen.quiet(Target::Name, clean::name::family(raw));
        }
    }

    fn address(&self, cells: &[String], seen: &mut Seen<'_>) -> Option<policy::field::kinds::Address> {
        let parts: Vec<&str> = self.columns.cells(cells, Target::AddressPart).filter(|part| !part.trim().is_empty()).collect();
        let joined = parts.join(if parts.iter().all(|part| part.is_ascii()) { " " } else { "" });
        let raw = if joined.is_empty() { self.columns.cell(cells, Target::Address) } else { &joined };
        seen.quiet(Target::Address, clean::address::clean(raw, &self.reference))
    }

    fn detail(&self, cells: &[String], draft: &Draft) -> Detail {
        let cell = |target: Target| self.columns.cell(cells, target);
        let text = |target: Target| Some(fold(cell(target)).into_owned()).filter(|text| !text.is_empty());
        match self.tells {
            Tells::Membership => Detail::Nothing,
            Tells::Order => Detail::Order {
                items: text(Target::Items).map(|items| text(Target::Quantity).map_or_else(|| items.clone(), |n| format!("{items} ×{n}"))),
                state: text(Target::State),
            },
            Tells::Ticket => Detail::Ticket {
                topic: text(Target::Topic),
                body: Body::parse(cell(Target::Body)).ok(),
                state: text(Target::State),
                satisfaction: satisfaction(cell(Target::Satisfaction)),
            },
            Tells::FollowUp => match clean::date::instant(cell(Target::FirstFollowUp)).value {
                Some(at) => Detail::FollowUp { at, by: draft.owner, summary: Summary::parse(cell(Target::Remarks)).ok() },
                None => Detail::Nothing,
            },
        }
    }
}

/// What is counted of a row while its cells are read.
struct Seen<'t> {
    tally: &'t mut Tally,
    filled: Vec<Target>,
    unread: Vec<Target>,
    rules: Vec<(&'static str, Vec<&'static str>)>,
}

impl Seen<'_> {
    /// A cell that is filled and cannot be read leaves its field empty, and is counted.
    fn read<T>(&mut self, target: Target, cleaned: Cleaned<Option<T>>) -> Option<T> {
        self.applied(target, cleaned.rules);
        self.known(target, cleaned.value)
    }

    fn known<T>(&mut self, target: Target, value: Option<T>) -> Option<T> {
        if self.warn(target, value.is_none()) {
            self.unread.push(target);
        }
        value
    }

    /// Counts a filled cell that cannot be read. Returns whether it is one.
    fn warn(&mut self, target: Target, unread: bool) -> bool {
        let warned = unread && self.filled.contains(&target);
        if warned {
            *self.tally.warnings.entry(target.word().to_owned()).or_default() += 1;
        }
        warned
    }

    /// A cell that holds nothing of the kind is no cause for a warning.
    fn quiet<T>(&mut self, target: Target, cleaned: Cleaned<Option<T>>) -> Option<T> {
        self.applied(target, cleaned.rules);
        cleaned.value
    }

    fn applied(&mut self, target: Target, rules: Rules) {
        if !rules.is_empty() {
            self.rules.push((target.word(), rules.keys().collect()));
        }
    }

    /// Counts the row, which is kept.
    fn finish(self) -> Vec<(&'static str, Vec<&'static str>)> {
        for target in &self.filled {
            *self.tally.filled.entry(target.word().to_owned()).or_default() += 1;
        }
        for rule in self.rules.iter().flat_map(|(_, rules)| rules) {
            *self.tally.rules.entry((*rule).to_owned()).or_default() += 1;
        }
        self.rules
    }
}
