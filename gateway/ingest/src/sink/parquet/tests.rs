use std::{collections::BTreeMap, fs, time::Duration};

use ::parquet::file::reader::{FileReader, SerializedFileReader};
use tempfile::TempDir;

use super::*;
use crate::{
    scene::{self, MIDNIGHT, block, known, piece},
    sink::disk::fault,
};

const DAY: i64 = 86_400_000;

/// How a disk fails.
#[derive(Debug, Clone, Copy)]
enum Failing {
    /// So many changes in a row, then everything works again.
    For(usize),
    /// For ever, until the ingest is killed and started again.
    UntilKilled,
}

/// An ingest into a folder, as the writer drives it, and what it has acknowledged.
struct Ingest {
    folder: TempDir,
    sink: Option<Parquet>,
    failing: Failing,
    kills: usize,
    /// Blocks that were acknowledged: device, first and last number.
    acknowledged: Vec<(&'static str, u64, u64)>,
}

impl Ingest {
    fn start(failing: Failing, succeed: usize) -> Ingest {
        fault::mended();
        // In memory, where there is such a folder: a kill leaves what was written, synced or not.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let mut ingest = Ingest { folder, sink: None, failing, kills: 0, acknowledged: Vec::new() };
        ingest.open();
        fault::plan(succeed, if let Failing::For(count) = failing { count } else { usize::MAX });
        ingest
    }

    fn open(&mut self) {
        let opened = Parquet::open(self.folder.path(), Rotation { age: Duration::MAX, bytes: u64::MAX });
        self.sink = Some(opened.map_err(|error| error.error.to_string()).unwrap().0);
    }

    /// Does it until it succeeds, over a kill where the disk fails until then.
    fn until_done(&mut self, mut work: impl FnMut(&mut Parquet) -> Result<(), SinkError>) {
        for _ in 0..40 {
            match work(self.sink.as_mut().unwrap()) {
                Ok(()) => return,
                Err(_) if matches!(self.failing, Failing::UntilKilled) && fault::has_failed() => {
                    self.sink = None;
                    self.kills += 1;
                    fault::mended();
                    self.open();
                }
                Err(_) => {}
            }
        }
        panic!("it never succeeds");
    }

    /// Gives it a block as the broker does, again and again until it is acknowledged.
    fn deliver(&mut self, device: &'static str, first: u64, last: u64, day: i64) {
        let schema = scene::schema(device, 2);
        let bytes = block(&schema, 1, first, last, MIDNIGHT + day * DAY);
        let piece = [piece(&known(&schema), &bytes)];
        self.until_done(|sink| sink.write(&piece, &[]).map(drop));
        self.acknowledged.push((device, first, last));
    }

    /// One try of what happens once a second, after which a block may come before the next.
    fn try_to_rotate(&mut self) {
        let failed = self.sink.as_mut().unwrap().rotate().is_err();
        if failed && matches!(self.failing, Failing::UntilKilled) {
            self.until_done(Parquet::finish);
        }
    }

    fn rotate(&mut self) {
        self.until_done(Parquet::rotate);
    }

    /// All rows that are in files: device and number → how often.
    fn rows(&self) -> BTreeMap<(String, u64), usize> {
        let mut rows = BTreeMap::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if path.file_name().unwrap().to_string_lossy().starts_with('.') {
                    continue;
                }
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let part = |kind: &str| path.iter().find_map(|part| part.to_str().unwrap().strip_prefix(kind));
                let device = part("device=").unwrap();
                let reader = SerializedFileReader::new(fs::File::open(&path).unwrap()).unwrap();
                for row in reader.get_row_iter(None).unwrap() {
                    let row = row.unwrap();
                    let seq = row.get_column_iter().find(|(name, _)| *name == "seq").unwrap().1.to_string();
                    *rows.entry((device.to_owned(), seq.parse().unwrap())).or_default() += 1;
                }
            }
        }
        rows
    }

    /// Each acknowledged row is in one file once, and every word of the ledger says so too.
    fn check(mut self, what: &str) {
        self.rotate();
        let acknowledged = self.acknowledged.iter().flat_map(|(device, first, last)| {
            (*first..=*last).map(|seq| ((*device).to_owned(), seq)).collect::<Vec<_>>()
        });
        let expected: BTreeMap<_, _> = acknowledged.map(|row| (row, 1)).collect();
        assert_eq!(self.rows(), expected, "{what}");
        self.sink = None;
        let by_ledger = report(self.folder.path()).unwrap();
        assert_eq!(by_ledger.missing(), 0, "{what}");
        let count: u64 = by_ledger.streams.iter().map(|stream| stream.rows).sum();
        assert_eq!(usize::try_from(count).unwrap(), expected.len(), "{what}");
        let own = self.folder.path().join(".tidegate");
        let left = |prefix: &str| {
            let names = fs::read_dir(&own).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.filter(|name| name.starts_with(prefix) && !name.ends_with(".part")).count()
        };
        assert_eq!((left("list-"), left("journal-")), (0, 1), "{what}");
        assert_eq!(fs::read_dir(own.join("new")).unwrap().count(), 0, "{what}");
    }
}

