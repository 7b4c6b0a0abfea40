//! When values are fetched late, by another session, or not at all.

use std::time::Duration;

use opcua::{
    client::{
        IdentityToken, UARequest,
        services::{
            CreateMonitoredItems, CreateSubscription, DeleteMonitoredItems, Publish, SetMonitoringMode,
            TransferSubscriptions,
        },
    },
    crypto::SecurityPolicy,
    types::{
        AttributeId, DataChangeNotification, DataValue, ExtensionObject, MonitoredItemCreateRequest,
        MonitoredItemNotification, MonitoringMode, MonitoringParameters, StatusCode, TimestampsToReturn, Variant,
    },
};
use tidegate_config::OpcUaServer;
use tidegate_driver_api::model::{Reason, Value};

use crate::{
    client::{Connected, connect, is, plain_client},
    rig::{LONG, Rig, presses, until, users},
};

async fn hand(rig: &Rig) -> Connected {
    let mut client = plain_client(&rig.folder.path().join("client"));
    let token = IdentityToken::new_user_name("hand", "hand word".to_owned());
    connect(&mut client, rig, SecurityPolicy::None, token).await.unwrap()
}

async fn rig() -> Rig {
    Rig::start_with(&presses(&["press"]), OpcUaServer { users: users(), ..OpcUaServer::on_loopback(0) }).await
}

/// A subscription from which nothing is fetched but by `fetch`: the client's own tasks do not know of it.
async fn subscription(client: &Connected, every_ms: u64) -> u32 {
    let every = Duration::from_millis(every_ms);
    let request = CreateSubscription::new(&client.session).publishing_interval(every).publishing_enabled(true);
    let request = request.max_lifetime_count(1000).max_keep_alive_count(100);
    request.send(client.session.channel()).await.unwrap().subscription_id
}

/// Monitors tags; the client handle of each is its place in the list, from 1 on. Returns the numbers of the items.
async fn monitor(client: &Connected, subscription: u32, items: &[(&str, u32, MonitoringMode)]) -> Vec<u32> {
    let mut requests = Vec::new();
    for (handle, (name, queue_size, mode)) in (1..).zip(items) {
        requests.push(MonitoredItemCreateRequest {
            item_to_monitor: client.node(name).await.into(),
            monitoring_mode: *mode,
            requested_parameters: MonitoringParameters {
                client_handle: handle,
                sampling_interval: 0.0,
                filter: ExtensionObject::null(),
                queue_size: *queue_size,
                discard_oldest: true,
            },
        });
    }
    let request =
        CreateMonitoredItems::new(subscription, &client.session).timestamps_to_return(TimestampsToReturn::Both);
    let made = request.items_to_create(requests).send(client.session.channel()).await.unwrap();
    made.results.iter().map(|made| made.result.monitored_item_id).collect()
}

/// What the next fetches bring, until `enough`.
async fn fetch(
    client: &Connected,
    what: &str,
    enough: impl Fn(&[MonitoredItemNotification]) -> bool,
) -> Vec<MonitoredItemNotification> {
    let mut seen = Vec::new();
    let fetching = async {
        while !enough(&seen) {
            let answer = Publish::new(&client.session).send(client.session.channel()).await.unwrap();
            for part in answer.notification_message.notification_data.into_iter().flatten() {
                let Some(changes) = part.inner_as::<DataChangeNotification>() else { continue };
                seen.extend(changes.monitored_items.clone().into_iter().flatten());
            }
        }
        seen
    };
    tokio::time::timeout(LONG, fetching).await.unwrap_or_else(|_| panic!("{what} did not come"))
}

fn overflow(value: &DataValue) -> bool {
    value.status.is_some_and(|status| status.overflow())
}

/// Lets a tag be so and waits until the gateway has read it twice.
async fn set(rig: &Rig, tag: &str, value: Result<Value, Reason>) {
    rig.plant.put("press", tag, value);
    let group = rig.gateway.handle().catalog()[0].groups[0].clone();
    let before = group.version();
    until("two rows", || (group.version() > before + 1).then_some(())).await;
}

