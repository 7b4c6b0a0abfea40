//! A line of production for the tests: a foreign server with a plant, a gateway, and what the gateway says about the plant.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use serde_json::Value;
use tidegate_tests::{
    Gateway, Message, OpcuaServer, OpcuaServerOptions, PATIENCE, Peers, Site, Stack, Subscriber, publish, wait_until,
};

/// The names of the scalars and other single values of the plant: tag, node, keys.
const VALUES: [(&str, &str, &str); 16] = [
    ("setpoint", "Setpoint", "type = \"f64\"\naccess = \"read_write\"\nminimum = -50.0\nmaximum = 150.0"),
    ("switch", "Switch", "type = \"bool\"\naccess = \"read_write\""),
    ("count", "Count", "type = \"i32\"\naccess = \"read_write\""),
    ("big", "Big", "type = \"u64\"\naccess = \"read_write\""),
    ("small", "Small", "type = \"u8\"\naccess = \"read_write\""),
    ("text", "Text", "type = \"string\"\naccess = \"read_write\""),
    ("label", "Label", "type = \"string\""),
    ("time", "Time", "type = \"string\""),
    ("raw", "Raw", "type = \"bytes\""),
    ("mode", "Mode", "type = \"i32\"\ntexts = { 0 = \"off\", 1 = \"auto\", 2 = \"manual\" }\naccess = \"read_write\""),
    ("x", "Position", "type = \"f64\"\nfield = \"x\""),
    ("place", "Position", "type = \"string\"\nfield = \"name\""),
    ("long", "Long", "type = \"f64\"\ncount = 1500"),
    ("seventh", "Long", "type = \"f64\"\nindex = 7"),
    ("nowhere", "Nowhere", "type = \"f64\""),
    ("add", "Add", "method = true\naccess = \"write\"\nobject = \"nsu=urn:tidegate:tests:plant;s=Plant\""),
];

/// The fields of an event, and their types.
const FIELDS: [(&str, &str, &str); 9] = [
    ("name", "Name", "string"),
    ("message", "Message", "string"),
    ("severity", "Severity", "u16"),
    ("source", "SourceName", "string"),
    ("condition", "ConditionName", "string"),
    ("active", "ActiveState/Id", "bool"),
    ("acked", "AckedState/Id", "bool"),
    ("retain", "Retain", "bool"),
    ("time", "Time", "string"),
];

const HEAD: &str = "[profile]\nmanufacturer = \"Acme\"\nmodel = \"Plant\"\ndriver = \"opcua\"\nversion = 1\n";

/// The profile of so many moving items.
pub(crate) fn items_profile(items: usize) -> String {
    let mut text = format!("{HEAD}\n[[group]]\nname = \"items\"\ninterval = \"200ms\"\n");
    for item in 0..items {
        let node = format!("nsu={};s=T{item}", OpcuaServer::NAMESPACE);
        write!(text, "\n[[tag]]\nname = \"t{item}\"\ngroup = \"items\"\nnode = \"{node}\"\ntype = \"f64\"\n").unwrap();
    }
    text
}

/// The profile of everything else that the plant has.
pub(crate) fn values_profile() -> String {
    let mut text = format!("{HEAD}\n[[group]]\nname = \"values\"\ninterval = \"100ms\"\n");
    for (tag, node, keys) in VALUES {
        let node = format!("nsu={};s={node}", OpcuaServer::NAMESPACE);
        write!(text, "\n[[tag]]\nname = \"{tag}\"\ngroup = \"values\"\nnode = \"{node}\"\n{keys}\n").unwrap();
    }
    let source = format!("nsu={};s=Plant", OpcuaServer::NAMESPACE);
    write!(text, "\n[[group]]\nname = \"events\"\ninterval = \"100ms\"\nevents = \"{source}\"\n").unwrap();
    for (tag, field, kind) in FIELDS {
        let tag = format!("event_{tag}");
        write!(text, "\n[[tag]]\nname = \"{tag}\"\ngroup = \"events\"\nfield = \"{field}\"\ntype = \"{kind}\"\n")
            .unwrap();
    }
    text
}

/// The keys of a link that waits at most two seconds before it tries again.
pub(crate) const RETRY: &str = "retry = { first = \"500ms\", longest = \"2s\" }";
/// How long its server may take for an answer or a connection: long, because machines that run tests are busy.
const TIMES: &str = "timeout = \"10s\"\nconnect_timeout = \"10s\"";

/// A link to a server, and one device of the profile `acme/plant` behind it, both with this name.
pub(crate) fn link(name: &str, url: &str, keys: &str) -> String {
    format!(
        "[[link]]\nname = \"{name}\"\ndriver = \"opcua\"\nendpoint = \"{url}\"\n{TIMES}\n{RETRY}\n{keys}\n\n\
         [[device]]\nname = \"{name}\"\nlink = \"{name}\"\nprofile = \"acme/plant\"\n\n"
    )
}

