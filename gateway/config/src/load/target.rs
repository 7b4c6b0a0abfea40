//! `[[target]]`.

use std::{
    fs::File,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use tidegate_model::Name;

use super::{choice_so_far, names::Names, url::MqttUrl};
use crate::{At, MqttTarget, Report, Secret, StartAt, Table, Target, TargetKind, Tls};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
/// MQTT itself allows more, but no broker does.
const MAX_CLIENT_ID: usize = 256;

/// Reads every `[[target]]`.
pub(super) fn targets(root: &Table, report: &mut Report) -> Vec<Target> {
    let mut names = Names::new("target");
    let tables = root.tables("target", "target", report);
    tables.into_iter().filter_map(|table| target(table, &mut names, report)).collect()
}

fn target(table: Table, names: &mut Names, report: &mut Report) -> Option<Target> {
    let name = table.require::<Name>("name", "\"cloud\"", report);
    if let Some(name) = &name {
        names.add(name, report);
    }
    let name = name.map_or_else(Name::placeholder, |name| name.value);
    let table = table.named("target", format!("target.{name}"));
    let kind = match table.has("kind") {
        true => table.choice("kind", &[("mqtt", ())], report).map(|at| at.value),
        false => table.require::<String>("kind", "\"mqtt\"", report).map(|_| ()),
    };
    let starts = [("now", StartAt::Now), ("oldest", StartAt::Oldest)];
    table.note_default("start", "\"now\"", report);
    let start = table.choice("start", &starts, report).map_or(StartAt::Now, |at| at.value);
    // Which other keys there are depends on the kind.
    kind?;
    let mqtt = mqtt(&table, report);
    table.finish(report);
    Some(Target { name, start, kind: TargetKind::Mqtt(mqtt?) })
}

fn mqtt(table: &Table, report: &mut Report) -> Option<MqttTarget> {
    let url = table.require::<MqttUrl>("url", "\"mqtts://broker.example.com:8883\"", report);
    table.note_default("format", "\"json\"", report);
    choice_so_far(table, "format", &[("json", ())], &["block", "sparkplug_b"], report);
    let login = login(table, report);
    let tls = tls(table, url.as_ref(), report);
    if let (Some(url), true) = (&url, table.has("password"))
        && !url.tls
        && !is_this_machine(&url.host)
    {
        let help = "write \"mqtts://\" if the broker can do TLS".to_owned();
        report.warning(&url.origin, "the password travels through the network in clear text", Some(help));
    }
    let keep_alives = SECOND..=HOUR;
    let keep_alive = table.take_within("keep_alive", 30 * SECOND, keep_alives, report).value;
    let in_flight = table.take_within("in_flight", 100, 1..=10_000, report).value;
    let retry_longest = table.take_within("retry_longest", 10 * SECOND, SECOND..=24 * HOUR, report).value;
    let client_id = client_id(table, report);
    let url = url?.value;
    Some(MqttTarget {
        host: url.host,
        port: url.port,
        tls: url.tls.then_some(tls),
        client_id,
        login,
        keep_alive,
        in_flight,
        retry_longest,
    })
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn client_id(table: &Table, report: &mut Report) -> Option<String> {
    let id = table.take::<String>("client_id", report)?;
    if id.is_empty() || id.len() > MAX_CLIENT_ID || id.chars().any(char::is_control) {
        let message = format!("`client_id` has to be 1 to {MAX_CLIENT_ID} printable characters");
        report.error(&id.origin, message, None);
        return None;
    }
    Some(id.value)
}

fn login(table: &Table, report: &mut Report) -> Option<(String, Secret)> {
    let username = table.take::<String>("username", report);
    let password = table.take::<Secret>("password", report);
    match (table.has("username"), table.has("password")) {
        (true, false) => {
            let help = "add `password = \"env:NAME\"` or `password = \"file:PATH\"`".to_owned();
            report.missing(table.origin_of("username"), "`username` without `password`".to_owned(), Some(help));
        }
        (false, true) => {
            let help = "add `username = \"line3\"`".to_owned();
            report.missing(table.origin_of("password"), "`password` without `username`".to_owned(), Some(help));
        }
        _ => {}
    }
    Some((username?.value, password?.value))
}

fn tls(table: &Table, url: Option<&At<MqttUrl>>, report: &mut Report) -> Tls {
    let ca = file(table, "ca", report);
    let certificate = file(table, "client_certificate", report);
    let key = file(table, "client_key", report);
    let plain = url.is_some_and(|url| !url.tls);
    for name in ["ca", "client_certificate", "client_key"].into_iter().filter(|name| plain && table.has(name)) {
        let help = "write \"mqtts://\" in `url`".to_owned();
        report.error(table.origin_of(name), format!("`{name}` has no effect without TLS"), Some(help));
    }
    for (one, other) in [("client_certificate", "client_key"), ("client_key", "client_certificate")] {
        if table.has(one) && !table.has(other) {
            let help =
                format!("add `{other} = \"certs/{}.pem\"`", if other == "client_key" { "key" } else { "client" });
            report.missing(table.origin_of(one), format!("`{one}` without `{other}`"), Some(help));
        }
    }
    Tls { ca, client: certificate.zip(key) }
}

/// A file that has to be there and readable.
fn file(table: &Table, key: &'static str, report: &mut Report) -> Option<PathBuf> {
    let path = table.take::<PathBuf>(key, report)?;
    if let Err(why) = readable(&path) {
        let message = format!("the file {} cannot be read: {why}", path.display());
        report.error(&path.origin, message, None);
        return None;
    }
    Some(path.value)
}

fn readable(path: &Path) -> Result<(), String> {
    let about = path.metadata().map_err(|error| error.to_string())?;
    if !about.is_file() {
        return Err("it is not a file".to_owned());
    }
    File::open(path).map(drop).map_err(|error| error.to_string())
}
