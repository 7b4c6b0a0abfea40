//! The driver shows what every driver must show, against an edge node of our own on a broker that does what it is told.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod node;

use std::time::{Duration, Instant};

use tidegate_driver_api::{
    Arrival, Browser, Cx, Driver, Poll, Readings, Step, Written, async_trait,
    config::{self, Kind, Node, Origin, Profiles, Report},
    model::{Reading, Reason, Value},
    testkit::{self, Behaviour, Harness, Rig},
};
use tidegate_driver_sparkplug::Sparkplug;
use tokio_util::sync::CancellationToken;

use node::{Plant, TAGS};

const SITE: &str = r#"
[gateway]
id = "test"
profiles = ["profiles"]
[[link]]
name = "line4"
driver = "sparkplug"
address = "127.0.0.1:1883"
group_id = "plant"
edge_node_id = "line4"
[[device]]
name = "pump"
link = "line4"
profile = "pump"
"#;

const GROUP: Poll = Poll { device: 0, group: 0 };

/// A profile of all metrics of the pump, and of one that it does not have.
fn profile(more: &str) -> String {
    let tags = (0..TAGS).map(|tag| format!("[[tag]]\nname = \"t{tag}\"\ngroup = \"all\"\ndatatype = \"Double\"\n"));
    let tags: String = tags.collect();
    let head = "[profile]\nmanufacturer = \"Test\"\nmodel = \"Pump\"\ndriver = \"sparkplug\"\nversion = 1\n\
                [[group]]\nname = \"all\"\ninterval = \"1s\"\n";
    let setpoint = "[[tag]]\nname = \"setpoint\"\ngroup = \"all\"\nmetric = \"Set/Point\"\ndatatype = \"Int16\"\n\
                    access = \"read_write\"\n";
    format!("{head}{tags}{setpoint}{more}")
}

fn link(address: &str, more: &str) -> config::Link {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("profiles")).unwrap();
    std::fs::write(folder.path().join("profiles/pump.toml"), profile(more)).unwrap();
    std::fs::write(folder.path().join("tidegate.toml"), SITE).unwrap();
    let (site, report) = config::load(&folder.path().join("tidegate.toml"), [], Profiles::Used);
    assert_eq!(report.render(), "");
    let mut link = site.unwrap().links.remove(0);
    link.table.set("address", Node { origin: Origin::Default, kind: Kind::Text(address.to_owned()) });
    link
}

struct Pump;

#[async_trait]
impl Harness for Pump {
    fn driver(&self) -> &dyn Driver {
        &Sparkplug
    }

    async fn start(&self, behaviour: Behaviour) -> Rig {
        let plant = Plant::start(behaviour).await;
        Rig { link: link(&plant.address(), ""), device: Box::new(plant) }
    }

    fn expected(&self, _: Poll, column: usize) -> Option<Value> {
        match column {
            TAGS => Some(Value::Int(-5)),
            column if column < TAGS => Some(node::value(column)),
            _ => None,
        }
    }

    fn write(&self) -> Option<(Poll, usize, Value)> {
        Some((GROUP, TAGS, Value::Int(41)))
    }

    fn subscribed(&self) -> Option<Poll> {
        Some(GROUP)
    }
}

#[tokio::test]
async fn the_driver_shows_what_every_driver_must_show() {
    assert_eq!(testkit::check(&Pump).await, []);
}

/// The next row.
async fn row(session: &mut dyn tidegate_driver_api::Session) -> Readings {
    let mut out = Readings::default();
    loop {
        let cx = testkit::within(Duration::from_secs(10));
        if let Arrival::Row(GROUP) = session.subscriber().unwrap().next(&cx, &mut out).await.unwrap() {
            return out;
        }
    }
}

#[tokio::test]
async fn a_node_that_dies_makes_its_tags_bad_and_good_again_when_it_is_born_again() {
    let plant = Plant::start(Behaviour::Healthy).await;
    let link = link(&plant.address(), "");
    let mut compiled = Sparkplug.compile(&link, &mut Report::new()).unwrap();
    let cx = testkit::within(Duration::from_secs(10));
    let mut session = compiled.link.connect(&cx).await.unwrap();
    assert_eq!(row(session.as_mut()).await.items()[3], Reading::Value(node::value(3)));
    plant.die();
    let mut out = row(session.as_mut()).await;
    while out.items()[3] != Reading::Failed(Reason::Disconnected) {
        out = row(session.as_mut()).await;
    }
    plant.be_born();
    while out.items()[3] != Reading::Value(node::value(3)) {
        out = row(session.as_mut()).await;
    }
}

