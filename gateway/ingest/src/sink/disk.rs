//! Everything that changes files: whole or not at all, and in tests failing wherever it is told to.

#[cfg(test)]
pub(crate) mod fault;

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

/// Puts a file in its place: written beside it, synced, renamed, and the folder synced.
///
/// When this fails, the file may be in its place all the same, but it is not sure to last.
pub(crate) fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".part");
    let mut file = Summed::create(beside.as_ref())?;
    file.write_all(bytes)?;
    file.sync()?;
    rename(beside.as_ref(), path)?;
    sync_folder(path.parent().unwrap_or(Path::new(".")))
}

/// Makes what was made, renamed or removed in a folder last.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    step()?;
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    File::open(folder)?.sync_all()
}

/// Gives a file another name.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    step()?;
    fs::rename(from, to)
}

/// Removes a file. One that is not there is removed.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    step()?;
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes a folder and those above it, where they are not there.
pub(crate) fn make_folders(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    step()?;
    fs::create_dir_all(folder)
}

/// Writes at the place where the file is, all of it.
pub(crate) fn write(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    if let Err(error) = step() {
        // A disk that becomes full takes a part.
        file.write_all(bytes.split_at(bytes.len() / 2).0)?;
        return Err(error);
    }
    file.write_all(bytes)
}

/// Syncs what was written.
pub(crate) fn sync(file: &File) -> io::Result<()> {
    step()?;
    file.sync_data()
}

/// Cuts a file off, for ever.
pub(crate) fn cut(file: &File, length: u64) -> io::Result<()> {
    step()?;
    file.set_len(length)?;
    file.sync_all()
}

/// What a file holds, in two numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Sum {
    /// Bytes.
    pub(crate) length: u64,
    pub(crate) crc32c: u32,
}

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        self.length = self.length.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.crc32c = crc32c::crc32c_append(self.crc32c, bytes);
    }

    /// The sum of the file there; `None` when there is none.
    pub(crate) fn of(path: &Path) -> io::Result<Option<Sum>> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let (mut sum, mut buffer) = (Sum::default(), vec![0; 64 * 1024]);
        loop {
            match io::Read::read(&mut file, &mut buffer)? {
                0 => return Ok(Some(sum)),
                length => sum.add(buffer.get(..length).unwrap_or_default()),
            }
        }
    }
}

/// A new file that is summed while it is written.
#[derive(Debug)]
pub(crate) struct Summed {
    file: File,
    sum: Sum,
}

impl Summed {
    /// Makes the file; one that is there is emptied.
    pub(crate) fn create(path: &Path) -> io::Result<Summed> {
        step()?;
        Ok(Summed { file: File::create(path)?, sum: Sum::default() })
    }

    /// Syncs the file and tells what is in it.
    pub(crate) fn sync(self) -> io::Result<Sum> {
        sync(&self.file)?;
        Ok(self.sum)
    }
}

impl Write for Summed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write(&mut self.file, bytes)?;
        self.sum.add(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Comes before each change. A test may let it fail.
#[cfg(test)]
fn step() -> io::Result<()> {
    fault::step()
}

#[cfg(not(test))]
#[expect(clippy::unnecessary_wraps, reason = "in tests it can fail")]
fn step() -> io::Result<()> {
    Ok(())
}
