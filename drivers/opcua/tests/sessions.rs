//! Values that come by themselves, polls and writes, against a server of the library.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod rig;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use opcua::types::StatusCode;
use rig::{
    ALL, Known, PATIENT, Plant, Way, about_a_second, begun, compile, connected, deaf_port, link, link_of, listed,
    login, lost,
    meddler::{ACTIVATE, CREATE_ITEMS, CREATE_SUBSCRIPTION, CREATED_ITEMS, Deed, Meddler},
    moves, numbers, tag,
};
use tidegate_driver_api::{
    Arrival, Cause, Next, Readings, Step, Written,
    model::{Reading, Reason, Value},
    testkit,
};

#[tokio::test]
async fn values_come_by_themselves_and_what_is_written_comes_back() {
    let plant = Plant::start(3).await;
    let tags = numbers(3)
        + &tag("count", "Count", "type = \"i16\"\naccess = \"read_write\"")
        + &tag("long", "Long", "type = \"f64\"\ncount = 1500")
        + &tag("seventh", "Long", "type = \"f64\"\nindex = 7")
        + &tag("nowhere", "Nowhere", "type = \"f64\"")
        + "\n[[tag]]\nname = \"label\"\ngroup = \"all\"\npath = \"/Objects/nsu=urn:plant;Line/Label\"\ntype = \"string\"\n";
    let mut compiled = compile(&link(plant.address, "", "", &tags));
    let mut session = connected(&mut compiled).await;
    assert!(session.delivers(ALL));
    let mut known = Known::default();
    known.until(session.as_mut(), "all values", |known| known.0.len() == 8).await.unwrap();
    assert_eq!(known.number(3), Some(3.0));
    assert_eq!(known.0[&6], Reading::Failed(Reason::BadAddress), "one node that is not there spoils no other");
    assert_eq!(known.number(5), Some(7.0));
    assert_eq!(known.0[&7], Reading::Value(Value::Text("dock".into())));
    assert!(matches!(&known.0[&4], Reading::Value(Value::Array(items)) if items.len() == 1500));

    known
        .until(session.as_mut(), "the new value", |known| {
            plant.set("T1", 4.5);
            known.number(1) == Some(4.5)
        })
        .await
        .unwrap();
    let failed = Reading::Failed(Reason::DeviceFault);
    known
        .until(session.as_mut(), "the bad status", |known| {
            plant.set_status("T2", 1.0, StatusCode::BadSensorFailure);
            known.0[&2] == failed
        })
        .await
        .unwrap();
    let doubtful = Reading::Doubtful(Value::F64(2.0), Reason::Stale);
    known
        .until(session.as_mut(), "the doubtful value", |known| {
            plant.set_status("T2", 2.0, StatusCode::UncertainLastUsableValue);
            known.0[&2] == doubtful
        })
        .await
        .unwrap();

    let cx = testkit::within(PATIENT);
    let written = session.writer().unwrap().write(&cx, ALL, 3, &Value::Int(-7)).await.unwrap();
    assert_eq!(written, Written::Confirmed);
    known.until(session.as_mut(), "what was written", |known| known.number(3) == Some(-7.0)).await.unwrap();
    let written = session.writer().unwrap().write(&cx, ALL, 3, &Value::Int(40_000)).await.unwrap();
    assert!(matches!(written, Written::Refused(_)), "{written:?}");
    let written = session.writer().unwrap().write(&cx, ALL, 0, &Value::F64(1.0)).await.unwrap();
    assert!(matches!(written, Written::Refused(_)), "{written:?}");
}

#[tokio::test]
async fn what_stays_within_a_deadband_does_not_even_leave_the_server() {
    let plant = Plant::start(2).await;
    // Half as much for the user as the server counts: a deadband of 1 is one of 2 there.
    let tags = tag("coarse", "T0", "type = \"f64\"\nscale = 0.5\ndeadband = { absolute = 1.0 }")
        + &tag("fine", "T1", "type = \"f64\"");
    let mut compiled = compile(&link(plant.address, "", "", &tags));
    let mut session = connected(&mut compiled).await;
    let mut known = Known::default();
    known.until(session.as_mut(), "both values", |known| known.0.len() == 2).await.unwrap();
    let first = known.number(0).unwrap();

    // What comes later of the other tag says that nothing more comes of this one.
    for step in 1..=3 {
        plant.set("T0", first + 1.9);
        known
            .until(session.as_mut(), "the tag without a deadband", |known| {
                plant.set("T1", 100.0 + f64::from(step));
                known.number(1) == Some(100.0 + f64::from(step))
            })
            .await
            .unwrap();
        assert_eq!(known.number(0), Some(first), "a change of 1.9");
    }
    plant.set("T0", first + 2.1);
    known.until(session.as_mut(), "a change of 2.1", |known| known.number(0) == Some(first + 2.1)).await.unwrap();
}

