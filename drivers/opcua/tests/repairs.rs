//! What a server refuses, loses or keeps quiet about within a session, and how the driver gets over it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod rig;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use opcua::types::{DataTypeId, ObjectTypeId, StatusCode, Variant};
use rig::{
    ALL, Known, PATIENT, Plant, about_a_second, begun, compile, connected, link, listed, login, lost,
    meddler::{
        ACTIVATE, BROWSE, CREATE_ITEMS, CREATE_SUBSCRIPTION, Deed, Meddler, PUBLISHED, READ, REPUBLISH, TRANSFER,
        TRANSLATE,
    },
    moves, number, numbers, poll, tag,
};
use tidegate_driver_api::{
    Arrival, Readings, Session, Step,
    model::{Reading, Reason},
    testkit,
};

/// What is parked is asked for every second.
const QUIRKS: &str = "\n[quirks]\nretry_bad_address = \"1s\"\n";

#[tokio::test]
async fn a_subscription_that_says_nothing_is_made_anew_over_the_same_session() {
    let plant = Plant::start(2).await;
    let way = Meddler::to(plant.address).await;
    let mut compiled = compile(&link(way.address, "", "", &numbers(2)));
    let (mut session, mut known) = begun(&mut compiled, 2).await;
    let connections = way.connections.load(Ordering::SeqCst);
    // Reads and everything else are answered; the server only never says anything by itself.
    let mute = Arc::new(AtomicBool::new(true));
    let is_mute = Arc::clone(&mute);
    way.judge(move |message| match message.kind {
        PUBLISHED if is_mute.load(Ordering::SeqCst) => Deed::Swallow,
        CREATE_SUBSCRIPTION => {
            is_mute.store(false, Ordering::SeqCst);
            Deed::Pass
        }
        _ => Deed::Pass,
    });
    plant.set("T0", 7.5);
    known.until(session.as_mut(), "the value", |known| known.number(0) == Some(7.5)).await.unwrap();
    assert!(!mute.load(Ordering::SeqCst));
    assert_eq!(way.count(CREATE_SUBSCRIPTION), 2);
    moves(session.as_mut(), &mut known, &plant, 1, "a value of the other").await;
    assert_eq!(way.connections.load(Ordering::SeqCst), connections, "the session is the same");
}

#[tokio::test]
async fn a_server_that_lets_nobody_subscribe_is_polled_until_it_does() {
    let plant = Plant::start(2).await;
    let way = Meddler::to(plant.address).await;
    let refusing = Arc::new(AtomicBool::new(true));
    let is_refusing = Arc::clone(&refusing);
    way.judge(move |message| match message.kind {
        CREATE_SUBSCRIPTION if is_refusing.load(Ordering::SeqCst) => Deed::Refuse(StatusCode::BadTooManySubscriptions),
        _ => Deed::Pass,
    });
    let mut compiled = compile(&link(way.address, "", "", &(numbers(2) + QUIRKS)));
    let mut session = connected(&mut compiled).await;
    let mut out = Readings::default();
    while session.delivers(ALL) {
        session.subscriber().unwrap().next(&about_a_second(), &mut out).await.unwrap();
    }
    plant.set("T1", 2.5);
    assert_eq!(number(&poll(session.as_mut(), 2).await.items()[1]), Some(2.5), "it is polled");
    while way.count(CREATE_SUBSCRIPTION) < 2 {
        session.subscriber().unwrap().next(&about_a_second(), &mut out).await.unwrap();
        assert!(!session.delivers(ALL), "asking again stops no poll");
    }
    refusing.store(false, Ordering::SeqCst);
    let mut known = Known::default();
    known.until(session.as_mut(), "values by themselves", |known| known.0.len() == 2).await.unwrap();
    assert!(session.delivers(ALL));
}

