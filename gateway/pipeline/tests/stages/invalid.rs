//! Numbers by which a device says that it has no value.

use tidegate_config::{Access, At, DeviceTimeUnit, Group, RawNumber, ReportWhen, Tag};
use tidegate_model::{Reading, Slot, Value, ValueKind, ValueType};
use tidegate_pipeline::{Stages, WriteRefusal};

use crate::group::{
    INVALID, Polled, at, calculated, constant, deadband, f32s, good_f32, good_f64, good_int, group, ints, invalid,
    invalid_floats, range, raw, scaling, stages, tag, texts,
};

fn polled(kind: ValueKind, tags: Vec<Tag>) -> Polled {
    Polled::new(&group(ReportWhen::Always, tags), kind)
}

#[test]
fn an_invalid_number_is_bad_before_any_other_stage() {
    let int16 = || invalid(&[-32768]);
    let tags = vec![
        Tag { invalid: int16(), ..tag("plain") },
        Tag { invalid: int16(), scaling: scaling("0.1", "0"), ..tag("scaled") },
        Tag { invalid: int16(), range: range(-1e9, 1e9), ..tag("ranged") },
        Tag { invalid: int16(), texts: texts(&[(0, "off")]), ..tag("named") },
        tag("without"),
    ];
    let mut polled = polled(ValueKind::Int, tags);
    let slots = polled.poll(&ints(&[-32768; 5])).unwrap();
    assert_eq!(slots, [INVALID, INVALID, INVALID, INVALID, good_int(-32768)]);
    assert_eq!(polled.state.latest(), slots);
}

#[test]
fn a_number_beside_an_invalid_one_is_delivered() {
    let tags = vec![Tag { invalid: invalid(&[-32768, 32767]), scaling: scaling("0.1", "0"), ..tag("a") }];
    let mut polled = polled(ValueKind::Int, tags);
    for (number, delivered) in [(-32767, -3276.7), (32766, 3276.6), (0, 0.0)] {
        assert_eq!(polled.poll(&ints(&[number])), Some(vec![good_f64(delivered)]));
    }
    assert_eq!(polled.poll(&ints(&[32767])), Some(vec![INVALID]));
}

#[test]
fn nan_is_bad_only_where_it_is_invalid() {
    let mut polled = polled(ValueKind::F32, vec![Tag { invalid: invalid_floats(&[f64::NAN]), ..tag("a") }, tag("b")]);
    let slots = polled.poll(&f32s(&[f32::NAN, f32::NAN])).unwrap();
    assert_eq!(slots[0], INVALID);
    assert!(matches!(slots[1], Slot::Good(Value::F32(number)) if number.is_nan()));
    assert_eq!(polled.poll(&f32s(&[1.5, 1.5])), Some(vec![good_f32(1.5), good_f32(1.5)]));
}

#[test]
fn an_invalid_item_makes_the_whole_array_bad() {
    let group = group(ReportWhen::Always, vec![Tag { invalid: invalid(&[0xFFFF]), ..tag("curve") }]);
    let raw = ValueType { kind: ValueKind::Uint, items: Some(2) };
    let stages = stages(&group, &[Some(raw)]);
    let mut state = tidegate_pipeline::State::new(&stages);
    let mut poll = |items: [u64; 2]| {
        let mut readings = [Reading::Value(Value::Array(items.map(Value::Uint).into()))];
        stages.run(&mut state, &mut readings, std::time::Duration::ZERO, crate::group::NOW).unwrap().slots[0].clone()
    };
    assert_eq!(poll([1, 0xFFFF]), INVALID);
    assert_eq!(poll([1, 0xFFFE]), Slot::Good(Value::Array([Value::Uint(1), Value::Uint(0xFFFE)].into())));
}

#[test]
fn what_is_calculated_from_an_invalid_number_is_bad() {
    let tags = vec![
        Tag { invalid: invalid(&[0xFFFF]), ..tag("raw") },
        Tag { invalid: invalid(&[-32768]), ..tag("scale") },
        calculated("value", "raw * 10 ^ scale"),
        calculated("twice", "value * 2"),
    ];
    let mut polled = polled(ValueKind::Int, tags);
    assert_eq!(polled.poll(&ints(&[7, 1])).unwrap()[2..], [good_f64(70.0), good_f64(140.0)]);
    assert_eq!(polled.poll(&ints(&[7, -32768])).unwrap()[2..], [INVALID, INVALID]);
    assert_eq!(polled.poll(&ints(&[0xFFFF, 0])).unwrap()[2..], [INVALID, INVALID]);
}

#[test]
fn a_clock_without_a_time_gives_none() {
    let tags = vec![tag("a"), Tag { invalid: invalid(&[1_699_999_999]), ..tag("clock") }];
    let group = Group { device_time: Some((1, DeviceTimeUnit::Seconds)), ..group(ReportWhen::Always, tags) };
    let mut polled = Polled::new(&group, ValueKind::Int);
    assert!(polled.outcome(&ints(&[1, 1_699_999_998])).unwrap().device_time.is_some());
    assert_eq!(polled.outcome(&ints(&[1, 1_699_999_999])).unwrap().device_time, None);
}

