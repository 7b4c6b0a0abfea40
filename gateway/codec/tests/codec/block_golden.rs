//! Blocks of every released version are read for ever.
//!
//! `UPDATE_GOLDEN=1` writes the files anew, which is right only before a version is released: its format may then still change.

use std::{fs, path::PathBuf, sync::Once};

use serde_json::{Value as Json, json};
use tidegate_codec::block::{
    Batch, BlockSchema, Codec, Decoder, Encoder, Frame, GapRecord, Origin, SchemaId, StoreId,
    file::{Part, parts, put_schema},
    split,
};
use tidegate_model::{Column, Quality, Reason, Slot, StreamId, Timestamp, Value, ValueKind, ValueType};

use crate::block_hostile::Random;

/// The file of a codec.
pub(crate) const FILES: [(Codec, &str); 3] =
    [(Codec::Range, "block-1-range.tgb"), (Codec::Planes, "block-1-planes.tgb"), (Codec::Parts, "block-1-parts.tgb")];
/// The rows of each, a line each, and what is missing.
const ROWS: &str = "block-1.jsonl";
const SCHEMAS: [&str; 2] = ["block-1-values.json", "block-1-numbers.json"];

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// A golden file; all are written anew before the first is read, if that is wanted.
pub(crate) fn golden(name: &str) -> Vec<u8> {
    static UPDATE: Once = Once::new();
    UPDATE.call_once(|| {
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            update();
        }
    });
    fs::read(path(name)).unwrap()
}

fn update() {
    for (codec, name) in FILES {
        fs::write(path(name), file(codec)).unwrap();
    }
    for (name, schema) in SCHEMAS.into_iter().zip([values_schema(), numbers_schema()]) {
        fs::write(path(name), schema.encode().unwrap()).unwrap();
    }
    fs::write(path(ROWS), expected()).unwrap();
}

fn column(name: &str, kind: ValueKind, items: Option<u32>) -> Column {
    Column::new(name.parse().unwrap(), ValueType { kind, items })
}

fn schema(group: &str, columns: Vec<Column>, salt: u32) -> BlockSchema {
    let (device, group) = ("meter-1".parse().unwrap(), group.parse().unwrap());
    BlockSchema { store: StoreId(0x00c0_ffee_00c0_ffee), device, group, columns: columns.into(), salt }
}

fn name_of(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::Bool => "bool",
        ValueKind::Int => "int",
        ValueKind::Uint => "uint",
        ValueKind::F32 => "f32",
        ValueKind::F64 => "f64",
        ValueKind::Text => "text",
        ValueKind::Bytes => "bytes",
    }
}

/// A column of every kind, and an array of every kind.
fn values_schema() -> BlockSchema {
    let kinds = ValueKind::ALL.into_iter();
    let single = kinds.clone().map(|kind| column(name_of(kind), kind, None));
    let arrays = kinds.map(|kind| column(&format!("{}_array", name_of(kind)), kind, Some(3)));
    schema("values", single.chain(arrays).collect(), 0)
}