/// Two rotations. Between the tries of the first one blocks come: of another day, of a stream that is sorted before the others.
fn a_day(failing: Failing, succeed: usize) -> Ingest {
    let mut ingest = Ingest::start(failing, succeed);
    ingest.deliver("meter", 1, 5, 0);
    ingest.deliver("oven", 1, 3, 0);
    ingest.deliver("oven", 4, 9, 1);
    ingest.try_to_rotate();
    ingest.deliver("meter", 6, 9, 2);
    ingest.deliver("boiler", 1, 2, 0);
    ingest.try_to_rotate();
    ingest.deliver("boiler", 3, 4, 1);
    ingest.rotate();
    ingest.deliver("meter", 10, 11, 2);
    ingest
}

#[test]
fn whichever_change_of_a_disk_fails_each_row_is_in_the_files_once() {
    let ingest = a_day(Failing::For(0), usize::MAX);
    let changes = fault::mended();
    ingest.check("nothing fails");
    assert!(changes > 60, "{changes}");
    for succeed in 0..changes {
        for failing in [Failing::For(1), Failing::For(7), Failing::UntilKilled] {
            let ingest = a_day(failing, succeed);
            assert!(fault::has_failed() || ingest.kills > 0, "{failing:?} at {succeed}");
            fault::mended();
            ingest.check(&format!("{failing:?} at change {succeed}"));
        }
    }
}

#[test]
fn a_kill_while_the_disk_fails_loses_nothing_at_the_next_start() {
    a_day(Failing::For(0), usize::MAX);
    for succeed in 0..fault::mended() {
        // Fails for a while, works again, and is killed before the rotation is tried again.
        let mut ingest = a_day(Failing::For(3), succeed);
        fault::mended();
        ingest.sink = None;
        ingest.open();
        ingest.deliver("valve", 1, 2, 0);
        ingest.check(&format!("change {succeed}"));
    }
}

#[test]
fn files_that_a_list_names_and_nobody_has_stop_the_ingest() {
    let mut ingest = Ingest::start(Failing::For(0), usize::MAX);
    ingest.deliver("meter", 1, 5, 0);
    fault::plan(usize::MAX, 0);
    let (mut sink, mut changes) = (ingest.sink.take().unwrap(), 0);
    // Stops as soon as there is a list.
    let list = sink.folder.list(&sink.filed);
    while !list.exists() {
        changes += 1;
        fault::plan(changes, usize::MAX);
        sink.rotate().unwrap_err();
    }
    fault::mended();
    drop(sink);
    let new = ingest.folder.path().join(".tidegate/new");
    let file = fs::read_dir(&new).unwrap().next().unwrap().unwrap().path();
    let whole = fs::read(&file).unwrap();
    let rotation = Rotation::default();
    for damaged in [None, Some(&whole[..whole.len() / 2])] {
        fs::remove_file(&file).ok();
        if let Some(bytes) = damaged {
            fs::write(&file, bytes).unwrap();
        }
        let error = Parquet::open(ingest.folder.path(), rotation).err().unwrap().error.to_string();
        assert!(error.contains("put it back"), "{error}");
        assert!(list.exists(), "nothing is thrown away");
    }
    fs::write(&file, whole).unwrap();
    ingest.open();
    ingest.check("it is back");
}

#[test]
fn a_ledger_that_is_gone_in_the_middle_of_a_rotation_costs_nothing() {
    for failing in 30..60 {
        let mut ingest = a_day(Failing::UntilKilled, failing);
        fault::mended();
        ingest.sink = None;
        fs::remove_file(ingest.folder.path().join(".tidegate/ledger.json")).ok();
        ingest.open();
        ingest.check(&format!("change {failing}"));
    }
}

