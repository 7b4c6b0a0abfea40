//! The payloads of the topics, as the public page shows them.

use std::sync::Arc;

use tidegate_codec::json;
use tidegate_model::{Column, Reason, Row, Slot, Stream, StreamId, Timestamp, Value, ValueKind, ValueType};

const TIME: Timestamp = Timestamp::from_millis(1_700_000_000_123);

fn row(slots: Vec<(&str, Slot)>) -> Row {
    let column = |name: &str| Column::new(name.parse().unwrap(), ValueType::single(ValueKind::F32));
    let columns: Vec<Column> = slots.iter().map(|(name, _)| column(name)).collect();
    let (device, group) = ("meter-1".parse().unwrap(), "fast".parse().unwrap());
    Row {
        stream: Arc::new(Stream::new(StreamId(1), device, group, columns)),
        seq: 7,
        time: TIME,
        device_time: None,
        slots: slots.into_iter().map(|(_, slot)| slot).collect(),
    }
}

/// What `write` appends, which has to be JSON.
fn written(write: impl Fn(&mut Vec<u8>)) -> String {
    let mut out = b"before".to_vec();
    write(&mut out);
    let text = String::from_utf8(out).unwrap();
    let text = text.strip_prefix("before").unwrap();
    serde_json::from_str::<serde_json::Value>(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    text.to_owned()
}

fn value(value: &Value) -> String {
    written(|out| json::value(value, out))
}

#[test]
fn a_row_is_as_the_public_page_shows_it() {
    let row = row(vec![("voltage_l1", Slot::Good(Value::F32(229.8))), ("setpoint", Slot::Bad(Reason::Timeout))]);
    assert_eq!(
        written(|out| json::row(&row, false, out)),
        r#"{"ts":1700000000123,"seq":7,"values":{"voltage_l1":229.8},"bad":{"setpoint":"timeout"}}"#
    );
}

#[test]
fn a_row_with_everything_names_everything() {
    let mut row = row(vec![
        ("a", Slot::Uncertain(Value::Int(-5), Reason::OutOfRange)),
        ("b", Slot::Unchanged),
        ("c.x-1", Slot::Good(Value::Bool(true))),
        ("d", Slot::Bad(Reason::BadAddress)),
        ("e", Slot::Uncertain(Value::Text("off".into()), Reason::Stale)),
        ("f", Slot::Bad(Reason::NotYetRead)),
    ]);
    row.device_time = Some(Timestamp::from_millis(-1));
    assert_eq!(
        written(|out| json::row(&row, true, out)),
        concat!(
            r#"{"ts":1700000000123,"seq":7,"device_ts":-1,"hist":true,"values":{"a":-5,"c.x-1":true,"e":"off"},"#,
            r#""uncertain":{"a":"out_of_range","e":"stale"},"bad":{"d":"bad_address","f":"not_yet_read"}}"#
        )
    );
}

#[test]
fn a_row_without_values_has_an_empty_object_of_them() {
    let empty = r#"{"ts":1700000000123,"seq":7,"values":{}}"#;
    assert_eq!(written(|out| json::row(&row(vec![]), false, out)), empty);
    assert_eq!(written(|out| json::row(&row(vec![("a", Slot::Unchanged)]), false, out)), empty);
    assert_eq!(
        written(|out| json::row(&row(vec![("a", Slot::Bad(Reason::Timeout))]), false, out)),
        r#"{"ts":1700000000123,"seq":7,"values":{},"bad":{"a":"timeout"}}"#
    );
}

#[test]
fn a_tag_is_as_the_public_page_shows_it() {
    let tag = |slot: Slot, unit| written(|out| json::tag(&slot, TIME, unit, out));
    assert_eq!(tag(Slot::Good(Value::F32(229.8)), Some("V")), r#"{"v":229.8,"q":"good","t":1700000000123,"u":"V"}"#);
    assert_eq!(
        tag(Slot::Uncertain(Value::F32(600.5), Reason::OutOfRange), None),
        r#"{"v":600.5,"q":"uncertain","reason":"out_of_range","t":1700000000123}"#
    );
    assert_eq!(
        tag(Slot::Bad(Reason::Timeout), Some("\"°C\\")),
        r#"{"v":null,"q":"bad","reason":"timeout","t":1700000000123,"u":"\"°C\\"}"#
    );
    let mut out = Vec::new();
    json::tag(&Slot::Unchanged, TIME, None, &mut out);
    assert_eq!(out, b"");
}

#[test]
fn a_gap_names_both_ends_and_the_reason() {
    assert_eq!(
        written(|out| json::gap(5, u64::MAX, "disk_full", out)),
        r#"{"gap":{"from":5,"to":18446744073709551615,"reason":"disk_full"}}"#
    );
}

#[test]
fn integers_of_64_bits_are_exact_numbers() {
    assert_eq!(value(&Value::Uint(u64::MAX)), "18446744073709551615");
    assert_eq!(value(&Value::Int(i64::MIN)), "-9223372036854775808");
    assert_eq!(value(&Value::Uint((1 << 53) + 1)), "9007199254740993");
}

#[test]
fn what_json_has_no_number_for_is_a_string() {
    for (number, text) in [
        (f64::NAN, "\"NaN\""),
        (-f64::NAN, "\"NaN\""),
        (f64::INFINITY, "\"Infinity\""),
        (f64::NEG_INFINITY, "\"-Infinity\""),
    ] {
        assert_eq!(value(&Value::F64(number)), text);
    }
    assert_eq!(value(&Value::F32(f32::NAN)), "\"NaN\"");
    assert_eq!(value(&Value::F32(f32::INFINITY)), "\"Infinity\"");
    assert_eq!(value(&Value::F32(f32::NEG_INFINITY)), "\"-Infinity\"");
}

/// A small deterministic source of bits (SplitMix64), so that a failing case fails again.
fn bits(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[test]
fn floats_come_back_to_the_last_bit_and_are_as_short_as_they_can_be() {
    let mut seed = 1;
    let special =
        [0.0, -0.0, f64::MIN_POSITIVE, f64::MAX, f64::from_bits(1), 1e21, 1e-7, 0.1, 1.0, 5e-324, 123_456_789.0];
    let random = (0..50_000).map(|_| f64::from_bits(bits(&mut seed)));
    for number in special.into_iter().chain(random).filter(|number| number.is_finite()) {
        let text = value(&Value::F64(number));
        assert_eq!(text.parse::<f64>().unwrap().to_bits(), number.to_bits(), "{text}");
        assert!(digits(&text) <= digits(&format!("{number:e}")), "{text} is longer than {number:e}");
    }
    let special = [0.0, -0.0, f32::MIN_POSITIVE, f32::MAX, f32::from_bits(1), 229.8, 16_777_216.0];
    let random = (0..50_000).map(|_| f32::from_bits(u32::try_from(bits(&mut seed) >> 32).unwrap()));
    for number in special.into_iter().chain(random).filter(|number| number.is_finite()) {
        let text = value(&Value::F32(number));
        assert_eq!(text.parse::<f32>().unwrap().to_bits(), number.to_bits(), "{text}");
        assert!(digits(&text) <= digits(&format!("{number:e}")), "{text} is longer than {number:e}");
    }
    assert_eq!(value(&Value::F32(0.1)), "0.1", "not 0.10000000149011612");
}

/// Significant digits of a decimal number.
fn digits(text: &str) -> usize {
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    digits.trim_start_matches('0').trim_end_matches('0').len()
}

#[test]
fn every_text_comes_back_from_its_json() {
    let all: String =
        (0..=0x2ff_u32).chain([0x2028, 0x2029, 0xfffd, 0x1_f600, 0x10_ffff]).filter_map(char::from_u32).collect();
    for text in ["", "off", "größer als 100 °C", "\"", "\\", "\"\\\"", "a\nb\r\tc\u{0}\u{1f}\u{7f}", all.as_str()] {
        let json = value(&Value::Text(text.into()));
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }
    assert_eq!(value(&Value::Text("a\"\\\n\r\t\u{8}\u{1f}é".into())), r#""a\"\\\n\r\t\u0008\u001fé""#);
}

#[test]
fn arrays_are_arrays() {
    assert_eq!(value(&Value::Array([].into())), "[]");
    let mixed = [Value::Int(1), Value::F32(0.5), Value::Bool(false), Value::Text("x".into()), Value::F64(f64::NAN)];
    assert_eq!(value(&Value::Array(mixed.into())), r#"[1,0.5,false,"x","NaN"]"#);
}
