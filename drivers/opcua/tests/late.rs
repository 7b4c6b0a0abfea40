//! Answers that come late or not at all while the server lives, and what only its history can still tell.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod rig;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use opcua::types::{DataValue, DateTime, StatusCode};
use rig::{
    ALL, Known, PATIENT, Plant, about_a_second, begun, compile, connected, link, lost,
    meddler::{CREATE_SUBSCRIPTION, Deed, HISTORY, Meddler, PUBLISHED, REPUBLISH},
    moves, number, numbers, poll, tag,
};
use tidegate_driver_api::{
    Arrival, Next, Poll, Readings, Session, Step,
    model::{Reading, Reason},
    testkit,
};

/// How long an answer is waited for that does not come. Half of it is enough for a sign of life on any machine.
const SHORT: Duration = Duration::from_secs(4);

#[tokio::test]
async fn a_read_that_takes_too_long_makes_its_tags_bad_and_its_late_answer_is_nobodys() {
    let plant = Plant::start(12).await;
    let way = Meddler::to(plant.address).await;
    let other = "\n[[group]]\nname = \"other\"\ninterval = \"1s\"\nmode = \"poll\"\n".to_owned();
    let of_other = |n: usize| {
        tag(&format!("o{n}"), &format!("T{}", 11 - n), "type = \"f64\"").replace("group = \"all\"", "group = \"other\"")
    };
    let tags = numbers(6) + &other + &(0..6).map(of_other).collect::<String>();
    for n in 0_u8..12 {
        plant.set(&format!("T{n}"), f64::from(n));
    }
    let mut compiled = compile(&link(way.address, "", "mode = \"poll\"", &tags));
    let mut session = connected(&mut compiled).await;
    let connections = way.connections.load(Ordering::SeqCst);
    // A sign of life is asked for with a read of one node.
    way.judge(|message| if message.nodes > 1 { Deed::Hold } else { Deed::Pass });
    let mut out = Readings::new(6);
    let next = session.read(&testkit::within(SHORT), ALL, Step::FIRST, &mut out).await;
    assert_eq!(next.unwrap(), Next::Done, "the server lives");
    assert!(out.items().iter().all(|reading| *reading == Reading::Failed(Reason::Timeout)), "{:?}", out.items());
    way.judge(|message| if message.nodes > 1 { Deed::Release } else { Deed::Pass });
    let mut out = Readings::new(6);
    let next = session.read(&testkit::within(PATIENT), Poll { device: 0, group: 1 }, Step::FIRST, &mut out).await;
    assert_eq!(next.unwrap(), Next::Done);
    let came: Vec<f64> = out.items().iter().filter_map(number).collect();
    assert_eq!(came, [11.0, 10.0, 9.0, 8.0, 7.0, 6.0], "those of the group that was asked for last");
    assert_eq!(way.connections.load(Ordering::SeqCst), connections, "the session goes on");
}

/// A value of some milliseconds after a time.
fn value(begin: DateTime, millis: i64, value: f64) -> DataValue {
    let time = Some(DateTime::from(begin.ticks() + millis * 10_000));
    DataValue { value: Some(value.into()), source_timestamp: time, server_timestamp: time, ..DataValue::default() }
}

/// Values of the past until there are so many, and whether each had its own time.
async fn past(session: &mut dyn Session, count: usize) -> Vec<f64> {
    let (begin, mut came, mut out) = (Instant::now(), Vec::new(), Readings::default());
    while came.len() < count {
        assert!(begin.elapsed() < PATIENT, "{came:?}");
        let arrival = session.subscriber().unwrap().next(&about_a_second(), &mut out).await.unwrap();
        if matches!(arrival, Arrival::Row(_)) && out.is_past() {
            assert!(out.device_time().is_some());
            came.extend(out.items().iter().filter_map(number));
        }
    }
    came
}

#[tokio::test]
async fn history_that_a_server_cannot_tell_now_is_told_later_and_values_of_the_same_time_each_once() {
    let plant = Plant::start(1).await;
    let way = Meddler::to(plant.address).await;
    let mut compiled = compile(&link(way.address, "backfill = true", "", &numbers(1)));
    let (session, mut known) = begun(&mut compiled, 1).await;
    way.cut();
    lost(session, &mut known).await;
    let told = DateTime::now();
    let mut refused = 0;
    way.judge(move |message| match message.kind {
        HISTORY if refused < 2 => {
            refused += 1;
            Deed::Refuse(StatusCode::BadServerTooBusy)
        }
        HISTORY => Deed::Tell(vec![value(told, 1, 1.0), value(told, 1, 2.0), value(told, 1, 2.0), value(told, 2, 3.0)]),
        _ => Deed::Pass,
    });
    let mut session = connected(&mut compiled).await;
    assert_eq!(past(session.as_mut(), 3).await, [1.0, 2.0, 3.0], "none of those with the same time is lost");
    assert_eq!(way.count(HISTORY), 3);
}