/// Extremes and the ordinary of every kind.
fn values(kind: ValueKind) -> Vec<Value> {
    let single = |bits: &u32| Value::F32(f32::from_bits(*bits));
    let double = |bits: &u64| Value::F64(f64::from_bits(*bits));
    match kind {
        ValueKind::Bool => vec![Value::Bool(true), Value::Bool(false)],
        ValueKind::Int => [i64::MIN, i64::MAX, 0, -1, 1, 230, 1 << 53].map(Value::Int).to_vec(),
        ValueKind::Uint => [0, u64::MAX, 1 << 63, (1 << 63) - 1, 65_536].map(Value::Uint).to_vec(),
        ValueKind::F32 => {
            // 0.0, -0.0, NaN quiet, signalling and negative with payload, infinities, subnormals, the largest, decimals.
            let bits = [0, 1 << 31, 0x7fc0_0000, 0x7f80_0001, 0xffc0_1234, 0x7f80_0000, 0xff80_0000, 1, 0x807f_ffff];
            let mut values: Vec<Value> = bits.iter().map(single).collect();
            values.extend([f32::MAX, 229.8, -17.25, 0.1].map(Value::F32));
            values
        }
        ValueKind::F64 => {
            let (nan, signalling) = (0x7ff8_0000_0000_0000, 0x7ff0_0000_0000_0001);
            let bits = [0, 1 << 63, nan, signalling, 0xfff8_0000_dead_beef, 0x7ff0 << 48, 0xfff0 << 48, 1, u64::MAX];
            let mut values: Vec<Value> = bits.iter().map(double).collect();
            values.extend([f64::MAX, 229.8, std::f64::consts::PI, 1e300, 0.1, -1e-9].map(Value::F64));
            values
        }
        ValueKind::Text => {
            ["", "on", "größer 𝄞", "\u{0}\n\"", &"long ".repeat(60)].map(|text| Value::Text(text.into())).into()
        }
        ValueKind::Bytes => [&b""[..], &[0, 255], &[7; 200]].map(|bytes| Value::Bytes(bytes.into())).into(),
    }
}

fn value(value_type: ValueType, at: usize) -> Value {
    let known = values(value_type.kind);
    match value_type.items {
        None => known[at % known.len()].clone(),
        // Of any length, 0 as well.
        Some(_) => Value::Array((0..at % 5).map(|item| known[(at + item) % known.len()].clone()).collect()),
    }
}

/// Every value, every quality with every reason, values of every other kind, arrays in arrays, the device's own time now and then.
fn values_batch() -> Batch {
    let columns = values_schema().columns;
    let mut batch = Batch::new(&columns);
    for row in 0..90_usize {
        let slots: Vec<Slot> = columns
            .iter()
            .enumerate()
            .map(|(place, column)| {
                let reason = Reason::ALL[(row + place) % 9];
                let own = value(column.value_type, row);
                let other = columns[(row + place) % columns.len()].value_type;
                match (row + 3 * place) % 29 {
                    1 | 2 => Slot::Unchanged,
                    5 | 6 => Slot::Bad(reason),
                    9 | 10 => Slot::Uncertain(own, reason),
                    13 => Slot::Good(value(other, row)),
                    14 => Slot::Uncertain(value(other, row), reason),
                    15 => Slot::Good(Value::Array([Value::Array([own].into()), Value::Int(-1)].into())),
                    _ => Slot::Good(own),
                }
            })
            .collect();
        let at = i64::try_from(row).unwrap();
        let time = 1_700_000_000_000 + 1000 * at + [0, 3, -2, 1][row % 4];
        let device_time = (row % 7 != 3).then(|| Timestamp::from_millis(time - 40 - at % 3));
        batch.push(1000 + at.unsigned_abs(), Timestamp::from_millis(time), device_time, &slots).unwrap();
    }
    batch
}

/// The last numbers there are, and times at either end.
fn last_batch() -> Batch {
    let columns = values_schema().columns;
    let mut batch = Batch::new(&columns);
    for (row, time) in [i64::MAX, i64::MIN, 0].into_iter().enumerate() {
        let slots: Vec<Slot> = columns.iter().map(|column| Slot::Good(value(column.value_type, row))).collect();
        let device_time = (row == 1).then(|| Timestamp::from_millis(i64::MAX));
        let seq = u64::MAX - 2 + u64::try_from(row).unwrap();
        batch.push(seq, Timestamp::from_millis(time), device_time, &slots).unwrap();
    }
    batch
}

