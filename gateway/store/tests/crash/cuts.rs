//! The write-ahead log is cut off anywhere, or one of its bits is another: what is left is what some commit had made.

use std::path::Path;

use tidegate_store::{Opened, Reader, Store};

use crate::{chance::Chance, plant::*, works::*};

/// Bytes before the first page of a write-ahead log, and of a page with what is before it
/// (<https://www.sqlite.org/fileformat2.html#walformat>).
const HEADER: usize = 32;
const FRAME_HEAD: usize = 24;
const FRAME: usize = FRAME_HEAD + 4_096;
/// Bytes between two cuts within the last frames but one.
const STEP: usize = 41;
const FLIPS: u64 = 300;

/// The files of a gateway that was killed.
struct Killed {
    database: Vec<u8>,
    log: Vec<u8>,
    /// How many rows of each device there were after each commit that is in the log, and before.
    states: Vec<[u64; 2]>,
}

impl Killed {
    /// A store of which some is in the database, and the last commits in the write-ahead log; rows have become blocks in both.
    async fn new() -> Killed {
        let dir = tempfile::tempdir().unwrap();
        let mut chance = Chance::of(1);
        let mut states = vec![[0, 0]];
        let (mut database, mut log) = (Vec::new(), Vec::new());
        for commits in [12, 25] {
            let store = open_with(dir.path(), &for_ever()).await;
            let mut workers = [Worker::new(&store, "press").await, Worker::new(&store, "oven").await];
            states = vec![[workers[0].next - 1, workers[1].next - 1]];
            for commit in 0..commits {
                let before = store.status().rows_committed;
                workers[0].work(&store, 3, &mut chance);
                workers[1].work(&store, commit % 3, &mut chance);
                settle(&store, before + 3 + commit % 3).await;
                states.push([workers[0].next - 1, workers[1].next - 1]);
            }
            until(|| store.status().epochs > 0, "rows have become blocks").await;
            (database, log) = (read(dir.path(), "store.db"), read(dir.path(), "store.db-wal"));
            store.close().await;
        }
        assert!(log.len() > HEADER + 20 * FRAME, "{}", log.len());
        // What follows the last commit of a log that was begun anew is of no use.
        let frames = (log.len() - HEADER) / FRAME;
        log.truncate(HEADER + frames * FRAME);
        Killed { database, log, states }
    }

    /// Which commit is the last in what is left, and what a reader of its own says to it.
    async fn read(&self, log: &[u8]) -> usize {
        let dir = self.files(log);
        let reader = Reader::open(dir.path()).await.unwrap();
        self.state(&reader).await
    }

    /// The same for a gateway that goes on with it; and it does go on.
    async fn go_on(&self, log: &[u8]) -> usize {
        let dir = self.files(log);
        let Opened { store, set_aside } = Store::open(dir.path(), &for_ever()).await.unwrap();
        assert_eq!(set_aside, None, "a log that was cut is no damage");
        let state = self.state(&store.reader()).await;
        let (mut press, committed) = (Worker::new(&store, "press").await, self.states[state][0]);
        assert_eq!(press.next, committed + 1);
        press.work(&store, 5, &mut Chance::of(2));
        settle(&store, 5).await;
        assert_eq!(rows(&store.reader(), "press", 1).await.len(), usize::try_from(committed + 5).unwrap());
        store.close().await;
        state
    }

    async fn state(&self, reader: &Reader) -> usize {
        let mut found = [0, 0];
        for (device, found) in ["press", "oven"].into_iter().zip(&mut found) {
            *found = rows(reader, device, 1).await.last_key_value().map_or(0, |(last, _)| *last);
        }
        self.states.iter().position(|state| *state == found).unwrap_or_else(|| panic!("{found:?} was never committed"))
    }

    fn files(&self, log: &[u8]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("store.db"), &self.database).unwrap();
        std::fs::write(dir.path().join("store.db-wal"), log).unwrap();
        dir
    }
}

fn read(dir: &Path, file: &str) -> Vec<u8> {
    std::fs::read(dir.join(file)).unwrap()
}

#[tokio::test]
async fn a_log_that_is_cut_off_anywhere_leaves_what_some_commit_had_made() {
    let killed = Killed::new().await;
    let whole = killed.log.len();
    assert_eq!(killed.go_on(&killed.log).await, killed.states.len() - 1);
    let borders: Vec<usize> = (HEADER..=whole).step_by(FRAME).collect();
    let mut cuts: Vec<usize> = (0..=HEADER).collect();
    cuts.extend(borders.iter().flat_map(|border| [border - 1, *border, (border + 1).min(whole)]));
    // In the last frame each byte of its head and each third of its page; in those before it, which are of the same kind, fewer.
    let (frame, page) = (whole - FRAME, whole - FRAME + FRAME_HEAD);
    cuts.extend((whole - 8 * FRAME..frame).step_by(STEP));
    cuts.extend((frame..page).chain((page..whole).step_by(3)));
    cuts.sort_unstable();
    cuts.dedup();
    let (mut last, mut different) = (0, 1);
    for cut in &cuts {
        let state = killed.read(&killed.log[..*cut]).await;
        assert!(state >= last, "with {cut} bytes there is less than with fewer");
        different += usize::from(state > last);
        last = state;
    }
    assert_eq!(last, killed.states.len() - 1, "and with all of them everything");
    println!("{} cuts, {different} states of {}", cuts.len(), killed.states.len());
    assert_eq!(different, killed.states.len(), "each commit can be the last");
    for border in borders.iter().step_by(4) {
        let cut = (border + 100).min(whole);
        assert_eq!(killed.go_on(&killed.log[..cut]).await, killed.read(&killed.log[..cut]).await);
    }
}

#[tokio::test]
async fn a_log_with_another_bit_leaves_what_some_commit_before_it_had_made() {
    let killed = Killed::new().await;
    let mut chance = Chance::new("bits of the log");
    let bits = u64::try_from(killed.log.len()).unwrap() * 8;
    for flip in 0..FLIPS {
        let bit = usize::try_from(if flip < 32 { flip * 8 + chance.below(8) } else { chance.below(bits) }).unwrap();
        let mut log = killed.log.clone();
        log[bit / 8] ^= 1 << (bit % 8);
        let state = killed.read(&log).await;
        let before = killed.read(&log[..bit / 8]).await;
        assert_eq!(state, before, "bit {bit}: what comes before it counts, and nothing else");
    }
}
