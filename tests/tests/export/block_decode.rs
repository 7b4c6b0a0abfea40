//! `tidegate block decode`: schemas from the file or from elsewhere, and blocks that are damaged.

use std::{fs, process::Command, sync::Arc};

use tidegate_codec::block::{Batch, BlockSchema, Codec, Encoder, GapRecord, Origin, StoreId, file::put_schema};
use tidegate_model::{Column, Slot, StreamId, Timestamp};
use tidegate_store::GapReason;
use tidegate_tests::{program, tidegate};

use super::content::{columns, mixed, seqs, slot};

/// A schema, and the blocks of some rows of a meter with it.
fn blocks(rows: u64) -> anyhow::Result<(Vec<u8>, Vec<Vec<u8>>)> {
    let columns: Arc<[Column]> = columns().into();
    let (device, group) = ("meter".parse()?, "fast".parse()?);
    let schema = BlockSchema { store: StoreId(7), device, group, columns: Arc::clone(&columns), salt: 0 };
    let mut blocks = Vec::new();
    for (number, codec) in [(0, Codec::Range), (1, Codec::Planes), (2, Codec::Parts)] {
        let mut batch = Batch::new(&columns);
        for seq in number * rows..(number + 1) * rows {
            let slots: Vec<Slot> =
                (0..).zip(columns.iter()).map(|(index, column)| slot(column, mixed(seq * 64 + index))).collect();
            batch.push(seq, Timestamp::from_millis(1_700_000_000_000), None, &slots)?;
        }
        let mut block = Vec::new();
        let origin = Origin { stream: StreamId(3), schema: schema.id()?, boot: 1 };
        Encoder::new(codec).encode(&origin, &batch, &mut block)?;
        blocks.push(block);
    }
    Ok((schema.encode()?, blocks))
}

#[test]
fn blocks_are_printed_with_schemas_from_the_file_or_from_elsewhere() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (schema, blocks) = blocks(20)?;
    let gap = GapRecord {
        stream: StreamId(3),
        schema: BlockSchema::id_of(&schema),
        boot: 1,
        first_seq: 60,
        last_seq: 69,
        reason: GapReason::TooOld.code(),
    };
    let mut message = blocks.concat();
    gap.encode(&mut message);
    let mut whole = Vec::new();
    put_schema(&schema, &mut whole);
    whole.extend_from_slice(&message);
    fs::write(path("whole.tgb"), &whole)?;
    fs::write(path("message.tgb"), &message)?;
    fs::create_dir(path("schemas"))?;
    fs::write(path("schemas/readme.txt"), "not a schema")?;
    // As `mosquitto_sub` writes it: with a line end that does not belong to it.
    fs::write(path("schemas/meter.json"), [&schema, b"\n".as_slice()].concat())?;
    let (whole, message, schemas) = (path("whole.tgb"), path("message.tgb"), path("schemas"));
    let file = path("schemas/meter.json");
    let (code, first) = tidegate(["block", "decode", &whole], &[])?;
    assert_eq!(code, Some(0), "{first}");
    assert_eq!(seqs(&first), (0..60).collect::<Vec<_>>());
    let gap = r#"{"device":"meter","group":"fast","gap":{"from":60,"to":69,"reason":"too_old"}}"#;
    assert_eq!(first.lines().last(), Some(gap));
    for place in [&schemas, &file] {
        assert_eq!(tidegate(["block", "decode", &message, "--schema", place], &[])?, (Some(0), first.clone()));
    }
    let (code, text) = tidegate(["block", "decode", &message], &[])?;
    let id = BlockSchema::id_of(&schema);
    assert_eq!(code, Some(1), "{text}");
    assert_eq!(text.matches(&format!("schema {id}, which is not known")).count(), 4, "{text}");
    Ok(())
}

#[test]
fn a_damaged_block_is_said_with_its_place_and_the_next_one_is_printed() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (schema, blocks) = blocks(20)?;
    let mut file = Vec::new();
    put_schema(&schema, &mut file);
    let offset = file.len();
    file.extend_from_slice(&blocks.concat());
    file[offset + blocks[0].len() / 2] ^= 4;
    let path = folder.path().join("damaged.tgb").display().to_string();
    fs::write(&path, file)?;
    let output = Command::new(program("tidegate")?).args(["block", "decode", &path]).output()?;
    let (said, printed) = (String::from_utf8(output.stderr)?, String::from_utf8(output.stdout)?);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with(&format!("error: {path}, byte {offset}: the block is damaged")), "{said}");
    assert_eq!(seqs(&printed), (20..60).collect::<Vec<_>>());
    Ok(())
}