#[tokio::test]
async fn a_node_that_appears_later_is_found_whether_it_is_polled_or_subscribed_to() {
    for group in ["mode = \"poll\"", "mode = \"subscribe\""] {
        let plant = Plant::start(1).await;
        let by_path = "\n[[tag]]\nname = \"later\"\ngroup = \"all\"\npath = \"/Objects/nsu=urn:plant;Line/Later\"\ntype = \"f64\"\n";
        let tags = numbers(1) + by_path + &tag("again", "Again", "type = \"f64\"") + QUIRKS;
        let mut compiled = compile(&link(plant.address, "", group, &tags));
        let mut session = connected(&mut compiled).await;
        let polled = !session.delivers(ALL);
        let mut known = Known::default();
        let missing = Reading::Failed(Reason::BadAddress);
        if polled {
            assert_eq!(poll(session.as_mut(), 3).await.items()[1..], [missing.clone(), missing]);
        } else {
            known.until(session.as_mut(), "all columns", |known| known.0.len() == 3).await.unwrap();
            assert_eq!((&known.0[&1], &known.0[&2]), (&missing, &missing));
        }
        plant.add("Later", DataTypeId::Double, Variant::Double(4.5));
        plant.add("Again", DataTypeId::Double, Variant::Double(5.5));
        let begin = Instant::now();
        while (known.number(1), known.number(2)) != (Some(4.5), Some(5.5)) {
            assert!(begin.elapsed() < PATIENT, "{group}: {:?}", known.0);
            let mut out = Readings::default();
            session.subscriber().unwrap().next(&about_a_second(), &mut out).await.unwrap();
            if polled {
                out = poll(session.as_mut(), 3).await;
            }
            known.note(&out);
        }
    }
}

#[tokio::test]
async fn a_server_without_limits_that_refuses_much_at_once_gets_half_of_it_until_it_answers() {
    let plant = Plant::start(300).await;
    let way = Meddler::to(plant.address).await;
    let refused = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&refused);
    way.judge(move |message| match message.kind {
        READ | BROWSE | TRANSLATE | CREATE_ITEMS if message.length > 3_000 => {
            // Each of the three ways in which servers say it.
            let ways = [
                StatusCode::BadTooManyOperations,
                StatusCode::BadRequestTooLarge,
                StatusCode::BadEncodingLimitsExceeded,
            ];
            Deed::Refuse(ways[count.fetch_add(1, Ordering::SeqCst) % 3])
        }
        _ => Deed::Pass,
    });
    let by_path = |n| {
        format!(
            "\n[[tag]]\nname = \"t{n}\"\ngroup = \"all\"\npath = \"/Objects/nsu=urn:plant;Line/T{n}\"\ntype = \"f64\"\n"
        )
    };
    let tags: String = (0..300).map(by_path).collect();
    for group in ["mode = \"poll\"", ""] {
        let before = refused.load(Ordering::SeqCst);
        let mut compiled = compile(&link(way.address, "", group, &tags));
        let mut session = connected(&mut compiled).await;
        if group.is_empty() {
            let mut known = Known::default();
            known.until(session.as_mut(), "all values", |known| known.0.len() == 300).await.unwrap();
            assert_eq!(known.number(299), Some(0.0));
        } else {
            let out = poll(session.as_mut(), 300).await;
            assert!(out.items().iter().all(|reading| number(reading) == Some(0.0)), "{:?}", out.items());
            let asked = refused.load(Ordering::SeqCst);
            poll(session.as_mut(), 300).await;
            assert_eq!(refused.load(Ordering::SeqCst), asked, "what it takes is known from then on");
        }
        assert!(refused.load(Ordering::SeqCst) > before);
        let before = refused.load(Ordering::SeqCst);
        let (found, _) = listed(session.browser().unwrap()).await;
        assert_eq!(found.len(), 303);
        assert!(refused.load(Ordering::SeqCst) > before, "a list asks for much too");
    }
}

#[tokio::test]
async fn a_message_that_got_lost_is_asked_for_again_and_told_once() {
    let plant = Plant::start(1).await;
    let way = Meddler::to(plant.address).await;
    let mut compiled = compile(&link(way.address, "", "", &numbers(1)));
    let (mut session, _) = begun(&mut compiled, 1).await;
    let losing = Arc::new(AtomicUsize::new(0));
    let to_lose = Arc::clone(&losing);
    way.judge(move |message| {
        let lose = message.kind == PUBLISHED
            && to_lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left: usize| left.checked_sub(1)).is_ok();
        if lose { Deed::Swallow } else { Deed::Pass }
    });
    // One of the two questions for messages that wait at the server.
    losing.store(1, Ordering::SeqCst);
    let mut came: BTreeMap<u32, usize> = BTreeMap::new();
    let begin = Instant::now();
    let mut out = Readings::default();
    let mut value = 0_u32;
    while came.len() < 12 || way.count(REPUBLISH) == 0 {
        assert!(begin.elapsed() < PATIENT, "{came:?}");
        value += 1;
        plant.set("T0", f64::from(value));
        // Longer than the server's sampling interval, so that it sees each.
        tokio::time::sleep(Duration::from_millis(25)).await;
        if let Arrival::Row(_) = session.subscriber().unwrap().next(&about_a_second(), &mut out).await.unwrap()
            && let Some(came_now) = number(&out.items()[0])
            && came_now > 0.0
        {
            *came.entry(format!("{came_now}").parse().unwrap()).or_default() += 1;
        }
    }
    let (first, last) = (*came.keys().next().unwrap(), *came.keys().next_back().unwrap());
    assert_eq!(came.len(), usize::try_from(last - first + 1).unwrap(), "none is missing: {came:?}");
    // What is read anew at the end may be told once more, with its own time; all before it were told once.
    let twice: Vec<_> = came.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.len() <= 1 && twice.iter().all(|(_, times)| **times == 2), "{came:?}");
}

