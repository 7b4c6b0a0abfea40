//! JSON Lines on standard output: rows, gap records and what cannot be read, each a line.
//!
//! At least once: what is behind the pipe may get a line twice after a kill, never not at all.

use std::{
    fs,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;
use tidegate_codec::block::SchemaId;
use tidegate_export::{Table, json_lines};

use super::{Remembered, SinkError, Trouble, Written, disk, taken::Taken};
use crate::{
    IngestError, Report,
    error::file,
    ledger::Ledger,
    nodes,
    piece::{Gap, Known, Piece, Refused},
    report::StreamReport,
    sparkplug::{self, Marks},
};

/// Bytes of lines that are written at once.
const CHUNK: usize = 1 << 20;

/// JSON Lines on standard output, or on whatever else takes bytes.
pub(crate) struct JsonLines<W = io::Stdout> {
    out: W,
    ledger: Ledger,
    path: Option<PathBuf>,
    /// The values of edge nodes beside the ledger, and those that are not there yet.
    taken: Option<Taken>,
    marks: Marks,
    /// Whether the file of the ledger is behind.
    changed: bool,
}

impl<W: Write> JsonLines<W> {
    /// A sink that writes lines to `out` and remembers in the file, if there is one, what it has written.
    pub(crate) fn open(out: W, path: Option<PathBuf>) -> Result<JsonLines<W>, IngestError> {
        let ledger = match &path {
            Some(path) if path.exists() => read(path)?,
            _ => Ledger::default(),
        };
        let taken = path.as_ref().map(|path| Taken::new(beside(path)));
        Ok(JsonLines { out, ledger, path, taken, marks: Marks::default(), changed: false })
    }

    #[cfg(test)]
    pub(crate) fn out(&self) -> &W {
        &self.out
    }

    /// What the file of the ledger remembers, and the one beside it.
    pub(crate) fn remembered(&mut self) -> Remembered {
        let (streams, nodes) = (self.ledger.numbered_here(), self.ledger.nodes.clone());
        let taken = self.taken.as_mut().map(|taken| taken.open(self.ledger.taken)).unwrap_or_default();
        Remembered { streams, gaps: self.ledger.numbered_there(), nodes, taken, ..Remembered::default() }
    }

    /// Writes the pieces that are new.
    pub(crate) fn write(&mut self, pieces: &[Piece]) -> Result<Written, SinkError> {
        let mut written = Written::default();
        // What no lines can be made of is found before there is any.
        let tables = pieces.iter().map(table).collect::<Result<Vec<Option<Table>>, SinkError>>()?;
        let mut out = BufWriter::with_capacity(CHUNK, &mut self.out);
        let (mut changes, mut taken) = (self.ledger.changes(), Vec::new());
        for (piece, table) in pieces.iter().zip(&tables) {
            match (piece, table) {
                (Piece::Rows(rows), Some(table)) => {
                    let before = written.numbered_again;
                    let new = rows.deliver(changes.account(&rows.known.key), &mut written);
                    if written.numbered_again > before {
                        written.quarantined += 1;
                        put(&mut out, &refused_line(&rows.numbered_again()))?;
                    }
                    let columns = table.places(&rows.known.schema.columns);
                    for (first, last) in new.iter() {
                        let places = rows.places(first, last);
                        json_lines::write(&mut out, table, &rows.batch, places, &columns).map_err(gone)?;
                        written.values += rows.values(first, last);
                    }
                    if self.path.is_some() {
                        sparkplug::marks(rows, &new, |mark| taken.push(mark));
                    }
                }
                (Piece::Rows(_), None) => {}
                (Piece::Gap(gap), _) => {
                    if changes.account(&gap.known.key).declare(gap.arrival, &gap.reason) {
                        written.gaps += 1;
                        put(&mut out, &gap_line(gap))?;
                    }
                }
                (Piece::Refused(refused), _) => {
                    written.quarantined += 1;
                    put(&mut out, &refused_line(refused))?;
                }
                (Piece::Nodes(_), _) => {}
            }
        }
        out.flush().map_err(gone)?;
        drop(out);
        let changes = changes.done();
        self.ledger.apply(changes);
        taken.into_iter().for_each(|mark| self.marks.push(mark));
        for piece in pieces {
            if let Piece::Nodes(news) = piece {
                nodes::enter(&mut self.ledger.nodes, news);
            }
        }
        self.changed = true;
        Ok(written)
    }

    /// Brings the file of the ledger up to date, and the one beside it before.
    pub(crate) fn save(&mut self) -> Result<(), SinkError> {
        let Some(path) = self.path.as_ref().filter(|_| self.changed) else { return Ok(()) };
        let failed = |error| person(format!("the ledger {} cannot be written: {error}", path.display()));
        let not_kept = |error| person(format!("what edge nodes have said cannot be kept beside the ledger: {error}"));
        let before = self.ledger.taken;
        if let Some(taken) = &mut self.taken {
            self.ledger.taken = taken.append(before, &self.marks).map_err(not_kept)?;
        }
        let encoded = self.ledger.encode().map_err(|error| person(error.to_string()));
        if let Err(error) = encoded.and_then(|bytes| disk::put(path, &bytes).map_err(failed)) {
            self.ledger.taken = before;
            return Err(error);
        }
        self.marks.clear();
        self.changed = false;
        if let Some(taken) = &mut self.taken {
            taken.clear(self.ledger.taken).map_err(not_kept)?;
        }
        Ok(())
    }
}

/// What the paths of the files beside a ledger begin with.
fn beside(path: &Path) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".");
    beside.into()
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
    Ok(Report::new(streams, ledger.nodes, 0))
}

