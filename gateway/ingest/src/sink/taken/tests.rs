//! What the file keeps, whatever happens to it.

use std::fs;

use super::*;

fn marks(of: std::ops::Range<i64>) -> Marks {
    let mut marks = Marks::default();
    for time in of {
        let number = time.cast_unsigned();
        let print = Print([number << 40, u64::MAX - number]);
        marks.push(Mark { metric: number % 3, time: Timestamp::from_millis(time), print });
    }
    marks
}

/// In memory, where there is such a folder.
fn folder() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

/// A file with three lists, and what of it each length ends.
fn written(stem: PathBuf) -> (Taken, Extent, Vec<u64>) {
    let mut taken = Taken::new(stem);
    assert_eq!(taken.append(None, &Marks::default()).unwrap(), None);
    let (mut extent, mut ends) = (None, Vec::new());
    for of in [-5..5, 5..6, 6..40] {
        extent = taken.append(extent, &marks(of)).unwrap();
        ends.push(extent.unwrap().length);
    }
    (taken, extent.unwrap(), ends)
}

#[test]
fn values_come_back_as_far_as_the_ledger_says() {
    let folder = folder();
    let (mut taken, extent, ends) = written(folder.path().join("ledger."));
    assert_eq!(taken.open(Some(extent)).as_slice(), marks(-5..40).as_slice());
    let before = Extent { length: ends[1], ..extent };
    let mut taken = Taken::new(folder.path().join("ledger."));
    assert_eq!(taken.open(Some(before)).as_slice(), marks(-5..6).as_slice());
    // The ledger does not have what is behind: it is written anew.
    let extent = taken.append(Some(before), &marks(60..70)).unwrap();
    let mut wanted = marks(-5..6);
    wanted.extend(&marks(60..70));
    assert_eq!(extent.unwrap().file, before.file);
    assert_eq!(taken.open(extent).as_slice(), wanted.as_slice());
    assert!(taken.unsound.is_none() && taken.open(None).as_slice().is_empty());
}

#[test]
fn a_damaged_file_gives_what_stands_before_the_damage_and_is_made_anew() {
    let folder = folder();
    let (taken, extent, ends) = written(folder.path().join("ledger."));
    let path = taken.path(extent.file);
    let bytes = fs::read(&path).unwrap();
    let lists = [0_usize, 10, 11, 45];
    let last = [11, 12, ends[0] - 1, ends[0], ends[1] - 1, ends[1]].map(|at| usize::try_from(at).unwrap());
    for at in (0..bytes.len()).step_by(7).chain(last) {
        for cut in [false, true] {
            let mut damaged = bytes.clone();
            if cut {
                damaged.truncate(at)
            } else {
                damaged[at] ^= 0x10
            }
            fs::write(&path, &damaged).unwrap();
            let mut taken = Taken::new(folder.path().join("ledger."));
            let whole =
                if at < 12 { 0 } else { ends.iter().filter(|end| usize::try_from(**end).unwrap() <= at).count() };
            let found = taken.open(Some(extent));
            assert_eq!(found.as_slice().len(), lists[whole], "{at} {cut}");
            // The second time as the ledger could not be written, the third one with more.
            for (last, file) in [(91, extent.file + 1), (91, extent.file + 1), (95, extent.file + 1)] {
                assert_eq!(taken.unsound, Some(extent.file));
                let next = taken.append(Some(extent), &marks(90..last)).unwrap();
                assert_eq!(next.unwrap().file, file);
                let more = usize::try_from(last).unwrap() - 90;
                assert_eq!(taken.open(next).as_slice().len(), lists[whole] + more, "{at} {cut}");
            }
        }
    }
}

#[test]
fn a_file_that_is_gone_or_of_a_later_version_is_told_by_name() {
    let folder = folder();
    let (mut taken, extent, _) = written(folder.path().join("ledger."));
    let path = taken.path(extent.file);
    let read = |taken: &Taken| taken.read(extent, &mut Marks::default()).unwrap_err().to_string();
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] = 2;
    fs::write(&path, &bytes).unwrap();
    assert_eq!(read(&taken), "it has version 2, known is 1");
    fs::write(&path, b"something else").unwrap();
    assert_eq!(read(&taken), "it holds no values that were taken");
    fs::remove_file(&path).unwrap();
    assert!(read(&taken).contains("No such file"), "{}", read(&taken));
    // Gone while the ingest runs: the next write begins anew.
    let next = taken.append(Some(extent), &marks(1..3)).unwrap();
    assert_eq!(taken.open(next).as_slice(), marks(1..3).as_slice());
}

