//! A whole site is read as it was meant.

use std::{path::Path, time::Duration};

use tidegate_config::{
    Access, BrokerLogin, ByteSize, Deadband, DeviceTimeUnit, Kind, Origin, Profiles, Range, Report, Scaling, Site,
    TagSource, Target, TargetKind, Threshold, load,
};

fn plant(environment: &[(&str, &str)]) -> (Option<Site>, Report) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sites/plant/tidegate.toml");
    let secret = ("SCADA_PASSWORD", "scada secret");
    let environment = environment.iter().chain([&secret]).map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    load(&path, environment, Profiles::Used)
}

#[test]
fn a_right_site_gives_no_mistake() {
    let (site, report) = plant(&[]);
    assert_eq!(report.render(), "");
    let site = site.unwrap();
    assert_eq!(site.gateway.id.as_str(), "line3");
    assert!(site.gateway.data_dir.ends_with("plant/data"));
    assert_eq!(site.files.len(), 3, "site, include and profile");
    assert_eq!(site.profiles.len(), 1);
}

#[test]
fn sections_have_what_was_written() {
    let site = plant(&[]).0.unwrap();
    assert_eq!(site.broker.topic_root, "tidegate");
    assert!(matches!(&site.broker.users[0].login, BrokerLogin::Password(secret) if secret.reveal() == "scada secret"));
    assert_eq!(site.broker.users[0].rights.publish, ["tidegate/line3/+/set"]);
    assert_eq!(site.store.commit, Duration::from_millis(250));
    assert_eq!(site.store.max_size, ByteSize(4 << 30));
    let [Target { name, kind: TargetKind::Mqtt(mqtt), .. }] = &site.targets[..] else { panic!("one target") };
    assert_eq!((name.as_str(), mqtt.host.as_str(), mqtt.port), ("cloud", "broker.example.com", 8883));
    let (user, password) = mqtt.login.as_ref().unwrap();
    assert_eq!((user.as_str(), password.reveal()), ("line3", "correct horse"));
    assert!(mqtt.tls.is_some());
}

#[test]
fn devices_are_behind_their_links_with_intervals_of_their_own() {
    let site = plant(&[]).0.unwrap();
    let names: Vec<(&str, usize)> = site.links.iter().map(|link| (link.name.as_str(), link.devices.len())).collect();
    assert_eq!(names, [("press", 0), ("rs485-1", 2)]);
    assert_eq!(site.links[0].timeout, Duration::from_millis(500));
    let [first, second] = &site.links[1].devices[..] else { panic!("two devices") };
    assert_eq!(first.intervals, [Duration::from_millis(500)]);
    assert_eq!(second.intervals, [Duration::from_secs(1)]);
    assert!(std::sync::Arc::ptr_eq(&first.profile, &second.profile), "a profile is read once");
    let mut report = Report::new();
    assert_eq!(second.table.take::<u8>("unit", &mut report).unwrap().value, 8);
    second.table.finish(&mut report);
    assert_eq!(report.render(), "", "the loader has taken its own keys");
}

#[test]
fn tags_have_their_columns_and_what_the_pipeline_needs() {
    let site = plant(&[]).0.unwrap();
    let group = &site.profiles[0].groups[0];
    let names: Vec<&str> = group.tags.iter().map(|tag| tag.name.as_str()).collect();
    assert_eq!(names, ["voltage_l1", "setpoint", "mode", "clock", "half", "hall"]);
    assert_eq!(group.device_time, Some((3, DeviceTimeUnit::Seconds)));
    let voltage = &group.tags[0];
    let band = Deadband { threshold: Threshold::Absolute(0.1), max_silence: Some(Duration::from_secs(300)) };
    assert_eq!(voltage.deadband.as_ref().unwrap().value, band);
    assert_eq!(voltage.range.as_ref().unwrap().value, Range { low: 0.0, high: 500.0 });
    let setpoint = &group.tags[1];
    let scaling = Scaling { scale: "0.1".to_owned(), offset: "0".to_owned() };
    assert_eq!((setpoint.access, &setpoint.scaling.as_ref().unwrap().value), (Access::ReadWrite, &scaling));
    assert_eq!(group.tags[2].texts.as_ref().unwrap().value, [(0, "off".to_owned()), (1, "on".to_owned())]);
    assert!(matches!(&group.tags[4].source, TagSource::Expression(expr) if expr.value == "voltage_l1 / 2"));
    assert!(matches!(&group.tags[5].source, TagSource::Constant(_)));
}

#[test]
fn drivers_find_the_defaults_in_each_tag_and_what_no_tag_took_is_unknown() {
    let site = plant(&[]).0.unwrap();
    let profile = &site.profiles[0];
    let mut report = Report::new();
    for tag in &profile.groups[0].tags {
        let TagSource::Device(table) = &tag.source else { continue };
        for key in ["table", "type"] {
            assert!(table.take::<String>(key, &mut report).is_some());
        }
        table.node("address", &mut report);
    }
    profile.finish(&mut report);
    let found: Vec<&str> = report.mistakes().iter().map(|mistake| mistake.message.as_str()).collect();
    assert_eq!(found, ["unknown key `byte_order`"], "once, not once a tag");
}

