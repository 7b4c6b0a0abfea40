//! The rows of a device, for an export.

use tidegate_model::{Column, Loss, Slot, ValueKind, ValueType};
use tidegate_store::{Fill, HistoryQuery, Part, Query, Reader, Why};

use crate::{archive::*, plant::*};

#[tokio::test]
async fn a_scan_gives_every_row_of_a_device_once_group_by_group_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let (mut fast, mut slow) = (group(&store, "press", "fast", 3).await, group(&store, "press", "slow", 5).await);
    let mut other = group(&store, "oven", "fast", 3).await;
    produce(&store, &mut [&mut slow, &mut other, &mut fast], 40).await;

    let given = everything(&store.reader(), &Query::of(name("press"))).await;
    let expected = ["fast", "slow"].map(|group| (1..=400).map(move |seq| (group.to_owned(), seq)));
    assert_eq!(given.rows, expected.into_iter().flatten().collect::<Vec<_>>());
    assert_eq!(given.missing, []);
    assert!(given.batches < 10, "small commits are joined: {}", given.batches);

    let only = Query { group: Some(name("slow")), ..Query::of(name("press")) };
    assert_eq!(everything(&store.reader(), &only).await.of("slow").len(), 400);
    let with_tag = Query { tags: vec!["tag4".parse().unwrap()], ..Query::of(name("press")) };
    let given = everything(&store.reader(), &with_tag).await;
    assert_eq!((given.of("slow").len(), given.of("fast").len()), (400, 0));
}

#[tokio::test]
async fn a_scan_keeps_to_its_times_and_the_next_begins_where_it_ended() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut press = group(&store, "press", "g", 3).await;
    produce(&store, &mut [&mut press], 30).await;
    let between = |from, to| Query { from: Some(time(from)), to: Some(time(to)), ..Query::of(name("press")) };
    let given = everything(&store.reader(), &between(95, 205)).await;
    assert_eq!((given.of("g"), given.missing), ((95..205).collect(), vec![]));
    assert_eq!(everything(&store.reader(), &between(205, 206)).await.of("g"), [205]);
    assert_eq!(everything(&store.reader(), &between(206, 206)).await, Given::default());
    assert_eq!(everything(&store.reader(), &between(400, 500)).await, Given::default());
    assert_eq!(everything(&store.reader(), &between(300, 100)).await, Given::default());
}

#[tokio::test]
async fn a_device_that_was_never_there_has_no_streams() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut press = group(&store, "press", "g", 3).await;
    produce(&store, &mut [&mut press], 1).await;
    let nobody = store.reader().scan(&Query::of(name("nobody"))).await.unwrap();
    assert!(nobody.streams().is_empty());
    assert_eq!(rest(nobody).await, Given::default());
    let press = store.reader().scan(&Query::of(name("press"))).await.unwrap();
    assert_eq!(press.streams().len(), 1);
}

#[tokio::test]
async fn rows_that_come_later_are_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut press = group(&store, "press", "g", 3).await;
    produce(&store, &mut [&mut press], 2).await;
    let scan = store.reader().scan(&Query::of(name("press"))).await.unwrap();
    produce(&store, &mut [&mut press], 2).await;
    assert_eq!(rest(scan).await.of("g"), (1..=20).collect::<Vec<u64>>());
}

#[tokio::test]
async fn other_columns_are_another_batch_and_the_numbers_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for width in [2, 4, 2] {
        // All three in one commit: there the rows of the first columns stand together.
        group(&store, "press", "g", width).await.run(&store, 5);
    }
    settle(&store, 15).await;
    let reader = store.reader();
    let mut scan = reader.scan(&Query::of(name("press"))).await.unwrap();
    let mut widths = Vec::new();
    while let Some(part) = scan.next().await.unwrap() {
        let Part::Rows { stream, batch, .. } = part else { panic!("nothing is missing") };
        widths.push((stream.columns().len(), batch.first_seq().unwrap(), batch.len()));
    }
    assert_eq!(widths, [(2, 1, 5), (4, 6, 5), (2, 11, 5)]);

    produce(&store, &mut [&mut group(&store, "oven", "g", 1).await], 1).await;
    let recorded = reader.streams().await.unwrap();
    let names: Vec<&str> = recorded.iter().map(|recorded| recorded.device.as_str()).collect();
    assert_eq!(names, ["oven", "press"]);
    let widths: Vec<usize> = recorded[1].versions.iter().map(|version| version.stream.columns().len()).collect();
    assert_eq!(widths, [2, 4]);
    assert!(recorded[1].first().unwrap() <= time(1) && recorded[1].last().unwrap() >= time(15));
}

