//! The policy as data: Casbin rules and role inheritance, and the default policy that a new tenant starts with.

use std::collections::BTreeSet;
use std::fmt;

use crate::field::Field;
use crate::matrix::{Act, Reach, Verb};

/// The Casbin model. A rule for `department` covers the caller's own rows too, one for `all` covers every row.
pub const MODEL: &str = r#"
[request_definition]
r = sub, dom, obj, act, scope, purpose
[policy_definition]
p = sub, dom, obj, act, scope, purpose, eft
[role_definition]
g = _, _, _
[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))
[matchers]
m = r.obj == p.obj && r.act == p.act && r.dom == p.dom && (p.purpose == "*" || r.purpose == p.purpose) && (p.scope == "all" || r.scope == p.scope || (p.scope == "department" && r.scope == "own")) && g(r.sub, p.sub, r.dom)
"#;

/// One line of the policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// A role may, or may not, do an act on an object.
    Permit {
        /// The role.
        role: String,
        /// A field's key, or the object of a [`Verb`].
        object: String,
        /// The act's word.
        act: String,
        /// `own`, `department` or `all`.
        scope: String,
        /// A purpose code, or `*` for any and none.
        purpose: String,
        /// False for a deny rule, which beats every permission.
        allow: bool,
    },
    /// The first role has everything that the second has.
    Inherit {
        /// The heir.
        role: String,
        /// Whose permissions it has too.
        from: String,
    },
}

/// What is wrong with a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("policy line {line}: {problem}")]
pub struct Malformed {
    /// Counted from 1.
    pub line: usize,
    /// What, and what was expected.
    pub problem: String,
}

/// A whole policy, checked: every object, act, scope and effect is known, and role chains are short enough for Casbin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    rules: Vec<Rule>,
}

/// The longest line of a policy, in bytes.
const LINE: usize = 4_000;

impl Policy {
    /// The most rules of a policy once its braces are expanded: Casbin is asked about each.
    pub const RULES: usize = 20_000;

    /// The default policy of a new tenant.
    ///
    /// # Errors
    /// None in a build that passed its tests.
    pub fn standard() -> Result<Self, Malformed> {
        Self::read(include_str!("../default_policy.csv"))
    }

    /// Reads `p` and `g` lines. Objects, acts and scopes may list alternatives: `Customer.{name,phone}`, `{read.masked,search}`.
    ///
    /// # Errors
    /// The first line that Casbin would misread, ignore or choke on.
    pub fn read(text: &str) -> Result<Self, Malformed> {
        let mut rules = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line_of = |problem: String| Malformed { line: index + 1, problem };
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            if line.len() > LINE {
                return Err(line_of(format!("a line has at most {LINE} bytes; write it as several")));
            }
            let many = || line_of(format!("a policy has at most {} rules once its braces are expanded", Self::RULES));
            let room = Self::RULES - rules.len();
            let cells = split_outside_braces(line);
            let first = rules.len();
            match cells.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                ["p", who, objects, acts, scope, purpose, effect] => {
                    let allow = match effect {
                        "allow" => true,
                        "deny" => false,
                        other => return Err(line_of(format!("effect '{other}' is neither allow nor deny"))),
                    };
                    let expanded = (expand(who, room), expand(objects, room), expand(acts, room));
                    let (Some(holders), Some(objects), Some(acts)) = expanded else { return Err(many()) };
                    if holders.len() * objects.len() > room || holders.len() * objects.len() * acts.len() > room {
                        return Err(many());
                    }
                    for role in &holders {
                        for object in &objects {
                            for act in &acts {
                                let rule = Rule::Permit {
                                    role: role.clone(),
                                    object: object.clone(),
                                    act: act.clone(),
                                    scope: scope.to_owned(),
                                    purpose: purpose.to_owned(),
                                    allow,
                                };
                                rules.push(rule);
                            }
                        }
                    }
                }
                ["g", ..] if room == 0 => return Err(many()),
                ["g", role, from] => rules.push(Rule::Inherit { role: role.to_owned(), from: from.to_owned() }),
                _ => return Err(line_of("expected 'p, role, object, act, scope, purpose, effect' or 'g, role, from'".to_owned())),
            }
            if let Some(problem) = rules.iter().skip(first).find_map(problem_of) {
                return Err(line_of(problem));
            }
        }
        Self::checked(rules).map_err(|problem| Malformed { line: 0, problem })
    }

    /// A policy of rules that come from elsewhere.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn checked(mut rules: Vec<Rule>) -> Result<Self, String> {
        rules.sort();
        rules.dedup();
        if let Some(problem) = rules.iter().find_map(problem_of) {
            return Err(problem);
        }
        let policy = Self { rules };
        for role in policy.roles() {
            if policy.ancestry(&[role]).1 > 5 {
                return Err(format!("role '{role}' inherits through more than five others"));
            }
        }
        Ok(policy)
    }

    /// The rules, sorted.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Every role that the policy knows.
    #[must_use]
    pub fn roles(&self) -> BTreeSet<&str> {
        self.rules
            .iter()
            .map(|rule| match rule {
                Rule::Permit { role, .. } | Rule::Inherit { role, .. } => role.as_str(),
            })
            .collect()
    }

    /// Every purpose that some rule names.
    #[must_use]
    pub fn purposes(&self) -> BTreeSet<&str> {
        self.rules
            .iter()
            .filter_map(|rule| match rule {
                Rule::Permit { purpose, .. } if purpose != "*" => Some(purpose.as_str()),
                _ => None,
            })
            .collect()
    }

    /// The roles with all they inherit, and the length of the longest chain.
    #[must_use]
    pub fn ancestry<'p>(&'p self, roles: &[&'p str]) -> (BTreeSet<&'p str>, usize) {
        let mut all: BTreeSet<&str> = roles.iter().copied().collect();
        let mut edge = all.clone();
        let mut depth = 0;
        while !edge.is_empty() && depth <= 10 {
            let next: BTreeSet<&str> = self
                .rules
                .iter()
                .filter_map(|rule| match rule {
                    Rule::Inherit { role, from } if edge.contains(role.as_str()) => Some(from.as_str()),
                    _ => None,
                })
                .collect();
            edge = next.into_iter().collect();
            depth += usize::from(!edge.is_empty());
            all.extend(&edge);
        }
        (all, depth)
    }

    /// SHA-256 over the sorted rules: the identity of a version.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        use sha2::{Digest, Sha256};
        let mut hasher = Sha256::new();
        for rule in &self.rules {
            let line = match rule {
                Rule::Permit { role, object, act, scope, purpose, allow } => format!("p,{role},{object},{act},{scope},{purpose},{allow}\n"),
                Rule::Inherit { role, from } => format!("g,{role},{from}\n"),
            };
            hasher.update(line.as_bytes());
        }
        hasher.finalize().into()
    }
}

