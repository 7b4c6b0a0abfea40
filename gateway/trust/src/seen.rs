//! When and where a certificate was first seen: a note beside the lists.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use tidegate_model::Timestamp;

use crate::{
    Fingerprint, TrustError,
    files::{self, Readers},
};

/// Letters of a place that are kept.
const LONGEST_PLACE: usize = 200;

/// Writes down where a certificate was seen, unless that is known.
pub(crate) fn note(root: &Path, fingerprint: Fingerprint, place: &str, now: Timestamp) -> Result<(), TrustError> {
    let path = path(root, fingerprint);
    if files::read(&path)?.is_some() {
        return Ok(());
    }
    let place: String = place.chars().filter(|c| !c.is_control()).take(LONGEST_PLACE).collect();
    files::write(&path, format!("{now} {place}\n").as_bytes(), Readers::All)
}

/// When and where a certificate was first seen; `None` when it was put into its folder by hand, or the note is gone.
pub(crate) fn read(root: &Path, fingerprint: Fingerprint) -> Option<(Timestamp, String)> {
    let bytes = files::read(&path(root, fingerprint)).ok()??;
    let text = String::from_utf8(bytes).ok()?;
    let (time, place) = text.trim_end().split_once(' ')?;
    Some((Timestamp::from_millis(time.parse().ok()?), place.to_owned()))
}

/// Forgets it.
pub(crate) fn forget(root: &Path, fingerprint: Fingerprint) -> Result<(), TrustError> {
    files::remove(&path(root, fingerprint))
}

/// Forgets all others: notes of certificates that are in no list any more.
pub(crate) fn forget_others(root: &Path, known: &HashSet<Fingerprint>) -> Result<(), TrustError> {
    let known: HashSet<String> = known.iter().map(Fingerprint::to_string).collect();
    for note in files::list(&root.join("seen"))? {
        if !note.file_name().and_then(|name| name.to_str()).is_some_and(|name| known.contains(name)) {
            files::remove(&note)?;
        }
    }
    Ok(())
}

fn path(root: &Path, fingerprint: Fingerprint) -> PathBuf {
    root.join("seen").join(fingerprint.to_string())
}
