//! What is known of before a restart, in files and in lines.

use std::{
    collections::{BTreeMap, HashSet},
    fs::File,
    path::Path,
};

use parquet::file::reader::{FileReader, SerializedFileReader};

use super::*;
use crate::{
    StreamKey,
    sink::{Written, disk::fault},
};

/// An ingest that may be killed, and a node that tells everything again then.
struct Life {
    scene: Scene,
    sink: Sink,
    /// The streams of gaps that it knew when it began.
    remembered_gaps: HashSet<StreamKey>,
}

impl Life {
    async fn begin(destination: &Destination) -> Life {
        let (sink, remembered) =
            Sink::open(destination, Rotation::default()).await.map_err(|error| error.error.to_string()).unwrap();
        Life::of(sink, remembered)
    }

    fn of(sink: Sink, remembered: Remembered) -> Life {
        Life { remembered_gaps: remembered.gaps.clone(), scene: Scene::new(remembered), sink }
    }

    /// Writes what was heard; false when the disk has failed.
    async fn write(&mut self) -> bool {
        while let Some(batch) = self.scene.heard.batch() {
            if self.sink.write(&batch.pieces, &[]).await.is_err() {
                return false;
            }
            self.scene.heard.written();
        }
        true
    }

    /// Makes files of what is in the journal.
    async fn rotate(&mut self) -> bool {
        self.sink.close(&mut Written::default()).await.is_ok()
    }

    /// The births, and these values of the past, in messages of one and of two.
    fn tell(&mut self, values: &[(u64, i32, i64)]) {
        self.scene.births();
        for (seq, values) in (2..).zip(values.chunks(2)) {
            let past = |(alias, value, later): &(u64, i32, i64)| Metric {
                is_historical: Some(true),
                ..data(*alias, *value, *later)
            };
            self.scene.data(seq, values.iter().map(past).collect());
        }
    }
}

/// The values in all files of a folder: time, tag and value → how often.
fn values(folder: &Path) -> BTreeMap<(i64, String, String), usize> {
    let (mut values, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            match path.is_dir() {
                _ if path.file_name().unwrap().to_string_lossy().starts_with('.') => {}
                true => folders.push(path),
                false => {
                    for row in
                        SerializedFileReader::new(File::open(&path).unwrap()).unwrap().get_row_iter(None).unwrap()
                    {
                        let row: BTreeMap<String, String> = row
                            .unwrap()
                            .get_column_iter()
                            .map(|(name, field)| (name.clone(), field.to_string()))
                            .collect();
                        for tag in ["Motor.Speed", "steps"] {
                            if let Some(value) = row.get(tag).filter(|value| *value != "null") {
                                *values
                                    .entry((row["seq"].parse().unwrap(), tag.to_owned(), value.clone()))
                                    .or_default() += 1;
                            }
                        }
                    }
                }
            }
        }
    }
    values
}

/// In memory, where there is such a folder.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

/// How often each value is there, whatever the numbers of its rows.
fn counts(folder: &Path) -> BTreeMap<(String, String), usize> {
    let mut counts = BTreeMap::new();
    for ((_, tag, value), count) in values(folder) {
        *counts.entry((tag, value)).or_default() += count;
    }
    counts
}

/// Values that are told apart by what they are; the last two are of one time.
const SAID: [(u64, i32, i64); 7] =
    [(1, 11, 10), (2, 12, 10), (1, 13, 20), (2, 14, -70), (1, 15, 30), (2, 16, 40), (2, 17, 40)];

fn wanted() -> BTreeMap<(String, String), usize> {
    let tag = |alias| if alias == 1 { "Motor.Speed" } else { "steps" };
    let births = [(1, 5), (2, 6)];
    let said = SAID.iter().map(|(alias, value, _)| (*alias, *value));
    births.into_iter().chain(said).map(|(alias, value)| ((tag(alias).to_owned(), value.to_string()), 1)).collect()
}

/// Two rotations, on a disk that fails for ever behind so many changes until the ingest is killed; how often it was, and how
/// many changes there were.
async fn a_day(folder: &Path, succeed: usize) -> (usize, usize) {
    let destination = Destination::Parquet(folder.to_owned());
    let mut kills = 0;
    let mut life = Life::begin(&destination).await;
    fault::plan(succeed, usize::MAX);
    for (step, said) in [2, 4, 4, 6, 7].into_iter().enumerate() {
        loop {
            life.tell(&SAID[..said]);
            if life.write().await && (step % 2 == 0 || life.rotate().await) {
                break;
            }
            // kill -9: what was in memory is gone. It is killed once: from here on the disk works.
            kills += 1;
            drop(life);
            fault::mended();
            life = Life::begin(&destination).await;
        }
    }
    let changes = fault::mended();
    // Once more without a reason.
    drop(life);
    let mut life = Life::begin(&destination).await;
    life.tell(&SAID);
    assert!(life.write().await && life.rotate().await);
    (kills, changes)
}

