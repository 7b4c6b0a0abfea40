//! From the journal to Parquet files.

use std::{fs, io, path::Path};

use bytes::Bytes;

use super::{
    Parquet,
    files::{Files, Made},
    journal::Journal,
};
use crate::{
    piece::{self, Piece},
    sink::{SinkError, Trouble, Written, durable},
};

impl Parquet {
    /// Writes what is in the journal to Parquet files.
    pub(crate) fn rotate(&mut self) -> Result<(), SinkError> {
        if self.journal.length() == 0 {
            return Ok(());
        }
        let made = self.make_files()?;
        let list = serde_json::to_vec(&made).map_err(io::Error::from);
        list.and_then(|list| durable::put(&self.folder.list(&self.filed), &list)).map_err(failed)?;
        self.put_in_place(&made).map_err(failed)
    }

    /// Completes a rotation that was killed.
    pub(super) fn complete(&mut self) -> Result<(), SinkError> {
        match fs::read(self.folder.list(&self.filed)) {
            Ok(list) => {
                let made: Vec<Made> = serde_json::from_slice(&list).map_err(io::Error::from).map_err(failed)?;
                self.put_in_place(&made).map_err(failed)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.clear_new_files().map_err(failed),
            Err(error) => Err(failed(error)),
        }
    }

    fn clear_new_files(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.folder.new_files())? {
            fs::remove_file(entry?.path())?;
        }
        Ok(())
    }

    /// Makes all files under names of their own, stream after stream: no more than the files of one stream are in memory.
    fn make_files(&mut self) -> Result<Vec<Made>, SinkError> {
        self.clear_new_files().map_err(failed)?;
        let folder = self.folder.new_files();
        let mut filed = self.filed.clone();
        let mut waiting = self.waiting.clone();
        waiting.sort_by(|a, b| (&a.key, a.first_seq).cmp(&(&b.key, b.first_seq)));
        let (mut made, mut count) = (Vec::new(), 0);
        for stream in waiting.chunk_by(|a, b| a.key == b.key) {
            let Some(key) = stream.first().map(|first| first.key.clone()) else { continue };
            let mut files = Files::new(&folder, self.filed.rotations + 1, key, &mut count);
            for waiting in stream {
                let record = self.journal.read(waiting.spot).map_err(failed)?;
                let frame = Bytes::from(record.frame);
                for (schema, whole) in piece::blocks(&frame).0 {
                    // Both have worked before the block was taken for written.
                    let Some(known) = self.folder.schema(&record.gateway, schema) else { continue };
                    if let Ok(Piece::Rows(rows)) = whole.unpack(&known, &mut self.decoder) {
                        let new = rows.deliver(filed.account(&known.key), &mut Written::default());
                        files.write(&rows, &new).map_err(exported)?;
                    }
                }
            }
            made.extend(files.finish().map_err(exported)?);
        }
        durable::sync_folder(&folder).map_err(failed)?;
        Ok(made)
    }

    /// Renames the files into their places; then what was in the journal is in the ledger, and the journal goes.
    fn put_in_place(&mut self, made: &[Made]) -> io::Result<()> {
        let new_files = self.folder.new_files();
        for Made { name, place } in made {
            let (from, to) = (new_files.join(name), self.folder.root().join(place));
            // Not there any more: it was renamed before the kill.
            if from.exists() {
                make_folders(self.folder.root(), place)?;
                fs::rename(from, &to)?;
                durable::sync_folder(to.parent().unwrap_or(Path::new(".")))?;
            }
        }
        let (journal, list) = (self.folder.journal(&self.filed), self.folder.list(&self.filed));
        let mut filed = self.ledger.clone();
        filed.rotations = self.filed.rotations + 1;
        self.folder.put_ledger(&filed)?;
        self.ledger.rotations = filed.rotations;
        self.filed = filed;
        self.waiting.clear();
        self.journal = Journal::open(&self.folder.journal(&self.filed), |_| Ok(()))?;
        fs::remove_file(list)?;
        fs::remove_file(journal)
    }
}

/// Makes the folders of a place, and makes them last.
fn make_folders(root: &Path, place: &Path) -> io::Result<()> {
    let mut folder = root.to_owned();
    for part in place.parent().into_iter().flat_map(Path::components) {
        let above = folder.clone();
        folder.push(part);
        if !folder.is_dir() {
            fs::create_dir(&folder)?;
            durable::sync_folder(&above)?;
        }
    }
    Ok(())
}

fn failed(error: io::Error) -> SinkError {
    SinkError { trouble: Trouble::Person, text: format!("failed to complete the Parquet files: {error}") }
}

fn exported(error: tidegate_export::ExportError) -> SinkError {
    SinkError { trouble: Trouble::Person, text: format!("failed to complete the Parquet files: {error}") }
}
