//! Fresh records become blocks, short blocks longer ones, and no row, number or acknowledgement is changed by it.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use bytes::Bytes;
use sqlx::{ConnectOptions, Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};
use tidegate_config::StartAt;
use tidegate_model::{Column, Reason, Row, Slot, Timestamp, Value, ValueKind, ValueType};
use tidegate_store::{Cursor, Delivery, GapReason, Item, Shape, Store};

use crate::plant::*;

async fn database(dir: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(dir.join("store.db")).connect().await.unwrap()
}

/// So many rounds, a row of each machine in each, committed by tens.
pub(crate) async fn produce(store: &Store, machines: &mut [Machine], rounds: u64) {
    let before = store.status().rows_committed;
    let each = u64::try_from(machines.len()).unwrap();
    for round in 1..=rounds {
        machines.iter_mut().for_each(|machine| machine.run(store, 1));
        if round % 10 == 0 || round == rounds {
            settle(store, before + round * each).await;
        }
    }
}

/// Waits until so many rows are in blocks.
async fn compacted(store: &Store, rows: u64) {
    until(|| store.status().block_rows >= rows, "rows are in blocks").await;
}

/// Waits until so many rows are in blocks, and all short blocks that can have become long ones: of the last start at most nine
/// epochs wait for a tenth, and of each one before it one may be left over.
pub(crate) async fn joined(dir: &Path, store: &Store, rows: u64) {
    compacted(store, rows).await;
    let mut database = database(dir).await;
    let waiting =
        "SELECT count(*) FROM epoch WHERE level = 0 AND first_position >= (SELECT max(first_position) FROM start)";
    let of_joined = "SELECT CAST(total(row_count) AS REAL) / max(total(blocks), 1) FROM epoch WHERE level >= 1";
    let wait = async {
        loop {
            let left: i64 = sqlx::query_scalar(waiting).fetch_one(&mut database).await.unwrap();
            let rows: f64 = sqlx::query_scalar(of_joined).fetch_one(&mut database).await.unwrap();
            if left < 10 && rows > 60.0 {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, wait).await.expect("waited in vain until they are joined");
}

async fn three(store: &Store) -> Vec<Machine> {
    let mut machines = Vec::new();
    for (device, width) in [("press", 3), ("oven", 20), ("saw", 1)] {
        machines.push(Machine::with_columns(store, device, width).await);
    }
    machines
}

fn complete_up_to(received: &Received, device: &str, last: u64) {
    assert_eq!(received.of(device), (1..=last).collect::<Vec<u64>>(), "{device}");
}

#[tokio::test]
async fn rows_in_blocks_come_back_in_order_and_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut machines = three(&store).await;
    produce(&store, &mut machines, 1_500).await;
    compacted(&store, 3_000).await;
    let status = store.status();
    assert!(status.block_rows >= 1_500 && status.blocks >= 3, "{status:?}");
    assert_eq!(status.rows, 4_500);
    for (target, again) in [("first", false), ("second", true)] {
        let mut target = cursor(&store, target).await;
        let received = drain(&mut target, 4_500).await;
        ["press", "oven", "saw"].iter().for_each(|device| complete_up_to(&received, device, 1_500));
        if again {
            assert!(is_silent(&mut target).await);
        }
    }
    store.close().await;

    let store = open(dir.path()).await;
    assert_eq!(store.status().rows, 4_500);
    assert_eq!(three(&store).await.iter().map(|machine| machine.next).collect::<Vec<u64>>(), [1_501; 3]);
    let received = drain(&mut cursor(&store, "late").await, 4_500).await;
    ["press", "oven", "saw"].iter().for_each(|device| complete_up_to(&received, device, 1_500));
    assert_eq!(store.block_schema(&machines[0].stream).bytes, {
        let press = Machine::new(&store, "press").await;
        store.block_schema(&press.stream).bytes.clone()
    });
}

fn odd_row(stream: &Arc<tidegate_model::Stream>, seq: u64) -> Row {
    let at = i64::try_from(seq).unwrap();
    let nan = f64::from_bits(0x7ff8_0000_0000_0000 | seq);
    let slots = match seq % 4 {
        0 => vec![
            Slot::Good(Value::F64(nan)),
            Slot::Good(Value::Uint(u64::MAX - seq)),
            Slot::Good(Value::Text(format!("text {seq}").into())),
            Slot::Good(Value::Bytes(vec![7; 3].into())),
            Slot::Good(Value::Array(vec![Value::Int(at), Value::Int(-at)].into())),
        ],
        1 => vec![
            Slot::Bad(Reason::Timeout),
            Slot::Unchanged,
            Slot::Uncertain(Value::Text("?".into()), Reason::Stale),
            Slot::Unchanged,
            Slot::Bad(Reason::NotYetRead),
        ],
        2 => vec![
            Slot::Good(Value::F64(-0.0)),
            Slot::Uncertain(Value::Uint(0), Reason::OutOfRange),
            Slot::Good(Value::Text("".into())),
            Slot::Good(Value::Bytes(Vec::new().into())),
            Slot::Good(Value::Array(Vec::new().into())),
        ],
        // Of other kinds than the columns.
        _ => vec![
            Slot::Good(Value::Int(i64::MIN)),
            Slot::Good(Value::F32(f32::NEG_INFINITY)),
            Slot::Good(Value::Bool(true)),
            Slot::Bad(Reason::InvalidValue),
            Slot::Good(Value::F64(1e-320)),
        ],
    };
    let device_time = seq.is_multiple_of(3).then(|| Timestamp::from_millis(-at));
    let time = Timestamp::from_millis(1_700_000_000_000 + 1_000 * at);
    Row { stream: Arc::clone(stream), seq, time, device_time, slots: slots.into() }
}

fn same(a: &Slot, b: &Slot) -> bool {
    let values = match (a.value(), b.value()) {
        (Some(a), Some(b)) => a.same_as(b),
        (a, b) => a.is_none() && b.is_none(),
    };
    values && a.quality() == b.quality()
}

#[tokio::test]
async fn every_bit_of_a_row_survives() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let kinds = [ValueKind::F64, ValueKind::Uint, ValueKind::Text, ValueKind::Bytes, ValueKind::Int];
    let column = |(at, kind)| Column::new(format!("c{at}").parse().unwrap(), ValueType::single(kind));
    let columns: Vec<Column> = kinds.into_iter().enumerate().map(column).collect();
    let (stream, _) = store.stream(&name("odd"), &name("g"), columns).await.unwrap();
    for seq in 1..=1_400 {
        store.append(Arc::new(odd_row(&stream, seq)), Bytes::new());
        if seq % 100 == 0 {
            settle(&store, seq).await;
        }
    }
    compacted(&store, 1_200).await;
    assert!(store.status().block_rows >= 1_000);
    let mut target = cursor(&store, "cloud").await;
    let mut seq = 0;
    while seq < 1_400 {
        for delivery in some(&mut target, 500).await {
            let Item::Row { row, .. } = &delivery.item else { panic!("no row") };
            seq += 1;
            let made = odd_row(&stream, seq);
            assert_eq!((row.seq, row.time, row.device_time), (made.seq, made.time, made.device_time));
            assert!(row.slots.len() == 5 && row.slots.iter().zip(&made.slots).all(|(a, b)| same(a, b)), "{row:?}");
        }
    }
}

