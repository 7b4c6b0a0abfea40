//! Bytes per value and speed of blocks on recorded tables: `block_bench DIR [WORD]`.

mod loader;

use std::{error::Error, hint::black_box, path::Path, time::Instant};

use loader::Table;
use tidegate_codec::block::{Batch, Codec, Decoder, Encoder, Frame, Origin, SchemaId, split};
use tidegate_model::{Column, Slot, StreamId, Timestamp, Value, ValueKind, ValueType};

const ORIGIN: Origin = Origin { stream: StreamId(7), schema: SchemaId(0xfeed_beef), boot: 3 };

struct Result_ {
    bytes: f64,
    encode: f64,
    decode: f64,
}

fn measure(columns: &[Column], batches: &[Batch], codec: Codec) -> Result<Result_, Box<dyn Error>> {
    let values: usize = batches.iter().map(|batch| batch.len() * batch.columns()).sum();
    let runs = if std::env::var("QUICK").is_ok() { 1 } else { 5 };
    let (mut encode, mut decode) = (f64::MAX, f64::MAX);
    let mut bytes = 0;
    for run in 0..runs {
        let mut encoder = Encoder::new(codec);
        let mut blocks: Vec<Vec<u8>> = Vec::new();
        let start = Instant::now();
        for batch in batches {
            let mut out = Vec::new();
            encoder.encode(&ORIGIN, batch, &mut out)?;
            blocks.push(out);
        }
        encode = encode.min(start.elapsed().as_secs_f64());
        let mut decoder = Decoder::new();
        let mut decoded = Batch::new(columns);
        let start = Instant::now();
        for block in &blocks {
            for frame in split(block) {
                if let Frame::Data(head) = frame? {
                    decoder.decode_into(&head, ORIGIN.schema, &mut decoded)?;
                    black_box(&decoded);
                }
            }
        }
        decode = decode.min(start.elapsed().as_secs_f64());
        bytes = blocks.iter().map(Vec::len).sum();
        if run == 0 {
            for (block, batch) in blocks.iter().zip(batches) {
                let Some(Ok(Frame::Data(head))) = split(block).next() else { return Err("no block".into()) };
                let found = decoder.decode(&head, ORIGIN.schema, columns)?;
                if !same(&found, batch) {
                    return Err("rows differ".into());
                }
            }
        }
    }
    let values = values as f64;
    Ok(Result_ { bytes: bytes as f64 / values, encode: values / encode / 1e6, decode: values / decode / 1e6 })
}

fn same(found: &Batch, expected: &Batch) -> bool {
    found.times() == expected.times()
        && (0..expected.columns()).all(|column| {
            found.slots(column).zip(expected.slots(column)).all(|(found, expected)| {
                match (found.value(), expected.value()) {
                    (Some(found), Some(expected)) => found.same_as(expected) && true,
                    (None, None) => true,
                    _ => false,
                }
            })
        })
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: block_bench DIR")?;
    let only = std::env::args().nth(2).unwrap_or_default();
    let mut tables = Vec::new();
    for table in Table::load_all(Path::new(&folder))? {
        if table.name != "hvac_mz" {
            let mut polled = table.clone().polled();
            polled.name += "+jitter";
            tables.push(polled);
        }
        if table.name == "hydraulic" {
            tables.extend(derived(&table));
        }
        tables.push(table);
    }
    if std::env::var("COLS").is_ok() {
        for table in &tables {
            if !table.name.contains(&only) {
                continue;
            }
            for column in 0..table.columns.len() {
                let one = Table {
                    name: String::new(),
                    columns: vec![table.columns[column].clone()],
                    times: (0..table.times.len() as i64).map(|t| t * 1000).collect(),
                    rows: table.rows.iter().map(|row| vec![row[column].clone()]).collect(),
                };
                print!("{:<20}{:<50}", table.name, table.columns[column].name);
                for rows in [60, 600] {
                    let r = measure(&one.columns, &one.batches(rows)?, Codec::Range)?;
                    print!(" {rows}: {:.3} bits", r.bytes * 8.0 - 25.0 * 8.0 / rows as f64);
                }
                println!();
            }
        }
        return Ok(());
    }
    for table in &tables {
        if !table.name.contains(&only) {
            continue;
        }
        for codec in [Codec::Range, Codec::Planes] {
            print!("{:<18} {codec:?}\t", table.name);
            for rows in [60, 600] {
                let r = measure(&table.columns, &table.batches(rows)?, codec)?;
                print!(" {rows:>4}: {:.4} B {:6.1} enc {:6.1} dec M/s |", r.bytes, r.encode, r.decode);
            }
            if codec == Codec::Range && table.columns.len() > 1 {
                let cut = Table {
                    columns: table.columns[..table.columns.len().min(10)].to_vec(),
                    rows: table.rows[..1000].iter().map(|row| row[..row.len().min(10)].to_vec()).collect(),
                    ..table.clone()
                };
                let r = measure(&cut.columns, &cut.batches(1)?, codec)?;
                print!("    1: {:.3} B ({} tags) {:.1} enc", r.bytes, cut.columns.len(), r.encode);
            }
            println!();
        }
    }
    let _ = (Timestamp::from_millis(0), ValueKind::F32);
    Ok(())
}

fn derived(table: &Table) -> Vec<Table> {
    let mut state = 88172645463325252_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut map = |name: &str, kind: ValueKind, f: &mut dyn FnMut(f64, u64) -> Value| Table {
        name: name.to_owned(),
        columns: table.columns.iter().map(|column| Column::new(column.name.clone(), ValueType::single(kind))).collect(),
        times: table.times.clone(),
        rows: table
            .rows
            .iter()
            .take(20000)
            .map(|row| {
                row.iter()
                    .map(|slot| match slot.value() {
                        Some(Value::F64(x)) => Slot::Good(f(*x, random())),
                        _ => slot.clone(),
                    })
                    .collect()
            })
            .collect(),
    };
    vec![
        map("f32noise", ValueKind::F32, &mut |x, r| {
            Value::F32((x * (1.0 + (r >> 40) as f64 / (1 << 24) as f64 * 1e-3)) as f32)
        }),
        map("f32noise-in-f64", ValueKind::F64, &mut |x, r| {
            Value::F64(f64::from((x * (1.0 + (r >> 40) as f64 / (1 << 24) as f64 * 1e-3)) as f32))
        }),
        map("f64noise", ValueKind::F64, &mut |x, r| {
            Value::F64(x * (1.0 + (r >> 11) as f64 / (1_u64 << 53) as f64 * 1e-3))
        }),
        map("f64random", ValueKind::F64, &mut |_, r| Value::F64(f64::from_bits(r))),
        map("s7f32", ValueKind::F32, &mut |x, _| Value::F32(((x * 276.48).round() as f32) * (100.0_f32 / 27648.0))),
        map("int", ValueKind::Int, &mut |x, _| Value::Int((x * 1000.0).round() as i64)),
        map("mul.001", ValueKind::F64, &mut |x, _| Value::F64((x * 1000.0).round() * 0.001)),
        map("f32dec", ValueKind::F32, &mut |x, _| Value::F32(x as f32)),
    ]
}
