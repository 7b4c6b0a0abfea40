//! `tidegate export`: the history of a device out of the store, as a file that other programs read.

mod format;
mod output;
mod plan;
mod when;

use std::{
    io::{self, IsTerminal, Write, stderr},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::bail;
use tidegate_model::{Name, Timestamp};
use tidegate_store::{Missing, Part, Progress, Query, Reader, Recorded, Why};

use crate::{
    cli::SiteFile,
    console::{complain, say},
    site,
};
use format::FileFormat;
use output::{Destination, Output};
use plan::{Plan, Wanted};
use when::When;

/// What to export.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    site: SiteFile,
    /// The device.
    #[arg(long)]
    device: String,
    /// Only this group of it; all that have been recorded unless named.
    #[arg(long)]
    group: Option<String>,
    /// Only these tags, in this order; all unless named.
    #[arg(long = "tag", value_name = "TAG", num_args = 1..)]
    tags: Vec<String>,
    /// Not before: 2026-11-23, 2026-11-23T09:15 (UTC), 2026-11-23T10:15:00+01:00, -2h, Unix milliseconds.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    from: Option<When>,
    /// Before, written in the same ways.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to: Option<When>,
    /// What kind of file.
    #[arg(long, value_enum)]
    format: FileFormat,
    /// Draw the samples that a swinging door left out, on the lines between those that it kept; their quality is `interpolated`.
    #[arg(long)]
    fill: bool,
    /// The file, or a folder for a file of each group; standard output unless named.
    #[arg(long, short, value_name = "PATH")]
    output: Option<PathBuf>,
}

pub(crate) fn export(options: &Options) -> anyhow::Result<ExitCode> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let now = Timestamp::from_millis(i64::try_from(now.as_millis()).unwrap_or(i64::MAX));
    let wanted = Wanted {
        device: &options.device,
        group: options.group.as_deref(),
        tags: &options.tags,
        from: options.from.map(|when| when.at(now)),
        to: options.to.map(|when| when.at(now)),
    };
    if let (Some(from), Some(to)) = (wanted.from, wanted.to)
        && from >= to
    {
        bail!("--from ({}) is not before --to ({})", from.rfc3339(), to.rfc3339());
    }
    if options.fill && options.format == FileFormat::Block {
        bail!("blocks hold what was recorded; a reader draws the lines (--fill is for csv, jsonl and parquet)");
    }
    let (gateway, data_dir) = site::gateway(&options.site.config)?;
    let destination = Destination::of(options.output.as_deref());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        let reader = Reader::open(&data_dir).await?;
        // What is not whole is taken away by its own drop.
        tokio::select! {
            done = run(&reader, &wanted, options.format, options.fill, destination, &gateway) => done,
            _ = tokio::signal::ctrl_c() => bail!("stopped; no file was written"),
        }
    });
    match done {
        Err(error) if is_closed_pipe(&error) => Ok(ExitCode::SUCCESS),
        done => done,
    }
}

async fn run(
    reader: &Reader,
    wanted: &Wanted<'_>,
    format: FileFormat,
    fill: bool,
    destination: Destination,
    gateway: &Name,
) -> anyhow::Result<ExitCode> {
    let recorded = reader.streams().await?;
    let plan = Plan::new(wanted, &recorded, format, gateway)?;
    let mut scan = reader.scan(&Query { lines: fill, ..plan.query.clone() }).await?;
    let mut output = Output::new(format, fill, destination, &plan, scan.store())?;
    let mut bar = Bar::new(&output);
    let mut damaged = 0_u64;
    while let Some(part) = scan.next().await? {
        match part {
            Part::Rows { stream, boot, batch } => output.write(&stream, boot, &batch)?,
            Part::Missing(missing) => {
                damaged += u64::from(matches!(missing.why, Why::Damaged(_)));
                bar.clear();
                complain(told(&missing));
                output.missing(missing)?;
            }
        }
        bar.show(scan.progress());
    }
    output.finish()?;
    bar.clear();
    if output.done.rows == 0 && damaged == 0 {
        bail!("nothing of {} was recorded in this range; {}", wanted.device, extent(wanted, &recorded));
    }
    if !output.is_stdout() {
        let files: Vec<String> = output.done.files.iter().map(|file| file.display().to_string()).collect();
        say(format_args!("{} rows in {}", output.done.rows, files.join(", ")));
    }
    if output.done.left_out > 0 {
        complain(format_args!(
            "{} values are not of the type that their tag had at the time; Parquet has no place for them, their quality says \
             \"other_type\"; csv and jsonl have them",
            output.done.left_out
        ));
    }
    Ok(if damaged == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is not in the file, for the person who wonders.
fn told(missing: &Missing) -> String {
    let Missing { device, group, first, last, why } = missing;
    let rows = match (first, last) {
        (Some(first), Some(last)) if first == last => format!("row {first}"),
        (Some(first), Some(last)) => format!("rows {first} to {last}"),
        (Some(first), None) => format!("rows from {first} on"),
        (None, Some(last)) => format!("rows up to {last}"),
        (None, None) => "rows".to_owned(),
    };
    match why {
        Why::Damaged(reason) => format!("error: {rows} of {device} {group} cannot be read: {reason}"),
        Why::Dropped => format!("{rows} of {device} {group} are not in the store: dropped on purpose"),
    }
}

/// From when to when there is something.
fn extent(wanted: &Wanted, recorded: &[Recorded]) -> String {
    let of_device = || recorded.iter().filter(|group| group.device.as_str() == wanted.device);
    match (of_device().filter_map(Recorded::first).min(), of_device().filter_map(Recorded::last).max()) {
        (Some(first), Some(last)) => format!("the store has rows of it from {} to {}", first.rfc3339(), last.rfc3339()),
        _ => "the store has no row of it any more".to_owned(),
    }
}

/// Whether the program that reads what is written has gone: it has what it wanted.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// How far it is, on a terminal.
struct Bar {
    is_shown: bool,
    last: String,
}

impl Bar {
    fn new(output: &Output) -> Bar {
        // Rows on the same terminal would be torn apart.
        let is_shown = stderr().is_terminal() && !(output.is_stdout() && io::stdout().is_terminal());
        Bar { is_shown, last: String::new() }
    }

    fn show(&mut self, progress: Progress) {
        if !self.is_shown {
            return;
        }
        let line = format!("{:3.0} %  {} rows", 100.0 * progress.fraction(), progress.rows);
        if line != self.last {
            let _ = write!(stderr(), "\r{line}").and_then(|()| stderr().flush());
            self.last = line;
        }
    }

    /// Takes the line away, before something else is said.
    fn clear(&mut self) {
        if !self.last.is_empty() {
            let _ = write!(stderr(), "\r{:1$}\r", "", self.last.len());
            self.last.clear();
        }
    }
}
