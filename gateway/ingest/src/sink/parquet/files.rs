//! The Parquet files of one stream and one rotation.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufWriter},
    path::{Path, PathBuf},
};

use ::parquet::file::reader::{FileReader, SerializedFileReader};
use serde::{Deserialize, Serialize};
use tidegate_export::{ExportError, Format, Table, Writer};
use tidegate_model::Timestamp;

use super::folder::table;
use crate::{
    Account, IngestError, Ranges, StreamKey, error,
    ledger::{Ledger, StoredStream},
    piece::Rows,
    sink::disk::{Sum, Summed},
};

/// Under this key a file says which rows of which stream it has.
const NOTE: &str = "tidegate.rows";
/// Files that are written at the same time; beyond, the one of the earliest date is completed.
const OPEN: usize = 8;

/// A file that is made under one name and belongs under another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Made {
    /// Its name among the new files.
    pub(crate) name: String,
    /// Its place below the folder.
    pub(crate) place: PathBuf,
    /// What is in it.
    pub(crate) sum: Sum,
}

/// The files of one stream and one rotation, one for each date and each set of columns.
pub(crate) struct Files<'a> {
    folder: &'a Path,
    rotation: u64,
    key: StreamKey,
    boot: u64,
    open: BTreeMap<String, Open>,
    made: Vec<Made>,
    /// Files so far, of all streams of the rotation.
    count: &'a mut usize,
}

struct Open {
    writer: Writer<BufWriter<Summed>>,
    made: Made,
    account: Account,
}

impl<'a> Files<'a> {
    /// Files in `folder`; `count` numbers those of the rotation.
    pub(crate) fn new(folder: &'a Path, rotation: u64, key: StreamKey, count: &'a mut usize) -> Files<'a> {
        Files { folder, rotation, key, boot: 0, open: BTreeMap::new(), made: Vec::new(), count }
    }

    /// Writes the rows with these numbers, each to the file of its date.
    pub(crate) fn write(&mut self, rows: &Rows, new: &Ranges) -> Result<(), ExportError> {
        let table = table(&rows.known)?;
        self.boot = self.boot.max(rows.arrival.boot);
        for (first, last) in new.iter() {
            let mut places = rows.places(first, last);
            while let Some(date) = rows.batch.time(places.start).filter(|_| !places.is_empty()).map(date) {
                let same = |place: &usize| rows.batch.time(*place).is_some_and(|time| self::date(time) == date);
                let end = places.clone().take_while(same).last().map_or(places.end, |last| last + 1);
                self.write_day(&date, &table, rows, places.start..end)?;
                places.start = end;
            }
        }
        Ok(())
    }

    fn write_day(
        &mut self,
        date: &str,
        table: &Table,
        rows: &Rows,
        places: std::ops::Range<usize>,
    ) -> Result<(), ExportError> {
        // Other columns: another file.
        if self.open.get(date).is_some_and(|open| open.writer.table().columns() != table.columns()) {
            self.complete(date)?;
        }
        if !self.open.contains_key(date) {
            if self.open.len() >= OPEN
                && let Some(earliest) = self.open.keys().next().cloned()
            {
                self.complete(&earliest)?;
            }
            let open = self.begin(date, table)?;
            self.open.insert(date.to_owned(), open);
        }
        let Some(open) = self.open.get_mut(date) else { return Ok(()) };
        let columns = table.places(&rows.known.schema.columns);
        open.writer.write(&rows.batch, places.clone(), &columns)?;
        let seqs = rows.batch.seq(places.start).zip(rows.batch.seq(places.end.saturating_sub(1)));
        let times = || places.clone().filter_map(|place| rows.batch.time(place)).map(Timestamp::as_millis);
        if let Some((first_seq, last_seq)) = seqs {
            let arrival = crate::ledger::Arrival { first_seq, last_seq, boot: self.boot };
            open.account.deliver(arrival, times().min().zip(times().max()));
        }
        Ok(())
    }

    fn begin(&mut self, date: &str, table: &Table) -> Result<Open, ExportError> {
        *self.count += 1;
        let name = format!("{}-{:08}-{:04}.parquet", self.key.group, self.rotation, self.count);
        let folder = format!("gateway={}/device={}/date={date}", self.key.gateway, self.key.device);
        let file = Summed::create(&self.folder.join(&name))?;
        let writer = Writer::new(Format::Parquet, BufWriter::new(file), table.clone())?;
        let place = Path::new(&folder).join(&name);
        Ok(Open { writer, made: Made { name, place, sum: Sum::default() }, account: Account::default() })
    }

    fn complete(&mut self, date: &str) -> Result<(), ExportError> {
        let Some(Open { mut writer, mut made, account }) = self.open.remove(date) else { return Ok(()) };
        let note = StoredStream::new(&self.key, account);
        writer.note(NOTE, serde_json::to_string(&note).map_err(io::Error::from)?);
        let finished = writer.finish()?;
        let file = finished.to.into_inner().map_err(io::IntoInnerError::into_error)?;
        made.sum = file.sync()?;
        if finished.left_out > 0 {
            tracing::warn!(
                stream = %self.key, values = finished.left_out, file = %made.place.display(),
                "values that are not of their tag's type are not in the file; their quality says other_type"
            );
        }
        self.made.push(made);
        Ok(())
    }

    /// Completes all files.
    pub(crate) fn finish(mut self) -> Result<Vec<Made>, ExportError> {
        for date in self.open.keys().cloned().collect::<Vec<_>>() {
            self.complete(&date)?;
        }
        Ok(self.made)
    }
}

