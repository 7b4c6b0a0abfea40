//! A site file.

use std::fs;

use tempfile::TempDir;
use tidegate_config::{Profiles, load};

thread_local! {
    /// Loading a site writes nothing, so one folder does for all calls; making one costs more than the rest.
    static FOLDER: TempDir = tempfile::tempdir().expect("a folder can be made");
}

/// Loads a site file with these bytes in it, as `tidegate check` does, and prints both reports.
pub fn any_bytes(bytes: &[u8]) {
    FOLDER.with(|folder| {
        let file = folder.path().join("tidegate.toml");
        fs::write(&file, bytes).expect("a file can be written");
        let (site, report) = load(&file, [], Profiles::All);
        assert!(site.is_some() || report.has_errors(), "a site is missing and nobody says why");
        report.render();
        report.render_effective();
    });
}