/// Everything that waits, on both lanes.
async fn everything(cursor: &mut Cursor, shape: Shape, rows: usize) -> (Received, usize) {
    let acknowledger = cursor.acknowledger();
    let (_live, mut backlog) = cursor.lanes(shape);
    let (mut received, mut blocks) = (Received::default(), 0);
    while received.rows.values().map(Vec::len).sum::<usize>() < rows {
        let next = tokio::time::timeout(LONG, backlog.next(2_000, 1 << 20)).await.expect("waited in vain").unwrap();
        for delivery in next {
            blocks += usize::from(matches!(delivery.item, Item::Block { .. }));
            received.take(&delivery);
            acknowledger.acknowledge(delivery.ticket);
        }
    }
    (received, blocks)
}

#[tokio::test]
async fn a_target_that_takes_blocks_gets_them_as_they_are_stored() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut target = cursor(&store, "cloud").await;
    let mut machines = three(&store).await;
    produce(&store, &mut machines, 1_500).await;
    compacted(&store, 3_000).await;
    let (received, blocks) = everything(&mut target, Shape::Blocks, 4_500).await;
    ["press", "oven", "saw"].iter().for_each(|device| complete_up_to(&received, device, 1_500));
    assert!(blocks >= 3);
    assert_eq!(store.status().targets[0].waiting_rows, 0);
    store.close().await;
    let store = open(dir.path()).await;
    assert!(is_silent(&mut cursor(&store, "cloud").await).await, "blocks are acknowledged for good");
}

