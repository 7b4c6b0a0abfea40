//! `tidegate healthcheck`: exit code 0 while the gateway is healthy, that is, while a restart would not make it better.

use std::{path::Path, process::ExitCode};

use crate::{client::Client, console::say};

pub(crate) fn healthcheck(config: &Path) -> anyhow::Result<ExitCode> {
    let answer = Client::of(config)?.get("/healthz")?;
    let status = answer.body.get("status").and_then(|status| status.as_str()).unwrap_or("unknown");
    say(status);
    for problem in answer.body.get("problems").and_then(|problems| problems.as_array()).into_iter().flatten() {
        say(problem.as_str().unwrap_or_default());
    }
    Ok(if answer.status == 200 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