const NUMBERS: [(&str, ValueKind); 26] = [
    ("constant", ValueKind::Int),
    ("step_one", ValueKind::Int),
    ("step", ValueKind::Int),
    ("digits", ValueKind::Int),
    ("table", ValueKind::Int),
    ("lattice", ValueKind::Int),
    ("cycle", ValueKind::Int),
    ("walk", ValueKind::Int),
    ("ramp", ValueKind::Uint),
    ("noise", ValueKind::Int),
    ("slow", ValueKind::Int),
    ("quick", ValueKind::Int),
    ("wide", ValueKind::Int),
    ("constant_f64", ValueKind::F64),
    ("quotient", ValueKind::F64),
    ("product", ValueKind::F64),
    ("scale", ValueKind::F64),
    ("order", ValueKind::F64),
    ("single", ValueKind::F64),
    ("rounded", ValueKind::F64),
    ("corrected", ValueKind::F64),
    ("quotient_f32", ValueKind::F32),
    ("corrected_f32", ValueKind::F32),
    ("scale_f32", ValueKind::F32),
    ("order_f32", ValueKind::F32),
    ("switch", ValueKind::Bool),
];

fn numbers_schema() -> BlockSchema {
    schema("numbers", NUMBERS.iter().map(|(name, kind)| column(name, *kind, None)).collect(), 7)
}

/// A number of the column with that name; `walks` is what a few columns go on from.
#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "rounding is what is wanted"
)]
fn number(name: &str, row: i64, walks: &mut [i64; 3], random: &mut Random) -> Value {
    let mut below = |limit: u64| random.below(limit).cast_signed();
    let float = |integer: i64| integer as f64;
    match name {
        "constant" => Value::Int(-42),
        "step_one" => Value::Int(below(9)),
        "step" => Value::Int(1_000_003 + 250 * below(90)),
        "digits" => Value::Int((10 + below(90)) * 10_i64.pow(u32::try_from(below(8)).unwrap())),
        "table" => Value::Int([3, 170_017, 1000, -40_009_777, 12][usize::try_from(below(5)).unwrap()]),
        "lattice" => Value::Int((float(below(4000)) * 36.168_981_48).round() as i64),
        "cycle" => Value::Int([50, 9_000, -3_333, 7, 123_456][usize::try_from(row % 5).unwrap()] + below(2)),
        "walk" => {
            walks[0] += below(21) - 10;
            Value::Int(walks[0])
        }
        "ramp" => Value::Uint((u64::MAX - 400_000).wrapping_add((1700 * row + below(3)).unsigned_abs())),
        "noise" => Value::Int(500 + below(40)),
        "slow" => {
            walks[1] += below(5) - 2;
            Value::Int(walks[1] + below(30))
        }
        "quick" => {
            walks[2] += below(41) - 20;
            Value::Int(walks[2] + below(30))
        }
        "wide" => Value::Int(below(u64::MAX)),
        "constant_f64" => Value::F64(-0.0),
        "quotient" => Value::F64(float(22_980 + below(300)) / 100.0),
        "product" => Value::F64(float(22_980 + below(300)) * 0.1),
        "scale" => Value::F64(4.0 + float(below(27_648)) * (16.0 / 27_648.0)),
        "order" => Value::F64(1.0 + float(below(1 << 50)) / float(1 << 50)),
        "single" => Value::F64(f64::from(float(below(1 << 40)) as f32 / 7.0)),
        "rounded" if row % 31 == 7 => Value::F64(std::f64::consts::E + float(row)),
        "rounded" => Value::F64(f64::from((float(2298 + below(200)) / 10.0) as f32)),
        "corrected" if row % 29 == 5 => Value::F64(f64::from_bits(0x7ff8_0000_0000_0abc)),
        "corrected" => Value::F64(f64::from_bits((float(2298 + below(20)) / 10.0).to_bits() + row.unsigned_abs() % 2)),
        "quotient_f32" => Value::F32((float(below(30_000)) / 100.0) as f32),
        "corrected_f32" => Value::F32(below(30) as f32 * 0.1_f32 + 17.3_f32),
        "scale_f32" => Value::F32((float(below(400)) * (10.0 / 4095.0)) as f32),
        "order_f32" => Value::F32(f32::from_bits(below(1 << 32) as u32)),
        _ => Value::Bool(below(7) == 0),
    }
}

