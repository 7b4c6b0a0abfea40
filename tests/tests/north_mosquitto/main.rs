//! The mqtt target and a real mosquitto as the cloud: outages, cut connections, logins, certificates, limits.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod line;

use std::{collections::BTreeSet, fs, net::SocketAddr, path::Path, process::Command, time::Duration};

use line::Line;
use tidegate_config::{MqttTarget as Options, Secret, Tls, TopicTemplate};
use tidegate_tests::{
    Authority, Fault, FaultProxy, Message, Mosquitto, PATIENCE, Peers, Subscriber, SubscriberOptions, Way,
};

/// Bytes a second of a thin link.
const THIN: u32 = 80_000;
/// Rows of backlog for it: more than it carries while twenty live rows are committed one by one on a slow disk.
const BACKLOG: u64 = 6_000;

fn options(broker: SocketAddr) -> Options {
    Options {
        keep_alive: Duration::from_secs(10),
        ack_timeout: Duration::from_secs(20),
        retry_longest: Duration::from_millis(500),
        ..Options::new(broker.ip().to_string(), broker.port())
    }
}

/// The number of the row in a message, if there is one.
fn number(message: &Message) -> Option<u64> {
    (message.topic == "plant/line3/meter/data/fast").then(|| message.json().unwrap()["seq"].as_u64().unwrap())
}

/// Bytes of the packet of a message: beside topic and payload its head, two lengths and its number.
fn packet(message: &Message) -> u64 {
    u64::try_from(message.topic.len() + message.payload.len() + 7).unwrap()
}

/// Numbers that have come. Each message is read once, however often is looked: who looks holds up the one who collects them.
#[derive(Default)]
struct Seen {
    read: usize,
    /// Each number where it came first.
    first: Vec<u64>,
    all: BTreeSet<u64>,
    /// How many came again.
    again: usize,
}

impl Seen {
    /// Reads what has come since the last look.
    fn look(&mut self, messages: &[Message], number: impl Fn(&Message) -> Option<u64>) -> &BTreeSet<u64> {
        for number in messages[self.read..].iter().filter_map(number) {
            match self.all.insert(number) {
                true => self.first.push(number),
                false => self.again += 1,
            }
        }
        self.read = messages.len();
        &self.all
    }
}

#[test]
fn every_row_reaches_a_subscriber_once_and_in_order_and_the_state_says_who_is_there() {
    let Some(peers) = Peers::find().unwrap() else { return };
    let broker = Mosquitto::start(&peers).unwrap();
    let subscriber = Subscriber::start(&peers, broker.address(), "plant/#").unwrap();
    let mut line = Line::new();
    line.start(&options(broker.address()));
    // What is committed from here on is live, all of it. Of rows committed before and after, the later ones may come first.
    subscriber.wait_for(PATIENCE, "the state", |messages| messages.first().map(|_| ())).unwrap();
    for _ in 0..10 {
        line.rows(100);
        line.until_all_acknowledged();
    }
    line.stop();
    let messages = subscriber
        .wait_for(PATIENCE, "the farewell", |messages| {
            messages.last().is_some_and(|last| last.payload == "offline").then(|| messages.to_vec())
        })
        .unwrap();
    assert!(messages.iter().filter_map(number).eq(1..=1000), "they came in another order");
    assert_eq!((messages[0].topic.as_str(), messages[0].payload.as_str()), ("plant/line3/state", "online"));
    let late = Subscriber::start(&peers, broker.address(), "plant/+/state").unwrap();
    let state = late.wait_for(PATIENCE, "the retained state", |messages| messages.first().cloned()).unwrap();
    assert!(state.retained && state.payload == "offline");
}

#[test]
fn a_broker_that_was_away_gets_everything_at_once_and_in_order() {
    let Some(peers) = Peers::find().unwrap() else { return };
    let mut broker = Mosquitto::start(&peers).unwrap();
    let watcher = SubscriberOptions { session: Some("watcher".to_owned()), ..SubscriberOptions::default() };
    let subscriber = Subscriber::start_with(&peers, broker.address(), "plant/+/+/data/#", &watcher).unwrap();
    let mut line = Line::new();
    line.rows(50);
    line.until_all_committed();
    line.start(&options(broker.address()));
    line.until_all_acknowledged();
    broker.stop().unwrap();
    line.until("the outage", |status| status.connect_failures > 0);
    line.rows(5000);
    // So that all of it is backlog: what is committed after the connection is live and may overtake.
    line.until_all_committed();
    broker.resume().unwrap();
    let tries = line.status().connect_failures;
    let status = line.until_all_acknowledged();
    assert!(status.connect_failures <= tries + 1, "a try that had begun before may have failed after, and no other");
    assert_eq!(status.sent, 5050, "nothing had to be sent twice");
    // mosquitto gives its subscriber again what that had not acknowledged before the stop: the first of each counts.
    let mut seen = Seen::default();
    subscriber
        .wait_for(PATIENCE, "5050 rows", |messages| (seen.look(messages, number).len() >= 5050).then_some(()))
        .unwrap();
    assert!(seen.first.into_iter().eq(1..=5050), "they came in another order");
    line.stop();
}

