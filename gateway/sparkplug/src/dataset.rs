//! Tables. None of ours but arrays of bytes; those of others become JSON.

use std::fmt::Write;

use serde_json::{Map, Value as Json};
use tidegate_model::Value;

use crate::{
    DataType, ValueError,
    wire::{DataSet, DataSetRow, DataSetValue, PlainValue},
};

/// The only column of a table that stands for an array of bytes.
const COLUMN: &str = "base64";
/// Elements of a table that are taken.
const MOST_ELEMENTS: usize = 1_000_000;

/// The table of an array of bytes: a row each, as base64.
pub(crate) fn of_bytes(items: &[Value]) -> Result<DataSet, ValueError> {
    let row = |item: &Value| {
        let Value::Bytes(bytes) = item else { return Err(ValueError::Kind(DataType::DataSet)) };
        let value = Some(PlainValue::String(base64(bytes)));
        Ok(DataSetRow { elements: vec![DataSetValue { value }] })
    };
    Ok(DataSet {
        num_of_columns: Some(1),
        columns: vec![COLUMN.to_owned()],
        types: vec![DataType::String.code()],
        rows: items.iter().map(row).collect::<Result<_, _>>()?,
    })
}

/// A table as JSON: `{"columns":["a"],"types":["Int32"],"rows":[[1],[null]]}`.
///
/// # Errors
///
/// [`ValueError::Table`] when its parts do not go together.
pub(crate) fn to_json(table: &DataSet) -> Result<String, ValueError> {
    let columns = table.columns.len();
    let counted = table.num_of_columns.is_none_or(|count| usize::try_from(count).is_ok_and(|count| count == columns));
    if !counted || table.types.len() != columns {
        return Err(ValueError::Table);
    }
    if table.rows.len().saturating_mul(columns.max(1)) > MOST_ELEMENTS {
        return Err(ValueError::TooLong);
    }
    let types = table.types.iter().map(|code| DataType::from_code(*code).filter(|datatype| datatype.is_basic()));
    let types = types.collect::<Option<Vec<DataType>>>().ok_or(ValueError::Table)?;
    let mut rows = Vec::with_capacity(table.rows.len());
    for row in &table.rows {
        if row.elements.len() != columns {
            return Err(ValueError::Table);
        }
        let elements = row.elements.iter().zip(&types).map(|(element, datatype)| json(element, *datatype));
        rows.push(Json::Array(elements.collect()));
    }
    let mut object = Map::new();
    object.insert("columns".to_owned(), Json::from(table.columns.clone()));
    object.insert("types".to_owned(), types.iter().map(|datatype| datatype.as_str()).collect());
    object.insert("rows".to_owned(), Json::Array(rows));
    Ok(Json::Object(object).to_string())
}

fn json(element: &DataSetValue, datatype: DataType) -> Json {
    let [first, second, ..] = match element.value {
        Some(PlainValue::Int(number)) => number.to_le_bytes(),
        _ => [0; 4],
    };
    match &element.value {
        None => Json::Null,
        Some(PlainValue::Int(number)) => match datatype {
            DataType::Int8 => i8::from_le_bytes([first]).into(),
            DataType::Int16 => i16::from_le_bytes([first, second]).into(),
            DataType::Int32 => number.cast_signed().into(),
            _ => (*number).into(),
        },
        Some(PlainValue::Long(number)) if datatype == DataType::UInt64 => (*number).into(),
        Some(PlainValue::Long(number)) => number.cast_signed().into(),
        Some(PlainValue::Float(number)) => float((*number).into()),
        Some(PlainValue::Double(number)) => float(*number),
        Some(PlainValue::Boolean(on)) => (*on).into(),
        Some(PlainValue::String(text)) => text.as_str().into(),
    }
}

/// JSON has no NaN and no infinity.
fn float(number: f64) -> Json {
    let word = match () {
        () if number.is_nan() => "NaN",
        () if number == f64::INFINITY => "Infinity",
        () if number == f64::NEG_INFINITY => "-Infinity",
        () => return number.into(),
    };
    word.into()
}

/// Bytes as base64 with padding.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3).saturating_mul(4));
    for three in bytes.chunks(3) {
        let mut bits = 0_u32;
        for place in 0..3 {
            bits = bits << 8 | u32::from(three.get(place).copied().unwrap_or(0));
        }
        for place in 0..4 {
            let six = usize::try_from(bits >> (18 - 6 * place) & 0x3F).unwrap_or(0);
            let letter = if place > three.len() { b'=' } else { ALPHABET.get(six).copied().unwrap_or(b'=') };
            let _ = out.write_char(letter.into());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(value: PlainValue) -> DataSetValue {
        DataSetValue { value: Some(value) }
    }

    fn table() -> DataSet {
        let row = |elements: Vec<DataSetValue>| DataSetRow { elements };
        DataSet {
            num_of_columns: Some(3),
            columns: ["number", "text", "float"].map(str::to_owned).into(),
            types: [DataType::Int8, DataType::String, DataType::Double].map(DataType::code).into(),
            rows: vec![
                row(vec![
                    element(PlainValue::Int(255)),
                    element(PlainValue::String("a".into())),
                    element(PlainValue::Double(f64::NAN)),
                ]),
                row(vec![element(PlainValue::Int(1)), DataSetValue { value: None }, element(PlainValue::Double(1.5))]),
            ],
        }
    }

    #[test]
    fn a_table_is_read_as_json() {
        let expected = serde_json::json!({
            "columns": ["number", "text", "float"],
            "types": ["Int8", "String", "Double"],
            "rows": [[-1, "a", "NaN"], [1, null, 1.5]],
        });
        let found: Json = serde_json::from_str(&to_json(&table()).unwrap()).unwrap();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_table_whose_parts_do_not_go_together_is_no_table() {
        let spoil = |spoil: fn(&mut DataSet)| {
            let mut table = table();
            spoil(&mut table);
            to_json(&table)
        };
        assert_eq!(spoil(|table| table.num_of_columns = Some(2)), Err(ValueError::Table));
        assert_eq!(spoil(|table| table.types.truncate(2)), Err(ValueError::Table));
        assert_eq!(spoil(|table| table.types[0] = 99), Err(ValueError::Table));
        assert_eq!(spoil(|table| table.types[0] = DataType::Bytes.code()), Err(ValueError::Table));
        assert_eq!(spoil(|table| table.rows[1].elements.truncate(1)), Err(ValueError::Table));
        assert!(spoil(|table| table.num_of_columns = None).is_ok());
    }

    #[test]
    fn an_array_of_bytes_is_a_table_of_base64() {
        let items = ["", "f", "fo", "foo", "foob"].map(|text| Value::Bytes(text.as_bytes().into()));
        let table = of_bytes(&items).unwrap();
        assert_eq!((table.num_of_columns, table.types.as_slice()), (Some(1), &[DataType::String.code()][..]));
        let texts = table.rows.iter().map(|row| row.elements[0].value.clone().unwrap()).collect::<Vec<_>>();
        let expected = ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="].map(|text| PlainValue::String(text.to_owned()));
        assert_eq!(texts, expected);
        assert!(of_bytes(&[Value::Int(1)]).is_err());
    }
}
