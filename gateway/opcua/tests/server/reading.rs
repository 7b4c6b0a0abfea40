//! Values, qualities, times; devices that come and go.

use opcua::types::{AttributeId, DateTime, StatusCode, Variant};
use tidegate_config::OpcUaServer;
use tidegate_driver_api::model::Reason;

use crate::{
    client::{anybody, is, wait_for},
    rig::{Rig, presses, until},
};
use opcua::types::ExtensionObject;

#[tokio::test]
async fn a_value_comes_with_its_quality_and_both_times() {
    let rig = Rig::start().await;
    let client = anybody(&rig).await;
    let before = DateTime::now();
    let good = client.value("press.pressure").await;
    assert_eq!((good.value, good.status), (Some(Variant::Double(99.5)), Some(StatusCode::Good)));
    let (source, server) = (good.source_timestamp.unwrap(), good.server_timestamp.unwrap());
    assert!(server.ticks() >= before.ticks());
    let age = server.ticks() - source.ticks();
    assert!((0..20 * 10_000_000).contains(&age), "{source} {server}");

    rig.plant.set("press", "pressure", 250.0);
    rig.plant.put("press", "axis.x", Err(Reason::DeviceFault));
    let group = rig.gateway.handle().catalog()[0].groups[0].clone();
    let before = group.version();
    until("two rows", || (group.version() > before + 1).then_some(())).await;
    let doubtful = client.value("press.pressure").await;
    assert_eq!(doubtful.value, Some(Variant::Double(250.0)));
    assert_eq!(doubtful.status, Some(StatusCode::UncertainEngineeringUnitsExceeded));
    let bad = client.value("press.axis.x").await;
    assert_eq!((bad.value, bad.status), (None, Some(StatusCode::BadDeviceFailure)));
    let written_only = client.value("press.reset").await;
    assert_eq!(written_only.status, Some(StatusCode::BadNotReadable));
}

#[tokio::test]
async fn what_a_user_may_do_with_a_tag_is_said() {
    let rig = Rig::start().await;
    let client = anybody(&rig).await;
    for (tag, level, user) in [("pressure", 1 | 4, 1 | 4), ("setpoint", 1 | 2 | 4, 1 | 4), ("reset", 2, 0)] {
        let node = client.node(&format!("press.{tag}")).await;
        let read = [AttributeId::AccessLevel, AttributeId::UserAccessLevel];
        for (attribute, expected) in read.into_iter().zip([level, user]) {
            let found = client.attribute(&node, attribute).await;
            assert_eq!(found.value, Some(Variant::Byte(expected)), "{tag} {attribute:?}");
        }
    }
}

#[tokio::test]
async fn a_device_that_goes_is_told_and_keeps_its_nodes_when_it_comes_back() {
    let mut rig = Rig::start_with(&presses(&["saw", "press"]), OpcUaServer::on_loopback(0)).await;
    let client = anybody(&rig).await;
    let seen = client.monitor("press.pressure", 0.0, 10, ExtensionObject::null()).await.unwrap();
    wait_for(&seen, "the first value", is(99.5)).await;
    rig.reload(&presses(&["saw"])).await;
    wait_for(&seen, "that it is gone", |value| value.status == Some(StatusCode::BadNodeIdUnknown)).await;
    assert_eq!(client.value("press.pressure").await.status, Some(StatusCode::BadNodeIdUnknown));
    rig.plant.set("press", "pressure", 12.5);
    rig.reload(&presses(&["press", "drill", "saw"])).await;
    wait_for(&seen, "the value of the device that is back", is(12.5)).await;
    assert_eq!(client.value("press.pressure").await.value, Some(Variant::Double(12.5)));
    assert_eq!(rig.status().monitored_items, 1);
}
