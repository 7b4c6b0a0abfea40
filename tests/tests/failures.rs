//! What goes wrong around a gateway, and what it does then: mistakes in the site, ports in use, a damaged database.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what a test cannot go on without may end it"
)]

use std::{
    collections::BTreeSet,
    fs,
    net::TcpListener,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use tidegate_tests::{
    Child, Gateway, Line, Message, ModbusServer, Mosquitto, PATIENCE, Peers, Port, Site, Subscriber, get, program,
    tidegate, wait_until,
};

const PROFILE: &str = r#"
[profile]
manufacturer = "Acme"
model = "Meter"
driver = "modbus"
version = 1

[[group]]
name = "all"
interval = "100ms"

[[tag]]
name = "level"
group = "all"
table = "holding"
address = 0
type = "u16"
"#;

/// A site with one meter at `address`, and whatever `more` adds.
fn site_with_meter(address: std::net::SocketAddr, more: &str) -> anyhow::Result<Site> {
    let site = Site::new()?;
    site.write_file("profiles/acme/meter.toml", PROFILE)?;
    write_meter(&site, address, more)?;
    Ok(site)
}

fn write_meter(site: &Site, address: std::net::SocketAddr, more: &str) -> anyhow::Result<()> {
    let link = format!(
        "[[link]]\nname = \"bus\"\ndriver = \"modbus-tcp\"\naddress = \"{address}\"\n\n\
         [[device]]\nname = \"meter\"\nlink = \"bus\"\nprofile = \"acme/meter\"\nunit = 1\n"
    );
    site.write("line3", &(link + more))
}

/// Starts a gateway that cannot run, and returns what it said before it ended with exit code 1.
fn refusal(site: &Site) -> anyhow::Result<String> {
    let mut command = Command::new(program("tidegate")?);
    let mut child = Child::start("the gateway", command.arg("run").arg("-c").arg(site.file()))?;
    let (status, lines) = child.end()?;
    let text: Vec<String> = lines.into_iter().map(|line| line.text).collect();
    assert_eq!(status.code(), Some(1), "{text:?}");
    Ok(text.join("\n"))
}

/// Whether a line of the log is for a person who has to act.
fn is_error(line: &Line) -> bool {
    line.text.contains("ERROR")
}

/// The numbers of the rows that have come.
fn seqs(messages: &[Message]) -> BTreeSet<u64> {
    messages.iter().filter_map(|message| message.json().ok()?.get("seq")?.as_u64()).collect()
}

#[test]
fn a_site_with_mistakes_starts_nothing_and_names_them_all() -> anyhow::Result<()> {
    let nowhere = Port::reserve()?;
    let site = site_with_meter(nowhere.address(), "uint = 2\n\n[[device]]\nname = \"meter\"\nlink = \"buss\"\n")?;
    let text = refusal(&site)?;
    for part in ["unknown key `uint`", "did you mean `unit`?", "\"buss\"", "tidegate.toml:"] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    assert!(!site.path().join("data").exists(), "nothing is made for a site with mistakes");
    Ok(())
}

#[test]
fn a_port_in_use_is_named_with_the_key_to_change() -> anyhow::Result<()> {
    let nowhere = Port::reserve()?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let taken = taken.local_addr()?.to_string();
    let site = site_with_meter(nowhere.address(), "")?;
    let good = fs::read_to_string(site.file())?;
    for (address, key) in [(site.web_address(), "`listen` in [web]"), (site.broker_address(), "`listen` in [broker]")] {
        fs::write(site.file(), good.replace(&address.to_string(), &taken))?;
        let text = refusal(&site)?;
        let errors: Vec<&str> = text.lines().filter(|line| line.starts_with("error: ")).collect();
        assert!(errors.len() == 1 && errors[0].contains(&taken) && errors[0].contains(key), "{text}");
        assert_eq!(errors[0].matches("in use").count(), 1, "said once: {text}");
    }
    // What was begun is given back, and the first password was not made in vain: it is shown by the start that works.
    fs::write(site.file(), good)?;
    let gateway = Gateway::start(&site)?;
    gateway.child().wait_for(PATIENCE, "the first password", |lines| {
        lines.iter().any(|line| line.text.contains("with the password")).then_some(())
    })
}

#[test]
fn a_data_folder_that_cannot_be_one_is_named() -> anyhow::Result<()> {
    let nowhere = Port::reserve()?;
    let site = site_with_meter(nowhere.address(), "")?;
    site.write_file("data", "a file")?;
    let text = refusal(&site)?;
    assert!(text.contains(&site.path().join("data").display().to_string()), "{text}");
    Ok(())
}

#[test]
fn a_target_that_never_answers_can_be_changed_and_does_not_delay_the_end() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let plant = ModbusServer::start(&peers, &[1])?;
    let cloud = Mosquitto::start(&peers)?;
    // Accepted by the system, answered by nobody.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let target = |address| format!("\n[[target]]\nname = \"cloud\"\nkind = \"mqtt\"\nurl = \"mqtt://{address}\"\n");
    let site = site_with_meter(plant.address(), &target(silent.local_addr()?))?;
    let gateway = Gateway::start(&site)?;
    let rows = Subscriber::start(&peers, site.broker_address(), "tidegate/line3/+/data/all")?;
    rows.wait_for(PATIENCE, "rows", |messages| (messages.len() >= 5).then_some(()))?;

    write_meter(&site, plant.address(), &target(cloud.address()))?;
    let office = Subscriber::start(&peers, cloud.address(), "tidegate/line3/+/data/all")?;
    gateway.reload()?;
    office.wait_for(PATIENCE, "the rows since the start", |messages| {
        // What is new may come before what waited.
        let seqs = seqs(messages);
        (seqs.len() > 5 && seqs.iter().copied().eq((1..).take(seqs.len()))).then_some(())
    })?;

    write_meter(&site, plant.address(), &target(silent.local_addr()?))?;
    gateway.reload()?;
    gateway.child().wait_for(PATIENCE, "the second reload", |lines| {
        let reloads = lines.iter().filter(|line| line.text.contains("site reloaded")).count();
        (reloads == 2).then_some(())
    })?;
    // Only after thirty seconds does a gateway give up stopping, with another code: this is to be over long before, even on a
    // machine that stands still for some of them.
    let began = Instant::now();
    assert_eq!(gateway.stop()?.code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    Ok(())
}

#[test]
fn a_second_gateway_on_the_same_data_is_refused() -> anyhow::Result<()> {
    let nowhere = Port::reserve()?;
    let site = site_with_meter(nowhere.address(), "")?;
    let _first = Gateway::start(&site)?;
    let other = Site::new()?;
    other.write_file("profiles/acme/meter.toml", PROFILE)?;
    write_meter(&other, nowhere.address(), "")?;
    let data = site.path().join("data").display().to_string();
    let text = fs::read_to_string(other.file())?.replace("data_dir = \"data\"", &format!("data_dir = \"{data}\""));
    fs::write(other.file(), text)?;
    let text = refusal(&other)?;
    assert!(text.contains(&data), "{text}");
    Ok(())
}

#[test]
fn a_damaged_database_is_set_aside_and_the_gateway_runs_on_a_new_one() -> anyhow::Result<()> {
    let nowhere = Port::reserve()?;
    let site = site_with_meter(nowhere.address(), "")?;
    site.write_file("data/store.db", &"this is no database ".repeat(1000))?;
    let gateway = Gateway::start(&site)?;
    let kept = fs::read_dir(site.path().join("data"))?.filter_map(Result::ok).any(|file| {
        file.file_name().to_string_lossy().contains("damaged")
            && fs::read(file.path()).is_ok_and(|bytes| bytes.starts_with(b"this is no database"))
    });
    assert!(kept, "the damaged database is kept under another name");
    gateway.child().wait_for(PATIENCE, "the word to a person", |lines| {
        lines.iter().any(|line| line.text.contains("ERROR") && line.text.contains("damaged")).then_some(())
    })
}

#[test]
fn a_reload_with_mistakes_leaves_the_old_site_running_and_one_without_takes_over() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let plant = ModbusServer::start(&peers, &[1])?;
    let site = site_with_meter(plant.address(), "")?;
    let gateway = Gateway::start(&site)?;
    let rows = Subscriber::start(&peers, site.broker_address(), "tidegate/line3/+/data/all")?;
    rows.wait_for(PATIENCE, "a row", |messages| messages.first().cloned())?;

    write_meter(&site, plant.address(), "uint = 2\n")?;
    gateway.reload()?;
    gateway.child().wait_for(PATIENCE, "the refusal", |lines| {
        lines.iter().any(|line| line.text.contains("unknown key `uint`")).then_some(())
    })?;
    let count = rows.messages().len();
    rows.wait_for(PATIENCE, "more rows of the old site", |messages| (messages.len() > count + 5).then_some(()))?;

    let second = "\n[[device]]\nname = \"meter-2\"\nlink = \"bus\"\nprofile = \"acme/meter\"\nunit = 1\n";
    write_meter(&site, plant.address(), second)?;
    gateway.reload()?;
    rows.wait_for(PATIENCE, "a row of the new device", |messages| {
        messages.iter().find(|message| message.topic.contains("/meter-2/")).cloned()
    })?;
    // The numbering of the device that was there before goes on without a hole.
    let seqs: Vec<u64> = rows
        .messages()
        .iter()
        .filter(|message| message.topic.contains("/meter/"))
        .filter_map(|message| message.json().ok()?.get("seq")?.as_u64())
        .collect();
    assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "{seqs:?}");
    Ok(())
}

