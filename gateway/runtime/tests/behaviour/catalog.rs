//! What there is to see, for whoever shows it under names of its own.

use std::sync::Arc;

use tidegate_config::Access;
use tidegate_model::{Slot, Value};

use crate::{
    plant::{Plant, until},
    rig::{METER, QUICK, Rig, link},
};

/// A meter that says more about its level.
fn described() -> String {
    METER.replace("unit = \"m\"", "unit = \"m\"\ndescription = \"of the tank\"\nrange = { low = 0.0, high = 20.0 }")
}

#[tokio::test]
async fn the_catalog_says_what_the_profile_says_and_devices_of_a_profile_share_it() {
    let rig = Rig::start_with(&link("press", QUICK, &["a", "b"]), &described(), Plant::default(), false).await;
    let catalog = rig.handle().catalog();
    let names: Vec<&str> = catalog.iter().map(|device| device.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    let device = &catalog[0];
    assert_eq!((device.link.as_str(), device.profile.model.as_str()), ("press", "Meter"));
    let tags = device.groups[0].tags();
    let level = &tags[0];
    assert_eq!((level.unit.as_deref(), level.description.as_deref()), (Some("m"), Some("of the tank")));
    assert_eq!((level.range, level.access), (Some((0.0, 20.0)), Access::Read));
    assert_eq!((tags[1].maximum, tags[1].access), (Some(100.0), Access::ReadWrite));
    assert_eq!(tags[2].access, Access::Write);
    assert!(Arc::ptr_eq(catalog[0].groups[0].info(), catalog[1].groups[0].info()));
}

#[tokio::test]
async fn a_group_has_another_version_with_each_row_and_the_samples_of_that_row() {
    let rig = Rig::start(&link("press", QUICK, &["a"])).await;
    let group = rig.handle().catalog()[0].groups[0].clone();
    rig.plant.set_value("a", "level", 7.5);
    let mut versions = Vec::new();
    let seen = || {
        versions.push(group.version());
        (group.sample(0)?.slot == Slot::Good(Value::F64(7.5))).then_some(())
    };
    until("the level", seen, || format!("{:?}", group.sample(0))).await;
    let before = group.version();
    until("another version", || (group.version() > before).then_some(()), || before.to_string()).await;
    let mut samples = Vec::new();
    group.latest_into(&mut samples);
    assert_eq!(samples.len(), 3);
    assert!(samples[0].time.is_some());
    assert_eq!(samples[2].slot, Slot::Unchanged, "a tag that is only written has no sample");
    assert_eq!(group.sample(3), None);
}

#[tokio::test]
async fn a_reload_gives_another_catalog_and_what_goes_on_keeps_its_samples() {
    let mut rig = Rig::start(&link("press", QUICK, &["a"])).await;
    let handle = rig.handle();
    let (before, version) = (handle.catalog(), handle.catalog_version());
    rig.reload(&(link("press", QUICK, &["a"]) + &link("mill", QUICK, &["b"]))).await.unwrap();
    assert_ne!(handle.catalog_version(), version);
    let names: Vec<String> = handle.catalog().iter().map(|device| device.name.to_string()).collect();
    assert_eq!(names, ["a", "b"]);
    // Who still has the old one sees the same device.
    let old = before[0].groups[0].version();
    until("a row", || (before[0].groups[0].version() > old).then_some(()), || old.to_string()).await;
    assert!(handle.catalog()[0].groups[0].version() > old);
}
