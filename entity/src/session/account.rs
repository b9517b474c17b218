//! The account of one request: what was seen of whom, and the event that tells of it.

use std::collections::{BTreeMap, HashMap};

use policy::{Field, Sight};
use serde::{Serialize, Serializer};
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Operation, Session};
use crate::audit::cells;
use crate::ledger::Entry;
use crate::vault::hex;
use crate::{Error, guard::Whose};

/// What one request has seen, by customer and field.
pub(super) struct Account {
    /// Of each field how many values were clear, masked and withheld.
    fields: [[i32; 3]; Field::ALL.len()],
    persons: HashMap<Uuid, Seen>,
    facts: BTreeMap<&'static str, Value>,
    outcome: Option<&'static str>,
    /// Values that a change tried, each as its masked and its exact mark: they count even if nothing of the change is kept.
    pub tried: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether something is told that is told once.
    pub confided: bool,
}

impl Default for Account {
    fn default() -> Self {
        let fields = [[0; 3]; Field::ALL.len()];
        Self { fields, persons: HashMap::new(), facts: BTreeMap::new(), outcome: None, tried: Vec::new(), confided: false }
    }
}

/// The most that was seen of each personal field of one person: two bits a field, nothing where it was not asked for.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Seen(u64);

const _: () = assert!(Field::PERSONAL <= 32, "a person's fields have room for 32");

impl Seen {
    const SIGHTS: [Sight; 3] = [Sight::Withheld, Sight::Masked, Sight::Clear];

    fn note(&mut self, field: Field, sight: Sight) {
        let at = 2 * field as u32;
        let level = 1 + Self::SIGHTS.iter().position(|one| *one == sight).unwrap_or(2) as u64;
        if (self.0 >> at) & 3 < level {
            self.0 = (self.0 & !(3 << at)) | (level << at);
        }
    }

    fn fields(self) -> impl Iterator<Item = (Field, Sight)> {
        Field::ALL[..Field::PERSONAL].iter().filter_map(move |field| {
            let level = (self.0 >> (2 * *field as u32)) & 3;
            Some((*field, Self::SIGHTS[usize::try_from(level.checked_sub(1)?).ok()?]))
        })
    }
}

impl Account {
    /// Notes that a field of a customer was decided.
    pub fn record(&mut self, whose: &Whose, field: Field, sight: Sight) {
        let slot = match sight {
            Sight::Clear => 0,
            Sight::Masked => 1,
            Sight::Withheld => 2,
        };
        self.fields[field as usize][slot] += 1;
        let person = self.persons.entry(whose.customer).or_default();
        if field.personal() {
            person.note(field, sight);
        }
    }

    /// Names a customer, whatever is read of it.
    pub fn met(&mut self, customer: Uuid) {
        self.persons.entry(customer).or_default();
    }

    /// Notes a fact.
    pub fn note(&mut self, key: &'static str, value: Value) {
        self.facts.insert(key, value);
    }

    /// Notes that it was searched by an exact value of a field: whoever finds somebody so knows the value, though it is not shown.
    pub fn search(&mut self, field: Field) {
        let key = Value::from(field.entry().key);
        if let Value::Array(fields) = self.facts.entry("searched").or_insert_with(|| Value::Array(Vec::new()))
            && !fields.contains(&key)
        {
            fields.push(key);
        }
    }

    /// Notes that the work did not succeed.
    pub fn fail(&mut self) {
        self.outcome.get_or_insert("failed");
    }

    /// Notes that something was refused.
    pub fn deny(&mut self, what: &str) {
        self.outcome = Some("denied");
        self.note("denied", what.into());
    }

    /// Whether nothing of a person was seen, and nothing is told that is told once.
    pub fn repeatable(&self) -> bool {
        let seen = self.persons.values().any(|seen| seen.fields().any(|(_, sight)| sight > Sight::Withheld));
        !seen && !self.confided
    }

    /// Per field how many values were clear, masked and withheld so far.
    pub fn disclosure(&self) -> BTreeMap<&'static str, [i32; 3]> {
        let counted = Field::ALL.iter().map(|field| (field.entry().key, self.fields[*field as usize]));
        counted.filter(|(_, counts)| *counts != [0; 3]).collect()
    }

    /// How many values of personal fields were clear, masked and withheld.
    fn counts(&self) -> [i32; 3] {
        let personal = Field::ALL[..Field::PERSONAL].iter().map(|field| self.fields[*field as usize]);
        personal.fold([0; 3], |sum, counts| [sum[0] + counts[0], sum[1] + counts[1], sum[2] + counts[2]])
    }
}

