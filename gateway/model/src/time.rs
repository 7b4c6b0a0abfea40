//! Wall-clock time as the gateway stores and sends it.

use std::{fmt, str::FromStr};

use crate::calendar::{self, Civil};

/// Milliseconds since 1970-01-01T00:00:00Z, leap seconds not counted. Negative before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

/// A text that says no time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimestampError {
    text: String,
}

impl Timestamp {
    /// The time that many milliseconds after the Unix epoch.
    pub const fn from_millis(millis: i64) -> Timestamp {
        Timestamp(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// How many milliseconds this time is after `earlier`; negative when it is before.
    pub const fn millis_since(self, earlier: Timestamp) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// As RFC 3339 writes it, in UTC: `2026-11-23T09:15:00.250Z`. A year beyond 9999 or before 0 is written with its
    /// sign, which RFC 3339 has no form for.
    pub fn rfc3339(self) -> impl fmt::Display {
        Civil::of(self.0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Unix milliseconds (`1795425300250`), or RFC 3339 (`2026-11-23T09:15:00.25Z`, `2026-11-23 10:15:00+01:00`). What is
/// finer than a millisecond is cut off.
impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Timestamp, TimestampError> {
        let millis = text.parse().ok().or_else(|| calendar::millis(text));
        millis.map(Timestamp).ok_or_else(|| TimestampError { text: text.to_owned() })
    }
}

impl fmt::Display for TimestampError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is no time; write Unix milliseconds (1795425300250) or RFC 3339 with its zone (2026-11-23T09:15:00Z)",
            self.text
        )
    }
}

impl std::error::Error for TimestampError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn millis(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millis()
    }

    #[test]
    fn a_time_is_read_as_milliseconds_or_as_rfc_3339() {
        assert_eq!(millis("1795425300250"), 1_795_425_300_250);
        assert_eq!(millis("-1"), -1);
        assert_eq!(millis("2026-11-23T09:15:00.25Z"), 1_795_425_300_250);
        assert_eq!(millis("2026-11-23t10:15:00.250999+01:00"), 1_795_425_300_250);
        assert_eq!(millis("2026-11-23 04:45:00.2504-04:30"), 1_795_425_300_250);
        assert_eq!(millis("1969-12-31T23:59:59.999Z"), -1);
        assert_eq!(millis("2000-02-29T00:00:00-00:00"), 951_782_400_000);
        assert_eq!(millis("0000-01-01T00:00:00Z"), -62_167_219_200_000);
        assert_eq!(millis("9999-12-31T23:59:59Z"), 253_402_300_799_000);
        // A leap second is the second after, as everywhere in Unix time.
        assert_eq!(millis("2016-12-31T23:59:60Z"), millis("2017-01-01T00:00:00Z"));
    }

    #[test]
    fn what_says_no_time_is_refused_and_told_how() {
        for text in [
            "",
            "yesterday",
            "12.5",
            "99999999999999999999",
            "2026-11-23",
            "2026-11-23T09:15Z",
            "2026-11-23T09:15:00",
            "2026-11-23T09:15:00.Z",
            "2026-11-23T09:15:00+0100",
            "2026-11-23T09:15:00 01:00",
            "2026-11-23T09:15:00Z ",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-11-23T24:00:00Z",
            "2026-11-23T09:60:00Z",
            "2026-11-23T09:15:61Z",
            "2026-11-23T09:15:00+24:00",
            "2026-11-23T09:15:00+01:60",
            "+026-11-23T09:15:00Z",
            "２０２６-11-23T09:15:00Z",
        ] {
            let error = text.parse::<Timestamp>().unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")) && error.contains("RFC 3339"), "{error}");
        }
    }

    #[test]
    fn a_time_is_written_so_that_it_is_read_again() {
        let written = |millis| Timestamp::from_millis(millis).rfc3339().to_string();
        assert_eq!(written(1_795_425_300_250), "2026-11-23T09:15:00.250Z");
        assert_eq!(written(-1), "1969-12-31T23:59:59.999Z");
        let mut time = -62_167_219_200_000;
        while time < 253_402_300_800_000 {
            assert_eq!(millis(&written(time)), time);
            // About four days, and no round number.
            time += 345_678_901;
        }
        assert_eq!(written(i64::MAX), "+292278994-08-17T07:12:55.807Z");
        assert_eq!(written(i64::MIN), "-292275055-05-16T16:47:04.192Z");
    }
}
