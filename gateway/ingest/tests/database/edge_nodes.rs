//! What edge nodes tell again after a start of the ingest. The broker keeps the last birth of a node, so that each start hears it.

use tidegate_ingest::Snapshot;
use tidegate_sparkplug::{
    DataType, encode,
    wire::{Metric, MetricValue, Payload},
};
use tidegate_tests::Peers;

use crate::cloud::{Cloud, Message};

const TIME: u64 = 1_700_000_000_000;
/// Near the end of what a database can hold: no sum of 1970 and an interval reaches it.
const FAR: u64 = 9_223_700_000_000_000;

/// The birth of a node with these metrics: name, value, time.
fn birth(node: &str, metrics: &[(&str, u32, u64)]) -> Message {
    let metric = |(name, value, time): &(&str, u32, u64)| Metric {
        name: Some((*name).to_owned()),
        timestamp: Some(*time),
        datatype: Some(DataType::Int32.code()),
        value: Some(MetricValue::Int(*value)),
        ..Metric::default()
    };
    let metrics = metrics.iter().map(metric).collect();
    let payload = Payload { timestamp: Some(TIME + 500), metrics, seq: Some(0), ..Payload::default() };
    (format!("spBv1.0/plant/NBIRTH/{node}"), true, encode(&payload))
}

/// Waits for so many values that are new rows, or are here already.
fn told(values: u64) -> impl Fn(&Snapshot) -> bool {
    move |seen| seen.rows + seen.duplicates + seen.quarantined >= values
}

#[test]
fn each_value_is_there_once_over_a_restart_whenever_it_was() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let cloud = Cloud::start(&peers)?;
    let metrics = |level| [("old", 1, TIME - 400_000_000_000), ("level", level, TIME), ("far", 3, FAR)];
    cloud.publish(vec![birth("line4", &metrics(2))])?;
    let first = cloud.host(told(3))?;
    assert_eq!((first.rows, first.duplicates, first.quarantined), (3, 0, 0), "{first:?}");
    cloud.publish(vec![birth("line4", &metrics(9))])?;
    let second = cloud.host(told(3))?;
    assert_eq!((second.rows, second.duplicates, second.quarantined), (1, 2, 0), "{second:?}");
    let values = "select tag, array_agg(value order by seq) from tidegate.samples group by tag order by tag";
    assert_eq!(cloud.database.sql(values)?, ["far|{3}", "level|{2,9}", "old|{1}"]);
    assert_eq!(cloud.database.sql("select sum(rows) from tidegate.stream")?, ["4"]);
    Ok(())
}

#[test]
fn a_node_that_was_dead_when_the_ingest_was_started_anew_is_good_as_of_its_birth() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let cloud = Cloud::start(&peers)?;
    let long = "x".repeat(30_000);
    cloud.publish(vec![birth("line4", &[("level", 2, TIME)]), birth(&long, &[("level", 2, TIME)])])?;
    cloud.host(told(2))?;
    // An id that no index takes is cut, and takes nothing from the others.
    let accounts = "select count(*), max(length(node_id)) <= 64 from tidegate.edge_node where births = 1";
    assert_eq!(cloud.database.sql(accounts)?, ["2|t"]);
    let of = "stream_id = (select id from tidegate.stream where gateway = 'line4')";
    cloud.database.sql(&format!(
        "insert into tidegate.sample (time, seq, tag_id, quality, reason) \
         select time + interval '100 ms', 2, tag_id, 'bad', 'disconnected' \
         from tidegate.sample join tidegate.tag on id = tag_id where {of}"
    ))?;
    let entered = "update tidegate.stream set delivered = '{[1,3)}', last_time = last_time + interval '100 ms' where gateway = 'line4'";
    cloud.database.sql(entered)?;
    cloud.host(told(2))?;
    let latest = "select quality, value, (extract(epoch from time) * 1000)::bigint - 1700000000000 from tidegate.latest \
                  where gateway = 'line4'";
    assert_eq!(cloud.database.sql(latest)?, ["good|2|500"]);
    assert_eq!(cloud.database.sql("select count(*) from tidegate.samples where gateway <> 'line4'")?, ["1"]);
    Ok(())
}

/// The birth of a node of ours that has declared a gap last, so many milliseconds later.
fn declared(group: &str, device: &str, (from, to): (u64, u64), later: u64) -> Message {
    let text = format!(r#"{{"device":"{device}","group":"fast","from":{from},"to":{to},"reason":"too_old"}}"#);
    let gap = Metric {
        name: Some("Store/Gap".to_owned()),
        timestamp: Some(TIME + later),
        datatype: Some(DataType::String.code()),
        value: Some(MetricValue::String(text)),
        ..Metric::default()
    };
    let payload = Payload { timestamp: Some(TIME + later), metrics: vec![gap], seq: Some(0), ..Payload::default() };
    (format!("spBv1.0/{group}/NBIRTH/line3"), true, encode(&payload))
}

#[test]
fn what_lies_between_declared_gaps_is_no_hole_and_gaps_of_ever_new_devices_are_not_taken() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let cloud = Cloud::start(&peers)?;
    cloud.publish(vec![declared("plantA", "press", (5, 9), 0), declared("plantB", "press", (5, 9), 0)])?;
    assert_eq!(cloud.host(|seen| seen.gaps >= 2 && seen.rows >= 2)?.gaps, 2);
    cloud.publish(vec![declared("plantA", "press", (20, 29), 1)])?;
    cloud.host(|seen| seen.gaps >= 1 && seen.rows >= 1)?;
    let gaps = "select left(group_name, 11), array_agg(first_seq || '-' || last_seq order by first_seq) \
                from tidegate.gap join tidegate.stream on id = stream_id where device = 'press' group by group_name order by group_name";
    assert_eq!(cloud.database.sql(gaps)?, ["plantA_fast|{5-9,20-29}", "plantB_fast|{5-9}"]);
    assert_eq!(cloud.database.sql("select * from tidegate.hole")?, Vec::<String>::new());
    // The view would tell of one in any other stream.
    cloud
        .database
        .sql("update tidegate.stream set declared = '{[5,10),[20,30)}' where gateway = 'line3' and device = '_node'")?;
    assert_eq!(cloud.database.sql("select count(*) > 0 from tidegate.hole where device = '_node'")?, ["t"]);
    cloud.database.sql("update tidegate.stream set declared = '{}' where device = '_node'")?;

    let many = "insert into tidegate.stream (gateway, store, device, group_name) \
                select 'line3', '0000000000000002', 'd' || number, 'fast' from generate_series(1, 19998) as number";
    cloud.database.sql(many)?;
    cloud.publish(vec![declared("plantA", "press", (40, 41), 2), declared("plantB", "new", (1, 1), 2)])?;
    let seen = cloud.host(|seen| seen.gaps >= 1 && seen.rows >= 2)?;
    assert_eq!((seen.gaps, seen.rows), (1, 2), "the text is kept all the same");
    assert_eq!(cloud.database.sql("select count(*) from tidegate.gap")?, ["4"]);
    assert_eq!(cloud.database.sql("select unread from tidegate.edge_node where group_id = 'plantB'")?, ["1"]);
    Ok(())
}
