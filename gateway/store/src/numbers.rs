//! Between the numbers of the store (never negative), of SQLite (64 bits, signed) and of memory.

/// As SQLite keeps it. Positions, numbers of rows and sizes stay below 2^63: at a million rows a second that takes
/// 292,000 years.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// As it was before SQLite kept it; what is negative there has been damaged and counts as 0.
pub(crate) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// How many.
pub(crate) fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// How many, for an index or a capacity.
pub(crate) fn length(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
