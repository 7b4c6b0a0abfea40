//! The reference says what the code does: its examples run, and no key, metric, path, command or word is missing in it or
//! made up.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use tidegate_codec::json;
use tidegate_config::{Origin, Profiles, Report, Source, load, parse_duration, parse_profile};
use tidegate_driver_modbus::{Points, Quirks};
use tidegate_model::{Column, Reason, Row, Slot, Stream, StreamId, Timestamp, Value, ValueKind, ValueType};
use tidegate_runtime::assemble;
use tidegate_store::GapReason;

const PAGES: [&str; 9] = [
    "README.md",
    "docs/reference/site.md",
    "docs/reference/profile.md",
    "docs/reference/topics.md",
    "docs/reference/http.md",
    "docs/reference/command-line.md",
    "docs/reference/opcua.md",
    "docs/reference/sparkplug.md",
    "docs/reference/export.md",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are in a folder of the workspace").to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The source of a file without its tests.
fn source(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.split("#[cfg(test)]").next().unwrap_or_default().to_owned()
}

/// The fenced blocks of all pages whose info string is `toml <what>`, with where each begins.
fn blocks(what: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for page in PAGES {
        let text = read(page);
        let mut lines = text.lines().enumerate();
        while let Some((number, line)) = lines.next() {
            if line == format!("```toml {what}") {
                let block = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```");
                found.push((format!("{page}:{}", number + 1), block.map(|line| format!("{line}\n")).collect()));
            }
        }
    }
    found
}

/// What a site can refer to: the texts in quotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('"').skip(1).step_by(2)
}

/// All there is to say about a site, by the loader, the drivers and the pipeline; and the keys in force.
fn judge(folder: &Path, site: &str, profiles: Profiles) -> Report {
    for name in quoted(site) {
        let file = name.strip_prefix("file:").or(name.ends_with(".pem").then_some(name));
        if let Some(file) = file.filter(|file| !file.starts_with('/')).map(|file| folder.join(file)) {
            fs::create_dir_all(file.parent().expect("a file in a folder")).expect("a folder for the file");
            fs::write(file, "secret").expect("a file that the site names");
        }
    }
    let variables = quoted(site).filter_map(|name| name.strip_prefix("env:"));
    let environment = variables.map(|name| (name.to_owned(), "secret".to_owned())).collect::<Vec<_>>();
    let file = folder.join("tidegate.toml");
    fs::write(&file, site).expect("the site can be written");
    let (site, mut report) = load(&file, environment, profiles);
    if let Some(site) = site {
        assemble(&site, tidegate_drivers::all(), &mut report);
    }
    report
}

/// A folder that sees the profiles of the repository.
fn plant() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::os::unix::fs::symlink(root().join("profiles"), folder.path().join("profiles")).expect("the profiles");
    folder
}

#[test]
fn every_whole_site_runs_without_a_mistake() {
    let blocks = blocks("site");
    assert!(blocks.len() >= 2, "README.md and site.md each have a whole site: {blocks:?}");
    for (place, text) in blocks {
        let report = judge(plant().path(), &text, Profiles::Used);
        assert_eq!(report.render(), "", "{place}");
    }
}

#[test]
fn every_whole_profile_has_no_mistake() {
    let blocks = blocks("profile");
    assert!(!blocks.is_empty(), "profile.md has a whole profile");
    for (place, text) in blocks {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("profiles")).expect("a folder");
        fs::write(folder.path().join("profiles/model.toml"), text).expect("the profile can be written");
        let report = judge(folder.path(), "[gateway]\nid = \"documented\"\n", Profiles::All);
        assert_eq!(report.render(), "", "{place}");
    }
}

/// One row of a table of the reference.
#[derive(Debug)]
struct Line {
    /// The heading above it.
    heading: String,
    /// First cell of the table's head.
    head: String,
    /// The cells, without the marks of code.
    cells: Vec<String>,
}

fn cells(line: &str) -> Vec<String> {
    line.trim_matches('|').split(" |").map(|cell| cell.trim_matches([' ', '|']).replace('`', "")).collect()
}

/// Every row of every table of a page, without the heads.
fn tables(page: &str) -> Vec<Line> {
    let text = read(page);
    let (mut heading, mut head, mut rows) = (String::new(), None, Vec::new());
    for line in text.lines() {
        if line.starts_with('#') {
            heading = line.replace('`', "");
        }
        if !line.starts_with('|') {
            head = None;
            continue;
        }
        match &head {
            None => head = Some(cells(line).swap_remove(0)),
            Some(_) if line.starts_with("| ---") => {}
            Some(head) => rows.push(Line { heading: heading.clone(), head: head.clone(), cells: cells(line) }),
        }
    }
    rows
}

/// The rows that describe keys, of both pages about files.
fn described_keys() -> Vec<Line> {
    let pages = ["docs/reference/site.md", "docs/reference/profile.md"].into_iter().flat_map(tables);
    pages.filter(|row| row.head == "key").collect()
}

/// The functions that take a key from a table, and how many keys each file at least has to have for us to believe the search.
const TAKERS: [&str; 16] = [
    "take",
    "take_or",
    "take_within",
    "require",
    "required",
    "choice",
    "choice_so_far",
    "table",
    "tables",
    "inner",
    "node",
    "limit",
    "filters",
    "level",
    "patterns",
    "file",
];

/// Every key that the loader and the drivers take, read off their calls: the first text of such a call, when only words
/// stand before it.
fn taken_keys() -> BTreeSet<String> {
    let loader = fs::read_dir(root().join("gateway/config/src/load")).expect("the loader");
    let mut files: Vec<PathBuf> = loader.map(|entry| entry.expect("a file").path()).collect();
    files.extend(["config", "kind", "point"].map(|name| root().join(format!("drivers/modbus/src/{name}.rs"))));
    files.extend(["config", "point"].map(|name| root().join(format!("drivers/opcua/src/{name}.rs"))));
    let mut keys = BTreeSet::new();
    for text in files.iter().map(|file| source(file)) {
        for (at, _) in text.match_indices('(') {
            let before = text[..at].rsplit_once("::<").filter(|_| text[..at].ends_with('>'));
            let before = before.map_or(&text[..at], |(before, _)| before);
            let word = before.rsplit(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
            let Some((words, rest)) = text[at + 1..].split_once('"') else { continue };
            let plain = words.chars().all(|c| c.is_alphanumeric() || " \n,&_".contains(c));
            if TAKERS.contains(&word) && plain {
                keys.insert(rest.split('"').next().unwrap_or_default().to_owned());
            }
        }
    }
    keys
}

#[test]
fn every_key_is_described_and_no_other() {
    let taken = taken_keys();
    for key in ["retry_longest", "max_silence", "device_time_unit", "bad_address_codes", "byte_order", "publish", "ca"]
    {
        assert!(taken.contains(key), "the search for keys does not find {key} any more: {taken:?}");
    }
    let described: BTreeSet<String> = described_keys().into_iter().map(|row| row.cells[0].clone()).collect();
    let headings = ["docs/reference/site.md", "docs/reference/profile.md"].map(read).concat();
    let has_heading =
        |key: &String| headings.lines().any(|line| line.starts_with("## ") && line.contains(&format!("[{key}]")));
    let missing: Vec<&String> = taken.difference(&described).filter(|key| !has_heading(key)).collect();
    assert!(missing.is_empty(), "site.md and profile.md do not describe {missing:?}");
    let made_up: Vec<&String> = described.difference(&taken).collect();
    assert!(made_up.is_empty(), "nobody takes {made_up:?}");
}

/// Whether two values mean the same: `"60s"` and `"1m"`.
fn same(one: &str, other: &str) -> bool {
    let duration = |text: &str| parse_duration(text.trim_matches('"')).ok();
    one == other || duration(one).is_some_and(|one| Some(one) == duration(other))
}

#[test]
fn every_default_of_the_site_is_the_one_in_force() {
    let site = "[gateway]\nid = \"g\"\n\
        [[link]]\nname = \"l\"\ndriver = \"modbus-tcp\"\naddress = \"127.0.0.1\"\n\
        [[device]]\nname = \"d\"\nlink = \"l\"\nprofile = \"eastron/sdm630\"\n\
        [[target]]\nname = \"t\"\nkind = \"mqtt\"\nurl = \"mqtt://127.0.0.1\"\n";
    let report = judge(plant().path(), site, Profiles::Used);
    let rows = described_keys();
    let defaults: Vec<_> = report.effective().iter().filter(|key| key.origin == Origin::Default).collect();
    assert!(defaults.len() >= 18, "the keys in force: {defaults:?}");
    for default in defaults {
        let (table, key) = (default.path.split('.').next(), default.path.rsplit('.').next());
        let (table, key) = (table.expect("a table"), key.expect("a key"));
        // A table in a table has a heading of its own, or its keys stand in the table around it.
        let inner = default.path.rsplit_once('.').map_or(table, |(inner, _)| inner);
        let row = rows.iter().find(|row| {
            [inner, table].iter().any(|table| row.heading.contains(&format!("[{table}]"))) && row.cells[0] == key
        });
        let row = row.unwrap_or_else(|| panic!("[{table}] of site.md has no {key}"));
        assert!(same(&row.cells[2], &default.value), "{}: {} instead of {}", default.path, row.cells[2], default.value);
    }
}

/// The points of a profile with these lines before its groups and in its only tag.
fn points(before: &str, tag: &str) -> Points {
    let text = format!(
        "{before}\n[profile]\nmanufacturer = \"M\"\nmodel = \"X\"\ndriver = \"modbus\"\n\
         [[group]]\nname = \"g\"\ninterval = \"1s\"\n[[tag]]\nname = \"t\"\ngroup = \"g\"\n{tag}\n"
    );
    let mut report = Report::new();
    let profile = parse_profile(&Source::new("profile.toml", text), &mut report);
    let points = Points::parse(&profile, &mut report);
    assert_eq!(report.render(), "");
    points.expect("a profile without mistakes")
}

#[test]
fn every_default_of_the_quirks_is_the_drivers() {
    let rows =
        described_keys().into_iter().filter(|row| row.heading.contains("Modbus") && row.heading.ends_with("[quirks]"));
    let keys: Vec<String> = rows.map(|row| format!("{} = {}", row.cells[0], row.cells[2])).collect();
    assert!(keys.len() >= 10, "{keys:?}");
    let points = points(&format!("[quirks]\n{}", keys.join("\n")), "table = \"holding\"\naddress = 0\ntype = \"u16\"");
    assert_eq!(points.quirks, Quirks::default());
}

#[test]
fn the_bytes_of_each_order_are_those_that_the_driver_reads() {
    let rows: Vec<Line> = tables("docs/reference/profile.md").into_iter().filter(|row| row.head == "order").collect();
    assert_eq!(rows.len(), 4);
    for row in rows {
        for order in [&row.cells[0], &row.cells[3]] {
            let values = [
                ("f32", &row.cells[1], Value::F32(229.8)),
                ("u32", &row.cells[2], Value::Uint(305_419_896)),
                ("u64", &row.cells[4], Value::Uint(72_623_859_790_382_856)),
            ];
            for (kind, bytes, value) in values {
                let bytes: Vec<u8> =
                    bytes.split(' ').map(|byte| u8::from_str_radix(byte, 16).expect("a byte")).collect();
                let tag = format!("table = \"input\"\naddress = 0\ntype = \"{kind}\"\nbyte_order = \"{order}\"");
                let point = points("", &tag).groups[0][0].expect("a point");
                assert_eq!(point.format().decode(&bytes), Some(value), "{kind} in {order}");
            }
        }
    }
}

/// The names in `gateway/web/src/metrics`: each is the first of a row whose second is its help, or is called `name`.
fn metrics() -> BTreeSet<String> {
    let files = ["metrics.rs", "metrics/broker.rs", "metrics/server.rs"];
    let files = files.map(|name| source(&root().join("gateway/web/src").join(name)));
    let text = files.concat();
    let rows =
        text.split('(').filter_map(|row| row.trim_start().strip_prefix('"')?.split_once("\", ")).filter(|(_, rest)| {
            let is_help = |help: &str| help.starts_with(char::is_uppercase) || help.starts_with("1 ");
            rest.starts_with("help") || rest.strip_prefix('"').is_some_and(is_help)
        });
    let called = text.split("let name = \"").skip(1).filter_map(|rest| rest.split_once('"'));
    rows.chain(called).map(|(name, _)| format!("tidegate_{name}")).collect()
}

#[test]
fn every_metric_is_described_and_no_other() {
    let names = metrics();
    assert!(names.len() >= 35, "the search for metrics does not find them any more: {names:?}");
    let rows: Vec<Line> = tables("docs/reference/http.md").into_iter().filter(|row| row.head == "metric").collect();
    for row in &rows {
        assert_eq!(row.cells[0].ends_with("_total"), row.cells[1] == "counter", "{}", row.cells[0]);
    }
    let described: BTreeSet<String> =
        rows.iter().map(|row| row.cells[0].trim_end_matches("_total").to_owned()).collect();
    assert_eq!(described, names);
}

#[test]
fn every_path_is_described() {
    let server = source(&root().join("gateway/web/src/server.rs"));
    let paths: Vec<&str> = server.split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(paths.len() >= 6, "{paths:?}");
    let described = tables("docs/reference/http.md");
    for path in paths {
        let is_there = described.iter().any(|row| row.cells[0].ends_with(&format!(" {path}")));
        assert!(is_there, "http.md does not describe {path}");
    }
}

#[test]
fn every_field_of_the_status_is_described() {
    let status = source(&root().join("gateway/runtime/src/status.rs"));
    let fields =
        status.lines().filter_map(|line| line.strip_prefix("    pub ")?.split_once(": ")).map(|(name, _)| name);
    let fields: BTreeSet<&str> = fields.filter(|name| *name != "latency").collect();
    assert!(fields.len() >= 50, "the search for fields does not find them any more: {fields:?}");
    let page = read("docs/reference/http.md");
    let missing: Vec<&&str> = fields.iter().filter(|name| !page.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "http.md does not describe {missing:?}");
}

#[test]
fn every_command_is_described_with_its_exit_codes() {
    let cli = source(&root().join("gateway/app/src/cli.rs"));
    let commands = cli.split("enum Command {").nth(1).and_then(|rest| rest.split("\n}").next()).expect("the commands");
    let variants = commands
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with(char::is_uppercase) && line.ends_with([',', '{']));
    let page = read("docs/reference/command-line.md");
    let mut count = 0;
    for variant in variants {
        let name = variant.trim_end_matches([' ', ',', '{']);
        let mut command = String::new();
        for letter in name.chars() {
            if letter.is_uppercase() && !command.is_empty() {
                command.push('-');
            }
            command.push(letter.to_ascii_lowercase());
        }
        let section = page.split(&format!("## `{command}`\n")).nth(1).and_then(|rest| rest.split("\n## ").next());
        let section = section.unwrap_or_else(|| panic!("command-line.md does not describe {command}"));
        assert!(section.contains(&format!("    tidegate {command}")), "{command} has no example");
        assert!(section.contains("| exit code |"), "{command} has no exit codes");
        count += 1;
    }
    assert!(count >= 9, "the search for commands does not find them any more");
}

#[test]
fn every_reason_is_described() {
    let rows = tables("docs/reference/topics.md");
    let described: BTreeSet<&str> =
        rows.iter().filter(|row| row.head == "reason").map(|row| row.cells[0].as_str()).collect();
    let reasons = Reason::ALL.map(Reason::as_str).into_iter();
    let gaps = GapReason::ALL.map(GapReason::as_str).into_iter();
    // These two are the target's own, for rows that are in the store.
    let own = ["too_large", "refused"].into_iter();
    assert_eq!(described, reasons.chain(gaps).chain(own).collect());
}

#[test]
fn every_example_of_a_payload_is_what_the_codec_writes() {
    let column = |name: &str| Column::new(name.parse().expect("a name"), ValueType::single(ValueKind::F32));
    let columns = vec![column("voltage_l1"), column("current_l1"), column("setpoint")];
    let (device, group) = ("meter-1".parse().expect("a name"), "fast".parse().expect("a name"));
    let good = Slot::Good(Value::F32(229.8));
    let uncertain = Slot::Uncertain(Value::F32(600.5), Reason::OutOfRange);
    let bad = Slot::Bad(Reason::Timeout);
    let time = Timestamp::from_millis(1_700_000_000_000);
    let row = Row {
        stream: Arc::new(Stream::new(StreamId(1), device, group, columns)),
        seq: 7,
        time,
        device_time: Some(Timestamp::from_millis(1_699_999_999_000)),
        slots: vec![good.clone(), uncertain.clone(), bad.clone()].into(),
    };
    let mut payloads = [const { Vec::new() }; 5];
    json::row(&row, false, &mut payloads[0]);
    json::tag(&good, time, Some("V"), &mut payloads[1]);
    json::tag(&uncertain, time, Some("A"), &mut payloads[2]);
    json::tag(&bad, time, None, &mut payloads[3]);
    json::gap(5, 9, GapReason::StoreFull.as_str(), &mut payloads[4]);
    let page = read("docs/reference/topics.md");
    for payload in payloads {
        let payload = String::from_utf8(payload).expect("JSON is text");
        assert!(page.contains(&format!("```json\n{payload}\n```")), "topics.md has no example {payload}");
    }
}

/// The anchor of a heading, as the pages are shown.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    heading.trim_start_matches('#').trim().to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")
}

#[test]
fn every_link_leads_somewhere() {
    let mut anchors: BTreeMap<PathBuf, BTreeSet<String>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for page in PAGES {
        let folder = root().join(page).parent().expect("a page is in a folder").to_owned();
        let text = read(page);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (path, place) = link.split_once('#').unwrap_or((link, ""));
            let file = if path.is_empty() { root().join(page) } else { folder.join(path) };
            if path.contains("://") || (file.exists() && place.is_empty()) {
                continue;
            }
            let anchors = anchors.entry(file.clone()).or_insert_with(|| {
                let text = fs::read_to_string(&file).unwrap_or_default();
                text.lines().filter(|line| line.starts_with('#')).map(anchor).collect()
            });
            if !anchors.contains(place) {
                wrong.push(format!("{page}: {link}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
