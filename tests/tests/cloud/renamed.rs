//! A target that gets another name while the gateway runs.

use std::net::SocketAddr;

use tidegate_tests::{Gateway, ModbusServer, Mosquitto, PATIENCE, Peers, Port, Site, Subscriber, Table, wait_until};

const PROFILE: &str = r#"
[profile]
manufacturer = "Acme"
model = "Counter"
driver = "modbus"
version = 1

[[group]]
name = "all"
interval = "20ms"

[[tag]]
name = "count"
group = "all"
table = "holding"
address = 0
type = "u16"
"#;

fn write(site: &Site, modbus: SocketAddr, target: &str, cloud: SocketAddr) -> anyhow::Result<()> {
    site.write_file("profiles/acme/counter.toml", PROFILE)?;
    let rest = format!(
        "[[link]]\nname = \"press\"\ndriver = \"modbus-tcp\"\naddress = \"{modbus}\"\n\n\
         [[device]]\nname = \"counter\"\nlink = \"press\"\nprofile = \"acme/counter\"\nunit = 1\n\n\
         [[target]]\n{target}\nkind = \"mqtt\"\nurl = \"mqtt://{cloud}\"\nstart = \"oldest\"\nretry_longest = \"1s\"\n"
    );
    site.write("line3", &rest)
}

fn waiting(site: &Site, target: &str) -> Option<u64> {
    site.metric("tidegate_target_waiting_rows", &[&format!("target=\"{target}\"")])
}

#[test]
fn what_waits_for_a_target_is_moved_to_its_new_name_by_a_reload() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let mut modbus = ModbusServer::start(&peers, &[1])?;
    modbus.set(1, Table::Holding, 0, &[7])?;
    let (site, nobody, cloud) = (Site::new()?, Port::reserve()?, Mosquitto::start(&peers)?);
    let subscriber = Subscriber::start(&peers, cloud.address(), "tidegate/line3/counter/data/all")?;
    write(&site, modbus.address(), "name = \"cloud\"", nobody.address())?;
    let gateway = Gateway::start(&site)?;
    wait_until(PATIENCE, "rows that wait", || waiting(&site, "cloud").filter(|rows| *rows >= 50))?;

    write(&site, modbus.address(), "name = \"office\"\nwas = \"cloud\"", cloud.address())?;
    gateway.reload()?;
    let seqs = subscriber.wait_for(PATIENCE, "old rows and new ones", |messages| {
        let mut seqs: Vec<u64> = messages.iter().filter_map(|row| row.json().ok()?["seq"].as_u64()).collect();
        seqs.sort_unstable();
        let whole = seqs.iter().copied().eq(1..=u64::try_from(seqs.len()).unwrap());
        (whole && seqs.len() > 100).then_some(seqs)
    })?;
    wait_until(PATIENCE, "the new name to have nothing to wait for", || {
        waiting(&site, "office").filter(|rows| *rows < 50)
    })?;
    assert_eq!(waiting(&site, "cloud"), None, "nothing is left under the old name");

    // The key may stay: a second reload moves nothing again, and nothing comes twice.
    gateway.reload()?;
    let last = seqs.last().copied().unwrap_or(0) + 50;
    subscriber.wait_for(PATIENCE, "further rows", |messages| {
        let mut seqs: Vec<u64> = messages.iter().filter_map(|row| row.json().ok()?["seq"].as_u64()).collect();
        seqs.sort_unstable();
        let newest = seqs.last().copied()?;
        (newest >= last && seqs.into_iter().eq(1..=newest)).then_some(())
    })?;
    assert!(gateway.stop()?.success());
    Ok(())
}
