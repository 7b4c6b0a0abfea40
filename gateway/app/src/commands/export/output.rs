//! Where the rows go: standard output, one file, or a folder with a file for each group.

use std::{
    collections::BTreeMap,
    fs::Permissions,
    io::{self, BufWriter, IsTerminal, Write, stdout},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail};
use tempfile::NamedTempFile;
use tidegate_codec::block::{Batch, StoreId};
use tidegate_export::{BlockFile, ExportError, Fill, Filled, Finished, Format, Table, Writer, json_lines};
use tidegate_model::{Stream, Timestamp};
use tidegate_store::{GapReason, Missing, Why};

use super::{format::FileFormat, plan::Plan};
use crate::commands::block::DROPPED;

/// Gaps before the first rows of a group that are remembered.
const WAITING: usize = 1_024;

/// Where to write.
#[derive(Debug, Clone)]
pub(super) enum Destination {
    Stdout,
    File(PathBuf),
    Folder(PathBuf),
}

/// The files that are being written, one after the other.
pub(super) struct Output {
    format: FileFormat,
    /// The store that has numbered the rows, where it is known.
    store: Option<StoreId>,
    destination: Destination,
    tables: Vec<Table>,
    table_of: BTreeMap<tidegate_model::StreamId, usize>,
    open: Option<Open>,
    /// Whether lines are drawn, and the stream in which they are being drawn.
    fill: bool,
    drawing: Option<Drawing>,
    /// From when until before when rows are written.
    wanted: (Option<Timestamp>, Option<Timestamp>),
    /// The stream of the rows that came last, and the start in which they were numbered.
    last: Option<(Arc<Stream>, u64)>,
    /// Rows that are missing before the first rows of their group.
    missing: Vec<Missing>,
    /// How many files there are of each name by now.
    names: BTreeMap<PathBuf, usize>,
    pub(super) done: Done,
}

/// What has been written.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) rows: u64,
    /// Values that Parquet has no place for.
    pub(super) left_out: u64,
    pub(super) files: Vec<PathBuf>,
}

/// The lines that are being drawn in one stream.
struct Drawing {
    stream: Arc<Stream>,
    boot: u64,
    fill: Fill,
}

/// Rows as they were recorded, or with what was drawn between them.
enum Rows<'a> {
    Recorded(&'a Batch),
    Drawn(&'a Filled),
}

impl Rows<'_> {
    fn batch(&self) -> &Batch {
        match self {
            Rows::Recorded(batch) => batch,
            Rows::Drawn(filled) => &filled.batch,
        }
    }
}

/// A file that is not whole yet.
struct Open {
    table: usize,
    path: Option<PathBuf>,
    to: To,
}

enum To {
    /// Of one table.
    Table(Writer<Target>),
    /// Of any tables.
    Lines(Target),
    /// Of any streams.
    Blocks(Box<BlockFile<Target>>),
}

/// What is written to. A file has another name until it is whole, and is gone if it does not get so far.
enum Target {
    Stdout(BufWriter<io::Stdout>),
    File(BufWriter<NamedTempFile>),
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Target::Stdout(to) => to.write(bytes),
            Target::File(to) => to.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Target::Stdout(to) => to.flush(),
            Target::File(to) => to.flush(),
        }
    }
}

impl Destination {
    /// What `--output` means: a folder if it is one, or says so with a `/` at its end.
    pub(super) fn of(output: Option<&Path>) -> Destination {
        match output {
            None => Destination::Stdout,
            Some(path) if path.is_dir() || path.to_string_lossy().ends_with('/') => {
                Destination::Folder(path.to_owned())
            }
            Some(path) => Destination::File(path.to_owned()),
        }
    }
}

