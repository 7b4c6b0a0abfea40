//! How many bytes the blocks take and how fast they are, beside what others send: `cargo xtask bench codec --data DIR`.
//!
//! DIR has recorded data as CSV: first line `ts` (Unix milliseconds) and then `name:type` (f float, i integer, b bool,
//! s string), an empty cell for a bad sample. Every set is cut into batches of 60 and of 600 rows, each of which is packed alone,
//! unpacked again, and compared to the last bit. Speeds are those of one thread, the median of several runs over the whole set.

mod blocks;
mod data;
mod json;
mod packing;
mod parquet;
mod pco;
mod raw;
mod table;

use std::path::Path;

use anyhow::{Context, bail};
use data::Set;
use packing::{Measured, Packing, measure};
use tidegate_codec::block::Codec;

/// Rows in a batch.
const ROWS: [usize; 2] = [60, 600];
/// Runs over a set; the median counts.
const RUNS: usize = 5;

/// One way to pack, measured at each number of rows.
struct Line {
    name: &'static str,
    measured: Vec<Measured>,
}

/// Every way to pack a set; the first is the product's own.
fn packings(set: &Set) -> anyhow::Result<Vec<(&'static str, Box<dyn Packing>)>> {
    Ok(vec![
        ("block, codec 1", Box::new(blocks::Blocks::new(Codec::Range, set))),
        ("block, codec 2", Box::new(blocks::Blocks::new(Codec::Parts, set))),
        ("block, codec 0", Box::new(blocks::Blocks::new(Codec::Planes, set))),
        ("compact JSON", Box::new(json::Json::new(None))),
        ("JSON + gzip", Box::new(json::Json::new(Some(6)))),
        ("raw 16 bytes + zstd", Box::new(raw::Raw::new()?)),
        ("pco, column by column", Box::new(pco::Pco::new())),
        ("Parquet + zstd", Box::new(parquet::Parquet::new(set)?)),
    ])
}

fn lines(set: &Set) -> anyhow::Result<Vec<Line>> {
    let mut lines = Vec::new();
    for (name, mut packing) in packings(set)? {
        let mut measured = Vec::new();
        for rows in ROWS {
            let pieces = set.pieces(rows)?;
            let figures = measure(packing.as_mut(), &pieces, RUNS);
            measured.push(figures.with_context(|| format!("{name} of {} at {rows} rows", set.name))?);
        }
        lines.push(Line { name, measured });
    }
    Ok(lines)
}

fn main() -> anyhow::Result<()> {
    let folder = std::env::args_os().nth(1).context("which folder are the recorded sets in?")?;
    let sets = data::sets(Path::new(&folder))?;
    if sets.is_empty() {
        bail!("there is no .csv in {}", Path::new(&folder).display());
    }
    let mut all = Vec::new();
    for set in &sets {
        let lines = lines(set)?;
        print!("{}", table::of(set, &lines));
        all.push(lines);
    }
    print!("{}", table::together(&all));
    Ok(())
}
