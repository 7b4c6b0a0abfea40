//! The file of the values of edge nodes that are in a sink which cannot be asked for them, so that what comes again after a restart is known.
//!
//! `TGTAKEN` and a zero byte, the version (u32, little-endian like all numbers), then lists: the number of values (u32), CRC-32C of the rest of the list (u32), and for
//! each value 32 bytes: its tag (u64), its time (i64, Unix milliseconds), and 128 bits of what it says. It grows until it has 3,000,000 values; then the next file begins with
//! those that are worth remembering ([`Marks::shorten`]).
//!
//! **Invariant:** the ledger says which file it is and how long; what is behind that belongs to rows that the ledger does not have, and is cut off. A
//! ledger that could not be written may be in its place all the same: what it names stays as it is, and what comes next is added behind it.

#[cfg(test)]
mod tests;

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
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
    /// The last file that could not be read to its end: nothing is added to it.
    unsound: Option<u64>,
    /// What was added last. Whether the ledger names it is known when it is asked to add to something.
    added: Option<Added>,
    /// The file beside which there is no other.
    alone: Option<u64>,
    /// Values of one file, at most.
    most: usize,
}

/// Values that were made last behind those of a ledger.
struct Added {
    behind: Option<Extent>,
    to: Extent,
    count: usize,
    sum: u32,
}

impl Taken {
    /// Files whose paths begin like this.
    pub(crate) fn new(stem: PathBuf) -> Taken {
        Taken { stem, unsound: None, added: None, alone: None, most: MOST_LISTED }
    }

    /// The values that belong to a ledger. What cannot be read is told, and is as if it had never been taken: better a value twice than none.
    pub(crate) fn open(&mut self, extent: Option<Extent>) -> Marks {
        let mut marks = Marks::default();
        let Some(extent) = extent else { return marks };
        if let Err(error) = self.read(extent, &mut marks)
            && self.unsound.replace(extent.file) != Some(extent.file)
        {
            tracing::error!(
                path = %self.path(extent.file).display(), %error, values = marks.as_slice().len(),
                "what was taken from edge nodes before cannot be read; the ingest goes on with the values that could be, and makes the file \
                 anew; what edge nodes say again may be written a second time"
            );
        }
        marks
    }

