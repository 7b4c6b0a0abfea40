//! The journal: blocks that are written but not yet in their Parquet files.
//!
//! A file of records, each `length of the rest (u32, little-endian), CRC-32C of the rest (u32), length of the gateway's name (u8),
//! name, block`. It only grows; once it was synced, what is in it has been written. What follows the last whole record was cut
//! off by a kill before it was synced, and belongs to nobody.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use tidegate_model::Name;

use crate::sink::disk;

/// Bytes of length and checksum.
const HEAD: usize = 8;
/// No record is longer: a message of the broker's is not.
const LONGEST: usize = 64 * 1024 * 1024;

/// The journal's file, open for appending.
pub(crate) struct Journal {
    file: File,
    length: u64,
    /// Whether something may stand behind its length that nobody was told about.
    overhang: bool,
}

/// Where a block is in the journal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spot {
    at: u64,
    length: usize,
}

/// A record of the journal.
pub(crate) struct Record {
    pub(crate) gateway: Name,
    pub(crate) frame: Vec<u8>,
    pub(crate) spot: Spot,
}

impl Journal {
    /// Opens the journal, or makes it. Calls `found` with each of its records; what is cut off at the end is removed.
    pub(crate) fn open(path: &Path, mut found: impl FnMut(Record) -> io::Result<()>) -> io::Result<Journal> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        // What is synced in a file whose name is not lasts no longer than the name.
        disk::sync_folder(path.parent().unwrap_or(Path::new(".")))?;
        let size = file.metadata()?.len();
        let length = records(&file, size, &mut found)?;
        let mut journal = Journal { file, length, overhang: length < size };
        journal.settle()?;
        Ok(journal)
    }

    /// Bytes in it.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Appends records, made by [`record`], and syncs them. When that fails, the journal is as it was before once
    /// [`Journal::settle`] has succeeded.
    pub(crate) fn append(&mut self, records: &[u8]) -> io::Result<u64> {
        self.settle()?;
        let at = self.length;
        self.file.seek(SeekFrom::Start(at))?;
        self.overhang = true;
        disk::write(&mut self.file, records)?;
        disk::sync(&self.file)?;
        self.length += u64::try_from(records.len()).unwrap_or(0);
        self.overhang = false;
        Ok(at)
    }

    /// Removes what a failed append has left: whoever reads the journal would take it for written.
    pub(crate) fn settle(&mut self) -> io::Result<()> {
        if self.overhang {
            disk::cut(&self.file, self.length)?;
            self.overhang = false;
        }
        Ok(())
    }

    /// The record at a spot.
    pub(crate) fn read(&mut self, spot: Spot) -> io::Result<Record> {
        self.file.seek(SeekFrom::Start(spot.at))?;
        let record = read(&mut (&self.file).take(u64::try_from(spot.length).unwrap_or(0)), spot.at, u64::MAX)?;
        record.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a record of the journal is damaged"))
    }
}

/// Calls `found` with each record of a journal, which is not changed. One that is not there has none.
pub(crate) fn scan(path: &Path, mut found: impl FnMut(Record)) -> io::Result<()> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let size = file.metadata()?.len();
    records(&file, size, |record| {
        found(record);
        Ok(())
    })
    .map(drop)
}

/// Calls `found` with each whole record; returns where the last of them ends.
fn records(file: &File, size: u64, mut found: impl FnMut(Record) -> io::Result<()>) -> io::Result<u64> {
    let mut reader = io::BufReader::new(file);
    let mut length = 0;
    while let Some(record) = read(&mut reader, length, size)? {
        length += u64::try_from(record.spot.length).unwrap_or(0);
        found(record)?;
    }
    Ok(length)
}

/// Appends a record to `out` and returns its length.
pub(crate) fn record(gateway: &Name, frame: &[u8], out: &mut Vec<u8>) -> usize {
    let name = gateway.as_str().as_bytes();
    let mut rest = Vec::with_capacity(1 + name.len() + frame.len());
    // A name has at most 64 characters.
    rest.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
    rest.extend_from_slice(name);
    rest.extend_from_slice(frame);
    out.extend_from_slice(&u32::try_from(rest.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c(&rest).to_le_bytes());
    out.extend_from_slice(&rest);
    HEAD + rest.len()
}

/// The spot of a record of that length behind others that begin at `at`.
pub(crate) fn spot(at: u64, before: usize, length: usize) -> Spot {
    Spot { at: at.saturating_add(u64::try_from(before).unwrap_or(0)), length }
}

/// The next record; `None` at the end, and at what was cut off.
fn read(reader: &mut impl Read, at: u64, size: u64) -> io::Result<Option<Record>> {
    let mut head = [0; HEAD];
    if !fill(reader, &mut head)? {
        return Ok(None);
    }
    let [a, b, c, d, e, f, g, h] = head;
    let (length, checksum) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let behind = at.saturating_add(u64::try_from(length.saturating_add(HEAD)).unwrap_or(u64::MAX));
    if length > LONGEST || behind > size {
        return Ok(None);
    }
    let mut rest = vec![0; length];
    if !fill(reader, &mut rest)? || crc32c::crc32c(&rest) != checksum {
        return Ok(None);
    }
    let split = || {
        let (count, rest) = rest.split_first()?;
        let (name, frame) = rest.split_at_checked(usize::from(*count))?;
        Some((std::str::from_utf8(name).ok()?.parse().ok()?, frame.to_vec()))
    };
    let Some((gateway, frame)) = split() else { return Ok(None) };
    Ok(Some(Record { gateway, frame, spot: Spot { at, length: HEAD + length } }))
}

/// Fills the buffer; false when there is not so much.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn found(path: &Path) -> (Journal, Vec<(String, Vec<u8>, Spot)>) {
        let mut all = Vec::new();
        let journal = Journal::open(path, |record| {
            all.push((record.gateway.to_string(), record.frame, record.spot));
            Ok(())
        });
        (journal.unwrap(), all)
    }

    #[test]
    fn a_journal_that_is_cut_anywhere_keeps_its_whole_records() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut bytes = Vec::new();
        let ends: Vec<usize> = (0..3_usize)
            .map(|at| {
                record(&name("line3"), &vec![7; at * 5], &mut bytes);
                bytes.len()
            })
            .collect();
        for cut in 0..=bytes.len() {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            let whole = ends.iter().filter(|end| **end <= cut).count();
            let (mut journal, all) = found(&path);
            assert_eq!(all.len(), whole, "cut at {cut}");
            let at = journal.length();
            let mut more = Vec::new();
            let length = record(&name("line4"), b"more", &mut more);
            assert_eq!(journal.append(&more).unwrap(), at);
            assert_eq!(journal.read(spot(at, 0, length)).unwrap().frame, b"more");
            drop(journal);
            let (_, all) = found(&path);
            assert_eq!((all.len(), all[whole].0.as_str()), (whole + 1, "line4"), "cut at {cut}");
        }
    }

    #[test]
    fn a_flipped_bit_ends_the_journal_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut bytes = Vec::new();
        let first = record(&name("line3"), b"one", &mut bytes);
        record(&name("line3"), b"two", &mut bytes);
        for at in first..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            std::fs::write(&path, &damaged).unwrap();
            assert_eq!(found(&path).1.len(), 1, "byte {at}");
        }
    }
}