#[tokio::test]
async fn columns_are_told_in_the_order_in_which_a_group_had_them() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for width in [4, 1, 2] {
        let mut press = group(&store, "press", "g", width).await;
        produce(&store, &mut [&mut press], 2).await;
    }
    // Nothing has been recorded with these.
    group(&store, "press", "g", 7).await;
    store.close().await;
    let store = open(dir.path()).await;
    let recorded = store.reader().streams().await.unwrap();
    let versions = &recorded[0].versions;
    let told: Vec<_> = versions.iter().map(|version| (version.stream.columns().len(), version.first)).collect();
    assert_eq!(told.iter().filter(|(width, _)| *width != 7).map(|(width, _)| *width).collect::<Vec<_>>(), [4, 1, 2]);
    assert!(told.iter().all(|(width, first)| first.is_none() == (*width == 7)));
    assert!(versions.iter().filter_map(|version| version.first).is_sorted());
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_reported_and_the_rest_is_given() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut press = group(&store, "press", "g", 3).await;
    produce(&store, &mut [&mut press], 5).await;
    run(dir.path(), "UPDATE log SET body = CAST(x'00' || substr(body, 2) AS BLOB) WHERE first_position = 20").await;
    let given = everything(&store.reader(), &Query::of(name("press"))).await;
    assert_eq!(given.damaged(), [(Some(21), Some(30))]);
    assert_eq!(given.of("g"), (1..=20).chain(31..=50).collect::<Vec<u64>>());

    // Of the next nothing is known but what its neighbours say.
    run(dir.path(), "UPDATE log SET body = x'00', summary = x'00' WHERE first_position IN (0, 40)").await;
    let given = everything(&store.reader(), &Query::of(name("press"))).await;
    assert_eq!(given.damaged(), [(None, Some(10)), (Some(21), Some(30)), (Some(41), None)]);
    assert_eq!(given.of("g"), (11..=20).chain(31..=40).collect::<Vec<u64>>());
    let later = Query { from: Some(time(15)), to: Some(time(36)), ..Query::of(name("press")) };
    let given = everything(&store.reader(), &later).await;
    assert_eq!((given.damaged(), given.of("g").len()), (vec![(Some(21), Some(30))], 11));
}

#[tokio::test]
async fn rows_that_found_no_room_are_reported_where_they_are_missing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut press = group(&store, "press", "g", 2).await;
    produce(&store, &mut [&mut press], 2).await;
    press.next += 5;
    produce(&store, &mut [&mut press], 2).await;
    let given = everything(&store.reader(), &Query::of(name("press"))).await;
    assert_eq!(given.missing.len(), 1);
    let missing = &given.missing[0];
    assert_eq!((missing.first, missing.last, &missing.why), (Some(21), Some(25), &Why::Dropped));
    assert_eq!(given.of("g").len(), 40);
}

#[tokio::test]
async fn a_clock_that_is_set_back_takes_no_row_from_a_scan() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let column = columns(1).remove(0);
    let mut sensor = Sensor::new(&store, "press", "g", column).await;
    for second in (1..=30).chain(11..=40) {
        sensor.say(&store, time(second), Slot::Unchanged);
        if second % 10 == 0 {
            let rows = store.status().rows_committed;
            until(|| store.status().rows_committed > rows, "it is committed").await;
        }
    }
    let query = Query { from: Some(time(15)), to: Some(time(21)), ..Query::of(name("press")) };
    let mut scan = store.reader().scan(&query).await.unwrap();
    let mut seqs = Vec::new();
    while let Some(part) = scan.next().await.unwrap() {
        let Part::Rows { batch, .. } = part else { panic!("nothing is missing, it is only of another time") };
        seqs.extend((0..batch.len()).map(|at| batch.seq(at).unwrap()));
    }
    assert_eq!(seqs, (15..=20).chain(35..=40).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_scan_that_takes_its_time_keeps_neither_the_writer_nor_its_log_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut press = group(&store, "press", "g", 500).await;
    produce(&store, &mut [&mut press], 100).await;
    let mut scan = store.reader().scan(&Query::of(name("press"))).await.unwrap();
    let mut given = Given::default();
    given.take(scan.next().await.unwrap().unwrap());
    let mut largest = 0;
    // Twice as much as the write-ahead log holds before it is moved into the database.
    for _ in 0..10 {
        produce(&store, &mut [&mut press], 40).await;
        largest = largest.max(std::fs::metadata(dir.path().join("store.db-wal")).unwrap().len());
    }
    assert!((6 << 20..12 << 20).contains(&largest), "{largest}");
    while let Some(part) = scan.next().await.unwrap() {
        given.take(part);
    }
    // Some of what came later stands in the same blocks.
    let rows = given.of("g");
    assert!(rows.len() >= 1_000 && rows.iter().zip(1..).all(|(seq, expected)| *seq == expected), "{}", rows.len());
    assert_eq!(given.missing, []);
}