#[test]
fn the_environment_lies_over_the_files() {
    let (site, report) = plant(&[
        ("TIDEGATE__STORE__MAX_AGE", "48h"),
        ("TIDEGATE__BROKER__TAG_TOPICS", "true"),
        ("tidegate__gateway__id", "line4"),
        ("TIDEGATE__TARGET__CLOUD__PASSWORD", "other"),
        ("TIDEGATE__LINK__RS485_1__BAUD", "9600"),
        ("TIDEGATE__LINK__PRESS__RETRY__LONGEST", "5m"),
        ("TIDEGATE__DEVICE__METER_2__GROUP__FAST__INTERVAL", "2s"),
        ("TIDEGATE_LOG", "debug"),
        ("PATH", "/bin"),
    ]);
    assert_eq!(report.render(), "");
    let site = site.unwrap();
    assert_eq!(site.store.max_age, Duration::from_secs(48 * 3600));
    assert!(site.broker.tag_topics);
    assert_eq!(site.gateway.id.as_str(), "line4");
    let TargetKind::Mqtt(mqtt) = &site.targets[0].kind else { panic!("another kind") };
    assert_eq!(mqtt.login.as_ref().unwrap().1.reveal(), "other");
    let mut report = Report::new();
    assert_eq!(site.links[1].table.take::<u32>("baud", &mut report).unwrap().value, 9600);
    assert_eq!(site.links[0].retry.longest, Duration::from_secs(300));
    assert_eq!(site.links[1].devices[1].intervals, [Duration::from_secs(2)]);
}

#[test]
fn lists_in_the_environment_are_separated_by_commas() {
    let (site, report) = plant(&[("TIDEGATE__GATEWAY__PROFILES", "profiles, /nowhere")]);
    assert_eq!(site.unwrap().gateway.profiles.len(), 2);
    assert!(report.render().contains("environment variable TIDEGATE__GATEWAY__PROFILES: there is no folder /nowhere"));
}

#[test]
fn an_include_of_the_environment_replaces_the_files_own() {
    let (site, _) = plant(&[("TIDEGATE__GATEWAY__INCLUDE", "")]);
    assert_eq!(site.unwrap().files.len(), 1);
}

#[test]
fn every_key_in_force_says_where_it_comes_from() {
    let (_, report) = plant(&[("TIDEGATE__STORE__MAX_AGE", "48h")]);
    let folder = format!("{}/tests/sites/plant/", env!("CARGO_MANIFEST_DIR"));
    let text = report.render_effective().replace(&folder, "");
    insta::assert_snapshot!(text);
    assert!(!text.contains("correct horse") && !text.contains("scada secret"));
}

#[test]
fn a_site_that_is_not_there_is_a_mistake_without_a_place() {
    let (site, report) = load(Path::new("/nowhere/tidegate.toml"), [], Profiles::Used);
    assert!(site.is_none() && report.has_errors());
    assert_eq!(report.mistakes()[0].origin, Origin::Default);
}

#[test]
fn a_profile_folder_given_twice_or_unused_profiles_do_no_harm() {
    let (site, report) = plant(&[("TIDEGATE__GATEWAY__PROFILES", "profiles,profiles")]);
    assert_eq!(report.render(), "");
    assert_eq!(site.unwrap().profiles.len(), 1);
}

#[test]
fn a_place_is_known_for_every_key_of_a_link() {
    let site = plant(&[]).0.unwrap();
    let table = &site.links[1].table;
    assert!(matches!(table.origin_of("baud"), Origin::File(place) if place.line() == "baud = 19200"));
    assert_eq!(table.origin_of("nothing"), table.origin());
    assert!(table.entries().any(|(key, _, node)| key == "baud" && matches!(node.kind, Kind::Integer(19200))));
}

#[test]
fn drivers_take_keys_of_a_group_and_what_nobody_took_is_unknown() {
    let text = "[profile]\nmanufacturer = \"M\"\nmodel = \"X\"\ndriver = \"d\"\n\
        [[group]]\nname = \"g\"\ninterval = \"1s\"\nevents = \"all\"\nevent = \"all\"\n\
        [[tag]]\nname = \"t\"\ngroup = \"g\"\n";
    let mut report = Report::new();
    let profile =
        tidegate_config::parse_profile(&tidegate_config::Source::new("profile.toml", text.to_owned()), &mut report);
    assert_eq!(report.render(), "", "the keys of a group may be a driver's");
    let events = profile.groups[0].table.take::<String>("events", &mut report);
    assert_eq!(events.map(|events| events.value).as_deref(), Some("all"));
    profile.finish(&mut report);
    let rendered = report.render();
    assert!(rendered.contains("unknown key `event`") && rendered.contains("did you mean `events`?"), "{rendered}");
}
