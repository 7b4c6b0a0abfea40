//! The number of the connection (`bdSeq`), which goes on over restarts: in a file of its own, written before the connection is made.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use tidegate_model::Name;

use crate::TargetStatus;

/// Gives each connection its number, 0 to 255 in a circle.
pub(super) struct Number {
    file: PathBuf,
    last: Option<u8>,
    /// Whether it was said that the file cannot be written.
    said: bool,
}

impl Number {
    /// Reads the number of the last connection of a target; the first one ever gets 0.
    pub(super) async fn open(folder: &Path, target: &Name) -> Number {
        let file = folder.join("sparkplug").join(format!("{target}.bdseq"));
        let path = file.clone();
        let last = tokio::task::spawn_blocking(move || read(&path)).await.ok().flatten();
        Number { file, last, said: false }
    }

    /// The number of the next connection. It is on the disk when this returns, or a person has been told.
    pub(super) async fn next(&mut self, status: &TargetStatus) -> u8 {
        let next = self.last.map_or(0, |last| last.wrapping_add(1));
        self.last = Some(next);
        let file = self.file.clone();
        let written = tokio::task::spawn_blocking(move || write(&file, next)).await;
        match written.map_err(io::Error::other).and_then(|written| written) {
            Ok(()) => self.said = false,
            Err(error) if !self.said => {
                self.said = true;
                tracing::error!(
                    target_name = %status.name(), file = %self.file.display(), %error,
                    "the number of the connection cannot be kept; hosts may take the death of an old connection for that of \
                     a new one after a restart; check the disk and the rights on the data folder"
                );
            }
            Err(_) => {}
        }
        next
    }
}

fn read(file: &Path) -> Option<u8> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// Another file first, and then in its place: one that is cut half-way is none.
fn write(file: &Path, number: u8) -> io::Result<()> {
    let folder = file.parent().unwrap_or(file);
    fs::create_dir_all(folder)?;
    let new = file.with_extension("new");
    let mut out = File::create(&new)?;
    out.write_all(format!("{number}\n").as_bytes())?;
    out.sync_all()?;
    fs::rename(&new, file)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidegate_model::Timestamp;

    use super::*;

    fn status() -> TargetStatus {
        TargetStatus::new("cloud".parse().unwrap(), Arc::new(|| Timestamp::from_millis(0)))
    }

    #[tokio::test]
    async fn numbers_go_on_over_restarts_and_in_a_circle() {
        let (folder, target) = (tempfile::tempdir().unwrap(), "cloud".parse().unwrap());
        for round in 0..300_u32 {
            let mut number = Number::open(folder.path(), &target).await;
            assert_eq!(u32::from(number.next(&status()).await), round % 256);
        }
        let mut other = Number::open(folder.path(), &"other".parse().unwrap()).await;
        assert_eq!(other.next(&status()).await, 0);
        assert_eq!(other.next(&status()).await, 1);
    }

    #[tokio::test]
    async fn without_a_disk_numbers_still_go_on() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("sparkplug"), "not a folder").unwrap();
        let mut number = Number::open(folder.path(), &"cloud".parse().unwrap()).await;
        assert_eq!((number.next(&status()).await, number.next(&status()).await), (0, 1));
    }
}
