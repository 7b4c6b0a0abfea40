//! Loading a site: the files, the environment, the drivers.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::bail;
use tidegate_bridge::Bridge;
use tidegate_broker::Broker;
use tidegate_config::{self as config, Origin, Profiles, Report, Site, TargetKind};
use tidegate_model::{Name, Timestamp};
use tidegate_mqtt::TlsError;
use tidegate_north::{MqttTarget, SparkplugTarget, TargetError};
use tidegate_runtime::{Assembly, assemble};

use crate::console;

/// What hosts are told that this is.
pub(crate) const SOFTWARE: &str = concat!("Tidegate ", env!("CARGO_PKG_VERSION"));

/// A site without mistakes, and its links ready to run.
pub(crate) struct Loaded {
    pub(crate) site: Site,
    pub(crate) assembly: Assembly,
}

/// Reads and checks everything; the report has every mistake of all files.
pub(crate) fn check(config: &Path, profiles: Profiles) -> (Option<Loaded>, Report) {
    let (site, mut report) = tidegate_config::load(config, tidegate_config::process_environment(), profiles);
    let Some(site) = site else { return (None, report) };
    let assembly = assemble(&site, tidegate_drivers::all(), &mut report);
    check_targets(&site, &mut report);
    check_broker(&site, &mut report);
    check_bridges(&site, &mut report);
    if report.has_errors() {
        return (None, report);
    }
    (Some(Loaded { site, assembly }), report)
}

/// Builds every target once, to find out about certificates and keys that do not work.
fn check_targets(site: &Site, report: &mut Report) {
    for target in &site.targets {
        let clock = Arc::new(|| Timestamp::from_millis(0));
        let (name, id) = (target.name.clone(), &site.gateway.id);
        let (options, built) = match &target.kind {
            TargetKind::Mqtt(options) => {
                let built = MqttTarget::new(name, options, id, &site.broker.topic_root, clock);
                (options, built.map(drop))
            }
            TargetKind::Sparkplug(options) => {
                (&options.connection, SparkplugTarget::new(name, options, id, SOFTWARE, clock).map(drop))
            }
            TargetKind::OpcUaServer(options) => {
                check_opcua_users(&target.name, options, report);
                continue;
            }
        };
        let Err(error) = built else { continue };
        let key = match &error {
            TargetError::Tls(error) => key(error, options.tls.as_ref()),
            TargetError::Id { key, .. } => key,
        };
        note(report, &format!("target.{}.{key}", target.name), &error);
    }
}

/// Reads the certificates that users of an OPC UA server log in with.
fn check_opcua_users(target: &Name, options: &config::OpcUaServer, report: &mut Report) {
    for user in &options.users {
        let Some(Err(error)) = user.certificate.as_deref().map(tidegate_opcua::check_user_certificate) else {
            continue;
        };
        note(report, &format!("target.{target}.user.{}.certificate", user.name), &error);
    }
}

/// The same for the certificates of the local broker.
fn check_broker(site: &Site, report: &mut Report) {
    let Err(error) = Broker::check(&site.broker) else { return };
    let key = match &error {
        tidegate_broker::TlsError::Unreadable { key, .. } => key,
        tidegate_broker::TlsError::Pair { .. } => "key",
        tidegate_broker::TlsError::Authorities { .. } => "client_ca",
    };
    note(report, &format!("broker.tls.{key}"), &error);
}

/// The same for those of the bridges.
fn check_bridges(site: &Site, report: &mut Report) {
    for bridge in &site.bridges {
        let Err(error) = Bridge::check(bridge, &site.gateway.id) else { continue };
        note(report, &format!("bridge.{}.{}", bridge.name, key(&error, bridge.tls.as_ref())), &error);
    }
}

/// A mistake at the key that has this path.
fn note(report: &mut Report, path: &str, error: &dyn std::fmt::Display) {
    let origin = report.effective().iter().find(|effective| effective.path == path);
    let origin = origin.map_or(Origin::Default, |effective| effective.origin.clone());
    report.error(&origin, format!("failed to {error}"), None);
}

/// The key of a target or bridge that an error is about.
fn key(error: &TlsError, tls: Option<&config::Tls>) -> &'static str {
    let Some(tls) = tls else { return "url" };
    match error {
        TlsError::Pem { path, .. } | TlsError::NoCertificate { path } => {
            let is_key = tls.client.as_ref().is_some_and(|(_, key)| key == path);
            let is_certificate = tls.client.as_ref().is_some_and(|(certificate, _)| certificate == path);
            match (is_certificate, is_key) {
                (true, _) => "client_certificate",
                (_, true) => "client_key",
                _ => "ca",
            }
        }
        TlsError::ClientCertificate { .. } => "client_certificate",
        TlsError::NoAuthorities { .. } | TlsError::Setup(_) => "url",
    }
}

/// The folder of OPC UA certificates of a gateway with that data folder.
pub(crate) fn certificates(data_dir: &Path) -> PathBuf {
    data_dir.join("opcua")
}

/// Where a site keeps its data, for commands that only want to know where the gateway is. Mistakes elsewhere in the site do
/// not matter here: the gateway that runs has been started before they were made.
pub(crate) fn data_dir(config: &Path) -> anyhow::Result<PathBuf> {
    gateway(config).map(|(_, data_dir)| data_dir)
}

/// The gateway of a site and where it keeps its data; as [`data_dir`].
pub(crate) fn gateway(config: &Path) -> anyhow::Result<(Name, PathBuf)> {
    let (site, report) = tidegate_config::load(config, tidegate_config::process_environment(), Profiles::Used);
    match site {
        Some(site) => Ok((site.gateway.id, site.gateway.data_dir)),
        None => {
            console::warn(&report.render());
            bail!("the site {} cannot be read; name its file with -c", config.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_of_an_opcua_user_is_a_mistake_at_its_place() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("hand.der"), "hello").unwrap();
        let file = folder.path().join("tidegate.toml");
        let target = "[[target]]\nname = \"scada\"\nkind = \"opcua-server\"\n";
        let user = "[[target.user]]\nname = \"hand\"\ncertificate = \"hand.der\"\nrole = \"viewer\"\n";
        std::fs::write(&file, format!("[gateway]\nid = \"line3\"\n{target}{user}")).unwrap();
        let (loaded, report) = check(&file, Profiles::Used);
        let told = report.render();
        assert!(loaded.is_none() && told.contains("tidegate.toml:8:15: failed to read the certificate in"), "{told}");
        assert!(told.contains("hand.der"), "{told}");
    }
}
