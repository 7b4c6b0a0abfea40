//! How fast the backlog of an outage gets to a broker while live rows go on: the example `north_drain` of the targets,
//! with mosquitto as the broker.

use std::{fs, net::TcpListener, process::Command};

use anyhow::Context;

use super::{process::Process, table, usage};
use crate::{peers, shell, tally::Outcome, workspace::Workspace};

/// What waits, and how it is sent.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Hours of the outage, on a simulated clock.
    #[arg(long, default_value_t = 8)]
    hours: u32,
    /// Formats to send it in, one after the other.
    #[arg(long, value_delimiter = ',', default_value = "block,json")]
    formats: Vec<String>,
    /// `max_values` of the target; the default unless given.
    #[arg(long)]
    max_values: Option<u32>,
}

/// Fills a store once for each format, sends it, and prints what the example measures.
///
/// # Errors
///
/// When something cannot be built or started, or a row does not arrive.
pub(super) fn run(options: &Options) -> anyhow::Result<Outcome> {
    let workspace = Workspace::find()?;
    peers::install(&workspace)?;
    let mut build =
        shell::cargo(["build", "--release", "--locked", "-p", "tidegate-north", "--example", "north_drain"]);
    shell::must(build.current_dir(&workspace.root))?;
    let folder = workspace.target.join("bench/drain");
    println!("\non {}", table::machine());
    for format in &options.formats {
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("failed to remove {}", folder.display()))?;
        }
        fs::create_dir_all(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let broker = broker(&workspace, port)?;
        let mut drain = Command::new(workspace.target.join("release/examples/north_drain"));
        drain.arg(folder.join("store")).args([&port.to_string(), format, &options.hours.to_string()]);
        drain.args(options.max_values.map(|values| values.to_string()));
        shell::must(&mut drain)?;
        println!("mosquitto: {:.1} s of CPU", usage::processor_time(broker.id())?.as_secs_f64());
    }
    Ok(Outcome::Passed)
}

/// mosquitto as the cloud.
fn broker(workspace: &Workspace, port: u16) -> anyhow::Result<Process> {
    let file = workspace.target.join("bench/drain/mosquitto.conf");
    let text = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nmax_queued_messages 0\n\
         max_inflight_messages 0\nlog_type error\n"
    );
    fs::write(&file, text).with_context(|| format!("failed to write {}", file.display()))?;
    Process::start(Command::new(workspace.peers().join("bin/mosquitto")).arg("-c").arg(file))
}
