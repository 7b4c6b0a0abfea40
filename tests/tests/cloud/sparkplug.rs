//! The ingest as the host application of edge nodes: our gateway, whose primary host it is, and one that others wrote.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    process::Command,
};

use serde_json::Value;
use tidegate_tests::{
    Child, Cut, FaultProxy, Gateway, Line, Message, ModbusServer, Mosquitto, PATIENCE, Peers, Postgres, Site,
    SparkplugHost, SparkplugPump, Subscriber, Table, tidegate, wait_until,
};

use crate::ingest::start;

const PROFILE: &str = r#"
[profile]
manufacturer = "Acme"
model = "Oven"
driver = "modbus"
version = 1

[[group]]
name = "all"
interval = "50ms"

[[tag]]
name = "temperature"
group = "all"
table = "holding"
address = 0
type = "i16"
scale = 0.1
unit = "°C"

[[tag]]
name = "heating"
group = "all"
table = "coil"
address = 3
type = "bool"
"#;

/// A gateway with one device whose target holds its data back while the primary host is offline, and tells it again when the host turns
/// out to be gone.
fn oven(modbus: SocketAddr, broker: SocketAddr) -> anyhow::Result<Site> {
    let site = Site::new()?;
    site.write_file("profiles/acme/oven.toml", PROFILE)?;
    let rest = format!(
        "[store]\ncommit = \"50ms\"\n\n\
         [[link]]\nname = \"hall\"\ndriver = \"modbus-tcp\"\naddress = \"{modbus}\"\ntimeout = \"5s\"\n\n\
         [[device]]\nname = \"oven-1\"\nlink = \"hall\"\nprofile = \"acme/oven\"\nunit = 1\n\n\
         [[target]]\nname = \"cloud\"\nkind = \"mqtt\"\nurl = \"mqtt://{broker}\"\nformat = \"sparkplug_b\"\n\
         group_id = \"plant\"\nretry_longest = \"1s\"\nprimary_host = \"historian\"\nsettle = \"600s\"\nstart = \"oldest\"\n",
    );
    site.write("line3", &rest)?;
    Ok(site)
}

/// Waits until a query gives a number that large.
fn until_at_least(database: &Postgres, what: &str, sql: &str, wanted: i64) -> anyhow::Result<()> {
    let found = || database.sql(sql).ok()?.first()?.parse::<i64>().ok();
    wait_until(PATIENCE, what, || found().filter(|found| *found >= wanted)).map(drop)
}

/// How often the ingest has said this.
fn said(lines: &[Line], what: &str) -> usize {
    lines.iter().filter(|line| line.text.contains(what)).count()
}

const BIRTHS: &str = "select births from tidegate.edge_node";
const ROWS: &str = "select count(*) from tidegate.samples where tag = 'temperature' and quality = 'good'";