#[test]
fn what_is_added_after_a_ledger_failed_leaves_what_that_may_name_as_it_is() {
    // One that is added to, one that becomes too long for the second try, and one whose values were made fewer meanwhile.
    for (most, again, file) in [(1000, 40..60, 1), (100, 40..95, 2), (1000, 45..50, 2)] {
        let folder = folder();
        let (_, extent, _) = written(folder.path().join("ledger."));
        let open = || Taken { most, ..Taken::new(folder.path().join("ledger.")) };
        let mut taken = open();
        let named = taken.append(Some(extent), &marks(40..50)).unwrap();
        // Once more without anything new.
        assert_eq!(taken.append(Some(extent), &marks(40..50)).unwrap(), named);
        let last = taken.append(Some(extent), &marks(again.clone())).unwrap();
        assert_eq!(last.unwrap().file, file);
        for (extent, wanted) in [(Some(extent), 40..40), (named, 40..50), (last, again)] {
            let (mut taken, mut all) = (open(), marks(-5..40));
            all.extend(&marks(wanted));
            assert_eq!(taken.open(extent).as_slice(), all.as_slice());
            assert_eq!(taken.unsound, None);
        }
    }
}

#[test]
fn all_files_but_that_of_the_ledger_are_removed_and_no_others() {
    let folder = folder();
    let (mut taken, extent, _) = written(folder.path().join("ledger."));
    let others = ["ledger.taken-", "ledger.taken-old", "taken-00000007", "ledger.taken-7", "ledger.taken-00000007.old"];
    let old =
        ["ledger.taken-00000000", "ledger.taken-00000007", "ledger.taken-00000009.part", "ledger.taken-123456789"];
    others.iter().chain(&old).for_each(|name| fs::write(folder.path().join(name), b"left").unwrap());
    taken.clear(None).unwrap();
    assert!(old.iter().all(|name| folder.path().join(name).exists()));
    taken.clear(Some(extent)).unwrap();
    assert!(old.iter().all(|name| !folder.path().join(name).exists()));
    assert!(others.iter().all(|name| folder.path().join(name).exists()) && taken.path(extent.file).exists());
}

#[test]
fn a_file_that_is_damaged_while_the_ingest_runs_is_told_when_the_next_one_takes_over() {
    let folder = folder();
    let (mut taken, extent, ends) = written(folder.path().join("ledger."));
    taken.most = 50;
    let path = taken.path(extent.file);
    let mut bytes = fs::read(&path).unwrap();
    bytes[usize::try_from(ends[0]).unwrap() + 20] ^= 1;
    fs::write(&path, bytes).unwrap();
    let next = taken.append(Some(extent), &marks(60..70)).unwrap();
    assert_eq!((taken.unsound, next.unwrap().file), (Some(extent.file), extent.file + 1));
    let mut wanted = marks(-5..5);
    wanted.extend(&marks(60..70));
    assert_eq!(taken.open(next).as_slice(), wanted.as_slice());
}

#[test]
fn an_error_names_the_file() {
    let folder = folder();
    let (mut taken, extent, _) = written(folder.path().join("ledger."));
    for (most, name) in [(1000, "ledger.taken-00000001"), (10, "ledger.taken-00000002")] {
        taken.most = most;
        disk::fault::plan(0, 1);
        let error = taken.append(Some(extent), &marks(50..51)).unwrap_err();
        disk::fault::mended();
        assert!(error.to_string().contains(&format!("{name}: ")), "{error}");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}

#[test]
fn a_long_file_is_followed_by_another() {
    let folder = folder();
    let mut taken = Taken { most: 100, ..Taken::new(folder.path().join("ledger.")) };
    let (mut extent, mut files) = (None, Vec::new());
    for part in 0..4 {
        extent = taken.append(extent, &marks(part * 40..(part + 1) * 40)).unwrap();
        files.push(extent.unwrap().file);
    }
    // Each begins with those of before.
    assert_eq!(files, [1, 1, 2, 3]);
    assert_eq!(taken.open(extent).as_slice(), marks(0..160).as_slice());
}
