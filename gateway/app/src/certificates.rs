//! Certificates that expire: told once a day in the log, and always in the status.

use std::{path::PathBuf, time::Duration};

use tidegate_model::{Name, Timestamp};
use tidegate_runtime::Handle;
use tidegate_trust::{Entry, State, Trust, TrustError};
use tokio::{task::JoinHandle, time::interval};

/// How often certificates are looked at.
const LOOK: Duration = Duration::from_secs(3600);
/// The log is told each so many looks.
const DAY: u32 = 24;

/// Watches the certificates in this folder until it is aborted.
pub(crate) fn watch(folder: PathBuf, gateway: Name, handle: Handle) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut looks = interval(LOOK);
        for look in (0..DAY).cycle() {
            looks.tick().await;
            let now = handle.clock().timestamp(handle.clock().now());
            let (folder, gateway) = (folder.clone(), gateway.clone());
            let found = tokio::task::spawn_blocking(move || expiring(folder, &gateway, now)).await;
            let Ok(Ok(found)) = found else { continue };
            let notices: Vec<String> = found.iter().map(|entry| notice(entry, now)).collect();
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
    let when = match certificate.days_left(now) {
        ..0 => format!("expired at {}", certificate.not_after().rfc3339()),
        days => format!("expires in {days} days, at {}", certificate.not_after().rfc3339()),
    };
    format!("{whose}, {} ({}), {when}; {todo}", certificate.subject(), certificate.fingerprint())
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
}
