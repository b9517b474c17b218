//! Dates and instants as exports write them.

use super::{Cleaned, Rule, Rules, text};
use chrono::{DateTime, Datelike, Days, Duration, FixedOffset, NaiveDate, NaiveDateTime, TimeZone, Utc};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

/// China has one zone and no summer time: what a source writes is local time at UTC+8.
const LOCAL_OFFSET_SECONDS: i32 = 8 * 3600;

/// A date of a cell that names a day. A day that does not exist or is not of the years 1900 to 2100 is
/// [impossible](Rule::DateImpossible); of what is no date at all, nothing is told.
#[must_use]
pub fn date(raw: &str) -> Cleaned<Option<NaiveDate>> {
    let mut rules = Rules::NONE;
    let folded = text::noting(raw, &mut rules);
    let (day, clock) = split(text::unquoted(&folded, &mut rules));
    rules.add_if(!clock.is_empty(), Rule::DateTimeDropped);
    let date = read(day, &mut rules).and_then(|date| match zoned(clock) {
        // The day that it was in China then.
        Some((clock, offset)) => from(at_clock(date, clock, &mut Rules::default()), offset).map(|at| at.with_timezone(&zone()).date_naive()),
        None => Ok(date),
    });
    judged(date.and_then(|date| if is_plausible(date) { Ok(date) } else { Err(Unread::Impossible) }), rules)
}

/// An instant: the date at its time of day, midnight when none is written; China's unless a zone is written behind it.
#[must_use]
pub fn instant(raw: &str) -> Cleaned<Option<DateTime<Utc>>> {
    let mut rules = Rules::NONE;
    let folded = text::noting(raw, &mut rules);
    let (day, clock) = split(text::unquoted(&folded, &mut rules));
    let at = read(day, &mut rules).and_then(|date| {
        let (clock, offset) = zoned(clock).unwrap_or((clock, zone()));
        let fraction = if rules.contains(Rule::DateExcelSerial) { of_day(day) } else { Duration::zero() };
        from(at_clock(date, clock, &mut rules) + fraction, offset)
    });
    judged(at, rules)
}

/// The zone of China.
#[must_use]
pub const fn zone() -> FixedOffset {
    match FixedOffset::east_opt(LOCAL_OFFSET_SECONDS) {
        Some(zone) => zone,
        None => unreachable!(),
    }
}

/// Why a cell gives no date.
enum Unread {
    /// It is written like none.
    NoDate,
    /// The day it names cannot be.
    Impossible,
}

fn judged<T>(read: Result<T, Unread>, rules: Rules) -> Cleaned<Option<T>> {
    match read {
        Ok(value) => Cleaned { value: Some(value), rules },
        Err(Unread::Impossible) => Cleaned::nothing(Rule::DateImpossible),
        Err(Unread::NoDate) => Cleaned::read(None, rules),
    }
}

/// The day and the time of day.
fn split(text: &str) -> (&str, &str) {
    let chinese = text.find('日').map(|at| text.split_at(at + '日'.len_utf8())).filter(|(day, _)| day.contains('月'));
    chinese.or_else(|| text.split_once([' ', 'T'])).map_or((text, ""), |(day, clock)| (day, clock.trim()))
}

/// A time of day without the zone that is written behind it, and that zone.
fn zoned(clock: &str) -> Option<(&str, FixedOffset)> {
    let upper = clock.to_ascii_uppercase();
    if let Some(name) = ["Z", "UTC", "GMT"].iter().find(|name| upper.ends_with(**name)) {
        return Some((clock[..clock.len() - name.len()].trim_end(), FixedOffset::east_opt(0)?));
    }
    let (clock, offset) = clock.split_at(clock.rfind(['+', '-'])?);
    // 09:00-10:00 is a stretch of time.
    if offset.starts_with('-') && clock.matches(':').count() < 2 {
        return None;
    }
    let digits = offset[1..].replace(':', "");
    if !is_number(&digits) {
        return None;
    }
    let (hours, minutes) = match digits.len() {
        2 => (digits.parse::<i32>().ok()?, 0),
        4 => (digits[..2].parse::<i32>().ok()?, digits[2..].parse::<i32>().ok()?),
        _ => return None,
    };
    if hours > 14 || minutes > 59 {
        return None;
    }
    let seconds = (hours * 60 + minutes) * 60;
    Some((clock.trim_end(), FixedOffset::east_opt(if offset.starts_with('-') { -seconds } else { seconds })?))
}