impl Output {
    /// Nothing is written before there is a row.
    pub(super) fn new(
        format: FileFormat,
        fill: bool,
        destination: Destination,
        plan: &Plan,
        store: Option<StoreId>,
    ) -> anyhow::Result<Output> {
        let groups: Vec<&str> = plan.groups().into_iter().map(|group| group.as_str()).collect();
        if groups.len() > 1 && !format.mixes_groups() && !matches!(destination, Destination::Folder(_)) {
            bail!(
                "a {} file has the rows of one group, and here are {}; choose one with --group, or write a file of \
                 each into a folder with --output FOLDER/",
                format.extension(),
                groups.join(", ")
            );
        }
        if let Some(is) = format.binary()
            && matches!(destination, Destination::Stdout)
            && stdout().is_terminal()
        {
            bail!("{is} nothing to look at; write to a file with --output FILE");
        }
        if let Destination::Folder(folder) = &destination {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("failed to make the folder {}", folder.display()))?;
        }
        let (tables, table_of) = (plan.tables.clone(), plan.table_of.clone());
        Ok(Output {
            format,
            store,
            destination,
            tables,
            table_of,
            open: None,
            fill,
            drawing: None,
            wanted: (plan.query.from, plan.query.to),
            last: None,
            missing: Vec::new(),
            names: BTreeMap::new(),
            done: Done::default(),
        })
    }

    /// Whether standard output is what is written to.
    pub(super) fn is_stdout(&self) -> bool {
        matches!(self.destination, Destination::Stdout)
    }

    /// Appends rows of a stream that were numbered in that start of the gateway.
    pub(super) fn write(&mut self, stream: &Arc<Stream>, boot: u64, batch: &Batch) -> anyhow::Result<()> {
        self.last = Some((Arc::clone(stream), boot));
        for missing in std::mem::take(&mut self.missing) {
            self.missing(missing)?;
        }
        if !self.fill {
            return self.put(stream, boot, &Rows::Recorded(batch));
        }
        // No line goes from one start of the gateway to the next.
        let goes_on = |drawing: &Drawing| drawing.stream.id() == stream.id() && drawing.boot == boot;
        if !self.drawing.as_ref().is_some_and(goes_on) {
            self.end_lines()?;
            let (from, to) = self.wanted;
            let fill = Fill::new(stream.columns()).map(|fill| fill.within(from, to));
            self.drawing = fill.map(|fill| Drawing { stream: Arc::clone(stream), boot, fill });
        }
        match &mut self.drawing {
            Some(drawing) => {
                drawing.fill.push(batch);
                self.put_drawn()
            }
            None => self.put(stream, boot, &Rows::Recorded(batch)),
        }
    }

    /// Says in blocks that rows are missing. Other files show it by their numbers.
    pub(super) fn missing(&mut self, missing: Missing) -> anyhow::Result<()> {
        let (Some(first), Some(last), FileFormat::Block) = (missing.first, missing.last, self.format) else {
            return Ok(());
        };
        let beside = self.last.clone().filter(|(stream, _)| {
            (stream.device(), stream.group()) == (&missing.device, &missing.group) && first <= last
        });
        let Some((stream, boot)) = beside else {
            // The next rows say whose they are.
            if self.missing.len() < WAITING {
                self.missing.push(missing);
            }
            return Ok(());
        };
        let reason = match missing.why {
            Why::Damaged(_) => GapReason::Damaged.code(),
            Why::Dropped => DROPPED,
        };
        let Some(table) = self.table_of.get(&stream.id()).copied() else { return Ok(()) };
        self.open_for(table)?;
        let (Some(open), Some(content)) = (&mut self.open, self.tables.get(table)) else { return Ok(()) };
        if let To::Blocks(file) = &mut open.to {
            let places = content.places(stream.columns());
            file.write_gap((&stream, boot), (first, last), reason, &places).map_err(said)?;
        }
        Ok(())
    }

    /// Appends what still waits for the end of a line.
    fn end_lines(&mut self) -> anyhow::Result<()> {
        if let Some(drawing) = &mut self.drawing {
            drawing.fill.end();
        }
        self.put_drawn()?;
        self.drawing = None;
        Ok(())
    }

    fn put_drawn(&mut self) -> anyhow::Result<()> {
        while let Some(drawing) = &mut self.drawing {
            let Some(filled) = drawing.fill.ready()? else { break };
            let (stream, boot) = (Arc::clone(&drawing.stream), drawing.boot);
            self.put(&stream, boot, &Rows::Drawn(&filled))?;
        }
        Ok(())
    }

    fn put(&mut self, stream: &Stream, boot: u64, rows: &Rows) -> anyhow::Result<()> {
        let batch = rows.batch();
        // A stream that has come up since the plan was made is for the next export.
        let Some(table) = self.table_of.get(&stream.id()).copied() else { return Ok(()) };
        self.open_for(table)?;
        let (Some(open), Some(content)) = (&mut self.open, self.tables.get(table)) else { return Ok(()) };
        match &mut open.to {
            To::Table(writer) => {
                let places = writer.places(stream.columns()).context("the columns do not fit into their own table")?;
                match rows {
                    Rows::Recorded(batch) => writer.write(batch, 0..batch.len(), &places).map_err(said)?,
                    Rows::Drawn(filled) => writer.write_filled(filled, &places).map_err(said)?,
                }
            }
            To::Lines(to) => {
                let places = content.places(stream.columns());
                match rows {
                    Rows::Recorded(batch) => json_lines::write(to, content, batch, 0..batch.len(), &places)?,
                    Rows::Drawn(filled) => json_lines::write_filled(to, content, filled, &places)?,
                }
            }
            To::Blocks(file) => {
                file.write(stream, boot, batch, &content.places(stream.columns())).map_err(said)?;
            }
        }
        self.done.rows += u64::try_from(batch.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// Goes over to the file for a table, if it is another one.
    fn open_for(&mut self, table: usize) -> anyhow::Result<()> {
        let goes_on = |open: &Open| match (&open.to, &self.destination) {
            (To::Table(_), _) => open.table == table,
            (To::Lines(_) | To::Blocks(_), Destination::Folder(_)) => self.group(open.table) == self.group(table),
            (To::Lines(_) | To::Blocks(_), _) => true,
        };
        if self.open.as_ref().is_some_and(goes_on) {
            return Ok(());
        }
        self.close()?;
        let Some(content) = self.tables.get(table).cloned() else { return Ok(()) };
        let path = self.path(&content)?;
        let target = match &path {
            None => Target::Stdout(BufWriter::new(stdout())),
            Some(path) => file(path)?,
        };
        let to = match self.format.of_table() {
            Some(Format::JsonLines) => To::Lines(target),
            Some(format) => To::Table(Writer::new(format, target, content).map_err(said)?),
            None => {
                let store = self.store.context(
                    "the rows are from before the store had an identity, which blocks need; start the gateway once, or export \
                     them in another format",
                )?;
                To::Blocks(Box::new(BlockFile::new(target, store)))
            }
        };
        self.open = Some(Open { table, path, to });
        Ok(())
    }

    fn group(&self, table: usize) -> Option<&tidegate_model::Name> {
        self.tables.get(table).map(Table::group)
    }

    /// The name of the next file; none for standard output.
    fn path(&mut self, table: &Table) -> anyhow::Result<Option<PathBuf>> {
        let path = match &self.destination {
            Destination::Stdout => PathBuf::new(),
            Destination::File(path) => path.clone(),
            Destination::Folder(folder) => {
                folder.join(format!("{}.{}.{}", table.device(), table.group(), self.format.extension()))
            }
        };
        let count = self.names.entry(path.clone()).or_default();
        *count += 1;
        match (&self.destination, *count) {
            (Destination::Stdout, 1) => Ok(None),
            (Destination::Stdout, _) => bail!(
                "the type of a tag has changed, and {} has one type for each column; write a file for each with --output, or \
                 choose a range with --from and --to",
                self.format.extension()
            ),
            (_, 1) => Ok(Some(path)),
            (_, count) => Ok(Some(numbered(&path, count))),
        }
    }

    /// Completes everything.
    pub(super) fn finish(&mut self) -> anyhow::Result<()> {
        self.end_lines()?;
        self.close()
    }

    /// Completes the file that is open.
    fn close(&mut self) -> anyhow::Result<()> {
        let Some(Open { to, path, .. }) = self.open.take() else { return Ok(()) };
        let target = match to {
            To::Lines(mut target) => {
                target.flush()?;
                target
            }
            To::Blocks(file) => file.finish().map_err(said)?,
            To::Table(writer) => {
                let Finished { to, left_out, .. } = writer.finish().map_err(said)?;
                self.done.left_out += left_out;
                to
            }
        };
        if let (Target::File(file), Some(path)) = (target, path) {
            let failed = || format!("failed to write {}", path.display());
            let file = file.into_inner().map_err(io::IntoInnerError::into_error).with_context(failed)?;
            file.as_file().sync_all().with_context(failed)?;
            file.persist(&path).map_err(|error| error.error).with_context(failed)?;
            self.done.files.push(path);
        }
        Ok(())
    }
}

/// A file under another name in the folder of `path`.
fn file(path: &Path) -> anyhow::Result<Target> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = format!(".{}.", path.file_name().unwrap_or_default().to_string_lossy());
    let mut builder = tempfile::Builder::new();
    // As any new file: the user's own mask takes away what it takes away.
    builder.prefix(&name).permissions(Permissions::from_mode(0o666));
    let file = builder.tempfile_in(folder).with_context(|| format!("failed to write into {}", folder.display()))?;
    Ok(Target::File(BufWriter::new(file)))
}

/// `meter.parquet`, `meter.2.parquet`, …
fn numbered(path: &Path, number: usize) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().map(|extension| format!(".{}", extension.to_string_lossy())).unwrap_or_default();
    path.with_file_name(format!("{stem}.{number}{extension}"))
}

/// The error of a writer, with a pipe that was closed still to be told apart.
fn said(error: ExportError) -> anyhow::Error {
    match error {
        ExportError::Write(error) => error.into(),
        other => anyhow::anyhow!("failed to {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_files_have_a_number_before_their_extension() {
        assert_eq!(numbered(Path::new("out/meter.fast.parquet"), 2), Path::new("out/meter.fast.2.parquet"));
        assert_eq!(numbered(Path::new("meter"), 3), Path::new("meter.3"));
    }
}
