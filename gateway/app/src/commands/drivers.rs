//! `tidegate drivers`: the drivers that are built in and what each can do.

use std::process::ExitCode;

use crate::console::say;

pub(crate) fn drivers() -> anyhow::Result<ExitCode> {
    for driver in tidegate_drivers::all() {
        let can = driver.capabilities();
        let abilities =
            [(can.poll, "poll"), (can.write, "write"), (can.subscribe, "subscribe"), (can.browse, "browse")];
        let abilities: Vec<&str> = abilities.iter().filter(|(able, _)| *able).map(|(_, name)| *name).collect();
        say(format_args!(
            "{:<14} profiles for \"{}\"; {}; can {}",
            driver.name(),
            driver.family(),
            driver.summary(),
            abilities.join(", ")
        ));
    }
    Ok(ExitCode::SUCCESS)
}
