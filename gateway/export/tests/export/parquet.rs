use ::parquet::{
    file::reader::{FileReader, SerializedFileReader},
    record::{Field, Row},
};
use bytes::Bytes;

use super::*;

fn read(file: Vec<u8>) -> (SerializedFileReader<Bytes>, Vec<Row>) {
    let reader = SerializedFileReader::new(Bytes::from(file)).unwrap();
    let rows = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
    (reader, rows)
}

fn cell<'a>(row: &'a Row, name: &str) -> &'a Field {
    row.get_column_iter().find(|(column, _)| *column == name).unwrap_or_else(|| panic!("{name}")).1
}

#[test]
fn every_type_comes_back_to_the_last_bit() {
    let finished = file(Format::Parquet, table(&columns()), &[(&columns(), &batch())]);
    assert_eq!((finished.rows, finished.left_out), (4, 0));
    let (_, rows) = read(finished.to);
    let first = &rows[0];
    assert_eq!(cell(first, "time"), &Field::TimestampMillis(START));
    assert_eq!(cell(first, "device_time"), &Field::TimestampMillis(START - 5));
    assert_eq!(cell(first, "seq"), &Field::ULong(40));
    assert_eq!(cell(first, "running"), &Field::Bool(true));
    assert_eq!(cell(first, "count"), &Field::Long(i64::MIN));
    assert_eq!(cell(first, "energy"), &Field::ULong(u64::MAX));
    assert_eq!(cell(first, "voltage"), &Field::Float(229.8));
    assert_eq!(cell(first, "tag:time"), &Field::Double(0.1 + 0.2));
    assert_eq!(cell(first, "mode"), &Field::Str("say \"a, b\"".to_owned()));
    assert_eq!(cell(first, "raw"), &Field::Bytes(vec![0, 255].into()));
    assert_eq!(cell(first, "curve").to_string(), "[1, -2, 3]");
    for column in columns() {
        let name = column.name.as_str();
        let value = if name == "time" { "tag:time" } else { name };
        let quality = format!("{name}:quality");
        assert_eq!(cell(first, &quality), &Field::Null);
        for (row, word) in [(1, "unchanged"), (2, "bad:timeout")] {
            assert_eq!(cell(&rows[row], value), &Field::Null, "{name}");
            assert_eq!(cell(&rows[row], &quality), &Field::Str(word.to_owned()), "{name}");
        }
        assert_ne!(cell(&rows[3], value), &Field::Null, "{name}");
        assert_eq!(cell(&rows[3], &quality), &Field::Str("uncertain:out_of_range".to_owned()), "{name}");
    }
    let Field::Float(voltage) = cell(&rows[3], "voltage") else { panic!("no float") };
    assert_eq!(voltage.to_bits(), f32::NAN.to_bits());
    assert_eq!(cell(&rows[3], "curve").to_string(), "[]");
    assert_eq!(cell(&rows[3], "device_time"), &Field::Null);
}

#[test]
fn a_value_of_another_type_is_left_out_counted_and_said() {
    let all = columns();
    let mut batch = Batch::new(&all);
    let mut slots = vec![Slot::Good(Value::F64(1.5)); 8];
    slots[4] = Slot::Good(array(&[1]));
    slots[7] = Slot::Good(Value::Array([Value::Int(1), Value::Bool(true)].into()));
    batch.push(1, Timestamp::from_millis(START), None, &slots).unwrap();
    let finished = file(Format::Parquet, table(&all), &[(&all, &batch)]);
    assert_eq!(finished.left_out, 8);
    let (_, rows) = read(finished.to);
    for name in ["running", "count", "energy", "voltage", "mode", "raw", "curve"] {
        assert_eq!(cell(&rows[0], name), &Field::Null, "{name}");
        assert_eq!(cell(&rows[0], &format!("{name}:quality")), &Field::Str("other_type".to_owned()), "{name}");
    }
}

#[test]
fn the_file_says_who_it_is_from_and_what_the_caller_notes() {
    let all = columns();
    let mut writer = Writer::new(Format::Parquet, Vec::new(), table(&all)).unwrap();
    writer.note("ledger", "1-4".to_owned());
    let (reader, rows) = read(writer.finish().unwrap().to);
    assert_eq!(rows.len(), 0);
    let notes = reader.metadata().file_metadata().key_value_metadata().unwrap();
    let note = |key: &str| notes.iter().find(|note| note.key == key).and_then(|note| note.value.clone()).unwrap();
    assert_eq!((note("tidegate.gateway"), note("tidegate.device")), ("line3".to_owned(), "meter-1".to_owned()));
    assert_eq!((note("tidegate.group"), note("ledger")), ("fast".to_owned(), "1-4".to_owned()));
    assert_eq!(tidegate_codec::schema::decode(note("tidegate.columns").as_bytes()).unwrap(), all);
}

#[test]
fn memory_has_a_bound_however_many_rows_there_are() {
    let columns = [column("log", ValueKind::Text)];
    let mut batch = Batch::new(&columns);
    let mut writer = Writer::new(Format::Parquet, Vec::new(), table(&columns)).unwrap();
    let places = writer.places(&columns).unwrap();
    let mut most = 0;
    for start in (0..20_000_u64).step_by(1000) {
        batch.clear();
        for seq in start..start + 1000 {
            let text = Value::Text(format!("{seq:04096}").into());
            batch.push(seq, Timestamp::from_millis(START), None, &[Slot::Good(text)]).unwrap();
        }
        writer.write(&batch, 0..1000, &places).unwrap();
        most = most.max(writer.waiting_bytes());
    }
    assert!(most < 40 << 20, "{most}");
    let (reader, rows) = read(writer.finish().unwrap().to);
    let right = |(seq, row): (usize, &Row)| cell(row, "log") == &Field::Str(format!("{seq:04096}"));
    assert!(rows.len() == 20_000 && rows.iter().enumerate().all(right));
    assert!(reader.metadata().num_row_groups() >= 3, "{}", reader.metadata().num_row_groups());
}

#[test]
fn rows_in_which_a_tag_has_another_type_need_a_file_of_their_own() {
    let (int, text) = (column("count", ValueKind::Int), column("count", ValueKind::Text));
    let parquet = Writer::new(Format::Parquet, Vec::new(), table(std::slice::from_ref(&int))).unwrap();
    assert!(parquet.places(std::slice::from_ref(&int)).is_some());
    assert!(parquet.places(std::slice::from_ref(&text)).is_none());
    let csv = Writer::new(Format::Csv, Vec::new(), table(&[int])).unwrap();
    assert!(csv.places(&[text]).is_some());
}
