//! Connections that end over a request, and requests that are refused although a server has to grant them.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod rig;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use opcua::types::StatusCode;
use rig::{
    Known, PATIENT, Plant, begun, compile, connected, link, lost,
    meddler::{CREATE_ITEMS, CREATE_SUBSCRIPTION, Deed, HISTORY, Meddler, PUBLISH, PUBLISHED, READ, REPUBLISH},
    moves, numbers,
};
use tidegate_driver_api::{Readings, testkit};

/// How long something new is waited for at a time.
const SOON: Duration = Duration::from_millis(50);

#[tokio::test]
async fn items_over_which_the_connection_ended_are_watched_over_the_next_one() {
    let plant = Plant::start(2).await;
    let way = Meddler::to(plant.address).await;
    let mut first = true;
    way.judge(move |message| {
        let refused = message.kind == CREATE_ITEMS && std::mem::take(&mut first);
        if refused { Deed::Refuse(StatusCode::BadSessionIdInvalid) } else { Deed::Pass }
    });
    let mut compiled = compile(&link(way.address, "", "", &numbers(2)));
    let session = connected(&mut compiled).await;
    let mut known = Known::default();
    lost(session, &mut known).await;
    let mut session = connected(&mut compiled).await;
    moves(session.as_mut(), &mut known, &plant, 0, "a value").await;
    moves(session.as_mut(), &mut known, &plant, 1, "a value of the other").await;
}

#[tokio::test]
async fn history_over_which_connections_end_is_left_alone_after_some_of_them() {
    let plant = Plant::start(2).await;
    let way = Meddler::to(plant.address).await;
    let mut compiled = compile(&link(way.address, "backfill = true", "", &numbers(2)));
    let (mut session, mut known) = begun(&mut compiled, 2).await;
    way.judge(|message| match message.kind {
        HISTORY => Deed::Refuse(StatusCode::BadSessionIdInvalid),
        _ => Deed::Pass,
    });
    let mut value = 0.0;
    for outage in 1..=2 {
        way.cut();
        lost(session, &mut known).await;
        for _ in 0..8 {
            session = connected(&mut compiled).await;
            // The past is asked for as soon as what is now has come.
            let (begin, mut out) = (Instant::now(), Readings::default());
            while session.subscriber().unwrap().next(&testkit::within(SOON), &mut out).await.is_ok() {
                assert!(begin.elapsed() < PATIENT, "it is asked for {} times", way.count(HISTORY));
                value += 1.0;
                plant.set("T1", value);
            }
            drop(session);
        }
        assert_eq!(way.count(HISTORY), 8 * outage, "each connection has ended over one");
        session = connected(&mut compiled).await;
        moves(session.as_mut(), &mut known, &plant, 0, "a value").await;
        assert_eq!(way.count(HISTORY), 8 * outage, "it is not asked for any more");
    }
}

#[tokio::test]
async fn a_server_that_keeps_one_question_for_messages_at_a_time_is_listened_to() {
    let plant = Plant::start(2).await;
    let way = Meddler::to(plant.address).await;
    let kept = Arc::new(AtomicUsize::new(0));
    let refused = Arc::new(AtomicUsize::new(0));
    let refusals = Arc::clone(&refused);
    way.judge(move |message| {
        match message.kind {
            PUBLISH if kept.load(Ordering::SeqCst) > 0 => {
                refusals.fetch_add(1, Ordering::SeqCst);
                return Deed::Refuse(StatusCode::BadTooManyPublishRequests);
            }
            PUBLISH => kept.store(1, Ordering::SeqCst),
            PUBLISHED => kept.store(0, Ordering::SeqCst),
            _ => {}
        }
        Deed::Pass
    });
    let mut compiled = compile(&link(way.address, "", "", &numbers(2)));
    let mut session = connected(&mut compiled).await;
    let connections = way.connections.load(Ordering::SeqCst);
    let mut known = Known::default();
    for _ in 0..3 {
        moves(session.as_mut(), &mut known, &plant, 0, "a value").await;
        moves(session.as_mut(), &mut known, &plant, 1, "a value of the other").await;
    }
    assert_eq!(refused.load(Ordering::SeqCst), 1, "from then on only one is asked");
    assert_eq!((way.count(CREATE_SUBSCRIPTION), way.connections.load(Ordering::SeqCst)), (1, connections));
}

#[tokio::test]
async fn what_can_neither_be_told_again_nor_read_is_subscribed_to_anew() {
    let plant = Plant::start(2).await;
    let way = Meddler::to(plant.address).await;
    let mut compiled = compile(&link(way.address, "", "", &numbers(2)));
    let (mut session, mut known) = begun(&mut compiled, 2).await;
    let lost = Arc::new(AtomicBool::new(false));
    let is_lost = Arc::clone(&lost);
    way.judge(move |message| match message.kind {
        READ | REPUBLISH => Deed::Refuse(StatusCode::BadInternalError),
        PUBLISHED if !is_lost.swap(true, Ordering::SeqCst) => Deed::Swallow,
        _ => Deed::Pass,
    });
    plant.set("T0", 7.5);
    let mut value = 0.0;
    let told = |known: &Known| {
        // Behind the message that gets lost comes another one, which shows that.
        if lost.load(Ordering::SeqCst) {
            value += 1.0;
            plant.set("T1", value);
        }
        known.number(0) == Some(7.5)
    };
    known.until(session.as_mut(), "the value that got lost", told).await.unwrap();
    assert_eq!(way.count(CREATE_SUBSCRIPTION), 2);
    moves(session.as_mut(), &mut known, &plant, 0, "a new value").await;
}

#[tokio::test]
async fn a_subscription_whose_messages_are_counted_from_the_beginning_again_is_made_anew() {
    let plant = Plant::start(1).await;
    let way = Meddler::to(plant.address).await;
    let mut compiled = compile(&link(way.address, "", "", &numbers(1)));
    let mut session = connected(&mut compiled).await;
    let mut known = Known::default();
    for _ in 0..3 {
        moves(session.as_mut(), &mut known, &plant, 0, "a value").await;
    }
    let mut is_old = true;
    way.judge(move |message| {
        is_old &= message.kind != CREATE_SUBSCRIPTION;
        if is_old && message.kind == PUBLISHED { Deed::First } else { Deed::Pass }
    });
    moves(session.as_mut(), &mut known, &plant, 0, "a value after that").await;
    assert_eq!(way.count(CREATE_SUBSCRIPTION), 2);
}
