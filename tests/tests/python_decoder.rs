//! The decoder in Python reads what Rust has written, to the last bit.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what a test cannot go on without may end it"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use anyhow::{Context, bail};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tidegate_codec::block::{
    Batch, BlockSchema, Codec, Decoder, Encoder, Frame, GapRecord, Origin, SchemaId, StoreId,
    file::{Part, parts, put_schema},
    split,
};
use tidegate_model::{Column, Quality, Reason, Scaling, Slot, StreamId, Timestamp, Value, ValueKind, ValueType};
use tidegate_store::GapReason;
use tidegate_tests::Peers;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The package, installed from its folder as a user would, without reaching a network.
struct Python<'a> {
    peers: &'a Peers,
    folder: TempDir,
}

impl Python<'_> {
    fn install(peers: &Peers) -> anyhow::Result<Python<'_>> {
        let folder = tempfile::tempdir()?;
        let pip =
            ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-build-isolation"];
        let mut command = Command::new(peers.python());
        command.args(pip).arg("--target").arg(folder.path()).arg(root().join("gateway/codec/python"));
        let output = command.output()?;
        if !output.status.success() {
            bail!("the package cannot be installed: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(Python { peers, folder })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.peers.python());
        command.env("PYTHONPATH", self.folder.path()).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    /// What Python finds in a file, a line each.
    fn read(&self, file: &[u8]) -> anyhow::Result<Vec<Json>> {
        let path = self.folder.path().join("file.tgb");
        fs::write(&path, file)?;
        let output = self.command().arg(self.peers.script("read_blocks.py")).arg(&path).output()?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr));
        }
        let text = String::from_utf8(output.stdout)?;
        text.lines().map(|line| serde_json::from_str(line).context("no JSON")).collect()
    }
}

