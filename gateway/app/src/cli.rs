//! The command line.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::{
    commands,
    logging::{self, Format},
};

/// An industrial protocol gateway: reads machines, serves a local MQTT broker, keeps days of data on a small disk and
/// hands it to the cloud whenever there is a link.
#[derive(Debug, Parser)]
#[command(
    name = "tidegate",
    version,
    arg_required_else_help = true,
    after_help = "Examples:\n  tidegate demo\n  tidegate check -c site/tidegate.toml\n  tidegate run -c site/tidegate.toml"
)]
pub(crate) struct Cli {
    /// How log lines are written.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    log_format: Format,
    /// What is logged: error, warn, info, debug, trace, or a filter such as `info,tidegate_north=debug`.
    #[arg(long, global = true, default_value = "info", value_parser = logging::filter)]
    log: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start simulated devices, a gateway over them and a second broker as "the cloud", all on loopback.
    #[command(after_help = "Examples:\n  tidegate demo\n  tidegate demo --dir /tmp/plant")]
    Demo {
        /// Where the site that the demo uses is written, and its data.
        #[arg(long, default_value = "demo")]
        dir: PathBuf,
    },
    /// Run a site. SIGTERM and Ctrl-C stop it cleanly, SIGHUP reloads it.
    #[command(
        after_help = "Examples:\n  tidegate run\n  tidegate run -c /etc/tidegate/tidegate.toml --log-format json"
    )]
    Run {
        #[command(flatten)]
        site: SiteFile,
    },
    /// Report every mistake in a site and its profiles, and forecast the load of each link. Exit code 1 on a mistake.
    #[command(after_help = "Examples:\n  tidegate check\n  tidegate check -c site/tidegate.toml")]
    Check {
        #[command(flatten)]
        site: SiteFile,
    },
    /// Print the configuration in force and where each value comes from.
    #[command(after_help = "Examples:\n  tidegate print-config -c site/tidegate.toml\n  \
                      TIDEGATE__STORE__MAX_AGE=48h tidegate print-config")]
    PrintConfig {
        #[command(flatten)]
        site: SiteFile,
    },
    /// List the drivers that are built in and what each can do.
    #[command(after_help = "Examples:\n  tidegate drivers")]
    Drivers,
    /// List what a device offers, or write a profile of it. Connects by itself, with the link's configuration.
    #[command(after_help = "Examples:\n  tidegate browse press\n  tidegate browse press --filter temperature\n  \
                      tidegate browse press --profile --out profiles/acme/press.toml")]
    Browse {
        #[command(flatten)]
        options: commands::browse::Options,
    },
    /// Print the latest samples of a device, through the running gateway.
    #[command(after_help = "Examples:\n  tidegate read meter-1\n  tidegate read meter-1 voltage_l1 current_l1")]
    Read {
        #[command(flatten)]
        site: SiteFile,
        /// The device.
        device: String,
        /// The tags; all of them unless named.
        tags: Vec<String>,
    },
    /// Write tags of a device, through the running gateway, and wait for the device's answer.
    #[command(
        after_help = "Examples:\n  tidegate write oven-1 setpoint=42.5\n  tidegate write oven-1 mode=auto enabled=true"
    )]
    Write {
        #[command(flatten)]
        site: SiteFile,
        /// The device.
        device: String,
        /// What to write: TAG=VALUE.
        #[arg(required = true, value_name = "TAG=VALUE")]
        values: Vec<String>,
    },
    /// Write the history of a device to a file that other programs read, out of the store, also while the gateway runs.
    #[command(after_help = "Examples:\n  tidegate export --device meter-1 --group fast --format csv > meter-1.csv\n  \
                      tidegate export --device meter-1 --tag voltage_l1 current_l1 --from -2h --format jsonl\n  \
                      tidegate export --device meter-1 --from 2026-11-22 --to 2026-11-23 --format parquet -o export/")]
    Export {
        #[command(flatten)]
        options: commands::export::Options,
    },
    /// Work with blocks, as they are sent to the cloud.
    #[command(arg_required_else_help = true)]
    Block {
        #[command(subcommand)]
        what: commands::block::What,
    },
    /// Read a password from standard input and print its hash, for `password_hash` of the site.
    #[command(after_help = "Examples:\n  tidegate password\n  tidegate password < secrets/scada")]
    Password,
    /// Print what waits in the store for each target.
    #[command(after_help = "Examples:\n  tidegate queue\n  tidegate queue -c /etc/tidegate/tidegate.toml")]
    Queue {
        #[command(flatten)]
        site: SiteFile,
    },
    /// Say which OPC UA certificates of other applications are trusted.
    #[command(
        after_help = "Examples:\n  tidegate trust list\n  tidegate trust accept 3fa8c1d0\n  tidegate trust refuse 3fa8c1d0"
    )]
    Trust {
        #[command(flatten)]
        site: SiteFile,
        #[command(subcommand)]
        what: commands::trust::What,
    },
    /// The cloud side: take blocks from a broker, prove that none is missing, write their rows to a database or files.
    #[command(
        after_help = "Examples:\n  tidegate ingest --from mqtt://broker --to postgres://tide@db/plant --share writers\n  \
                      tidegate ingest --from mqtts://tide@broker --password env:PASSWORD --to parquet:lake\n  \
                      tidegate ingest --from mqtt://broker --format sparkplug_b --host-id historian --to postgres://tide@db/plant\n  \
                      tidegate ingest --to postgres://tide@db/plant --verify"
    )]
    Ingest {
        #[command(flatten)]
        arguments: Box<commands::ingest::Arguments>,
    },
    /// Exit with 0 while the gateway is healthy; for container health checks.
    #[command(after_help = "Examples:\n  tidegate healthcheck -c /etc/tidegate/tidegate.toml")]
    Healthcheck {
        #[command(flatten)]
        site: SiteFile,
    },
}

/// Which site is meant.
#[derive(Debug, clap::Args)]
pub(crate) struct SiteFile {
    /// The site's file.
    #[arg(short = 'c', long = "config", default_value = "tidegate.toml")]
    pub(crate) config: PathBuf,
}

impl Cli {
    /// Carries the command out.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        logging::start(self.log_format, &self.log)?;
        match self.command {
            Command::Demo { dir } => commands::demo::demo(&dir),
            Command::Run { site } => commands::run::run(&site.config),
            Command::Check { site } => commands::check::check(&site.config),
            Command::PrintConfig { site } => commands::check::print_config(&site.config),
            Command::Drivers => commands::drivers::drivers(),
            Command::Browse { options } => commands::browse::browse(&options),
            Command::Read { site, device, tags } => commands::values::read(&site.config, &device, &tags),
            Command::Write { site, device, values } => commands::values::write(&site.config, &device, &values),
            Command::Export { options } => commands::export::export(&options),
            Command::Block { what } => commands::block::block(&what),
            Command::Password => commands::password::password(),
            Command::Queue { site } => commands::queue::queue(&site.config),
            Command::Trust { site, what } => commands::trust::trust(&site.config, &what),
            Command::Ingest { arguments } => commands::ingest::ingest(*arguments),
            Command::Healthcheck { site } => commands::healthcheck::healthcheck(&site.config),
        }
    }
}