/// The part of its day that a day number of a spreadsheet tells, to the second.
fn of_day(serial: &str) -> Duration {
    let fraction = serial.split_once('.').and_then(|(_, digits)| format!("0.{digits}").parse::<Decimal>().ok());
    let seconds = fraction.and_then(|fraction| (fraction * Decimal::from(86_400)).round().to_i64());
    // What rounds to midnight stays in its day.
    Duration::seconds(seconds.unwrap_or(0).min(86_399))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Whether a text is written as `YYYY-MM-DD`.
fn is_standard(day: &str) -> bool {
    day.len() == 10 && day.bytes().enumerate().all(|(at, b)| if matches!(at, 4 | 7) { b == b'-' } else { b.is_ascii_digit() })
}

/// The date that a text writes.
fn read(day: &str, rules: &mut Rules) -> Result<NaiveDate, Unread> {
    if is_standard(day) {
        return ymd([&day[..4], &day[5..7], &day[8..]]);
    }
    let whole = day.strip_suffix(".0").unwrap_or(day);
    if is_number(whole) && whole.len() == 8 {
        rules.add(Rule::DateCompact);
        return ymd([&whole[..4], &whole[4..6], &whole[6..]]);
    }
    let (days, fraction) = day.split_once('.').unwrap_or((day, "0"));
    if is_number(days) && days.len() == 5 && !days.starts_with('0') && is_number(fraction) {
        rules.add(Rule::DateExcelSerial);
        return serial(days);
    }
    let mut parts = day.split(['-', '/', '.', '年', '月', '日']).filter(|part| !part.is_empty());
    let (Some(year), Some(month), Some(date), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else { return Err(Unread::NoDate) };
    if ![year, month, date].iter().all(|part| is_number(part) && part.len() <= 4) {
        return Err(Unread::NoDate);
    }
    if date.len() == 4 {
        rules.add(Rule::DateYearLast);
        return year_last(year, month, date);
    }
    // 05/01/24 may be of 2005 or of 2024.
    if year.len() == 2 && year.parse::<u8>().is_ok_and(|first| first <= 12) && date.len() == 2 {
        return Err(Unread::NoDate);
    }
    let mut written = Rules::NONE;
    for (sign, rule) in [('/', Rule::DateSlashes), ('.', Rule::DateDots), ('年', Rule::DateChinese)] {
        written.add_if(day.contains(sign), rule);
    }
    let short_year = year.len() == 2;
    // Hyphens it was, and not eight characters as in 22-12-20: the month, the day or both were written short.
    written.add_if(written.is_empty() && !(short_year && day.len() == 8), Rule::DatePadded);
    written.add_if(short_year, Rule::DateTwoDigitYear);
    *rules = rules.with(written);
    ymd([year, month, date])
}

/// 5/13/2024 and 13/5/2024 are one day; of 5/10/2024 nobody knows which.
fn year_last(first: &str, second: &str, year: &str) -> Result<NaiveDate, Unread> {
    let of_month = |part: &str| part.len() <= 2 && part.parse::<u8>().is_ok_and(|part| part <= 12);
    match (of_month(first), of_month(second)) {
        (true, false) => ymd([year, first, second]),
        (false, true) => ymd([year, second, first]),
        (true, true) if first == second => ymd([year, first, second]),
        _ => Err(Unread::NoDate),
    }
}

fn ymd([year, month, day]: [&str; 3]) -> Result<NaiveDate, Unread> {
    let century = match year.len() {
        // As POSIX reads them.
        2 if year < "69" => 2000,
        2 => 1900,
        4 => 0,
        _ => return Err(Unread::NoDate),
    };
    let [year, month, day] = [year, month, day].map(|part| part.parse::<u16>().unwrap_or_default());
    let date = NaiveDate::from_ymd_opt(century + i32::from(year), month.into(), day.into());
    date.filter(|date| is_plausible(*date)).ok_or(Unread::Impossible)
}

/// A day number of the spreadsheet's 1900 calendar.
fn serial(days: &str) -> Result<NaiveDate, Unread> {
    let first = NaiveDate::from_ymd_opt(1899, 12, 30);
    let date = days.parse().ok().and_then(|days| first?.checked_add_days(Days::new(days)));
    date.filter(|date| is_plausible(*date)).ok_or(Unread::Impossible)
}

fn is_plausible(date: NaiveDate) -> bool {
    (1900..=2100).contains(&date.year())
}

/// The date at a time of day; what cannot be read of that counts as zero.
fn at_clock(date: NaiveDate, clock: &str, rules: &mut Rules) -> NaiveDateTime {
    if clock.is_empty() {
        return date.into();
    }
    let mut unread = false;
    let (half, clock) = half_of_day(clock);
    let compact = is_number(clock) && matches!(clock.len(), 4 | 6);
    let apart: Vec<&str> = if compact {
        clock.as_bytes().chunks(2).filter_map(|two| std::str::from_utf8(two).ok()).collect()
    } else {
        clock.split([':', '时', '点', '分', '秒']).map(str::trim).filter(|part| !part.is_empty()).collect()
    };
    unread |= apart.len() > 3;
    // Parts of a second do not matter.
    let mut parts = apart.iter().enumerate().map(|(at, part)| if at == 2 { part.split('.').next().unwrap_or(part) } else { part }.parse::<u32>());
    let mut part = || {
        parts.next().map_or(0, |part| {
            part.unwrap_or_else(|_| {
                unread = true;
                0
            })
        })
    };
    let (hour, minute, second) = (part(), part(), part());
    let hour = match half {
        Some(Half::First) if hour == 12 => 0,
        Some(Half::Second) if hour < 12 => hour + 12,
        Some(Half::Evening) if (5..12).contains(&hour) => hour + 12,
        // 晚上1:00 is of the next day, or was meant otherwise.
        Some(Half::Evening) if hour < 13 => {
            rules.add(Rule::DateClockUnread);
            return date.into();
        }
        _ => hour,
    };
    if (hour, minute, second) == (24, 0, 0) {
        let next = date.succ_opt().filter(|next| is_plausible(*next));
        rules.add_if(next.is_none(), Rule::DateClockUnread);
        return next.unwrap_or(date).into();
    }
    let at = date.and_hms_opt(hour, minute, second);
    rules.add_if(unread || at.is_none(), Rule::DateClockUnread);
    at.unwrap_or_else(|| date.into())
}

/// Half of a day.
enum Half {
    First,
    Second,
    Evening,
}

/// Which half of the day a time is of, where it says so, and the time without that.
fn half_of_day(clock: &str) -> (Option<Half>, &str) {
    for (words, half) in [(&["上午", "凌晨", "早上"][..], Half::First), (&["下午", "中午"], Half::Second), (&["晚上"], Half::Evening)] {
        if let Some(rest) = words.iter().find_map(|word| clock.strip_prefix(word)) {
            // 中午11:30 is before noon.
            let before_noon = clock.starts_with("中午") && rest.trim_start().starts_with("11");
            return (if before_noon { None } else { Some(half) }, rest.trim_start());
        }
    }
    let upper = clock.to_ascii_uppercase();
    for (word, half) in [("AM", Half::First), ("PM", Half::Second)] {
        if upper.ends_with(word) {
            return (Some(half), clock[..clock.len() - word.len()].trim_end());
        }
    }
    (None, clock)
}

fn from(naive: NaiveDateTime, offset: FixedOffset) -> Result<DateTime<Utc>, Unread> {
    let at = offset.from_local_datetime(&naive).single().map(|at| at.with_timezone(&Utc));
    at.filter(|at| is_plausible(at.with_timezone(&zone()).date_naive())).ok_or(Unread::Impossible)
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
            assert_eq!(date(raw).value.map(|d| d.to_string()).as_deref(), Some(want), "{raw}");
        }
        for raw in ["", "不详", "长期", "05/01/24", "12-03-05", "5/10/2024", "2024-02-30", "0000-00-00", "1900/1/0", "2023/13/05", "12345678901", "2024"] {
            assert_eq!(date(raw).value, None, "{raw}");
        }
        for raw in ["2024-02-30", "0000-00-00", "0000/1/1", "1899-12-31", "9999-12-31", "99991231", "2101-01-01", "1900/1/0", "99999"] {
            assert_eq!(date(raw), Cleaned::nothing(Rule::DateImpossible), "{raw}");
            assert_eq!(instant(raw), Cleaned::nothing(Rule::DateImpossible), "{raw}");
        }
        for (raw, want) in [("1900-01-01", "1900-01-01"), ("2100-12-31", "2100-12-31")] {
            assert_eq!(date(raw).value.map(|d| d.to_string()).as_deref(), Some(want));
        }
        for (raw, want) in [
            ("5/13/2024", "2024-05-13"),
            ("13.5.2024", "2024-05-13"),
            ("99/12/31", "1999-12-31"),
            ("2024年5月10日-12日", "2024-05-10"),
            ("2024-05-05 星期日", "2024-05-05"),
            ("2024-05-01 09:00-10:00", "2024-05-01"),
            ("2024-05-01T20:30:00Z", "2024-05-02"),
        ] {
            assert_eq!(date(raw).value.map(|d| d.to_string()).as_deref(), Some(want), "{raw}");
        }
        for (raw, want) in [
            ("2024-05-01T00:30:00Z", "2024-05-01 08:30:00"),
            ("2024-05-01 00:30:00 UTC", "2024-05-01 08:30:00"),
            ("2024-05-01T20:30:00-05:00", "2024-05-02 09:30:00"),
            ("2024-05-01T20:30:00.123+0800", "2024-05-01 20:30:00"),
            ("2024/5/1 8:30 PM", "2024-05-01 20:30:00"),
            ("2024/5/1 12:05am", "2024-05-01 00:05:00"),
            ("2024/5/1 下午3:30", "2024-05-01 15:30:00"),
            ("2024-05-01 中午11:30", "2024-05-01 11:30:00"),
            ("2024-05-01 晚上8:00", "2024-05-01 20:00:00"),
            ("2024年5月1日14:30", "2024-05-01 14:30:00"),
            ("2024-05-01 08时30分", "2024-05-01 08:30:00"),
            ("20240501 083005", "2024-05-01 08:30:05"),
            ("45413.75", "2024-05-01 18:00:00"),
            ("2024-05-01 24:00:00", "2024-05-02 00:00:00"),
            ("45413.999999", "2024-05-01 23:59:59"),
        ] {
            let read = instant(raw);
            assert_eq!(read.value.map(|at| at.with_timezone(&zone()).format("%F %T").to_string()).as_deref(), Some(want), "{raw}");
            assert!(!read.rules.contains(Rule::DateClockUnread), "{raw}");
        }
        assert!(instant("2100-12-31 24:00").rules.contains(Rule::DateClockUnread), "there is no day behind it");
        assert_eq!(instant("2024-05-01 08:30:00").value.unwrap().to_rfc3339(), "2024-05-01T00:30:00+00:00");
    }

    proptest! {
        #[test]
        fn every_spelling_names_the_same_day(y in 1951i32..2099, m in 1u32..=12, d in 1u32..=28) {
            let want = NaiveDate::from_ymd_opt(y, m, d);
            for raw in [format!("{y}-{m}-{d}"), format!("{y}/{m:02}/{d:02} 10:11"), format!("{y}年{m}月{d}日"), format!("{y}{m:02}{d:02}"), format!("{y}.{m}.{d}")] {
                prop_assert_eq!(date(&raw).value, want);
            }
        }

        #[test]
        fn a_clean_date_stays(raw in "\\PC{0,30}|'?[0-9]{2,5}[-/.年][0-9]{1,2}[-/.月][0-9]{1,2}日?([ T]?(下午|上午)?[0-9]{1,2}[:时][0-9]{2}(:[0-9]{2})?(Z| ?[AP]M|[+-][0-9]{2}:?[0-9]{2})?)?|[0-9]{5,8}(\\.[0-9]{1,3})?") {
            if let Some(day) = date(&raw).value {
                prop_assert_eq!(date(&raw).rules.is_empty(), day.to_string() == raw, "{}", day);
                prop_assert_eq!(date(&day.to_string()), Cleaned { value: Some(day), rules: Rules::NONE });
                prop_assert!(is_plausible(day) && instant(&raw).value.is_some());
            }
            if let Some(at) = instant(&raw).value {
                let shown = at.with_timezone(&zone()).format("%F %T").to_string();
                prop_assert_eq!(instant(&shown), Cleaned { value: Some(at), rules: Rules::NONE });
            }
        }
    }
}
