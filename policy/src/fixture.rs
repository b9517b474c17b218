//! Tests of a policy as data: who sees how much of what. A draft has to pass them before it goes live.
//!
//! Values in them are made up. Errors name tests, lines and levels and never quote a value all the same, for a file may hold
//! by mistake what it should not.

use serde::{Deserialize, Serialize};

use crate::field::Field;
use crate::matrix::{Matrix, Reach, Sight, View};

/// One `[[test]]` of a file of policy tests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fixture {
    /// What it shows, in a sentence.
    pub name: String,
    /// The caller's roles.
    pub roles: Vec<String>,
    /// The purpose that the caller declares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// The field; its key in the file.
    pub field: Field,
    /// How the row stands to the caller.
    pub scope: Reach,
    /// What the caller asks for.
    #[serde(default)]
    pub view: View,
    /// What the policy should let it see.
    pub expect: Sight,
    /// A made-up value of the field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What the caller should read of `value`; empty when it is withheld.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renders: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    test: Vec<Fixture>,
}

/// Reads a file of `[[test]]` tables; an empty file is no test.
///
/// # Errors
/// The first problem with its test and its line, and what was expected there; never what was found.
pub fn fixtures_from_toml(text: &str) -> Result<Vec<Fixture>, String> {
    let file: File = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(text.len(), |span| span.start.min(text.len()));
        format!("{}: {}", place(text, at), expected(error.message()))
    })?;
    match file.test.iter().find(|fixture| fixture.renders.is_some() && fixture.value.is_none()) {
        Some(fixture) => Err(format!("test '{}': renders needs a value", fixture.name)),
        None => Ok(file.test),
    }
}

/// The tests that the default policy of a new tenant comes with.
///
/// # Errors
/// None in a build that passed its tests.
pub fn standard_fixtures() -> Result<Vec<Fixture>, String> {
    fixtures_from_toml(include_str!("../standard_tests.toml"))
}

impl Fixture {
    /// Compares with what Casbin said. `matrix` is that of the policy under test for this fixture's roles and purpose.
    ///
    /// # Errors
    /// What was expected and what came instead: levels and masks, never the value.
    pub fn run(&self, matrix: &Matrix) -> Result<(), String> {
        let sight = matrix.sight(self.field, self.scope, self.view);
        if sight != self.expect {
            return Err(format!("test '{}': expected {}, got {}", self.name, self.level(self.expect), self.level(sight)));
        }
        let (Some(value), Some(renders)) = (&self.value, &self.renders) else { return Ok(()) };
        let read = match sight {
            Sight::Withheld => String::new(),
            Sight::Masked => self.field.masked(value),
            Sight::Clear => value.clone(),
        };
        if read == *renders { Ok(()) } else { Err(format!("test '{}': expected another text than {}", self.name, self.level(sight))) }
    }

    /// The level, with the mask where there is one to show.
    fn level(&self, sight: Sight) -> String {
        match (sight, &self.value) {
            (Sight::Masked, Some(value)) if self.field.personal() => format!("masked ({})", self.field.masked(value)),
            _ => sight.word().to_owned(),
        }
    }
}

/// The line, and the test that it stands in.
fn place(text: &str, at: usize) -> String {
    let lines_before = text.bytes().take(at).filter(|byte| *byte == b'\n').count();
    // The place of a missing key is the head of its test, or the whole of it: the line counts as read.
    let begun = text.lines().take(lines_before + 1).filter(|line| is_head(line)).count();
    if begun == 0 {
        return format!("line {}", lines_before + 1);
    }
    let name = text.lines().skip_while(|line| !is_head(line)).scan(0, |test, line| {
        *test += usize::from(is_head(line));
        Some((*test, line))
    });
    let name = name.filter(|(test, _)| *test == begun).find_map(|(_, line)| {
        let (key, name) = line.split_once('=')?;
        (key.trim() == "name").then(|| name.trim().trim_matches(['"', '\'']).to_owned())
    });
    format!("test {begun}{}, line {}", name.map(|name| format!(" '{name}'")).unwrap_or_default(), lines_before + 1)
}

fn is_head(line: &str) -> bool {
    line.trim_start().starts_with("[[test]]")
}

