//! Numbers of rows that do not follow each other, as they stand beside a block that has been thinned.

use crate::summary::{put, take};

/// Bytes of these numbers, which have to ascend: of each the numbers left out before it, and a checksum.
pub(crate) fn encode(seqs: &[u64]) -> Vec<u8> {
    let mut out = Vec::with_capacity(seqs.len() + 12);
    let mut next = 0_u64;
    for seq in seqs {
        put(seq.saturating_sub(next), &mut out);
        next = seq.saturating_add(1);
    }
    let checksum = crc32c::crc32c(&out);
    out.extend_from_slice(&checksum.to_le_bytes());
    out
}

/// The numbers that [`encode`] has written for so many rows; `None` when they are damaged.
pub(crate) fn decode(bytes: &[u8], rows: usize) -> Option<Vec<u64>> {
    let (mut left, checksum) = bytes.split_last_chunk::<4>()?;
    if crc32c::crc32c(left) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let (mut seqs, mut next) = (Vec::with_capacity(rows.min(left.len())), 0_u64);
    while !left.is_empty() {
        let seq = next.checked_add(take(&mut left)?)?;
        seqs.push(seq);
        next = seq.saturating_add(1);
    }
    (seqs.len() == rows).then_some(seqs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_damaged_ones_are_refused() {
        let seqs = [7, 8, 9, 200, 201, 70_000];
        let bytes = encode(&seqs);
        assert_eq!(decode(&bytes, 6).as_deref(), Some(seqs.as_slice()));
        assert_eq!(decode(&bytes, 5), None);
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&bytes, 6), None, "bit {bit}");
        }
    }
}
