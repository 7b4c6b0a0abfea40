//! Drivers that do what none may: they do not come back, they panic, they hold their thread. The gateway goes on.

use std::{cell::RefCell, io::Write, sync::Once};

use tidegate_driver_api::{Cause, model::Reason};
use tidegate_runtime::DeviceState;

use crate::{
    observer::is_good,
    plant::{AT_ONCE, Door, Mood, Plant, connect, read, write},
    rig::{METER, QUICK, Rig, link, only_error},
};

thread_local! {
    static LOGGED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What was logged on this thread, on which everything of a test runs.
struct Logged;

impl Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOGGED.with_borrow_mut(|logged| logged.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Logged {
    /// Begins to listen.
    fn start() -> Logged {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| tracing_subscriber::fmt().with_ansi(false).with_writer(|| Logged).init());
        LOGGED.with_borrow_mut(Vec::clear);
        Logged
    }

    fn lines(&self, with: &str) -> Vec<String> {
        let text = LOGGED.with_borrow(|logged| String::from_utf8(logged.clone()).unwrap());
        text.lines().filter(|line| line.contains(with)).map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn a_read_that_does_not_come_back_is_dropped_and_the_neighbours_go_on() {
    let logged = Logged::start();
    let rig = Rig::start(&link("press", QUICK, &["a", "b"])).await;
    rig.seen.row("a", "fast", is_good).await;
    rig.plant.set_mood("a", Mood::Stuck);
    rig.seen.state("a", "offline").await;
    rig.seen.row("a", "fast", |row| row["bad"]["level"] == "timeout").await;
    let reads = rig.plant.count(read("b"));
    rig.plant.wait_for(reads + 10, read("b")).await;
    rig.plant.set_mood("a", Mood::Well);
    rig.seen.state("a", "online").await;
    let errors = logged.lines("ERROR");
    assert_eq!(errors.len(), 1, "a person is told once: {errors:?}");
    assert!(errors[0].contains("press") && errors[0].contains("did not end its call"), "{errors:?}");
}

#[tokio::test]
async fn a_read_that_panics_is_reported_and_costs_its_own_device_only() {
    let logged = Logged::start();
    let rig = Rig::start(&link("press", QUICK, &["a", "b"])).await;
    rig.seen.row("a", "fast", is_good).await;
    rig.plant.set_tag_mood("a", "setpoint", Mood::Panics);
    let row = rig.seen.row("a", "fast", |row| row["bad"]["setpoint"] == "device_fault").await;
    assert_eq!(row["values"]["level"], 1.0, "what came before the panic counts");
    rig.seen.state("a", "offline").await;
    let reads = rig.plant.count(read("b"));
    rig.plant.wait_for(reads + 10, read("b")).await;
    assert_eq!(rig.device("b").failed_polls, 0);
    rig.plant.set_tag_mood("a", "setpoint", Mood::Well);
    rig.seen.state("a", "online").await;
    let errors = logged.lines("ERROR");
    assert!(errors.len() == 1 && errors[0].contains("the driver panicked: a is beyond words"), "{errors:?}");
    let seqs: Vec<u64> = rig.seen.rows("a", "fast").iter().map(|row| row["seq"].as_u64().unwrap()).collect();
    assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "{seqs:?}");
}

#[tokio::test]
async fn connecting_that_panics_or_does_not_come_back_is_tried_again() {
    for door in [Door::Panics, Door::Stuck] {
        let plant = Plant::default();
        plant.set_door("press", door);
        let keys = "connect_timeout = \"20ms\"\nretry = { first = \"20ms\", longest = \"20ms\" }";
        let rig = Rig::start_with(&link("press", keys, &["a"]), METER, plant, false).await;
        rig.plant.wait_for(2, connect("press")).await;
        rig.seen.state("a", "offline").await;
        rig.plant.set_door("press", Door::Open);
        rig.seen.state("a", "online").await;
    }
}

#[tokio::test]
async fn a_write_that_panics_or_does_not_come_back_is_unknown_and_was_tried_once() {
    for mood in [Mood::Panics, Mood::Stuck] {
        let rig = Rig::start(&link("press", QUICK, &["a", "b"])).await;
        rig.seen.row("a", "fast", is_good).await;
        rig.plant.set_tag_mood("a", "reset", mood);
        let error = only_error(rig.reset("a").await).to_string();
        assert!(error.starts_with("unknown: the driver "), "{error}");
        assert_eq!(rig.plant.count(write("a")), 1);
        let reads = rig.plant.count(read("b"));
        rig.plant.wait_for(reads + 10, read("b")).await;
    }
}

#[tokio::test]
async fn a_driver_that_says_cancelled_without_being_told_does_not_end_its_link() {
    let rig = Rig::start(&link("press", QUICK, &["a"])).await;
    rig.seen.row("a", "fast", is_good).await;
    rig.plant.set_mood("a", Mood::Lost(Cause::Cancelled));
    rig.seen.state("a", "offline").await;
    rig.plant.set_mood("a", Mood::Well);
    rig.seen.state("a", "online").await;
}

#[tokio::test]
async fn a_gateway_stops_in_time_whatever_its_drivers_do() {
    let plant = Plant::default();
    plant.set_door("deaf", Door::Stuck);
    plant.set_mood("a", Mood::Stuck);
    let site = link("deaf", "connect_timeout = \"600s\"\ntimeout = \"50ms\"", &["b"])
        + &link("press", "timeout = \"50ms\"", &["a"]);
    let rig = Rig::start_with(&site, METER, plant, false).await;
    rig.plant.wait_for(1, read("a")).await;
    rig.plant.wait_for(1, connect("deaf")).await;
    let began = std::time::Instant::now();
    rig.gateway.stop().await;
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_exception_of_the_device_is_no_reason_to_leave_it_alone() {
    let rig = Rig::start(&link("press", QUICK, &["a"])).await;
    rig.plant.set_mood("a", Mood::Fault(Reason::DeviceFault));
    rig.seen.state("a", "degraded").await;
    let reads = rig.plant.count(read("a"));
    rig.plant.wait_for(reads + 20, read("a")).await;
    assert_eq!((rig.device("a").state, rig.device("a").failed_polls), (Some(DeviceState::Degraded), 0));
    assert_eq!(rig.plant.count(connect("press")), 1);
}