#[test]
fn each_row_of_our_gateway_is_written_once_whatever_is_away() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let (broker, mut database) = (Mosquitto::start(&peers)?, Postgres::start(&peers)?);
    let mut modbus = ModbusServer::start(&peers, &[1])?;
    modbus.set(1, Table::Holding, 0, &[215])?;
    let proxy = FaultProxy::start(broker.address(), 5)?;
    let site = oven(modbus.address(), proxy.address())?;
    let gateway = Gateway::start(&site)?;
    let own = Subscriber::start(&peers, site.broker_address(), "tidegate/line3/oven-1/data/all")?;
    let more = |rows: usize| {
        let before = own.messages().len();
        own.wait_for(PATIENCE, "more rows", |all| (all.len() >= before + rows).then_some(()))
    };
    // Nothing is told before the host is there.
    more(10)?;
    let arguments = ["--format", "sparkplug_b", "--group", "plant", "--host-id", "historian", "--client-id", "one"];
    let begin = || start(broker.address(), &database.url(), &arguments);
    let mut ingest = begin()?;
    let state = Subscriber::start(&peers, broker.address(), "spBv1.0/STATE/historian")?;
    until_at_least(&database, "rows of before the host came", ROWS, 10)?;

    proxy.cut(Cut::Reset);
    until_at_least(&database, "births after the link was cut", BIRTHS, 2)?;

    database.kill();
    ingest.wait_for(PATIENCE, "the word that the host is offline", |lines| {
        (said(lines, "the host is offline") >= 1).then_some(())
    })?;
    state.wait_for(PATIENCE, "its state", |all| all.last().filter(|last| last.payload.contains("false")).map(drop))?;
    more(20)?;
    database.resume()?;
    ingest.wait_for(PATIENCE, "the word that the host is online again", |lines| {
        (said(lines, "the host is online") >= 2).then_some(())
    })?;
    until_at_least(&database, "births after the database was away", BIRTHS, 3)?;

    // What it had not written is told again, and what it had written is found in the database.
    ingest.kill();
    let mut ingest = start(broker.address(), &database.url(), &arguments)?;
    until_at_least(&database, "births after the ingest was killed", BIRTHS, 4)?;
    more(5)?;
    // A poll that was not answered in time has no value.
    let rows: Vec<Value> = own.messages().iter().map(|row| row.json().unwrap()).collect();
    let with_value = rows.iter().filter(|row| row["values"]["temperature"] == 21.5);
    let times: BTreeSet<i64> = with_value.map(|row| row["ts"].as_i64().unwrap()).collect();
    assert!(times.len() > 40, "{rows:?}");
    let sql = "select (extract(epoch from time) * 1000)::bigint from tidegate.samples where tag = 'temperature' and value = 21.5";
    let found = || -> Option<Vec<i64>> { database.sql(sql).ok()?.iter().map(|time| time.parse().ok()).collect() };
    wait_until(PATIENCE, "every row that the gateway has made", || {
        let found: BTreeSet<i64> = found()?.into_iter().collect();
        times.is_subset(&found).then_some(())
    })?;
    assert!(gateway.stop()?.success());
    assert!(ingest.terminate(PATIENCE)?.success());
    state.wait_for(PATIENCE, "its last state", |all| {
        all.last().filter(|last| last.payload.contains("\"online\":false")).map(drop)
    })?;
    // On a machine that is late the gateway polls twice in one millisecond: that often, and no more, is a value of that time there.
    let mut made: BTreeMap<String, usize> = BTreeMap::new();
    for row in own.messages() {
        *made.entry(row.json()?["ts"].to_string()).or_default() += 1;
    }
    let counts = "select (extract(epoch from time) * 1000)::bigint, max(count) from (select time, count(*) from tidegate.samples \
                  where quality = 'good' group by device, tag, time) as of_tag group by time having max(count) > 1";
    for line in database.sql(counts)? {
        let (time, count) = line.split_once('|').unwrap();
        assert!(
            made.get(time).is_some_and(|made| count.parse::<usize>().unwrap() <= *made),
            "{line}: {:?}",
            made.get(time)
        );
    }
    // What a restart brought again is neither in the tables nor counted as rows.
    let rows = "select (select sum(rows) from tidegate.stream) - count(distinct (device, seq)) from tidegate.samples";
    assert_eq!(database.sql(rows)?, ["0"]);
    let units = "select distinct unit from tidegate.samples where tag = 'temperature'";
    assert_eq!(database.sql(units)?, ["°C"]);
    let (code, text) = tidegate(["ingest", "--verify", "--to", &database.url()], &[])?;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("\nplant/line3 ") && text.contains("1 edge nodes, no messages missing"), "{text}");
    Ok(())
}

/// The lines of rows and what was refused.
fn written(ingest: &Child) -> Vec<Value> {
    let lines = ingest.lines();
    lines
        .iter()
        .filter(|line| line.text.starts_with('{'))
        .filter_map(|line| serde_json::from_str(&line.text).ok())
        .collect()
}

const TIME: i64 = 1_700_000_000_000;

