//! Between milliseconds and the calendar: RFC 3339, in UTC, without a library of zones.
//!
//! A year begins in March here, so that the day which only some years have is its last.

use std::fmt;

const DAY: i64 = 86_400_000;
/// Days of 400 years; after so many the calendar repeats.
const ERA: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const EPOCH: i64 = 719_468;

/// A time of the calendar, in UTC.
pub(crate) struct Civil {
    year: i64,
    month: i64,
    day: i64,
    millis: i64,
}

impl Civil {
    /// Of the time so many milliseconds after 1970.
    pub(crate) fn of(time: i64) -> Civil {
        let days = time.div_euclid(DAY) + EPOCH;
        let (era, day) = (days.div_euclid(ERA), days.rem_euclid(ERA));
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        // Five months from March on have 153 days together, and so have the next five.
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        Civil { year: era * 400 + year + i64::from(month <= 2), month, day, millis: time.rem_euclid(DAY) }
    }
}

impl fmt::Display for Civil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.year {
            0..=9999 => write!(f, "{:04}", self.year)?,
            year => write!(f, "{year:+05}")?,
        }
        let (seconds, millis) = (self.millis / 1000, self.millis % 1000);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(f, "-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z", self.month, self.day)
    }
}

/// Days from 1970-01-01 to a day that there is.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=longest).contains(&day) {
        return None;
    }
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    Some(era * ERA + year * 365 + year / 4 - year / 100 + (153 * month + 2) / 5 + day - 1 - EPOCH)
}

/// What is left of a text that is read from its beginning.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    /// A number of exactly so many digits.
    fn number(&mut self, digits: usize) -> Option<i64> {
        let (number, rest) = self.0.split_at_checked(digits)?;
        self.0 = rest;
        number.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
    }

    /// The next character, which is one of these.
    fn one_of(&mut self, characters: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        characters.contains(first).then(|| {
            self.0 = rest;
            *first
        })
    }

    /// The milliseconds of a fraction of a second, if there is one.
    fn fraction(&mut self) -> Option<i64> {
        if self.one_of(b".").is_none() {
            return Some(0);
        }
        let mut millis = self.number(1)? * 100;
        for weight in [10, 1] {
            millis += self.number_if_any() * weight;
        }
        while self.one_of(b"0123456789").is_some() {}
        Some(millis)
    }

    fn number_if_any(&mut self) -> i64 {
        self.one_of(b"0123456789").map_or(0, |digit| i64::from(digit - b'0'))
    }

    /// Minutes that the zone is ahead of UTC.
    fn zone(&mut self) -> Option<i64> {
        let sign = match self.one_of(b"Zz+-")? {
            b'+' => 1,
            b'-' => -1,
            _ => return Some(0),
        };
        let (hours, _, minutes) = (self.number(2)?, self.one_of(b":")?, self.number(2)?);
        (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes))
    }
}

/// Milliseconds since 1970 of a `date-time` as in RFC 3339 §5.6, with a blank in place of the `T` if somebody likes.
pub(crate) fn millis(text: &str) -> Option<i64> {
    let mut rest = Rest(text.as_bytes());
    let (year, _, month, _, day) =
        (rest.number(4)?, rest.one_of(b"-")?, rest.number(2)?, rest.one_of(b"-")?, rest.number(2)?);
    let days = days(year, month, day)?;
    rest.one_of(b"Tt ")?;
    let (hour, _, minute, _, second) =
        (rest.number(2)?, rest.one_of(b":")?, rest.number(2)?, rest.one_of(b":")?, rest.number(2)?);
    let (fraction, zone) = (rest.fraction()?, rest.zone()?);
    let exists = hour < 24 && minute < 60 && second <= 60 && rest.0.is_empty();
    exists.then(|| days * DAY + ((hour * 60 + minute - zone) * 60 + second) * 1000 + fraction)
}