#[tokio::test]
async fn whenever_it_is_killed_each_value_is_in_the_files_once() {
    let whole = folder();
    let (kills, changes) = a_day(whole.path(), usize::MAX).await;
    assert_eq!(kills, 0);
    assert_eq!(counts(whole.path()), wanted());
    assert!(changes > 40, "{changes}");
    for succeed in 0..changes {
        let folder = folder();
        assert_eq!(a_day(folder.path(), succeed).await.0, 1, "{succeed}");
        assert_eq!(counts(folder.path()), wanted(), "killed at change {succeed}");
        let report = crate::verify(&Destination::Parquet(folder.path().to_owned())).await.unwrap();
        assert_eq!((report.missing(), report.quarantined), (0, 0), "{succeed}");
    }
}

#[tokio::test]
async fn values_of_files_whose_list_is_damaged_come_again_and_the_ingest_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(a_day(folder.path(), usize::MAX).await.0, 0);
    let path = folder.path().join(".tidegate/taken-00000001");
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let destination = Destination::Parquet(folder.path().to_owned());
    // Its last list is lost: that of the last rotation, with one value.
    for expected in [9 + 1, 9 + 1] {
        let mut life = Life::begin(&destination).await;
        life.tell(&SAID);
        assert!(life.write().await && life.rotate().await);
        assert_eq!(counts(folder.path()).values().sum::<usize>(), expected);
    }
    assert!(!path.exists() && folder.path().join(".tidegate/taken-00000002").exists());
}

#[tokio::test]
async fn a_damaged_list_is_never_added_to_whichever_change_fails_when_it_is_made_anew() {
    // The changes of a rotation: each fails once, or with the next one, and is tried again.
    let mut succeed = 0;
    loop {
        for fail in [1, 2] {
            let folder = folder();
            assert_eq!(a_day(folder.path(), usize::MAX).await.0, 0);
            let path = folder.path().join(".tidegate/taken-00000001");
            let mut bytes = std::fs::read(&path).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            std::fs::write(&path, bytes).unwrap();
            let destination = Destination::Parquet(folder.path().to_owned());
            let mut life = Life::begin(&destination).await;
            life.tell(&SAID);
            assert!(life.write().await);
            fault::plan(succeed, fail);
            while !life.rotate().await {}
            let changes = fault::mended();
            drop(life);
            for _ in 0..2 {
                let mut life = Life::begin(&destination).await;
                life.tell(&SAID);
                assert!(life.write().await && life.rotate().await);
                // The one value of the last list is there twice, and stays so.
                assert_eq!(counts(folder.path()).values().sum::<usize>(), 9 + 1, "{fail} changes from {succeed}");
            }
            if succeed > changes {
                return assert!(changes > 10, "{changes}");
            }
        }
        succeed += 1;
    }
}

#[tokio::test]
async fn a_ledger_of_lines_that_failed_once_names_only_what_its_list_has_whenever_the_ingest_is_killed() {
    let mut kills = 0;
    // A save takes less than so many changes; the first try fails at one of them, the next at another for ever.
    for (first, second) in (0..12).flat_map(|first| (0..12).map(move |second| (first, second))) {
        let folder = folder();
        let path = folder.path().join("ledger");
        let mut sink = JsonLines::open(Vec::new(), Some(path.clone())).unwrap();
        let mut scene = Scene::new(sink.remembered());
        scene.lines = sink;
        scene.births();
        let mut seq = 1;
        let mut save = |scene: &mut Scene, (succeed, fail)| {
            seq += 1;
            scene.data(seq, vec![data(1, 7, i64::try_from(seq).unwrap())]);
            scene.lines();
            fault::plan(succeed, fail);
            let saved = scene.lines.save();
            fault::mended();
            saved.map_err(|error| error.text)
        };
        assert!(save(&mut scene, (usize::MAX, 0)).is_ok());
        let failed = save(&mut scene, (first, 1)).err();
        let taken =
            format!("what edge nodes have said cannot be kept beside the ledger: {}.taken-00000001: ", path.display());
        match first {
            0 | 1 => assert!(failed.is_some_and(|text| text.starts_with(&taken)), "{first}"),
            2..=6 => assert!(
                failed.is_some_and(|text| text.contains("the ledger ") && text.contains("cannot be written")),
                "{first}"
            ),
            _ => assert_eq!(failed, None, "{first}"),
        }
        kills += usize::from(save(&mut scene, (second, usize::MAX)).is_err());
        drop(scene);
        let mut sink = JsonLines::open(Vec::new(), Some(path.clone())).unwrap();
        let report = crate::verify(&Destination::JsonLines { ledger: Some(path) }).await.unwrap();
        // The birth has two values in a row, the others have one each.
        let values = usize::try_from(report.streams[0].rows + 1).unwrap();
        assert_eq!(sink.remembered().taken.as_slice().len(), values, "{first} {second}");
    }
    assert!(kills > 40, "{kills}");
}