#[test]
fn what_a_foreign_edge_node_says_is_written_once_and_what_it_lost_is_known() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let broker = Mosquitto::start(&peers)?;
    let folder = tempfile::tempdir()?;
    let ledger = folder.path().join("ledger").display().to_string();
    let mut node = SparkplugPump::start(&peers, broker.address(), TIME)?;
    node.say("birth")?;
    let arguments = ["--format", "sparkplug_b", "--ledger", &ledger, "--client-id", "lines"];
    let mut ingest = start(broker.address(), "jsonl:-", &arguments)?;
    // Nobody has told the ingest what 1 is.
    node.say(&format!("data 1 2.5 {}", TIME + 1))?;
    node.until_asked(1)?;
    let until = |ingest: &Child, what: &str, look: &dyn Fn(&Value) -> bool| {
        wait_until(PATIENCE, what, || written(ingest).into_iter().find(|line| look(line)))
    };
    let birth = until(&ingest, "the birth", &|line| line["ts"] == TIME)?;
    assert_eq!(
        (&birth["gateway"], &birth["device"], &birth["group"]),
        (&"line4".into(), &"pump".into(), &"plant".into())
    );
    let values = birth["values"].as_object().unwrap();
    assert_eq!((&values["Motor.Speed"], &values["steps"]), (&1.5.into(), &7.into()));
    assert!(values.iter().any(|(name, value)| name.starts_with("Zustand__-") && value == "läuft"), "{values:?}");

    node.say(&format!("data 1 3.5 {}", TIME + 2))?;
    node.say("again")?;
    node.say(&format!("past 1 3.5 {}", TIME + 2))?;
    node.say(&format!("past 2 -9 {}", TIME - 60_000))?;
    node.say("lose")?;
    node.say(&format!("data 2 10 {}", TIME + 3))?;
    node.say("raw spBv1.0/plant/DDATA/line4/pump ffffff")?;
    until(&ingest, "what comes behind the hole", &|line| line["values"]["steps"] == 10)?;
    until(&ingest, "what cannot be read", &|line| line["refused"]["fault"] == "sparkplug")?;
    node.say("death")?;
    until(&ingest, "the death of the device", &|line| line["bad"]["steps"] == "disconnected")?;
    assert!(ingest.terminate(PATIENCE)?.success());
    let lines = written(&ingest);
    let count = |time: i64| lines.iter().filter(|line| line["ts"] == time).count();
    assert_eq!([TIME, TIME + 1, TIME + 2, TIME + 3, TIME - 60_000].map(count), [1, 0, 1, 1, 1], "{lines:#?}");
    let (code, text) = tidegate(["ingest", "--verify", "--to", "jsonl:-", "--ledger", &ledger], &[])?;
    assert!(code == Some(1) && text.contains("1 edge nodes, 1 messages are missing"), "{code:?}: {text}");
    Ok(())
}

/// Reads all files below a folder with pandas; each value of a row as a line: its time, tag and value.
const READ: &str = r#"
import glob, pandas, sys
for file in glob.glob(sys.argv[1] + "/**/*.parquet", recursive=True):
    frame = pandas.read_parquet(file)
    for row in frame.to_dict("records"):
        for tag in ["Motor.Speed", "steps"]:
            if not pandas.isna(row[tag]):
                print(round(row["time"].timestamp() * 1000), tag, float(row[tag]), sep="|")
"#;

