//! `/api/v1/devices`: the devices, their latest samples, and writing to them.

use axum::{
    Extension, Json,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value as Json_, json};
use tidegate_model::{Quality, Slot, Value};
use tidegate_runtime::{CommandError, Latest};

use crate::{Role, answer::problem, server::Shared};

/// `GET /api/v1/devices`: each device with its link, profile and state.
pub(crate) async fn list(State(shared): State<Shared>) -> impl IntoResponse {
    let mut devices = Vec::new();
    for link in shared.handle.status().links {
        for device in link.devices {
            devices.push(json!({
                "name": device.name, "link": link.name, "profile": device.profile, "state": device.state,
                "reason": device.reason, "since": device.since, "next_try": device.next_try,
            }));
        }
    }
    Json(devices)
}

/// `GET /api/v1/devices/{device}/values`: the latest sample of each tag.
pub(crate) async fn values(State(shared): State<Shared>, Path(device): Path<String>) -> Response {
    match shared.handle.latest(&device).await {
        Ok(samples) => {
            let values: Map<String, Json_> =
                samples.iter().map(|sample| (sample.tag.to_string(), sample_json(sample))).collect();
            Json(values).into_response()
        }
        Err(error) => refused(&error),
    }
}

/// `PUT /api/v1/devices/{device}/values`: writes tags, answers when the device has.
pub(crate) async fn write(
    State(shared): State<Shared>,
    Extension(role): Extension<Role>,
    Path(device): Path<String>,
    Json(values): Json<Map<String, Json_>>,
) -> Response {
    if role < Role::Operator {
        return problem(StatusCode::FORBIDDEN, "writing needs the role operator");
    }
    if values.is_empty() {
        return problem(StatusCode::BAD_REQUEST, "no tag is named; send an object such as {\"setpoint\": 42.0}");
    }
    match shared.handle.write(&device, &values, None).await {
        Ok(errors) if errors.is_empty() => Json(json!({ "ok": true })).into_response(),
        Ok(errors) => {
            let errors: Map<String, Json_> =
                errors.into_iter().map(|(tag, error)| (tag, Json_::String(error.to_string()))).collect();
            (StatusCode::CONFLICT, Json(json!({ "ok": false, "errors": errors }))).into_response()
        }
        Err(error) => refused(&error),
    }
}

fn refused(error: &CommandError) -> Response {
    let status = match error {
        CommandError::UnknownDevice(_) => StatusCode::NOT_FOUND,
        CommandError::Busy(_) | CommandError::Stopping(_) => StatusCode::SERVICE_UNAVAILABLE,
        CommandError::NoAnswer(_) => StatusCode::GATEWAY_TIMEOUT,
    };
    problem(status, &error.to_string())
}

fn sample_json(sample: &Latest) -> Json_ {
    let (quality, reason) = match sample.slot.quality() {
        Some(Quality::Good) => ("good", None),
        Some(Quality::Uncertain(reason)) => ("uncertain", Some(reason)),
        Some(Quality::Bad(reason)) => ("bad", Some(reason)),
        None => ("bad", Some(tidegate_model::Reason::NotYetRead)),
    };
    let value = match &sample.slot {
        Slot::Good(value) | Slot::Uncertain(value, _) => value_json(value),
        Slot::Bad(_) | Slot::Unchanged => Json_::Null,
    };
    json!({
        "value": value, "quality": quality, "reason": reason.map(|reason| reason.as_str()),
        "time": sample.time.map(|time| time.as_millis()), "unit": sample.unit,
    })
}

/// A value as the topics have it.
pub(crate) fn value_json(value: &Value) -> Json_ {
    match value {
        Value::Bool(on) => json!(on),
        Value::Int(number) => json!(number),
        Value::Uint(number) => json!(number),
        Value::F32(number) if number.is_finite() => shortest(*number),
        Value::F64(number) if number.is_finite() => json!(number),
        Value::F32(number) => special(f64::from(*number)),
        Value::F64(number) => special(*number),
        Value::Text(text) => json!(&**text),
        Value::Bytes(bytes) => json!(BASE64_STANDARD.encode(bytes)),
        Value::Array(items) => Json_::Array(items.iter().map(value_json).collect()),
    }
}

/// The 64-bit float that prints like the 32-bit one: 0.1, not 0.10000000149011612.
fn shortest(number: f32) -> Json_ {
    json!(number.to_string().parse::<f64>().unwrap_or_else(|_| f64::from(number)))
}

fn special(number: f64) -> Json_ {
    json!(if number.is_nan() {
        "NaN"
    } else if number > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_float_prints_as_the_device_meant_it() {
        assert_eq!(value_json(&Value::F32(0.1)).to_string(), "0.1");
        assert_eq!(value_json(&Value::F64(f64::NEG_INFINITY)), json!("-Infinity"));
        assert_eq!(value_json(&Value::Uint(u64::MAX)).to_string(), "18446744073709551615");
    }
}