/// The line that [`Policy::read`] reads back: `p, sales, Customer.phone, read.clear, own, sales_follow_up, allow` or `g, sales, staff`.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Permit { role, object, act, scope, purpose, allow } => {
                let effect = if *allow { "allow" } else { "deny" };
                write!(f, "p, {role}, {object}, {act}, {scope}, {purpose}, {effect}")
            }
            Self::Inherit { role, from } => write!(f, "g, {role}, {from}"),
        }
    }
}

/// Every rule on a line of its own, sorted. [`Policy::read`] makes of it an equal policy with an equal hash.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rules.iter().try_for_each(|rule| writeln!(f, "{rule}"))
    }
}

/// What Casbin would swallow in silence.
fn problem_of(rule: &Rule) -> Option<String> {
    let word =
        |text: &str| text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    match rule {
        Rule::Inherit { role, from } if !word(role) || !word(from) || role == from => Some("a role is a word, and inherits from another".to_owned()),
        Rule::Inherit { .. } => None,
        Rule::Permit { role, .. } if !word(role) => Some("a role is a word".to_owned()),
        Rule::Permit { purpose, .. } if purpose != "*" && !word(purpose) => Some("a purpose is a word or *".to_owned()),
        Rule::Permit { object, act, purpose, allow: true, .. }
            if act == Act::ReadClear.word() && purpose == "*" && Field::of_key(object).is_some_and(Field::personal) =>
        {
            Some(format!("clear sight of '{object}' needs a purpose; '*' is none"))
        }
        Rule::Permit { scope, .. } if Reach::of_word(scope).is_none() => Some(format!("scope '{scope}' is none of own, department, all")),
        Rule::Permit { object, act, .. } => {
            let known = match Field::of_key(object) {
                Some(_) => Act::of_word(act).is_some(),
                None => Verb::of_words(object, act).is_some(),
            };
            (!known).then(|| format!("'{object}' with '{act}' is no field and act of the dictionary"))
        }
    }
}

fn split_outside_braces(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut depth = 0;
    for c in line.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                cells.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(cell) = cells.last_mut() {
            cell.push(c);
        }
    }
    cells.into_iter().map(|cell| cell.trim().to_owned()).collect()
}

