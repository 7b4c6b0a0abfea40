//! `tidegate trust`: which OPC UA applications the gateway talks to.

use std::{path::Path, process::ExitCode, time::SystemTime};

use anyhow::Context;
use tidegate_model::Timestamp;
use tidegate_trust::{Certificate, Entry, State, Trust};

use crate::{console::say, site};

/// What to do with certificates.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum What {
    /// List the gateway's certificate and those of others: waiting to be judged, trusted, refused.
    List,
    /// Trust a certificate, whichever list it is in. Counts from the next connection on.
    Accept {
        /// Its fingerprint, or so much of it that no other begins alike.
        fingerprint: String,
    },
    /// Refuse a certificate, whichever list it is in. It stays refused until it is accepted.
    Refuse {
        /// Its fingerprint, or so much of it that no other begins alike.
        fingerprint: String,
    },
    /// Make a new certificate for the gateway. Every application that trusts the old one has to be told; the gateway uses it
    /// from its next start on.
    Renew,
}

pub(crate) fn trust(config: &Path, what: &What) -> anyhow::Result<ExitCode> {
    let (gateway, data_dir) = site::gateway(config)?;
    let trust = Trust::open(&site::certificates(&data_dir), gateway.as_str()).map_err(failed_to)?;
    let now = now();
    match what {
        What::List => list(&trust.list().map_err(failed_to)?, now),
        What::Accept { fingerprint } => {
            let entry = trust.accept(fingerprint).map_err(failed_to)?;
            say(format_args!("trusted: {}", told(&entry.certificate)));
        }
        What::Refuse { fingerprint } => {
            let entry = trust.refuse(fingerprint).map_err(failed_to)?;
            say(format_args!("refused: {}", told(&entry.certificate)));
        }
        What::Renew => {
            let certificate = trust.renew(now).map_err(failed_to).context("the old certificate is still in place")?;
            say(format_args!("made {}", told(&certificate)));
            say(format_args!("it is in {}", trust.root().join(tidegate_trust::OWN_CERTIFICATE).display()));
            say("restart the gateway, and let the applications that it talks to trust it");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(entries: &[Entry], now: Timestamp) {
    if entries.is_empty() {
        say("there are no certificates yet; the gateway makes its own when it first needs one");
    }
    for entry in entries {
        let certificate = &entry.certificate;
        say(format_args!("{:<8} {}", entry.state.as_str(), certificate.fingerprint()));
        say(format_args!("         {}", certificate.subject()));
        if let Some(uri) = certificate.uri() {
            say(format_args!("         {uri}"));
        }
        say(format_args!("         {}", validity(certificate, now)));
        if let Some((time, place)) = &entry.seen {
            say(format_args!("         first seen {} by {place}", time.rfc3339()));
        }
    }
    if entries.iter().any(|entry| entry.state == State::Waiting) {
        say(
            "\nCompare the fingerprint with what the other application shows, then `tidegate trust accept FINGERPRINT`.",
        );
    }
}

fn validity(certificate: &Certificate, now: Timestamp) -> String {
    let until = certificate.not_after().rfc3339();
    match (certificate.not_before() > now, certificate.days_left(now)) {
        (true, _) => format!("valid from {} on", certificate.not_before().rfc3339()),
        (false, ..0) => format!("expired at {until}"),
        (false, days @ 0..tidegate_trust::EXPIRY_WARNING_DAYS) => format!("valid until {until}, {days} more days"),
        (false, _) => format!("valid until {until}"),
    }
}

fn told(certificate: &Certificate) -> String {
    format!("{} {}", certificate.fingerprint(), certificate.uri().unwrap_or(certificate.subject()))
}

fn now() -> Timestamp {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
}

/// An error whose text completes "failed to …".
fn failed_to(error: impl std::error::Error) -> anyhow::Error {
    anyhow::anyhow!("failed to {error}")
}
