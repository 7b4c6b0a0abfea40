//! Thirty tags that are read in three requests, and what a device must have said about them.

use tidegate_driver_api::{
    Readings,
    model::{Reading, Value},
};

use super::{PROFILE, coil, register};

/// Number of the tags.
pub(crate) const COLUMNS: usize = 30;

/// Three requests, in this order: discrete inputs 5 to 14, registers 0 to 9, and behind a gap registers 200 to 209.
pub(crate) fn profile() -> String {
    let mut text = PROFILE.to_owned();
    for address in (0..10).chain(200..210) {
        text += &format!(
            "[[tag]]\nname = \"r{address}\"\ngroup = \"all\"\ntable = \"holding\"\naddress = {address}\ntype = \"u16\"\n"
        );
    }
    for address in 5..15 {
        text +=
            &format!("[[tag]]\nname = \"c{address}\"\ngroup = \"all\"\ntable = \"discrete\"\naddress = {address}\n");
    }
    text
}

/// What column must hold whenever it holds a value.
pub(crate) fn right_value(column: usize) -> Value {
    let address = u16::try_from(column).unwrap();
    match column {
        0..10 => Value::Uint(register(address).into()),
        10..20 => Value::Uint(register(190 + address).into()),
        _ => Value::Bool(coil(address - 15)),
    }
}

/// Fails when a column holds the value of another address.
pub(crate) fn check(name: &str, out: &Readings) {
    for (column, reading) in out.items().iter().enumerate() {
        if let Reading::Value(value) = reading {
            assert_eq!(*value, right_value(column), "{name}: column {column}");
        }
    }
}

pub(crate) fn values(out: &Readings) -> usize {
    out.items().iter().filter(|reading| matches!(reading, Reading::Value(_))).count()
}
