//! The gateway is killed at any moment: what has been reported as committed is there afterwards.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher, RandomState},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use tidegate_config::StartAt;
use tidegate_store::Item;

use crate::plant::*;

const ROUNDS: usize = 30;
const DEVICES: [&str; 3] = ["press", "oven", "saw"];

fn random(below: u64) -> u64 {
    RandomState::new().hash_one(()) % below
}

fn start(dir: &Path) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "crash::a_gateway_that_will_be_killed", "--nocapture"])
        .env("STORE_DIR", dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

/// What the child has said.
#[derive(Default)]
struct Reported {
    /// The last number of each device that was committed.
    committed: BTreeMap<String, u64>,
    /// What was committed and not acknowledged, since the child was started.
    kept: BTreeSet<(String, u64)>,
}

impl Reported {
    fn take(&mut self, line: &str) -> Option<()> {
        let mut words = line.split(' ');
        let what = words.next()?;
        let (device, seq) = (words.next()?.to_owned(), words.next()?.parse().ok()?);
        match what {
            "committed" => drop(self.committed.insert(device, seq)),
            "kept" => drop(self.kept.insert((device, seq))),
            _ => return None,
        }
        Some(())
    }
}

/// Lets the child run for a while, kills it and says what it had reported until then.
fn run_and_kill(dir: &Path, reported: &mut Reported) {
    let (mut child, output) = start(dir);
    reported.kept.clear();
    let mut lines = output.lines();
    let mut seen = 0;
    // Once it works, somewhere in the next tenth of a second.
    while seen < 3 {
        let line = lines.next().expect("the child works").unwrap();
        seen += usize::from(reported.take(&line).is_some());
    }
    let killer = std::thread::spawn(move || {
        let (tell, wait) = std::sync::mpsc::channel::<()>();
        let _ = wait.recv_timeout(Duration::from_micros(random(100_000)));
        drop(tell);
        child.kill().unwrap();
        child.wait().unwrap();
    });
    for line in lines.map_while(Result::ok) {
        // A line that was cut by the end says nothing.
        let _ = reported.take(&line);
    }
    killer.join().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_reported_as_committed_survives_a_kill_at_any_moment() {
    let dir = tempfile::tempdir().unwrap();
    let mut reported = Reported::default();
    let mut total = 0;
    for round in 0..ROUNDS {
        run_and_kill(dir.path(), &mut reported);
        let store = open(dir.path()).await;
        total = store.status().rows;

        // Everything, in order, without a hole, each once and as it was made.
        let mut audit = store.cursor(&name(&format!("audit{round}")), StartAt::Oldest).await.unwrap();
        let everything = drain(&mut audit, usize::try_from(total).unwrap()).await;
        let waiting =
            store.status().targets.iter().find(|target| target.target.as_str() == "cloud").unwrap().waiting_rows;
        let mut cloud = cursor(&store, "cloud").await;
        let again = drain(&mut cloud, usize::try_from(waiting).unwrap()).await;
        for device in DEVICES {
            let rows = everything.of(device);
            let last = rows.last().copied().unwrap_or(0);
            assert_eq!(rows, (1..=last).collect::<Vec<u64>>());
            assert!(
                last >= reported.committed.get(device).copied().unwrap_or(0),
                "{device} {last} {:?}",
                reported.committed
            );
            let again = again.of(device);
            assert!(again.is_sorted_by(|a, b| a < b));
            let kept = reported.kept.iter().filter(|(of, _)| of == device);
            let missing: Vec<u64> = kept.map(|(_, seq)| *seq).filter(|seq| !again.contains(seq)).collect();
            assert!(missing.is_empty(), "{missing:?}: what has not been acknowledged comes again");
            assert_eq!(Machine::new(&store, device).await.next, last + 1);
        }
        assert_eq!(everything.gaps, []);
        store.close().await;
    }
    println!("{total} rows after {ROUNDS} kills");
    assert!(total > 100);
}

#[tokio::test]
#[ignore = "run by whatever_is_reported_as_committed_survives_a_kill_at_any_moment"]
async fn a_gateway_that_will_be_killed() {
    let dir = PathBuf::from(std::env::var("STORE_DIR").expect("the directory"));
    let store = open(&dir).await;
    let mut cloud = cursor(&store, "cloud").await;
    let mut machines = Vec::new();
    for device in DEVICES {
        machines.push(Machine::with_columns(&store, device, 20).await);
    }
    let plant = store.clone();
    tokio::spawn(async move {
        loop {
            for machine in &mut machines {
                machine.run(&plant, random(4));
            }
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
    });
    // Without the test harness' own buffer, so that nothing is said that has not left the process.
    let mut output = std::io::stdout();
    loop {
        let deliveries = cloud.next(100, 1 << 20).await.unwrap();
        let acknowledge = random(20) > 0;
        for delivery in &deliveries {
            let Item::Row { row, .. } = &delivery.item else { panic!("nothing has been dropped") };
            writeln!(output, "committed {} {}", row.stream.device(), row.seq).unwrap();
            if acknowledge {
                cloud.acknowledge(delivery.ticket);
            } else {
                writeln!(output, "kept {} {}", row.stream.device(), row.seq).unwrap();
            }
        }
    }
}
