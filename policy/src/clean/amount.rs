//! Amounts of money as decimals, never floats.

use super::text::fold;
use rust_decimal::Decimal;

/// The amount in fen (hundredths of a yuan), or `None` when the text is not an amount.
#[must_use]
pub fn fen(raw: &str) -> Option<i64> {
    let folded = fold(raw);
    let text: String = folded
        .trim_start_matches(['¥', '￥', '\'', ' '])
        .trim_start_matches("RMB")
        .trim_start_matches("CNY")
        .trim_end_matches(['元', ' '])
        .chars()
        .filter(|c| !matches!(c, ',' | ' '))
        .collect();
    let (text, scale) = text.strip_suffix('万').map_or((text.as_str(), 1), |head| (head, 10_000));
    let amount: Decimal = text.parse().ok()?;
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'-');
    let fen = amount.checked_mul(Decimal::from(scale * 100))?.round();
    i64::try_from(fen).ok().filter(|fen| plain && fen.unsigned_abs() < 100_000_000_000_000)
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
        ] {
            assert_eq!(fen(raw).map(yuan).as_deref(), Some(want), "{raw}");
        }
        for raw in ["", "-92233720368547758.08", "面议", "1e5", "12.3.4", "¥"] {
            assert_eq!(fen(raw), None, "{raw}");
        }
    }

    proptest! {
        #[test]
        fn separators_and_signs_do_not_matter(cents in 0i64..1_000_000_000) {
            let plain = Decimal::new(cents, 2);
            prop_assert_eq!(fen(&format!("¥{plain} ")), Some(cents));
            prop_assert_eq!(fen(&format!("{plain}元")), Some(cents));
        }
    }
}