#[test]
fn blocks_with_numbers_of_an_earlier_start_are_kept_beside_the_files() {
    let mut ingest = Ingest::start(Failing::For(0), usize::MAX);
    let schema = scene::schema("meter", 2);
    let pieces = [(1, 1, 10), (2, 9, 12)]
        .map(|(boot, first, last)| piece(&known(&schema), &block(&schema, boot, first, last, MIDNIGHT)));
    let written = ingest.sink.as_mut().unwrap().write(&pieces, &[]).unwrap();
    assert_eq!((written.rows, written.duplicates, written.numbered_again, written.quarantined), (12, 0, 2, 1));
    for _ in 0..2 {
        ingest.rotate();
        ingest.sink = None;
        let report = report(ingest.folder.path()).unwrap();
        assert_eq!((report.quarantined, report.streams[0].numbered_again, report.streams[0].rows), (1, 2, 12));
        ingest.open();
    }
    ingest.acknowledged.push(("meter", 1, 12));
    ingest.check("each number is in the files once");
}

#[test]
fn a_schema_with_the_checksum_of_another_does_not_change_what_the_journal_says() {
    let mut ingest = Ingest::start(Failing::For(0), usize::MAX);
    let (meter, oven) = (scene::schema("meter", 2), scene::schema("oven", 2));
    let first = piece(&known(&meter), &block(&meter, 1, 1, 5, MIDNIGHT));
    // As if its checksum were the same.
    let other = |first: u64, last: u64| {
        let Piece::Rows(mut rows) = piece(&known(&oven), &block(&oven, 1, first, last, MIDNIGHT)) else { panic!() };
        let schema = Known::read(scene::name("line3"), rows.known.document.clone()).unwrap();
        rows.known = Arc::new(Known { id: meter.id().unwrap(), ..schema });
        Piece::Rows(rows)
    };
    let sink = ingest.sink.as_mut().unwrap();
    sink.write(std::slice::from_ref(&first), &[]).unwrap();
    let together = [piece(&known(&meter), &block(&meter, 1, 6, 9, MIDNIGHT)), other(1, 2)];
    assert_eq!(sink.write(&together, &[]).unwrap_err().trouble, Trouble::Values, "each for itself");
    sink.write(&together[..1], &[]).unwrap();
    sink.write(&together[1..], &[]).unwrap();
    assert_eq!(sink.folder.schema(&scene::name("line3"), meter.id().unwrap()).unwrap().key.device.as_str(), "oven");
    let rows = ingest.rows();
    assert!(rows.keys().all(|(device, _)| device == "meter") && rows.len() == 9, "{rows:?}");
}

#[test]
fn a_block_whose_append_has_failed_is_not_taken_for_written_by_the_next_start() {
    let schema = scene::schema("oven", 2);
    let piece = [piece(&known(&schema), &block(&schema, 1, 1, 3, MIDNIGHT))];
    for failed in 0.. {
        for killed in 0.. {
            let mut ingest = Ingest::start(Failing::UntilKilled, usize::MAX);
            ingest.deliver("meter", 1, 5, 0);
            fault::plan(failed, 1);
            let sink = ingest.sink.as_mut().unwrap();
            if sink.write(&piece, &[]).is_ok() {
                assert!(failed > 4, "{failed}");
                return;
            }
            // The broker does not send it again before the rotation is killed.
            fault::plan(killed, usize::MAX);
            let rotated = sink.rotate().is_ok();
            fault::mended();
            ingest.sink = None;
            ingest.open();
            ingest.deliver("oven", 1, 3, 0);
            ingest.check(&format!("append fails at {failed}, rotation is killed at {killed}"));
            if rotated {
                break;
            }
        }
    }
}

#[test]
fn what_comes_after_a_rotation_has_failed_is_there_after_a_kill() {
    for failed in 0.. {
        let mut ingest = Ingest::start(Failing::UntilKilled, usize::MAX);
        ingest.deliver("meter", 1, 5, 0);
        fault::plan(failed, 1);
        let rotated = ingest.sink.as_mut().unwrap().rotate().is_ok();
        fault::mended();
        ingest.deliver("boiler", 1, 2, 0);
        ingest.sink = None;
        ingest.open();
        ingest.check(&format!("change {failed}"));
        if rotated {
            assert!(failed > 15, "{failed}");
            return;
        }
    }
}
