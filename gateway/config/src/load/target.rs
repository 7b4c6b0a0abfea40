//! `[[target]]`.

use std::{
    fs::File,
    net::IpAddr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use tidegate_model::Name;

use super::{
    names::Names,
    opcua::{self, Listeners},
    row_topics, sparkplug,
    url::MqttUrl,
};
use crate::{
    At, Backfill, ByteRate, Format, FromNode, MqttTarget, MqttVersion, Report, Secret, SparkplugTarget, StartAt, Table,
    Target, TargetKind, Tls,
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
/// A rate below this would never get a day of backlog across.
const SLOWEST_BACKFILL: ByteRate = ByteRate(1 << 10);
const FASTEST_BACKFILL: ByteRate = ByteRate(1 << 40);
/// Values a second: from a plant of ten tags, a hundred times real time, to more than anybody can unpack.
const BACKFILL_VALUES: RangeInclusive<u32> = 1_000..=1_000_000_000;
/// MQTT itself allows more, but no broker does.
const MAX_CLIENT_ID: usize = 256;

/// Names that targets had before.
type Renamed = Vec<At<Name>>;

/// What a target is, before its keys are read.
#[derive(Clone, Copy)]
enum Kind {
    Mqtt,
    OpcUaServer,
}

/// What the messages of a target are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Messages {
    Rows(Format),
    Sparkplug,
}

/// Reads every `[[target]]`. `listeners`: the addresses that others listen on; `templates`: those of topics that there are.
pub(super) fn targets(root: &Table, mut listeners: Listeners, templates: &Names, report: &mut Report) -> Vec<Target> {
    let mut names = Names::new("target");
    let mut renamed = Renamed::new();
    let tables = root.tables("target", "target", report);
    let mut targets = Vec::with_capacity(tables.len());
    for table in tables {
        let others = Others { listeners: &listeners, templates };
        let Some(target) = target(table, &mut names, &mut renamed, others, report) else { continue };
        if let TargetKind::OpcUaServer(server) = &target.kind {
            listeners.push((server.listen, format!("the target \"{}\"", target.name)));
        }
        targets.push(target);
    }
    let mut taken = Names::new("target that was");
    for was in renamed {
        if names.contains(was.value.as_str()) {
            let message = format!("`was` names the target \"{}\", which is still there", was.value);
            let help = "a place in the store is moved from a target that is gone; remove `was`".to_owned();
            report.error(&was.origin, message, Some(help));
        }
        taken.add(&was, report);
    }
    targets
}

/// What else there is in the site that targets have to do with.
#[derive(Clone, Copy)]
struct Others<'a> {
    listeners: &'a Listeners,
    templates: &'a Names,
}

fn target(
    table: Table,
    names: &mut Names,
    renamed: &mut Renamed,
    others: Others<'_>,
    report: &mut Report,
) -> Option<Target> {
    let name = table.require::<Name>("name", "\"cloud\"", report);
    if let Some(name) = &name {
        names.add(name, report);
    }
    let name = name.map_or_else(Name::placeholder, |name| name.value);
    let table = table.named("target", format!("target.{name}"));
    let kinds = [("mqtt", Kind::Mqtt), ("opcua-server", Kind::OpcUaServer)];
    let kind = match table.has("kind") {
        true => table.choice("kind", &kinds, report).map(|at| at.value),
        false => table.require::<String>("kind", "\"mqtt\"", report).map(|_| Kind::Mqtt),
    };
    let (start, was) = match kind {
        Some(Kind::OpcUaServer) => (StartAt::Now, no_place(&table, report)),
        Some(Kind::Mqtt) | None => place(&table, report),
    };
    renamed.extend(was.clone());
    // Which other keys there are depends on the kind.
    let kind = match kind? {
        Kind::Mqtt => mqtt(&table, others.templates, report),
        Kind::OpcUaServer => opcua::server(&table, others.listeners, report).map(TargetKind::OpcUaServer),
    };
    table.finish(report);
    Some(Target { name, start, was: was.map(|was| was.value), kind: kind? })
}

/// Where a target begins in the store.
fn place(table: &Table, report: &mut Report) -> (StartAt, Option<At<Name>>) {
    let starts = [("now", StartAt::Now), ("oldest", StartAt::Oldest)];
    table.note_default("start", "\"now\"", report);
    let start = table.choice("start", &starts, report).map_or(StartAt::Now, |at| at.value);
    (start, table.take::<Name>("was", report))
}

/// Reports the keys of targets that have a place in the store, in one that has none.
fn no_place(table: &Table, report: &mut Report) -> Option<At<Name>> {
    for key in ["start", "was"].into_iter().filter(|key| table.has(key)) {
        table.node(key, report);
        let help = "an OPC UA server is asked, it sends nothing by itself; remove the key".to_owned();
        report.error(table.origin_of(key), format!("`{key}` has no effect with `kind = \"opcua-server\"`"), Some(help));
    }
    None
}

