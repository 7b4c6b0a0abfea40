//! Recorded data, and the batches that are made of it.

use std::{fs, path::Path, sync::Arc};

use anyhow::{Context, bail};
use tidegate_codec::block::Batch;
use tidegate_model::{Column, Reason, Slot, Timestamp, Value, ValueKind, ValueType};

/// One recorded set.
pub(crate) struct Set {
    pub(crate) name: String,
    pub(crate) columns: Arc<[Column]>,
    rows: Vec<(i64, Vec<Option<Value>>)>,
}

/// Some rows of a set, as rows and as a batch.
pub(crate) struct Piece<'a> {
    pub(crate) columns: &'a [Column],
    pub(crate) rows: &'a [(i64, Vec<Option<Value>>)],
    pub(crate) batch: Batch,
}

impl Set {
    /// How many rows there are.
    pub(crate) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// The set in pieces of so many rows; the last may be shorter.
    pub(crate) fn pieces(&self, rows: usize) -> anyhow::Result<Vec<Piece<'_>>> {
        let mut pieces = Vec::new();
        let mut seq = 0;
        for rows in self.rows.chunks(rows) {
            let mut batch = Batch::new(&self.columns);
            for (time, values) in rows {
                seq += 1;
                let slots: Vec<Slot> = values.iter().map(slot).collect();
                batch.push(seq, Timestamp::from_millis(*time), None, &slots)?;
            }
            pieces.push(Piece { columns: &self.columns, rows, batch });
        }
        Ok(pieces)
    }
}

fn slot(value: &Option<Value>) -> Slot {
    value.clone().map_or(Slot::Bad(Reason::InvalidValue), Slot::Good)
}

/// Every set in a folder, by name.
pub(crate) fn sets(folder: &Path) -> anyhow::Result<Vec<Set>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("failed to read {}", folder.display()))? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "csv") {
            files.push(file);
        }
    }
    files.sort();
    files.iter().map(|file| set(file).with_context(|| format!("failed to read {}", file.display()))).collect()
}

fn set(file: &Path) -> anyhow::Result<Set> {
    let text = fs::read_to_string(file)?;
    let mut lines = text.lines();
    let mut head = lines.next().context("the file is empty")?.split(',');
    if head.next() != Some("ts") {
        bail!("the first column is not ts");
    }
    let mut columns: Vec<Column> = Vec::new();
    for head in head {
        columns.push(column(head, &columns)?);
    }
    let columns: Arc<[Column]> = columns.into();
    let mut rows = Vec::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let mut cells = line.split(',');
        let time = cells.next().unwrap_or_default().parse().with_context(|| format!("no time in {line:?}"))?;
        let values = columns.iter().map(|column| value(cells.next().unwrap_or_default(), column.value_type.kind));
        rows.push((time, values.collect::<anyhow::Result<_>>().with_context(|| line.to_owned())?));
    }
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Set { name, columns, rows })
}

/// A column that stands after `known`.
fn column(head: &str, known: &[Column]) -> anyhow::Result<Column> {
    let (name, kind) = head.split_once(':').with_context(|| format!("{head:?} is not name:type"))?;
    let kind = match kind {
        "f" => ValueKind::F64,
        "i" => ValueKind::Int,
        "b" => ValueKind::Bool,
        "s" => ValueKind::Text,
        other => bail!("{other:?} is none of the types f, i, b, s"),
    };
    // Recorded names may have characters that a tag cannot.
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '_' };
    let name: String = name.chars().map(allowed).collect();
    let name = name.parse().ok().filter(|name| known.iter().all(|column| column.name != *name));
    let name = name.map_or_else(|| format!("column-{}", known.len()).parse(), Ok)?;
    Ok(Column::new(name, ValueType::single(kind)))
}

fn value(cell: &str, kind: ValueKind) -> anyhow::Result<Option<Value>> {
    if cell.is_empty() {
        return Ok(None);
    }
    Ok(Some(match kind {
        ValueKind::F64 => Value::F64(cell.parse()?),
        ValueKind::Int => Value::Int(cell.parse()?),
        ValueKind::Bool => Value::Bool(matches!(cell, "1" | "true" | "True" | "TRUE")),
        _ => Value::Text(cell.into()),
    }))
}