    /// Adds values to those of a ledger and makes them last; where they are belongs into the ledger. After a ledger that could not be written:
    /// the same values behind the same extent, and those that have come since.
    ///
    /// # Errors
    ///
    /// What the operating system says, with the path of the file.
    pub(crate) fn append(&mut self, extent: Option<Extent>, marks: &Marks) -> io::Result<Option<Extent>> {
        let marks = marks.as_slice();
        if marks.is_empty() && extent.is_none_or(|extent| self.unsound != Some(extent.file)) {
            return Ok(extent);
        }
        let to = match self.base(extent, marks) {
            Some((base, [])) => base,
            Some((base, new)) => match self.add(base, new) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.begin(extent, marks)?,
                added => added.map_err(at(&self.path(base.file)))?,
            },
            None => self.begin(extent, marks)?,
        };
        self.added = Some(Added { behind: extent, to, count: marks.len(), sum: sum(marks) });
        Ok(Some(to))
    }

    /// Removes all files but that of a ledger.
    ///
    /// # Errors
    ///
    /// What the operating system says, with the path.
    pub(crate) fn clear(&mut self, extent: Option<Extent>) -> io::Result<()> {
        let Some(Extent { file, .. }) = extent.filter(|extent| self.alone != Some(extent.file)) else { return Ok(()) };
        let own = self.path(file);
        let folder = own.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        for entry in fs::read_dir(folder).map_err(at(folder))? {
            let name = entry.map_err(at(folder))?.file_name();
            if self.is_one(&name) && Some(&*name) != own.file_name() {
                let path = folder.join(name);
                disk::remove(&path).map_err(at(&path))?;
            }
        }
        self.alone = Some(file);
        Ok(())
    }

    /// Whether a file has the name of one of these, or of one that was not completed.
    fn is_one(&self, name: &OsStr) -> bool {
        let stem = self.begins();
        let stem = Path::new(&stem).file_name().unwrap_or_default().as_encoded_bytes();
        let Some(number) = name.as_encoded_bytes().strip_prefix(stem) else { return false };
        let number = number.strip_suffix(b".part").unwrap_or(number);
        number.len() >= 8 && number.iter().all(u8::is_ascii_digit)
    }

    /// What values are to be added to, and those of them that are not there yet; `None` when a file is to be begun.
    ///
    /// A ledger that could not be written may be in its place: then it names what was added last, and these values begin with the same.
    fn base<'a>(&self, extent: Option<Extent>, marks: &'a [Mark]) -> Option<(Extent, &'a [Mark])> {
        let (base, new) = match self.added.as_ref().filter(|added| added.behind == extent) {
            None => (extent?, marks),
            Some(Added { to, count, sum: same, .. }) => {
                let (old, new) = marks.split_at_checked(*count)?;
                (sum(old) == *same).then_some((*to, new))?
            }
        };
        let listed = usize::try_from(base.length).unwrap_or(usize::MAX) / VALUE;
        let fits = new.is_empty() || listed.saturating_add(new.len()) <= self.most;
        (fits && self.unsound != Some(base.file)).then_some((base, new))
    }

    fn add(&self, Extent { file: number, length }: Extent, marks: &[Mark]) -> io::Result<Extent> {
        let mut file = OpenOptions::new().write(true).open(self.path(number))?;
        match file.metadata()?.len() {
            found if found < length => return Err(io::ErrorKind::NotFound.into()),
            found if found > length => disk::cut(&file, length)?,
            _ => {}
        }
        file.seek(SeekFrom::Start(length))?;
        let lists = lists(marks);
        disk::write(&mut file, &lists)?;
        disk::sync(&file)?;
        let length = length.saturating_add(u64::try_from(lists.len()).unwrap_or(u64::MAX));
        Ok(Extent { file: number, length })
    }

    /// The next file, with what is worth remembering of the last one. No ledger has named it yet.
    fn begin(&mut self, extent: Option<Extent>, marks: &[Mark]) -> io::Result<Extent> {
        let mut all = self.open(extent);
        marks.iter().for_each(|mark| all.push(*mark));
        all.shorten();
        let mut bytes = Vec::from(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.append(&mut lists(all.as_slice()));
        let added = self.added.as_ref().filter(|added| added.behind == extent).map(|added| added.to);
        let last = extent.into_iter().chain(added).map(|extent| extent.file).max();
        let file = last.map_or(1, |last| last.saturating_add(1));
        let path = self.path(file);
        disk::put(&path, &bytes).map_err(at(&path))?;
        self.alone = None;
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
        let mut path = self.begins();
        path.push(format!("{file:08}"));
        path.into()
    }

    /// What the paths of all of them begin with.
    fn begins(&self) -> OsString {
        let mut begins = self.stem.clone().into_os_string();
        begins.push("taken-");
        begins
    }
}

/// The same error with the path where it was.
fn at(path: &Path) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Fills the buffer; what begins at `at` is damaged when there is not so much.
fn fill(reader: &mut impl Read, buffer: &mut [u8], at: u64) -> Result<(), TakenError> {
    reader.read_exact(buffer).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => TakenError::Damaged { at },
        _ => TakenError::Io(error),
    })
}

/// What tells values from others.
fn sum(marks: &[Mark]) -> u32 {
    let add = |sum, list: &[Mark]| crc32c::crc32c_append(sum, &list.iter().flat_map(pack).collect::<Vec<u8>>());
    marks.chunks(MOST_OF_LIST).fold(0, add)
}

fn lists(marks: &[Mark]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for list in marks.chunks(MOST_OF_LIST) {
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
