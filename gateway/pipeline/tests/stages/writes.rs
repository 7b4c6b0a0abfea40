//! Values that somebody wants to write.

use tidegate_config::{Access, ReportWhen, Tag};
use tidegate_model::{Value, ValueKind, ValueType};
use tidegate_pipeline::WriteRefusal;

use crate::group::{at, calculated, constant, group, raw, scaling, stages, tag, texts};

fn writable(name: &str) -> Tag {
    Tag { access: Access::ReadWrite, ..tag(name) }
}

fn write_to(tag: Tag, raw: ValueType, value: &Value) -> Result<Value, WriteRefusal> {
    stages(&group(ReportWhen::Always, vec![tag]), &[Some(raw)]).to_raw(0, value)
}

fn write(tag: Tag, kind: ValueKind, value: Value) -> Result<Value, WriteRefusal> {
    write_to(tag, ValueType::single(kind), &value)
}

/// The text that whoever wanted to write gets to read.
fn refusal(tag: Tag, kind: ValueKind, value: Value) -> String {
    write(tag, kind, value).unwrap_err().to_string()
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

#[test]
fn every_16_bit_number_comes_back_from_its_delivered_value() {
    let scalings = [("0.1", "0"), ("0.01", "0"), ("1e-3", "0"), ("2.5", "0"), ("-0.5", "-40")];
    for (scale, offset) in scalings {
        let group = group(ReportWhen::Always, vec![Tag { scaling: scaling(scale, offset), ..writable("a") }]);
        for kind in [ValueKind::Int, ValueKind::Uint] {
            let stages = stages(&group, &raw(&group, kind));
            let mut state = tidegate_pipeline::State::new(&stages);
            let numbers = match kind {
                ValueKind::Int => i64::from(i16::MIN)..=i64::from(i16::MAX),
                _ => 0..=i64::from(u16::MAX),
            };
            for number in numbers {
                let raw = match kind {
                    ValueKind::Int => Value::Int(number),
                    _ => Value::Uint(number.cast_unsigned()),
                };
                let mut readings = [tidegate_model::Reading::Value(raw.clone())];
                let outcome =
                    stages.run(&mut state, &mut readings, std::time::Duration::ZERO, crate::group::NOW).unwrap();
                let delivered = outcome.slots[0].value().unwrap();
                assert_eq!(stages.to_raw(0, delivered), Ok(raw), "{number} * {scale} + {offset} = {delivered:?}");
            }
        }
    }
}

#[test]
fn numbers_are_converted_when_nothing_is_lost() {
    assert_eq!(write(writable("a"), ValueKind::Int, Value::F64(42.0)), Ok(Value::Int(42)));
    assert_eq!(write(writable("a"), ValueKind::Int, Value::Uint(42)), Ok(Value::Int(42)));
    assert_eq!(write(writable("a"), ValueKind::Uint, Value::Int(42)), Ok(Value::Uint(42)));
    assert_eq!(write(writable("a"), ValueKind::Uint, Value::Uint(u64::MAX)), Ok(Value::Uint(u64::MAX)));
    assert_eq!(write(writable("a"), ValueKind::Int, Value::Int(i64::MIN)), Ok(Value::Int(i64::MIN)));
    assert_eq!(write(writable("a"), ValueKind::F32, Value::F64(42.1)), Ok(Value::F32(42.1)));
    assert_eq!(write(writable("a"), ValueKind::F32, Value::Int(42)), Ok(Value::F32(42.0)));
    assert_eq!(write(writable("a"), ValueKind::F64, Value::F64(42.1)), Ok(Value::F64(42.1)));
    assert_eq!(write(writable("a"), ValueKind::F64, Value::Uint(42)), Ok(Value::F64(42.0)));
    assert_eq!(write(writable("a"), ValueKind::Text, text("recipe 7")), Ok(text("recipe 7")));
}

#[test]
fn a_whole_number_that_a_float_cannot_hold_is_refused_with_its_neighbours() {
    assert_eq!(
        refusal(writable("a"), ValueKind::F32, Value::Int(16_777_217)),
        "16777217 falls between the steps 16777216.0 and 16777218.0"
    );
    assert_eq!(
        refusal(writable("a"), ValueKind::F64, Value::Uint((1 << 53) + 1)),
        "9007199254740993 falls between the steps 9007199254740992.0 and 9007199254740994.0"
    );
    assert_eq!(
        refusal(writable("a"), ValueKind::F32, Value::F64(1e39)),
        "1e39 is beyond what the device's number can hold"
    );
}

#[test]
fn a_number_between_the_steps_is_refused_with_its_neighbours() {
    assert_eq!(refusal(writable("a"), ValueKind::Int, Value::F64(-42.5)), "-42.5 falls between the steps -43 and -42");
    let tenths = Tag { scaling: scaling("0.1", "0"), ..writable("a") };
    assert_eq!(refusal(tenths, ValueKind::Int, Value::F64(42.03)), "42.03 falls between the steps 42.0 and 42.1");
}

#[test]
fn a_number_beyond_the_devices_is_refused() {
    let beyond = "is beyond what the device's number can hold";
    assert_eq!(refusal(writable("a"), ValueKind::Uint, Value::Int(-1)), format!("-1 {beyond}"));
    assert_eq!(refusal(writable("a"), ValueKind::Int, Value::Uint(1 << 63)), format!("9223372036854775808 {beyond}"));
    assert_eq!(refusal(writable("a"), ValueKind::Int, Value::F64(1e300)), format!("1e300 {beyond}"));
    assert_eq!(refusal(writable("a"), ValueKind::F64, Value::F64(f64::NAN)), format!("NaN {beyond}"));
}

#[test]
fn the_words_for_numbers_that_json_does_not_have_are_texts_to_a_text_and_refused_by_a_number() {
    for word in ["NaN", "Infinity", "-Infinity"] {
        assert_eq!(write(writable("a"), ValueKind::Text, text(word)), Ok(text(word)));
    }
    let named = Tag { texts: texts(&[(0, "off"), (9, "NaN")]), ..writable("mode") };
    assert_eq!(write(named, ValueKind::Int, text("NaN")), Ok(Value::Int(9)));
    let beyond = "is beyond what the device's number can hold";
    assert_eq!(refusal(writable("a"), ValueKind::F64, text("NaN")), format!("NaN {beyond}"));
    assert_eq!(refusal(writable("a"), ValueKind::Int, text("-Infinity")), format!("-inf {beyond}"));
}

#[test]
fn minimum_and_maximum_hold_for_the_delivered_value() {
    let limited = || Tag {
        scaling: scaling("0.1", "0"),
        minimum: Some(at(0.0)),
        maximum: Some(at(100.0)),
        ..writable("setpoint")
    };
    assert_eq!(write(limited(), ValueKind::Int, Value::Int(100)), Ok(Value::Int(1000)));
    assert_eq!(write(limited(), ValueKind::Int, Value::Int(0)), Ok(Value::Int(0)));
    assert_eq!(refusal(limited(), ValueKind::Int, Value::F64(100.1)), "above maximum 100");
    assert_eq!(refusal(limited(), ValueKind::Int, Value::F64(-0.1)), "below minimum 0");
    assert_eq!(refusal(limited(), ValueKind::Int, Value::Uint(u64::MAX)), "above maximum 100");
    let fine = Tag { maximum: Some(at(99.5)), ..writable("a") };
    assert_eq!(refusal(fine, ValueKind::Int, Value::Int(100)), "above maximum 99.5");
}

#[test]
fn a_value_of_another_kind_is_refused() {
    assert_eq!(refusal(writable("a"), ValueKind::Text, Value::Int(1)), "text expected, got number");
    assert_eq!(refusal(writable("a"), ValueKind::Int, text("1")), "number expected, got text");
    assert_eq!(refusal(writable("a"), ValueKind::F32, Value::Bool(true)), "number expected, got bool");
    assert_eq!(refusal(writable("a"), ValueKind::Bool, text("true")), "bool expected, got text");
    assert_eq!(refusal(writable("a"), ValueKind::Bool, Value::Int(2)), "bool expected, got number");
    assert_eq!(refusal(writable("a"), ValueKind::Int, Value::Array([].into())), "number expected, got array");
}

#[test]
fn a_bool_may_be_written_as_zero_or_one() {
    for (value, on) in [
        (Value::Bool(true), true),
        (Value::Int(1), true),
        (Value::Uint(0), false),
        (Value::F64(1.0), true),
        (Value::F64(-0.0), false),
    ] {
        assert_eq!(write(writable("a"), ValueKind::Bool, value), Ok(Value::Bool(on)));
    }
}

#[test]
fn an_enumeration_is_written_by_its_texts() {
    let mode = || Tag { texts: texts(&[(0, "off"), (1, "on")]), ..writable("mode") };
    assert_eq!(write(mode(), ValueKind::Uint, text("on")), Ok(Value::Uint(1)));
    assert_eq!(refusal(mode(), ValueKind::Uint, text("foo")), "unknown text \"foo\"; known are \"off\", \"on\"");
    assert_eq!(refusal(mode(), ValueKind::Uint, Value::Int(1)), "text expected, got number");
}

#[test]
fn only_what_the_profile_lets_be_written_is_written() {
    let tags = vec![
        tag("read"),
        constant("constant", Value::Int(1)),
        calculated("calculated", "read"),
        Tag { access: Access::Write, ..tag("reset") },
    ];
    let group = group(ReportWhen::Always, tags);
    let stages = stages(&group, &raw(&group, ValueKind::Int));
    for column in 0..3 {
        assert_eq!(stages.to_raw(column, &Value::Int(1)), Err(WriteRefusal::NotWritable));
    }
    assert_eq!(stages.to_raw(3, &Value::Int(1)), Ok(Value::Int(1)));
    assert_eq!(stages.to_raw(4, &Value::Int(1)), Err(WriteRefusal::UnknownColumn));
    assert_eq!(WriteRefusal::NotWritable.to_string(), "not writable");
}

#[test]
fn arrays_are_written_item_by_item() {
    let raw = ValueType { kind: ValueKind::Int, items: Some(2) };
    let curve = || Tag { scaling: scaling("0.1", "0"), maximum: Some(at(10.0)), ..writable("curve") };
    let array = |items: &[f64]| Value::Array(items.iter().map(|item| Value::F64(*item)).collect());
    let written = Value::Array([Value::Int(1), Value::Int(25)].into());
    assert_eq!(write_to(curve(), raw, &array(&[0.1, 2.5])), Ok(written));
    let refused = |value| write_to(curve(), raw, &value).unwrap_err().to_string();
    assert_eq!(refused(array(&[1.0])), "2 items expected, got 1");
    assert_eq!(refused(array(&[1.0, 11.0])), "item 2: above maximum 10");
    assert_eq!(refused(Value::Int(1)), "array expected, got number");
}

#[test]
fn a_list_of_arguments_is_let_pass_whatever_is_in_it_and_one_value_is_a_list_of_one() {
    let call = group(ReportWhen::Always, vec![Tag { access: Access::Write, ..tag("start") }, tag("level")]);
    let stages = stages(&call, &raw(&call, ValueKind::Text)).with_arguments(&[0, 1]);
    let list = Value::Array([Value::Int(3), text("fast"), Value::Array([Value::Bool(true)].into())].into());
    assert_eq!(stages.to_raw(0, &list), Ok(list));
    assert_eq!(stages.to_raw(0, &Value::Int(3)), Ok(Value::Array([Value::Int(3)].into())));
    assert_eq!(stages.to_raw(1, &Value::Int(3)), Err(WriteRefusal::NotWritable));
}