#[test]
fn live_rows_are_less_than_a_second_old_while_a_backlog_fills_a_thin_link() {
    let Some(peers) = Peers::find().unwrap() else { return };
    let broker = Mosquitto::start(&peers).unwrap();
    let subscriber = Subscriber::start(&peers, broker.address(), "plant/+/+/data/#").unwrap();
    let proxy = FaultProxy::start(broker.address(), 1).unwrap();
    proxy.fault(Fault::Slow(THIN)).unwrap();
    let mut line = Line::new();
    let text = "x".repeat(900);
    (0..BACKLOG).for_each(|_| line.row(&text));
    // What is committed before the connection is backlog.
    line.until_all_committed();
    line.start(&options(proxy.address()));
    line.until("a part of the backlog", |status| status.acknowledged > 300);
    let (mut read, mut bytes, mut most) = (0, 0, 0);
    for _ in 0..20 {
        line.row("live");
        line.until_all_committed();
        // Time is measured by what the link has carried since then: it does not go on while the machine stands still.
        let (before, seq) = (proxy.carried(Way::There), line.last);
        subscriber
            .wait_for(PATIENCE, "a live row", |messages| {
                messages[read..].iter().find_map(|message| {
                    (read, bytes) = (read + 1, bytes + packet(message));
                    (number(message) == Some(seq)).then_some(())
                })
            })
            .unwrap();
        most = most.max(bytes.saturating_sub(before));
    }
    let status = line.status();
    println!(
        "a live row waited for {most} bytes at most; {} of {BACKLOG} rows of backlog had arrived",
        status.acknowledged - 20
    );
    assert!(status.acknowledged < BACKLOG - 100, "the backlog was through too early: {status:?}");
    assert!(most < u64::from(THIN), "{most} bytes");
    proxy.heal().unwrap();
    line.until_all_acknowledged();
    assert_eq!(line.status().sent, line.last, "nothing was sent twice");
    line.stop();
}

#[test]
fn fifty_connections_cut_under_load_lose_no_row() {
    let Some(peers) = Peers::find().unwrap() else { return };
    let broker = Mosquitto::start(&peers).unwrap();
    let subscriber = Subscriber::start(&peers, broker.address(), "plant/+/+/data/#").unwrap();
    let proxy = FaultProxy::start(broker.address(), 1).unwrap();
    let mut line = Line::new();
    line.start(&options(proxy.address()));
    line.cut(&proxy, 50, |line| line.row("x"));
    line.until_all_acknowledged();
    let wanted: BTreeSet<u64> = (1..=line.last).collect();
    let mut seen = Seen::default();
    subscriber
        .wait_for(PATIENCE, "every row", |messages| (*seen.look(messages, number) == wanted).then_some(()))
        .unwrap();
    let status = line.status();
    println!(
        "{} rows, 50 connections cut, {} reconnects, {} sent again, {} received twice",
        line.last,
        status.reconnects,
        status.sent - line.last,
        seen.again,
    );
    assert_eq!(status.left_out, 0);
    line.stop();
}

#[test]
fn on_topics_of_templates_no_message_of_a_row_is_lost_over_connections_cut_under_load() {
    let Some(peers) = Peers::find().unwrap() else { return };
    let broker = Mosquitto::start(&peers).unwrap();
    let subscriber = Subscriber::start(&peers, broker.address(), "#").unwrap();
    let proxy = FaultProxy::start(broker.address(), 1).unwrap();
    let mut line = Line::new();
    let template = |name: &str, topic| TopicTemplate::new(name.parse().unwrap(), topic).unwrap();
    let tags = TopicTemplate { retain: true, ..template("uns", "uns/{device}/{tag}") };
    line.start_on(&options(proxy.address()), vec![tags, template("rows", "rows/{device}")]);
    line.cut(&proxy, 20, |line| line.row(&(line.last + 1).to_string()));
    line.until_all_acknowledged();
    let wanted: BTreeSet<u64> = (1..=line.last).collect();
    let told = |message: &Message, topic: &str, note: fn(&serde_json::Value) -> &serde_json::Value| {
        let row = (message.topic == topic).then(|| message.json().unwrap())?;
        Some(note(&row).as_str().unwrap().parse().unwrap())
    };
    let (mut tags, mut rows) = (Seen::default(), Seen::default());
    subscriber
        .wait_for(PATIENCE, "every message of every row", |messages| {
            let tags = tags.look(messages, |message| told(message, "uns/meter/note", |tag| &tag["v"]));
            let rows = rows.look(messages, |message| told(message, "rows/meter", |row| &row["values"]["note"]));
            (*tags == wanted && *rows == wanted).then_some(())
        })
        .unwrap();
    let late = Subscriber::start(&peers, broker.address(), "uns/#").unwrap();
    let kept = late.wait_for(PATIENCE, "what is kept", |messages| messages.first().cloned()).unwrap();
    assert_eq!(kept.json().unwrap()["v"], line.last.to_string(), "the newest, whatever came last");
    let status = line.status();
    println!("{} rows, 20 connections cut, {} sent again", line.last, status.sent - line.last);
    assert_eq!(status.left_out, 0);
    line.stop();
}

