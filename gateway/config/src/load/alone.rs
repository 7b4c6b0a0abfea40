//! One profile without a site around it: for simulators, and for tests of profiles.

use std::{path::Path, sync::Arc};

use super::{files::Files, profile};
use crate::{Origin, Profile, Report, Source, Table};

/// Reads one profile file. It is named by the file's name without `.toml`.
///
/// All mistakes go into `report`; those in the keys of its driver are found by the driver. The profile **must not be used
/// when [`Report::has_errors`]**. It is `None` when the file cannot be read.
pub fn load_profile(file: &Path, report: &mut Report) -> Option<Arc<Profile>> {
    let table = Files::default().read_table(file, &Origin::Default, report)?;
    let name = file.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    Some(Arc::new(profile::profile(&name, table, report)))
}

/// Reads a profile from a text. It is named by the path of the source.
///
/// As [`load_profile`] otherwise.
pub fn parse_profile(source: &Arc<Source>, report: &mut Report) -> Arc<Profile> {
    let table = Table::parse(source, report);
    Arc::new(profile::profile(source.path(), table, report))
}

#[cfg(test)]
mod tests {
    use super::*;

    const METER: &str = "profile = { manufacturer = \"M\", model = \"X\", driver = \"modbus\", version = 2 }\n\
        [[group]]\nname = \"fast\"\ninterval = \"1s\"\n\
        [[tag]]\nname = \"voltage\"\ngroup = \"fast\"\naddress = 0\n";

    #[test]
    fn a_profile_is_read_from_a_text() {
        let mut report = Report::new();
        let profile = parse_profile(&Source::new("meter", METER), &mut report);
        assert!(!report.has_errors(), "{}", report.render());
        assert_eq!((profile.path.as_str(), profile.version), ("meter", 2));
        assert_eq!(profile.groups[0].tags[0].name.as_str(), "voltage");
    }

    #[test]
    fn a_profile_is_read_from_a_file_and_named_by_it() {
        let folder = std::env::temp_dir().join(format!("tidegate-profile-alone-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("sdm630.toml");
        std::fs::write(&file, METER).unwrap();
        let mut report = Report::new();
        let profile = load_profile(&file, &mut report);
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(!report.has_errors(), "{}", report.render());
        assert_eq!(profile.unwrap().path, "sdm630");
    }

    #[test]
    fn a_file_that_is_not_there_is_a_mistake() {
        let mut report = Report::new();
        assert!(load_profile(Path::new("/nonexistent/meter.toml"), &mut report).is_none());
        assert!(report.render().contains("/nonexistent/meter.toml cannot be read"), "{}", report.render());
    }
}
