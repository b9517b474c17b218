//! Dates and instants as exports write them.

use super::text::fold;
use chrono::{DateTime, Days, NaiveDate, NaiveDateTime, TimeZone, Utc};

/// China has one zone and no summer time: what a source writes is local time at UTC+8.
const LOCAL_OFFSET_SECONDS: i32 = 8 * 3600;

/// A date, or `None` when the text names no day that exists. Years 1950 to 2100.
#[must_use]
pub fn date(raw: &str) -> Option<NaiveDate> {
    let text = fold(raw);
    let text = text.trim_start_matches('\'');
    let day = text.split([' ', 'T']).next()?;
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let whole = day.strip_suffix(".0").unwrap_or(day);
    if digits(whole) {
        return match whole.len() {
            8 => ymd(&whole[..4], &whole[4..6], &whole[6..]),
            5 => serial(whole.parse().ok()?),
            _ => None,
        };
    }
    if let Some((days, part)) = day.split_once('.')
        && days.len() == 5
        && digits(days)
        && digits(part)
    {
        return serial(days.parse().ok()?);
    }
    let parts: Vec<&str> = day.split(['-', '/', '.', '年', '月', '日']).filter(|part| !part.is_empty()).collect();
    match parts[..] {
        [year, month, day] if [year, month, day].iter().all(|p| digits(p) && p.len() <= 4) => ymd(year, month, day),
        _ => None,
    }
}

/// An instant: the date at its time of day, midnight when none is written.
#[must_use]
pub fn instant(raw: &str) -> Option<DateTime<Utc>> {
    let date = date(raw)?;
    let text = fold(raw);
    let clock = text.split_once([' ', 'T']).map_or("", |(_, clock)| clock.trim());
    let mut parts = clock.splitn(3, ':').map(|p| p.trim_end_matches(['Z', 'z']).parse::<u32>().ok());
    let (hour, minute, second) = (parts.next().flatten().unwrap_or(0), parts.next().flatten().unwrap_or(0), parts.next().flatten().unwrap_or(0));
    local(date.and_hms_opt(hour, minute, second).or_else(|| date.and_hms_opt(0, 0, 0))?)
}

/// The zone of China.
#[must_use]
pub const fn zone() -> chrono::FixedOffset {
    match chrono::FixedOffset::east_opt(LOCAL_OFFSET_SECONDS) {
        Some(zone) => zone,
        None => unreachable!(),
    }
}

fn local(naive: NaiveDateTime) -> Option<DateTime<Utc>> {
    zone().from_local_datetime(&naive).single().map(|at| at.with_timezone(&Utc))
}

fn ymd(year: &str, month: &str, day: &str) -> Option<NaiveDate> {
    let year: i32 = match year.len() {
        2 => 2000 + year.parse::<i32>().ok()?,
        4 => year.parse().ok()?,
        _ => return None,
    };
    NaiveDate::from_ymd_opt(year, month.parse().ok()?, day.parse().ok()?).filter(|date| plausible(*date))
}

/// A day number of the spreadsheet's 1900 calendar.
fn serial(days: u64) -> Option<NaiveDate> {
    NaiveDate::from_ymd_opt(1899, 12, 30)?.checked_add_days(Days::new(days)).filter(|date| plausible(*date))
}

fn plausible(date: NaiveDate) -> bool {
    use chrono::Datelike;
    (1950..=2100).contains(&date.year())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn examples() {
        for (raw, want) in [
            ("2024年6月4日", "2024-06-04"),
            ("2024/07/19 16:09", "2024-07-19"),
            ("20230618", "2023-06-18"),
            ("2023.4.13", "2023-04-13"),
            ("22-12-20", "2022-12-20"),
            ("２０２１－０３－１３", "2021-03-13"),
            ("44982", "2023-02-25"),
            ("45264.5", "2023-12-04"),
            ("2024-01-01T08:00:00", "2024-01-01"),
        ] {
            assert_eq!(date(raw).map(|d| d.to_string()).as_deref(), Some(want), "{raw}");
        }
        for raw in ["", "不详", "长期", "2024-02-30", "0000-00-00", "1900/1/0", "2023/13/05", "12345678901", "2024"] {
            assert_eq!(date(raw), None, "{raw}");
        }
        assert_eq!(instant("2024-05-01 08:30:00").unwrap().to_rfc3339(), "2024-05-01T00:30:00+00:00");
    }

    proptest! {
        #[test]
        fn every_spelling_names_the_same_day(y in 1951i32..2099, m in 1u32..=12, d in 1u32..=28) {
            let want = NaiveDate::from_ymd_opt(y, m, d);
            for raw in [format!("{y}-{m}-{d}"), format!("{y}/{m:02}/{d:02} 10:11"), format!("{y}年{m}月{d}日"), format!("{y}{m:02}{d:02}"), format!("{y}.{m}.{d}")] {
                prop_assert_eq!(date(&raw), want);
            }
        }

        #[test]
        fn any_text_gets_an_answer(raw in "\\PC{0,30}") { let _ = instant(&raw); }
    }
}