#[test]
fn losing_and_regaining_a_value_is_reported_within_a_deadband() {
    let tags = vec![Tag { invalid: invalid(&[32767]), deadband: deadband(10.0, None), ..tag("a") }];
    let mut polled = polled(ValueKind::Int, tags);
    assert_eq!(polled.poll(&ints(&[100])), Some(vec![good_int(100)]));
    assert_eq!(polled.poll(&ints(&[32767])), Some(vec![INVALID]));
    assert_eq!(polled.poll(&ints(&[32767])), None);
    assert_eq!(polled.poll(&ints(&[101])), Some(vec![good_int(101)]));
}

fn refusal(tag: Tag, raw: ValueType, value: &Value) -> WriteRefusal {
    let tag = Tag { access: Access::ReadWrite, ..tag };
    stages(&group(ReportWhen::Always, vec![tag]), &[Some(raw)]).to_raw(0, value).unwrap_err()
}

#[test]
fn an_invalid_number_is_not_written() {
    let uint = ValueType::single(ValueKind::Uint);
    let plain = || Tag { invalid: invalid(&[0xFFFF]), ..tag("a") };
    let expected = "65535 is 65535 in the device, which means \"no value\" there";
    assert_eq!(refusal(plain(), uint, &Value::Int(0xFFFF)).to_string(), expected);
    let scaled = Tag { scaling: scaling("0.1", "0"), ..plain() };
    let expected = "6553.5 is 65535 in the device, which means \"no value\" there";
    assert_eq!(refusal(scaled, uint, &Value::F64(6553.5)).to_string(), expected);
    let named = Tag { texts: texts(&[(0xFFFF, "off")]), ..plain() };
    let expected = "\"off\" is 65535 in the device, which means \"no value\" there";
    assert_eq!(refusal(named, uint, &Value::Text("off".into())).to_string(), expected);
    let array = Value::Array([Value::Int(1), Value::Int(0xFFFF)].into());
    let expected = "item 2: 65535 is 65535 in the device, which means \"no value\" there";
    let pair = ValueType { kind: ValueKind::Uint, items: Some(2) };
    assert_eq!(refusal(plain(), pair, &array).to_string(), expected);
}

#[test]
fn a_number_beside_an_invalid_one_is_written() {
    let tags = vec![Tag { access: Access::Write, invalid: invalid(&[0xFFFF]), ..tag("a") }];
    let group = group(ReportWhen::Always, tags);
    let stages = stages(&group, &raw(&group, ValueKind::Uint));
    assert_eq!(stages.to_raw(0, &Value::Int(0xFFFE)), Ok(Value::Uint(0xFFFE)));
}

/// The message and the help about the only tag of a group.
fn mistake(tag: Tag, kind: ValueKind) -> (String, String) {
    let group = group(ReportWhen::Always, vec![tag]);
    let mut report = tidegate_config::Report::new();
    assert!(Stages::compile(&group, &raw(&group, kind), &mut report).is_none());
    let [mistake] = report.mistakes() else { panic!("{}", report.render()) };
    (mistake.message.clone(), mistake.help.clone().unwrap_or_default())
}

#[test]
fn what_is_no_number_has_no_invalid_ones() {
    let with = || Tag { invalid: invalid(&[1, 2]), ..tag("a") };
    let (message, help) = mistake(with(), ValueKind::Bool);
    assert_eq!(message, "`invalid` is for numbers, but `a` is a bool");
    assert_eq!(help, "remove it; where [defaults] has it, write `invalid = []` in the tag");
    assert_eq!(mistake(with(), ValueKind::Text).0, "`invalid` is for numbers, but `a` is text");
    let constant = Tag { invalid: invalid(&[1]), ..constant("a", Value::Int(1)) };
    let expected = "`invalid` is for what is read from the device, but `a` is a constant";
    assert_eq!(mistake(constant, ValueKind::Int).0, expected);
}

#[test]
fn a_number_that_the_device_never_holds_is_a_mistake() {
    let of = |number: RawNumber, kind| mistake(Tag { invalid: vec![at(number)], ..tag("a") }, kind);
    let (message, help) = of(RawNumber::Integer(-1), ValueKind::Uint);
    assert_eq!(message, "-1 is invalid, but `a` is an unsigned integer, which is never -1");
    assert_eq!(help, "where [defaults] has it, give the tag an `invalid` of its own");
    assert_eq!(
        of(RawNumber::Float(f64::NAN), ValueKind::Int).0,
        "NaN is invalid, but `a` is an integer, which is never NaN"
    );
    assert_eq!(
        of(RawNumber::Float(-1e300), ValueKind::F32).0,
        "-1e300 is invalid, but `a` is a 32-bit float, which is never -1e300"
    );
}

#[test]
fn numbers_that_are_one_for_the_device_are_a_mistake() {
    let twice: Vec<At<RawNumber>> = vec![at(RawNumber::Float(-9999.0)), at(RawNumber::Integer(-9999))];
    let (message, _) = mistake(Tag { invalid: twice, ..tag("a") }, ValueKind::F64);
    assert_eq!(message, "-9999 and another number of `invalid` are the same for `a`, which is a 64-bit float");
    let twice = invalid_floats(&[0.1, 0.100_000_001]);
    let (message, _) = mistake(Tag { invalid: twice, ..tag("a") }, ValueKind::F32);
    assert_eq!(message, "0.100000001 and another number of `invalid` are the same for `a`, which is a 32-bit float");
}
