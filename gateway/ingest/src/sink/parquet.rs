//! Parquet files, in folders by gateway, device and date.
//!
//! A Parquet file is whole only at its end, and good ones are large: blocks go into a journal first, which is synced before
//! their messages are acknowledged. When it is old or large enough, its rows are written to Parquet files in one rotation: all files
//! under names of their own, then a list of them, then each is renamed into its place, then the ledger is written, then the journal
//! is removed. A rotation that was killed before its list was whole is made again from the journal; one that was killed after it is
//! completed by renaming the rest. So each row is in the files exactly once.
//!
//! What edge nodes have said is remembered in step with it: the values in the journal are read from it at a start, and a rotation adds them to
//! the file of those before ([`Taken`]), which counts when the ledger is written.

mod files;
mod folder;
mod journal;
mod rotation;
#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;
use tidegate_codec::block::{Decoder, SchemaId};
use tidegate_model::Name;

pub(crate) use self::folder::report;
use self::{
    folder::Folder,
    journal::{Journal, Record, Spot},
    rotation::Stage,
};
use super::{OpenError, Remembered, SinkError, Trouble, Written, taken::Taken};
use crate::{
    IngestError, Rotation, StreamKey,
    error::file,
    ledger::Ledger,
    piece::{self, Known, Piece},
    sparkplug::{self, Marks},
};

/// Blocks that wait in the journal, at most.
const MOST_WAITING: usize = 200_000;

/// A folder of Parquet files.
pub(crate) struct Parquet {
    folder: Folder,
    /// The values of edge nodes that are in files; those in the journal are read from there.
    taken: Taken,
    rotation: Rotation,
    stage: Stage,
    /// The blocks in the journal: their streams, and the first of their numbers.
    waiting: Vec<Waiting>,
    since: Instant,
    /// What is in the files.
    filed: Ledger,
    /// What is in the files and in the journal.
    ledger: Ledger,
    decoder: Decoder,
}

/// A block in the journal.
#[derive(Debug, Clone)]
struct Waiting {
    key: StreamKey,
    first_seq: u64,
    spot: Spot,
}

impl Parquet {
    /// Opens a folder, completes what was begun there, and reads its ledger.
    pub(crate) fn open(path: &Path, rotation: Rotation) -> Result<(Parquet, Remembered), OpenError> {
        let folder = Folder::open(path)?;
        let filed = folder.ledger()?;
        let old = file("complete the files of the last rotation below", path);
        folder.clear(&filed).map_err(old)?;
        let (journal, Replay { ledger, waiting, marks, .. }) = take_up(&folder, &filed)?;
        let stage = match folder.listed(&filed)? {
            Some(made) => Stage::Listed { made, lasting: false },
            None => {
                let new_files = folder.new_files();
                rotation::clear_new_files(&new_files).map_err(file("empty", &new_files))?;
                Stage::Taking(journal)
            }
        };
        let (streams, gaps) = (ledger.numbered_here(), ledger.numbered_there());
        let remembered = Remembered { streams, gaps, ..folder.remembered()? };
        let (since, decoder, taken) = (Instant::now(), Decoder::new(), folder.taken());
        let mut parquet = Parquet { folder, taken, rotation, stage, waiting, since, filed, ledger, decoder };
        let mut taken = parquet.taken.open(parquet.filed.taken);
        taken.extend(&marks);
        let remembered = Remembered { taken, ..remembered };
        parquet.finish().map_err(|error| {
            let failed = file("complete the files of the last rotation below", path);
            OpenError::from(failed(std::io::Error::other(error.text)))
        })?;
        Ok((parquet, remembered))
    }

    /// Writes a batch to the journal.
    pub(crate) fn write(&mut self, pieces: &[Piece], arrived: &[Arc<Known>]) -> Result<Written, SinkError> {
        // Files that cannot be completed hold the journal up, and with it the broker.
        self.finish()?;
        let other = pieces.iter().filter_map(Piece::known).any(|known| self.folder.has_other(known));
        if other || self.waiting_bytes() >= self.rotation.bytes.saturating_mul(2) {
            self.rotate()?;
        }
        let mut written = Written::default();
        let released = self.folder.released(arrived, &mut self.decoder);
        written.released = u64::try_from(released.len()).unwrap_or(u64::MAX);
        let (mut records, mut waiting) = (Vec::new(), Vec::new());
        let mut changes = self.ledger.changes();
        for piece in pieces.iter().chain(released.iter().map(|(piece, _)| piece)) {
            let (known, arrival, frame) = match piece {
                Piece::Rows(rows) => {
                    self.folder.check(&rows.known)?;
                    let before = written.numbered_again;
                    let new = rows.deliver(changes.account(&rows.known.key), &mut written);
                    if written.numbered_again > before {
                        let aside = self.folder.put_aside(&rows.numbered_again(), &mut written);
                        aside.map_err(disk("put a block aside"))?;
                    }
                    if new.is_empty() {
                        continue;
                    }
                    written.values += new.iter().map(|(first, last)| rows.values(first, last)).sum::<u64>();
                    (&rows.known, Some(rows.arrival), &rows.frame)
                }
                Piece::Gap(gap) => {
                    if !changes.account(&gap.known.key).declare(gap.arrival, &gap.reason) {
                        continue;
                    }
                    written.gaps += 1;
                    (&gap.known, None, &gap.frame)
                }
                Piece::Refused(refused) => {
                    self.folder.put_aside(refused, &mut written).map_err(disk("put a block aside"))?;
                    continue;
                }
                // Its numbers only grow: should the rest fail, it is entered again.
                Piece::Nodes(news) => {
                    self.folder.enter_nodes(news).map_err(disk("write what was seen of edge nodes"))?;
                    continue;
                }
            };
            if self.folder.has_other(known) && !records.is_empty() {
                let text = format!("blocks of two schemas with the checksum {} have come together", known.id);
                return Err(SinkError { trouble: Trouble::Values, text });
            }
            self.folder.keep_schema(known).map_err(disk("write a schema"))?;
            let before = records.len();
            let length = journal::record(&known.key.gateway, frame, &mut records);
            if let Some(arrival) = arrival {
                waiting.push((known.key.clone(), arrival.first_seq, before, length));
            }
        }
        let changes = changes.done();
        if let (Stage::Taking(journal), false) = (&mut self.stage, records.is_empty()) {
            if journal.length() == 0 {
                self.since = Instant::now();
            }
            let at = journal.append(&records).map_err(disk("write the journal"))?;
            self.waiting.extend(waiting.into_iter().map(|(key, first_seq, before, length)| Waiting {
                key,
                first_seq,
                spot: journal::spot(at, before, length),
            }));
        }
        self.ledger.apply(changes);
        // Their rows are in the journal now. Should this not last, they are duplicates the next time.
        released.iter().for_each(|(_, path)| self.folder.forget(path));
        Ok(written)
    }

