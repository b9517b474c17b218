//! Similarity of two strings of characters.

/// Jaro's similarity with Winkler's reward for a common beginning, between 0 and 1.
pub(super) fn jaro_winkler(a: &[char], b: &[char]) -> f64 {
    let (a, b) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    if b.len() > 64 || a.is_empty() {
        return if a == b { 1.0 } else { 0.0 };
    }
    let reach = (b.len() / 2).saturating_sub(1);
    let (mut in_a, mut in_b) = (0_u64, 0_u64);
    for (i, c) in a.iter().enumerate() {
        for (j, d) in b.iter().enumerate().take((i + reach + 1).min(b.len())).skip(i.saturating_sub(reach)) {
            if c == d && in_b >> j & 1 == 0 {
                in_a |= 1 << i;
                in_b |= 1 << j;
                break;
            }
        }
    }
    let matches = in_a.count_ones();
    if matches == 0 {
        return 0.0;
    }
    let matched_a = (0..a.len()).filter(|i| in_a >> i & 1 == 1).map(|i| a[i]);
    let matched_b = (0..b.len()).filter(|j| in_b >> j & 1 == 1).map(|j| b[j]);
    let moved = matched_a.zip(matched_b).filter(|(c, d)| c != d).count() / 2;
    let matches = f64::from(matches);
    let jaro = (matches / real(a.len()) + matches / real(b.len()) + (matches - real(moved)) / matches) / 3.0;
    let prefix = a.iter().zip(b).take(4).take_while(|(c, d)| c == d).count();
    jaro + 0.1 * real(prefix) * (1.0 - jaro)
}

/// The number of edits between two strings, a swap of neighbours being one, when it is at most two.
pub(super) fn edits(a: &[char], b: &[char]) -> Option<usize> {
    let start = a.iter().zip(b).take_while(|(c, d)| c == d).count();
    let (a, b) = (&a[start..], &b[start..]);
    let end = a.iter().rev().zip(b.iter().rev()).take_while(|(c, d)| c == d).count();
    within(&a[..a.len() - end], &b[..b.len() - end], 2)
}

fn within(a: &[char], b: &[char], budget: usize) -> Option<usize> {
    if a.len().abs_diff(b.len()) > budget {
        return None;
    }
    let (a, b) = match (a, b) {
        ([], rest) | (rest, []) => return Some(rest.len()),
        ([x, a @ ..], [y, b @ ..]) if x == y => return within(a, b, budget),
        _ => (a, b),
    };
    let budget = budget.checked_sub(1)?;
    let swapped = a.len() > 1 && b.len() > 1 && a[0] == b[1] && a[1] == b[0];
    let swap = if swapped { within(&a[2..], &b[2..], budget) } else { None };
    [swap, within(&a[1..], &b[1..], budget), within(&a[1..], b, budget), within(a, &b[1..], budget)].into_iter().flatten().min().map(|edits| edits + 1)
}

/// Dice's coefficient of two sorted lists.
pub(super) fn dice(a: &[u32], b: &[u32]) -> f64 {
    if a.is_empty() || b.is_empty() {
        return 0.0;
    }
    let (mut i, mut j, mut common) = (0, 0, 0);
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        common += usize::from(x == y);
        i += usize::from(x <= y);
        j += usize::from(y <= x);
    }
    2.0 * real(common) / real(a.len() + b.len())
}

/// A count as a real number.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
pub(super) fn real(count: usize) -> f64 {
    count as f64
}
