//! Cells on their way to a spreadsheet, and back.

/// A cell that a spreadsheet would take for a formula gets an apostrophe in front; so does one that looks like such a cell, so
/// that it can be told apart on the way back.
#[must_use]
pub fn defused(cell: &str) -> String {
    let bare = cell.trim_start_matches('\'');
    let number = cell.strip_prefix('-').is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit() || b == b'.'));
    if bare.starts_with(['=', '+', '-', '@', '\t', '\r']) && !number { format!("'{cell}") } else { cell.to_owned() }
}

/// Cells of a file that was written here, as they were before.
pub fn restore(cells: &mut [String]) {
    for cell in cells {
        if cell.strip_prefix('\'').is_some_and(|plain| defused(plain) == *cell) {
            cell.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn formulas_are_defused_and_numbers_are_not() {
        for (cell, written) in [("=HYPERLINK(1)", "'=HYPERLINK(1)"), ("@wechat", "'@wechat"), ("-12.5", "-12.5"), ("-1+cmd", "'-1+cmd"), ("'s", "'s"), ("", "")]
        {
            assert_eq!(defused(cell), written);
        }
    }

    proptest! {
        #[test]
        fn what_was_written_comes_back(cell in "['=+@\t\r0-9a. -]{0,6}") {
            let mut cells = [defused(&cell)];
            restore(&mut cells);
            prop_assert_eq!(&cells[0], &cell);
        }
    }
}
