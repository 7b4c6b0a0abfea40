//! One gateway per data directory.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
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
        drop(lock);
        assert!(take(dir.path()).is_ok());
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
}
