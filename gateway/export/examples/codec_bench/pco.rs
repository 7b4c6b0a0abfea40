//! pco, one call per column, at its usual level; a bit per row where values are missing.

use anyhow::Context;
use pco::{
    ChunkConfig,
    data_types::Number,
    standalone::{simple_compress, simple_decompress},
};
use tidegate_model::{Value, ValueKind};

use crate::{data::Piece, packing::Packing};

/// Columns of numbers, the first with the times. Texts are their number in the list of a column's texts, which goes with them.
pub(crate) struct Pco {
    config: ChunkConfig,
    kinds: Vec<ValueKind>,
    unpacked: Vec<Column>,
}

#[derive(PartialEq)]
enum Numbers {
    Int(Vec<i64>),
    /// Compared by their bits.
    F64(Vec<u64>),
    Small(Vec<u16>),
    Code(Vec<u32>),
}

/// What is there of a column, which of its rows have it, and its texts.
#[derive(PartialEq)]
struct Column {
    present: Vec<u8>,
    numbers: Numbers,
    texts: Vec<u8>,
}

impl Pco {
    pub(crate) fn new() -> Pco {
        Pco { config: ChunkConfig::default(), kinds: Vec::new(), unpacked: Vec::new() }
    }

    fn compress(&self, numbers: &Numbers) -> anyhow::Result<Vec<u8>> {
        Ok(match numbers {
            Numbers::Int(numbers) => simple_compress(numbers, &self.config)?,
            Numbers::F64(bits) => {
                let numbers: Vec<f64> = bits.iter().copied().map(f64::from_bits).collect();
                simple_compress(&numbers, &self.config)?
            }
            Numbers::Small(numbers) => simple_compress(numbers, &self.config)?,
            Numbers::Code(numbers) => simple_compress(numbers, &self.config)?,
        })
    }
}

fn column(piece: &Piece<'_>, index: usize, kind: ValueKind) -> Column {
    let values = || piece.rows.iter().map(move |(_, values)| values.get(index).and_then(Option::as_ref));
    let there = values().flatten();
    let mut texts: Vec<&str> = Vec::new();
    let numbers = match kind {
        ValueKind::F64 => Numbers::F64(there.filter_map(|value| value.as_f64().map(f64::to_bits)).collect()),
        ValueKind::Int => Numbers::Int(
            there.filter_map(|value| if let Value::Int(number) = value { Some(*number) } else { None }).collect(),
        ),
        ValueKind::Bool => Numbers::Small(there.map(|value| u16::from(*value == Value::Bool(true))).collect()),
        _ => {
            let mut codes = Vec::new();
            for value in there {
                if let Value::Text(text) = value {
                    let known = texts.iter().position(|known| *known == &**text);
                    codes.push(u32::try_from(known.unwrap_or(texts.len())).unwrap_or(u32::MAX));
                    texts.extend(known.is_none().then_some(&**text));
                }
            }
            Numbers::Code(codes)
        }
    };
    let mut present = Vec::new();
    if values().any(|value| value.is_none()) {
        let flags: Vec<bool> = values().map(|value| value.is_some()).collect();
        present =
            flags.chunks(8).map(|bits| bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit))).collect();
    }
    Column { present, numbers, texts: texts.iter().flat_map(|text| [text.as_bytes(), &[0]].concat()).collect() }
}

fn times(piece: &Piece<'_>) -> Column {
    let numbers = Numbers::Int(piece.rows.iter().map(|(time, _)| *time).collect());
    Column { present: Vec::new(), numbers, texts: Vec::new() }
}

fn put(part: &[u8], out: &mut Vec<u8>) -> anyhow::Result<()> {
    out.extend_from_slice(&u16::try_from(part.len())?.to_le_bytes());
    out.extend_from_slice(part);
    Ok(())
}

fn take<'a>(bytes: &mut &'a [u8]) -> anyhow::Result<&'a [u8]> {
    let (length, rest) = bytes.split_first_chunk().context("cut")?;
    let (part, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length))).context("cut")?;
    *bytes = rest;
    Ok(part)
}

fn decompress<N: Number>(packed: &[u8]) -> anyhow::Result<Vec<N>> {
    Ok(simple_decompress(packed)?)
}

impl Packing for Pco {
    fn pack(&mut self, piece: &Piece<'_>, out: &mut Vec<u8>) -> anyhow::Result<()> {
        self.kinds = piece.columns.iter().map(|column| column.value_type.kind).collect();
        put(&self.compress(&times(piece).numbers)?, out)?;
        for (index, kind) in self.kinds.iter().enumerate() {
            let column = column(piece, index, *kind);
            // One byte says which of the two there are.
            out.push(u8::from(!column.present.is_empty()) | u8::from(!column.texts.is_empty()) << 1);
            for part in [&column.present, &column.texts].into_iter().filter(|part| !part.is_empty()) {
                put(part, out)?;
            }
            put(&self.compress(&column.numbers)?, out)?;
        }
        Ok(())
    }

    fn unpack(&mut self, mut bytes: &[u8]) -> anyhow::Result<()> {
        self.unpacked.clear();
        let times = Numbers::Int(decompress(take(&mut bytes)?)?);
        self.unpacked.push(Column { present: Vec::new(), numbers: times, texts: Vec::new() });
        for kind in &self.kinds {
            let (parts, rest) = bytes.split_first().context("cut")?;
            bytes = rest;
            let mut part = |flag| if parts & flag > 0 { take(&mut bytes).map(<[u8]>::to_vec) } else { Ok(Vec::new()) };
            let (present, texts) = (part(1)?, part(2)?);
            let packed = take(&mut bytes)?;
            let numbers = match kind {
                ValueKind::F64 => {
                    let numbers: Vec<f64> = decompress(packed)?;
                    Numbers::F64(numbers.into_iter().map(f64::to_bits).collect())
                }
                ValueKind::Int => Numbers::Int(decompress(packed)?),
                ValueKind::Bool => Numbers::Small(decompress(packed)?),
                _ => Numbers::Code(decompress(packed)?),
            };
            self.unpacked.push(Column { present, numbers, texts });
        }
        Ok(())
    }

    fn is(&self, piece: &Piece<'_>) -> bool {
        let columns = self.kinds.iter().enumerate().map(|(index, kind)| column(piece, index, *kind));
        let expected: Vec<Column> = std::iter::once(times(piece)).chain(columns).collect();
        self.unpacked == expected
    }
}