/// The body of an event. Its members, here and below, stand in the order of their names: so it is written canonically (RFC 8785).
#[derive(Serialize)]
struct Body<'b> {
    actor: Actor<'b>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cells: Option<Cells>,
    facts: &'b BTreeMap<&'static str, Value>,
    fields: BTreeMap<&'static str, Counts>,
    id: Uuid,
    operation: Told<'b>,
    outcome: &'static str,
    policy: Policy<'b>,
    purpose: Option<&'b str>,
    sights: Vec<Group>,
    time: String,
    v: u8,
}

#[derive(Serialize)]
struct Actor<'b> {
    address: &'b str,
    name: &'b str,
    roles: &'b [String],
    subject: &'b str,
    token: &'b str,
}

#[derive(Serialize)]
struct Cells {
    rows: usize,
    sha256: Hex<[u8; 32]>,
}

#[derive(Serialize)]
struct Counts {
    clear: i32,
    masked: i32,
    withheld: i32,
}

#[derive(Serialize)]
struct Told<'b> {
    document: Option<Hex<[u8; 32]>>,
    kind: &'static str,
    name: &'b str,
    request: &'b str,
    variables: Option<Hex<[u8; 16]>>,
}

#[derive(Serialize)]
struct Policy<'b> {
    hash: Hex<&'b [u8]>,
    version: i32,
}

/// Persons of whom the same was seen: a page of a thousand is a few lines.
#[derive(Serialize)]
struct Group {
    fields: BTreeMap<&'static str, &'static str>,
    subjects: Vec<Hex<[u8; 16]>>,
}

/// Bytes, written in hexadecimal.
struct Hex<B>(B);

impl<B: AsRef<[u8]>> Serialize for Hex<B> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(self.0.as_ref()))
    }
}

impl Session {
    /// The event of this session. `cells` is the list of what it left in sealed cells.
    pub(super) fn entry(&self, operation: &Operation, outcome: &'static str, cells: Option<&[u8]>) -> Result<Entry, Error> {
        let account = self.account();
        let principal = &*self.principal;
        let mut groups: HashMap<Seen, Vec<[u8; 16]>> = HashMap::new();
        for (customer, seen) in &account.persons {
            groups.entry(*seen).or_default().push(self.keyring.alias(*customer)?);
        }
        let mut subjects: Vec<[u8; 16]> = groups.values().flatten().copied().collect();
        subjects.sort_unstable();
        let group = |(seen, mut aliases): (Seen, Vec<[u8; 16]>)| {
            aliases.sort_unstable();
            Group { fields: seen.fields().map(|(field, sight)| (field.entry().key, sight.word())).collect(), subjects: aliases.into_iter().map(Hex).collect() }
        };
        let mut sights: Vec<Group> = groups.into_iter().map(group).collect();
        sights.sort_by(|a, b| a.fields.cmp(&b.fields));
        let variables = (!operation.variables.is_empty()).then(|| self.keyring.digest("variables", &operation.variables)).transpose()?;
        let id = Uuid::now_v7();
        let outcome = account.outcome.unwrap_or(outcome);
        let body = Body {
            actor: Actor { address: &principal.address, name: &principal.name, roles: &principal.roles, subject: &principal.subject, token: &principal.token },
            cells: cells.map(|list| Cells { rows: cells::rows(list), sha256: Hex(Sha256::digest(list).into()) }),
            facts: &account.facts,
            fields: account.disclosure().into_iter().map(|(key, [clear, masked, withheld])| (key, Counts { clear, masked, withheld })).collect(),
            id,
            operation: Told {
                document: operation.document.map(Hex),
                kind: operation.kind,
                name: &operation.name,
                request: &operation.request,
                variables: variables.map(Hex),
            },
            outcome,
            policy: Policy { hash: Hex(&self.policy.hash), version: self.policy.version },
            purpose: principal.purpose.as_deref(),
            sights,
            time: self.now.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string(),
            v: 1,
        };
        Ok(Entry {
            tenant: principal.tenant,
            id,
            at: self.now,
            actor: principal.subject.clone(),
            roles: crate::audit::spaced(&principal.roles),
            address: principal.address.clone(),
            request: operation.request.clone(),
            operation: operation.name.clone(),
            outcome,
            purpose: principal.purpose.clone(),
            counts: account.counts(),
            subjects,
            body: serde_json::to_vec(&body).map_err(|_| Error::Invalid("the event cannot be written".to_owned()))?,
        })
    }
}