/// Loses something by what the judge does from now on, and sees that the history of it is asked for over the same session.
async fn filled(judge: impl Fn(u16) -> Deed + Send + 'static, subscriptions: usize) {
    let plant = Plant::start(1).await;
    let way = Meddler::to(plant.address).await;
    let mut compiled = compile(&link(way.address, "backfill = true", "", &numbers(1)));
    let (mut session, mut known) = begun(&mut compiled, 1).await;
    for _ in 0..3 {
        moves(session.as_mut(), &mut known, &plant, 0, "a value").await;
    }
    assert_eq!(way.count(HISTORY), 0, "nothing is missing yet");
    let connections = way.connections.load(Ordering::SeqCst);
    let begin = DateTime::now();
    way.judge(move |message| match message.kind {
        HISTORY => Deed::Tell(vec![value(begin, 1, 1001.0), value(begin, 2, 1002.0)]),
        kind => judge(kind),
    });
    let (begin, mut came, mut out, mut number_of) = (Instant::now(), Vec::new(), Readings::default(), 0.0);
    while came.len() < 2 {
        assert!(begin.elapsed() < PATIENT, "{came:?}");
        number_of += 1.0;
        plant.set("T0", number_of);
        let arrival = session.subscriber().unwrap().next(&testkit::within(SOON), &mut out).await.unwrap();
        if matches!(arrival, Arrival::Row(_)) && out.is_past() {
            came.extend(out.items().iter().filter_map(number));
        }
    }
    assert_eq!(came, [1001.0, 1002.0]);
    assert_eq!(way.count(CREATE_SUBSCRIPTION), subscriptions);
    assert_eq!(way.connections.load(Ordering::SeqCst), connections, "the session is the same");
    let mut known = Known::default();
    moves(session.as_mut(), &mut known, &plant, 0, "a value after that").await;
}

/// How long something new is waited for at a time.
const SOON: Duration = Duration::from_millis(50);

#[tokio::test]
async fn what_is_lost_when_messages_are_counted_from_the_beginning_again_is_filled_from_history() {
    let anew = AtomicBool::new(false);
    let judge = move |kind| {
        anew.fetch_or(kind == CREATE_SUBSCRIPTION, Ordering::SeqCst);
        let goes_back = kind == PUBLISHED && !anew.load(Ordering::SeqCst);
        if goes_back { Deed::First } else { Deed::Pass }
    };
    filled(judge, 2).await;
}

#[tokio::test]
async fn a_message_that_the_server_does_not_have_any_more_is_filled_from_history() {
    let swallowed = AtomicBool::new(false);
    let judge = move |kind| match kind {
        PUBLISHED if !swallowed.swap(true, Ordering::SeqCst) => Deed::Swallow,
        REPUBLISH => Deed::Refuse(StatusCode::BadMessageNotAvailable),
        _ => Deed::Pass,
    };
    filled(judge, 1).await;
}

#[tokio::test]
async fn what_a_sign_of_life_showed_to_be_lost_is_asked_for_once_and_not_again_after_the_next_outage() {
    let plant = Plant::start(1).await;
    let way = Meddler::to(plant.address).await;
    let mut compiled = compile(&link(way.address, "backfill = true", "", &numbers(1)));
    let (mut session, mut known) = begun(&mut compiled, 1).await;
    plant.set("T0", 400.0);
    known.until(session.as_mut(), "the last value so far", |known| known.number(0) == Some(400.0)).await.unwrap();
    let (told, mut swallowed, mut asked) = (DateTime::now(), false, 0);
    way.judge(move |message| match message.kind {
        // What comes next is a sign of life: the value does not change again.
        PUBLISHED if !message.is_empty && !std::mem::replace(&mut swallowed, true) => Deed::Swallow,
        REPUBLISH => Deed::Refuse(StatusCode::BadMessageNotAvailable),
        HISTORY => {
            asked += 1;
            Deed::Tell(vec![value(told, asked, 1000.0 + f64::from(u32::try_from(asked).unwrap()))])
        }
        _ => Deed::Pass,
    });
    plant.set("T0", 500.0);
    assert_eq!(past(session.as_mut(), 1).await, [1001.0]);
    assert!(way.count(REPUBLISH) > 0);
    moves(session.as_mut(), &mut known, &plant, 0, "a value after that").await;
    assert_eq!(way.count(HISTORY), 1);
    way.cut();
    lost(session, &mut known).await;
    let mut session = connected(&mut compiled).await;
    let mut known = Known::default();
    while way.count(HISTORY) < 2 {
        moves(session.as_mut(), &mut known, &plant, 0, "a value of the next connection").await;
    }
    // What is asked for is asked one after the other: another hole would be asked for before the poll is.
    moves(session.as_mut(), &mut known, &plant, 0, "a value").await;
    moves(session.as_mut(), &mut known, &plant, 0, "another one").await;
    poll(session.as_mut(), 1).await;
    assert_eq!(way.count(HISTORY), 2, "the hole of the cut alone");
}

#[tokio::test]
async fn what_was_still_to_be_asked_for_when_a_session_was_given_up_is_asked_for_over_the_next_one() {
    let plant = Plant::start(1).await;
    let way = Meddler::to(plant.address).await;
    let mut compiled = compile(&link(way.address, "backfill = true", "", &numbers(1)));
    let (session, mut known) = begun(&mut compiled, 1).await;
    way.cut();
    lost(session, &mut known).await;
    let told = DateTime::now();
    way.judge(|message| if message.kind == HISTORY { Deed::Swallow } else { Deed::Pass });
    let mut session = connected(&mut compiled).await;
    let mut known = Known::default();
    while way.count(HISTORY) == 0 || known.0.is_empty() {
        moves(session.as_mut(), &mut known, &plant, 0, "a value beside the history").await;
    }
    drop(session);
    way.judge(move |message| match message.kind {
        HISTORY => Deed::Tell(vec![value(told, 1, 1001.0)]),
        _ => Deed::Pass,
    });
    let mut session = connected(&mut compiled).await;
    assert_eq!(past(session.as_mut(), 1).await, [1001.0]);
}