/// A value so that every bit is seen.
fn shown(value: &Value) -> String {
    match value {
        Value::Bool(on) => format!("b:{on}"),
        Value::Int(number) => format!("i:{number}"),
        Value::Uint(number) => format!("i:{number}"),
        Value::F32(number) if number.is_nan() => "f32:nan".to_owned(),
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

/// What Python has to find in a batch.
fn rows(batch: &Batch) -> Vec<Json> {
    let row = |row: usize| {
        let slots: Vec<Json> = (0..batch.columns()).map(|column| slot(&batch.slot(row, column).unwrap())).collect();
        json!({
            "seq": batch.seq(row).unwrap(),
            "time": batch.time(row).unwrap().as_millis(),
            "device_time": batch.device_time(row).map(Timestamp::as_millis),
            "slots": slots,
        })
    };
    (0..batch.len()).map(row).collect()
}

/// How the values of a column go.
#[derive(Clone, Copy, Debug)]
enum Course {
    Constant,
    /// Decimals that wander.
    Decimals,
    Counter,
    Cycle,
    /// A few values, in any order.
    Few,
    /// Converter counts on a display.
    Scale,
    Single,
    Bits,
}

const COURSES: [Course; 8] = [
    Course::Constant,
    Course::Decimals,
    Course::Counter,
    Course::Cycle,
    Course::Few,
    Course::Scale,
    Course::Single,
    Course::Bits,
];

/// The number of a course at a row, as a float and as bits.
fn number(course: Course, row: u64, random: &mut StdRng) -> (f64, u64) {
    let float = match course {
        Course::Constant => -17.25,
        Course::Decimals => (f64::from(random.random_range(-300..300_i32)) + 2000.0) / 100.0,
        Course::Counter => 1e9 + 12.0 * f64::from(u32::try_from(row).unwrap()),
        Course::Cycle => [0.1, 7.25, -3.5, 1e-9, 12.0][usize::try_from(row % 5).unwrap()],
        Course::Few => [1.5, 2000.0, 1e12, -0.0][random.random_range(0..4)],
        Course::Scale => 4.0 + f64::from(random.random_range(0..4000_i32)) * (16.0 / 27_648.0),
        Course::Single => f64::from(random.random_range(-1.0..1.0_f32)),
        Course::Bits => f64::from_bits(random.random()),
    };
    let integer = match course {
        Course::Bits => random.random(),
        Course::Single => u64::from(random.random::<u32>()) << 20,
        _ => {
            #[expect(clippy::as_conversions, reason = "any integer will do")]
            let integer = (float * 100.0) as i64;
            integer.cast_unsigned()
        }
    };
    (float, integer)
}

fn value(value_type: ValueType, course: Course, row: u64, random: &mut StdRng) -> Value {
    if let Some(items) = value_type.items {
        let length = if matches!(course, Course::Bits) { random.random_range(0..4) } else { items };
        return Value::Array(
            (0..length).map(|_| value(ValueType::single(value_type.kind), course, row, random)).collect(),
        );
    }
    let (float, bits) = number(course, row, random);
    match value_type.kind {
        ValueKind::Bool => Value::Bool(bits.count_ones().is_multiple_of(2)),
        ValueKind::Int => Value::Int(bits.cast_signed()),
        ValueKind::Uint => Value::Uint(bits),
        ValueKind::F32 if matches!(course, Course::Bits) => {
            Value::F32(f32::from_bits(u32::try_from(bits >> 32).unwrap()))
        }
        #[expect(clippy::as_conversions, reason = "rounding is what a device does")]
        ValueKind::F32 => Value::F32(float as f32),
        ValueKind::F64 => Value::F64(float),
        ValueKind::Text => Value::Text(format!("{float:.2} \u{b0}C").into()),
        ValueKind::Bytes => Value::Bytes(bits.to_le_bytes()[..usize::try_from(bits % 9).unwrap()].into()),
    }
}

/// A table of any columns with rows of any course.
fn batch(columns: &[Column], courses: &[Course], rows: u64, random: &mut StdRng) -> Batch {
    let mut batch = Batch::new(columns);
    let first = random.random_range(1..u64::from(u32::MAX));
    let (period, jitter) = (random.random_range(1..100_000), random.random_range(1..50));
    let bad = if random.random_bool(0.5) { 0.0 } else { random.random_range(0.0..0.5) };
    let device_times = random.random_range(0..4_u8);
    for row in 0..rows {
        let at = 1_700_000_000_000 + period * i64::try_from(row).unwrap() + random.random_range(0..jitter);
        let device_time = match device_times {
            0 | 1 => None,
            2 => Some(at - random.random_range(0..20)),
            _ => random.random_bool(0.8).then_some(1_600_000_000_000 + 250 * i64::try_from(row).unwrap()),
        };
        let slots: Vec<Slot> = columns
            .iter()
            .zip(courses)
            .map(|(column, course)| {
                let reason = Reason::ALL[random.random_range(0..9)];
                if !random.random_bool(bad) {
                    return Slot::Good(value(column.value_type, *course, row, random));
                }
                match random.random_range(0..4) {
                    0 => Slot::Unchanged,
                    1 => Slot::Bad(reason),
                    2 => Slot::Uncertain(value(column.value_type, *course, row, random), reason),
                    // Of a type that the column does not have.
                    _ => {
                        let kind = ValueKind::ALL[random.random_range(0..7)];
                        let items = random.random_bool(0.3).then_some(2);
                        Slot::Good(value(ValueType { kind, items }, Course::Few, row, random))
                    }
                }
            })
            .collect();
        batch.push(first + row, Timestamp::from_millis(at), device_time.map(Timestamp::from_millis), &slots).unwrap();
    }
    batch
}

fn columns(count: usize, random: &mut StdRng) -> Vec<Column> {
    let column = |number| {
        let items = random.random_bool(0.2).then_some(3);
        let value_type = ValueType { kind: ValueKind::ALL[random.random_range(0..7)], items };
        let scaling = Scaling { scale: "0.01".to_owned(), offset: "0".to_owned() };
        let name = format!("tag{number}").parse().unwrap();
        Column { scaling: random.random_bool(0.3).then_some(scaling), ..Column::new(name, value_type) }
    };
    (0..count).map(column).collect()
}

#[test]
fn random_blocks_of_every_codec_come_out_to_the_last_bit() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let python = Python::install(&peers)?;
    let mut random = StdRng::seed_from_u64(20_261_123);
    let (mut file, mut expected) = (Vec::new(), Vec::new());
    let mut encoders = [Codec::Range, Codec::Planes, Codec::Parts].map(Encoder::new);
    for number in 0..120 {
        let count = random.random_range(1..9);
        let columns = columns(count, &mut random);
        let courses: Vec<Course> = (0..count).map(|_| COURSES[random.random_range(0..8)]).collect();
        let rows_of_block = [1, 2, random.random_range(3..90), random.random_range(3..400)][number % 4];
        let batch = batch(&columns, &courses, rows_of_block, &mut random);
        let (device, group) = ("meter".parse()?, "fast".parse()?);
        let columns: Arc<[Column]> = columns.into();
        let schema = BlockSchema { store: StoreId(7), device, group, columns, salt: u32::try_from(number)? };
        put_schema(&schema.encode()?, &mut file);
        let origin = Origin { stream: StreamId(3), schema: schema.id()?, boot: 70 };
        for encoder in &mut encoders {
            encoder.encode(&origin, &batch, &mut file)?;
            expected.extend(rows(&batch));
        }
    }
    let found = python.read(&file)?;
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        assert!(found == expected, "{found}\ninstead of\n{expected}");
    }
    Ok(())
}