/// A password in a file of the site, as a key wants it.
pub(crate) fn secret(site: &Site, password: &str) -> anyhow::Result<String> {
    site.write_file(password, password)?;
    Ok(format!("\"file:{}\"", site.path().join(password).display()))
}

/// A gateway, and everything that it says about its devices from the beginning: its server answers when somebody listens.
pub(crate) fn listening(peers: &Peers, site: &Site, server: &OpcuaServer) -> anyhow::Result<(Gateway, Subscriber)> {
    server.freeze(true)?;
    let gateway = Gateway::start(site)?;
    let said = Subscriber::start(peers, site.broker_address(), "tidegate/line3/#")?;
    server.freeze(false)?;
    Ok((gateway, said))
}

/// A server, and a gateway with one link to it that is called `plant`, without security.
pub(crate) struct Line {
    pub(crate) server: OpcuaServer,
    pub(crate) site: Site,
    _gateway: Gateway,
    /// Everything that the gateway says about its devices.
    pub(crate) said: Subscriber,
}

impl Line {
    pub(crate) fn start(
        peers: &Peers,
        stack: Stack,
        options: &OpcuaServerOptions,
        profile: &str,
    ) -> anyhow::Result<Line> {
        let server = OpcuaServer::start(peers, stack, options)?;
        let site = Site::new()?;
        site.write_file("profiles/acme/plant.toml", profile)?;
        site.write("line3", &link("plant", &server.url(), "security = \"none\""))?;
        let (gateway, said) = listening(peers, &site, &server)?;
        Ok(Line { server, site, _gateway: gateway, said })
    }

    /// Sends a command to the device and returns the reply with the same id.
    pub(crate) fn command(&self, peers: &Peers, id: &str, values: &Value) -> anyhow::Result<Value> {
        let payload = serde_json::json!({ "id": id, "values": values }).to_string();
        publish(peers, self.site.broker_address(), "tidegate/line3/plant/set", &payload)?;
        self.said.wait_for(PATIENCE, "the reply", |messages| {
            let replies = messages.iter().filter(|message| message.topic == "tidegate/line3/plant/set/reply");
            replies.filter_map(|message| message.json().ok()).find(|reply| reply["id"] == id)
        })
    }

    /// How often the link could not connect or has lost its connection so far.
    pub(crate) fn troubles(&self) -> anyhow::Result<u64> {
        let counters = ["tidegate_link_connect_failures_total", "tidegate_link_lost_sessions_total"];
        wait_until(PATIENCE, "the metrics of the gateway", || {
            counters.iter().map(|counter| self.site.metric(counter, &[])).sum()
        })
    }

    /// Waits until the tags of the device are like that, whatever they were before.
    pub(crate) fn wait_for<T>(
        &self,
        within: Duration,
        what: &str,
        mut found: impl FnMut(&Tags) -> Option<T>,
    ) -> anyhow::Result<T> {
        self.said.wait_for(within, what, |messages| found(&Tags::of("plant", messages)))
    }
}

/// What is known of a tag: its value, or why there is none.
pub(crate) type Known = Result<Value, String>;

/// The tags of a device after all rows so far.
pub(crate) struct Tags(pub(crate) BTreeMap<String, Known>);

impl Tags {
    pub(crate) fn of(device: &str, messages: &[Message]) -> Tags {
        let topic = format!("tidegate/line3/{device}/data/");
        let mut tags = BTreeMap::new();
        for message in messages.iter().filter(|message| message.topic.starts_with(&topic)) {
            let Ok(row) = message.json() else { continue };
            for (tag, value) in row["values"].as_object().into_iter().flatten() {
                tags.insert(tag.clone(), Ok(value.clone()));
            }
            for (tag, reason) in row["bad"].as_object().into_iter().flatten() {
                tags.insert(tag.clone(), Err(reason.as_str().unwrap_or_default().to_owned()));
            }
        }
        Tags(tags)
    }

    /// The value of a tag, when it has one.
    pub(crate) fn value(&self, tag: &str) -> Option<&Value> {
        self.0.get(tag)?.as_ref().ok()
    }

    /// How many tags have a value.
    pub(crate) fn good(&self) -> usize {
        self.0.values().filter(|known| known.is_ok()).count()
    }

    /// How many tags have none for this reason.
    pub(crate) fn bad(&self, reason: &str) -> usize {
        self.0.values().filter(|known| known.as_ref().is_err_and(|why| why == reason)).count()
    }
}
