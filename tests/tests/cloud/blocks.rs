//! Blocks as they are stored, through a broker that others wrote.

use std::{collections::BTreeSet, process::Command};

use anyhow::Context;
use tidegate_codec::block::{Frame, Head, split};
use tidegate_config::{Format, StartAt};
use tidegate_store::{Item, Shape};
use tidegate_tests::{Child, Mosquitto, PATIENCE, Peers, wait_until};

use crate::sender::Sender;

const DEVICES: usize = 2;

fn subscribe(peers: &Peers, broker: &Mosquitto, arguments: &[&str]) -> anyhow::Result<Child> {
    let (host, port) = (broker.address().ip().to_string(), broker.address().port().to_string());
    let mut command = Command::new(peers.program("mosquitto_sub"));
    command.args(["-h", &host, "-p", &port, "-q", "1", "-c", "-i", "watcher", "-t", "tidegate/line3/block"]);
    Child::start("mosquitto_sub", command.args(arguments))
}

/// The blocks that a target which takes blocks is given now.
fn stored(sender: &Sender, target: &str) -> BTreeSet<Vec<u8>> {
    sender.runtime.block_on(async {
        let mut cursor = sender.store.cursor(&target.parse().unwrap(), StartAt::Oldest).await.unwrap();
        let (_, mut backlog) = cursor.lanes(Shape::Blocks);
        let (mut frames, mut rows) = (BTreeSet::new(), 0);
        while rows < sender.total() {
            let given = tokio::time::timeout(PATIENCE, backlog.next(8_192, 2 << 20)).await.unwrap().unwrap();
            for delivery in given {
                rows += match delivery.item {
                    Item::Block { bytes, rows, .. } => {
                        frames.insert(bytes.to_vec());
                        u64::from(rows)
                    }
                    Item::Row { .. } => 1,
                    Item::Gap { .. } => panic!("nothing is missing"),
                };
            }
        }
        frames
    })
}

fn bytes(hex: &str) -> anyhow::Result<Vec<u8>> {
    let digits = hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16));
    digits.collect::<Result<_, _>>().with_context(|| format!("no hexadecimal digits: {hex:.60}"))
}

#[test]
fn blocks_travel_as_they_are_stored_to_the_last_bit() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let broker = Mosquitto::start(&peers)?;
    // The broker keeps what comes for a client that has subscribed and gone.
    subscribe(&peers, &broker, &["-E"])?.finish()?;
    let mut sender = Sender::new(DEVICES, 5);
    sender.hours_of_rows(50, 100);
    let most = sender.total() / 2;
    wait_until(PATIENCE, "rows in blocks", || (sender.store.status().block_rows >= most).then_some(()))?;
    let before = stored(&sender, "before");
    sender.start(broker.address(), Format::Block);
    sender.finish();
    let after = stored(&sender, "after");

    let watcher = subscribe(&peers, &broker, &["-F", "%x"])?;
    let mut seqs: BTreeSet<(u32, u64)> = BTreeSet::new();
    let mut as_stored = 0_u64;
    let mut taken = 0;
    while seqs.len() < usize::try_from(sender.total())? {
        let lines = watcher.wait_for(PATIENCE, "the rest of the blocks", |lines| {
            (lines.len() > taken).then(|| lines[taken..].iter().map(|line| line.text.clone()).collect::<Vec<_>>())
        })?;
        taken += lines.len();
        for line in lines {
            let message = bytes(&line)?;
            for frame in split(&message) {
                let Frame::Data(head @ Head { .. }) = frame? else { panic!("nothing is missing") };
                for seq in head.first_seq..=head.last_seq() {
                    assert!(seqs.insert((head.stream.0, seq)), "row {seq} came twice");
                }
                if before.contains(head.bytes) || after.contains(head.bytes) {
                    as_stored += head.last_seq() - head.first_seq + 1;
                }
            }
        }
    }
    assert!(as_stored >= most, "{as_stored} of {} rows came in blocks as they are stored", sender.total());
    Ok(())
}
