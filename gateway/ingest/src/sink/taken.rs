//! The file of the values of edge nodes that are in a sink which cannot be asked for them, so that what comes again after a restart is known.
//!
//! `TGTAKEN` and a zero byte, the version (u32, little-endian like all numbers), then lists: the number of values (u32), CRC-32C of the rest of the list (u32), and for
//! each value 32 bytes: its tag (u64), its time (i64, Unix milliseconds), and 128 bits of what it says. It grows until it has 3,000,000 values; then the next file begins with
//! those that are worth remembering ([`Marks::shorten`]).
//!
//! **Invariant:** the ledger says which file it is and how long; what is behind that belongs to rows that the ledger does not have, and is cut off.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};
use tidegate_model::Timestamp;

use super::disk;
use crate::sparkplug::{MOST_LISTED, Mark, Marks, Print};

const MAGIC: [u8; 8] = *b"TGTAKEN\0";
const VERSION: u32 = 1;
/// Bytes of magic and version.
const HEAD: u64 = 12;
/// Bytes of a list before its values, and of a value.
const LIST: u64 = 8;
const VALUE: usize = 32;
/// Values of one list, at most.
const MOST_OF_LIST: usize = 65_536;
/// No file is as long.
const LONGEST: u64 = 1 << 28;

/// Which file belongs to a ledger, and how much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Extent {
    file: u64,
    length: u64,
}

/// Why a file cannot be read to its end.
#[derive(Debug, thiserror::Error)]
enum TakenError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it holds no values that were taken")]
    Foreign,
    #[error("it has version {found}, known is {VERSION}")]
    Version { found: u32 },
    #[error("it is damaged or cut off behind byte {at}")]
    Damaged { at: u64 },
}

/// The files beside a ledger.
pub(crate) struct Taken {
    /// What their paths begin with.
    stem: PathBuf,
    /// Whether the last one was read to its end.
    sound: bool,
    /// Values of one file, at most.
    most: usize,
}

impl Taken {
    /// Files whose paths begin like this.
    pub(crate) fn new(stem: PathBuf) -> Taken {
        Taken { stem, sound: true, most: MOST_LISTED }
    }

    /// The values that belong to a ledger. What cannot be read is told, and is as if it had never been taken: better a value twice than none.
    pub(crate) fn open(&mut self, extent: Option<Extent>) -> Marks {
        let mut marks = Marks::default();
        let Some(extent) = extent else { return marks };
        let read = self.read(extent, &mut marks);
        self.sound = read.is_ok();
        if let Err(error) = read {
            tracing::error!(
                path = %self.path(extent.file).display(), %error, values = marks.as_slice().len(),
                "what was taken from edge nodes before cannot be read; the ingest goes on with the values that could be, and makes the file \
                 anew; what edge nodes say again may be written a second time"
            );
        }
        marks
    }

