//! The mqtt target and a real mosquitto as the cloud: outages, cut connections, logins, certificates, limits.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use tidegate_codec::json;
use tidegate_config::{self as config, ByteSize, MqttTarget as Options, Secret, StartAt, Tls, TopicTemplate, WhenFull};
use tidegate_model::{Column, Row, Slot, Stream, Timestamp, Value, ValueKind, ValueType};
use tidegate_north::{MqttTarget, RowTopics, TargetSnapshot, TargetStatus};
use tidegate_store::Store;
use tidegate_tests::{
    Authority, Cut, Fault, FaultProxy, Message, Mosquitto, PATIENCE, Peers, Subscriber, SubscriberOptions, wait_until,
};
use tidegate_topics::Layout;
use tokio::{runtime::Runtime, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// A store with one stream, and a target that reads it.
struct Line {
    runtime: Runtime,
    store: Store,
    stream: Arc<Stream>,
    last: u64,
    target: Option<Running>,
    _folder: tempfile::TempDir,
}

struct Running {
    status: TargetStatus,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Timestamp::from_millis(since.as_millis().try_into().unwrap())
}

fn options(broker: SocketAddr) -> Options {
    Options {
        keep_alive: Duration::from_secs(10),
        ack_timeout: Duration::from_secs(20),
        retry_longest: Duration::from_millis(500),
        ..Options::new(broker.ip().to_string(), broker.port())
    }
}

impl Line {
    fn new() -> Line {
        let runtime = Runtime::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let options = tidegate_config::Store {
            commit: Duration::from_millis(20),
            max_age: Duration::from_secs(3600),
            max_size: ByteSize(1 << 30),
            when_full: WhenFull::DropOldest,
        };
        let column = Column::new("note".parse().unwrap(), ValueType::single(ValueKind::Text));
        let (store, stream) = runtime.block_on(async {
            let store = Store::open(folder.path(), &options).await.unwrap().store;
            let (device, group) = ("meter".parse().unwrap(), "fast".parse().unwrap());
            let (stream, _) = store.stream(&device, &group, vec![column]).await.unwrap();
            (store, stream)
        });
        Line { runtime, store, stream, last: 0, target: None, _folder: folder }
    }

    fn rows(&mut self, count: u64) {
        (0..count).for_each(|_| self.row("x"));
    }

    fn row(&mut self, text: &str) {
        self.last += 1;
        let slots = [Slot::Good(Value::Text(text.into()))].into();
        let row = Row { stream: Arc::clone(&self.stream), seq: self.last, time: now(), device_time: None, slots };
        let mut payload = Vec::new();
        json::row(&row, false, &mut payload);
        self.store.append(Arc::new(row), payload.into());
    }

    fn start(&mut self, options: &Options) {
        self.run(Line::target(options));
    }

    /// Starts a target whose rows go to the topics of these templates alone.
    fn start_on(&mut self, options: &Options, templates: Vec<TopicTemplate>) {
        let names = templates.iter().map(|template| template.name.clone()).collect();
        let topics = config::RowTopics { standard: false, templates: names };
        let topics = RowTopics::new(Layout::with_templates(templates).into(), topics);
        self.run(Line::target(options).on_topics(topics));
    }

    fn target(options: &Options) -> MqttTarget {
        let gateway = "line3".parse().unwrap();
        MqttTarget::new("cloud".parse().unwrap(), options, &gateway, "plant", Arc::new(now)).unwrap()
    }

    fn run(&mut self, target: MqttTarget) {
        let (status, cancel) = (target.status(), CancellationToken::new());
        let cursor = self.runtime.block_on(self.store.cursor(&"cloud".parse().unwrap(), StartAt::Oldest)).unwrap();
        let task = self.runtime.spawn(target.run(self.store.clone(), cursor, cancel.clone()));
        self.target = Some(Running { status, cancel, task });
    }

    fn stop(&mut self) {
        let Running { cancel, task, .. } = self.target.take().unwrap();
        cancel.cancel();
        self.runtime.block_on(task).unwrap();
    }

    fn status(&self) -> TargetSnapshot {
        self.target.as_ref().unwrap().status.snapshot()
    }

    fn until(&self, what: &str, is_so: impl Fn(&TargetSnapshot) -> bool) -> TargetSnapshot {
        let found = wait_until(PATIENCE, what, || Some(self.status()).filter(&is_so));
        found.unwrap_or_else(|error| panic!("{error}; the target is {:?}", self.status()))
    }

    fn until_all_acknowledged(&self) -> TargetSnapshot {
        self.until("all rows acknowledged", |status| status.acknowledged >= self.last)
    }
}

/// The numbers of the rows among the messages, as they came.
fn numbers(messages: &[Message]) -> Vec<u64> {
    let rows = messages.iter().filter(|message| message.topic == "plant/line3/meter/data/fast");
    rows.map(|row| row.json().unwrap()["seq"].as_u64().unwrap()).collect()
}

fn subscriber_options() -> SubscriberOptions {
    SubscriberOptions { session: Some("watcher".to_owned()), ..SubscriberOptions::default() }
}

#[test]
fn every_row_reaches_a_subscriber_once_and_in_order_and_the_state_says_who_is_there() {
    let Some(peers) = Peers::find().unwrap() else { return };
    let broker = Mosquitto::start(&peers).unwrap();
    let subscriber = Subscriber::start(&peers, broker.address(), "plant/#").unwrap();
    let mut line = Line::new();
    line.start(&options(broker.address()));
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
    assert_eq!(numbers(&messages), (1..=1000).collect::<Vec<_>>());
    assert_eq!((messages[0].topic.as_str(), messages[0].payload.as_str()), ("plant/line3/state", "online"));
    let late = Subscriber::start(&peers, broker.address(), "plant/+/state").unwrap();
    let state = late.wait_for(PATIENCE, "the retained state", |messages| messages.first().cloned()).unwrap();
    assert!(state.retained && state.payload == "offline");
}

#[test]
fn a_broker_that_was_away_gets_everything_at_once_and_in_order() {
    let Some(peers) = Peers::find().unwrap() else { return };
    let mut broker = Mosquitto::start(&peers).unwrap();
    let subscriber =
        Subscriber::start_with(&peers, broker.address(), "plant/+/+/data/#", &subscriber_options()).unwrap();
    let mut line = Line::new();
    line.start(&options(broker.address()));
    line.rows(50);
    line.until_all_acknowledged();
    broker.stop().unwrap();
    line.until("the outage", |status| status.connect_failures > 0);
    line.rows(5000);
    broker.resume().unwrap();
    let back = Instant::now();
    line.until_all_acknowledged();
    assert!(back.elapsed() < Duration::from_secs(10), "{:?}", back.elapsed());
    assert_eq!(line.status().sent, 5050, "nothing had to be sent twice");
    // mosquitto gives its subscriber again what that had not acknowledged before the stop: the first of each counts.
    let first = |messages: &[Message]| {
        let mut seen = BTreeSet::new();
        numbers(messages).into_iter().filter(|number| seen.insert(*number)).collect::<Vec<_>>()
    };
    let received = subscriber
        .wait_for(PATIENCE, "5050 rows", |messages| Some(first(messages)).filter(|rows| rows.len() >= 5050))
        .unwrap();
    assert!(received.into_iter().eq(1..=5050), "they came in another order");
    line.stop();
}

#[test]
fn live_rows_are_less_than_a_second_old_while_a_backlog_fills_a_thin_link() {
    let Some(peers) = Peers::find().unwrap() else { return };
    let broker = Mosquitto::start(&peers).unwrap();
    let subscriber = Subscriber::start(&peers, broker.address(), "plant/+/+/data/#").unwrap();
    let proxy = FaultProxy::start(broker.address(), 1).unwrap();
    proxy.fault(Fault::Slow(100_000)).unwrap();
    let mut line = Line::new();
    let text = "x".repeat(900);
    (0..3000).for_each(|_| line.row(&text));
    // What is committed before the connection is backlog.
    wait_until(PATIENCE, "the commit", || (line.store.status().rows_committed == 3000).then_some(())).unwrap();
    line.start(&options(proxy.address()));
    line.until("a part of the backlog", |status| status.acknowledged > 300);
    let mut oldest = Duration::ZERO;
    for _ in 0..20 {
        line.row("live");
        let (seq, begin) = (line.last, Instant::now());
        let arrived = |messages: &[Message]| numbers(messages).contains(&seq).then_some(());
        subscriber.wait_for(PATIENCE, "a live row", arrived).unwrap();
        oldest = oldest.max(begin.elapsed());
    }
    let status = line.status();
    println!(
        "the oldest live row was {oldest:?} old; {} of 3000 rows of backlog had arrived",
        status.acknowledged - 20
    );
    assert!(status.acknowledged < 2900, "the backlog was through too early: {status:?}");
    assert!(oldest < Duration::from_secs(1), "{oldest:?}");
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
    let (mut cuts, mut last) = (0, None);
    while cuts < 50 {
        // Under load: rows come all the time, and a cut hits what is on its way.
        line.rows(40);
        thread::park_timeout(Duration::from_millis(10));
        let status = line.status();
        if status.in_flight > 0 && last != Some(status.reconnects) {
            proxy.cut(if cuts % 2 == 0 { Cut::Reset } else { Cut::Closed });
            cuts += 1;
            last = Some(status.reconnects);
        }
    }
    line.until_all_acknowledged();
    let wanted: BTreeSet<u64> = (1..=line.last).collect();
    let received = subscriber
        .wait_for(PATIENCE, "every row", |messages| {
            let received = numbers(messages);
            (received.iter().copied().collect::<BTreeSet<_>>() == wanted).then_some(received)
        })
        .unwrap();
    let status = line.status();
    println!(
        "{} rows, {} connections cut, {} reconnects, {} sent again, {} received twice",
        line.last,
        cuts,
        status.reconnects,
        status.sent - line.last,
        u64::try_from(received.len()).unwrap() - line.last,
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
    let (mut cuts, mut last) = (0, None);
    while cuts < 20 {
        for _ in 0..40 {
            line.row(&(line.last + 1).to_string());
        }
        thread::park_timeout(Duration::from_millis(10));
        let status = line.status();
        if status.in_flight > 0 && last != Some(status.reconnects) {
            proxy.cut(if cuts % 2 == 0 { Cut::Reset } else { Cut::Closed });
            cuts += 1;
            last = Some(status.reconnects);
        }
    }
    line.until_all_acknowledged();
    let wanted: BTreeSet<u64> = (1..=line.last).collect();
    let told = |messages: &[Message], topic: &str, note: fn(&serde_json::Value) -> &serde_json::Value| {
        let rows = messages.iter().filter(|message| message.topic == topic);
        let notes = rows.map(|row| note(&row.json().unwrap()).as_str().unwrap().parse().unwrap());
        notes.collect::<BTreeSet<u64>>()
    };
    subscriber
        .wait_for(PATIENCE, "every message of every row", |messages| {
            let tags = told(messages, "uns/meter/note", |tag| &tag["v"]);
            let rows = told(messages, "rows/meter", |row| &row["values"]["note"]);
            (tags == wanted && rows == wanted).then_some(())
        })
        .unwrap();
    let late = Subscriber::start(&peers, broker.address(), "uns/#").unwrap();
    let kept = late.wait_for(PATIENCE, "what is kept", |messages| messages.first().cloned()).unwrap();
    assert_eq!(kept.json().unwrap()["v"], line.last.to_string(), "the newest, whatever came last");
    let status = line.status();
    println!("{} rows, {cuts} connections cut, {} sent again", line.last, status.sent - line.last);
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
    line.start(&options(broker.address()));
    line.until_all_acknowledged();
    assert_eq!(line.status().left_out, 1);
    let received = subscriber
        .wait_for(PATIENCE, "the last row", |messages| numbers(messages).contains(&401).then(|| messages.to_vec()))
        .unwrap();
    let gaps: Vec<_> = received.iter().filter(|message| message.topic == "plant/line3/meter/gap/fast").collect();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!(gaps[0].payload, r#"{"gap":{"from":201,"to":201,"reason":"refused"}}"#);
    let rows: BTreeSet<u64> = numbers(&received).into_iter().collect();
    assert_eq!(rows, (1..=200).chain(202..=401).collect());
    line.stop();
}

/// Writes mosquitto's file of users: `line3` with this password.
fn write_passwords(path: &Path, password: &str) {
    fs::write(path, format!("line3:{password}\n")).unwrap();
    let hashed = Command::new("mosquitto_passwd").arg("-U").arg(path).status().unwrap();
    assert!(hashed.success());
}
