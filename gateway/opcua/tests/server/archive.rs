//! History of many tags, of lost rows, and values made of it.

use std::collections::BTreeSet;

use opcua::{
    client::HistoryReadAction,
    types::{
        AggregateConfiguration, ByteString, DataValue, DateTime, HistoryData, HistoryReadResult, HistoryReadValueId,
        NodeId, ObjectId, ReadProcessedDetails, ReadRawModifiedDetails, StatusCode, TimestampsToReturn, Variant,
    },
};
use sqlx::{ConnectOptions, Connection, sqlite::SqliteConnectOptions};
use tidegate_config::{ByteSize, OpcUaServer};

use crate::{
    client::{Connected, anybody},
    rig::{LONG, Rig, presses, until},
};

const SECOND: i64 = 10_000_000;

fn details(start: DateTime, end: DateTime) -> ReadRawModifiedDetails {
    ReadRawModifiedDetails {
        is_read_modified: false,
        start_time: start,
        end_time: end,
        num_values_per_node: 0,
        return_bounds: false,
    }
}

async fn ask(
    client: &Connected,
    action: HistoryReadAction,
    nodes: &[(NodeId, ByteString)],
    release: bool,
) -> Result<Vec<HistoryReadResult>, StatusCode> {
    let node = |(id, point): &(NodeId, ByteString)| HistoryReadValueId {
        node_id: id.clone(),
        continuation_point: point.clone(),
        ..HistoryReadValueId::default()
    };
    let nodes: Vec<HistoryReadValueId> = nodes.iter().map(node).collect();
    client.session.history_read(action, TimestampsToReturn::Both, release, &nodes).await.map_err(|error| error.status())
}

fn values(result: &HistoryReadResult) -> Vec<DataValue> {
    let data = result.history_data.inner_as::<HistoryData>();
    data.and_then(|data| data.data_values.clone()).unwrap_or_default()
}

/// A rig with so many rows of the fast group on the disk, and the time before and behind them.
async fn with_rows(options: OpcUaServer, rows: u64) -> (Rig, DateTime, DateTime) {
    let rig = Rig::start_with(&presses(&["press"]), options).await;
    let start = DateTime::now();
    let group = rig.gateway.handle().catalog()[0].groups[0].clone();
    let before = group.version();
    for row in 0..rows {
        rig.plant.set("press", "pressure", 1.0 + f64::from(u32::try_from(row).unwrap()));
        until("a row", || (group.version() > before + row).then_some(())).await;
    }
    let end = DateTime::now();
    // What came up to the end is on the disk once something later is.
    let client = anybody(&rig).await;
    let node = [(client.node("press.pressure").await, ByteString::null())];
    let newest = || ReadRawModifiedDetails { num_values_per_node: 1, ..details(DateTime::null(), DateTime::null()) };
    let on_disk = async {
        loop {
            let action = HistoryReadAction::ReadRawModifiedDetails(newest());
            let found = values(&ask(&client, action, &node, false).await.unwrap()[0]);
            if found.iter().any(|value| value.source_timestamp > Some(end)) {
                break;
            }
        }
    };
    tokio::time::timeout(LONG, on_disk).await.expect("rows on the disk");
    client.session.disconnect().await.unwrap();
    (rig, start, end)
}

#[tokio::test]
async fn the_history_of_a_hundred_tags_comes_in_answers_that_fit() {
    let smallest = OpcUaServer { max_message_size: ByteSize(64 << 10), ..OpcUaServer::on_loopback(0) };
    let (rig, start, end) = with_rows(smallest, 40).await;
    let client = anybody(&rig).await;
    let (pressure, axis) = (client.node("press.pressure").await, client.node("press.axis.x").await);
    let nodes: Vec<NodeId> = [pressure, axis].into_iter().cycle().take(100).collect();
    let mut open: Vec<(usize, ByteString)> = (0..nodes.len()).map(|at| (at, ByteString::null())).collect();
    let mut found = vec![Vec::new(); nodes.len()];
    let mut answers = 0;
    while !open.is_empty() {
        let asked: Vec<_> = open.iter().map(|(at, point)| (nodes[*at].clone(), point.clone())).collect();
        let action = HistoryReadAction::ReadRawModifiedDetails(details(start, end));
        let results = ask(&client, action, &asked, false).await.expect("an answer that fits");
        answers += 1;
        let mut next = Vec::new();
        for ((at, _), result) in open.iter().zip(results) {
            assert!(result.status_code.is_good(), "{:?}", result.status_code);
            found[*at].extend(values(&result));
            if !result.continuation_point.is_null_or_empty() {
                next.push((*at, result.continuation_point));
            }
        }
        open = next;
    }
    assert!(answers > 1, "all of it is more than one message holds");
    let times = |values: &[DataValue]| -> Vec<i64> {
        values.iter().map(|value| value.source_timestamp.as_ref().unwrap().ticks()).collect()
    };
    let first = times(&found[0]);
    assert!(first.len() >= 38 && first.windows(2).all(|pair| pair[0] < pair[1]), "{first:?}");
    for other in &found {
        assert_eq!(times(other), first, "each has every row once");
    }
}

