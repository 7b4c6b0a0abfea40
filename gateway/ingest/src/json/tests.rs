use tidegate_codec::json;
use tidegate_model::{Row, Stream as RowStream};

use super::*;
use crate::piece::blocks;

fn group() -> Group {
    let [gateway, device, group] = ["line3", "meter-1", "fast"].map(|name| name.parse().unwrap());
    Group { gateway, device, group }
}

fn take(groups: &mut JsonGroups, text: &str) -> Rows {
    match groups.row(&group(), &Bytes::copy_from_slice(text.as_bytes())).unwrap() {
        Piece::Rows(rows) => rows,
        other => panic!("{other:?}"),
    }
}

fn cells(rows: &Rows) -> Vec<(String, Slot)> {
    let columns = rows.known.schema.columns.iter().enumerate();
    columns.map(|(at, column)| (column.name.to_string(), rows.batch.slot(0, at).unwrap())).collect()
}

fn kinds(rows: &Rows) -> Vec<ValueKind> {
    rows.known.schema.columns.iter().map(|column| column.value_type.kind).collect()
}

#[test]
fn a_row_comes_back_as_the_gateway_has_written_it() {
    let slots = [
        ("current", ValueKind::F64, Slot::Uncertain(Value::F64(600.5), Reason::OutOfRange)),
        ("energy", ValueKind::Uint, Slot::Good(Value::Uint(u64::MAX))),
        ("name", ValueKind::Text, Slot::Good(Value::Text("a\"b\u{e9}".into()))),
        ("on", ValueKind::Bool, Slot::Good(Value::Bool(true))),
        ("setpoint", ValueKind::F64, Slot::Bad(Reason::Timeout)),
        ("steps", ValueKind::Int, Slot::Good(Value::Int(-7))),
        ("voltage", ValueKind::F64, Slot::Good(Value::F64(230.0))),
    ];
    let columns: Vec<Column> =
        slots.iter().map(|(name, kind, _)| Column::new(name.parse().unwrap(), ValueType::single(*kind))).collect();
    let stream = RowStream::new(StreamId(4), "meter-1".parse().unwrap(), "fast".parse().unwrap(), columns);
    let row = Row {
        stream: Arc::new(stream),
        seq: 7,
        time: Timestamp::from_millis(1_700_000_000_000),
        device_time: Some(Timestamp::from_millis(1_699_999_999_000)),
        slots: slots.iter().map(|(_, _, slot)| slot.clone()).collect(),
    };
    for hist in [false, true] {
        let mut text = Vec::new();
        json::row(&row, hist, &mut text);
        let rows = take(&mut JsonGroups::new(), std::str::from_utf8(&text).unwrap());
        let mut found = cells(&rows);
        found.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(found, slots.clone().map(|(name, _, slot)| (name.to_owned(), slot)));
        assert_eq!((rows.arrival.first_seq, rows.arrival.last_seq), (7, 7));
        assert_eq!((rows.batch.time(0), rows.batch.device_time(0)), (Some(row.time), row.device_time));
        assert_eq!(rows.known.key.store, NO_STORE);
        // What is put aside in a journal is read again by the schema.
        let (mut whole, errors) = blocks(&rows.frame);
        assert!(errors.is_empty());
        let again = whole.pop().unwrap().1.unpack(&rows.known, &mut tidegate_codec::block::Decoder::new()).unwrap();
        assert!(matches!(again, Piece::Rows(again) if cells(&again) == cells(&rows)));
    }
}