#[tokio::test]
async fn what_is_acknowledged_stays_so_when_its_rows_are_moved() {
    for shape in [Shape::Rows, Shape::Blocks] {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).await;
        let mut target = cursor(&store, "cloud").await;
        let mut machines = three(&store).await;
        produce(&store, &mut machines, 400).await;
        let mut acknowledged = BTreeSet::new();
        let mut given = Vec::new();
        while given.len() < 600 {
            given.extend(some(&mut target, 600 - given.len()).await);
        }
        for (at, delivery) in given.iter().enumerate() {
            let Item::Row { row, .. } = &delivery.item else { panic!("no row") };
            if at % 7 != 3 && at / 50 % 2 == 0 {
                target.acknowledge(delivery.ticket);
                acknowledged.insert((row.stream.device().to_string(), row.seq));
            }
        }
        target.rewind();
        assert_eq!(store.status().epochs, 0);
        produce(&store, &mut machines, 1_000).await;
        compacted(&store, 2_000).await;
        let waiting = 3 * 1_400 - acknowledged.len();
        assert_eq!(store.status().targets[0].waiting_rows, u64::try_from(waiting).unwrap());
        store.close().await;

        let store = open(dir.path()).await;
        let (received, _) = everything(&mut cursor(&store, "cloud").await, shape, waiting).await;
        for device in ["press", "oven", "saw"] {
            let had = |seq: &u64| !acknowledged.contains(&(device.to_owned(), *seq));
            assert_eq!(received.of(device), (1..=1_400).filter(had).collect::<Vec<u64>>(), "{device} {shape:?}");
        }
    }
}

#[tokio::test]
async fn rows_in_flight_are_not_moved() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut target = cursor(&store, "cloud").await;
    let mut machines = three(&store).await;
    produce(&store, &mut machines, 10).await;
    let first = some(&mut target, 1).await;
    produce(&store, &mut machines, 1_200).await;
    assert_eq!(store.status().epochs, 0);
    target.acknowledge(first[0].ticket);
    produce(&store, &mut machines, 10).await;
    compacted(&store, 1_500).await;
    let received = drain(&mut target, 3 * 1_220 - 1).await;
    assert_eq!(received.rows.values().map(Vec::len).sum::<usize>(), 3 * 1_220 - 1);
}

#[tokio::test]
async fn slow_groups_end_up_in_long_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut machines = three(&store).await;
    for machine in &mut machines {
        // A row a minute.
        machine.interval = 60_000;
    }
    for _ in 0..30 {
        produce(&store, &mut machines, 20).await;
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    // Twenty rows at most get into one block at first.
    joined(dir.path(), &store, 1_500).await;
    let mut target = cursor(&store, "cloud").await;
    let received = drain(&mut target, 1_800).await;
    ["press", "oven", "saw"].iter().for_each(|device| complete_up_to(&received, device, 600));
    // Nothing is left over of what they were made of.
    until_swept(dir.path()).await;
}

