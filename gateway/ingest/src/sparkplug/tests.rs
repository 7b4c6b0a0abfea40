//! What is heard, and the lines that it becomes.

mod lives;
mod restarts;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde_json::Value as Json;
use tidegate_model::Timestamp;
use tidegate_sparkplug::{
    DataType, HostOptions, Now, encode,
    wire::{Metric, MetricValue, Payload, PropertyContent, PropertySet, PropertyValue},
};

use super::{
    host::{Heard, Todo},
    presence::Load,
};
use crate::{
    Counters, Destination, NodeAccount, NodeKey, Rotation,
    piece::Piece,
    sink::{JsonLines, Remembered, Sink},
};

const START: i64 = 1_700_000_000_000;

/// A host that writes lines.
struct Scene {
    heard: Heard,
    now: Now,
    lines: JsonLines<Vec<u8>>,
    todo: Vec<Todo>,
    counters: Arc<Counters>,
}

fn metric(name: &str, alias: u64, datatype: DataType, value: MetricValue) -> Metric {
    Metric {
        name: Some(name.to_owned()),
        alias: Some(alias),
        timestamp: u64::try_from(START).ok(),
        datatype: Some(datatype.code()),
        value: Some(value),
        ..Metric::default()
    }
}

/// A value of the number with that alias, so many milliseconds later.
fn data(alias: u64, value: i32, later: i64) -> Metric {
    let value = Some(MetricValue::Int(u32::from_ne_bytes(value.to_ne_bytes())));
    Metric { alias: Some(alias), timestamp: u64::try_from(START + later).ok(), value, ..Metric::default() }
}

fn message(seq: Option<u64>, metrics: Vec<Metric>) -> Bytes {
    encode(&Payload { timestamp: u64::try_from(START).ok(), metrics, seq, ..Payload::default() }).into()
}

impl Scene {
    fn new(remembered: Remembered) -> Scene {
        Scene::of(HostOptions::default(), remembered)
    }

    fn of(options: HostOptions, remembered: Remembered) -> Scene {
        let counters = Arc::new(Counters::default());
        let heard = Heard::new(options, remembered, 5, Arc::clone(&counters));
        let now = Now { at: Instant::now(), time: Timestamp::from_millis(START + 90_000) };
        let lines = JsonLines::open(Vec::new(), None).unwrap();
        Scene { heard, now, lines, todo: Vec::new(), counters }
    }

    /// With a device that has two numbers.
    fn born() -> Scene {
        let mut scene = Scene::new(Remembered::default());
        scene.births();
        scene
    }

    fn births(&mut self) {
        let bd_seq = metric("bdSeq", 9, DataType::Int64, MetricValue::Long(3));
        let unit = PropertyValue {
            datatype: Some(DataType::String.code()),
            is_null: None,
            value: Some(PropertyContent::String("rpm".to_owned())),
        };
        let properties = PropertySet { keys: vec!["engUnit".to_owned()], values: vec![unit] };
        let speed = metric("Motor/Speed", 1, DataType::Int32, MetricValue::Int(5));
        let speed = Metric { properties: Some(properties), ..speed };
        self.take("NBIRTH/line4", message(Some(0), vec![Metric { alias: None, ..bd_seq }]));
        let steps = metric("steps", 2, DataType::Int32, MetricValue::Int(6));
        self.take("DBIRTH/line4/pump", message(Some(1), vec![speed, steps]));
    }

    fn take(&mut self, topic: &str, payload: Bytes) {
        let topic = format!("spBv1.0/plant/{topic}");
        self.heard.take(topic.as_bytes(), &payload, 0, self.now, &mut self.todo);
    }

    fn data(&mut self, seq: u64, metrics: Vec<Metric>) {
        self.take("DDATA/line4/pump", message(Some(seq), metrics));
    }