/// `Customer.{name,phone}` → `Customer.name`, `Customer.phone`. `None` when there are more than `most`.
fn expand(text: &str, most: usize) -> Option<Vec<String>> {
    let (mut all, mut rest) = (vec![String::new()], text);
    while let Some((head, (list, tail))) = rest.split_once('{').and_then(|(head, rest)| Some((head, rest.split_once('}')?))) {
        let items: Vec<&str> = list.split(',').map(str::trim).collect();
        if all.len() * items.len() > most {
            return None;
        }
        all = all.iter().flat_map(|start| items.iter().map(move |item| format!("{start}{head}{item}"))).collect();
        rest = tail;
    }
    for text in &mut all {
        text.push_str(rest);
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::tests::rules;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_policy_reads_what_it_writes(rules in rules()) {
            let policy = Policy::checked(rules).unwrap();
            let again = Policy::read(&policy.to_string()).unwrap();
            prop_assert_eq!(&again, &policy);
            prop_assert_eq!(again.hash(), policy.hash());
            for rule in policy.rules() {
                let alone = Policy::read(&rule.to_string()).unwrap();
                prop_assert_eq!(alone.rules(), std::slice::from_ref(rule));
            }
        }
    }

    #[test]
    fn the_standard_policy_survives_a_file() {
        let policy = Policy::standard().unwrap();
        assert_eq!(Policy::read(&policy.to_string()).unwrap().hash(), policy.hash());
        assert!(policy.to_string().contains("\np, sales, Customer.phone, read.clear, own, sales_follow_up, allow\n"));
    }

    #[test]
    fn the_standard_policy_reads() {
        let policy = Policy::standard().unwrap();
        for role in ["admin", "auditor", "bi", "sales", "sales_manager", "support", "marketing", "steward", "privacy"] {
            assert!(policy.roles().contains(role), "{role}");
        }
        // Every field has a rule, or nobody could ever see it.
        for field in Field::ALL {
            let key = field.entry().key;
            assert!(policy.rules().iter().any(|rule| matches!(rule, Rule::Permit { object, .. } if object == key)), "{key} has no rule");
        }
    }

    #[test]
    fn braces_stop_at_the_limit() {
        let forty = "{a,b}".repeat(40);
        let list = |prefix: char, many: usize| format!("{{{}}}", (0..many).map(|i| format!("{prefix}{i}")).collect::<Vec<_>>().join(","));
        let (roles, acts) = (list('r', 300), list('a', 300));
        let g = "g, a, b\n".repeat(Policy::RULES + 1);
        for text in [
            format!("p, {forty}, Customer.phone, read.masked, all, *, allow"),
            format!("p, sales, {forty}, read.masked, all, *, allow"),
            format!("p, {roles}, {acts}, read.masked, all, *, allow"),
            format!("p, {}, Customer.phone, read.masked, all, *, allow", "{r}".repeat(100_000)),
            g,
        ] {
            let error = Policy::read(&text).unwrap_err().to_string();
            assert!(error.contains("at most"), "{error}");
        }
        let line = |i| format!("p, {}, Customer.phone, read.masked, all, *, allow", list(char::from(b'a' + i), 800));
        let most = (0..25).map(line).collect::<Vec<String>>().join("\n");
        assert_eq!(Policy::read(&most).unwrap().rules().len(), Policy::RULES);
        assert_eq!(expand("{a,b}.{c, d}e", 4).unwrap(), ["a.ce", "a.de", "b.ce", "b.de"]);
    }

    #[test]
    fn what_casbin_would_swallow_is_refused() {
        for (text, word) in [
            ("p, sales, Customer.phone, read.clear, own, x, Deny", "neither allow nor deny"),
            ("p, sales, Customer.phone, read.clear, own, x", "expected"),
            ("p, sales, Customer.fone, read.clear, own, x, allow", "no field"),
            ("p, sales, Customer.phone, see, own, x, allow", "no field"),
            ("p, sales, Customer.phone, read.clear, mine, x, allow", "scope"),
            ("p, , Customer.phone, read.clear, own, x, allow", "role"),
            ("p, sales, Customer.phone, read.clear, own, *, allow", "needs a purpose"),
            ("p, sales, Customer.phone, read.clear, own, -, allow", "purpose"),
            ("g, sales, sales", "another"),
            ("p, sales, Audit, drop, all, *, allow", "no field"),
        ] {
            let error = Policy::read(text).unwrap_err();
            assert!(error.to_string().contains(word), "{text}: {error}");
        }
        let chain = (0..9).map(|i| format!("g, r{i}, r{}", i + 1)).collect::<Vec<_>>().join("\n");
        assert!(Policy::read(&chain).unwrap_err().to_string().contains("more than five"));
    }
}
