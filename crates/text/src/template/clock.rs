//! `strftime_now`: the date in a template's words. Always UTC, so that a prompt does not depend on the host.

use std::{
    fmt::Write as _,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

/// Where the time comes from.
pub(super) type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// The system's clock.
pub(super) fn system() -> Clock {
    Arc::new(SystemTime::now)
}

/// A moment taken apart.
struct Moment {
    year: u64,
    /// From 0.
    month: usize,
    /// From 1.
    day: u64,
    /// From 0.
    day_of_year: u64,
    weekday: usize,
    seconds: u64,
}

impl Moment {
    fn new(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let days = since / 86_400;
        let weekday = ((days + 4) % 7) as usize; // 1 January 1970 was a Thursday.
        let (mut year, mut day_of_year) = (1970 + days / 146_097 * 400, days % 146_097);
        while day_of_year >= year_days(year) {
            day_of_year -= year_days(year);
            year += 1;
        }
        let (mut month, mut day) = (0, day_of_year);
        while day >= month_days(year, month) {
            day -= month_days(year, month);
            month += 1;
        }
        Self { year, month, day: day + 1, day_of_year, weekday, seconds: since % 86_400 }
    }
}

fn year_days(year: u64) -> u64 {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    365 + u64::from(is_leap)
}

fn month_days(year: u64, month: usize) -> u64 {
    match month {
        1 => year_days(year) - 337,
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    }
}

/// Writes a time as C's `strftime` does; codes that are not known stay as they are.
pub(super) fn format(format: &str, time: SystemTime) -> String {
    let moment = Moment::new(time);
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        match (c, chars.clone().next()) {
            ('%', Some('-')) => {
                chars.next();
                let field = chars.next().map(|code| field(&moment, code)).unwrap_or_default();
                let short = field.trim_start_matches(['0', ' ']);
                out.push_str(if short.is_empty() { "0" } else { short });
            }
            ('%', Some(code)) => {
                chars.next();
                out.push_str(&field(&moment, code));
            }
            _ => out.push(c),
        }
    }
    out
}

fn field(moment: &Moment, code: char) -> String {
    let (hour, minute, second) = (moment.seconds / 3600, moment.seconds / 60 % 60, moment.seconds % 60);
    let (month, weekday) = (MONTHS[moment.month], DAYS[moment.weekday]);
    let mut out = String::new();
    let written = match code {
        'Y' => write!(out, "{}", moment.year),
        'y' => write!(out, "{:02}", moment.year % 100),
        'm' => write!(out, "{:02}", moment.month + 1),
        'B' => write!(out, "{month}"),
        'b' | 'h' => write!(out, "{}", &month[..3]),
        'd' => write!(out, "{:02}", moment.day),
        'e' => write!(out, "{:2}", moment.day),
        'j' => write!(out, "{:03}", moment.day_of_year + 1),
        'A' => write!(out, "{weekday}"),
        'a' => write!(out, "{}", &weekday[..3]),
        'w' => write!(out, "{}", moment.weekday),
        'H' => write!(out, "{hour:02}"),
        'I' => write!(out, "{:02}", (hour + 11) % 12 + 1),
        'M' => write!(out, "{minute:02}"),
        'S' => write!(out, "{second:02}"),
        'p' => write!(out, "{}", if hour < 12 { "AM" } else { "PM" }),
        'F' => write!(out, "{}-{:02}-{:02}", moment.year, moment.month + 1, moment.day),
        'T' => write!(out, "{hour:02}:{minute:02}:{second:02}"),
        'Z' => write!(out, "UTC"),
        'z' => write!(out, "+0000"),
        '%' => write!(out, "%"),
        other => write!(out, "%{other}"),
    };
    written.expect("writing to a string cannot fail");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn check(seconds: u64, code: &str, expect: &str) {
        assert_eq!(format(code, UNIX_EPOCH + Duration::from_secs(seconds)), expect);
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        check(0, "%A %d %B %Y %H:%M:%S", "Thursday 01 January 1970 00:00:00");
        check(951_782_400, "%F %a %j", "2000-02-29 Tue 060");
        check(1_795_395_723, "%d %b %Y %T %y", "23 Nov 2026 01:02:03 26");
        check(4_107_542_399, "%F %I %p", "2100-02-28 11 PM");
        check(4_107_542_400, "%F %-d %e %-H", "2100-03-01 1  1 0");
        check(0, "100%% %Q %", "100% %Q %");
    }
}
