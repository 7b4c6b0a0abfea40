//! The gateway as a server, for foreign clients.

use std::time::Duration;

use serde_json::json;
use tidegate_tests::{
    Gateway, ModbusServer, OpcuaClient, OpcuaLogin, OpcuaServer, OpcuaServerOptions, PATIENCE, Peers, Port, Site,
    Stack, Table, wait_until,
};

use crate::line::{link, secret, values_profile};

const PROFILE: &str = r#"
[profile]
manufacturer = "Acme"
model = "Oven"
driver = "modbus"
version = 1

[[group]]
name = "all"
interval = "100ms"

[[tag]]
name = "setpoint"
group = "all"
table = "holding"
address = 100
type = "i16"
scale = 0.1
unit = "°C"
access = "read_write"
minimum = 0.0
maximum = 100.0
range = { low = 0.0, high = 120.0 }

[[tag]]
name = "temperature"
group = "all"
table = "holding"
address = 0
type = "i16"
scale = 0.1
unit = "°C"
"#;

fn served(stack: Stack) -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let mut oven = ModbusServer::start(&peers, &[1])?;
    oven.set(1, Table::Holding, 0, &[215])?;
    let (site, port) = (Site::new()?, Port::reserve()?);
    site.write_file("profiles/acme/oven.toml", PROFILE)?;
    site.write(
        "line3",
        &format!(
            "[[link]]\nname = \"hall\"\ndriver = \"modbus-tcp\"\naddress = \"{}\"\ntimeout = \"10s\"\n\n\
             [[device]]\nname = \"oven\"\nlink = \"hall\"\nprofile = \"acme/oven\"\nunit = 1\n\n\
             [[target]]\nname = \"scada\"\nkind = \"opcua-server\"\nlisten = \"{}\"\n\
             security = [\"none\", \"basic256sha256\", \"aes128_sha256_rsaoaep\", \"aes256_sha256_rsapss\"]\n\n\
             [[target.user]]\nname = \"op\"\npassword = {}\nrole = \"operator\"\n\n\
             [[target.user]]\nname = \"guest\"\npassword = {}\nrole = \"viewer\"\n",
            oven.address(),
            port.address(),
            secret(&site, "secret")?,
            secret(&site, "welcome")?,
        ),
    )?;
    let _gateway = Gateway::start(&site)?;
    let url = format!("opc.tcp://{}/", port.address());
    let operator = OpcuaLogin { user: Some(("op", "secret")), ..OpcuaLogin::default() };
    let mut client = OpcuaClient::connected(&peers, stack, &url, &operator)?;
    let found = client.browse()?;
    let path = |tag: &str| found.keys().find(|path| path.ends_with(&format!("/{tag}"))).cloned().unwrap();
    let (temperature, setpoint) = (path("temperature"), path("setpoint"));
    wait_until(PATIENCE, "the first value", || {
        client.read(&temperature).ok().filter(|read| read["value"] == json!(21.5))
    })?;
    let read = client.read(&setpoint)?;
    assert_eq!(
        (&read["status"], &read["times"], &read["unit"]),
        (&json!("Good"), &json!(true), &json!("°C")),
        "{read}"
    );
    assert_eq!(read["range"][1].as_f64(), Some(120.0), "{read}");

    assert_eq!(client.subscribe(&[&temperature, &setpoint])?, 2);
    client.deadband(&temperature, 5.0)?;
    let coarse = format!("{temperature}#deadband");
    let mut told = |value: f64, path: &str| {
        client.wait_for_notified(PATIENCE, "a value", |seen| (seen[path][1].as_f64()? == value).then(|| seen.clone()))
    };
    told(21.5, &coarse)?;
    oven.set(1, Table::Holding, 0, &[217])?;
    told(21.7, &temperature)?;
    oven.set(1, Table::Holding, 0, &[300])?;
    let seen = told(30.0, &coarse)?;
    assert_eq!(seen[&coarse][0], json!(2), "a change by 0.2 is within the deadband: {seen}");
    told(30.0, &temperature)?;
    assert_eq!(client.write(&setpoint, "42.5")?, "Good");
    assert_eq!(oven.get(1, Table::Holding, 100, 1)?, [425]);
    assert_ne!(client.write(&setpoint, "100.5")?, "Good", "above the maximum of the profile");
    assert_ne!(client.write(&temperature, "1")?, "Good", "not writable");
    assert_eq!(oven.get(1, Table::Holding, 100, 1)?, [425]);
    let held = wait_until(PATIENCE, "the history of both values", || {
        let history = client.history(&temperature).ok()?;
        let held: Vec<f64> = history.iter().filter_map(serde_json::Value::as_f64).collect();
        (held.contains(&21.5) && held.contains(&30.0)).then_some(held)
    })?;
    assert!(held.len() > 1);
    let made = client.processed(&temperature, &["Minimum", "Maximum", "Average", "Count", "Start", "End"])?;
    let made: Vec<f64> = made.iter().filter_map(serde_json::Value::as_f64).collect();
    assert!(
        matches!(made[..], [21.5, 30.0, average, count, 21.5, 30.0] if average > 21.5 && average < 30.0 && count > 1.0),
        "{made:?}"
    );

    // It stays connected: only the link's timeout tells that it is silent.
    oven.silent(1, true)?;
    client.wait_for_notified(PATIENCE, "the silence of the device", |seen| {
        seen[&temperature][2].as_str()?.starts_with("Bad").then_some(())
    })?;
    users_and_policies(&peers, stack, &site, &url, &setpoint)
}