async fn until_swept(dir: &Path) {
    let mut database = database(dir).await;
    for _ in 0..1_000 {
        let loose: i64 = sqlx::query_scalar("SELECT count(*) FROM loose").fetch_one(&mut database).await.unwrap();
        let bodies = "SELECT (SELECT count(*) FROM body) - (SELECT count(*) FROM block)";
        let bodies: i64 = sqlx::query_scalar(bodies).fetch_one(&mut database).await.unwrap();
        if (loose, bodies) == (0, 0) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("bodies that nothing refers to stay");
}

#[tokio::test]
async fn a_damaged_block_is_a_gap_and_the_rest_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut machines = three(&store).await;
    produce(&store, &mut machines, 1_500).await;
    compacted(&store, 3_000).await;
    store.close().await;
    let mut other = database(dir.path()).await;
    let damage = "UPDATE body SET bytes = CAST(x'00' || substr(bytes, 2) AS BLOB) WHERE id = \
                  (SELECT body_id FROM block WHERE stream_id = 2 ORDER BY first_position LIMIT 1)";
    other.execute(damage).await.unwrap();
    other.close().await.unwrap();

    let store = open(dir.path()).await;
    for (target, shape) in [("rows", Shape::Rows), ("blocks", Shape::Blocks)] {
        let mut target = cursor(&store, target).await;
        let acknowledger = target.acknowledger();
        let (_live, mut backlog) = target.lanes(shape);
        let mut received = Received::default();
        while !["press", "oven", "saw"].iter().all(|device| received.holes(device, 1_500).is_empty()) {
            for delivery in backlog.next(1_000, 1 << 20).await.unwrap() {
                received.take(&delivery);
                acknowledger.acknowledge(delivery.ticket);
            }
        }
        let [(device, from, to, GapReason::Damaged)] = received.gaps.as_slice() else { panic!("{:?}", received.gaps) };
        assert_eq!((device.as_str(), *from), ("oven", 1));
        assert_eq!(received.of("oven").len(), usize::try_from(1_500 - to).unwrap());
        assert_eq!((received.of("press").len(), received.of("saw").len()), (1_500, 1_500));
    }
}

#[tokio::test]
async fn a_damaged_record_is_announced_when_its_neighbours_have_become_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut machines = three(&store).await;
    produce(&store, &mut machines, 300).await;
    store.close().await;
    let mut other = database(dir.path()).await;
    let damage = "UPDATE log SET body = CAST(x'00' || substr(body, 2) AS BLOB) WHERE first_position = \
                  (SELECT first_position FROM log ORDER BY first_position LIMIT 1 OFFSET 5)";
    other.execute(damage).await.unwrap();
    other.close().await.unwrap();
    let store = open(dir.path()).await;
    let mut machines = three(&store).await;
    produce(&store, &mut machines, 1_000).await;
    compacted(&store, 2_000).await;
    for target in ["one", "two"] {
        let mut target = cursor(&store, target).await;
        let mut received = Received::default();
        for device in ["press", "oven", "saw"] {
            complete(&mut target, &mut received, device, 1_300).await;
            assert_eq!(received.of(device).len(), 1_290);
        }
        assert!(received.gaps.iter().all(|gap| gap.1 == 51 && gap.2 == 60 && gap.3 == GapReason::Damaged));
    }
}

#[tokio::test]
async fn acknowledging_while_rows_are_moved_loses_and_repeats_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut target = cursor(&store, "cloud").await;
    let mut machines = three(&store).await;
    let plant = {
        let store = store.clone();
        tokio::spawn(async move { produce(&store, &mut machines, 4_000).await })
    };
    let mut received = Received::default();
    let acknowledger = target.acknowledger();
    let mut rounds = 0;
    while ["press", "oven", "saw"].iter().any(|device| received.of(device).len() < 4_000) {
        let shape = if rounds % 2 == 0 { Shape::Blocks } else { Shape::Rows };
        let (mut live, mut backlog) = target.lanes(shape);
        for _ in 0..30 {
            let next: Option<Vec<Delivery>> = tokio::select! {
                next = live.next(100, 1 << 20) => Some(next.unwrap()),
                next = backlog.next(700, 1 << 20) => Some(next.unwrap()),
                () = tokio::time::sleep(std::time::Duration::from_millis(20)) => None,
            };
            for (at, delivery) in next.into_iter().flatten().enumerate() {
                if at % 5 != rounds % 5 {
                    received.take(&delivery);
                    acknowledger.acknowledge(delivery.ticket);
                }
            }
        }
        rounds += 1;
        assert!(rounds < 2_000, "it comes to an end");
    }
    plant.await.unwrap();
    for device in ["press", "oven", "saw"] {
        let mut rows = received.of(device);
        rows.sort_unstable();
        assert_eq!(rows, (1..=4_000).collect::<Vec<u64>>(), "each once");
    }
    assert!(store.status().epochs > 0 && received.gaps.is_empty());
    let start = store.cursor(&name("late"), StartAt::Oldest).await.unwrap();
    let mut start = start;
    assert_eq!(drain(&mut start, 12_000).await.of("saw").len(), 4_000);
}