#[tokio::test]
async fn where_an_answer_ends_can_be_forgotten_and_is_not_kept_for_ever() {
    let smallest = OpcUaServer { max_message_size: ByteSize(64 << 10), ..OpcUaServer::on_loopback(0) };
    let (rig, start, end) = with_rows(smallest, 40).await;
    let client = anybody(&rig).await;
    let nodes = vec![(client.node("press.pressure").await, ByteString::null()); 100];
    let action = || HistoryReadAction::ReadRawModifiedDetails(details(start, end));
    let points: Vec<_> = ask(&client, action(), &nodes, false).await.unwrap();
    let points: Vec<_> = points.into_iter().map(|result| (nodes[0].0.clone(), result.continuation_point)).collect();
    let points: Vec<_> = points.into_iter().filter(|(_, point)| !point.is_null_or_empty()).collect();
    assert!(points.len() > 50);
    let released = ask(&client, action(), &points, true).await.unwrap();
    assert!(released.iter().all(|result| result.status_code.is_good() && values(result).is_empty()));
    let again = ask(&client, action(), &points, false).await.unwrap();
    assert!(again.iter().all(|result| result.status_code == StatusCode::BadContinuationPointInvalid));
    // Whoever never comes back for the rest is told when there are too many.
    let mut refused = 0;
    for _ in 0..15 {
        let results = ask(&client, action(), &nodes, false).await.unwrap();
        refused += results.iter().filter(|result| result.status_code == StatusCode::BadNoContinuationPoints).count();
    }
    assert!(refused > 0);
    assert!(client.value("press.pressure").await.value.is_some());
}

#[tokio::test]
async fn lost_rows_are_not_left_out_without_a_word() {
    let (rig, start, end) = with_rows(OpcUaServer::on_loopback(0), 60).await;
    let client = anybody(&rig).await;
    let nodes = [(client.node("press.pressure").await, ByteString::null())];
    let action = || HistoryReadAction::ReadRawModifiedDetails(details(start, end));
    let whole = ask(&client, action(), &nodes, false).await.unwrap().remove(0);
    assert_eq!(whole.status_code, StatusCode::Good);
    let file = rig.folder.path().join("data/store.db");
    let mut database = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    // Rows are in the log until they are moved into blocks, whenever that is.
    let damage = |log: String, bodies: &str| {
        let log = format!("UPDATE log SET body = CAST(x'00' || substr(body, 2) AS BLOB) WHERE {log}");
        format!("{log}; UPDATE body SET bytes = x'' WHERE {bodies}")
    };
    let millis = |time: &DateTime| (time.ticks() - 116_444_736_000_000_000) / 10_000;
    let middle = i64::midpoint(millis(&start), millis(&end));
    let first = damage(
        format!("time_max >= {} AND time_min < {middle}", millis(&start)),
        "id IN (SELECT id FROM body ORDER BY id LIMIT (SELECT (count(*) + 1) / 2 FROM body))",
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(first)).execute(&mut database).await.unwrap();
    let part = ask(&client, action(), &nodes, false).await.unwrap().remove(0);
    let worth = if values(&part).is_empty() { StatusCode::BadDataLost } else { StatusCode::UncertainDataSubNormal };
    assert_eq!(part.status_code, worth);
    assert!(values(&part).len() < values(&whole).len());
    let all = damage("true".to_owned(), "true");
    sqlx::raw_sql(sqlx::AssertSqlSafe(all)).execute(&mut database).await.unwrap();
    database.close().await.unwrap();
    let none = ask(&client, action(), &nodes, false).await.unwrap().remove(0);
    assert_eq!((none.status_code, values(&none).len()), (StatusCode::BadDataLost, 0));
}

