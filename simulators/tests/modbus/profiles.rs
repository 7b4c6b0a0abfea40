//! Every profile of the repository can be served.

use std::path::{Path, PathBuf};

use tidegate_config::{Report, TagSource, load_profile};
use tidegate_simulators::modbus::{ModbusOptions, ModbusSimulator, UnitRange};

use crate::rig::unit;

fn profiles(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let files = files.into_iter().filter(|file| file.extension().is_some_and(|end| end == "toml"));
    files.chain(folders.iter().flat_map(|folder| profiles(folder))).collect()
}

#[test]
fn each_tag_of_each_profile_has_a_value_within_its_range() {
    let files = profiles(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../profiles"));
    assert!(files.len() >= 6, "{files:?}");
    for file in files {
        let mut report = Report::new();
        let profile = load_profile(&file, &mut report).unwrap();
        assert!(!report.has_errors(), "{}", report.render());
        if profile.driver.value != "modbus" {
            continue;
        }
        let mut options = ModbusOptions::new(profile.clone());
        // Units of their own are courses of their own: as good as many moments.
        options.units = UnitRange::new(unit(1), unit(50)).unwrap();
        let simulator = ModbusSimulator::start(options).unwrap();
        let tags = profile.groups.iter().flat_map(|group| &group.tags);
        for tag in tags.filter(|tag| matches!(tag.source, TagSource::Device(_))) {
            for (_, number, device) in simulator.devices() {
                let value = device.value(tag.name.as_str());
                assert!(value.is_ok(), "{} {}: {value:?}", file.display(), tag.name);
                if let (Ok(value), Some(range)) = (value, &tag.range) {
                    let number_of = value.as_f64().unwrap();
                    let place = format!("{} {} of unit {number}: {value:?}", file.display(), tag.name);
                    assert!((range.low..=range.high).contains(&number_of), "{place}");
                }
            }
        }
    }
}