#[test]
fn files_have_what_an_edge_node_says_once_over_a_kill() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let broker = Mosquitto::start(&peers)?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("lake").display().to_string();
    let to = format!("parquet:{path}");
    let mut node = SparkplugPump::start(&peers, broker.address(), TIME)?;
    let said = |later: i64| [format!("past 1 {later}.5 {}", TIME + later), format!("past 2 {later} {}", TIME - later)];
    let rows = || -> Option<u64> {
        let (_, text) = tidegate(["ingest", "--verify", "--json", "--to", &to], &[]).ok()?;
        // Beside it may stand that the ledger is made from the files, as there is none yet.
        let report: Value = serde_json::from_str(text.lines().find(|line| line.starts_with('{'))?).ok()?;
        report["streams"].as_array()?.iter().find(|stream| stream["device"] == "pump")?["rows"].as_u64()
    };
    let mut told = Vec::new();
    // Killed while all of it is in the journal, once a part is in files, and once more.
    for (kill, rotate) in [(1, "600s"), (2, "1s"), (3, "600s")] {
        let mut ingest =
            start(broker.address(), &to, &["--format", "sparkplug_b", "--client-id", "files", "--rotate", rotate])?;
        // Births say what they said before, and so does everything of before that is told again.
        node.say("birth")?;
        told.extend(said(kill));
        for words in &told {
            node.say(words)?;
        }
        node.say("again")?;
        // The birth is a row, and each word another.
        let wanted = 1 + 2 * u64::try_from(kill)?;
        wait_until(PATIENCE, "all rows", || rows().filter(|rows| *rows >= wanted))?;
        if rotate == "1s" {
            wait_until(PATIENCE, "the values in the files", || {
                std::fs::read_dir(folder.path().join("lake/.tidegate"))
                    .ok()?
                    .find_map(|entry| entry.ok()?.file_name().to_str()?.starts_with("taken-").then_some(()))
            })?;
        }
        ingest.kill();
        let (_, text) = tidegate(["ingest", "--verify", "--json", "--to", &to], &[])?;
        assert_eq!(rows(), Some(wanted), "{text}");
    }
    let mut ingest = start(broker.address(), &to, &["--format", "sparkplug_b", "--client-id", "files"])?;
    node.say("birth")?;
    for words in &told {
        node.say(words)?;
    }
    node.say(&format!("data 1 99.5 {}", TIME + 99))?;
    wait_until(PATIENCE, "the last row", || rows().filter(|rows| *rows >= 8))?;
    assert!(ingest.terminate(PATIENCE)?.success());
    let output = Command::new(peers.python()).args(["-c", READ, &path]).output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut found: Vec<String> = String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect();
    found.sort();
    let mut wanted = vec![format!("{TIME}|Motor.Speed|1.5"), format!("{TIME}|steps|7.0")];
    for later in 1..4 {
        wanted.push(format!("{}|Motor.Speed|{later}.5", TIME + later));
        wanted.push(format!("{}|steps|{later}.0", TIME - later));
    }
    wanted.push(format!("{}|Motor.Speed|99.5", TIME + 99));
    wanted.sort();
    assert_eq!(found, wanted);
    Ok(())
}

/// What a message says of a host: whether it is online, and since when.
fn told(message: &Message) -> Option<(bool, i64)> {
    let state = message.json().ok()?;
    Some((state["online"].as_bool()?, state["timestamp"].as_i64()?))
}

#[test]
fn the_host_is_online_again_when_another_one_under_its_id_has_ended() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let broker = Mosquitto::start(&peers)?;
    let state = Subscriber::start(&peers, broker.address(), "spBv1.0/STATE/historian")?;
    let arguments = ["--format", "sparkplug_b", "--host-id", "historian", "--client-id", "one"];
    let mut ingest = start(broker.address(), "jsonl:-", &arguments)?;
    let until = |what: &str, online: bool, after: i64| {
        let is = |state: &(bool, i64)| state.0 == online && state.1 > after;
        state.wait_for(PATIENCE, what, |all| all.iter().filter_map(told).find(is)).map(|(_, since)| since)
    };
    let own = until("the host online", true, 0)?;
    let mut other = SparkplugHost::start(&peers, broker.address(), Some("historian"))?;
    let others = until("the other host online", true, own)?;
    other.kill();
    until("the other host offline", false, own)?;
    // Edge nodes mind nothing that began earlier than what has ended.
    until("the host online again", true, others)?;
    assert!(ingest.terminate(PATIENCE)?.success());
    until("the host offline", false, others).map(drop)
}