#[test]
fn no_change_of_the_site_touches_what_waits_for_a_target() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let plant = ModbusServer::start(&peers, &[1])?;
    let mut cloud = Mosquitto::start(&peers)?;
    let target = format!(
        "\n[[target]]\nname = \"cloud\"\nkind = \"mqtt\"\nurl = \"mqtt://{}\"\nformat = \"json\"\n",
        cloud.address()
    );
    cloud.stop()?;
    let site = site_with_meter(plant.address(), &target)?;
    let gateway = Gateway::start(&site)?;
    let rows = Subscriber::start(&peers, site.broker_address(), "tidegate/line3/+/data/all")?;
    rows.wait_for(PATIENCE, "rows during the outage", |messages| (messages.len() >= 20).then_some(()))?;
    // The target is taken out of the site and put back, with other options, and the gateway is started anew.
    write_meter(&site, plant.address(), "")?;
    gateway.reload()?;
    gateway.child().wait_for(PATIENCE, "the reload", |lines| {
        lines.iter().any(|line| line.text.contains("site reloaded")).then_some(())
    })?;
    gateway.stop()?;
    write_meter(&site, plant.address(), &format!("{target}in_flight = 10\n"))?;
    cloud.resume()?;
    let office = Subscriber::start(&peers, cloud.address(), "tidegate/line3/+/data/all")?;
    let _gateway = Gateway::start(&site)?;
    office.wait_for(PATIENCE, "all rows in the cloud", |messages| {
        let seqs = seqs(messages);
        (seqs.len() > 20 && (1..=20).all(|seq| seqs.contains(&seq))).then_some(())
    })
}