/// The date of a time in UTC: `2026-11-23`.
fn date(time: Timestamp) -> String {
    let text = time.rfc3339().to_string();
    text.split_once('T').map_or(text.clone(), |(date, _)| date.to_owned())
}

/// The ledger as the Parquet files below a folder tell it: what is in them, but no declared gaps.
pub(crate) fn ledger_of(root: &Path) -> Result<Ledger, IngestError> {
    let mut ledger = Ledger::default();
    let mut folders = vec![root.to_owned()];
    let mut found = 0_u64;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(error::file("read", &folder))? {
            let path = entry.map_err(error::file("read", &folder))?.path();
            let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if hidden {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "parquet")
                && let Some((key, account)) = noted(&path)?
            {
                ledger.account(&key).merge(&account);
                ledger.rotations = ledger.rotations.max(rotation_of(&path).unwrap_or(0));
                found += 1;
            }
        }
    }
    if found > 0 {
        tracing::warn!(
            folder = %root.display(), files = found,
            "the ledger is gone; it was made again from the files, without the gaps that had been declared"
        );
    }
    Ok(ledger)
}

/// `fast-00000012-0003.parquet` is of rotation 12.
fn rotation_of(path: &Path) -> Option<u64> {
    path.file_stem()?.to_str()?.rsplit('-').nth(1)?.parse().ok()
}

/// What a file says about itself; `None` when no ingest has made it.
fn noted(path: &Path) -> Result<Option<(StreamKey, Account)>, IngestError> {
    let damaged = |why: String| IngestError::Damaged { path: path.to_owned(), why };
    let file = File::open(path).map_err(error::file("read", path))?;
    let reader = SerializedFileReader::new(file).map_err(|error| damaged(error.to_string()))?;
    let notes = reader.metadata().file_metadata().key_value_metadata();
    let note = notes.into_iter().flatten().find(|note| note.key == NOTE).and_then(|note| note.value.as_ref());
    let Some(note) = note else { return Ok(None) };
    let stored: StoredStream = serde_json::from_str(note).map_err(|error| damaged(error.to_string()))?;
    stored.open().map(Some).map_err(|error| damaged(error.to_string()))
}