#[test]
fn a_group_gets_a_column_for_each_tag_that_shows() {
    let mut groups = JsonGroups::new();
    let first = take(&mut groups, r#"{"ts":1,"seq":1,"values":{"a":1}}"#);
    let second = take(&mut groups, r#"{"ts":2,"seq":2,"values":{"b":true}}"#);
    let third = take(&mut groups, r#"{"ts":3,"seq":3,"values":{"a":3,"b":false}}"#);
    assert_eq!(kinds(&first), [ValueKind::Int]);
    assert_eq!(cells(&second), [("a".to_owned(), Slot::Unchanged), ("b".to_owned(), Slot::Good(Value::Bool(true)))]);
    assert!(Arc::ptr_eq(&second.known, &third.known), "nothing new is no new schema");
}

#[test]
fn a_tag_that_was_bad_first_gets_its_kind_from_its_first_value() {
    let mut groups = JsonGroups::new();
    let first = take(&mut groups, r#"{"ts":1,"seq":1,"values":{"b":"NaN"},"bad":{"a":"timeout"}}"#);
    assert_eq!(kinds(&first), [ValueKind::F64, ValueKind::F64]);
    let second = take(&mut groups, r#"{"ts":2,"seq":2,"values":{"a":"low","b":1.5}}"#);
    let named = |rows: &Rows, name: &str| {
        rows.known.schema.columns.iter().find(|column| column.name.as_str() == name).unwrap().value_type.kind
    };
    assert_eq!((named(&second, "a"), named(&second, "b")), (ValueKind::Text, ValueKind::F64));
    let third = take(&mut groups, r#"{"ts":3,"seq":3,"values":{"a":5,"b":2}}"#);
    assert_eq!(named(&third, "a"), ValueKind::Text, "it has had a value");
    assert!(cells(&third).contains(&("b".to_owned(), Slot::Good(Value::F64(2.0)))), "a whole number of a float");
}

#[test]
fn columns_are_known_again_after_a_restart() {
    let mut before = JsonGroups::new();
    let one = take(&mut before, r#"{"ts":1,"seq":1,"values":{"a":1}}"#);
    let two = take(&mut before, r#"{"ts":2,"seq":2,"values":{"b":2.5}}"#);
    let mut after = JsonGroups::new();
    for known in [&two.known, &one.known] {
        after.know(known);
    }
    let third = take(&mut after, r#"{"ts":3,"seq":3,"values":{"a":3}}"#);
    assert_eq!(third.known.id, two.known.id);
}

#[test]
fn a_gap_record_says_which_rows_never_come() {
    let mut groups = JsonGroups::new();
    let mut text = Vec::new();
    json::gap(5, 9, "store_full", &mut text);
    let Ok(Piece::Gap(gap)) = groups.gap(&group(), &text.into()) else { panic!("no gap") };
    assert_eq!((gap.arrival.first_seq, gap.arrival.last_seq, gap.reason.as_str()), (5, 9, "store_full"));
    let (mut whole, _) = blocks(&gap.frame);
    let again = whole.pop().unwrap().1.unpack(&gap.known, &mut tidegate_codec::block::Decoder::new()).unwrap();
    assert!(matches!(again, Piece::Gap(again) if again.reason == "store_full"));
}

#[test]
fn what_is_no_row_is_refused_with_what_is_wrong() {
    for (text, wrong) in [
        ("", "it is no row"),
        ("[]", "it is no row"),
        (r#"{"ts":1,"values":{}}"#, "missing field `seq`"),
        (r#"{"ts":1,"seq":-1,"values":{}}"#, "it is no row"),
        (r#"{"ts":1,"seq":18446744073709551615,"values":{}}"#, "number of the last row"),
        (r#"{"ts":1,"seq":1,"values":{"a":null}}"#, "the value of a is none"),
        (r#"{"ts":1,"seq":1,"values":{"a":{"b":1}}}"#, "the value of a is none"),
        (r#"{"ts":1,"seq":1,"values":{"a b":1}}"#, "a tag that cannot be"),
        (r#"{"ts":1,"seq":1,"values":{},"bad":{"a":"asleep"}}"#, "the reason asleep of a"),
        (r#"{"gap":{"from":1,"to":2,"reason":"too_old"}}"#, "it is no row"),
    ] {
        let refused = JsonGroups::new().row(&group(), &Bytes::copy_from_slice(text.as_bytes())).unwrap_err();
        assert!(refused.contains(wrong), "{text}: {refused}");
    }
    for text in ["{}", r#"{"gap":{"from":9,"to":5,"reason":"too_old"}}"#] {
        assert!(JsonGroups::new().gap(&group(), &Bytes::copy_from_slice(text.as_bytes())).is_err(), "{text}");
    }
}

#[test]
fn nothing_that_is_cut_makes_a_row_or_a_panic() {
    let text =
        br#"{"ts":1,"seq":1,"values":{"a":[1,2.5,"x"],"b":"NaN"},"uncertain":{"a":"stale"},"bad":{"c":"timeout"}}"#;
    assert!(JsonGroups::new().row(&group(), &Bytes::from_static(text)).is_ok());
    for end in 0..text.len() {
        assert!(JsonGroups::new().row(&group(), &Bytes::from_static(&text[..end])).is_err(), "cut at {end}");
    }
}