/// Columns of every transform, predictor and form of floats, with a clock of the device's own.
fn numbers_batch() -> Batch {
    let columns = numbers_schema().columns;
    let (mut batch, mut random, mut walks) = (Batch::new(&columns), Random(1), [0; 3]);
    for row in 0..150_i64 {
        let slots: Vec<Slot> =
            NUMBERS.iter().map(|(name, _)| Slot::Good(number(name, row, &mut walks, &mut random))).collect();
        let jitter = random.below(20).cast_signed();
        let time = Timestamp::from_millis(1_700_000_000_000 + 5000 * row + jitter);
        let device_time = Some(Timestamp::from_millis(86_400_000 + 5001 * row));
        batch.push(1 + row.unsigned_abs(), time, device_time, &slots).unwrap();
    }
    batch
}

/// The rows after that, in which all columns have the same marks: the device was away for a while.
fn outage_batch() -> Batch {
    let columns = numbers_schema().columns;
    let (mut batch, mut random, mut walks) = (Batch::new(&columns), Random(4), [0; 3]);
    for row in 150..180_i64 {
        let slots: Vec<Slot> = NUMBERS
            .iter()
            .map(|(name, _)| match row {
                160..165 => Slot::Bad(Reason::Timeout),
                165 => Slot::Bad(Reason::Disconnected),
                166 => Slot::Unchanged,
                _ => Slot::Good(number(name, row, &mut walks, &mut random)),
            })
            .collect();
        let time = Timestamp::from_millis(1_700_000_000_000 + 5000 * row);
        batch.push(1 + row.unsigned_abs(), time, None, &slots).unwrap();
    }
    batch
}

fn gap() -> GapRecord {
    let schema = numbers_schema().id().unwrap();
    GapRecord { stream: StreamId(u32::MAX), schema, boot: u64::MAX, first_seq: 181, last_seq: u64::MAX, reason: 2 }
}

fn file(codec: Codec) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = Encoder::new(codec);
    let [values, numbers] = [values_schema(), numbers_schema()];
    put_schema(&values.encode().unwrap(), &mut file);
    let origin = Origin { stream: StreamId(7), schema: values.id().unwrap(), boot: 3 };
    encoder.encode(&origin, &values_batch(), &mut file).unwrap();
    encoder.encode(&origin, &last_batch(), &mut file).unwrap();
    put_schema(&numbers.encode().unwrap(), &mut file);
    let origin = Origin { stream: StreamId(u32::MAX), schema: numbers.id().unwrap(), boot: u64::MAX };
    encoder.encode(&origin, &numbers_batch(), &mut file).unwrap();
    encoder.encode(&origin, &outage_batch(), &mut file).unwrap();
    encoder.encode(&origin, &numbers_batch().slice(0..1), &mut file).unwrap();
    gap().encode(&mut file);
    file
}