#[tokio::test]
async fn where_the_server_has_no_deadband_the_item_is_watched_without() {
    let plant = Plant::start(1).await;
    let way = Meddler::to(plant.address).await;
    way.judge(|message| match message.kind {
        CREATED_ITEMS => Deed::FirstItem(StatusCode::BadMonitoredItemFilterUnsupported),
        _ => Deed::Pass,
    });
    let tags = tag("coarse", "T0", "type = \"f64\"\ndeadband = { absolute = 10.0 }");
    let mut compiled = compile(&link(way.address, "", "", &tags));
    let (mut session, mut known) = begun(&mut compiled, 1).await;
    while way.count(CREATE_ITEMS) < 2 {
        session.subscriber().unwrap().next(&about_a_second(), &mut Readings::default()).await.unwrap();
    }
    way.judge(|_| Deed::Pass);
    // The gateway's own deadband is the runtime's.
    moves(session.as_mut(), &mut known, &plant, 0, "a change within the deadband").await;
}

#[tokio::test]
async fn devices_of_a_link_share_a_session_and_groups_of_one_interval_a_subscription() {
    let plant = Plant::start(4).await;
    let way = Meddler::to(plant.address).await;
    let group = |name: &str, interval: &str| format!("\n[[group]]\nname = \"{name}\"\ninterval = \"{interval}\"\n");
    let of = |name: &str, node: &str| {
        tag(name, node, "type = \"f64\"").replace("group = \"all\"", &format!("group = \"{name}\""))
    };
    let tags = numbers(2) + &group("same", "50ms") + &of("same", "T2") + &group("slow", "200ms") + &of("slow", "T3");
    let mut compiled = compile(&link_of(&["line", "other"], way.address, "", "", &tags));
    let (mut session, mut out) = (connected(&mut compiled).await, Readings::default());
    let mut came = BTreeSet::new();
    let begin = Instant::now();
    while came.len() < 6 {
        assert!(begin.elapsed() < PATIENT, "{came:?}");
        if let Arrival::Row(poll) = session.subscriber().unwrap().next(&about_a_second(), &mut out).await.unwrap() {
            came.insert((poll.device, poll.group));
        }
    }
    assert_eq!(way.count(CREATE_SUBSCRIPTION), 2, "one for each interval");
    assert_eq!(way.count(ACTIVATE), 1, "one session");
}

#[tokio::test]
async fn a_group_that_is_polled_is_read_in_parts_as_large_as_the_server_takes() {
    let plant = Plant::start_with(25, |mut builder| {
        builder.limits_mut().operational.max_nodes_per_read = 10;
        builder
    })
    .await;
    plant.set("T20", 20.5);
    let mut compiled = compile(&link(plant.address, "", "mode = \"poll\"", &numbers(26)));
    let mut session = connected(&mut compiled).await;
    assert!(!session.delivers(ALL));
    let mut out = Readings::new(26);
    let mut step = Step::FIRST;
    let mut requests = 1;
    while let Next::Request(next) = session.read(&testkit::within(PATIENT), ALL, step, &mut out).await.unwrap() {
        step = next;
        requests += 1;
    }
    assert_eq!(requests, 3);
    assert_eq!(out.items()[20], Reading::Value(Value::F64(20.5)));
    assert_eq!(out.items()[25], Reading::Failed(Reason::BadAddress));
    assert!(out.device_time().is_some());
}

#[tokio::test]
async fn after_every_reconnect_subscriptions_bring_values_again() {
    let plant = Plant::start(50).await;
    let way = Way::to(plant.address).await;
    let mut compiled = compile(&link(way.address, "", "", &numbers(50)));
    for round in 1..=3 {
        let (mut session, mut known) = begun(&mut compiled, 50).await;
        let new = f64::from(round) + 0.5;
        known
            .until(session.as_mut(), "a new value", |known| {
                plant.set("T49", new);
                known.number(49) == Some(new)
            })
            .await
            .unwrap();
        way.cut();
        let lost = lost(session, &mut known).await;
        // What is not noticed at once is noticed as silence.
        assert_eq!(lost.cause, Cause::Closed, "{lost}");
    }
}

#[tokio::test]
async fn what_changed_while_the_connection_was_cut_is_not_lost() {
    let plant = Plant::start(2).await;
    let way = Way::to(plant.address).await;
    let mut compiled = compile(&link(way.address, "", "", &numbers(2)));
    let (session, mut known) = begun(&mut compiled, 2).await;
    way.cut();
    lost(session, &mut known).await;
    plant.count_to_five("T0");
    let mut session = connected(&mut compiled).await;
    known.counts_to_five(session.as_mut()).await;
}

