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
    let Forecast { link, devices, tags, subscribed, requests_per_second, bytes_per_second } = forecast;
    let devices = count(*devices, "device");
    let subscribed = (*subscribed > 0).then(|| {
        format!("{} of {devices} by subscription, as far as the device lets subscribe", count(*subscribed, "tag"))
    });
    let polled = (*requests_per_second > 0.0).then(|| {
        format!(
            "{} of {devices}, {requests_per_second:.1} requests/s, {:.1} kB/s; \
             keeps its intervals while an answer takes less than {:.1} ms on average",
            count(tags.saturating_sub(forecast.subscribed), "tag"),
            bytes_per_second / 1_000.0,
            forecast.longest_answer_millis()
        )
    });
    let parts: Vec<String> = subscribed.into_iter().chain(polled).collect();
    match parts.is_empty() {
        true => format!("link {link}: nothing to poll"),
        false => format!("link {link}: {}", parts.join("; beside them ")),
    }
}

/// A number of things as one says it.
fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_says_what_it_polls_and_what_comes_by_itself() {
        let forecast = |subscribed, requests_per_second| Forecast {
            link: "press".to_owned(),
            devices: 1,
            tags: 12,
            subscribed,
            requests_per_second,
            bytes_per_second: 400.0,
        };
        assert_eq!(line(&forecast(0, 0.0)), "link press: nothing to poll");
        assert_eq!(
            line(&forecast(0, 2.0)),
            "link press: 12 tags of 1 device, 2.0 requests/s, 0.4 kB/s; \
             keeps its intervals while an answer takes less than 500.0 ms on average"
        );
        let only = "link press: 12 tags of 1 device by subscription, as far as the device lets subscribe";
        assert_eq!(line(&forecast(12, 0.0)), only);
        assert!(line(&forecast(10, 2.0)).contains("subscribe; beside them 2 tags of 1 device, 2.0 requests/s"));
    }
}
