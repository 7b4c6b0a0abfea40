//! `tidegate check` and `tidegate print-config`: what is wrong with a site, what is in force, what the links will have to do.

use std::{path::Path, process::ExitCode};

use tidegate_config::Profiles;
use tidegate_runtime::Forecast;

use crate::{
    console::{print, say, warn},
    site,
};

pub(crate) fn check(config: &Path) -> anyhow::Result<ExitCode> {
    let (loaded, report) = site::check(config, Profiles::All);
    print(&report.render());
    let Some(loaded) = loaded else { return Ok(ExitCode::FAILURE) };
    for forecast in loaded.assembly.forecast() {
        say(line(&forecast));
    }
    say(format_args!("{}: no mistakes", config.display()));
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn print_config(config: &Path) -> anyhow::Result<ExitCode> {
    let (loaded, report) = site::check(config, Profiles::All);
    warn(&report.render());
    print(&report.render_effective());
    Ok(if loaded.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The forecast of one link as a sentence.
fn line(forecast: &Forecast) -> String {
    let Forecast { link, devices, tags, requests_per_second, bytes_per_second } = forecast;
    if *requests_per_second <= 0.0 {
        return format!("link {link}: nothing to poll");
    }
    format!(
        "link {link}: {} of {}, {requests_per_second:.1} requests/s, {:.1} kB/s; \
         keeps its intervals while an answer takes less than {:.1} ms on average",
        count(*tags, "tag"),
        count(*devices, "device"),
        bytes_per_second / 1_000.0,
        forecast.longest_answer_millis()
    )
}

/// A number of things as one says it.
fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}
