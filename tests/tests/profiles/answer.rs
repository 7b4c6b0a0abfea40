//! The file with the answer of one profile.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::Context;
use serde::Deserialize;
use tidegate_model::{Reason, Slot, Value};

/// What a device holds, and what has to come out of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answer {
    /// The unit that answers.
    pub(crate) unit: u8,
    /// What the device can do, by its document.
    pub(crate) device: Limits,
    #[serde(default)]
    pub(crate) holding: Vec<Words>,
    #[serde(default)]
    pub(crate) input: Vec<Words>,
    #[serde(default)]
    pub(crate) coil: Vec<Bits>,
    #[serde(default)]
    pub(crate) discrete: Vec<Bits>,
    /// By group and tag.
    expected: BTreeMap<String, BTreeMap<String, toml::Value>>,
    #[serde(default)]
    write: Vec<Write>,
}

/// What the device can do, by its document.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    /// Function codes that it knows.
    pub(crate) functions: Vec<u8>,
    /// Registers that it reads at once.
    pub(crate) most_registers: u16,
    /// Whether it refuses an odd number of registers.
    #[serde(default)]
    pub(crate) even: bool,
}

/// Registers that exist, from an address on.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Words {
    pub(crate) address: u16,
    pub(crate) words: Vec<u16>,
}

/// Bits that exist, from an address on.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bits {
    pub(crate) address: u16,
    pub(crate) bits: Vec<u8>,
}

/// A value that is written and the request it has to become.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Write {
    pub(crate) tag: String,
    pub(crate) value: toml::Value,
    request: String,
}

impl Answer {
    /// Reads the file.
    pub(crate) fn read(file: &Path) -> anyhow::Result<Answer> {
        let text = fs::read_to_string(file).context("the profile has no answer in tests/profiles")?;
        toml::from_str(&text).with_context(|| format!("{} is not understood", file.display()))
    }

    /// What has to come out of a group; nothing of a group that is not there.
    pub(crate) fn expected_of(&self, group: &str) -> BTreeMap<String, toml::Value> {
        self.expected.get(group).cloned().unwrap_or_default()
    }

    pub(crate) fn groups(&self) -> impl Iterator<Item = &str> {
        self.expected.keys().map(String::as_str)
    }

    pub(crate) fn writes(&self) -> impl Iterator<Item = &Write> {
        self.write.iter()
    }
}

impl Write {
    /// The value as a command brings it.
    pub(crate) fn value(&self) -> Value {
        match &self.value {
            toml::Value::Boolean(on) => Value::Bool(*on),
            toml::Value::Integer(number) => Value::Int(*number),
            toml::Value::Float(number) => Value::F64(*number),
            toml::Value::String(text) => Value::Text(text.as_str().into()),
            other => panic!("{} cannot be written", other.type_str()),
        }
    }

    /// The request in hexadecimal digits without spaces.
    pub(crate) fn request(&self) -> String {
        self.request.split_whitespace().collect::<String>().to_uppercase()
    }
}

/// Whether a slot is what the answer says: a value that is good, or `{ uncertain = …, reason = … }`, or `{ bad = … }`.
pub(crate) fn fits(expected: &toml::Value, slot: &Slot) -> bool {
    let reason =
        |reason: Option<&toml::Value>, got: &Reason| reason.and_then(toml::Value::as_str) == Some(got.as_str());
    match (expected, slot) {
        (toml::Value::Table(table), Slot::Uncertain(value, got)) => {
            table.get("uncertain").is_some_and(|expected| same(expected, value)) && reason(table.get("reason"), got)
        }
        (toml::Value::Table(table), Slot::Bad(got)) => reason(table.get("bad"), got),
        (expected, Slot::Good(value)) => same(expected, value),
        _ => false,
    }
}

/// Whether the value is the written one: floats to the last digit that their width can hold.
fn same(expected: &toml::Value, value: &Value) -> bool {
    match (expected, value) {
        (toml::Value::Boolean(expected), Value::Bool(value)) => expected == value,
        (toml::Value::Integer(expected), Value::Int(value)) => expected == value,
        (toml::Value::Integer(expected), Value::Uint(value)) => u64::try_from(*expected) == Ok(*value),
        (toml::Value::Float(expected), Value::F64(value)) => expected == value,
        // The shortest decimal that means this 32-bit float.
        (toml::Value::Float(expected), Value::F32(value)) => value.to_string().parse() == Ok(*expected),
        (toml::Value::String(expected), Value::Text(value)) => *expected == **value,
        (toml::Value::String(expected), Value::F32(value)) => expected == "NaN" && value.is_nan(),
        _ => false,
    }
}
