//! Tables of recorded data: comma-separated, first line `ts` (Unix ms) and then `name:type` for each column (`f` float, `i` integer,
//! `b` bool, `s` text); an empty cell is a bad sample.

use std::{error::Error, fs, path::Path};

use tidegate_codec::block::Batch;
use tidegate_model::{Column, Reason, Slot, Timestamp, Value, ValueKind, ValueType};

/// One recorded table.
#[derive(Debug, Clone)]
pub struct Table {
    /// The file's name without its ending.
    pub name: String,
    /// What its columns are.
    pub columns: Vec<Column>,
    /// When each row was taken, in Unix milliseconds.
    pub times: Vec<i64>,
    /// One slot per column and row.
    pub rows: Vec<Vec<Slot>>,
}

impl Table {
    /// All tables of a folder, by name.
    pub fn load_all(folder: &Path) -> Result<Vec<Table>, Box<dyn Error>> {
        let mut paths: Vec<_> =
            fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "csv"));
        paths.sort();
        paths.iter().map(|path| Table::load(path)).collect()
    }

    /// One table.
    pub fn load(path: &Path) -> Result<Table, Box<dyn Error>> {
        let text = fs::read_to_string(path)?;
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or("table").to_owned();
        let mut lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
        let head = lines.next().ok_or("the file is empty")?;
        let columns: Vec<Column> = head.split(',').skip(1).map(column).collect::<Result<_, _>>()?;
        let (mut times, mut rows) = (Vec::new(), Vec::new());
        for line in lines {
            let mut cells = line.split(',');
            times.push(cells.next().ok_or("a row has no time")?.parse()?);
            let slots = columns.iter().map(|column| {
                cells
                    .next()
                    .ok_or_else(|| "a row is too short".into())
                    .and_then(|cell| slot(cell, column.value_type.kind))
            });
            rows.push(slots.collect::<Result<Vec<Slot>, Box<dyn Error>>>()?);
        }
        Ok(Table { name, columns, times, rows })
    }

    /// The same table as if it had been polled: each time is a few milliseconds late, one in 200 much later.
    pub fn polled(mut self) -> Table {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        for time in &mut self.times {
            let mut late = 2.0 - 4.0 * (1.0 - random()).ln();
            if random() < 0.005 {
                late += 50.0 + 200.0 * random();
            }
            *time += late as i64;
        }
        self
    }

    /// The rows in batches of so many; what is left at the end is left out.
    pub fn batches(&self, rows: usize) -> Result<Vec<Batch>, Box<dyn Error>> {
        let mut batches = Vec::new();
        for (number, chunk) in self.rows.chunks_exact(rows).enumerate() {
            let mut batch = Batch::new(&self.columns);
            for (at, slots) in chunk.iter().enumerate() {
                let row = number * rows + at;
                let time = Timestamp::from_millis(self.times.get(row).copied().unwrap_or(0));
                batch.push(u64::try_from(row)? + 1, time, None, slots)?;
            }
            batches.push(batch);
        }
        Ok(batches)
    }
}

fn column(head: &str) -> Result<Column, Box<dyn Error>> {
    let (name, kind) = head.rsplit_once(':').ok_or("a column has no type")?;
    let kind = match kind {
        "f" => ValueKind::F64,
        "i" => ValueKind::Int,
        "b" => ValueKind::Bool,
        "s" => ValueKind::Text,
        other => return Err(format!("no column has type {other:?}").into()),
    };
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    Ok(Column::new(name.parse()?, ValueType::single(kind)))
}

fn slot(cell: &str, kind: ValueKind) -> Result<Slot, Box<dyn Error>> {
    if cell.is_empty() {
        return Ok(Slot::Bad(Reason::InvalidValue));
    }
    Ok(Slot::Good(match kind {
        ValueKind::Bool => Value::Bool(cell == "1"),
        ValueKind::Int => Value::Int(cell.parse()?),
        ValueKind::F64 => Value::F64(cell.parse()?),
        _ => Value::Text(cell.into()),
    }))
}
