use parquet::{
    file::{reader::FileReader, serialized_reader::SerializedFileReader},
    record::RowAccessor,
};
use tidegate_codec::block::Batch;
use tidegate_export::{Fill, Filled, Format, Writer};
use tidegate_model::{Column, Loss, Slot, Timestamp, Value, ValueKind};

use super::{START, column, table};

fn columns() -> [Column; 2] {
    let mut level = column("level", ValueKind::F64);
    level.loss = Some(Loss::SwingingDoor { error: "0.5".to_owned(), max_silence: 60_000 });
    [column("count", ValueKind::Int), level]
}

/// Three rows, the middle one of which is on a line.
fn filled() -> Filled {
    let mut batch = Batch::new(&columns());
    for (seq, level) in [(1, Slot::Good(Value::F64(1.0))), (2, Slot::Unchanged), (3, Slot::Good(Value::F64(2.0)))] {
        let time = Timestamp::from_millis(START + 1000 * i64::try_from(seq).unwrap());
        batch.push(seq, time, None, &[Slot::Good(Value::Int(7)), level]).unwrap();
    }
    let mut fill = Fill::new(&columns()).unwrap();
    fill.push(&batch);
    fill.end();
    let filled = fill.ready().unwrap().unwrap();
    assert_eq!((filled.batch.len(), filled.drawn()), (3, 1));
    filled
}

fn file(format: Format) -> Vec<u8> {
    let mut writer = Writer::new(format, Vec::new(), table(&columns())).unwrap();
    let places = writer.places(&columns()).unwrap();
    writer.write_filled(&filled(), &places).unwrap();
    writer.finish().unwrap().to
}

#[test]
fn a_value_that_was_drawn_is_marked_in_every_format() {
    let csv = String::from_utf8(file(Format::Csv)).unwrap();
    let lines: Vec<&str> = csv.lines().collect();
    assert!(lines[1].ends_with(",,1,7,1.0,,") && lines[3].ends_with(",,3,7,2.0,,"), "{csv}");
    assert!(lines[2].ends_with(",,2,7,1.5,,interpolated"), "{csv}");

    let json = String::from_utf8(file(Format::JsonLines)).unwrap();
    let marked: Vec<bool> = json.lines().map(|line| line.contains("\"interpolated\"")).collect();
    assert_eq!(marked, [false, true, false]);
    assert!(
        json.contains("\"seq\":2,\"values\":{\"count\":7,\"level\":1.5},\"interpolated\":[\"level\"]}\n"),
        "{json}"
    );

    let parquet = SerializedFileReader::new(bytes::Bytes::from(file(Format::Parquet))).unwrap();
    let row = parquet.get_row_iter(None).unwrap().nth(1).unwrap().unwrap();
    let names: Vec<&String> = row.get_column_iter().map(|(name, _)| name).collect();
    let place = |wanted: &str| names.iter().position(|name| *name == wanted).unwrap();
    assert_eq!(row.get_double(place("level")).unwrap(), 1.5);
    assert_eq!(row.get_string(place("level:quality")).unwrap(), "interpolated");
}
