//! Blocks that are forged, cut, of a later version or of an unknown schema, published by a foreign client while the cloud side
//! runs: each is counted and put aside by name, and the rest goes on.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what a test cannot go on without may end it"
)]

use std::{fs, net::SocketAddr, process::Command};

use tidegate_codec::block::{Batch, BlockSchema, Codec, Encoder, Origin, StoreId};
use tidegate_model::{Column, Slot, StreamId, Timestamp, Value, ValueKind, ValueType};
use tidegate_tests::{Child, Mosquitto, PATIENCE, Peers, Postgres, program, tidegate, wait_until};

/// A gateway that publishes by mosquitto_pub, and can be made to publish anything.
struct Impostor<'a> {
    peers: &'a Peers,
    broker: SocketAddr,
    folder: tempfile::TempDir,
}

impl Impostor<'_> {
    fn publish(&self, topic: &str, bytes: &[u8], arguments: &[&str]) -> anyhow::Result<()> {
        let file = self.folder.path().join("message");
        fs::write(&file, bytes)?;
        let mut command = Command::new(self.peers.program("mosquitto_pub"));
        command.args([
            "-h",
            &self.broker.ip().to_string(),
            "-p",
            &self.broker.port().to_string(),
            "-q",
            "1",
            "-t",
            topic,
        ]);
        Child::start("mosquitto_pub", command.args(arguments).arg("-f").arg(file))?.finish()?;
        Ok(())
    }

    fn publish_schema(&self, schema: &BlockSchema) -> anyhow::Result<()> {
        let topic = format!("tidegate/line3/schema/{}", schema.id()?);
        self.publish(&topic, &schema.encode()?, &["-r"])
    }

    fn publish_block(&self, block: &[u8]) -> anyhow::Result<()> {
        self.publish("tidegate/line3/block", block, &[])
    }
}

fn schema(device: &str) -> BlockSchema {
    let column = Column::new("level".parse().unwrap(), ValueType::single(ValueKind::Int));
    let (device, group) = (device.parse().unwrap(), "fast".parse().unwrap());
    BlockSchema { store: StoreId(7), device, group, columns: vec![column].into(), salt: 0 }
}

/// Ten rows; the value of each is its number.
fn block(schema: &BlockSchema, first: i64) -> Vec<u8> {
    let mut batch = Batch::new(&schema.columns);
    for seq in first..first + 10 {
        let time = Timestamp::from_millis(1_795_000_000_000 + seq);
        batch.push(u64::try_from(seq).unwrap(), time, None, &[Slot::Good(Value::Int(seq))]).unwrap();
    }
    let origin = Origin { stream: StreamId(1), schema: schema.id().unwrap(), boot: 1 };
    let mut bytes = Vec::new();
    Encoder::new(Codec::Range).encode(&origin, &batch, &mut bytes).unwrap();
    bytes
}

/// The same block as a later version would write it: another version beside the codec, and a checksum that is right.
fn of_a_later_version(block: &[u8]) -> Vec<u8> {
    let (mut bytes, checksum) = (block.to_vec(), block.len() - 4);
    bytes[1] += 1 << 4;
    let right = crc32c::crc32c(&bytes[..checksum]);
    bytes[checksum..].copy_from_slice(&right.to_le_bytes());
    bytes
}

