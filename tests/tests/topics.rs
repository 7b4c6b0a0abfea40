//! The topics that a user's programs are written against, seen by mosquitto_sub, and who may use them.

use std::fs;

use tidegate_tests::{
    Gateway, Message, ModbusServer, Mosquitto, PATIENCE, Peers, Site, Subscriber, SubscriberOptions, Table, publish_as,
    wait_until,
};

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
name = "setpoint"
group = "all"
table = "holding"
address = 100
type = "i16"
scale = 0.1
unit = "°C"
access = "read_write"

[[tag]]
name = "hours"
group = "all"
table = "holding"
address = 0
type = "u64"
"#;

struct Oven {
    modbus: ModbusServer,
    site: Site,
}

/// A site with one oven; `broker` is put into its `[broker]`, `rest` at its end.
fn oven(peers: &Peers, broker: &str, rest: &str) -> anyhow::Result<Oven> {
    let mut modbus = ModbusServer::start(peers, &[1])?;
    modbus.set(1, Table::Holding, 0, &[u16::MAX; 4])?;
    modbus.set(1, Table::Holding, 100, &[215])?;
    let site = Site::new()?;
    site.write_file("profiles/acme/oven.toml", PROFILE)?;
    let link = format!(
        "[[link]]\nname = \"hall\"\ndriver = \"modbus-tcp\"\naddress = \"{}\"\ntimeout = \"20s\"\n\n\
         [[device]]\nname = \"oven-1\"\nlink = \"hall\"\nprofile = \"acme/oven\"\nunit = 1\n\n",
        modbus.address()
    );
    site.write("line3", &(link + rest))?;
    let text = fs::read_to_string(site.file())?.replace("[broker]\n", &format!("[broker]\n{broker}\n"));
    fs::write(site.file(), text)?;
    Ok(Oven { modbus, site })
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or_default()
}

/// The last message on a topic.
fn last<'a>(messages: &'a [Message], topic: &str) -> Option<&'a Message> {
    messages.iter().rev().find(|message| message.topic == topic)
}

#[test]
fn who_comes_late_finds_states_tags_and_the_gateways_own_topics_retained() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let began = now_ms();
    let oven = oven(&peers, "tag_topics = true", "")?;
    let _gateway = Gateway::start(&oven.site)?;
    let row = Subscriber::start(&peers, oven.site.broker_address(), "tidegate/line3/oven-1/data/all")?;
    let row = row.wait_for(PATIENCE, "a good row", |messages| {
        messages.iter().find(|message| message.payload.contains("\"values\":{\"setpoint\"")).cloned()
    })?;
    assert!(!row.retained, "rows are not kept");
    let values = &row.json()?["values"];
    assert_eq!(values, &serde_json::json!({ "setpoint": 21.5, "hours": u64::MAX }), "64-bit integers are exact");

    let topics =
        ["state", "oven-1/state", "oven-1/tag/setpoint", "oven-1/tag/hours", "sys/queue", "sys/links", "sys/metrics"];
    // Whoever comes later than this one finds everything there.
    let early = Subscriber::start(&peers, oven.site.broker_address(), "tidegate/#")?;
    early.wait_for(PATIENCE, "all topics and a device that is online", |messages| {
        let has = |topic: &str| last(messages, &format!("tidegate/line3/{topic}"));
        let device = has("oven-1/state")?.json().ok()?;
        (device["state"] == "online" && topics.iter().all(|topic| has(topic).is_some())).then_some(())
    })?;
    let late = Subscriber::start(&peers, oven.site.broker_address(), "tidegate/#")?;
    let kept = late.wait_for(PATIENCE, "everything that is retained", |messages| {
        let kept: Vec<Message> = messages.iter().filter(|message| message.retained).cloned().collect();
        topics.iter().all(|topic| last(&kept, &format!("tidegate/line3/{topic}")).is_some()).then_some(kept)
    })?;
    let payload = |topic: &str| last(&kept, &format!("tidegate/line3/{topic}")).map(|message| message.payload.clone());
    assert_eq!(payload("state").as_deref(), Some("online"));
    let json = |topic: &str| -> serde_json::Value { serde_json::from_str(&payload(topic).unwrap()).unwrap() };
    let device = json("oven-1/state");
    assert_eq!(device["state"], "online", "{device}");
    let tag = json("oven-1/tag/setpoint");
    assert_eq!((&tag["v"], &tag["q"], &tag["u"]), (&21.5.into(), &"good".into(), &"°C".into()), "{tag}");
    for time in [&row.json()?["ts"], &tag["t"], &device["since"]] {
        assert!((began..=now_ms()).contains(&time.as_u64().unwrap()), "{time} is the time of the reading");
    }
    assert!(kept.iter().all(|message| !message.topic.contains("/data/") && !message.topic.ends_with("/set")));
    Ok(())
}

