//! Numbers and times as PostgreSQL wants them. Pure.

use sqlx::{
    Encode, Postgres, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, types::Oid},
};

use crate::{Ranges, Starts};

/// From 1970, where Unix begins to count, to 2000, where PostgreSQL does, in milliseconds.
const EPOCH: i64 = 946_684_800_000;
/// The earliest and the latest `timestamptz`, in microseconds from 2000 on (PostgreSQL, `datatype/timestamp.h`).
const EARLIEST: i64 = -211_813_488_000_000_000;
const LATEST: i64 = 9_223_371_331_199_999_999;

/// A number that is known to be small enough; the largest there is otherwise.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A `bigint` that is never negative.
pub(crate) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Unix milliseconds as the microseconds of a `timestamptz`; what lies beyond its ends is at its ends.
pub(crate) fn timestamp(millis: i64) -> i64 {
    millis.saturating_sub(EPOCH).saturating_mul(1000).clamp(EARLIEST, LATEST)
}

/// Unix milliseconds as the `timestamptz` that a COPY of them makes, also at its ends, which no sum of a time and an interval reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(i64);

impl Moment {
    pub(crate) fn of(millis: i64) -> Moment {
        Moment(timestamp(millis))
    }
}

// The numbers of `timestamptz` and of its arrays are the same in every PostgreSQL (`pg_type.dat`).
impl Type<Postgres> for Moment {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1184))
    }
}

impl PgHasArrayType for Moment {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1185))
    }
}

impl Encode<'_, Postgres> for Moment {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(&self.0.to_be_bytes());
        Ok(IsNull::No)
    }
}

/// A set as the text of an `int8multirange`.
pub(crate) fn write_ranges(ranges: &Ranges) -> String {
    let mut text = String::from("{");
    for (first, last) in ranges.iter() {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(&format!("[{},{})", signed(first), signed(last.saturating_add(1))));
    }
    text.push('}');
    text
}

/// Reads the text of an `int8multirange` that has no open end and no number below 0.
pub(crate) fn parse_ranges(text: &str) -> Option<Ranges> {
    let text = text.strip_prefix('{')?.strip_suffix('}')?;
    let mut ranges = Ranges::default();
    // `[1,5),[9,12)`: PostgreSQL writes whole numbers always so.
    for part in text.split_inclusive(')').filter(|part| !part.is_empty()) {
        let (first, end) = part.trim_start_matches(',').strip_prefix('[')?.strip_suffix(')')?.split_once(',')?;
        let (first, end) = (first.parse::<u64>().ok()?, end.parse::<u64>().ok()?);
        ranges.insert(first, end.checked_sub(1)?);
    }
    Some(ranges)
}

/// The starts of a gateway as the text of a `bigint[]`: start, first number, last number, and so on.
pub(crate) fn write_starts(starts: &Starts) -> String {
    let numbers: Vec<String> = starts
        .iter()
        .flat_map(|(boot, first, last)| [boot, first, last])
        .map(|number| signed(number).to_string())
        .collect();
    format!("{{{}}}", numbers.join(","))
}

/// Reads the numbers that [`write_starts`] has written.
pub(crate) fn parse_starts(numbers: &[i64]) -> Starts {
    let (spans, _) = numbers.as_chunks::<3>();
    spans
        .iter()
        .map(|[boot, first, last]| (unsigned(*boot), unsigned(*first), unsigned(*last)))
        .collect::<Vec<_>>()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_written_as_postgres_writes_them() {
        let ranges: Ranges = [(1, 4), (9, 9)].into_iter().collect();
        assert_eq!(write_ranges(&ranges), "{[1,5),[9,10)}");
        assert_eq!(parse_ranges("{[1,5),[9,10)}"), Some(ranges));
        assert_eq!(parse_ranges("{}"), Some(Ranges::default()));
        assert_eq!(write_ranges(&Ranges::default()), "{}");
    }

    #[test]
    fn starts_are_written_as_an_array() {
        let starts: Starts = vec![(1, 10, 20), (3, 21, 29)].into();
        assert_eq!(write_starts(&starts), "{1,10,20,3,21,29}");
        assert_eq!(parse_starts(&[1, 10, 20, 3, 21, 29]), starts);
        assert_eq!(write_starts(&parse_starts(&[])), "{}");
    }

    #[test]
    fn what_is_no_set_is_refused() {
        for text in ["", "{", "{[1,5)", "{[1,)}", "{(,)}", "{[-1,5)}", "{[1,0)x}"] {
            assert_eq!(parse_ranges(text), None, "{text}");
        }
    }

    #[test]
    fn times_are_counted_from_2000_and_kept_within_bounds() {
        assert_eq!(timestamp(EPOCH), 0);
        assert_eq!(timestamp(0), -946_684_800_000_000);
        assert_eq!(timestamp(i64::MAX), LATEST);
        assert_eq!(timestamp(i64::MIN), EARLIEST);
        assert_eq!(Moment::of(i64::MAX), Moment(LATEST));
    }
}
