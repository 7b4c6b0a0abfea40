//! `tidegate block decode`: blocks to JSON Lines.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, BufWriter, Read, Write, stdout},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use tidegate_codec::{
    block::{
        BlockError, BlockSchema, Decoder, Frame, GapRecord, Head, SchemaId,
        file::{Part, parts},
    },
    json,
};
use tidegate_export::{Places, Table, json_lines};
use tidegate_store::GapReason;

use crate::console::complain;

/// The reason of a gap in an export: it is not known any more.
pub(crate) const DROPPED: u8 = 130;
/// Longer files are no exports and no messages.
const LONGEST: u64 = 4 << 30;

/// What to do with blocks.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum What {
    /// Print the rows in blocks as JSON Lines, one row a line. Exit code 1 when something cannot be read; the rest is printed.
    #[command(after_help = "Examples:\n  tidegate block decode history.tgb\n  \
                      mosquitto_sub -h cloud -t 'tidegate/line3/schema/#' -W 1 > schemas.json\n  \
                      mosquitto_sub -h cloud -t tidegate/line3/block -N | tidegate block decode - --schema schemas.json")]
    Decode(Options),
}

/// What to decode.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Files with blocks, one after the other as in messages; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Where the schemas are that the files do not have in them: a file with one document or one a line, or a folder of such files.
    #[arg(long, value_name = "FILE|DIR")]
    schema: Vec<PathBuf>,
}

pub(crate) fn block(what: &What) -> anyhow::Result<ExitCode> {
    let What::Decode(options) = what;
    let mut decoding = Decoding { schemas: BTreeMap::new(), decoder: Decoder::new(), failures: 0 };
    for path in &options.schema {
        decoding.learn(path)?;
    }
    let mut out = BufWriter::new(stdout());
    for file in &options.files {
        let decoded = decoding.decode(file, &mut out).and_then(|()| Ok(out.flush()?));
        match decoded {
            Ok(()) => {}
            // Whoever reads has what it wanted.
            Err(error) if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe) => {
                return Ok(ExitCode::SUCCESS);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(if decoding.failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A schema and what lines are made with.
struct Known {
    table: Table,
    places: Places,
}

struct Decoding {
    schemas: BTreeMap<SchemaId, Known>,
    decoder: Decoder,
    failures: u64,
}

impl Decoding {
    /// Takes up the schemas in a file or a folder.
    fn learn(&mut self, path: &Path) -> anyhow::Result<()> {
        let failed = || format!("failed to read {}", path.display());
        if !path.is_dir() {
            let text = fs::read(path).with_context(failed)?;
            return self.learn_from(&text).with_context(|| format!("{} holds no schema", path.display()));
        }
        let mut learnt = 0;
        for entry in fs::read_dir(path).with_context(failed)? {
            let file = entry.with_context(failed)?.path();
            // Other files may lie there.
            if file.is_file() && self.learn_from(&fs::read(&file).with_context(failed)?).is_ok() {
                learnt += 1;
            }
        }
        if learnt == 0 {
            bail!("no file in {} holds a schema", path.display());
        }
        Ok(())
    }

    /// Takes up one document, or one a line. A line end behind it is not part of a document.
    fn learn_from(&mut self, text: &[u8]) -> anyhow::Result<()> {
        if self.learn_document(text.trim_ascii()).is_ok() {
            return Ok(());
        }
        for line in text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()) {
            self.learn_document(line)?;
        }
        Ok(())
    }

    fn learn_document(&mut self, document: &[u8]) -> anyhow::Result<()> {
        let BlockSchema { device, group, columns, .. } = BlockSchema::decode(document)?;
        let table = Table::new(None, device, group, columns).map_err(|error| anyhow::anyhow!("failed to {error}"))?;
        let places = table.places(table.columns());
        self.schemas.insert(BlockSchema::id_of(document), Known { table, places });
        Ok(())
    }

    fn decode(&mut self, path: &Path, out: &mut impl Write) -> anyhow::Result<()> {
        let bytes = read(path).with_context(|| format!("failed to read {}", path.display()))?;
        for (offset, part) in parts(&bytes) {
            let said = match part {
                Err(error) => Err(error.into()),
                Ok(Part::Schema(document)) => self.learn_document(document),
                Ok(Part::Block(Frame::Data(head))) => self.rows(&head, out),
                Ok(Part::Block(Frame::Gap(gap))) => self.gap(&gap, out),
            };
            match said {
                Err(error) if error.is::<io::Error>() => return Err(error),
                Err(error) => {
                    self.failures += 1;
                    complain(format_args!("error: {}, byte {offset}: {error:#}", path.display()));
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }

    fn known(&self, schema: SchemaId) -> anyhow::Result<&Known> {
        self.schemas.get(&schema).with_context(|| {
            format!("a block of schema {schema}, which is not known; name the file or the folder with it by --schema")
        })
    }

    fn rows(&mut self, head: &Head, out: &mut impl Write) -> anyhow::Result<()> {
        // Not `known`: the decoder is borrowed at the same time.
        let Some(known) = self.schemas.get(&head.schema) else { return self.known(head.schema).map(|_| ()) };
        let decoded: Result<_, BlockError> = self.decoder.decode(head, head.schema, known.table.columns());
        let batch = decoded?;
        Ok(json_lines::write(out, &known.table, &batch, 0..batch.len(), &known.places)?)
    }

    fn gap(&self, gap: &GapRecord, out: &mut impl Write) -> anyhow::Result<()> {
        let table = &self.known(gap.schema)?.table;
        let reason = match gap.reason {
            // What a target leaves out, of rows that are in the store, and what an export has not found.
            128 => "too_large".to_owned(),
            129 => "refused".to_owned(),
            DROPPED => "dropped".to_owned(),
            code => GapReason::from_code(code).map_or_else(|| format!("reason {code}"), |reason| reason.to_string()),
        };
        let mut line = format!("{{\"device\":\"{}\",\"group\":\"{}\",", table.device(), table.group()).into_bytes();
        let mut record = Vec::new();
        json::gap(gap.first_seq, gap.last_seq, &reason, &mut record);
        line.extend_from_slice(record.get(1..).unwrap_or_default());
        line.push(b'\n');
        Ok(out.write_all(&line)?)
    }
}

/// A file, or standard input.
fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let length = if path.as_os_str() == "-" {
        io::stdin().lock().take(LONGEST + 1).read_to_end(&mut bytes)?
    } else {
        fs::File::open(path)?.take(LONGEST + 1).read_to_end(&mut bytes)?
    };
    if u64::try_from(length).unwrap_or(u64::MAX) > LONGEST {
        bail!("it is longer than 4 GiB; cut it where a block begins");
    }
    Ok(bytes)
}