#[tokio::test]
async fn a_server_that_hangs_is_noticed_as_silence_well_under_five_seconds() {
    let plant = Plant::start(2).await;
    let way = Way::to(plant.address).await;
    let mut compiled = compile(&link(way.address, "", "", &numbers(2)));
    let (session, mut known) = begun(&mut compiled, 2).await;
    let stalls = testkit::Stalls::watch();
    let begin = Instant::now();
    way.freeze(true);
    let lost = lost(session, &mut known).await;
    assert_eq!(lost.cause, Cause::Timeout, "{lost}");
    let (took, stalled) = (begin.elapsed(), stalls.so_far());
    assert!(took.saturating_sub(stalled) < Duration::from_secs(4), "{took:?}, and the machine stood still {stalled:?}");
    way.freeze(false);
    begun(&mut compiled, 2).await;
}

#[tokio::test]
async fn a_call_that_is_dropped_loses_nothing_and_the_session_goes_on() {
    let plant = Plant::start(300).await;
    let mut compiled = compile(&link(plant.address, "", "", &numbers(300)));
    let mut session = connected(&mut compiled).await;
    let mut known = Known::default();
    let mut out = Readings::default();
    for _ in 0..50 {
        let cx = about_a_second();
        let next = session.subscriber().unwrap().next(&cx, &mut out);
        if let Ok(arrival) = tokio::time::timeout(Duration::from_millis(2), next).await {
            arrival.unwrap();
            known.note(&out);
        }
    }
    known.until(session.as_mut(), "all values", |known| known.0.len() == 300).await.unwrap();
}

#[tokio::test]
async fn a_wrong_password_is_a_fault_that_is_not_tried_again_soon() {
    let plant = Plant::start(1).await;
    let (keys, _secret) = login("wrong");
    let link = link(plant.address, &keys, "", &numbers(1));
    let mut compiled = compile(&link);
    let fault = compiled.link.connect(&testkit::within(PATIENT)).await.err().unwrap();
    assert!(!fault.retry_soon, "{fault}");
    assert!(fault.detail.contains("password"), "{fault}");
}

#[tokio::test]
async fn a_server_that_is_down_is_a_fault_and_tried_again_soon() {
    let nobody = deaf_port();
    let mut compiled = compile(&link(nobody.local_addr().unwrap(), "", "", &numbers(1)));
    let begin = Instant::now();
    let fault = compiled.link.connect(&testkit::within(3 * PATIENT)).await.err().unwrap();
    assert!(fault.retry_soon && fault.detail.contains("refused"), "{fault}");
    assert!(begin.elapsed() < PATIENT, "it was not waited for");
}

#[tokio::test]
async fn protection_that_the_server_does_not_offer_is_said_with_what_it_offers() {
    let plant = Plant::start(1).await;
    let mut link = link(plant.address, "", "", &numbers(1));
    let text = "endpoint = \"opc.tcp://x\"";
    let source = tidegate_driver_api::config::Source::new("line", text);
    let mut report = tidegate_driver_api::config::Report::new();
    let mut table = tidegate_driver_api::config::Table::parse(&source, &mut report);
    for (key, _, node) in link.table.entries().filter(|(key, ..)| *key == "endpoint") {
        table.set(key, node.clone());
    }
    link.table = table;
    let mut compiled = compile(&link);
    let fault = compiled.link.connect(&testkit::within(PATIENT)).await.err().unwrap();
    assert!(!fault.retry_soon && fault.detail.contains("None"), "never without being told: {fault}");
}

#[tokio::test]
async fn a_server_is_listed_and_a_profile_made_of_it_has_no_mistake() {
    let plant = Plant::start(1200).await;
    let mut compiled = compile(&link(plant.address, "", "", &numbers(1)));
    let mut session = connected(&mut compiled).await;
    let browser = session.browser().unwrap();
    let (found, _) = listed(browser).await;
    assert_eq!(found.len(), 1203);
    let text = browser.profile(&found).unwrap();
    drop(session);
    assert!(text.contains("count = 1500") && text.contains("access = \"read_write\""), "{text}");
    let source = tidegate_driver_api::config::Source::new("browsed", text);
    let mut report = tidegate_driver_api::config::Report::new();
    let profile = tidegate_driver_api::config::parse_profile(&source, &mut report);
    let plan = tidegate_driver_api::Driver::plan(&tidegate_driver_opcua::OpcUa::new(), &profile, &mut report);
    profile.finish(&mut report);
    assert!(!report.has_errors(), "{}", report.render());
    assert_eq!(plan.unwrap()[0].kinds.len(), 1203);
}