#[tokio::test]
async fn a_device_that_is_not_born_again_with_its_node_becomes_bad_and_is_not_written() {
    let plant = Plant::start(Behaviour::Healthy).await;
    let link = link(&plant.address(), "");
    let mut compiled = Sparkplug.compile(&link, &mut Report::new()).unwrap();
    let cx = testkit::within(Duration::from_secs(10));
    let mut session = compiled.link.connect(&cx).await.unwrap();
    assert_eq!(row(session.as_mut()).await.items()[3], Reading::Value(node::value(3)));
    plant.be_born_alone();
    let (mut out, mut began) = (Readings::new(TAGS + 1), Instant::now() - Duration::from_secs(120));
    while out.items()[3] != Reading::Failed(Reason::Disconnected) {
        // Each call begins longer after the one before than a device may take to be born, and ends soon.
        began += Duration::from_secs(10);
        let soon = Instant::now() + Duration::from_millis(50);
        let cx = Cx::new(began, soon - began, CancellationToken::new());
        session.subscriber().unwrap().next(&cx, &mut out).await.unwrap();
    }
    let written = session.writer().unwrap().write(&cx, GROUP, TAGS, &Value::Int(1)).await.unwrap();
    assert!(matches!(written, Written::Refused(why) if why.contains("not said that the device is there")));
}

#[tokio::test]
async fn a_host_that_is_said_to_be_gone_by_a_later_connection_begins_a_still_later_one() {
    let plant = Plant::start(Behaviour::Healthy).await;
    let mut link = link(&plant.address(), "");
    link.table.set("host_id", Node { origin: Origin::Default, kind: Kind::Text("scada".to_owned()) });
    let mut compiled = Sparkplug.compile(&link, &mut Report::new()).unwrap();
    let cx = testkit::within(Duration::from_secs(10));
    let mut session = compiled.link.connect(&cx).await.unwrap();
    let mut out = Readings::new(TAGS + 1);
    // The broker has taken what was said before.
    session.read(&cx, GROUP, Step::FIRST, &mut out).await.unwrap();
    let first = plant.host_there();
    // Of a connection before this one: said anew is enough.
    plant.host_gone(first - 1);
    // Of one with a clock an hour ahead.
    plant.host_gone(first + 3_600_000);
    let lost = loop {
        match session.subscriber().unwrap().next(&cx, &mut out).await {
            Ok(arrival) => assert!(matches!(arrival, Arrival::Row(_)), "the session goes on"),
            Err(lost) => break lost,
        }
    };
    assert!(lost.to_string().contains("host_id"), "{lost}");
    drop(session);
    let mut session = compiled.link.connect(&cx).await.unwrap();
    session.read(&cx, GROUP, Step::FIRST, &mut out).await.unwrap();
    assert_eq!(plant.host_there(), first + 3_600_001);
}

#[tokio::test]
async fn history_of_the_node_is_of_the_past_and_keeps_its_time() {
    let plant = Plant::start(Behaviour::Healthy).await;
    let link = link(&plant.address(), "");
    let mut compiled = Sparkplug.compile(&link, &mut Report::new()).unwrap();
    let cx = testkit::within(Duration::from_secs(10));
    let mut session = compiled.link.connect(&cx).await.unwrap();
    plant.history();
    let mut out = row(session.as_mut()).await;
    while !out.is_past() {
        out = row(session.as_mut()).await;
    }
    assert_eq!(out.device_time().map(|time| time.as_millis()), Some(node::PAST));
    assert_eq!(out.items()[1], Reading::Value(Value::F64(-1.0)));
    // What is told when asked is of the present.
    let mut out = Readings::new(TAGS + 1);
    session.read(&cx, GROUP, Step::FIRST, &mut out).await.unwrap();
    assert_eq!(out.items()[1], Reading::Value(node::value(1)));
}