#[tokio::test]
async fn what_a_device_says_at_the_first_birth_after_a_restart_is_of_after_its_death() {
    for rotated in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let destination = Destination::Parquet(folder.path().to_owned());
        let mut life = Life::begin(&destination).await;
        life.scene.births();
        // The last row of all is later than the death.
        life.scene.data(2, vec![data(1, 7, 60_000)]);
        life.scene.take("DDEATH/line4/pump", message(Some(3), Vec::new()));
        assert!(life.write().await && (!rotated || life.rotate().await));
        drop(life);
        let (sink, remembered) = Sink::open(&destination, Rotation::default()).await.ok().unwrap();
        let died: Vec<Option<i64>> = remembered.streams.values().map(|before| before.died).collect();
        assert_eq!(died, [Some(START)], "{rotated}");
        let mut life = Life::of(sink, remembered);
        life.scene.births();
        assert!(life.write().await && life.rotate().await);
        drop(life);
        let report = crate::verify(&destination).await.unwrap();
        assert_eq!(report.streams[0].rows, 4);
        // Good as of the birth, and that is known the next time.
        let mut found: Vec<(i64, String, String)> = values(folder.path()).into_keys().collect();
        found.retain(|(seq, ..)| *seq == 4);
        let tags: Vec<(&str, &str)> = found.iter().map(|(_, tag, value)| (tag.as_str(), value.as_str())).collect();
        assert_eq!(tags, [("Motor.Speed", "5"), ("steps", "6")], "{rotated}");
        let mut life = Life::begin(&destination).await;
        life.scene.births();
        assert!(
            life.scene
                .heard
                .batch()
                .is_none_or(|batch| batch.pieces.iter().all(|piece| matches!(piece, Piece::Nodes(_))))
        );
    }
}

#[test]
fn lines_know_what_was_written_when_their_ledger_was_saved() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    let mut lines = 0;
    for start in 0..3 {
        let mut sink = JsonLines::open(Vec::new(), Some(path.clone())).unwrap();
        let mut scene = Scene::new(sink.remembered());
        scene.lines = sink;
        scene.births();
        scene.data(2, vec![data(1, 7, 10 + start)]);
        lines += scene.lines().len();
        scene.lines.save().unwrap();
        // Behind the ledger: this is what a kill repeats.
        scene.data(3, vec![data(1, 7, 99)]);
        assert_eq!(scene.lines().len(), 1, "{start}");
        sink = scene.lines;
        drop(sink);
    }
    assert_eq!(lines, 2 + 1 + 1);
    let beside = folder.path().join("ledger.taken-00000001");
    assert!(beside.exists());
    std::fs::remove_file(beside).unwrap();
    let mut sink = JsonLines::open(Vec::new(), Some(path.clone())).unwrap();
    let mut scene = Scene::new(sink.remembered());
    scene.lines = sink;
    scene.births();
    assert_eq!(scene.lines().len(), 1, "it is not known any more");
}

#[tokio::test]
async fn what_our_gateways_declare_not_to_come_is_a_gap_and_what_lies_between_is_no_hole() {
    let folder = tempfile::tempdir().unwrap();
    let destination = Destination::Parquet(folder.path().to_owned());
    let gap = |text: Option<&str>, later: i64| {
        let value = text.map(|text| MetricValue::String(text.to_owned()));
        let is_null = value.is_none().then_some(true);
        let gap = metric("Store/Gap", 4, DataType::String, MetricValue::String(String::new()));
        Metric { value, is_null, timestamp: u64::try_from(START + later).ok(), ..gap }
    };
    let [first, second] = [(5, 9), (20, 29)]
        .map(|(from, to)| format!(r#"{{"device":"pump","group":"fast","from":{from},"to":{to},"reason":"too_old"}}"#));
    for last in [None, Some(second.as_str())] {
        let mut life = Life::begin(&destination).await;
        let number = Metric { alias: None, ..metric("bdSeq", 9, DataType::Int64, MetricValue::Long(3)) };
        life.scene.take("NBIRTH/line4", message(Some(0), vec![number, gap(last, 1)]));
        for (seq, text) in [(1, first.as_str()), (2, second.as_str()), (3, "none"), (4, r#"{"device":"pump"}"#)] {
            life.scene.take("NDATA/line4", message(Some(seq), vec![gap(Some(text), i64::try_from(seq).unwrap())]));
        }
        assert!(life.write().await && (last.is_some() || life.rotate().await));
        drop(life);
        let report = crate::verify(&destination).await.unwrap();
        let stream = report.streams.iter().find(|stream| stream.key.group.as_str().starts_with("plant_fast-")).unwrap();
        let gaps: Vec<(u64, u64, &str)> =
            stream.gaps.iter().map(|(first, last, why)| (*first, *last, why.as_str())).collect();
        assert_eq!(
            (gaps, stream.rows, stream.key.device.as_str()),
            (vec![(5, 9, "too_old"), (20, 29, "too_old")], 0, "pump")
        );
        assert!(report.is_whole() && report.missing() == 0, "{}", report.text());
        let life = Life::begin(&destination).await;
        assert_eq!(life.remembered_gaps, [stream.key.clone()].into());
    }
}
