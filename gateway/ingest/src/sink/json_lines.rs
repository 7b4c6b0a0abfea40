//! JSON Lines on standard output: rows, gap records and what cannot be read, each a line.
//!
//! At least once: what is behind the pipe may get a line twice after a kill, never not at all.

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;
use tidegate_codec::block::SchemaId;
use tidegate_export::{Table, json_lines};

use super::{SinkError, Trouble, Written, disk};
use crate::{
    IngestError, Report,
    error::file,
    ledger::Ledger,
    piece::{Gap, Known, Piece, Refused, Rows},
    report::StreamReport,
};

/// Bytes of lines that are written at once.
const CHUNK: usize = 1 << 20;

/// JSON Lines on standard output, or on whatever else takes bytes.
pub(crate) struct JsonLines<W = io::Stdout> {
    out: W,
    ledger: Ledger,
    path: Option<PathBuf>,
    /// Whether the file of the ledger is behind.
    changed: bool,
    lines: Vec<u8>,
}

impl<W: Write> JsonLines<W> {
    /// A sink that writes lines to `out` and remembers in the file, if there is one, what it has written.
    pub(crate) fn open(out: W, path: Option<PathBuf>) -> Result<JsonLines<W>, IngestError> {
        let ledger = match &path {
            Some(path) if path.exists() => read(path)?,
            _ => Ledger::default(),
        };
        Ok(JsonLines { out, ledger, path, changed: false, lines: Vec::new() })
    }

    /// Writes the pieces that are new.
    pub(crate) fn write(&mut self, pieces: &[Piece]) -> Result<Written, SinkError> {
        let mut written = Written::default();
        self.lines.clear();
        let mut changes = self.ledger.changes();
        for piece in pieces {
            pass_on(&mut self.out, &mut self.lines)?;
            match piece {
                Piece::Rows(rows) => {
                    let before = written.numbered_again;
                    let new = rows.deliver(changes.account(&rows.known.key), &mut written);
                    if written.numbered_again > before {
                        written.quarantined += 1;
                        put(&mut self.lines, &refused_line(&rows.numbered_again()));
                    }
                    for (first, last) in new.iter() {
                        put_rows(&mut self.out, &mut self.lines, rows, first, last)?;
                        written.values += rows.values(first, last);
                    }
                }
                Piece::Gap(gap) => {
                    if changes.account(&gap.known.key).declare(gap.arrival, &gap.reason) {
                        written.gaps += 1;
                        put(&mut self.lines, &gap_line(gap));
                    }
                }
                Piece::Refused(refused) => {
                    written.quarantined += 1;
                    put(&mut self.lines, &refused_line(refused));
                }
            }
        }
        let changes = changes.done();
        self.out.write_all(&self.lines).and_then(|()| self.out.flush()).map_err(gone)?;
        self.ledger.apply(changes);
        self.changed = true;
        Ok(written)
    }

    /// Brings the file of the ledger up to date.
    pub(crate) fn save(&mut self) -> Result<(), SinkError> {
        let Some(path) = self.path.as_ref().filter(|_| self.changed) else { return Ok(()) };
        let bytes = self.ledger.encode().map_err(|error| person(error.to_string()))?;
        let failed = |error| person(format!("the ledger {} cannot be written: {error}", path.display()));
        disk::put(path, &bytes).map_err(failed)?;
        self.changed = false;
        Ok(())
    }
}

/// What the file of a ledger says.
pub(crate) fn report(path: Option<&PathBuf>) -> Result<Report, IngestError> {
    let Some(path) = path.filter(|path| path.exists()) else {
        let place =
            path.map_or("standard output; name its file with --ledger".to_owned(), |path| path.display().to_string());
        return Err(IngestError::NoLedger { place });
    };
    let ledger = read(path)?;
    let streams = ledger.iter().map(|(key, account)| StreamReport::new(key.clone(), account)).collect();
    Ok(Report { streams, quarantined: 0 })
}

fn read(path: &PathBuf) -> Result<Ledger, IngestError> {
    let bytes = fs::read(path).map_err(file("read", path))?;
    Ledger::decode(&bytes).map_err(|error| IngestError::Damaged { path: path.clone(), why: error.to_string() })
}

/// Writes the lines once there are many of them.
fn pass_on(out: &mut impl Write, lines: &mut Vec<u8>) -> Result<(), SinkError> {
    if lines.len() >= CHUNK {
        out.write_all(lines).map_err(gone)?;
        lines.clear();
    }
    Ok(())
}

fn put_rows(out: &mut impl Write, lines: &mut Vec<u8>, rows: &Rows, first: u64, last: u64) -> Result<(), SinkError> {
    let Known { key, schema, .. } = &*rows.known;
    let columns = schema.columns.clone();
    let table = Table::new(Some(key.gateway.clone()), key.device.clone(), key.group.clone(), columns);
    let table = table.map_err(|error| SinkError { trouble: Trouble::Values, text: error.to_string() })?;
    let places = table.places(&schema.columns);
    let all = rows.places(first, last);
    for place in all.clone() {
        json_lines::write(&mut *lines, &table, &rows.batch, place..(place + 1).min(all.end), &places).map_err(gone)?;
        pass_on(out, lines)?;
    }
    Ok(())
}

fn gap_line(gap: &Gap) -> serde_json::Value {
    let key = &gap.known.key;
    json!({
        "gateway": key.gateway.as_str(), "device": key.device.as_str(), "group": key.group.as_str(),
        "gap": { "from": gap.arrival.first_seq, "to": gap.arrival.last_seq, "reason": gap.reason },
    })
}

fn refused_line(refused: &Refused) -> serde_json::Value {
    json!({
        "gateway": refused.gateway,
        "refused": {
            "fault": refused.fault.as_str(), "detail": refused.detail, "schema": refused.schema.map(|id: SchemaId| id.to_string()),
            "bytes": BASE64_STANDARD.encode(&refused.frame),
        },
    })
}

fn put(lines: &mut Vec<u8>, line: &serde_json::Value) {
    lines.extend_from_slice(line.to_string().as_bytes());
    lines.push(b'\n');
}

fn gone(error: io::Error) -> SinkError {
    let trouble = if error.kind() == io::ErrorKind::BrokenPipe { Trouble::Gone } else { Trouble::Person };
    SinkError { trouble, text: format!("standard output takes nothing: {error}") }
}

fn person(text: String) -> SinkError {
    SinkError { trouble: Trouble::Person, text }
}
