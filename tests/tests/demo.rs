//! The first thing that anybody runs: `tidegate demo`.

use std::{net::SocketAddr, path::Path, process::Command};

use tidegate_tests::{Child, PATIENCE, Peers, Subscriber, get, program, tidegate};

/// A running demo, and what its welcome says.
struct Demo {
    child: Child,
    web: SocketAddr,
    live: SocketAddr,
    cloud: SocketAddr,
}

/// Starts the demo on ports that are free, as it does by itself when its usual ones are taken.
fn demo(dir: &Path) -> anyhow::Result<Demo> {
    let mut command = Command::new(program("tidegate")?);
    command.arg("demo").arg("--dir").arg(dir);
    for listener in ["BROKER", "WEB"] {
        command.env(format!("TIDEGATE__{listener}__LISTEN"), "127.0.0.1:0");
    }
    let child = Child::start("the demo", &mut command)?;
    let welcome = child.wait_for(PATIENCE, "its welcome", |lines| {
        let welcome: Vec<String> = lines.iter().map(|line| line.text.clone()).collect();
        welcome.iter().any(|line| line.starts_with("Ctrl-C")).then_some(welcome)
    })?;
    let after = |start: &str, mark: &str| -> Option<String> {
        let line = welcome.iter().find(|line| line.starts_with(start))?;
        line.split(mark).nth(1)?.split([' ', '/']).next().map(str::to_owned)
    };
    let port = |start: &str| after(start, "-p ").and_then(|port| port.parse::<u16>().ok()).unwrap_or_default();
    let (live, cloud) = (port("live data"), port("the cloud"));
    let web = after("metrics", "http://").and_then(|address| address.parse().ok());
    let web = web.ok_or_else(|| child.complaint("said no address of its page"))?;
    Ok(Demo { child, web, live: ([127, 0, 0, 1], live).into(), cloud: ([127, 0, 0, 1], cloud).into() })
}

#[test]
fn the_demo_has_data_on_both_brokers_and_may_be_started_again() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let dir = folder.path().join("plant");
    let mut seqs = Vec::new();
    for start in 1..=2 {
        let mut demo = demo(&dir)?;
        assert_eq!(get(demo.web, "/readyz")?.status, 200);
        for broker in [demo.live, demo.cloud] {
            let rows = Subscriber::start(&peers, broker, "tidegate/demo/+/data/+")?;
            let row = rows.wait_for(PATIENCE, "good rows of all machines", |messages| {
                let good = |part: &str| {
                    let is_good = |payload: &str| payload.contains("\"values\":{\"");
                    messages.iter().find(|message| message.topic.contains(part) && is_good(&message.payload)).cloned()
                };
                (good("/oven-1/").is_some() && good("/solar-1/").is_some()).then(|| good("/meter-1/data/fast"))?
            })?;
            seqs.push(row.json()?.get("seq").and_then(serde_json::Value::as_u64).unwrap());
        }
        let site = dir.join("tidegate.toml").display().to_string();
        let (code, text) = tidegate(["read", "-c", &site, "oven-1", "temperature"], &[])?;
        assert!(code == Some(0) && text.contains("good"), "{text}");
        let (code, text) = tidegate(["queue", "-c", &site], &[])?;
        assert!(code == Some(0) && text.contains("cloud"), "{text}");
        let shown = demo.child.lines().iter().any(|line| line.text.contains("shown this once"));
        assert_eq!(shown, start == 1, "the first password is shown at the first start");
        assert_eq!(demo.child.terminate(PATIENCE)?.code(), Some(0));
    }
    assert!(seqs[2] > seqs[0], "the numbering goes on: {seqs:?}");
    let (code, text) = tidegate(["check", "-c", &dir.join("tidegate.toml").display().to_string()], &[])?;
    assert_eq!(code, Some(0), "the site that the demo has written is without mistakes:\n{text}");
    Ok(())
}

#[test]
fn a_demo_that_cannot_write_says_where() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("taken");
    std::fs::write(&file, "")?;
    let mut command = Command::new(program("tidegate")?);
    let mut child = Child::start("the demo", command.arg("demo").arg("--dir").arg(&file))?;
    let (status, lines) = child.end()?;
    let said = lines.first().map(|line| line.text.clone()).unwrap_or_default();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.starts_with("error: failed to make ") && said.contains(&file.display().to_string()), "{said}");
    Ok(())
}