#[test]
fn a_block_that_cannot_be_read_is_put_aside_by_name_and_the_rest_goes_on() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let (broker, database) = (Mosquitto::start(&peers)?, Postgres::start(&peers)?);
    let (from, to) = (format!("mqtt://{}", broker.address()), database.url());
    let mut command = Command::new(program("tidegate")?);
    command.args(["ingest", "--from", &from, "--to", &to, "--schema-wait", "100ms"]);
    let mut ingest = Child::start("the ingest", &mut command)?;
    ingest.wait_for(PATIENCE, "the word that it has subscribed", |lines| {
        lines.iter().any(|line| line.text.contains("subscribed")).then_some(())
    })?;
    let impostor = Impostor { peers: &peers, broker: broker.address(), folder: tempfile::tempdir()? };
    let (known, unknown) = (schema("meter"), schema("stranger"));
    let good = block(&known, 1);
    impostor.publish_schema(&known)?;

    let (middle, end) = (good.len() / 2, good.len() - 1);
    let mut forged = good.clone();
    forged[middle] ^= 1;
    let bad = [
        ("not_a_block", b"no block at all".to_vec()),
        ("cut", good[..end].to_vec()),
        ("checksum", forged),
        ("newer_version", of_a_later_version(&good)),
        ("unknown_schema", block(&unknown, 1)),
    ];
    impostor.publish_block(&good)?;
    for (_, bytes) in &bad {
        impostor.publish_block(bytes)?;
    }
    // Whole blocks are read although what stands behind them in the same message is not.
    impostor.publish_block(&[block(&known, 11).as_slice(), b"and more"].concat())?;
    impostor.publish_block(&block(&known, 21))?;

    let faults = || database.sql("select fault, count(*) from tidegate.quarantine group by fault order by fault").ok();
    let expected = ["checksum|1", "cut|1", "newer_version|1", "not_a_block|2", "unknown_schema|1"];
    wait_until(PATIENCE, "everything bad in the quarantine", || faults().filter(|faults| *faults == expected))?;
    let values =
        "select device, min(seq), max(seq), count(*), sum(value) from tidegate.samples group by device order by device";
    let written = || database.sql(values).ok();
    wait_until(PATIENCE, "all good rows", || written().filter(|rows| *rows == ["meter|1|30|30|465"]))?;

    // What was only early is read once its schema is there.
    impostor.publish_schema(&unknown)?;
    let both = ["meter|1|30|30|465", "stranger|1|10|10|55"];
    wait_until(PATIENCE, "the block that waited for its schema", || written().filter(|rows| *rows == both))?;
    ingest.terminate(PATIENCE)?;
    let (code, text) = tidegate(["ingest", "--verify", "--to", &to], &[])?;
    assert!(
        code == Some(0) && text.contains("2 streams, no holes; 5 blocks are in the quarantine"),
        "{code:?}: {text}"
    );
    Ok(())
}

#[test]
fn nothing_is_lost_while_the_database_is_away() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let (broker, mut database) = (Mosquitto::start(&peers)?, Postgres::start(&peers)?);
    let (from, to) = (format!("mqtt://{}", broker.address()), database.url());
    let mut command = Command::new(program("tidegate")?);
    command.args(["ingest", "--from", &from, "--to", &to]);
    let ingest = Child::start("the ingest", &mut command)?;
    ingest.wait_for(PATIENCE, "the word that it has subscribed", |lines| {
        lines.iter().any(|line| line.text.contains("subscribed")).then_some(())
    })?;
    let impostor = Impostor { peers: &peers, broker: broker.address(), folder: tempfile::tempdir()? };
    let known = schema("meter");
    impostor.publish_schema(&known)?;
    impostor.publish_block(&block(&known, 1))?;
    let count = |database: &Postgres| database.sql("select count(*), max(seq) from tidegate.sample").ok();
    wait_until(PATIENCE, "the first rows", || count(&database).filter(|rows| *rows == ["10|10"]))?;

    database.kill();
    for first in (11..2_000).step_by(10) {
        impostor.publish_block(&block(&known, first))?;
    }
    ingest.wait_for(PATIENCE, "a word about the database", |lines| {
        lines.iter().any(|line| line.text.contains("nothing is acknowledged")).then_some(())
    })?;
    database.resume()?;
    wait_until(PATIENCE, "all rows", || count(&database).filter(|rows| *rows == ["2000|2000"]))?;
    let (code, text) = tidegate(["ingest", "--verify", "--to", &to], &[])?;
    assert!(code == Some(0) && text.contains("1 streams, no holes\n"), "{code:?}: {text}");
    Ok(())
}
