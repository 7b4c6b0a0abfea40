//! From the journal to Parquet files.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use tidegate_model::Name;

use super::{
    Parquet, Replay,
    files::{Files, Made},
    journal::{self, Journal},
    take_up,
};
use crate::{
    piece::{self, Piece},
    sink::{Extent, SinkError, Trouble, Written, disk, disk::Sum},
};

/// How far a rotation is.
///
/// **Invariant:** while there is a list on the disk, nothing is added to its journal, and the files that it names are neither made
/// again nor removed.
pub(super) enum Stage {
    /// None is begun: blocks go into the journal.
    Taking(Journal),
    /// The files of all blocks of the journal are made and on a list. What is left is to put them in their places.
    Listed {
        made: Vec<Made>,
        /// Whether the list is sure to last.
        lasting: bool,
    },
    /// They are in their places and in the ledger. What is left is to clear journal and list away, and to begin the next journal.
    Filed,
}

impl Parquet {
    /// Writes what is in the journal to Parquet files. What fails half-way is completed the next time.
    pub(crate) fn rotate(&mut self) -> Result<(), SinkError> {
        if let Stage::Taking(journal) = &self.stage {
            if journal.length() == 0 {
                return Ok(());
            }
            self.make_list()?;
        }
        self.finish()
    }

    /// Completes a rotation that was begun; afterwards blocks go into the journal.
    pub(super) fn finish(&mut self) -> Result<(), SinkError> {
        if let Stage::Listed { made, lasting } = &mut self.stage {
            if !*lasting {
                put_list(&self.folder.list(&self.filed), made).map_err(failed)?;
                *lasting = true;
            }
            put_in_place(&self.folder.new_files(), self.folder.root(), made)?;
            let mut filed = self.ledger.clone();
            filed.rotations = self.filed.rotations + 1;
            filed.taken = self.keep_taken()?;
            self.folder.put_ledger(&filed).map_err(failed)?;
            self.ledger.rotations = filed.rotations;
            self.filed = filed;
            self.waiting.clear();
            self.stage = Stage::Filed;
        }
        if let Stage::Filed = self.stage {
            self.folder.clear(&self.filed).map_err(failed)?;
            self.taken.clear(self.filed.taken).map_err(failed)?;
            let (journal, replay) = take_up(&self.folder, &self.filed).map_err(|error| person(&error))?;
            (self.ledger, self.waiting) = (replay.ledger, replay.waiting);
            self.stage = Stage::Taking(journal);
        }
        Ok(())
    }

    /// Adds the values of edge nodes in the journal to those of before it.
    fn keep_taken(&mut self) -> Result<Option<Extent>, SinkError> {
        if !self.ledger.has_numbered_here() {
            return Ok(self.filed.taken);
        }
        let mut replay = Replay::new(self.filed.clone());
        let schema_of = |gateway: &Name, id| self.folder.schema(gateway, id);
        let path = self.folder.journal(&self.filed);
        journal::scan(&path, |record| replay.take(record, schema_of)).map_err(failed)?;
        self.taken.append(self.filed.taken, &replay.marks).map_err(failed)
    }

    fn make_list(&mut self) -> Result<(), SinkError> {
        let made = self.make_files()?;
        let path = self.folder.list(&self.filed);
        let put = put_list(&path, &made);
        // A list that is there counts, even where it is not sure to last.
        if put.is_ok() || path.try_exists().unwrap_or(true) {
            self.stage = Stage::Listed { made, lasting: put.is_ok() };
        }
        put.map_err(failed)
    }

    /// Makes all files under names of their own, stream after stream: no more than the files of one stream are in memory.
    fn make_files(&mut self) -> Result<Vec<Made>, SinkError> {
        clear_new_files(&self.folder.new_files()).map_err(failed)?;
        let Stage::Taking(journal) = &mut self.stage else { return Ok(Vec::new()) };
        journal.settle().map_err(failed)?;
        let folder = self.folder.new_files();
        let mut filed = self.filed.clone();
        let mut waiting = self.waiting.clone();
        waiting.sort_by(|a, b| (&a.key, a.first_seq).cmp(&(&b.key, b.first_seq)));
        let (mut made, mut count) = (Vec::new(), 0);
        for stream in waiting.chunk_by(|a, b| a.key == b.key) {
            let Some(key) = stream.first().map(|first| first.key.clone()) else { continue };
            let mut files = Files::new(&folder, self.filed.rotations + 1, key, &mut count);
            for waiting in stream {
                let record = journal.read(waiting.spot).map_err(failed)?;
                let frame = Bytes::from(record.frame);
                for (schema, whole) in piece::blocks(&frame).0 {
                    // Both have worked before the block was taken for written.
                    let known = self.folder.schema(&record.gateway, schema);
                    let piece = known.and_then(|known| whole.unpack(&known, &mut self.decoder).ok());
                    let Some(Piece::Rows(rows)) = piece else { return Err(unreadable()) };
                    let new = rows.deliver(filed.account(&rows.known.key), &mut Written::default());
                    files.write(&rows, &new).map_err(exported)?;
                }
            }
            made.extend(files.finish().map_err(exported)?);
        }
        disk::sync_folder(&folder).map_err(failed)?;
        Ok(made)
    }
}

fn put_list(path: &Path, made: &[Made]) -> io::Result<()> {
    disk::put(path, &serde_json::to_vec(made)?)
}

/// Removes what a rotation has left that never got its list.
pub(super) fn clear_new_files(folder: &Path) -> io::Result<()> {
    fs::read_dir(folder)?.try_for_each(|entry| disk::remove(&entry?.path()))
}

/// Renames the files into their places, where they are not there already, and makes that last.
fn put_in_place(new_files: &Path, root: &Path, made: &[Made]) -> Result<(), SinkError> {
    let mut folders: BTreeSet<PathBuf> = BTreeSet::new();
    for Made { name, place, sum } in made {
        let (from, to) = (new_files.join(name), root.join(place));
        folders.extend(place.ancestors().skip(1).map(|folder| root.join(folder)));
        if Sum::of(&from).map_err(failed)? == Some(*sum) {
            disk::make_folders(to.parent().unwrap_or(root)).map_err(failed)?;
            disk::rename(&from, &to).map_err(failed)?;
        } else if Sum::of(&to).map_err(failed)? != Some(*sum) {
            return Err(missing(&from, &to));
        }
    }
    // Also those that an earlier try has made: it may have failed before it came to this.
    folders.iter().try_for_each(|folder| disk::sync_folder(folder)).map_err(failed)
}

fn person(error: &impl ToString) -> SinkError {
    SinkError { trouble: Trouble::Person, text: format!("failed to complete the Parquet files: {}", error.to_string()) }
}

fn failed(error: io::Error) -> SinkError {
    person(&error)
}

fn exported(error: tidegate_export::ExportError) -> SinkError {
    person(&error)
}

fn unreadable() -> SinkError {
    person(&"a block of the journal cannot be read any more; were files below .tidegate removed?")
}

fn missing(from: &Path, to: &Path) -> SinkError {
    let (from, to) = (from.display(), to.display());
    person(&format!(
        "{to} is not there as it was made, nor is it at {from}; put it back, or remove the list-*.json below .tidegate and all \
         files of that number: they are made again from the journal"
    ))
}
