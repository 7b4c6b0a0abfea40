//! The gateway is killed at any moment, five hundred times: what it had told to the outside is there afterwards.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, channel},
    },
    time::{Duration, Instant},
};

use tidegate_codec::block::{Decoder, Frame, split};
use tidegate_config::StartAt;
use tidegate_store::{Delivery, Item, Reader, Shape, Store};

use crate::{chance::Chance, plant::*, works::*};

const KILLS: u64 = 500;
/// Stores that gateways are killed on at the same time.
const STORES: u64 = 4;
/// After so long a store gets no more lives than its share: the test says what is missing before it is ended from outside.
const LONGEST: Duration = Duration::from_secs(240);
/// Kills after which all of a store is looked at, and not only what is new.
const FULL_AUDIT: u64 = 25;
/// Rows before the newest that are looked at each time.
const NEWEST: u64 = 300;

/// What is known from outside: what each row said that has been given to a target or read by another program.
#[derive(Default)]
struct Known {
    rows: BTreeMap<(String, u64), i64>,
    given: u64,
}

impl Known {
    fn note(&mut self, device: &str, seq: u64, said: i64) {
        let before = *self.rows.entry((device.to_owned(), seq)).or_insert(said);
        assert_eq!(before, said, "row {seq} of {device} has been given twice, with different contents");
    }

    fn last(&self, device: &str) -> u64 {
        let of_device = (device.to_owned(), 0)..=(device.to_owned(), u64::MAX);
        self.rows.range(of_device).next_back().map_or(0, |((_, seq), _)| *seq)
    }

    /// Takes what the child has said. A line that was cut off by the end says nothing.
    fn take(&mut self, line: &str) -> Option<()> {
        let words: Vec<&str> = line.split(' ').collect();
        let ["given", device, seq, said, "."] = words.as_slice() else { return None };
        self.note(device, seq.parse().ok()?, said.parse().ok()?);
        self.given += 1;
        Some(())
    }
}

/// One life of a gateway: what it has said until it was killed.
fn live_and_die(dir: &Path, chance: &mut Chance) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "kills::a_gateway_that_will_be_killed", "--nocapture"])
        .env("STORE_DIR", dir)
        .env("STORE_LIFE", chance.next().to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let (tell, lines) = channel();
    let reading = std::thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            // Who does not listen any more has heard enough.
            let _ = tell.send(line);
        }
    });
    let mut said = Vec::new();
    // Every other one dies young: while it starts, as likely as not.
    if chance.below(2) == 0 {
        listen(&lines, Duration::from_micros(chance.below(40_000)), &mut said);
    } else {
        while !said.iter().any(|line: &String| line.starts_with("given")) {
            said.push(lines.recv_timeout(LONG).expect("the child works"));
        }
        // And one in sixteen lives long enough for more than the newest rows to be joined.
        let longest = if chance.below(8) == 0 { 1_000_000 } else { 150_000 };
        listen(&lines, Duration::from_micros(chance.below(longest)), &mut said);
    }
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), None, "it did not end by itself");
    reading.join().unwrap();
    said.extend(lines.try_iter());
    said
}

fn listen(lines: &Receiver<String>, time: Duration, said: &mut Vec<String>) {
    let until = Instant::now() + time;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        said.extend(lines.recv_timeout(left));
    }
}

/// Compares what is on the disk with what is known.
async fn audit(dir: &Path, known: &mut Known, whole: bool) {
    let reader = match Reader::open(dir).await {
        Ok(reader) => reader,
        Err(error) => return assert!(known.rows.is_empty(), "{error}"),
    };
    if known.rows.is_empty() && reader.streams().await.is_err() {
        // It was killed before there was a table.
        return;
    }
    for device in DEVICES {
        let last = known.last(device);
        let from = if whole { 1 } else { last.saturating_sub(NEWEST).max(1) };
        let rows = rows(&reader, device, from).await;
        let found = rows.last_key_value().map_or(from - 1, |(last, _)| *last);
        assert!(found >= last, "{device} ends at {found}, and {last} was committed");
        for (seq, said) in rows {
            known.note(device, seq, said);
        }
    }
}

/// What a target gets that was never there before: everything, in the order of each device.
async fn everything(store: &Store, known: &mut Known) -> usize {
    let mut target = store.cursor(&name("audit"), StartAt::Oldest).await.unwrap();
    let mut next: BTreeMap<String, u64> = BTreeMap::new();
    let rows = usize::try_from(store.status().rows).unwrap();
    let mut taken = 0;
    while taken < rows {
        let deliveries = some(&mut target, 1000).await;
        for (device, seq, said) in deliveries.iter().flat_map(told) {
            let expected = next.entry(device.clone()).or_insert(1);
            assert_eq!(seq, *expected, "{device}");
            *expected += 1;
            known.note(&device, seq, said);
            taken += 1;
        }
        deliveries.iter().for_each(|delivery| target.acknowledge(delivery.ticket));
    }
    for device in DEVICES {
        assert_eq!(next.get(device).copied().unwrap_or(1), known.last(device) + 1);
        assert_eq!(Worker::new(store, device).await.next, known.last(device) + 1);
    }
    taken
}

