//! What every way to pack has in common, and how it is measured.

use std::time::Instant;

use anyhow::bail;

use crate::data::Piece;

/// A way to pack the rows of a piece into bytes.
pub(crate) trait Packing {
    /// Packs a piece; `out` is empty.
    fn pack(&mut self, piece: &Piece<'_>, out: &mut Vec<u8>) -> anyhow::Result<()>;

    /// Unpacks what was packed, and keeps it until the next time.
    fn unpack(&mut self, bytes: &[u8]) -> anyhow::Result<()>;

    /// Whether what was unpacked last is the piece, to the last bit.
    fn is(&self, piece: &Piece<'_>) -> bool;
}

/// What was measured of one way at one number of rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    /// Bytes per value; a bad sample counts as a value.
    pub(crate) bytes: f64,
    /// Million values per second.
    pub(crate) pack: f64,
    /// Million values per second.
    pub(crate) unpack: f64,
}

/// Packs and unpacks all pieces several times, and compares them once.
pub(crate) fn measure(packing: &mut dyn Packing, pieces: &[Piece<'_>], runs: usize) -> anyhow::Result<Measured> {
    let mut packed = vec![Vec::new(); pieces.len()];
    let mut packs = Vec::new();
    for _ in 0..runs {
        let start = Instant::now();
        for (piece, out) in pieces.iter().zip(&mut packed) {
            out.clear();
            packing.pack(piece, out)?;
        }
        packs.push(start.elapsed().as_secs_f64());
    }
    let mut unpacks = Vec::new();
    for _ in 0..runs {
        let start = Instant::now();
        for bytes in &packed {
            packing.unpack(bytes)?;
        }
        unpacks.push(start.elapsed().as_secs_f64());
    }
    for (piece, bytes) in pieces.iter().zip(&packed) {
        packing.unpack(bytes)?;
        if !packing.is(piece) {
            bail!("what was unpacked is not what was packed");
        }
    }
    let values = number(pieces.iter().map(|piece| piece.rows.len() * piece.columns.len()).sum());
    let bytes = number(packed.iter().map(Vec::len).sum());
    let speed = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        values / times.get(times.len() / 2).copied().unwrap_or(f64::NAN) / 1e6
    };
    Ok(Measured { bytes: bytes / values, pack: speed(packs), unpack: speed(unpacks) })
}

#[expect(clippy::as_conversions, reason = "a count far below 2^53")]
pub(crate) fn number(count: usize) -> f64 {
    count as f64
}
