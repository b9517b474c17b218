//! Amounts of money as decimals, never floats.

use std::borrow::Cow;

use super::{Cleaned, Rule, Rules, text};
use rust_decimal::Decimal;

/// Less than a trillion yuan.
const TOO_MUCH: u64 = 100_000_000_000_000;

/// The amount in fen (hundredths of a yuan), where the cell is an amount.
#[must_use]
pub fn fen(raw: &str) -> Cleaned<Option<i64>> {
    let mut rules = Rules::NONE;
    let folded = text::noting(raw, &mut rules);
    let amount = read(&folded, &mut rules);
    Cleaned::read(amount, rules)
}

fn read(folded: &str, rules: &mut Rules) -> Option<i64> {
    let bare = text::unquoted(folded, rules);
    let number = bare.trim_start_matches(['¥', '￥', '\'', ' ']).trim_start_matches("RMB").trim_start_matches("CNY").trim_end_matches(['元', ' ']);
    rules.add_if(number.len() < bare.len(), Rule::AmountCurrency);
    rules.add_if(number.contains(','), Rule::AmountThousands);
    rules.add_if(number.trim_start().contains(' '), Rule::AmountSpaces);
    if !is_grouped(number) {
        return None;
    }
    let plain = if number.contains([',', ' ']) { Cow::Owned(number.replace([',', ' '], "")) } else { Cow::Borrowed(number) };
    let (digits, scale) = plain.strip_suffix('万').map_or((&*plain, 1), |head| (head, 10_000));
    rules.add_if(scale > 1, Rule::AmountWan);
    if !digits.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'-') {
        return None;
    }
    let exact = digits.parse::<Decimal>().ok()?.checked_mul(Decimal::from(scale * 100))?;
    let rounded = exact.round();
    rules.add_if(rounded != exact, Rule::AmountRounded);
    i64::try_from(rounded).ok().filter(|fen| fen.unsigned_abs() < TOO_MUCH)
}

/// Whether commas stand where thousands do: 1,5 and 1.234,56 are written by other rules, and nobody knows what they mean here.
fn is_grouped(number: &str) -> bool {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mut groups = whole.trim_end_matches(['万', ' ']).split(',');
    let first = groups.next().unwrap_or_default().bytes().filter(u8::is_ascii_digit).count();
    let mut groups = groups.peekable();
    !fraction.contains(',') && (groups.peek().is_none() || (1..=3).contains(&first)) && groups.all(|group| group.trim().len() == 3)
}

/// Fen as yuan with two decimal places: `21754` → `217.54`.
#[must_use]
pub fn yuan(fen: i64) -> String {
    Decimal::new(fen, 2).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn examples() {
        for (raw, want) in [
            ("217.54", "217.54"),
            ("￥59.1", "59.10"),
            ("¥1,546.52", "1546.52"),
            ("71.85元", "71.85"),
            (" 2,313.71 ", "2313.71"),
            ("212.00 ", "212.00"),
            ("1.5万", "15000.00"),
            ("-3", "-3.00"),
            ("12,345,678.9", "12345678.90"),
            ("1,500万", "15000000.00"),
        ] {
            assert_eq!(fen(raw).value.map(yuan).as_deref(), Some(want), "{raw}");
        }
        for raw in ["", "-92233720368547758.08", "面议", "1e5", "12.3.4", "¥", "1.234,56", "1,5", "12,34,56", "1,0000", ",123", "1234,567"] {
            assert_eq!(fen(raw).value, None, "{raw}");
        }
    }

    proptest! {
        #[test]
        fn separators_and_signs_do_not_matter(cents in 0i64..1_000_000_000) {
            let plain = Decimal::new(cents, 2);
            prop_assert_eq!(fen(&format!("¥{plain} ")).value, Some(cents));
            prop_assert_eq!(fen(&format!("{plain}元")).value, Some(cents));
        }

        #[test]
        fn a_clean_amount_stays(raw in "\\PC{0,20}|[¥￥']?-?[0-9]{1,9}(,[0-9]{3})?(\\.[0-9]{0,4})?万?元? ?") {
            if let Some(amount) = fen(&raw).value {
                prop_assert_eq!(fen(&yuan(amount)), Cleaned { value: Some(amount), rules: Rules::NONE });
                prop_assert!(amount.unsigned_abs() < TOO_MUCH);
            }
        }
    }
}