    /// Adds values and makes them last; where they are belongs into the ledger.
    pub(crate) fn append(&mut self, extent: Option<Extent>, marks: &Marks) -> io::Result<Option<Extent>> {
        if marks.as_slice().is_empty() && self.sound {
            return Ok(extent);
        }
        let listed = extent.map_or(0, |extent| usize::try_from(extent.length).unwrap_or(usize::MAX) / VALUE);
        if let Some(Extent { file, length }) = extent
            && self.sound
            && listed.saturating_add(marks.as_slice().len()) <= self.most
        {
            match self.add(file, length, marks) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.sound = false,
                added => return added.map(|length| Some(Extent { file, length })),
            }
        }
        self.begin(extent, marks).map(Some)
    }

    /// Removes the files before and behind that of a ledger.
    pub(crate) fn clear(&self, extent: Option<Extent>) -> io::Result<()> {
        let Some(Extent { file, .. }) = extent else { return Ok(()) };
        let others = [file.checked_sub(1), file.checked_add(1)];
        others.into_iter().flatten().try_for_each(|other| disk::remove(&self.path(other)))
    }

    fn add(&self, file: u64, length: u64, marks: &Marks) -> io::Result<u64> {
        let mut file = OpenOptions::new().write(true).open(self.path(file))?;
        match file.metadata()?.len() {
            found if found < length => return Err(io::ErrorKind::NotFound.into()),
            found if found > length => disk::cut(&file, length)?,
            _ => {}
        }
        file.seek(SeekFrom::Start(length))?;
        let lists = lists(marks);
        disk::write(&mut file, &lists)?;
        disk::sync(&file)?;
        Ok(length.saturating_add(u64::try_from(lists.len()).unwrap_or(u64::MAX)))
    }

    /// The next file, with what is worth remembering of the last one.
    fn begin(&mut self, extent: Option<Extent>, marks: &Marks) -> io::Result<Extent> {
        let mut all = Marks::default();
        if let Some(extent) = extent
            && let Err(error) = self.read(extent, &mut all)
        {
            tracing::debug!(%error, "a part of what was taken before is left behind");
        }
        all.extend(marks);
        all.shorten();
        let mut bytes = Vec::from(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.append(&mut lists(&all));
        let file = extent.map_or(1, |extent| extent.file.saturating_add(1));
        disk::put(&self.path(file), &bytes)?;
        self.sound = true;
        Ok(Extent { file, length: u64::try_from(bytes.len()).unwrap_or(u64::MAX) })
    }

    fn read(&self, extent: Extent, marks: &mut Marks) -> Result<(), TakenError> {
        let mut reader = io::BufReader::with_capacity(1 << 18, File::open(self.path(extent.file))?);
        let (mut magic, mut version) = ([0; 8], [0; 4]);
        fill(&mut reader, &mut magic, 0)?;
        if magic != MAGIC {
            return Err(TakenError::Foreign);
        }
        fill(&mut reader, &mut version, 0)?;
        let found = u32::from_le_bytes(version);
        if found != VERSION {
            return Err(TakenError::Version { found });
        }
        let mut at = HEAD;
        while at < extent.length.min(LONGEST) {
            let (mut count, mut sum) = ([0; 4], [0; 4]);
            fill(&mut reader, &mut count, at)?;
            fill(&mut reader, &mut sum, at)?;
            let count = usize::try_from(u32::from_le_bytes(count)).unwrap_or(usize::MAX);
            if count > MOST_OF_LIST {
                return Err(TakenError::Damaged { at });
            }
            let mut values = vec![0; count.saturating_mul(VALUE)];
            fill(&mut reader, &mut values, at)?;
            if crc32c::crc32c(&values) != u32::from_le_bytes(sum) {
                return Err(TakenError::Damaged { at });
            }
            values.as_chunks::<VALUE>().0.iter().for_each(|value| marks.push(unpack(value)));
            at = at.saturating_add(LIST).saturating_add(u64::try_from(values.len()).unwrap_or(u64::MAX));
        }
        if at == extent.length { Ok(()) } else { Err(TakenError::Damaged { at }) }
    }

    fn path(&self, file: u64) -> PathBuf {
        let mut path = self.stem.clone().into_os_string();
        path.push(format!("taken-{file:08}"));
        path.into()
    }
}

/// Fills the buffer; what begins at `at` is damaged when there is not so much.
fn fill(reader: &mut impl Read, buffer: &mut [u8], at: u64) -> Result<(), TakenError> {
    reader.read_exact(buffer).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => TakenError::Damaged { at },
        _ => TakenError::Io(error),
    })
}

fn lists(marks: &Marks) -> Vec<u8> {
    let mut bytes = Vec::new();
    for list in marks.as_slice().chunks(MOST_OF_LIST) {
        let values: Vec<u8> = list.iter().flat_map(pack).collect();
        bytes.extend_from_slice(&u32::try_from(list.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(&crc32c::crc32c(&values).to_le_bytes());
        bytes.extend_from_slice(&values);
    }
    bytes
}

fn pack(mark: &Mark) -> impl Iterator<Item = u8> + use<> {
    let Print([one, other]) = mark.print;
    let numbers =
        [mark.metric.to_le_bytes(), mark.time.as_millis().to_le_bytes(), one.to_le_bytes(), other.to_le_bytes()];
    numbers.into_iter().flatten()
}

fn unpack(value: &[u8; VALUE]) -> Mark {
    let number = |at: usize| value.iter().skip(at).take(8).rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
    let time = Timestamp::from_millis(number(8).cast_signed());
    Mark { metric: number(0), time, print: Print([number(16), number(24)]) }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(taken.open(Some(before)).as_slice(), marks(-5..6).as_slice());
        // The ledger does not have what is behind: it is written anew.
        let extent = taken.append(Some(before), &marks(60..70)).unwrap();
        let mut wanted = marks(-5..6);
        wanted.extend(&marks(60..70));
        assert_eq!(taken.open(extent).as_slice(), wanted.as_slice());
        assert!(taken.sound && taken.open(None).as_slice().is_empty());
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
                assert_eq!((found.as_slice().len(), taken.sound), (lists[whole], false), "{at} {cut}");
                let next = taken.append(Some(extent), &marks(90..91)).unwrap();
                assert_eq!((next.unwrap().file, taken.sound), (extent.file + 1, true));
                assert_eq!(taken.open(next).as_slice().len(), lists[whole] + 1, "{at} {cut}");
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
        fs::write(taken.path(extent.file), b"left").unwrap();
        taken.clear(next).unwrap();
        assert!(!path.exists() && taken.path(next.unwrap().file).exists());
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
}