/// A value so that every bit and its kind is seen.
fn shown(value: &Value) -> String {
    match value {
        Value::Bool(on) => format!("b:{on}"),
        Value::Int(number) => format!("i:{number}"),
        Value::Uint(number) => format!("u:{number}"),
        Value::F32(number) => format!("f32:{:08x}", number.to_bits()),
        Value::F64(number) => format!("f64:{:016x}", number.to_bits()),
        Value::Text(text) => format!("t:{text}"),
        Value::Bytes(bytes) => format!("x:{}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
        Value::Array(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(" ")),
    }
}

fn slot(slot: &Slot) -> Json {
    let value = slot.value().map(shown);
    match slot.quality() {
        None => json!(["unchanged", null, null]),
        Some(Quality::Good) => json!(["good", null, value]),
        Some(Quality::Uncertain(reason)) => json!(["uncertain", reason.as_str(), value]),
        Some(Quality::Bad(reason)) => json!(["bad", reason.as_str(), null]),
    }
}

fn lines(batch: &Batch, out: &mut String) {
    for row in 0..batch.len() {
        let slots: Vec<Json> = (0..batch.columns()).map(|column| slot(&batch.slot(row, column).unwrap())).collect();
        let line = json!({
            "seq": batch.seq(row).unwrap(),
            "time": batch.time(row).unwrap().as_millis(),
            "device_time": batch.device_time(row).map(Timestamp::as_millis),
            "slots": slots,
        });
        *out += &format!("{line}\n");
    }
}

fn gap_line(gap: &GapRecord, out: &mut String) {
    *out += &format!("{}\n", json!({ "gap": [gap.first_seq, gap.last_seq, gap.reason] }));
}

/// The rows as they went in.
fn expected() -> String {
    let mut out = String::new();
    for batch in [values_batch(), last_batch(), numbers_batch(), outage_batch(), numbers_batch().slice(0..1)] {
        lines(&batch, &mut out);
    }
    gap_line(&gap(), &mut out);
    out
}

/// The rows in a file, read by the schemas in it.
fn read(file: &[u8]) -> String {
    let mut out = String::new();
    let mut schemas: Vec<(SchemaId, BlockSchema)> = Vec::new();
    let mut decoder = Decoder::default();
    for (_, part) in parts(file) {
        match part.unwrap() {
            Part::Schema(document) => {
                schemas.push((BlockSchema::id_of(document), BlockSchema::decode(document).unwrap()));
            }
            Part::Block(Frame::Gap(gap)) => gap_line(&gap, &mut out),
            Part::Block(Frame::Data(head)) => {
                let (id, schema) = schemas.iter().find(|(id, _)| *id == head.schema).unwrap();
                lines(&decoder.decode(&head, *id, &schema.columns).unwrap(), &mut out);
            }
        }
    }
    out
}

/// The frames of a file as the bytes of each.
pub(crate) fn frames(file: &[u8]) -> Vec<&[u8]> {
    let mut borders: Vec<usize> = parts(file).map(|(offset, part)| part.map(|_| offset).unwrap()).collect();
    borders.push(file.len());
    borders.windows(2).map(|border| &file[border[0]..border[1]]).collect()
}

/// All blocks of the golden files, with the schema of each.
pub(crate) fn golden_blocks() -> Vec<(Vec<u8>, BlockSchema)> {
    let schemas = [values_schema(), numbers_schema()];
    let mut blocks = Vec::new();
    for (_, name) in FILES {
        for frame in frames(&golden(name)) {
            if let Some(Ok(Frame::Data(head))) = split(frame).next() {
                let schema = schemas.iter().find(|schema| schema.id() == Ok(head.schema)).unwrap();
                blocks.push((frame.to_vec(), schema.clone()));
            }
        }
    }
    blocks
}

fn assert_lines(found: &str, expected: &str) {
    assert_eq!(found.lines().count(), expected.lines().count());
    for (found, expected) in found.lines().zip(expected.lines()) {
        assert!(found == expected, "{found}\ninstead of\n{expected}");
    }
}

#[test]
fn blocks_of_version_1_are_read_to_the_last_bit() {
    let rows = String::from_utf8(golden(ROWS)).unwrap();
    for (_, name) in FILES {
        assert_lines(&read(&golden(name)), &rows);
    }
    assert_lines(&expected(), &rows);
}

#[test]
fn what_is_written_today_holds_the_rows_of_the_golden_blocks() {
    let rows = String::from_utf8(golden(ROWS)).unwrap();
    for (codec, _) in FILES {
        assert_lines(&read(&file(codec)), &rows);
    }
}

#[test]
fn golden_schemas_are_the_ones_in_the_files_and_keep_their_identities() {
    for (_, name) in FILES {
        let file = golden(name);
        let documents: Vec<&[u8]> = parts(&file)
            .filter_map(|(_, part)| if let Ok(Part::Schema(document)) = part { Some(document) } else { None })
            .collect();
        for ((name, schema), document) in SCHEMAS.into_iter().zip([values_schema(), numbers_schema()]).zip(documents) {
            assert_eq!(document, golden(name));
            assert_eq!(BlockSchema::decode(document).as_ref(), Ok(&schema));
            assert_eq!(schema.id(), Ok(BlockSchema::id_of(document)));
        }
    }
}
