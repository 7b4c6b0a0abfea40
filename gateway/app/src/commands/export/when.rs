//! Times on the command line.

use std::{str::FromStr, time::Duration};

use tidegate_model::Timestamp;

/// A time as a person writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// At this time.
    At(Timestamp),
    /// So long before now.
    Ago(Duration),
}

impl When {
    /// The time, if it is `now`.
    pub(crate) fn at(self, now: Timestamp) -> Timestamp {
        match self {
            When::At(time) => time,
            When::Ago(age) => {
                let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
                Timestamp::from_millis(now.as_millis().saturating_sub(age))
            }
        }
    }
}

/// `now`, `-2h`, `2026-11-23`, `2026-11-23T09:15`, `2026-11-23T09:15:00Z` or Unix milliseconds. What says no zone is UTC.
impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<When, String> {
        if text == "now" {
            return Ok(When::Ago(Duration::ZERO));
        }
        if let Some(age) = text.strip_prefix('-')
            && let Ok(age) = tidegate_config::parse_duration(age)
        {
            return Ok(When::Ago(age));
        }
        // What may have been left out at the end.
        let endings = ["", "Z", ":00Z", "T00:00:00Z"];
        let time = endings.iter().find_map(|ending| format!("{text}{ending}").parse().ok());
        time.map(When::At).ok_or_else(|| {
            "write a date or a time in UTC (2026-11-23, 2026-11-23T09:15), with a zone (2026-11-23T10:15:00+01:00), how long \
             ago (-2h), now, or Unix milliseconds"
                .to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_425_300_000);

    #[track_caller]
    fn millis(text: &str) -> i64 {
        text.parse::<When>().unwrap().at(NOW).as_millis()
    }

    #[test]
    fn a_time_is_written_as_it_comes_to_mind() {
        assert_eq!(millis("now"), 1_795_425_300_000);
        assert_eq!(millis("-2h"), 1_795_418_100_000);
        assert_eq!(millis("-250ms"), 1_795_425_299_750);
        assert_eq!(millis("2026-11-23"), 1_795_392_000_000);
        assert_eq!(millis("2026-11-23T09:15"), 1_795_425_300_000);
        assert_eq!(millis("2026-11-23 09:15:00"), 1_795_425_300_000);
        assert_eq!(millis("2026-11-23T10:15:00+01:00"), 1_795_425_300_000);
        assert_eq!(millis("1795425300000"), 1_795_425_300_000);
        assert_eq!(millis("-1"), -1);
    }

    #[test]
    fn what_is_no_time_is_refused_with_examples() {
        for text in ["", "yesterday", "2h", "09:15", "2026-13-01", "2026-11-23T"] {
            let refused = text.parse::<When>();
            assert!(refused.as_ref().is_err_and(|help| help.contains("-2h")), "{text}: {refused:?}");
        }
    }
}
