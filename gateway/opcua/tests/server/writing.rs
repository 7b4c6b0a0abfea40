//! Writes.

use opcua::{
    client::IdentityToken,
    crypto::SecurityPolicy,
    types::{AttributeId, DataValue, StatusCode, Variant, WriteValue},
};
use tidegate_config::OpcUaServer;
use tidegate_driver_api::model::{Reason, Value};

use crate::{
    client::{Connected, connect, plain_client},
    rig::{Rig, presses, users},
};

async fn rig() -> Rig {
    let options = OpcUaServer { users: users(), anonymous: true, ..OpcUaServer::on_loopback(0) };
    Rig::start_with(&presses(&["press", "saw"]), options).await
}

async fn user(rig: &Rig, name: &str) -> Connected {
    let mut client = plain_client(&rig.folder.path().join("client"));
    let token = IdentityToken::new_user_name(name, format!("{name} word"));
    connect(&mut client, rig, SecurityPolicy::None, token).await.unwrap()
}

#[tokio::test]
async fn a_write_of_an_operator_reaches_the_device() {
    let rig = rig().await;
    let hand = user(&rig, "hand").await;
    assert_eq!(hand.write("press.setpoint", 42.5).await, StatusCode::Good);
    assert_eq!(rig.plant.get("press", "setpoint"), Ok(Value::F64(42.5)));
    assert_eq!(hand.write("press.setpoint", 7_i32).await, StatusCode::Good);
    assert_eq!(rig.plant.get("press", "setpoint"), Ok(Value::F64(7.0)));
    assert_eq!(hand.write("press.reset", true).await, StatusCode::BadTypeMismatch);
    assert_eq!(hand.write("press.reset", 1.0).await, StatusCode::Good);
    // An enumeration by its number, and by its text.
    assert_eq!(hand.write("press.mode", 2_u32).await, StatusCode::Good);
    assert_eq!(rig.plant.get("press", "mode"), Ok(Value::F64(2.0)));
    assert_eq!(hand.write("press.mode", "setting up").await, StatusCode::Good);
    assert_eq!(rig.plant.get("press", "mode"), Ok(Value::F64(1.0)));
    assert_eq!(hand.write("press.mode", 3_u32).await, StatusCode::BadOutOfRange);
}

#[tokio::test]
async fn what_is_refused_is_told_by_a_fitting_status() {
    let rig = rig().await;
    let hand = user(&rig, "hand").await;
    assert_eq!(hand.write("press.setpoint", 100.5).await, StatusCode::BadOutOfRange);
    assert_eq!(hand.write("press.setpoint", f64::NAN).await, StatusCode::BadOutOfRange);
    assert_eq!(hand.write("press.setpoint", "much").await, StatusCode::BadTypeMismatch);
    assert_eq!(hand.write("press.setpoint", Variant::Empty).await, StatusCode::BadTypeMismatch);
    assert_eq!(hand.write("press.pressure", 1.0).await, StatusCode::BadNotWritable);
    assert_eq!(hand.write("press.pressure#EURange", 1.0).await, StatusCode::BadNotWritable);
    assert_eq!(hand.write("press.none", 1.0).await, StatusCode::BadNodeIdUnknown);
    rig.plant.put("press", "setpoint", Err(Reason::DeviceFault));
    assert_eq!(hand.write("press.setpoint", 1.0).await, StatusCode::BadDeviceFailure);
    assert_eq!(rig.plant.get("saw", "setpoint"), Ok(Value::F64(1.0)));
}

#[tokio::test]
async fn whoever_may_only_look_writes_nothing() {
    let rig = rig().await;
    let eye = user(&rig, "eye").await;
    assert_eq!(eye.write("press.setpoint", 42.5).await, StatusCode::BadUserAccessDenied);
    let mut client = plain_client(&rig.folder.path().join("client"));
    let anonymous = connect(&mut client, &rig, SecurityPolicy::None, IdentityToken::Anonymous).await.unwrap();
    assert_eq!(anonymous.write("press.setpoint", 42.5).await, StatusCode::BadUserAccessDenied);
    assert_eq!(rig.plant.get("press", "setpoint"), Ok(Value::F64(1.0)));
    let hand = user(&rig, "hand").await;
    let level = hand.attribute(&hand.node("press.setpoint").await, AttributeId::UserAccessLevel).await;
    assert_eq!(level.value, Some(Variant::Byte(1 | 2 | 4)));
}

#[tokio::test]
async fn each_value_of_a_call_is_judged_by_itself() {
    let rig = rig().await;
    let hand = user(&rig, "hand").await;
    let mut writes = Vec::new();
    for (name, value) in [
        ("press.setpoint", 500.0),
        ("press.reset", 3.0),
        ("saw.setpoint", 4.0),
        ("press.pressure", 5.0),
        ("saw.setpoint", 6.0),
    ] {
        writes.push(WriteValue {
            node_id: hand.node(name).await,
            attribute_id: AttributeId::Value as u32,
            value: DataValue::new_now(value),
            ..WriteValue::default()
        });
    }
    let good = StatusCode::Good;
    let expected = [StatusCode::BadOutOfRange, good, good, StatusCode::BadNotWritable, good];
    assert_eq!(hand.session.write(&writes).await.unwrap(), expected);
    assert_eq!(rig.plant.get("press", "reset"), Ok(Value::F64(3.0)));
    assert_eq!(rig.plant.get("saw", "setpoint"), Ok(Value::F64(6.0)));
    assert_eq!(rig.plant.get("press", "setpoint"), Ok(Value::F64(1.0)));
}