/// What the reader of the file wanted, without what it found: that part of its message may quote a value.
fn expected(message: &str) -> String {
    match message.rsplit_once(", expected ") {
        Some((_, wanted)) => format!("expected {wanted}"),
        // The name of a key of ours.
        None if message.starts_with("missing field ") => message.to_owned(),
        None => "this is not TOML, or stands here twice".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::tests::wait;
    use crate::rule::Policy;

    fn failures(policy: &Policy) -> Vec<String> {
        let run = |test: &Fixture| {
            let roles: Vec<&str> = test.roles.iter().map(String::as_str).collect();
            test.run(&wait(Matrix::of(policy, &roles, test.purpose.as_deref())).unwrap()).err()
        };
        standard_fixtures().unwrap().iter().filter_map(run).collect()
    }

    #[test]
    fn the_standard_policy_passes_and_a_weaker_one_fails() {
        let policy = Policy::standard().unwrap();
        assert_eq!(failures(&policy), Vec::<String>::new());
        let weaker = format!("{policy}p, sales, Customer.phone, read.clear, department, sales_follow_up, allow\n");
        assert_eq!(
            failures(&Policy::read(&weaker).unwrap()),
            ["test 'sales sees the phone of a colleague\'s customer masked': expected masked (138****5678), got clear"]
        );
        let stricter = format!("{policy}p, staff, Customer.phone, read.masked, all, *, deny\n");
        assert!(!failures(&Policy::read(&stricter).unwrap()).is_empty());
    }

    const GOOD: &str = "[[test]]\nname = \"first\"\nroles = [\"sales\"]\nfield = \"Customer.phone\"\nscope = \"own\"\nexpect = \"masked\"\n";

    #[test]
    fn errors_name_the_test_and_the_place_and_no_value() {
        let second =
            "[[test]]\nname = \"second\"\nroles = [\"sales\"]\nfield = \"Customer.phone\"\nscope = \"own\"\nexpect = \"masked\"\nvalue = \"13812345678\"\n";
        for (from, to, told) in [
            ("value = \"13812345678\"", "value = 13812345678", "test 2 'second', line 13: expected a string"),
            ("scope = \"own\"", "scope = \"13812345678\"", "test 2 'second', line 11: expected one of `own`, `department`, `all`"),
            ("field = \"Customer.phone\"", "field = \"13812345678\"", "test 2 'second', line 10: expected a key of the data dictionary"),
            ("value = ", "13812345678 = ", "test 2 'second', line 13: expected one of `name`, "),
            ("value = \"13812345678\"", "value = \"13812345678", "test 2 'second', line 13: "),
            ("expect = \"masked\"\n", "", "test 2 'second', line 7: missing field `expect`"),
            ("value = ", "renders = ", "test 'second': renders needs a value"),
        ] {
            let error = fixtures_from_toml(&format!("{GOOD}{}", second.replace(from, to))).unwrap_err();
            assert!(error.starts_with(told), "{to}: {error}");
            assert!(!error.contains("13812345678"), "{error}");
        }
        assert!(fixtures_from_toml("tests = 1").unwrap_err().starts_with("line 1: expected"));
    }

    #[test]
    fn a_failure_tells_levels_and_masks_and_no_value() {
        let test = Fixture {
            name: "first".into(),
            roles: vec![],
            purpose: None,
            field: Field::Phone,
            scope: Reach::Own,
            view: View::Clear,
            expect: Sight::Clear,
            value: Some("13812345678".into()),
            renders: Some("13812345678".into()),
        };
        let matrix = |acts: &[crate::matrix::Act]| {
            acts.iter().fold(Matrix::NOTHING, |mut matrix, act| {
                matrix.grant(Field::Phone, *act, Reach::Own);
                matrix
            })
        };
        let (masked, clear) = (matrix(&[crate::matrix::Act::ReadMasked]), matrix(&[crate::matrix::Act::ReadClear]));
        assert_eq!(test.run(&clear), Ok(()));
        assert_eq!(test.run(&masked).unwrap_err(), "test 'first': expected clear, got masked (138****5678)");
        assert_eq!(test.run(&Matrix::NOTHING).unwrap_err(), "test 'first': expected clear, got withheld");
        let expecting = |expect, renders: &str| Fixture { expect, renders: Some(renders.into()), ..test.clone() };
        assert_eq!(expecting(Sight::Masked, "138****5678").run(&masked), Ok(()));
        assert_eq!(expecting(Sight::Withheld, "").run(&Matrix::NOTHING), Ok(()));
        let error = expecting(Sight::Masked, "13812345678").run(&masked).unwrap_err();
        assert_eq!(error, "test 'first': expected another text than masked (138****5678)");
        assert_eq!(expecting(Sight::Clear, "138").run(&clear).unwrap_err(), "test 'first': expected another text than clear");
    }

    #[test]
    fn a_fixture_survives_its_file() {
        for test in standard_fixtures().unwrap() {
            let again: Fixture = toml::from_str(&toml::to_string(&test).unwrap()).unwrap();
            assert_eq!(again, test);
        }
    }
}