#[tokio::test]
async fn targets_are_served_while_a_scan_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut target = cursor(&store, "cloud").await;
    let mut press = group(&store, "press", "g", 3).await;
    produce(&store, &mut [&mut press], 20).await;
    let reader = store.reader();
    let scans: Vec<_> = (0..4).map(|_| reader.clone()).collect();
    let scans = scans
        .into_iter()
        .map(|reader| tokio::spawn(async move { everything(&reader, &Query::of(name("press"))).await.of("g").len() }));
    let scans: Vec<_> = scans.collect();
    assert_eq!(drain(&mut target, 200).await.of("press").len(), 200);
    for scan in scans {
        assert_eq!(scan.await.unwrap(), 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_row_is_given_once_while_rows_become_blocks_and_blocks_longer_ones() {
    let dir = tempfile::tempdir().unwrap();
    let kept = std::time::Duration::from_secs(100 * 365 * 86_400);
    let store = open_with(dir.path(), &tidegate_config::Store { max_age: kept, ..options() }).await;
    let mut machines = [group(&store, "press", "g", 100).await, group(&store, "oven", "g", 1).await];
    for machine in &mut machines {
        // So that some rows are enough for a block.
        machine.interval = 30_000;
    }
    let plant = store.clone();
    let making = tokio::spawn(async move {
        let [press, oven] = &mut machines;
        for _ in 0..100 {
            produce(&plant, &mut [&mut *press, &mut *oven], 2).await;
        }
    });
    settle(&store, 20).await;
    let reader = Reader::open(dir.path()).await.unwrap();
    let (mut scans, mut last) = (0, 0);
    while !making.is_finished() || last < 2_000 {
        let reader = if scans % 2 == 0 { &reader } else { &store.reader() };
        for device in ["press", "oven"] {
            let mut scan = reader.scan(&Query::of(name(device))).await.unwrap();
            let mut next = 1;
            while let Some(part) = scan.next().await.unwrap() {
                let Part::Rows { batch, .. } = part else { panic!("nothing is missing: {part:?}") };
                assert_eq!(batch.first_seq(), Some(next), "of {device}");
                next = batch.last_seq().unwrap() + 1;
            }
            last = next - 1;
        }
        let (device, tag) = (name("oven"), "tag0".parse().unwrap());
        let history = reader
            .history(&HistoryQuery { device, tag, from: None, to: None, max_points: 5_000, fill: Fill::Nothing })
            .await
            .unwrap();
        let history = history.unwrap();
        assert_eq!((u64::try_from(history.samples.len()).unwrap(), history.missing.len()), (history.total, 0));
        assert!(history.total >= last && history.samples.is_sorted_by(|a, b| a.time < b.time), "each once");
        scans += 1;
    }
    making.await.unwrap();
    until(|| store.status().epochs > 0, "rows have become blocks").await;
    assert!(scans > 1);
}

#[tokio::test]
async fn what_lines_need_comes_on_wish_and_only_of_tags_that_have_lines() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let level = |door: bool| {
        let door = door.then(|| Loss::SwingingDoor { error: "0.5".to_owned(), max_silence: 10_000 });
        Column { loss: door, ..Column::new("level".parse().unwrap(), ValueType::single(ValueKind::F64)) }
    };
    let mut groups = Vec::new();
    for (group, door) in [("lines", true), ("plain", false)] {
        groups.push(Sensor::new(&store, "tank", group, level(door)).await);
    }
    let mut committed = 0;
    for tens in 0..10 {
        for sensor in &mut groups {
            (0..10).for_each(|second| sensor.say(&store, time(10 * tens + second), number(1.0)));
        }
        committed += 20;
        settle(&store, committed).await;
    }
    let query = Query { from: Some(time(52)), to: Some(time(57)), lines: true, ..Query::of(name("tank")) };
    let mut scan = store.reader().scan(&query).await.unwrap();
    let (mut lines, mut plain) = (Vec::new(), Vec::new());
    while let Some(part) = scan.next().await.unwrap() {
        let Part::Rows { stream, batch, .. } = part else { panic!("{part:?}") };
        let of = if stream.group().as_str() == "lines" { &mut lines } else { &mut plain };
        of.extend_from_slice(batch.times());
    }
    assert_eq!(plain, (52..57).map(time).collect::<Vec<_>>());
    let (first, last) = (*lines.first().unwrap(), *lines.last().unwrap());
    assert!(first <= time(42) && last >= time(66), "{first} {last}");
    assert!(first >= time(30) && last < time(80), "no more is read than that takes: {first} {last}");
    assert!(lines.is_sorted());
    assert_eq!(scan.progress().rows, 10);
}