/// A small file system of its own, gone when it is dropped. `None` where this process may not mount.
struct Mounted<'a>(&'a Path);

impl Mounted<'_> {
    fn new(at: &Path) -> Option<Mounted<'_>> {
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "none"]).arg(at).output();
        mount.is_ok_and(|done| done.status.success()).then_some(Mounted(at))
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

#[test]
fn on_a_full_disk_data_goes_on_here_and_waits_for_the_cloud_until_there_is_room() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let plant = ModbusServer::start(&peers, &[1])?;
    let cloud = Mosquitto::start(&peers)?;
    let target = format!("\n[[target]]\nname = \"cloud\"\nkind = \"mqtt\"\nurl = \"mqtt://{}\"\n", cloud.address());
    let site = site_with_meter(plant.address(), &target)?;
    let data = site.path().join("data");
    fs::create_dir(&data)?;
    let Some(_mounted) = Mounted::new(&data) else {
        println!("skipped: a file system of two megabytes can only be mounted as root");
        return Ok(());
    };
    let filter = "tidegate/line3/+/data/all";
    // There before the first row is.
    let office = Subscriber::start(&peers, cloud.address(), filter)?;
    let gateway = Gateway::start(&site)?;
    let here = Subscriber::start(&peers, site.broker_address(), filter)?;
    office.wait_for(PATIENCE, "a row in the cloud", |messages| messages.first().cloned())?;

    // As much as there is room for.
    let ballast = data.join("ballast");
    let _ = fs::write(&ballast, vec![0; 4 << 20]);
    let unready = wait_until(PATIENCE, "/readyz to say so", || {
        get(site.web_address(), "/readyz").ok().filter(|answer| answer.status == 503)
    })?;
    assert!(unready.body.contains("the disk is full"), "{unready:?}");
    let file = site.file().display().to_string();
    let (code, text) = tidegate(["healthcheck", "-c", &file], &[])?;
    assert!(code == Some(0) && text.starts_with("degraded\n"), "a restart would not mend it: {text}");
    let count = here.messages().len();
    here.wait_for(PATIENCE, "more rows here", |messages| (messages.len() > count + 10).then_some(()))?;
    gateway.child().wait_for(PATIENCE, "the word to a person", |lines| {
        lines.iter().any(|line| is_error(line) && line.text.contains("the disk is full")).then_some(())
    })?;
    // The broker has a database of its own, and a word of its own when that had something to write.
    let errors = gateway.child().lines().into_iter().filter(is_error);
    let (of_broker, others): (Vec<Line>, Vec<Line>) =
        errors.partition(|line| line.text.contains("the MQTT broker cannot write"));
    assert!(others.len() == 1 && of_broker.len() <= 1, "a person is told once: {others:?} {of_broker:?}");

    fs::remove_file(&ballast)?;
    let last = here.messages().last().and_then(|message| message.json().ok()?.get("seq")?.as_u64()).unwrap();
    office.wait_for(PATIENCE, "every row in the cloud", |messages| {
        let seqs = seqs(messages);
        (1..=last).all(|seq| seqs.contains(&seq)).then_some(())
    })?;
    wait_until(PATIENCE, "/readyz to say that it works again", || {
        get(site.web_address(), "/readyz").ok().filter(|answer| answer.status == 200)
    })?;
    Ok(())
}
