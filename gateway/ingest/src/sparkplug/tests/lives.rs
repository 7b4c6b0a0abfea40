//! Births and deaths, and those that do not come.

use super::{super::streams::PATIENCE, *};

/// The death of the node of the scene.
fn node_death() -> Bytes {
    let number = metric("bdSeq", 9, DataType::Int64, MetricValue::Long(3));
    message(None, vec![Metric { alias: None, ..number }])
}

impl Scene {
    /// A host with a name, that is online.
    fn named() -> Scene {
        let options = HostOptions { id: "historian".parse().ok(), ..HostOptions::default() };
        let mut scene = Scene::of(options, Remembered::default());
        scene.births();
        scene.lines();
        scene
    }

    /// Says whether the host is offline.
    fn leaving(&mut self, leaving: bool) {
        self.heard.leaving(leaving, self.now.at);
    }

    fn later(&mut self, after: Duration) {
        self.now.at += after;
        self.heard.run(self.now, &mut self.todo);
    }

    /// The devices that are bad as of the new lines, and since when.
    fn dead(&mut self) -> Vec<(String, i64)> {
        let is_dead = |line: &Json| line["bad"]["steps"] == "disconnected";
        let of = |line: Json| (line["device"].as_str().unwrap().to_owned(), line["ts"].as_i64().unwrap());
        self.lines().into_iter().filter(is_dead).map(of).collect()
    }
}

#[test]
fn deaths_make_values_bad_and_births_good_again() {
    let mut scene = Scene::born();
    scene.lines();
    scene.take("DDEATH/line4/pump", message(Some(2), Vec::new()));
    let lines = scene.lines();
    assert_eq!(lines[0]["bad"], serde_json::json!({ "Motor.Speed": "disconnected", "steps": "disconnected" }));
    scene.take("NDEATH/line4", node_death());
    assert_eq!(scene.lines(), Vec::<Json>::new(), "it is dead already");
    // It had these values before: as of the birth they are good again.
    scene.births();
    let lines = scene.lines();
    assert_eq!((lines.len(), &lines[0]["ts"]), (1, &(START + 1).into()), "{lines:?}");
    assert_eq!(lines[0]["values"], serde_json::json!({ "Motor.Speed": 5, "steps": 6 }));
    // Of a host without a name nobody hears that it is offline.
    scene.leaving(true);
    scene.take("NDEATH/line4", node_death());
    assert_eq!(scene.dead().len(), 1);
    assert!(!scene.heard.is_anyone_there());
}

#[test]
fn a_node_that_goes_as_the_host_is_offline_is_bad_when_it_is_not_back_in_time() {
    let mut scene = Scene::named();
    for comes_back in [true, false] {
        scene.leaving(true);
        scene.take("NDEATH/line4", node_death());
        scene.later(PATIENCE * 10);
        assert_eq!(scene.dead(), [], "it may wait for the host");
        scene.leaving(false);
        scene.later(PATIENCE / 2);
        if comes_back {
            scene.births();
        }
        scene.later(PATIENCE);
        let wanted = if comes_back { None } else { Some(("pump".to_owned(), START + 90_000)) };
        assert_eq!(scene.dead(), Vec::from_iter(wanted));
    }
}

#[test]
fn the_death_of_a_device_is_its_own_also_while_the_host_is_offline() {
    let mut scene = Scene::named();
    scene.leaving(true);
    scene.take("DDEATH/line4/pump", message(Some(2), Vec::new()));
    assert_eq!(scene.dead(), [("pump".to_owned(), START)]);
}

#[test]
fn a_device_that_its_node_does_not_tell_of_again_is_bad() {
    let mut scene = Scene::born();
    scene.lines();
    for comes_back in [true, false] {
        let number = metric("bdSeq", 9, DataType::Int64, MetricValue::Long(3));
        scene.take("NBIRTH/line4", message(Some(0), vec![Metric { alias: None, ..number }]));
        scene.later(PATIENCE / 2);
        if comes_back {
            scene.take(
                "DBIRTH/line4/pump",
                message(Some(1), vec![metric("steps", 2, DataType::Int32, MetricValue::Int(6))]),
            );
        }
        assert_eq!(scene.dead(), []);
        scene.later(PATIENCE);
        let wanted = if comes_back { None } else { Some(("pump".to_owned(), START)) };
        assert_eq!(scene.dead(), Vec::from_iter(wanted));
    }
}

#[test]
fn a_node_that_does_not_answer_after_an_interruption_is_bad() {
    for mut scene in [Scene::born(), Scene::named()] {
        scene.lines();
        scene.heard.disconnected(true, scene.now);
        scene.now.at += PATIENCE * 10;
        scene.heard.ask_all(scene.now, &mut scene.todo);
        scene.leaving(false);
        scene.later(PATIENCE / 2);
        assert_eq!(scene.dead(), []);
        scene.later(PATIENCE);
        assert_eq!(scene.dead(), [("pump".to_owned(), START + 90_000)]);
        // Once, and good again when it is there.
        scene.later(PATIENCE * 2);
        assert_eq!(scene.dead(), []);
        scene.births();
        assert_eq!(scene.lines()[0]["values"], serde_json::json!({ "Motor.Speed": 5, "steps": 6 }));
    }
}

#[test]
fn a_death_has_room_behind_what_may_wait_and_a_birth_that_was_dropped_gives_its_time_to_nothing() {
    let mut scene = Scene::born();
    scene.lines();
    scene.heard.set_most_bytes(100);
    scene.data(2, vec![data(1, 7, 10)]);
    scene.heard.set_most_bytes(140);
    scene.take("DDEATH/line4/pump", message(Some(3), Vec::new()));
    scene.births();
    assert_eq!(scene.dead().len(), 1);
    assert_eq!(scene.account().dropped, 3, "of both births");
    scene.heard.set_most_bytes(10_000);
    scene.data(2, vec![data(1, 9, -10)]);
    let lines = scene.lines();
    assert_eq!((lines.len(), &lines[0]["ts"]), (1, &(START - 10).into()), "{lines:?}");
}

#[test]
fn a_death_that_finds_no_room_at_all_is_tried_again() {
    let mut scene = Scene::born();
    scene.lines();
    scene.data(2, vec![data(1, 7, 10)]);
    scene.heard.set_most_bytes(1);
    scene.take("DDEATH/line4/pump", message(Some(3), Vec::new()));
    assert_eq!(scene.dead(), []);
    scene.later(PATIENCE);
    assert_eq!(scene.dead(), [("pump".to_owned(), START)]);
}

#[test]
fn two_ids_that_are_spelled_alike_are_not_mixed() {
    let mut scene = Scene::born();
    let spelled = super::super::names::device(Some("Pumpe 1")).to_string();
    let steps = |value| message(Some(value), vec![metric("steps", 3, DataType::Int32, MetricValue::Int(1))]);
    scene.take("DBIRTH/line4/Pumpe 1", steps(2));
    scene.take(&format!("DBIRTH/line4/{spelled}"), steps(3));
    let lines = scene.lines();
    let of = lines.iter().filter(|line| line["device"] == spelled.as_str());
    assert_eq!((of.count(), scene.account().unread), (1, 1), "{lines:?}");
}

#[test]
fn the_own_request_that_comes_back_does_not_hide_a_message_that_was_carried_twice() {
    let mut scene = Scene::born();
    scene.data(2, vec![data(1, 7, 10)]);
    scene.take("NCMD/line4", message(None, Vec::new()));
    scene.data(2, vec![data(1, 7, 10)]);
    assert_eq!(scene.lines().len(), 2);
    assert_eq!((scene.account().repeated, scene.account().holes), (1, 0));
}