fn read(path: &PathBuf) -> Result<Ledger, IngestError> {
    let bytes = fs::read(path).map_err(file("read", path))?;
    Ledger::decode(&bytes).map_err(|error| IngestError::Damaged { path: path.clone(), why: error.to_string() })
}

/// The table that rows are lines of; `None` for what is no rows.
fn table(piece: &Piece) -> Result<Option<Table>, SinkError> {
    let Piece::Rows(rows) = piece else { return Ok(None) };
    let Known { key, schema, .. } = &*rows.known;
    let columns = schema.columns.clone();
    let table = Table::new(Some(key.gateway.clone()), key.device.clone(), key.group.clone(), columns);
    table.map(Some).map_err(|error| SinkError { trouble: Trouble::Values, text: error.to_string() })
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

fn put(out: &mut impl Write, line: &serde_json::Value) -> Result<(), SinkError> {
    writeln!(out, "{line}").map_err(gone)
}

fn gone(error: io::Error) -> SinkError {
    let trouble = if error.kind() == io::ErrorKind::BrokenPipe { Trouble::Gone } else { Trouble::Person };
    SinkError { trouble, text: format!("standard output takes nothing: {error}") }
}

fn person(text: String) -> SinkError {
    SinkError { trouble: Trouble::Person, text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::{MIDNIGHT, block, known, piece, schema};

    /// Takes lines and remembers how many bytes came at once.
    #[derive(Default)]
    struct Pipe {
        text: Vec<u8>,
        largest: usize,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.text.extend_from_slice(bytes);
            self.largest = self.largest.max(bytes.len());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_lines_of_a_large_block_go_out_in_pieces() {
        let schema = schema("meter", 2);
        let mut lines = JsonLines::open(Pipe::default(), None).unwrap();
        let written = lines.write(&[piece(&known(&schema), &block(&schema, 1, 1, 30_000, MIDNIGHT))]).unwrap();
        assert_eq!((written.rows, written.values), (30_000, 60_000));
        assert!(lines.out.largest < CHUNK + 4096, "{}", lines.out.largest);
        let text = String::from_utf8(lines.out.text).unwrap();
        let seqs =
            text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["seq"].as_u64().unwrap());
        assert!(seqs.eq(1..=30_000));
    }

    #[test]
    fn rows_that_are_numbered_again_have_a_line_with_their_block() {
        let schema = schema("meter", 1);
        let mut lines = JsonLines::open(Pipe::default(), None).unwrap();
        let pieces = [(1, 1, 10), (2, 9, 12), (2, 11, 12)]
            .map(|(boot, first, last)| piece(&known(&schema), &block(&schema, boot, first, last, MIDNIGHT)));
        let written = lines.write(&pieces).unwrap();
        assert_eq!((written.rows, written.duplicates, written.numbered_again, written.quarantined), (12, 2, 2, 1));
        let text = String::from_utf8(lines.out.text).unwrap();
        let refused: Vec<&str> = text.lines().filter(|line| line.contains("refused")).collect();
        assert!(text.lines().count() == 13 && refused.len() == 1, "{text}");
        assert!(refused[0].contains(r#""fault":"numbered_again""#), "{refused:?}");
    }
}