#[tokio::test]
async fn a_metric_that_the_birth_does_not_have_is_a_bad_address_and_is_not_written() {
    let plant = Plant::start(Behaviour::Healthy).await;
    let more = "[[tag]]\nname = \"other\"\ngroup = \"all\"\ndatatype = \"Int8\"\naccess = \"read_write\"\n";
    let link = link(&plant.address(), more);
    let mut compiled = Sparkplug.compile(&link, &mut Report::new()).unwrap();
    let cx = testkit::within(Duration::from_secs(10));
    let mut session = compiled.link.connect(&cx).await.unwrap();
    let mut out = row(session.as_mut()).await;
    while out.items()[TAGS + 1] != Reading::Failed(Reason::BadAddress) {
        out = row(session.as_mut()).await;
    }
    let written = session.writer().unwrap().write(&cx, GROUP, TAGS + 1, &Value::Int(1)).await.unwrap();
    assert!(matches!(written, Written::Refused(why) if why.contains("no metric")), "it was sent");
    let beyond = session.writer().unwrap().write(&cx, GROUP, TAGS, &Value::Int(40_000)).await.unwrap();
    assert!(matches!(beyond, Written::Refused(why) if why.contains("Int16")), "it was sent");
}

#[tokio::test]
async fn a_list_has_the_devices_of_the_birth_and_of_no_other_node() {
    let plant = Plant::start(Behaviour::Healthy).await;
    let link = link(&plant.address(), "");
    let mut compiled = Sparkplug.compile(&link, &mut Report::new()).unwrap();
    let cx = testkit::within(Duration::from_secs(10));
    let mut session = compiled.link.connect(&cx).await.unwrap();
    let browser: &mut dyn Browser = session.browser().unwrap();
    let mut found = Vec::new();
    browser.begin(Some("pump"));
    browser.list(&cx, &mut found).await.unwrap();
    assert_eq!((found.len(), found[0].id.as_str()), (TAGS + 2, "pump"));
    let setpoint = found.iter().find(|node| node.id == "pump/Set/Point").unwrap();
    let text = browser.profile(std::slice::from_ref(setpoint)).unwrap();
    assert!(text.contains("name = \"Set_Point\"") && text.contains("metric = \"Set/Point\""), "{text}");
    browser.begin(Some("nothing"));
    let refused = browser.list(&cx, &mut Vec::new()).await.unwrap();
    assert!(matches!(refused, tidegate_driver_api::Listing::Refused(_)));
}

#[test]
fn mistakes_in_keys_are_all_told() {
    let mut report = Report::new();
    let mut link = link("127.0.0.1:1883", "");
    for (key, text) in
        [("address", "mqtt://x"), ("group_id", "a/b"), ("edge_node_id", ""), ("ca", "x.pem"), ("foo", "")]
    {
        link.table.set(key, Node { origin: Origin::Default, kind: Kind::Text(text.to_owned()) });
    }
    assert!(Sparkplug.compile(&link, &mut report).is_none());
    let text = report.render();
    for part in ["no host with a port", "`group_id`", "`edge_node_id`", "`ca` has no effect", "`foo`"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("profiles")).unwrap();
    let tags = "[[tag]]\nname = \"a\"\ngroup = \"all\"\ndatatype = \"Template\"\n\
                [[tag]]\nname = \"b\"\ngroup = \"all\"\ndatatype = \"Int8Array\"\n\
                [[tag]]\nname = \"c\"\ngroup = \"all\"\ndatatype = \"Int8\"\nitems = 3\n\
                [[tag]]\nname = \"d\"\ngroup = \"all\"\n";
    std::fs::write(folder.path().join("profiles/pump.toml"), profile(tags)).unwrap();
    std::fs::write(folder.path().join("tidegate.toml"), SITE).unwrap();
    let (site, _) = config::load(&folder.path().join("tidegate.toml"), [], Profiles::Used);
    let mut report = Report::new();
    assert!(Sparkplug.compile(&site.unwrap().links[0], &mut report).is_none());
    let text = report.render();
    for part in [
        "`datatype` cannot be \"Template\"",
        "an array without `items`",
        "`items` of what is no array",
        "`datatype` is missing",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}