#[test]
fn a_wrong_password_is_told_and_the_rows_flow_once_it_has_been_put_right() {
    let Some(peers) = Peers::find().unwrap() else { return };
    let files = tempfile::tempdir().unwrap();
    let passwords = files.path().join("passwords");
    // A hash of another password; the right one is put in below.
    write_passwords(&passwords, "other");
    let lines = format!("allow_anonymous false\npassword_file {}\n", passwords.display());
    let mut broker = Mosquitto::start_with(&peers, &lines).unwrap();
    let mut line = Line::new();
    line.rows(10);
    let mut options = options(broker.address());
    options.login = Some(("line3".to_owned(), Secret::literal("tide")));
    line.start(&options);
    let told = |text: &String| text.contains("refused the login") && text.contains("password");
    line.until("the refusal", |status| status.last_error.as_ref().is_some_and(told));
    assert_eq!(line.status().acknowledged, 0);
    broker.stop().unwrap();
    write_passwords(&passwords, "tide");
    broker.resume().unwrap();
    line.until_all_acknowledged();
    line.stop();
}

#[test]
fn a_broker_with_the_plants_own_authority_wants_a_client_certificate_and_gets_one() {
    let Some(peers) = Peers::find().unwrap() else { return };
    let files = tempfile::tempdir().unwrap();
    let ours = Authority::new(files.path().join("ours")).unwrap();
    let theirs = Authority::new(files.path().join("theirs")).unwrap();
    ours.sign("line3").unwrap();
    let broker = Mosquitto::start_with(&peers, &ours.mosquitto().unwrap()).unwrap();
    let mut line = Line::new();
    line.rows(100);
    let mut options = options(broker.address());

    options.tls = Some(Tls { ca: Some(theirs.file("ca.pem")), client: None });
    line.start(&options);
    let told = |text: &String| text.contains("is not signed by an authority that the gateway trusts");
    line.until("the wrong authority", |status| status.last_error.as_ref().is_some_and(told));
    line.stop();

    options.tls = Some(Tls { ca: Some(ours.file("ca.pem")), client: None });
    line.start(&options);
    let told = |text: &String| text.contains("client certificate");
    line.until("the missing certificate", |status| status.last_error.as_ref().is_some_and(told));
    assert_eq!(line.status().acknowledged, 0);
    line.stop();

    let client = Some((ours.file("line3.pem"), ours.file("line3.key")));
    options.tls = Some(Tls { ca: Some(ours.file("ca.pem")), client });
    line.start(&options);
    line.until_all_acknowledged();
    line.stop();
}

#[test]
fn a_row_larger_than_the_broker_takes_becomes_a_gap_and_the_rest_arrives() {
    let Some(peers) = Peers::find().unwrap() else { return };
    let broker = Mosquitto::start_with(&peers, "allow_anonymous true\nmax_packet_size 65536\n").unwrap();
    let subscriber = Subscriber::start(&peers, broker.address(), "plant/line3/meter/#").unwrap();
    let mut line = Line::new();
    line.rows(200);
    line.row(&"x".repeat(100_000));
    line.rows(200);
    line.until_all_committed();
    line.start(&options(broker.address()));
    line.until_all_acknowledged();
    line.until("what was left out", |status| status.left_out == 1);
    let mut seen = Seen::default();
    let gaps = subscriber
        .wait_for(PATIENCE, "every row but one, and a gap", |messages| {
            let gaps = messages.iter().filter(|message| message.topic == "plant/line3/meter/gap/fast");
            let gaps: Vec<String> = gaps.map(|gap| gap.payload.clone()).collect();
            (seen.look(messages, number).len() == 400 && !gaps.is_empty()).then_some(gaps)
        })
        .unwrap();
    assert_eq!(gaps, [r#"{"gap":{"from":201,"to":201,"reason":"refused"}}"#]);
    assert_eq!(seen.all, (1..=200).chain(202..=401).collect());
    line.stop();
}

/// Writes mosquitto's file of users: `line3` with this password.
fn write_passwords(path: &Path, password: &str) {
    fs::write(path, format!("line3:{password}\n")).unwrap();
    let hashed = Command::new("mosquitto_passwd").arg("-U").arg(path).status().unwrap();
    assert!(hashed.success());
}