    /// The lines that are new, once all that was heard is written.
    fn lines(&mut self) -> Vec<Json> {
        let before = self.lines.out().len();
        while let Some(batch) = self.heard.batch() {
            self.lines.write(&batch.pieces).unwrap();
            self.heard.written();
        }
        let text = std::str::from_utf8(&self.lines.out()[before..]).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn account(&mut self) -> NodeAccount {
        let key = NodeKey { group: "plant".to_owned(), node: "line4".to_owned() };
        self.lines.remembered().nodes[&key]
    }
}

#[test]
fn what_a_foreign_node_says_becomes_rows_with_its_times() {
    let mut scene = Scene::born();
    let lines = scene.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(
        (&lines[0]["gateway"], &lines[0]["device"], &lines[0]["group"]),
        (&"line4".into(), &"pump".into(), &"plant".into())
    );
    assert_eq!(lines[0]["ts"], START);
    assert_eq!(lines[0]["values"], serde_json::json!({ "Motor.Speed": 5, "steps": 6 }));
    let past = Metric { is_historical: Some(true), ..data(1, -4, -5000) };
    let null = Metric { value: None, is_null: Some(true), ..data(2, 0, 10) };
    scene.data(2, vec![data(1, -7, 10), null, past]);
    let lines = scene.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(
        (&lines[0]["ts"], &lines[0]["values"]),
        (&(START + 10).into(), &serde_json::json!({ "Motor.Speed": -7 }))
    );
    assert_eq!(lines[0]["bad"], serde_json::json!({ "steps": "device_fault" }));
    assert_eq!((&lines[1]["ts"], &lines[1]["values"]["Motor.Speed"]), (&(START - 5000).into(), &(-4).into()));
    assert_eq!((&lines[0]["seq"], &lines[1]["seq"]), (&2.into(), &3.into()));
    assert_eq!(scene.account(), NodeAccount { births: 1, ..NodeAccount::default() });
}

#[test]
fn units_come_from_the_properties_of_the_birth() {
    let mut scene = Scene::born();
    let batch = scene.heard.batch().unwrap();
    let Some(Piece::Rows(rows)) = batch.pieces.first() else { panic!("{:?}", batch.pieces) };
    assert_eq!(rows.known.schema.columns[0].unit.as_deref(), Some("rpm"));
}

#[test]
fn what_comes_again_is_written_once_and_what_is_only_alike_is_written() {
    let mut scene = Scene::born();
    scene.data(2, vec![data(1, 7, 10)]);
    assert_eq!(scene.lines().len(), 2);
    // The same bytes again are no hole; the same value in another message, as history too, and births once more, are the same values.
    scene.data(2, vec![data(1, 7, 10)]);
    scene.data(3, vec![Metric { is_historical: Some(true), ..data(1, 7, 10) }]);
    scene.births();
    assert_eq!(scene.lines(), Vec::<Json>::new());
    // Another time, another value at the same time, and two that one message tells of one moment.
    scene.data(2, vec![data(1, 7, 11)]);
    scene.data(3, vec![data(1, 8, 10)]);
    scene.data(4, vec![data(2, 9, 12), data(2, 9, 12)]);
    scene.data(5, vec![data(2, 9, 12), data(2, 9, 12)]);
    assert_eq!(scene.lines().len(), 4);
    let wanted = NodeAccount { births: 2, repeated: 1 + 1 + 2 + 2, ..NodeAccount::default() };
    scene.heard.disconnected(false, scene.now);
    assert_eq!(scene.account(), wanted);
    assert!(scene.todo.is_empty(), "{:?}", scene.todo);
}

#[test]
fn a_metric_that_goes_back_within_one_time_ends_where_it_was() {
    let mut scene = Scene::born();
    scene.lines();
    let at_once = || vec![data(1, 7, 10)];
    scene.data(2, at_once());
    scene.data(3, vec![data(1, 8, 10)]);
    scene.data(4, at_once());
    let values = |lines: Vec<Json>| lines.iter().map(|line| line["values"]["Motor.Speed"].clone()).collect::<Vec<_>>();
    assert_eq!(values(scene.lines()), [7, 8, 7]);
    // Said of the past, or at once in one message, or after another birth, it is the same again.
    let past = |value| Metric { is_historical: Some(true), ..data(1, value, 10) };
    for (seq, value) in [(5, 7), (6, 8), (7, 7)] {
        scene.data(seq, vec![past(value)]);
    }
    scene.data(8, vec![data(1, 7, 10), data(1, 8, 10)]);
    scene.births();
    scene.data(2, vec![data(1, 8, 10)]);
    assert_eq!(values(scene.lines()), Vec::<Json>::new());
}

#[test]
fn a_hole_is_counted_and_births_are_asked_for_once() {
    let mut scene = Scene::born();
    scene.data(2, vec![data(1, 1, 1)]);
    scene.data(5, vec![data(1, 2, 2)]);
    assert_eq!(scene.lines().len(), 2, "the one behind the hole waits for those before it");
    scene.now.at += Duration::from_secs(3);
    scene.heard.run(scene.now, &mut scene.todo);
    scene.data(6, vec![Metric { alias: Some(77), ..data(1, 3, 3) }, data(1, 4, 4)]);
    let lines = scene.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    let asks = scene
        .todo
        .iter()
        .filter(|todo| matches!(todo, Todo::Publish(message) if message.topic == "spBv1.0/plant/NCMD/line4"));
    assert_eq!(asks.count(), 1, "at most every 10 s: {:?}", scene.todo);
    assert_eq!(
        scene.account(),
        NodeAccount { births: 1, asked: 1, holes: 1, missing: 2, unread: 1, ..NodeAccount::default() }
    );
    assert_eq!(scene.counters.snapshot().missing, 2);
}

#[test]
fn what_cannot_be_read_is_put_aside_and_the_rest_goes_on() {
    let mut scene = Scene::born();
    scene.take("DDATA/line4/pump", Bytes::from_static(&[0xff, 0xff, 0xff]));
    scene.take("DDATA/line4/pump", message(None, vec![data(1, 7, 10)]));
    scene.heard.take(b"spBv1.0/plant/XDATA/line4", &Bytes::new(), 0, scene.now, &mut scene.todo);
    scene.heard.take(b"\xff", &Bytes::new(), 0, scene.now, &mut scene.todo);
    scene.data(2, vec![data(1, 8, 11)]);
    let lines = scene.lines();
    let faults: Vec<&str> = lines.iter().filter_map(|line| line["refused"]["fault"].as_str()).collect();
    assert_eq!(faults, ["sparkplug", "sparkplug", "topic", "topic"], "{lines:?}");
    assert_eq!(scene.counters.snapshot().refused, 4);
    assert!(lines.iter().any(|line| line["values"]["Motor.Speed"] == 8), "{lines:?}");
}

#[test]
fn rows_wait_until_they_are_written_also_when_the_connection_breaks() {
    let mut scene = Scene::born();
    scene.data(2, vec![data(1, 7, 10)]);
    scene.heard.disconnected(true, scene.now);
    let later = scene.now.at + Duration::from_secs(4);
    let Load { bytes, oldest, .. } = scene.heard.load(true, later);
    assert!(bytes > 0 && oldest == Some(Duration::from_secs(4)), "{bytes} {oldest:?}");
    let batch = scene.heard.batch().unwrap();
    assert_eq!((scene.heard.waiting(), scene.heard.load(true, later).oldest), (2, Some(Duration::from_secs(4))));
    scene.lines.write(&batch.pieces).unwrap();
    scene.heard.written();
    assert_eq!((scene.heard.waiting(), scene.heard.load(false, later).oldest), (0, None));
    assert_eq!(scene.account(), NodeAccount { births: 1, interruptions: 1, ..NodeAccount::default() });
}

#[test]
fn a_message_at_qos_1_is_acknowledged_when_what_it_says_is_written() {
    let mut scene = Scene::born();
    scene.lines();
    let payload = message(Some(2), vec![data(1, 7, 10)]);
    scene.heard.take(b"spBv1.0/plant/DDATA/line4/pump", &payload, 21, scene.now, &mut scene.todo);
    let batch = scene.heard.batch().unwrap();
    let payload = message(Some(3), vec![data(1, 8, 11)]);
    scene.heard.take(b"spBv1.0/plant/DDATA/line4/pump", &payload, 22, scene.now, &mut scene.todo);
    assert_eq!(scene.heard.written(), [21], "{:?}", batch.pieces);
    drop(scene.heard.batch().unwrap());
    assert_eq!(scene.heard.written(), [22]);
}

#[test]
fn numbers_go_on_behind_those_that_the_sink_has() {
    let mut first = Scene::born();
    first.lines();
    let mut second = Scene::new(first.lines.remembered());
    second.births();
    let batch = second.heard.batch().unwrap();
    let Some(Piece::Rows(rows)) = batch.pieces.first() else { panic!("{:?}", batch.pieces) };
    assert_eq!((rows.arrival.first_seq, rows.arrival.boot), (2, 5));
    assert!(rows.repeats.is_some(), "they may have been written: the sink is asked");
    second.data(2, vec![data(1, 9, 1)]);
    let batch = second.heard.batch().unwrap();
    let Some(Piece::Rows(rows)) = batch.pieces.first() else { panic!("{:?}", batch.pieces) };
    assert!(rows.repeats.is_none(), "later than all that was written");
}

#[test]
fn what_comes_while_as_much_waits_as_may_is_dropped_counted_and_taken_when_it_comes_again() {
    let mut scene = Scene::born();
    scene.lines();
    let text = |seq: u64, letter: &str, later: i64| {
        let value = Some(MetricValue::String(letter.repeat(900)));
        let timestamp = u64::try_from(START + later).ok();
        let metric = Metric { alias: Some(1), timestamp, value, ..Metric::default() };
        message(Some(seq), vec![metric])
    };
    scene.heard.set_most_bytes(10_000);
    let note = metric("note", 1, DataType::String, MetricValue::String(String::new()));
    scene.take("DBIRTH/line4/notes", message(Some(2), vec![note]));
    scene.lines();
    for (seq, letter) in (3..).zip(["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"]) {
        scene.take("DDATA/line4/notes", text(seq, letter, i64::try_from(seq).unwrap()));
    }
    let load = scene.heard.load(false, scene.now.at);
    assert!((10_000..11_100).contains(&load.bytes), "{load:?}");
    let lines = scene.lines();
    let dropped = 12 - u64::try_from(lines.len()).unwrap();
    assert!(dropped > 0, "{load:?}");
    assert_eq!((scene.account().dropped, scene.counters.snapshot().dropped), (dropped, dropped));
    let past = text(15, "l", 14);
    scene.take("DDATA/line4/notes", past);
    assert_eq!(scene.lines().len(), 1, "what was dropped is not taken for known");
}

#[test]
fn a_large_device_is_several_schemas_and_all_its_rows_are_there() {
    let mut scene = Scene::born();
    scene.lines();
    let names = |at: u64| metric(&format!("m{at}"), at, DataType::Int32, MetricValue::Int(1));
    scene.take("DBIRTH/line4/large", message(Some(2), (0..2500).map(names).collect()));
    for seq in 3..13 {
        let later = i64::try_from(seq).unwrap();
        scene.take("DDATA/line4/large", message(Some(seq), vec![data(3, 5, later), data(2400, 6, later)]));
    }
    let lines = scene.lines();
    assert_eq!(lines.len(), 3 + 20);
    let mut numbers: Vec<u64> = lines.iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(1..=23), "{numbers:?}");
}