#[tokio::test]
async fn a_queue_of_one_keeps_the_newest_and_never_says_that_it_ran_over() {
    let rig = rig().await;
    let client = hand(&rig).await;
    let id = subscription(&client, 300).await;
    monitor(
        &client,
        id,
        &[("press.pressure", 1, MonitoringMode::Reporting), ("press.pressure", 3, MonitoringMode::Reporting)],
    )
    .await;
    for value in 1..=30 {
        set(&rig, "pressure", Ok(Value::F64(f64::from(value)))).await;
    }
    let last = |handle| {
        move |seen: &[MonitoredItemNotification]| seen.iter().any(|n| n.client_handle == handle && is(30.0)(&n.value))
    };
    let seen = fetch(&client, "the last value", |seen| last(1)(seen) && last(2)(seen)).await;
    let of = |handle| seen.iter().filter(move |seen| seen.client_handle == handle).map(|seen| &seen.value);
    assert!(of(1).all(|value| !overflow(value)), "{seen:?}");
    let numbers: Vec<f64> = of(1).filter_map(|value| value.value.as_ref()?.as_f64()).skip(1).collect();
    assert!(numbers.is_sorted() && numbers.len() < 20, "only what is fetched: {numbers:?}");
    assert!(of(2).any(overflow), "the other one did run over: {seen:?}");
    assert!(rig.status().overflows > 0);
}

#[tokio::test]
async fn a_new_quality_of_the_same_value_comes_through_a_queue_of_one() {
    let rig = rig().await;
    let client = hand(&rig).await;
    let id = subscription(&client, 50).await;
    monitor(&client, id, &[("press.pressure", 1, MonitoringMode::Reporting)]).await;
    set(&rig, "pressure", Ok(Value::F64(250.0))).await;
    fetch(&client, "a value", |seen| seen.iter().any(|n| is(250.0)(&n.value))).await;
    for (value, status) in [(Ok(Value::F64(5.0)), StatusCode::Good), (Err(Reason::Timeout), StatusCode::BadTimeout)] {
        set(&rig, "pressure", value).await;
        let seen =
            fetch(&client, "a value", |seen| seen.iter().any(|n| n.value.status.unwrap_or(StatusCode::Good) == status))
                .await;
        assert!(seen.iter().all(|n| !overflow(&n.value)), "{seen:?}");
    }
}

#[tokio::test]
async fn items_go_on_over_the_session_that_has_taken_them() {
    let rig = rig().await;
    let first = hand(&rig).await;
    let id = subscription(&first, 50).await;
    let modes = [MonitoringMode::Reporting, MonitoringMode::Disabled, MonitoringMode::Reporting];
    let tags = ["press.pressure", "press.axis.x", "press.program#ValueAsText"];
    let items = [0, 1, 2].map(|at| (tags[at], 10, modes[at]));
    let numbers = monitor(&first, id, &items).await;
    // Gone without a word; values go on changing.
    drop(first);
    set(&rig, "pressure", Ok(Value::F64(11.0))).await;
    let second = hand(&rig).await;
    // The client's own method would let its tasks fetch as well.
    let taking = TransferSubscriptions::new(&second.session).subscription_ids(vec![id]);
    let taken = taking.send(second.session.channel()).await.unwrap().results.unwrap();
    assert_eq!(taken[0].status_code, StatusCode::Good);
    let has = |handle, wanted: f64| {
        move |seen: &[MonitoredItemNotification]| seen.iter().any(|n| n.client_handle == handle && is(wanted)(&n.value))
    };
    fetch(&second, "what changed meanwhile", has(1, 11.0)).await;
    set(&rig, "pressure", Ok(Value::F64(12.0))).await;
    set(&rig, "axis.x", Ok(Value::F64(7.0))).await;
    let seen = fetch(&second, "a change", has(1, 12.0)).await;
    assert!(seen.iter().all(|seen| seen.client_handle != 2), "one that is disabled says nothing: {seen:?}");
    let on = SetMonitoringMode::new(id, MonitoringMode::Reporting, &second.session).item(numbers[1]);
    on.send(second.session.channel()).await.unwrap();
    fetch(&second, "what was disabled", has(2, 7.0)).await;
    rig.plant.set("press", "program", 10.0);
    let small = |seen: &[MonitoredItemNotification]| {
        seen.iter()
            .any(|n| matches!(&n.value.value, Some(Variant::LocalizedText(text)) if text.text.as_ref() == "small"))
    };
    fetch(&second, "a text", small).await;
    let status = rig.status();
    assert_eq!((status.sessions, status.subscriptions, status.monitored_items), (1, 1, 3));
    let gone = DeleteMonitoredItems::new(id, &second.session).items_to_delete(numbers[..2].to_vec());
    gone.send(second.session.channel()).await.unwrap();
    assert_eq!(rig.status().monitored_items, 1);
    assert!(status.monitored_items_high == 3 && status.subscriptions_high == 1, "{status:?}");
    assert_eq!(second.attribute(&second.node("press.axis.x").await, AttributeId::Value).await.value, Some(7.0.into()));
}