/// A value of the golden rows as Python shows it: it does not tell integers apart, nor 32-bit floats that are NaN.
fn as_python_shows(value: &str) -> String {
    if value.starts_with('[') {
        // No text of the golden rows has a bracket, nor a word like the value of a number.
        let words = value.split_inclusive([' ', '[', ']']).map(|word| {
            let (word, border) = word.split_at(word.trim_end_matches([' ', '[', ']']).len());
            as_python_shows(word) + border
        });
        return words.collect();
    }
    if let Some(number) = value.strip_prefix("u:") {
        return format!("i:{number}");
    }
    match value.strip_prefix("f32:").and_then(|bits| u32::from_str_radix(bits, 16).ok()) {
        Some(bits) if f32::from_bits(bits).is_nan() => "f32:nan".to_owned(),
        _ => value.to_owned(),
    }
}

#[test]
fn golden_blocks_of_both_codecs_hold_the_golden_rows() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let python = Python::install(&peers)?;
    let golden = root().join("gateway/codec/tests/golden");
    let rows = fs::read_to_string(golden.join("block-1.jsonl"))?;
    let mut expected: Vec<Json> = rows.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    for row in &mut expected {
        if let Some(reason) = row.get_mut("gap").and_then(|gap| gap.get_mut(2)) {
            assert_eq!(*reason, json!(GapReason::TooOld.code()));
            *reason = json!("too_old");
        }
        for slot in row.get_mut("slots").and_then(Json::as_array_mut).into_iter().flatten() {
            if let Some(value) = slot[2].as_str().map(as_python_shows) {
                slot[2] = json!(value);
            }
        }
    }
    for name in ["block-1-range.tgb", "block-1-planes.tgb", "block-1-parts.tgb"] {
        let found = python.read(&fs::read(golden.join(name))?)?;
        assert_eq!(found.len(), expected.len(), "{name}");
        for (found, expected) in found.iter().zip(&expected) {
            assert!(found == expected, "{name}: {found}\ninstead of\n{expected}");
        }
    }
    Ok(())
}

#[test]
fn damaged_foreign_and_unknown_frames_have_the_same_names_as_in_rust() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let python = Python::install(&peers)?;
    let gap = GapRecord {
        stream: StreamId(1),
        schema: SchemaId(2),
        boot: 3,
        first_seq: 4,
        last_seq: 5,
        reason: GapReason::TooOld.code(),
    };
    let mut good = Vec::new();
    gap.encode(&mut good);
    let mut damaged = good.clone();
    damaged[9] ^= 1;
    let mut frames: Vec<Vec<u8>> = vec![good.clone(), damaged, b"{}".to_vec(), good.clone()];
    for kind in [0x2f, 0x17, 0x11, 0x1f] {
        let head = [0xb7, kind, 1, 0];
        frames.push([&head[..], &crc32c::crc32c(&head).to_le_bytes()].concat());
    }
    frames.push(good[..good.len() - 1].to_vec());
    let file = frames.concat();
    let ours: Vec<String> = parts(&file)
        .map(|(_, part)| match part {
            Ok(Part::Block(Frame::Gap(gap))) => format!("gap {}", gap.last_seq),
            Ok(other) => panic!("{other:?}"),
            Err(error) => format!("{error:?}").split([' ', '{']).next().unwrap_or_default().to_owned(),
        })
        .collect();
    let theirs: Vec<String> = python
        .read(&file)?
        .iter()
        .map(|said| match said["error"].as_str() {
            Some(error) => error.to_owned(),
            None => format!("gap {}", said["gap"][1]),
        })
        .collect();
    assert_eq!(theirs, ours);
    assert!(ours.len() >= 8, "{ours:?}");
    Ok(())
}

