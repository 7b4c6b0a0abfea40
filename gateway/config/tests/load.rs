//! A whole site is read as it was meant.

use std::{path::Path, time::Duration};

use tidegate_config::{
    Access, ByteSize, Deadband, DeviceTimeUnit, Profiles, Report, Secret, Site, TagSource, TargetKind, Threshold, load,
};

fn plant(environment: &[(&str, &str)]) -> (Option<Site>, Report) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sites/plant/tidegate.toml");
    let secret = ("SCADA_PASSWORD", "scada secret");
    let environment = environment.iter().chain([&secret]).map(|(name, text)| (name.to_string(), text.to_string()));
    load(&path, environment, Profiles::Used)
}

#[test]
fn a_right_site_gives_no_mistake() {
    let (site, report) = plant(&[]);
    assert_eq!(report.render(), "");
    let site = site.unwrap();
    assert_eq!(site.gateway.id.as_str(), "line3");
    assert!(site.gateway.data_dir.ends_with("plant/data"));
    assert_eq!(site.broker.users[0].password.reveal(), "scada secret");
    assert_eq!(site.store.max_size, ByteSize(4 << 30));
    assert_eq!(site.files.len(), 3);
}
