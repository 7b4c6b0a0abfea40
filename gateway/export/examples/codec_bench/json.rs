//! Rows as compact JSON, one a line: `{"ts":1700000000000,"values":{"voltage_l1":229.8}}`. Bad samples are left out.

use std::io::{Read, Write};

use anyhow::Context;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde_json::Value as Tree;
use tidegate_codec::json;
use tidegate_model::{Column, Value};

use crate::{data::Piece, packing::Packing};

/// JSON, gzipped at a level or not.
pub(crate) struct Json {
    gzip: Option<u32>,
    text: Vec<u8>,
    unpacked: Vec<Tree>,
}

impl Json {
    pub(crate) fn new(gzip: Option<u32>) -> Json {
        Json { gzip, text: Vec::new(), unpacked: Vec::new() }
    }
}

fn line(columns: &[Column], time: i64, values: &[Option<Value>], out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"ts\":");
    json::value(&Value::Int(time), out);
    out.extend_from_slice(b",\"values\":{");
    let mut comma = false;
    for (column, value) in columns.iter().zip(values) {
        let Some(value) = value else { continue };
        out.extend_from_slice(if comma { b",\"" } else { b"\"" });
        comma = true;
        out.extend_from_slice(column.name.as_str().as_bytes());
        out.extend_from_slice(b"\":");
        json::value(value, out);
    }
    out.extend_from_slice(b"}}\n");
}

impl Packing for Json {
    fn pack(&mut self, piece: &Piece<'_>, out: &mut Vec<u8>) -> anyhow::Result<()> {
        let text = if self.gzip.is_some() { &mut self.text } else { &mut *out };
        text.clear();
        for (time, values) in piece.rows {
            line(piece.columns, *time, values, text);
        }
        if let Some(level) = self.gzip {
            let mut gzip = GzEncoder::new(out, Compression::new(level));
            gzip.write_all(&self.text)?;
            gzip.finish()?;
        }
        Ok(())
    }

    fn unpack(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let mut text = bytes;
        if self.gzip.is_some() {
            self.text.clear();
            GzDecoder::new(bytes).read_to_end(&mut self.text)?;
            text = &self.text;
        }
        self.unpacked.clear();
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            self.unpacked.push(serde_json::from_slice(line).context("no JSON")?);
        }
        Ok(())
    }

    fn is(&self, piece: &Piece<'_>) -> bool {
        let same = |((time, values), tree): (&(i64, Vec<Option<Value>>), &Tree)| {
            let found = |column: &Column| tree.get("values").and_then(|values| values.get(column.name.as_str()));
            let mut pairs = piece.columns.iter().zip(values).map(|(column, value)| (value, found(column)));
            tree.get("ts").and_then(Tree::as_i64) == Some(*time) && pairs.all(|(value, found)| is(value, found))
        };
        self.unpacked.len() == piece.rows.len() && piece.rows.iter().zip(&self.unpacked).all(same)
    }
}

fn is(value: &Option<Value>, found: Option<&Tree>) -> bool {
    match (value, found) {
        (Some(Value::F64(number)), Some(Tree::Number(found))) => {
            // The text is exact; the library may read it as the float beside.
            let near = |found: f64| found.to_bits().abs_diff(number.to_bits()) <= 1;
            found.as_f64().is_some_and(near)
        }
        (Some(Value::F64(number)), Some(Tree::String(word))) => {
            !number.is_finite() && word.parse().is_ok_and(|found: f64| found.to_bits() == number.to_bits())
        }
        (Some(Value::Int(number)), Some(Tree::Number(found))) => found.as_i64() == Some(*number),
        (Some(Value::Bool(on)), Some(Tree::Bool(found))) => on == found,
        (Some(Value::Text(text)), Some(Tree::String(found))) => **text == **found,
        (value, found) => value.is_none() && found.is_none(),
    }
}