/// Blocks whose checksum is right although their contents are damaged.
#[test]
fn what_no_encoder_has_written_is_refused_by_name_or_read_as_in_rust() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let python = Python::install(&peers)?;
    let mut random = StdRng::seed_from_u64(7);
    let (mut file, mut ours) = (Vec::new(), Vec::new());
    for number in 0..600 {
        let columns = columns(6, &mut random);
        let courses = [0; 6].map(|_| COURSES[random.random_range(0..8)]);
        let batch = batch(&columns, &courses, 12, &mut random);
        let (device, group) = ("meter".parse()?, "fast".parse()?);
        let schema = BlockSchema { store: StoreId(7), device, group, columns: columns.into(), salt: number };
        let mut block = Vec::new();
        let codec = [Codec::Range, Codec::Planes, Codec::Parts][usize::try_from(number % 3)?];
        Encoder::new(codec).encode(
            &Origin { stream: StreamId(3), schema: schema.id()?, boot: 1 },
            &batch,
            &mut block,
        )?;
        let length = block.len() - 4;
        let at = random.random_range(14..length);
        block[at] ^= 1 << random.random_range(0..8_u8);
        let checksum = crc32c::crc32c(&block[..length]);
        block[length..].copy_from_slice(&checksum.to_le_bytes());
        put_schema(&schema.encode()?, &mut file);
        file.extend_from_slice(&block);
        for frame in split(&block) {
            let decoded = frame.and_then(|frame| match frame {
                Frame::Data(head) => Decoder::new().decode(&head, schema.id()?, &schema.columns),
                Frame::Gap(_) => Ok(Batch::new(&schema.columns)),
            });
            match decoded {
                Ok(batch) => ours.extend(rows(&batch)),
                Err(_) => ours.push(json!("error")),
            }
        }
    }
    let theirs: Vec<Json> = python
        .read(&file)?
        .into_iter()
        .map(|said| if said.get("error").is_some() { json!("error") } else { said })
        .collect();
    for (theirs, ours) in theirs.iter().zip(&ours) {
        assert!(theirs == ours, "{theirs}\ninstead of\n{ours}");
    }
    assert_eq!(theirs.len(), ours.len());
    assert!(ours.iter().filter(|row| **row == "error").count() > 50);
    Ok(())
}

#[test]
fn its_command_prints_the_lines_of_ours() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let python = Python::install(&peers)?;
    let mut random = StdRng::seed_from_u64(1);
    let columns = columns(8, &mut random);
    let batch = batch(&columns, &[Course::Decimals; 8], 50, &mut random);
    let (device, group) = ("meter".parse()?, "fast".parse()?);
    let schema = BlockSchema { store: StoreId(7), device, group, columns: columns.into(), salt: 0 };
    let document = schema.encode()?;
    let mut message = Vec::new();
    Encoder::new(Codec::Range).encode(
        &Origin { stream: StreamId(3), schema: schema.id()?, boot: 1 },
        &batch,
        &mut message,
    )?;
    let (file, schemas) = (python.folder.path().join("message.tgb"), python.folder.path().join("schemas"));
    fs::create_dir(&schemas)?;
    fs::write(&file, &message)?;
    fs::write(schemas.join("meter.json"), document)?;
    let theirs = python.command().args(["-m", "tidegate_block"]).arg(&file).arg("--schema").arg(&schemas).output()?;
    let ours = Command::new(tidegate_tests::program("tidegate")?)
        .args(["block", "decode"])
        .arg(&file)
        .arg("--schema")
        .arg(&schemas)
        .output()?;
    assert_eq!(String::from_utf8(theirs.stdout)?, String::from_utf8(ours.stdout)?);
    assert_eq!((theirs.status.code(), ours.status.code()), (Some(0), Some(0)));
    let without = python.command().args(["-m", "tidegate_block"]).arg(&file).output()?;
    assert_eq!(without.status.code(), Some(1));
    assert!(String::from_utf8(without.stderr)?.contains("which is not known"));
    Ok(())
}