#[tokio::test]
async fn subscriptions_are_taken_over_when_the_session_is_not_and_lose_nothing() {
    let plant = Plant::start(2).await;
    let way = Meddler::to(plant.address).await;
    // The library lets nobody take subscriptions over who has no name.
    let (keys, _secret) = login("secret");
    let mut compiled = compile(&link(way.address, &keys, "", &numbers(2)));
    let (session, mut known) = begun(&mut compiled, 2).await;
    way.cut();
    lost(session, &mut known).await;
    plant.count_to_five("T0");
    let mut first = true;
    way.judge(move |message| {
        let refused = message.kind == ACTIVATE && std::mem::take(&mut first);
        if refused { Deed::Refuse(StatusCode::BadSessionIdInvalid) } else { Deed::Pass }
    });
    let mut session = connected(&mut compiled).await;
    assert_eq!((way.count(TRANSFER), way.count(CREATE_SUBSCRIPTION)), (1, 1), "none is made anew");
    known.counts_to_five(session.as_mut()).await;
    moves(session.as_mut(), &mut known, &plant, 1, "a new value").await;
    assert_eq!(way.count(CREATE_SUBSCRIPTION), 1);
}

#[tokio::test]
async fn of_a_server_that_began_anew_under_the_same_namespaces_nothing_is_taken_over() {
    let plant = Plant::start(2).await;
    let way = Meddler::to(plant.address).await;
    let mut compiled = compile(&link(way.address, "", "", &numbers(2)));
    let (session, mut known) = begun(&mut compiled, 2).await;
    let address = plant.address;
    drop(plant);
    way.cut();
    lost(session, &mut known).await;
    let listener = loop {
        // The old one gives its port back when it has noticed.
        match tokio::net::TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    let plant = Plant::start_at(listener, 2, |builder| builder);
    plant.set("T1", 9.5);
    let mut known = Known::default();
    let mut session = connected(&mut compiled).await;
    known.until(session.as_mut(), "the new server's values", |known| known.number(1) == Some(9.5)).await.unwrap();
    assert_eq!(way.count(CREATE_SUBSCRIPTION), 2);
    moves(session.as_mut(), &mut known, &plant, 0, "a change").await;
}

#[tokio::test]
async fn what_had_come_over_a_session_that_is_over_is_told_as_of_the_past() {
    let plant = Plant::start(2).await;
    let way = Meddler::to(plant.address).await;
    let other = "\n[[group]]\nname = \"other\"\ninterval = \"1h\"\nmode = \"poll\"\n".to_owned();
    let count = tag("count", "Count", "type = \"i16\"").replace("group = \"all\"", "group = \"other\"");
    let mut compiled = compile(&link(way.address, "", "", &(numbers(1) + &other + &count)));
    let (mut session, _) = begun(&mut compiled, 1).await;
    // Many values of one tag in one message are many rows; one is taken.
    let mut out = Readings::default();
    let first = loop {
        plant.count_to_five("T0");
        let arrival = session.subscriber().unwrap().next(&about_a_second(), &mut out).await.unwrap();
        let came = out.items().first().and_then(number);
        if matches!(arrival, Arrival::Row(_)) && came.is_some_and(|came| came < 3.0) {
            break came.unwrap();
        }
    };
    way.cut();
    let polled = tidegate_driver_api::Poll { device: 0, group: 1 };
    let mut read = Readings::new(1);
    while session.read(&testkit::within(PATIENT), polled, Step::FIRST, &mut read).await.is_ok() {}
    drop(session);
    let mut session = connected(&mut compiled).await;
    let arrival = session.subscriber().unwrap().next(&about_a_second(), &mut out).await.unwrap();
    assert!(matches!(arrival, Arrival::Row(_)), "{arrival:?}");
    assert!(out.is_past() && out.device_time().is_some(), "it is true, and not so now");
    assert!(number(&out.items()[0]).unwrap() > first);
    let present = |arrival: &Arrival, out: &Readings| matches!(arrival, Arrival::Row(_)) && !out.is_past();
    loop {
        let arrival = session.subscriber().unwrap().next(&testkit::within(PATIENT), &mut out).await.unwrap();
        if present(&arrival, &out) {
            break;
        }
    }
}

/// A group of events of the server's own object.
const EVENTS: &str = "events = \"i=2253\"";
const EVENT_TAGS: &str = "\n[[tag]]\nname = \"name\"\ngroup = \"all\"\nfield = \"Name\"\ntype = \"string\"\n\
                          [[tag]]\nname = \"message\"\ngroup = \"all\"\nfield = \"Message\"\ntype = \"string\"\n";

/// The next arrivals that are any, until one is this.
async fn until(session: &mut dyn Session, wanted: Arrival) -> Vec<Arrival> {
    let (begin, mut came) = (Instant::now(), Vec::new());
    let mut out = Readings::default();
    while came.last() != Some(&wanted) {
        assert!(begin.elapsed() < PATIENT, "{wanted:?} did not come, but {came:?}");
        let arrival = session.subscriber().unwrap().next(&about_a_second(), &mut out).await.unwrap();
        came.extend((arrival != Arrival::Nothing).then_some(arrival));
    }
    came
}

#[tokio::test]
async fn conditions_are_told_once_more_whenever_something_of_them_may_have_been_missed() {
    let plant = Plant::start(0).await;
    let mut compiled = compile(&link(plant.address, "", EVENTS, EVENT_TAGS));
    let mut session = connected(&mut compiled).await;
    let (row, anew, settled) = (Arrival::Row(ALL), Arrival::Anew(ALL), Arrival::Settled(ALL));
    assert_eq!(until(session.as_mut(), settled).await, [anew, settled], "when it is subscribed to");
    for kind in [ObjectTypeId::RefreshStartEventType, ObjectTypeId::BaseEventType, ObjectTypeId::RefreshEndEventType] {
        plant.event(kind, "one that is of interest");
    }
    assert_eq!(until(session.as_mut(), settled).await, [anew, row, settled], "when the server begins by itself");
    plant.event(ObjectTypeId::RefreshRequiredEventType, "");
    assert_eq!(
        until(session.as_mut(), settled).await,
        [settled],
        "when the server wants to be asked, which then refuses"
    );
    plant.event(ObjectTypeId::EventQueueOverflowEventType, "events are missing");
    assert_eq!(until(session.as_mut(), settled).await, [row, settled], "when the server had to drop events");
}

#[tokio::test]
async fn events_that_a_server_does_not_report_are_bad_and_asked_for_again() {
    let plant = Plant::start(0).await;
    let way = Meddler::to(plant.address).await;
    let refusing = Arc::new(AtomicBool::new(true));
    let is_refusing = Arc::clone(&refusing);
    way.judge(move |message| match message.kind {
        CREATE_ITEMS if is_refusing.load(Ordering::SeqCst) => Deed::Refuse(StatusCode::BadUserAccessDenied),
        _ => Deed::Pass,
    });
    let mut compiled = compile(&link(way.address, "", EVENTS, &(EVENT_TAGS.to_owned() + QUIRKS)));
    let mut session = connected(&mut compiled).await;
    let mut known = Known::default();
    let refused = Reading::Failed(Reason::BadAddress);
    known.until(session.as_mut(), "the refusal", |known| known.0.get(&0) == Some(&refused)).await.unwrap();
    refusing.store(false, Ordering::SeqCst);
    until(session.as_mut(), Arrival::Settled(ALL)).await;
    let mut known = Known::default();
    let told = |known: &Known| {
        plant.event(ObjectTypeId::BaseEventType, "the pump has started");
        known.0.len() == 2
    };
    known.until(session.as_mut(), "an event", told).await.unwrap();
}

#[tokio::test]
async fn ten_thousand_nodes_are_listed_in_seconds_and_progress_is_said() {
    let plant = Plant::start(10_000).await;
    let mut compiled = compile(&link(plant.address, "", "mode = \"poll\"", &numbers(1)));
    let mut session = connected(&mut compiled).await;
    let (begin, browser) = (Instant::now(), session.browser().unwrap());
    let (found, left) = listed(browser).await;
    println!("10,003 nodes in {:?} and {} pieces", begin.elapsed(), left.len());
    assert_eq!(found.len(), 10_003);
    let middle = left.iter().filter(|(found, more)| *found > 0 && *more > 0).count();
    assert!(middle > 50, "what is found and what is left is said again and again: {left:?}");
    assert!(begin.elapsed() < PATIENT);
    let profile = browser.profile(&found).unwrap();
    assert_eq!(profile.matches("[[tag]]").count(), 10_003);
}