fn mqtt(table: &Table, templates: &Names, report: &mut Report) -> Option<TargetKind> {
    let url = table.require::<MqttUrl>("url", "\"mqtts://broker.example.com:8883\"", report);
    let login = login(table, report);
    let tls = tls(table, url.as_ref(), report);
    if let (Some(url), true) = (&url, table.has("password"))
        && !url.tls
        && !is_this_machine(&url.host)
    {
        let help = "write \"mqtts://\" if the broker can do TLS".to_owned();
        report.warning(&url.origin, "the password travels through the network in clear text", Some(help));
    }
    let defaults = MqttTarget::new("", 0);
    let protocol = protocol(table, defaults.protocol, report);
    let messages = messages(table, defaults.format, report);
    let batch = batch(table, messages, defaults.batch, report);
    let topics = row_topics::row_topics(table, messages == Messages::Rows(Format::Json), templates, report);
    let ids = match messages {
        Messages::Sparkplug => Some(sparkplug::ids(table, protocol, report)),
        Messages::Rows(format) => {
            sparkplug::no_ids(table, format.as_str(), report);
            None
        }
    };
    let format = if let Messages::Rows(format) = messages { format } else { defaults.format };
    let backfill = backfill(table, defaults.backfill, report);
    let waits = SECOND..=HOUR;
    let keep_alive = table.take_within("keep_alive", defaults.keep_alive, waits.clone(), report).value;
    let ack_timeout = table.take_within("ack_timeout", defaults.ack_timeout, waits, report).value;
    let settle = table.take_within("settle", defaults.settle, Duration::ZERO..=HOUR, report).value;
    let in_flight = table.take_within("in_flight", defaults.in_flight, 1..=10_000, report).value;
    let longest = SECOND..=24 * HOUR;
    let retry_longest = table.take_within("retry_longest", defaults.retry_longest, longest, report).value;
    let client_id = client_id(table, report);
    let MqttUrl { host, port, tls: encrypted } = url?.value;
    let tls = encrypted.then_some(tls);
    let connection = MqttTarget {
        tls,
        protocol,
        client_id,
        login,
        format,
        topics,
        batch,
        backfill,
        keep_alive,
        ack_timeout,
        settle,
        in_flight,
        retry_longest,
        ..MqttTarget::new(host, port)
    };
    Some(match ids {
        Some(ids) => TargetKind::Sparkplug(SparkplugTarget { connection, ids: ids? }),
        None => TargetKind::Mqtt(connection),
    })
}

fn protocol(table: &Table, default: MqttVersion, report: &mut Report) -> MqttVersion {
    table.note_default("protocol", &default.as_str().to_owned().to_toml(), report);
    let versions = [MqttVersion::V311, MqttVersion::V5].map(|version| (version.as_str(), version));
    table.choice("protocol", &versions, report).map_or(default, |at| at.value)
}

fn messages(table: &Table, default: Format, report: &mut Report) -> Messages {
    table.note_default("format", &default.as_str().to_owned().to_toml(), report);
    let rows = [Format::Json, Format::Block].map(|format| (format.as_str(), Messages::Rows(format)));
    let formats = [rows.as_slice(), &[(sparkplug::FORMAT, Messages::Sparkplug)]].concat();
    table.choice("format", &formats, report).map_or(Messages::Rows(default), |at| at.value)
}

fn batch(table: &Table, messages: Messages, default: Duration, report: &mut Report) -> Duration {
    if messages == Messages::Rows(Format::Block) {
        return table.take_within("batch", default, Duration::ZERO..=60 * SECOND, report).value;
    }
    if let Some(batch) = table.take::<Duration>("batch", report) {
        let help = "rows share a message with `format = \"block\"` alone; remove it".to_owned();
        let format = if let Messages::Rows(format) = messages { format.as_str() } else { sparkplug::FORMAT };
        let message = format!("`batch` has no effect with `format = \"{format}\"`");
        report.error(&batch.origin, message, Some(help));
    }
    default
}

fn backfill(target: &Table, default: Backfill, report: &mut Report) -> Backfill {
    let table = target.inner("backfill", "backfill", "{ share = 0.5, max_rate = \"200KiB/s\" }", report);
    let table = table.unwrap_or_else(|| target.empty_inner("backfill", "backfill"));
    let share = table.take_within("share", default.share, 0.05..=1.0, report).value;
    let rates = SLOWEST_BACKFILL..=FASTEST_BACKFILL;
    let max_rate = match table.has("max_rate") {
        true => Some(table.take_within("max_rate", SLOWEST_BACKFILL, rates, report).value),
        // Asked for all the same, so that a misspelt one is told its name.
        false => table.take::<ByteRate>("max_rate", report).map(|rate| rate.value),
    };
    let max_values = table.take_within("max_values", default.max_values, BACKFILL_VALUES, report).value;
    table.finish(report);
    Backfill { share, max_rate, max_values }
}

pub(super) fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

pub(super) fn client_id(table: &Table, report: &mut Report) -> Option<String> {
    let id = table.take::<String>("client_id", report)?;
    if id.is_empty() || id.len() > MAX_CLIENT_ID || id.chars().any(char::is_control) {
        let message = format!("`client_id` has to be 1 to {MAX_CLIENT_ID} printable characters");
        report.error(&id.origin, message, None);
        return None;
    }
    Some(id.value)
}

pub(super) fn login(table: &Table, report: &mut Report) -> Option<(String, Secret)> {
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

pub(super) fn tls(table: &Table, url: Option<&At<MqttUrl>>, report: &mut Report) -> Tls {
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
pub(super) fn file(table: &Table, key: &'static str, report: &mut Report) -> Option<PathBuf> {
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