#[test]
fn users_do_what_they_have_the_right_to_and_nothing_else() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let users = "[[broker.user]]\nname = \"scada\"\npassword = \"file:scada\"\n\
                 publish = [\"tidegate/line3/+/set\"]\nsubscribe = [\"tidegate/#\"]\n\n\
                 [[broker.user]]\nname = \"wall\"\npassword = \"file:wall\"\nsubscribe = [\"tidegate/+/+/state\"]\n";
    let mut oven = oven(&peers, "", users)?;
    oven.site.write_file("scada", "s3cret\n")?;
    oven.site.write_file("wall", "paper\n")?;
    let _gateway = Gateway::start(&oven.site)?;
    let broker = oven.site.broker_address();
    let subscribe = |login: Option<(&str, &str)>, filter: &str| {
        let login = login.map(|(user, password)| (user.to_owned(), password.to_owned()));
        let arguments = vec!["-W".to_owned(), "60".to_owned()];
        Subscriber::start_with(&peers, broker, filter, &SubscriberOptions { login, arguments, session: None })
    };
    for stranger in [None, Some(("scada", "wrong")), Some(("nobody", "s3cret")), Some(("wall", "s3cret"))] {
        let error = subscribe(stranger, "tidegate/#").expect_err("a stranger is not let in").to_string();
        assert!(error.contains("bad user name or password") || error.contains("not authorised"), "{error}");
    }
    for filter in ["tidegate/#", "tidegate/line3/oven-1/data/all", "#"] {
        let error = subscribe(Some(("wall", "paper")), filter).expect_err("it has no right to that").to_string();
        assert!(error.contains("not granted"), "{error}");
    }
    let wall = subscribe(Some(("wall", "paper")), "tidegate/+/+/state")?;
    wall.wait_for(PATIENCE, "the state", |messages| messages.first().cloned())?;

    let scada = Subscriber::start_with(
        &peers,
        broker,
        "tidegate/#",
        &SubscriberOptions { login: Some(("scada".to_owned(), "s3cret".to_owned())), ..SubscriberOptions::default() },
    )?;
    scada.wait_for(PATIENCE, "a row", |messages| messages.iter().find(|m| m.topic.contains("/data/")).cloned())?;
    let set = "tidegate/line3/oven-1/set";
    let said = publish_as(&peers, broker, ("wall", "paper"), set, r#"{"id":1,"values":{"setpoint":66.6}}"#)?;
    assert!(said.contains("Not authorized"), "{said:?}");
    let said = publish_as(&peers, broker, ("scada", "s3cret"), "tidegate/line3/state", "offline")?;
    assert!(said.contains("Not authorized"), "{said:?}");
    let said = publish_as(&peers, broker, ("scada", "s3cret"), set, r#"{"id":2,"values":{"setpoint":42.5}}"#)?;
    assert_eq!(said, "");
    let replies = scada.wait_for(PATIENCE, "the reply", |messages| {
        let replies: Vec<_> = messages.iter().filter(|m| m.topic.ends_with("/set/reply")).cloned().collect();
        (!replies.is_empty()).then_some(replies)
    })?;
    assert_eq!(replies.len(), 1, "the first command never came to the gateway: {replies:?}");
    assert_eq!(replies[0].json()?, serde_json::json!({ "id": 2, "ok": true }));
    assert_eq!(oven.modbus.get(1, Table::Holding, 100, 1)?, [425]);
    assert!(scada.messages().iter().all(|message| message.payload != "offline"), "nobody speaks for the gateway");
    Ok(())
}

#[test]
fn a_stopped_gateway_is_offline_for_its_clients_and_in_the_cloud() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let cloud = Mosquitto::start(&peers)?;
    let target = format!("[[target]]\nname = \"cloud\"\nkind = \"mqtt\"\nurl = \"mqtt://{}\"\n", cloud.address());
    let oven = oven(&peers, "", &target)?;
    let gateway = Gateway::start(&oven.site)?;
    let state = "tidegate/line3/state";
    let here = Subscriber::start(&peers, oven.site.broker_address(), state)?;
    let there = Subscriber::start(&peers, cloud.address(), state)?;
    for subscriber in [&here, &there] {
        subscriber.wait_for(PATIENCE, "online", |messages| messages.iter().find(|m| m.payload == "online").cloned())?;
    }
    assert_eq!(gateway.stop()?.code(), Some(0));
    for subscriber in [&here, &there] {
        let last = wait_until(PATIENCE, "offline", || {
            subscriber.messages().last().filter(|message| message.payload == "offline").cloned()
        });
        assert!(last.is_ok(), "{:?}", subscriber.messages());
    }
    let late = Subscriber::start(&peers, cloud.address(), state)?;
    let kept = late.wait_for(PATIENCE, "what is retained", |messages| messages.first().cloned())?;
    assert_eq!((kept.payload.as_str(), kept.retained), ("offline", true));

    // Without a word, as after a power cut, the cloud says it in its place.
    let gateway = Gateway::start(&oven.site)?;
    there.wait_for(PATIENCE, "online again", |messages| {
        messages.last().filter(|message| message.payload == "online").cloned()
    })?;
    gateway.kill();
    there.wait_for(PATIENCE, "the last will", |messages| {
        messages.last().filter(|message| message.payload == "offline").cloned()
    })?;
    Ok(())
}