#[tokio::test]
async fn files_keep_the_rows_and_what_was_seen_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let destination = Destination::Parquet(folder.path().to_owned());
    let mut numbers = Vec::new();
    for start in 0..2 {
        let (mut sink, remembered) = Sink::open(&destination, Rotation::default()).await.unwrap();
        let mut scene = Scene::new(remembered);
        scene.births();
        scene.data(2, vec![data(1, 7, 10 + start)]);
        scene.data(4, vec![data(1, 8, 20 + start)]);
        scene.heard.disconnected(false, scene.now);
        while let Some(batch) = scene.heard.batch() {
            let rows =
                batch.pieces.iter().filter_map(|piece| if let Piece::Rows(rows) = piece { Some(rows) } else { None });
            numbers.extend(rows.map(|rows| (rows.arrival.first_seq, rows.arrival.last_seq)));
            sink.write(&batch.pieces, &[]).await.unwrap();
            scene.heard.written();
        }
        if start == 0 {
            sink.close(&mut crate::sink::Written::default()).await.unwrap();
        }
    }
    // What the births say is known of before.
    assert_eq!(numbers, [(1, 3), (4, 5)]);
    let report = crate::verify(&destination).await.unwrap();
    let [node] = report.nodes.as_slice() else { panic!("{:?}", report.nodes) };
    assert_eq!((node.devices, node.rows, node.times), (1, 5, Some((START, START + 21))));
    let wanted = NodeAccount { births: 2, holes: 2, missing: 2, repeated: 2, ..NodeAccount::default() };
    assert_eq!(node.account, wanted);
    assert!(!report.is_whole());
}
