//! History.

use opcua::{
    client::HistoryReadAction,
    types::{
        ByteString, DataValue, DateTime, HistoryData, HistoryReadValueId, ReadRawModifiedDetails, StatusCode,
        TimestampsToReturn,
    },
};

use crate::{
    client::{Connected, anybody},
    rig::{Rig, until},
};

/// All pages of what a client asks for, at most so many values a page.
async fn read(client: &Connected, name: &str, start: DateTime, end: DateTime, at_once: u32) -> Vec<DataValue> {
    let node_id = client.node(name).await;
    let mut found = Vec::new();
    let mut point = ByteString::null();
    loop {
        let details = ReadRawModifiedDetails {
            is_read_modified: false,
            start_time: start,
            end_time: end,
            num_values_per_node: at_once,
            return_bounds: false,
        };
        let node =
            HistoryReadValueId { node_id: node_id.clone(), continuation_point: point, ..HistoryReadValueId::default() };
        let action = HistoryReadAction::ReadRawModifiedDetails(details);
        let mut answer = client.session.history_read(action, TimestampsToReturn::Both, false, &[node]).await.unwrap();
        let answer = answer.remove(0);
        assert!(answer.status_code.is_good(), "{:?}", answer.status_code);
        let values = answer.history_data.inner_as::<HistoryData>().unwrap().data_values.clone().unwrap_or_default();
        found.extend(values);
        point = answer.continuation_point;
        if point.is_null_or_empty() {
            return found;
        }
    }
}

#[tokio::test]
async fn history_comes_out_of_the_store_in_both_directions() {
    let rig = Rig::start().await;
    let client = anybody(&rig).await;
    let start = DateTime::now();
    let group = rig.gateway.handle().catalog()[0].groups[0].clone();
    for value in 0..60 {
        rig.plant.set("press", "pressure", f64::from(value));
        let before = group.version();
        until("a row", || (group.version() > before).then_some(())).await;
    }
    let end = DateTime::now();
    let number = |value: &DataValue| value.value.as_ref().and_then(|value| value.as_f64()).unwrap();
    // What came up to the end is on the disk once something later is.
    let no_time = DateTime::null();
    while read(&client, "press.pressure", no_time, no_time, 1).await[0].source_timestamp <= Some(end) {}
    let forward = read(&client, "press.pressure", start, end, 0).await;
    let times: Vec<i64> = forward.iter().map(|value| value.source_timestamp.as_ref().unwrap().ticks()).collect();
    assert!(times.is_sorted(), "{times:?}");
    assert!(times.iter().all(|time| (start.ticks() - 10_000..=end.ticks()).contains(time)));
    let mut seen: Vec<f64> = forward.iter().map(number).collect();
    seen.dedup();
    assert!(seen.windows(2).all(|pair| pair[1] == pair[0] + 1.0 || pair[0] == 99.5), "{seen:?}");

    // Where it begins is included and where it ends is not, in either direction.
    let within = |value: &DataValue| value.source_timestamp.is_some_and(|time| time > start && time < end);
    let mut backward = read(&client, "press.pressure", end, start, 0).await;
    backward.reverse();
    let [between, back] = [&forward, &backward].map(|values| values.iter().filter(|value| within(value)).count());
    assert_eq!(between, back);
    assert!(forward.iter().map(number).any(|value| value == 58.0), "{} rows", forward.len());
    // So many at once, from either end, with the point of the other end left out.
    let first = read_some(&client, "press.pressure", start, no_time, 7).await;
    assert_eq!(first[..], forward[..7]);
    let last = read_some(&client, "press.pressure", no_time, end, 7).await;
    assert_eq!(last.len(), 7);
    assert!(last.windows(2).all(|pair| pair[0].source_timestamp > pair[1].source_timestamp));
    // Without any time, the newest.
    let newest = read_some(&client, "press.pressure", no_time, no_time, 3).await;
    assert!(newest[0].source_timestamp >= last[0].source_timestamp);
    assert!(newest.windows(2).all(|pair| pair[0].source_timestamp > pair[1].source_timestamp));
}

async fn read_some(client: &Connected, name: &str, start: DateTime, end: DateTime, count: u32) -> Vec<DataValue> {
    let mut values = read(client, name, start, end, count).await;
    assert_eq!(values.len(), count as usize);
    values.truncate(count as usize);
    values
}

#[tokio::test]
async fn what_has_no_history_says_so() {
    let rig = Rig::start().await;
    let client = anybody(&rig).await;
    let details = |start, end| ReadRawModifiedDetails {
        is_read_modified: false,
        start_time: start,
        end_time: end,
        num_values_per_node: 0,
        return_bounds: false,
    };
    let status = |name: &'static str, details: ReadRawModifiedDetails| {
        let client = &client;
        async move {
            let node = HistoryReadValueId { node_id: client.node(name).await, ..HistoryReadValueId::default() };
            let action = HistoryReadAction::ReadRawModifiedDetails(details);
            client
                .session
                .history_read(action, TimestampsToReturn::Both, false, &[node])
                .await
                .unwrap()
                .remove(0)
                .status_code
        }
    };
    let (now, null) = (DateTime::now(), DateTime::null());
    let long_ago = DateTime::from(now.ticks() - 36_000_000_000);
    let hour_before = DateTime::from(now.ticks() - 72_000_000_000);
    assert_eq!(status("press.pressure", details(hour_before, long_ago)).await, StatusCode::GoodNoData);
    assert_eq!(status("press.pressure", details(null, null)).await, StatusCode::BadInvalidTimestampArgument);
    assert_eq!(status("press.none", details(long_ago, now)).await, StatusCode::BadNodeIdUnknown);
    assert_eq!(status("press.reset", details(long_ago, now)).await, StatusCode::BadHistoryOperationUnsupported);
    assert_eq!(status("press", details(long_ago, now)).await, StatusCode::BadHistoryOperationUnsupported);
}