/// What a client asks of aggregates.
fn processed(start: DateTime, end: DateTime, interval_ms: f64, aggregates: &[ObjectId]) -> HistoryReadAction {
    HistoryReadAction::ReadProcessedDetails(ReadProcessedDetails {
        start_time: start,
        end_time: end,
        processing_interval: interval_ms,
        aggregate_type: Some(aggregates.iter().map(|aggregate| NodeId::from(*aggregate)).collect()),
        aggregate_configuration: AggregateConfiguration {
            use_server_capabilities_defaults: true,
            ..AggregateConfiguration::default()
        },
    })
}

#[tokio::test]
async fn stretches_of_a_history_become_one_value_each() {
    let (rig, start, end) = with_rows(OpcUaServer::on_loopback(0), 60).await;
    let client = anybody(&rig).await;
    let node = (client.node("press.pressure").await, ByteString::null());
    let raw = HistoryReadAction::ReadRawModifiedDetails(details(start, end));
    let raw = values(&ask(&client, raw, std::slice::from_ref(&node), false).await.unwrap()[0]);
    let number = |value: &DataValue| value.value.as_ref().and_then(Variant::as_f64).unwrap();
    let all: Vec<f64> = raw.iter().map(number).collect();
    let aggregates = [
        ObjectId::AggregateFunction_Minimum,
        ObjectId::AggregateFunction_Maximum,
        ObjectId::AggregateFunction_Average,
        ObjectId::AggregateFunction_Count,
        ObjectId::AggregateFunction_Start,
        ObjectId::AggregateFunction_End,
    ];
    let nodes = vec![node.clone(); aggregates.len()];
    let results = ask(&client, processed(start, end, 0.0, &aggregates), &nodes, false).await.unwrap();
    let made: Vec<DataValue> = results.iter().map(|result| values(result).remove(0)).collect();
    let average = all.iter().sum::<f64>() / all.len() as f64;
    assert_eq!((number(&made[0]), number(&made[1])), (all[0], all[all.len() - 1]));
    assert!((number(&made[2]) - average).abs() < 1e-9, "{made:?}");
    assert_eq!(made[3].value, Some(Variant::Int32(i32::try_from(all.len()).unwrap())));
    assert_eq!((&made[4].value, &made[5].value), (&raw[0].value, &raw[raw.len() - 1].value));
    assert_eq!(
        (made[4].source_timestamp, made[5].source_timestamp),
        (raw[0].source_timestamp, raw[raw.len() - 1].source_timestamp)
    );
    assert!(made[..4].iter().all(|value| value.status.unwrap().is_good()), "{made:?}");

    // In both directions the stretches are the same, and together they have every row.
    for (from, to) in [(start, end), (end, start)] {
        let counted = processed(from, to, 200.0, &[ObjectId::AggregateFunction_Count]);
        let parts = values(&ask(&client, counted, std::slice::from_ref(&node), false).await.unwrap()[0]);
        let found: f64 = parts.iter().filter(|part| part.value.is_some()).map(number).sum();
        assert!((found - all.len() as f64).abs() <= 1.0, "{found} of {} rows", all.len());
        let begins: Vec<i64> = parts.iter().map(|part| part.source_timestamp.unwrap().ticks()).collect();
        let steps: BTreeSet<i64> = begins.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(steps.into_iter().collect::<Vec<_>>(), [if from == start { SECOND / 5 } else { -SECOND / 5 }]);
    }
    let long_ago = DateTime::from(start.ticks() - 100 * SECOND);
    let nothing = processed(long_ago, DateTime::from(long_ago.ticks() + SECOND), 0.0, &aggregates[..1]);
    let nothing = values(&ask(&client, nothing, std::slice::from_ref(&node), false).await.unwrap()[0]);
    assert!(nothing[0].value.is_none() && nothing[0].status.unwrap().is_bad());
    let unknown = processed(start, end, 0.0, &[ObjectId::AggregateFunction_Interpolative]);
    let unknown = ask(&client, unknown, &[node], false).await.unwrap().remove(0);
    assert_eq!(unknown.status_code, StatusCode::BadAggregateNotSupported);
}