/// Device, number and contents of what has been delivered.
fn told(delivery: &Delivery) -> Vec<(String, u64, i64)> {
    match &delivery.item {
        Item::Row { row, .. } => vec![(row.stream.device().to_string(), row.seq, said(row))],
        Item::Block { bytes, stream, .. } => {
            let Some(Ok(Frame::Data(head))) = split(bytes).next() else { panic!("no block") };
            let batch = Decoder::new().decode(&head, head.schema, stream.columns()).unwrap();
            let row = |at| batch.row(at, stream).unwrap();
            (0..batch.len()).map(row).map(|row| (stream.device().to_string(), row.seq, said(&row))).collect()
        }
        Item::Gap { stream, from, to, .. } => panic!("{} {from}..={to} are gone", stream.device()),
    }
}

/// Whether a store whose gateways were killed so often may rest: on a slow disk they get less far in a life, so they get more lives,
/// until rows have become blocks here, and longer ones somewhere, or [`LONGEST`] is over.
async fn is_enough(dir: &Path, life: u64, begun: Instant, joined: &AtomicBool) -> bool {
    const LIVES: u64 = KILLS / STORES;
    if life < LIVES {
        return false;
    }
    let level = number(dir, HIGHEST).await;
    joined.fetch_or(level >= 1, Ordering::SeqCst);
    life >= 4 * LIVES || begun.elapsed() >= LONGEST || (level >= 0 && joined.load(Ordering::SeqCst))
}

/// How far rows have been joined: −1 when none has become a block.
const HIGHEST: &str = "SELECT coalesce(max(level), -1) FROM epoch";

/// Kills gateways on one store. Gives how many rows there were, and how far they had been joined.
fn killed_on_one_store(mut chance: Chance, joined: &AtomicBool) -> (usize, i64) {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut known, begun) = (Known::default(), Instant::now());
    for life in 1.. {
        for line in live_and_die(dir.path(), &mut chance) {
            let _ = known.take(&line);
        }
        runtime.block_on(audit(dir.path(), &mut known, life % FULL_AUDIT == 0));
        if runtime.block_on(is_enough(dir.path(), life, begun, joined)) {
            break;
        }
    }
    runtime.block_on(async {
        let store = open_with(dir.path(), &for_ever()).await;
        let rows = everything(&store, &mut known).await;
        assert_eq!(store.status().dropped, tidegate_store::Dropped::default());
        store.close().await;
        assert_eq!(
            number(dir.path(), "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'").await,
            0
        );
        let level = number(dir.path(), HIGHEST).await;
        let epochs = number(dir.path(), "SELECT count(*) FROM epoch").await;
        println!("{rows} rows, given {} times, in {epochs} epochs up to level {level}", known.given);
        (rows, level)
    })
}

#[test]
fn whatever_was_told_to_the_outside_survives_five_hundred_kills() {
    let mut chance = Chance::new("five hundred kills");
    let stores = (0..STORES).map(|_| chance.split());
    let joined = Arc::new(AtomicBool::new(false));
    let killed = |chance| {
        let joined = Arc::clone(&joined);
        std::thread::spawn(move || killed_on_one_store(chance, &joined))
    };
    let stores: Vec<_> = stores.map(killed).collect();
    let mut highest = 0;
    for store in stores {
        let (rows, level) = store.join().unwrap();
        assert!(rows > 1_000 && level >= 0, "they have worked, and rows have become blocks: {rows}, {level}");
        highest = highest.max(level);
    }
    assert!(highest >= 1, "blocks have become longer ones while gateways were killed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by whatever_was_told_to_the_outside_survives_five_hundred_kills"]
async fn a_gateway_that_will_be_killed() {
    let dir = PathBuf::from(std::env::var("STORE_DIR").expect("the directory"));
    let mut chance = Chance::of(std::env::var("STORE_LIFE").unwrap().parse().unwrap());
    let store = open_with(&dir, &for_ever()).await;
    let mut cloud = cursor(&store, "cloud").await;
    let mut workers = Vec::new();
    for device in DEVICES {
        workers.push(Worker::new(&store, device).await);
    }
    let (plant, mut work) = (store.clone(), chance.split());
    tokio::spawn(async move {
        loop {
            for worker in &mut workers {
                let rows = work.below(6);
                worker.work(&plant, rows, &mut work);
            }
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
    });
    let acknowledger = cloud.acknowledger();
    if chance.below(2) == 0 {
        loop {
            say(&cloud.next(100, 1 << 20).await.unwrap(), &acknowledger, &mut chance);
        }
    }
    let (mut live, mut backlog) = cloud.lanes(if chance.below(2) == 0 { Shape::Rows } else { Shape::Blocks });
    loop {
        let deliveries = tokio::select! {
            deliveries = live.next(100, 1 << 20) => deliveries,
            deliveries = backlog.next(100, 1 << 20) => deliveries,
        };
        say(&deliveries.unwrap(), &acknowledger, &mut chance);
    }
}

/// Tells what was delivered, without the buffer of the test harness: nothing is said that has not left the process.
fn say(deliveries: &[Delivery], acknowledger: &tidegate_store::Acknowledger, chance: &mut Chance) {
    let acknowledge = chance.below(50) > 0;
    let mut text = String::new();
    for delivery in deliveries {
        for (device, seq, said) in told(delivery) {
            text.push_str(&format!("given {device} {seq} {said} .\n"));
        }
        if acknowledge {
            acknowledger.acknowledge(delivery.ticket);
        }
    }
    std::io::stdout().write_all(text.as_bytes()).unwrap();
}
