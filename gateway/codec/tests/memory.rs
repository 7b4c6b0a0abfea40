//! What a decoder takes of the memory, whatever is in a block.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{env, fs, path::Path, process::Command};

use tidegate_codec::block::{Batch, Codec, Decoder, Encoder, Frame, MAX_BYTES, Origin, SchemaId, split};
use tidegate_model::{Column, Slot, StreamId, Timestamp, Value, ValueKind, ValueType};

const ORIGIN: Origin = Origin { stream: StreamId(1), schema: SchemaId(1), boot: 1 };
/// For the process that is measured: the file with the block, and the kind of its column.
const BLOCK: &str = "TIDEGATE_TEST_BLOCK";
const KIND: &str = "TIDEGATE_TEST_KIND";

/// The most memory this process has had, if the system says so.
fn peak() -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

fn column(kind: ValueKind) -> Column {
    Column::new("tag".parse().unwrap(), ValueType { kind, items: Some(1) })
}

/// One row with an array of as many items as a block holds.
fn block(codec: Codec, kind: ValueKind, item: impl Fn(u32) -> Value) -> Vec<u8> {
    let item_bytes = size_of::<Value>() + item(0).heap_bytes();
    let count = u32::try_from((MAX_BYTES - 1000) / item_bytes).unwrap();
    let mut batch = Batch::new(&[column(kind)]);
    let array = Value::Array((0..count).map(item).collect());
    batch.push(1, Timestamp::from_millis(0), None, &[Slot::Good(array)]).unwrap();
    let mut message = Vec::new();
    Encoder::new(codec).encode(&ORIGIN, &batch, &mut message).unwrap();
    message
}

/// Runs in a process of its own, so that nothing else is counted.
#[test]
fn a_block_that_another_test_has_made_is_decoded() {
    let (Some(file), Ok(kind)) = (env::var_os(BLOCK), env::var(KIND)) else { return };
    let message = fs::read(file).unwrap();
    let kind = ValueKind::from_code(kind.parse().unwrap()).unwrap();
    let Some(Ok(Frame::Data(head))) = split(&message).next() else { panic!("no block") };
    let before = peak().unwrap();
    let batch = Decoder::new().decode(&head, ORIGIN.schema, &[column(kind)]).unwrap();
    assert!(batch.heap_bytes() <= MAX_BYTES && batch.heap_bytes() > MAX_BYTES / 2);
    println!("took {}", peak().unwrap() - before);
}

/// What decoding takes.
fn taken(folder: &Path, message: &[u8], kind: ValueKind) -> usize {
    let file = folder.join("block");
    fs::write(&file, message).unwrap();
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", "a_block_that_another_test_has_made_is_decoded", "--nocapture"]);
    let output = child.env(BLOCK, &file).env(KIND, kind.code().to_string()).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let taken = said.lines().find_map(|line| line.split_once("took ")).map(|(_, bytes)| bytes.parse().unwrap());
    taken.unwrap_or_else(|| panic!("{said}{}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn no_block_makes_a_decoder_take_more_than_a_few_times_what_rows_may_take() {
    if peak().is_none() {
        eprintln!("skipped: /proc/self/status does not say how much memory this process has");
        return;
    }
    let folder = env::temp_dir().join(format!("tidegate-codec-memory-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let text = |at: u32| Value::Text(format!("{at:07x}").into());
    let long = |at: u32| Value::Text(format!("{at:09}").repeat(100_000).into());
    let float = |at: u32| Value::F64(f64::from_bits((f64::from(at % 100) / 10.0).to_bits() + u64::from(at % 3)));
    let hostile = [
        ("long texts", ValueKind::Text, block(Codec::Planes, ValueKind::Text, long)),
        ("texts", ValueKind::Text, block(Codec::Planes, ValueKind::Text, text)),
        ("floats", ValueKind::F64, block(Codec::Range, ValueKind::F64, float)),
    ];
    for (name, kind, message) in hostile {
        let taken = taken(&folder, &message, kind);
        eprintln!("{name}: {} bytes make {} MiB", message.len(), taken >> 20);
        assert!(taken < 4 * MAX_BYTES, "{name} take {taken} bytes");
    }
    fs::remove_dir_all(&folder).unwrap();
}
