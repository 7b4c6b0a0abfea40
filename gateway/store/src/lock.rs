//! One gateway per data directory.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
};

use crate::StoreError;

/// The file whose lock says that a gateway works here. It stays when the gateway ends; the operating system frees the
/// lock.
pub(crate) const FILE: &str = "store.lock";

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
    /// What tells the directory from a copy of it: the number of its lock's file, and when that was made. `None` where the
    /// operating system does not say.
    pub(crate) fn place(&self) -> Option<u64> {
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
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(dir.join(FILE)).map_err(unusable)?;
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