    /// Rotates when the journal is old or large enough.
    pub(crate) fn tick(&mut self) -> Result<(), SinkError> {
        self.finish()?;
        let full = self.waiting_bytes() >= self.rotation.bytes || self.waiting.len() >= MOST_WAITING;
        let due = full || self.since.elapsed() >= self.rotation.age;
        if due { self.rotate() } else { Ok(()) }
    }

    /// Bytes of the journal that blocks go into.
    fn waiting_bytes(&self) -> u64 {
        if let Stage::Taking(journal) = &self.stage { journal.length() } else { 0 }
    }
}

/// The journal of what comes after `filed`, and what it has.
fn take_up(folder: &Folder, filed: &Ledger) -> Result<(Journal, Replay), IngestError> {
    let path = folder.journal(filed);
    let mut replay = Replay::new(filed.clone());
    let journal = Journal::open(&path, |record| {
        replay.take(record, |gateway, schema| folder.schema(gateway, schema));
        Ok(())
    });
    let journal = journal.map_err(file("read", &path))?;
    match replay.unreadable {
        0 => Ok((journal, replay)),
        unreadable => Err(damaged(path, unreadable)),
    }
}

/// Reads a journal into a ledger.
struct Replay {
    ledger: Ledger,
    waiting: Vec<Waiting>,
    /// The values of edge nodes, also those of a journal whose files tell of its rows already as the ledger is gone; and whose they are.
    marks: Marks,
    marked: Ledger,
    unreadable: u64,
    decoder: Decoder,
}

impl Replay {
    fn new(ledger: Ledger) -> Replay {
        let (waiting, decoder) = (Vec::new(), Decoder::new());
        Replay { ledger, waiting, marks: Marks::default(), marked: Ledger::default(), unreadable: 0, decoder }
    }

    fn take(&mut self, record: Record, schema_of: impl Fn(&Name, SchemaId) -> Option<Arc<Known>>) {
        let frame = Bytes::from(record.frame);
        for (schema, whole) in piece::blocks(&frame).0 {
            let known = schema_of(&record.gateway, schema);
            let piece = known.and_then(|known| whole.unpack(&known, &mut self.decoder).ok());
            match piece {
                Some(Piece::Rows(rows)) => {
                    let key = &rows.known.key;
                    rows.deliver(self.ledger.account(key), &mut Written::default());
                    let new = rows.deliver(self.marked.account(key), &mut Written::default());
                    sparkplug::marks(&rows, &new, |mark| self.marks.push(mark));
                    let first_seq = rows.arrival.first_seq;
                    self.waiting.push(Waiting { key: key.clone(), first_seq, spot: record.spot });
                }
                Some(Piece::Gap(gap)) => {
                    self.ledger.account(&gap.known.key).declare(gap.arrival, &gap.reason);
                }
                Some(Piece::Refused(_) | Piece::Nodes(_)) | None => self.unreadable += 1,
            }
        }
    }
}

fn damaged(path: PathBuf, unreadable: u64) -> IngestError {
    let why = format!("{unreadable} blocks of it cannot be read; were files below .tidegate removed?");
    IngestError::Damaged { path, why }
}

/// The ledger of a folder with what is in its journal. Nothing is changed.
fn replay(root: &Path, filed: Ledger, path: PathBuf) -> Result<Ledger, IngestError> {
    let mut replay = Replay::new(filed);
    let schema_of = |gateway: &Name, schema| folder::stored_schema(root, gateway, schema);
    journal::scan(&path, |record| replay.take(record, schema_of)).map_err(file("read", &path))?;
    match replay.unreadable {
        0 => Ok(replay.ledger),
        unreadable => Err(damaged(path, unreadable)),
    }
}

/// The error of the sink for what the operating system says.
fn disk(doing: &'static str) -> impl Fn(std::io::Error) -> SinkError {
    move |error| SinkError { trouble: Trouble::Person, text: format!("failed to {doing}: {error}") }
}
