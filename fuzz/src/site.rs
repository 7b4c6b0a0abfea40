//! A site file.

use std::{fs, path::Path};

use tidegate_config::{Profiles, load};

/// Loads a site file with these bytes in it, as `tidegate check` does, and prints both reports. A folder is made for each call, so
/// that nothing is left of the one before.
pub fn any_bytes(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    load_in(folder.path(), bytes);
}

fn load_in(folder: &Path, bytes: &[u8]) {
    let file = folder.join("tidegate.toml");
    fs::write(&file, bytes).expect("a file can be written");
    let (site, report) = load(&file, [], Profiles::All);
    assert!(site.is_some() || report.has_errors(), "a site is missing and nobody says why");
    report.render();
    report.render_effective();
}
