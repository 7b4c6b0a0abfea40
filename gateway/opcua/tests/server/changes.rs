//! Subscriptions.

use std::time::{Duration, Instant};

use opcua::types::{
    AttributeId, DataChangeFilter, DataChangeTrigger, DataValue, DeadbandType, ExtensionObject,
    MonitoredItemModifyRequest, MonitoringParameters, StatusCode, TimestampsToReturn, Variant,
};
use tidegate_driver_api::model::{Reason, Value};

use crate::{
    client::{anybody, is, wait_for},
    rig::{Rig, until},
};

fn none() -> ExtensionObject {
    ExtensionObject::null()
}

fn filter(trigger: DataChangeTrigger, kind: DeadbandType, value: f64) -> ExtensionObject {
    ExtensionObject::from_message(DataChangeFilter { trigger, deadband_type: kind as u32, deadband_value: value })
}

fn deadband(kind: DeadbandType, value: f64) -> ExtensionObject {
    filter(DataChangeTrigger::StatusValue, kind, value)
}

fn numbers(seen: &[DataValue]) -> Vec<f64> {
    seen.iter().filter_map(|value| value.value.as_ref()?.as_f64()).collect()
}

#[tokio::test]
async fn a_change_is_told_and_the_same_value_is_not() {
    let rig = Rig::start().await;
    let client = anybody(&rig).await;
    let seen = client.monitor("press.pressure", 0.0, 100, none()).await.unwrap();
    for value in [1.5, 2.5, 3.5] {
        rig.plant.set("press", "pressure", value);
        let told = wait_for(&seen, "a change", is(value)).await;
        assert_eq!(told.status.unwrap_or(StatusCode::Good), StatusCode::Good);
        assert!(told.source_timestamp.is_some() && told.server_timestamp.is_some());
    }
    assert_eq!(numbers(&seen.lock().unwrap()), [99.5, 1.5, 2.5, 3.5]);
    let status = rig.status();
    assert_eq!((status.sessions, status.subscriptions, status.monitored_items), (1, 1, 1));
    client.session.disconnect().await.unwrap();
    until("the end", || {
        let now = rig.status();
        ((now.sessions, now.subscriptions, now.monitored_items) == (0, 0, 0)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn another_quality_of_the_same_value_is_told_with_every_filter_that_wants_it() {
    let rig = Rig::start().await;
    let client = anybody(&rig).await;
    let plain = client.monitor("press.axis.x", 0.0, 100, none()).await.unwrap();
    let filtered = client.monitor("press.axis.x", 0.0, 100, deadband(DeadbandType::None, 0.0)).await.unwrap();
    for (reason, status) in [
        (Reason::Timeout, StatusCode::BadTimeout),
        (Reason::DeviceFault, StatusCode::BadDeviceFailure),
        (Reason::Timeout, StatusCode::BadTimeout),
    ] {
        let told = [&plain, &filtered].map(|seen| seen.lock().unwrap().len());
        rig.plant.put("press", "axis.x", Err(reason));
        for (seen, told) in [&plain, &filtered].into_iter().zip(told) {
            until("another reason", || seen.lock().unwrap()[told..].iter().find(|v| v.status == Some(status)).cloned())
                .await;
        }
    }
    rig.plant.put("press", "axis.x", Ok(Value::F64(1.0)));
    for seen in [&plain, &filtered] {
        until("the value again", || is(1.0)(seen.lock().unwrap().last()?).then_some(())).await;
    }
}

#[tokio::test]
async fn a_deadband_keeps_small_changes_back() {
    let rig = Rig::start().await;
    let client = anybody(&rig).await;
    rig.plant.set("press", "pressure", 100.0);
    let all = client.monitor("press.pressure", 0.0, 100, none()).await.unwrap();
    wait_for(&all, "the first value", is(100.0)).await;
    let absolute = client.monitor("press.pressure", 0.0, 100, deadband(DeadbandType::Absolute, 5.0)).await.unwrap();
    // Ten percent of 0 to 200 bar.
    let percent = client.monitor("press.pressure", 0.0, 100, deadband(DeadbandType::Percent, 10.0)).await.unwrap();
    for value in [104.0, 106.0, 119.0, 121.0] {
        rig.plant.set("press", "pressure", value);
        wait_for(&all, "a change", is(value)).await;
    }
    wait_for(&absolute, "a change by 13", is(119.0)).await;
    wait_for(&percent, "a change by 21", is(121.0)).await;
    assert_eq!(numbers(&absolute.lock().unwrap()), [100.0, 106.0, 119.0]);
    assert_eq!(numbers(&percent.lock().unwrap()), [100.0, 121.0]);
    let refused = client.monitor("press.axis.x", 0.0, 1, deadband(DeadbandType::Percent, 10.0)).await;
    assert_eq!(refused.err(), Some(StatusCode::BadDeadbandFilterInvalid));
}

#[tokio::test]
async fn a_client_that_wants_times_gets_the_same_value_with_each() {
    let rig = Rig::start().await;
    let client = anybody(&rig).await;
    let times = filter(DataChangeTrigger::StatusValueTimestamp, DeadbandType::None, 0.0);
    let seen = client.monitor("press.pressure", 0.0, 100, times).await.unwrap();
    let enough = until("five times", || {
        let seen = seen.lock().unwrap();
        (seen.len() >= 5).then(|| seen.clone())
    })
    .await;
    assert!(enough.windows(2).all(|pair| pair[0].source_timestamp < pair[1].source_timestamp), "{enough:?}");
    assert!(enough.iter().all(is(99.5)));
}

#[tokio::test]
async fn a_value_never_has_the_time_of_another() {
    let rig = Rig::start().await;
    let client = anybody(&rig).await;
    // The interval of the subscription, and one that is longer than the changes are apart.
    for sampling in [-1.0, 150.0] {
        let begin = Instant::now();
        let seen = client.monitor("press.pressure", sampling, 100, none()).await.unwrap();
        for value in 1..=8 {
            rig.plant.set("press", "pressure", f64::from(value) + sampling);
            let group = rig.gateway.handle().catalog()[0].groups[0].clone();
            let before = group.version();
            until("two rows", || (group.version() > before + 1).then_some(())).await;
        }
        wait_for(&seen, "the last value", is(8.0 + sampling)).await;
        let took = begin.elapsed();
        let seen = seen.lock().unwrap().clone();
        let times: Vec<i64> = seen.iter().filter_map(|value| Some(value.source_timestamp.as_ref()?.ticks())).collect();
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{seen:?}");
        for value in &seen {
            let Some(time) = &value.source_timestamp else { continue };
            assert_eq!(time.ticks() % 10_000, 0, "a row has milliseconds: {value:?}");
            assert!(time.ticks() <= value.server_timestamp.as_ref().unwrap().ticks(), "{value:?}");
        }
        if sampling > 0.0 {
            assert_eq!(times.len(), seen.len(), "each has its time: {seen:?}");
            // A value that a busy machine tells late makes the next one no later; but there are no more of them. The first one is
            // that of the moment at which the item was made.
            let intervals = u32::try_from(seen.len() - 2).unwrap();
            assert!(took >= Duration::from_millis(150) * intervals, "{took:?}, no sooner than asked for: {seen:?}");
        }
    }
}

#[tokio::test]
async fn an_item_goes_on_when_its_parameters_change() {
    let rig = Rig::start().await;
    let client = anybody(&rig).await;
    let seen = client.monitor("press.pressure", 0.0, 100, none()).await.unwrap();
    wait_for(&seen, "the first value", is(99.5)).await;
    let (subscription, item) =
        client.session.subscription_state().lock().subscription_ids().map_or((0, 0), |ids| (ids[0], 1));
    let change = MonitoredItemModifyRequest {
        monitored_item_id: item,
        requested_parameters: MonitoringParameters {
            client_handle: 7,
            sampling_interval: 60_000.0,
            filter: none(),
            queue_size: 10,
            discard_oldest: true,
        },
    };
    let changed =
        client.session.modify_monitored_items(subscription, TimestampsToReturn::Both, &[change]).await.unwrap();
    assert_eq!(changed[0].status_code, StatusCode::Good);
    rig.plant.set("press", "pressure", 5.0);
    wait_for(&seen, "one more value", is(5.0)).await;
}

#[tokio::test]
async fn other_attributes_can_be_monitored_and_do_not_change() {
    let rig = Rig::start().await;
    let client = anybody(&rig).await;
    let name = client.attribute(&client.node("press").await, AttributeId::BrowseName).await;
    assert!(matches!(name.value, Some(Variant::QualifiedName(_))));
    assert_eq!(client.monitor("press", 0.0, 1, none()).await.err(), Some(StatusCode::BadAttributeIdInvalid));
    assert_eq!(client.monitor("press.reset", 0.0, 1, none()).await.err(), Some(StatusCode::BadNotReadable));
    assert_eq!(client.monitor("none", 0.0, 1, none()).await.err(), Some(StatusCode::BadNodeIdUnknown));
    let text = client.monitor("press.program#ValueAsText", 0.0, 10, none()).await.unwrap();
    rig.plant.set("press", "program", 10.0);
    wait_for(&text, "the other text", |value| format!("{value:?}").contains("small")).await;
}
