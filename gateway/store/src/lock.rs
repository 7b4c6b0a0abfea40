//! One gateway per data directory.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
};

use crate::{StoreError, damage::now};

/// The file whose lock says that a gateway works here. It stays when the gateway ends; the operating system frees the
/// lock.
pub(crate) const FILE: &str = "store.lock";

/// A count of starts that is larger was not written by a store.
const MOST: u64 = 1 << 53;

/// Milliseconds after which the file was changed by somebody else than the store, which says in it when it has written it.
const SOON: i64 = 1_000;

/// Another one each time that the kernel starts (`random(4)`).
const MACHINE: &str = "/proc/sys/kernel/random/boot_id";

/// What the directory knows that a database in it may be held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Here {
    /// What tells the directory from a copy of it; 0 where the operating system does not say.
    pub(crate) place: u64,
    /// The last count of starts that a store has given here; 0 when that is not known.
    pub(crate) boot: u64,
    /// Whether somebody else has written or changed the lock's file since, as who copies a backup over the directory does.
    pub(crate) is_rewritten: bool,
    /// What tells this run of the machine from others; 0 where the operating system does not say.
    pub(crate) machine: u64,
    /// What the clock says, in milliseconds since 1970, right or not.
    pub(crate) now: u64,
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
        Here {
            place: self.place().unwrap_or(0),
            boot: self.boot().unwrap_or(0),
            is_rewritten: self.is_rewritten(),
            machine: machine().unwrap_or(0),
            now: now(),
        }
    }

    /// Keeps a count of starts that the database has, too: one that is put in the place of this database, older, is known by it.
    ///
    /// Beside it stands when that was: nobody can give a file the time of another's last change, which a copy has otherwise all of.
    pub(crate) fn note(&self, boot: u64) {
        if let Err(error) = self.try_note(boot) {
            tracing::debug!(%error, "the count of starts could not be written beside the database");
        }
    }

    fn try_note(&self, boot: u64) -> io::Result<()> {
        // Where the machine stood still in between, it is tried again, and nothing is said in the end.
        for _ in 0..3 {
            self.write(&format!("{boot}\n"))?;
            let at = self.changed()?;
            self.write(&format!("{boot}\n{at}\n"))?;
            if is_soon(at, self.changed()?) {
                return Ok(());
            }
        }
        self.write(&format!("{boot}\n"))
    }

    fn write(&self, text: &str) -> io::Result<()> {
        // The line break ends a number also where an older, longer one stays behind it.
        self.0.write_all_at(text.as_bytes(), 0)?;
        self.0.set_len(u64::try_from(text.len()).unwrap_or(0))
    }

    fn boot(&self) -> Option<u64> {
        let (boot, _) = self.text()?;
        boot.parse().ok().filter(|boot| *boot <= MOST)
    }

    fn is_rewritten(&self) -> bool {
        let said = self.text().and_then(|(_, rest)| rest.split_once('\n')?.0.parse().ok());
        said.zip(self.changed().ok()).is_some_and(|(said, changed)| !is_soon(said, changed))
    }

    /// The first line, and what follows it.
    fn text(&self) -> Option<(String, String)> {
        let mut text = [0; 64];
        let length = self.0.read_at(&mut text, 0).ok()?;
        let (first, rest) = std::str::from_utf8(text.get(..length)?).ok()?.split_once('\n')?;
        Some((first.to_owned(), rest.to_owned()))
    }

    /// When the file was changed last, in milliseconds since 1970.
    fn changed(&self) -> io::Result<i64> {
        let metadata = self.0.metadata()?;
        Ok(metadata.ctime().saturating_mul(1_000).saturating_add(metadata.ctime_nsec() / 1_000_000))
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

/// Whether one time is right behind another.
fn is_soon(said: i64, changed: i64) -> bool {
    (0..=SOON).contains(&changed.saturating_sub(said))
}

fn machine() -> Option<u64> {
    let text = std::fs::read_to_string(MACHINE).ok()?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).take(16).collect();
    // The sign is of no use in the database.
    u64::from_str_radix(&digits, 16).ok().map(|id| id & u64::MAX >> 1)
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
    fn a_file_that_somebody_else_has_changed_since_is_known_by_the_time() {
        let dir = tempfile::tempdir().unwrap();
        let here = || take(dir.path()).unwrap().here();
        assert!(!here().is_rewritten, "the file is empty");
        take(dir.path()).unwrap().note(5);
        assert_eq!((here().boot, here().is_rewritten), (5, false));
        // A copy of an hour ago has the time of then in it, and another one of its own.
        let path = dir.path().join(FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        let at: i64 = text.lines().nth(1).unwrap().parse().unwrap();
        for hour in [-3_600_000, 3_600_000] {
            std::fs::write(&path, format!("5\n{}\n", at + hour)).unwrap();
            assert_eq!((here().boot, here().is_rewritten), (5, true), "{hour}");
        }
        // What is said of now is right, unless the machine stands still while it is written.
        loop {
            let lock = take(dir.path()).unwrap();
            lock.write("5\n").unwrap();
            let said = lock.changed().unwrap();
            lock.write(&format!("5\n{said}\n")).unwrap();
            if is_soon(said, lock.changed().unwrap()) {
                break;
            }
        }
        assert_eq!((here().boot, here().is_rewritten), (5, false));
        std::fs::write(&path, "5\n").unwrap();
        assert_eq!((here().boot, here().is_rewritten), (5, false), "as an earlier gateway has written it");
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
