//! Files that are there whole or not at all.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use crate::TrustError;

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readers {
    /// Its owner alone.
    Owner,
    /// Whoever may read the folder.
    All,
}

/// Bytes of a file that are read at most: more than any certificate, key or note has.
const LONGEST: u64 = 64 * 1024;
/// How often a lock that another one holds is tried, and the pause between.
const TRIES: u32 = 15_000;
const PAUSE: Duration = Duration::from_millis(2);

/// Keeps others out, of this process and of any other, until what it gives is dropped. Who may not even read the file, and a file
/// system without locks, keep nobody out.
pub(crate) fn lock(path: &Path) -> Result<Option<File>, TrustError> {
    use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem, TimedOut};
    let open = || File::options().create(true).append(true).open(path).or_else(|_| File::open(path));
    let file = match open() {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem) => return Ok(None),
        Err(error) => return Err(at("lock", path)(error)),
    };
    for _ in 0..TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) => thread::park_timeout(PAUSE),
            Err(TryLockError::Error(_)) => return Ok(None),
        }
    }
    Err(at("lock", path)(io::Error::new(TimedOut, "others have held it for 30 s")))
}

/// Lets those in who wait for a lock that was just given up.
pub(crate) fn give_way() {
    thread::park_timeout(4 * PAUSE);
}

/// Writes a file under another name, lets it reach the disk, and gives it its name.
pub(crate) fn write(path: &Path, bytes: &[u8], readers: Readers) -> Result<(), TrustError> {
    let part = beside(path, "part");
    let attempt = || {
        // A file that a crash left: its readers may be others than wanted.
        remove_if_there(&part)?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        only(&mut options, readers);
        let mut file = options.open(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&part, path)?;
        path.parent().map_or(Ok(()), sync)
    };
    attempt().map_err(at("write", path))
}

/// The bytes of a file, `None` when there is none. Of one that is too long only the first are read.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, TrustError> {
    let read = || {
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(File::open(path)?, LONGEST), &mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if no_such(&error) => Ok(None),
        Err(error) => Err(at("read", path)(error)),
    }
}

/// When a file was last written, in milliseconds since 1970; `None` when there is none, or nobody knows.
pub(crate) fn written(path: &Path) -> Option<i64> {
    let written = fs::metadata(path).and_then(|metadata| metadata.modified()).ok()?;
    i64::try_from(written.duration_since(std::time::UNIX_EPOCH).ok()?.as_millis()).ok()
}

/// The paths of the files in a folder, in the order of their names.
pub(crate) fn list(folder: &Path) -> Result<Vec<PathBuf>, TrustError> {
    let list = || {
        let mut paths = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                paths.push(entry.path());
            }
        }
        paths.sort();
        Ok(paths)
    };
    match list() {
        Err(error) if no_such(&error) => Ok(Vec::new()),
        other => other.map_err(at("read", folder)),
    }
}

/// Makes a folder with those above it.
pub(crate) fn folder(path: &Path, readers: Readers) -> Result<(), TrustError> {
    fs::create_dir_all(path).and_then(|()| narrow(path, readers, 0o700)).map_err(at("make the folder", path))
}

/// Takes a file away; it may have gone already.
pub(crate) fn remove(path: &Path) -> Result<(), TrustError> {
    remove_if_there(path).map_err(at("remove", path))
}

/// Gives a file another name in one step.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), TrustError> {
    let rename = || {
        fs::rename(from, to)?;
        to.parent().map_or(Ok(()), sync)
    };
    rename().map_err(at("move", from))
}

/// Lets the owner alone read a file that others might have been able to. Says whether they might.
pub(crate) fn close_to_others(path: &Path) -> Result<bool, TrustError> {
    let open = fs::metadata(path).map(|metadata| open_to_others(&metadata)).map_err(at("read", path))?;
    if open {
        narrow(path, Readers::Owner, 0o600).map_err(at("change who may read", path))?;
    }
    Ok(open)
}

/// The path of a file beside this one, with another ending.
pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

pub(crate) fn at(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> TrustError {
    let path = path.to_owned();
    move |source| TrustError::File { what, path, source }
}

fn no_such(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if !no_such(&error) => Err(error),
        _ => Ok(()),
    }
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(unix)]
fn only(options: &mut OpenOptions, readers: Readers) {
    use std::os::unix::fs::OpenOptionsExt;
    options.mode(if readers == Readers::Owner { 0o600 } else { 0o644 });
}

#[cfg(not(unix))]
fn only(_options: &mut OpenOptions, _readers: Readers) {}

#[cfg(unix)]
fn narrow(path: &Path, readers: Readers, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    match readers {
        Readers::Owner => fs::set_permissions(path, fs::Permissions::from_mode(mode)),
        Readers::All => Ok(()),
    }
}

#[cfg(not(unix))]
fn narrow(_path: &Path, _readers: Readers, _mode: u32) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn open_to_others(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o077 != 0
}

#[cfg(not(unix))]
fn open_to_others(_metadata: &fs::Metadata) -> bool {
    false
}
