//! Commands that arrive over MQTT: `…/<device>/set` in, `…/<device>/set/reply` out.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value as Json;
use tidegate_broker::{Inbox, Message};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    command::{Begun, WriteError},
    handle::Handle,
    outputs::Outputs,
};

/// Commands that wait for their devices, of all links together, at most. Far more than one link takes, so that a link that is
/// busy does not hold up the commands of the others.
const AT_ONCE: usize = 1024;
/// A command has at most this many bytes.
const LONGEST_COMMAND: usize = 64 * 1024;

/// What a `…/set` message says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Command {
    /// Comes back in the reply; a string or a number.
    #[serde(default)]
    id: Json,
    values: serde_json::Map<String, Json>,
    #[serde(default)]
    ttl: Json,
}

/// Where the answer to a command goes.
struct Reply {
    id: Json,
    device: String,
    topic: String,
    correlation: Option<bytes::Bytes>,
}

/// Takes commands until cancelled.
pub(crate) async fn run(mut inbox: Inbox, handle: Handle, outputs: Outputs, cancel: CancellationToken) {
    let mut work = JoinSet::new();
    loop {
        let message = tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            Some(_) = work.join_next() => continue,
            message = inbox.recv() => message,
        };
        let Some(message) = message else { break };
        let has_room = work.len() < AT_ONCE;
        // Begun here and not in a task of its own: two commands to one tag must reach the device in their order.
        let Some((reply, begun)) = begin(message, &handle, &outputs, has_room) else { continue };
        match begun {
            Err(why) => reply.send(&Err(why), &outputs),
            Ok(begun) => {
                let (clock, outputs) = (handle.clock().clone(), outputs.clone());
                work.spawn(async move {
                    let result = begun.answer(&clock).await;
                    reply.send(&result.map_err(|error| error.to_string()), &outputs);
                });
            }
        }
    }
    // Orders that are on their way get their answer from the link tasks, which stop by themselves.
    while work.join_next().await.is_some() {}
}

/// Reads a command and hands it to its link; what cannot be, is what is wrong with it. `None` for a topic that is no device's.
fn begin(
    message: Message,
    handle: &Handle,
    outputs: &Outputs,
    has_room: bool,
) -> Option<(Reply, Result<Begun, String>)> {
    let device = outputs.topics.device_of_set(&message.topic)?.to_owned();
    let topic = message.response_topic.unwrap_or_else(|| outputs.topics.set_reply(&device));
    let (id, begun) = match parse(&message.payload) {
        Ok((command, _)) if !has_room => {
            (command.id, Err("too many commands are waiting; send it again later".to_owned()))
        }
        Ok((command, ttl)) => {
            let begun = handle.begin_write(&device, &command.values, ttl);
            (command.id, begun.map_err(|error| error.to_string()))
        }
        Err((id, why)) => (id, Err(why)),
    };
    Some((Reply { id, device, topic, correlation: message.correlation }, begun))
}

impl Reply {
    fn send(self, result: &Result<Vec<(String, WriteError)>, String>, outputs: &Outputs) {
        if let Err(why) = result {
            tracing::info!(device = self.device, why, "command over MQTT was not carried out");
        }
        let payload = reply(&self.id, result);
        outputs.publisher.reply(&self.topic, payload.to_string().into(), self.correlation);
    }
}

/// Reads a command; on failure the id comes back as far as it could be read.
fn parse(payload: &[u8]) -> Result<(Command, Option<Duration>), (Json, String)> {
    if payload.len() > LONGEST_COMMAND {
        return Err((Json::Null, format!("a command has at most {LONGEST_COMMAND} bytes")));
    }
    let json: Json =
        serde_json::from_slice(payload).map_err(|error| (Json::Null, format!("the command is no JSON: {error}")))?;
    let id = json.get("id").cloned().unwrap_or(Json::Null);
    let command: Command =
        serde_json::from_value(json).map_err(|error| (id.clone(), format!("the command cannot be read: {error}")))?;
    if !matches!(command.id, Json::Null | Json::String(_) | Json::Number(_)) {
        return Err((Json::Null, "`id` has to be a string or a number".to_owned()));
    }
    if command.values.is_empty() {
        return Err((id, "`values` names no tag".to_owned()));
    }
    match ttl(&command.ttl) {
        Ok(ttl) => Ok((command, ttl)),
        Err(why) => Err((id, format!("`ttl` has to be a duration with its unit: {why}, write \"10s\""))),
    }
}

/// How long the command may wait; `None` when it does not say.
fn ttl(json: &Json) -> Result<Option<Duration>, String> {
    match json {
        Json::Null => Ok(None),
        Json::String(text) => tidegate_config::parse_duration(text).map(Some).map_err(|why| why.to_string()),
        Json::Number(number) => Err(format!("it is the number {number}")),
        Json::Bool(_) | Json::Array(_) | Json::Object(_) => Err("it is no text".to_owned()),
    }
}

fn reply(id: &Json, result: &Result<Vec<(String, WriteError)>, String>) -> Json {
    match result {
        Ok(errors) if errors.is_empty() => serde_json::json!({ "id": id, "ok": true }),
        Ok(errors) => {
            let errors: serde_json::Map<String, Json> =
                errors.iter().map(|(tag, error)| (tag.clone(), Json::String(error.to_string()))).collect();
            serde_json::json!({ "id": id, "ok": false, "errors": errors })
        }
        Err(why) => serde_json::json!({ "id": id, "ok": false, "error": why }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_everything_is_read() {
        let (command, ttl) = parse(br#"{"id":"42","values":{"setpoint":42.0},"ttl":"10s"}"#).unwrap();
        assert_eq!(command.id, Json::String("42".to_owned()));
        assert_eq!(command.values.len(), 1);
        assert_eq!(ttl, Some(Duration::from_secs(10)));
    }

    #[test]
    fn a_command_that_cannot_be_read_keeps_its_id_for_the_reply() {
        let (id, why) = parse(br#"{"id":7,"value":{"setpoint":1}}"#).unwrap_err();
        assert_eq!(id, serde_json::json!(7));
        assert!(why.contains("value"), "{why}");
    }

    #[test]
    fn what_is_no_command_is_refused_with_a_reason() {
        for payload in [&b"\xff"[..], b"", b"[]", b"{}", br#"{"values":{}}"#, br#"{"values":{"a":1},"ttl":"soon"}"#] {
            assert!(parse(payload).is_err(), "{payload:?}");
        }
        assert!(parse(&vec![b' '; LONGEST_COMMAND + 1]).is_err());
    }

    #[test]
    fn a_time_without_its_unit_is_answered_by_the_name_of_its_key() {
        for (ttl, it) in [("0", "it is the number 0"), ("true", "it is no text"), ("\"10\"", "")] {
            let (id, why) = parse(format!(r#"{{"id":7,"values":{{"a":1}},"ttl":{ttl}}}"#).as_bytes()).unwrap_err();
            assert_eq!(id, serde_json::json!(7));
            assert!(why.starts_with("`ttl` ") && why.contains(it) && why.ends_with("write \"10s\""), "{why}");
        }
        assert_eq!(parse(br#"{"values":{"a":1},"ttl":null}"#).unwrap().1, None);
    }

    #[test]
    fn a_reply_names_the_tags_that_went_wrong() {
        let errors = vec![("setpoint".to_owned(), WriteError::NotAllowed("above maximum 100".to_owned()))];
        let reply = reply(&serde_json::json!("42"), &Ok(errors));
        let expected = serde_json::json!({ "id": "42", "ok": false, "errors": { "setpoint": "above maximum 100" } });
        assert_eq!(reply, expected);
    }
}
