//! Certificates that expire: told once a day in the log, and always in the status.

use std::{path::PathBuf, time::Duration};

use tidegate_broker::{Broker, ShownCertificate};
use tidegate_model::{Name, Timestamp};
use tidegate_runtime::Handle;
use tidegate_trust::{EXPIRY_WARNING_DAYS, Entry, State, Trust, TrustError};
use tokio::{task::JoinHandle, time::interval};

/// How often certificates are looked at.
const LOOK: Duration = Duration::from_secs(3600);
/// The log is told each so many looks.
const DAY: u32 = 24;
/// Milliseconds of a day.
const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;

/// Watches the OPC UA certificates in this folder, and those of the broker, until it is aborted.
pub(crate) fn watch(folder: PathBuf, gateway: Name, broker: Broker, handle: Handle) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut looks = interval(LOOK);
        for look in (0..DAY).cycle() {
            looks.tick().await;
            let now = handle.clock().timestamp(handle.clock().now());
            let (folder, gateway) = (folder.clone(), gateway.clone());
            let found = tokio::task::spawn_blocking(move || expiring(folder, &gateway, now)).await;
            // What is wrong with that folder is said where it is used.
            let found = found.ok().and_then(Result::ok).unwrap_or_default();
            let mut notices: Vec<String> = found.iter().map(|entry| notice(entry, now)).collect();
            notices.extend(broker.certificates().iter().filter_map(|shown| broker_notice(shown, now)));
            for notice in notices.iter().filter(|_| look == 0) {
                tracing::warn!("{notice}");
            }
            handle.set_notices(notices);
        }
    })
}

/// Those that expire soon; none where OPC UA was never used.
fn expiring(folder: PathBuf, gateway: &Name, now: Timestamp) -> Result<Vec<Entry>, TrustError> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    Trust::open(&folder, gateway.as_str())?.expiring(now)
}

fn notice(entry: &Entry, now: Timestamp) -> String {
    let certificate = &entry.certificate;
    let (whose, todo) = match entry.state {
        State::Own => ("the OPC UA certificate of this gateway", "`tidegate trust renew` makes another one"),
        _ => {
            ("a trusted OPC UA certificate", "ask whoever runs that application for another one and accept it in time")
        }
    };
    let when = when(certificate.not_after(), now);
    format!("{whose}, {} ({}), {when}; {todo}", certificate.subject(), certificate.fingerprint())
}

/// What is to be said of a certificate that the broker shows, if it expires soon.
fn broker_notice(shown: &ShownCertificate, now: Timestamp) -> Option<String> {
    let until = Timestamp::from_millis(i64::try_from(shown.until.as_millis()).unwrap_or(i64::MAX));
    let is_soon = until.millis_since(now) < EXPIRY_WARNING_DAYS * DAY_MILLIS;
    is_soon.then(|| {
        format!(
            "the certificate of [{}], {}, {}; MQTT clients do not connect once it has; put another one there and reload the site",
            shown.section,
            shown.path.display(),
            when(until, now)
        )
    })
}

/// `expires in 12 days, at …`, or that it has.
fn when(until: Timestamp, now: Timestamp) -> String {
    match until.millis_since(now).div_euclid(DAY_MILLIS) {
        ..0 => format!("expired at {}", until.rfc3339()),
        days => format!("expires in {days} days, at {}", until.rfc3339()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_told_before_and_after_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let trust = Trust::open(folder.path(), "line3").unwrap();
        let made = Timestamp::from_millis(1_795_425_300_000);
        let own = trust.own(made).unwrap();
        let id: Name = "line3".parse().unwrap();
        let days = |days: i64| Timestamp::from_millis(own.not_after().as_millis() - days * 24 * 60 * 60 * 1000);
        let told = |now| {
            let found = expiring(folder.path().to_owned(), &id, now).unwrap();
            found.iter().map(|entry| notice(entry, now)).collect::<Vec<_>>()
        };
        assert_eq!(told(days(61)), Vec::<String>::new());
        assert!(told(days(30))[0].contains("expires in 30 days"), "{:?}", told(days(30)));
        assert!(told(days(-1))[0].contains("expired at"), "{:?}", told(days(-1)));
        assert!(expiring(folder.path().join("none"), &id, made).unwrap().is_empty());
    }

    #[test]
    fn a_certificate_of_the_broker_is_told_before_and_after_its_end() {
        let until = Duration::from_secs(1_893_456_000);
        let shown = ShownCertificate { section: "broker.tls", path: "certs/broker.pem".into(), until };
        let at = |days: i64| broker_notice(&shown, Timestamp::from_millis(1_893_456_000_000 - days * DAY_MILLIS));
        assert_eq!(at(60), None);
        let soon = "the certificate of [broker.tls], certs/broker.pem, expires in 59 days, at 2030-01-01T00:00:00";
        assert!(at(59).is_some_and(|told| told.starts_with(soon)), "{:?}", at(59));
        assert!(at(-1).is_some_and(|told| told.contains("expired at 2030-01-01")), "{:?}", at(-1));
    }
}
