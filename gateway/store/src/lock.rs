//! One gateway per data directory.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
};

use crate::StoreError;

/// The file whose lock says that a gateway works here. It stays when the gateway ends; the operating system frees the
/// lock.
pub(crate) const FILE: &str = "store.lock";

/// A count of starts that is larger was not written by a store.
const MOST: u64 = 1 << 53;

/// What the directory knows that a database in it may be held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Here {
    /// What tells the directory from a copy of it; 0 where the operating system does not say.
    pub(crate) place: u64,
    /// The last count of starts that a store has given here; 0 when that is not known.
    pub(crate) boot: u64,
}

/// A locked directory, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file is not enough: a process that is being started at this moment has it open, too, until it runs.
        let _ = self.0.unlock();
    }
}

impl Lock {
    /// What is known of the directory.
    pub(crate) fn here(&self) -> Here {
        Here { place: self.place().unwrap_or(0), boot: self.boot().unwrap_or(0) }
    }

    /// Keeps a count of starts that the database has, too: one that is put in the place of this database, older, is known by it.
    pub(crate) fn note(&self, boot: u64) {
        let text = boot.to_string();
        let length = u64::try_from(text.len()).unwrap_or(0);
        // The line break ends the number also where an older, longer one stays behind it.
        let written = self.0.write_all_at(format!("{text}\n").as_bytes(), 0).and_then(|()| self.0.set_len(length + 1));
        if let Err(error) = written {
            tracing::debug!(%error, "the count of starts could not be written beside the database");
        }
    }

    fn boot(&self) -> Option<u64> {
        let mut text = [0; 32];
        let length = self.0.read_at(&mut text, 0).ok()?;
        let (number, _) = std::str::from_utf8(text.get(..length)?).ok()?.split_once('\n')?;
        number.parse().ok().filter(|boot| *boot <= MOST)
    }

    /// What tells the directory from a copy of it: the number of its lock's file, and when that was made. `None` where the
    /// operating system does not say.
    fn place(&self) -> Option<u64> {
        let metadata = self.0.metadata().ok()?;
        let made = metadata.created().ok().and_then(|made| made.duration_since(std::time::UNIX_EPOCH).ok());
        let made = made.map_or(0, |made| u64::try_from(made.as_nanos()).unwrap_or(u64::MAX));
        // The sign is of no use in the database.
        Some((metadata.ino().rotate_left(40) ^ made) & u64::MAX >> 1)
    }
}

/// Makes the data directory if need be and locks it.
pub(crate) fn take(dir: &Path) -> Result<Lock, StoreError> {
    let unusable = |source: io::Error| StoreError::Directory { path: dir.to_owned(), source };
    std::fs::create_dir_all(dir).map_err(unusable)?;
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(dir.join(FILE))
        .map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(unusable(source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_directory_is_refused_until_it_is_free_again() {
        let dir = tempfile::tempdir().unwrap();
        let lock = take(dir.path()).unwrap();
        let error = take(dir.path()).unwrap_err();
        assert!(matches!(error, StoreError::InUse { .. }));
        assert!(error.to_string().contains(&dir.path().display().to_string()), "{error}");
        let place = lock.place();
        drop(lock);
        assert_eq!(take(dir.path()).unwrap().place(), place);
    }

    #[test]
    fn the_last_start_is_kept_in_the_file_and_nothing_else_is_taken_for_one() {
        let dir = tempfile::tempdir().unwrap();
        let boot = || take(dir.path()).unwrap().here().boot;
        assert_eq!(boot(), 0, "the file is empty");
        for start in [9_999, 7] {
            take(dir.path()).unwrap().note(start);
            assert_eq!(boot(), start);
        }
        for text in ["12", "x\n", "-3\n", "99999999999999999999999\n", "18446744073709551615\n", "\n", "\u{fc}\n"] {
            std::fs::write(dir.path().join(FILE), text).unwrap();
            assert_eq!(boot(), 0, "{text:?}");
        }
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("data");
        std::fs::write(&file, "not a directory").unwrap();
        let error = take(&file).unwrap_err();
        assert!(matches!(error, StoreError::Directory { .. }));
        assert!(error.to_string().contains(&file.display().to_string()), "{error}");
    }

    #[test]
    fn a_copy_of_a_directory_is_another_place() {
        let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let place = take(dir.path()).unwrap().place();
        std::fs::copy(dir.path().join(FILE), copy.path().join(FILE)).unwrap();
        assert!(place.is_some_and(|place| i64::try_from(place).is_ok()));
        assert_ne!(take(copy.path()).unwrap().place(), place);
    }
}