/// Who may come, and how.
fn users_and_policies(peers: &Peers, stack: Stack, site: &Site, url: &str, setpoint: &str) -> anyhow::Result<()> {
    let refused = |login: &OpcuaLogin<'_>| OpcuaClient::connect(peers, stack, url, login).map(|client| client.err());
    let why = refused(&OpcuaLogin { user: Some(("op", "wrong")), ..OpcuaLogin::default() })?;
    assert!(why.is_some(), "a wrong password");
    let why = refused(&OpcuaLogin { user: Some(("nobody", "secret")), ..OpcuaLogin::default() })?;
    assert!(why.is_some(), "an unknown user");
    let guest = OpcuaLogin { user: Some(("guest", "welcome")), ..OpcuaLogin::default() };
    let mut guest = OpcuaClient::connected(peers, stack, url, &guest)?;
    assert_ne!(guest.write(setpoint, "1")?, "Good", "a viewer writes nothing");

    // A client's certificate is judged as a server's is.
    let folder = tempfile::tempdir()?;
    let policies = ["Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss"];
    let login = |policy| OpcuaLogin {
        policy: Some(policy),
        user: Some(("op", "secret")),
        folder: Some(folder.path()),
        ..OpcuaLogin::default()
    };
    let why = refused(&login(policies[0]))?.expect("a certificate that nobody has judged");
    let fingerprint = crate::security::waiting(site).map_err(|error| error.context(why))?;
    crate::security::trust(site, &["accept", &fingerprint])?;
    for policy in policies {
        OpcuaClient::connected(peers, stack, url, &login(policy))?;
    }
    Ok(())
}

#[test]
fn asyncua_browses_reads_writes_and_asks_for_history() -> anyhow::Result<()> {
    served(Stack::Asyncua)
}

#[test]
fn node_opcua_browses_reads_writes_and_asks_for_history() -> anyhow::Result<()> {
    served(Stack::NodeOpcua)
}

/// A device that is an OPC UA server of one stack, and a client of another one on the gateway's own server. The filter that asyncua makes
/// for alarms compares node ids, which the library does not: it is left out.
fn alarms(device: Stack, stack: Stack) -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let mut plant = OpcuaServer::start(&peers, device, &OpcuaServerOptions::default())?;
    let (site, port) = (Site::new()?, Port::reserve()?);
    site.write_file("profiles/acme/plant.toml", &values_profile())?;
    let target = format!("[[target]]\nname = \"scada\"\nkind = \"opcua-server\"\nlisten = \"{}\"\n", port.address());
    site.write("line3", &(link("plant", &plant.url(), "security = \"none\"") + &target))?;
    let _gateway = Gateway::start(&site)?;
    let url = format!("opc.tcp://{}/", port.address());
    let mut client = OpcuaClient::connected(&peers, stack, &url, &OpcuaLogin::default())?;
    client.listen()?;
    // Nothing says when the plant has taken the gateway's subscription to events: it is asked again until the alarm comes. What it was
    // asked last comes last; nothing is under way behind that.
    let mut asked = 0;
    wait_until(PATIENCE, "the alarm", || {
        asked += 1;
        plant.ask(&format!("alarm on 700 level too high {asked}")).ok()?;
        client.wait_for_alarm(Duration::from_millis(500), |alarm| alarm["active"] == json!(true)).ok()
    })?;
    let last = format!("level too high {asked}");
    let raised = client.wait_for_alarm(PATIENCE, |alarm| alarm["message"] == json!(last))?;
    assert_eq!((&raised["severity"], &raised["active"]), (&json!(700), &json!(true)), "{raised}");
    assert_eq!(raised["name"], json!("Level"), "{raised}");
    // Who comes later asks for what stands.
    let later = || {
        let mut later = OpcuaClient::connected(&peers, stack, &url, &OpcuaLogin::default())?;
        later.listen()?;
        assert_eq!(later.refresh(PATIENCE)?, 1);
        assert_eq!(later.refresh(PATIENCE)?, 2, "and may ask again");
        later.alarms()
    };
    assert_eq!(later()?, [raised.clone(), raised], "each time as it was raised");
    plant.ask("alarm off 700 level fine")?;
    client.wait_for_alarm(PATIENCE, |alarm| alarm["active"] == json!(false))?;
    assert_eq!(later()?, Vec::<serde_json::Value>::new(), "nothing stands");
    Ok(())
}

#[test]
fn asyncua_hears_the_alarms_of_a_device() -> anyhow::Result<()> {
    alarms(Stack::Asyncua, Stack::Asyncua)
}

#[test]
fn node_opcua_hears_the_alarms_of_a_device() -> anyhow::Result<()> {
    alarms(Stack::Asyncua, Stack::NodeOpcua)
}
