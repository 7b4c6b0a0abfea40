//! `tidegate read` and `tidegate write`: samples and commands through the running gateway.

use std::{path::Path, process::ExitCode};

use anyhow::{Context, bail};
use serde_json::{Map, Value as Json};

use crate::{
    client::{Answer, Client},
    console::{complain, say},
};

pub(crate) fn read(config: &Path, device: &str, tags: &[String]) -> anyhow::Result<ExitCode> {
    let answer = Client::of(config)?.get(&path(device))?;
    let samples = object(answer)?;
    let mut missing = false;
    for (tag, sample) in &samples {
        if tags.is_empty() || tags.contains(tag) {
            let field = |key: &str| sample.get(key).cloned().unwrap_or_default();
            let unit = field("unit").as_str().unwrap_or_default().to_owned();
            let quality = field("quality").as_str().unwrap_or_default().to_owned();
            let reason = field("reason").as_str().map(|reason| format!(" ({reason})")).unwrap_or_default();
            say(format_args!("{tag:<32} {} {unit}  {quality}{reason}", field("value")));
        }
    }
    for tag in tags.iter().filter(|tag| !samples.contains_key(*tag)) {
        complain(format_args!("device \"{device}\" has no tag \"{tag}\""));
        missing = true;
    }
    Ok(if missing { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

pub(crate) fn write(config: &Path, device: &str, values: &[String]) -> anyhow::Result<ExitCode> {
    let mut body = Map::new();
    for pair in values {
        let (tag, value) = pair.split_once('=').with_context(|| format!("\"{pair}\" is not TAG=VALUE"))?;
        if body.insert(tag.to_owned(), parse(value)).is_some() {
            bail!("\"{tag}\" is given twice");
        }
    }
    let answer = Client::of(config)?.put(&path(device), &Json::Object(body))?;
    if let Some(errors) = answer.body.get("errors").and_then(Json::as_object) {
        for (tag, error) in errors {
            complain(format_args!("{tag}: {}", error.as_str().unwrap_or_default()));
        }
        return Ok(ExitCode::FAILURE);
    }
    object(answer)?;
    say("written; the device has confirmed it");
    Ok(ExitCode::SUCCESS)
}

/// A value on the command line: JSON where it is JSON (`42.5`, `true`, `[1,2]`, `"7"`), else text.
fn parse(value: &str) -> Json {
    serde_json::from_str(value).unwrap_or_else(|_| Json::String(value.to_owned()))
}

/// Where the values of a device are. What may not stand in a path is escaped (RFC 3986 §2.1).
fn path(device: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let escape = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    format!("/api/v1/devices/{}/values", device.bytes().map(escape).collect::<String>())
}

fn object(answer: Answer) -> anyhow::Result<Map<String, Json>> {
    if let Some(error) = answer.body.get("error").and_then(Json::as_str) {
        bail!("{error}");
    }
    match answer.body {
        Json::Object(object) => Ok(object),
        other => bail!("the gateway answered with something unexpected: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_not_stand_in_a_path_is_escaped() {
        assert_eq!(path("oven-1"), "/api/v1/devices/oven-1/values");
        assert_eq!(path("../\u{e4}?"), "/api/v1/devices/%2E%2E%2F%C3%A4%3F/values");
    }

    #[test]
    fn a_value_is_json_where_it_is_json_and_text_otherwise() {
        assert_eq!(parse("42.5"), serde_json::json!(42.5));
        assert_eq!(parse("true"), serde_json::json!(true));
        assert_eq!(parse("auto"), serde_json::json!("auto"));
        assert_eq!(parse("\"7\""), serde_json::json!("7"));
    }
}
