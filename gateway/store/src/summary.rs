//! Which rows a record holds, kept beside it: enough to say what is lost when the record is dropped or cannot be read.

use std::collections::BTreeMap;

use tidegate_model::{Row, StreamId};

/// The numbers of the rows of one stream in a record, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// The smallest.
    pub(crate) first: u64,
    /// The largest.
    pub(crate) last: u64,
}

impl Span {
    /// How many rows that is.
    pub(crate) fn rows(self) -> u64 {
        self.last.saturating_sub(self.first).saturating_add(1)
    }
}

/// Which rows a record holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Position of the record's first row.
    pub(crate) first_position: u64,
    /// By stream.
    pub(crate) streams: BTreeMap<StreamId, Span>,
}

/// Merges `span` into what is known of the stream.
pub(crate) fn widen<K: Ord>(spans: &mut BTreeMap<K, Span>, key: K, span: Span) {
    spans
        .entry(key)
        .and_modify(|known| {
            known.first = known.first.min(span.first);
            known.last = known.last.max(span.last);
        })
        .or_insert(span);
}

impl Summary {
    /// Of these rows.
    pub(crate) fn of<'a>(first_position: u64, rows: impl Iterator<Item = &'a Row>) -> Summary {
        let mut streams = BTreeMap::new();
        for row in rows {
            widen(&mut streams, row.stream.id(), Span { first: row.seq, last: row.seq });
        }
        Summary { first_position, streams }
    }

    /// As FORMAT.md describes it.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + 8 * self.streams.len());
        put(self.first_position, &mut out);
        let mut before = 0;
        for (stream, span) in &self.streams {
            put(u64::from(stream.0) - before, &mut out);
            put(span.first, &mut out);
            put(span.last.saturating_sub(span.first), &mut out);
            before = u64::from(stream.0);
        }
        let checksum = crc32c::crc32c(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }

    /// What [`Summary::encode`] has written for the record at `first_position`; `None` when it is damaged.
    pub(crate) fn decode(bytes: &[u8], first_position: u64) -> Option<Summary> {
        let (mut left, checksum) = bytes.split_last_chunk::<4>()?;
        if crc32c::crc32c(left) != u32::from_le_bytes(*checksum) || take(&mut left)? != first_position {
            return None;
        }
        let mut streams = BTreeMap::new();
        let mut before = 0_u64;
        while !left.is_empty() {
            before = before.checked_add(take(&mut left)?)?;
            let first = take(&mut left)?;
            let last = first.checked_add(take(&mut left)?)?;
            streams.insert(StreamId(u32::try_from(before).ok()?), Span { first, last });
        }
        Some(Summary { first_position, streams })
    }
}

/// Seven bits a byte, the lowest first; the top bit says that more follow.
pub(crate) fn put(mut number: u64, out: &mut Vec<u8>) {
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or(0);
        number >>= 7;
        if number == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

pub(crate) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary() -> Summary {
        let streams = [(1, 1, 1), (2, 500, 799), (4_000_000_000, u64::MAX - 1, u64::MAX)];
        let streams = streams.map(|(id, first, last)| (StreamId(id), Span { first, last })).into();
        Summary { first_position: 1_234_567, streams }
    }

    #[test]
    fn a_summary_comes_back_from_its_bytes() {
        assert_eq!(Summary::decode(&summary().encode(), 1_234_567), Some(summary()));
    }

    #[test]
    fn a_summary_of_another_record_is_refused() {
        assert_eq!(Summary::decode(&summary().encode(), 1_234_568), None);
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_refused() {
        let bytes = summary().encode();
        for end in 0..bytes.len() {
            assert_eq!(Summary::decode(&bytes[..end], 1_234_567), None, "cut at {end}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Summary::decode(&bytes, 1_234_567), None, "bit {bit}");
        }
    }
}
