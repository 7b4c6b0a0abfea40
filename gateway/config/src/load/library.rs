//! The profile folders: each profile is read once, however many devices use it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{files::Files, profile};
use crate::{At, Origin, Profile, Report};

/// Folders within folders, at most; also the end of links that go in a circle.
const MAX_DEPTH: usize = 8;
/// Files and folders that are looked at, at most.
const MAX_ENTRIES: usize = 100_000;

/// All profile folders and what was read from them.
pub(super) struct Library {
    folders: Vec<At<PathBuf>>,
    /// By the path that devices name them by; `None` for one that could not be read.
    profiles: BTreeMap<String, Option<Arc<Profile>>>,
    /// Paths of all profiles there are; found out when first needed.
    known: Option<BTreeMap<String, PathBuf>>,
}

impl Library {
    pub(super) fn new(folders: Vec<At<PathBuf>>) -> Library {
        Library { folders, profiles: BTreeMap::new(), known: None }
    }

    /// The profile that a device names.
    pub(super) fn profile(
        &mut self,
        path: &At<String>,
        files: &mut Files,
        report: &mut Report,
    ) -> Option<Arc<Profile>> {
        if let Some(known) = self.profiles.get(&path.value) {
            return known.clone();
        }
        if !is_profile_path(path) {
            let help = "write the path within the profile folder without `.toml`: \"eastron/sdm630\"".to_owned();
            report.error(&path.origin, format!("{path:?} is not the path of a profile", path = path.value), Some(help));
            return None;
        }
        let candidates = self.folders.iter().map(|folder| folder.join(format!("{}.toml", path.value)));
        let Some(file) = candidates.into_iter().find(|file| file.is_file()) else {
            self.report_unknown(path, report);
            return None;
        };
        self.read(&path.value, &file, &path.origin, files, report)
    }

    fn report_unknown(&mut self, path: &At<String>, report: &mut Report) {
        let known: Vec<String> = self.known().keys().cloned().collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        if known.is_empty() {
            let folders: Vec<String> = self.folders.iter().map(|folder| folder.display().to_string()).collect();
            let help = format!("there is no profile at all in {}", folders.join(", "));
            report.error(&path.origin, format!("unknown profile \"{}\"", path.value), Some(help));
        } else {
            report.unknown_word(&path.origin, "profile", path, &known);
        }
    }

    fn read(
        &mut self,
        path: &str,
        file: &Path,
        origin: &Origin,
        files: &mut Files,
        report: &mut Report,
    ) -> Option<Arc<Profile>> {
        let table = files.read_table(file, origin, report);
        let profile = table.map(|table| Arc::new(profile::profile(path, table, report)));
        self.profiles.insert(path.to_owned(), profile.clone());
        profile
    }

    /// Reads every profile of all folders that no device named.
    pub(super) fn read_all(&mut self, files: &mut Files, report: &mut Report) {
        for (path, file) in self.known().clone() {
            if !self.profiles.contains_key(&path) {
                self.read(&path, &file, &Origin::Default, files, report);
            }
        }
    }

    /// Every profile that was read, by path.
    pub(super) fn into_profiles(self) -> Vec<Arc<Profile>> {
        self.profiles.into_values().flatten().collect()
    }

    fn known(&mut self) -> &BTreeMap<String, PathBuf> {
        let folders = &self.folders;
        self.known.get_or_insert_with(|| {
            let mut listing = Listing { known: BTreeMap::new(), entries_left: MAX_ENTRIES };
            for folder in folders {
                listing.add(folder, "", 0);
            }
            listing.known
        })
    }
}

/// Words of letters, digits, `_`, `-` and `.`, separated by slashes; nothing that leaves the folder.
fn is_profile_path(path: &str) -> bool {
    let word = |word: &str| {
        !word.is_empty()
            && !word.starts_with('.')
            && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
    };
    path.split('/').all(word) && !path.ends_with(".toml")
}

/// The profiles that were found in the folders.
struct Listing {
    known: BTreeMap<String, PathBuf>,
    entries_left: usize,
}

impl Listing {
    /// Notes every profile below `folder`; the first of the same path stays.
    fn add(&mut self, folder: &Path, prefix: &str, depth: usize) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        for entry in entries.filter_map(Result::ok) {
            let Some(left) = self.entries_left.checked_sub(1) else { return };
            self.entries_left = left;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = entry.path();
            if path.is_dir() && depth < MAX_DEPTH && !name.starts_with('.') {
                self.add(&path, &format!("{prefix}{name}/"), depth + 1);
            } else if let Some(stem) = name.strip_suffix(".toml") {
                let profile = format!("{prefix}{stem}");
                if is_profile_path(&profile) && path.is_file() {
                    self.known.entry(profile).or_insert(path);
                }
            }
        }
    }
}
