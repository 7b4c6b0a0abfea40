//! The interface seen from outside: who gets in, what is answered, and what is refused how.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use base64::{Engine, engine::general_purpose::STANDARD};
use tidegate_tests::{Answer, Child, Gateway, ModbusServer, PATIENCE, Peers, Site, Table, get, request, wait_until};

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
maximum = 100.0
"#;

/// A gateway with nothing to read.
fn alone() -> anyhow::Result<(Site, Gateway)> {
    let site = Site::new()?;
    site.write_file("profiles/acme/oven.toml", PROFILE)?;
    site.write("line3", "")?;
    let gateway = Gateway::start(&site)?;
    Ok((site, gateway))
}

fn token(site: &Site) -> anyhow::Result<String> {
    Ok(format!("Bearer {}", fs::read_to_string(site.path().join("data/local.token"))?))
}

/// `GET` with this `Authorization`.
fn get_as(site: &Site, who: &str, path: &str) -> anyhow::Result<Answer> {
    request(site.web_address(), "GET", path, &[("Authorization", who)], "")
}

fn basic(password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("admin:{password}")))
}

/// The password that the first start has printed.
fn first_password(gateway: &Gateway) -> anyhow::Result<String> {
    gateway.child().wait_for(PATIENCE, "the first password", |lines| {
        let line = lines.iter().find(|line| line.text.contains("with the password "))?;
        line.text.rsplit(' ').next().map(str::to_owned)
    })
}

#[test]
fn only_health_and_metrics_are_open_to_everybody() -> anyhow::Result<()> {
    let (site, _gateway) = alone()?;
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(get(site.web_address(), path)?.status, 200, "{path}");
    }
    for path in ["/", "/api/v1/status", "/api/v1/devices", "/api/v1/devices/a/values", "/api/v1/nothing", "/nothing"] {
        let answer = get(site.web_address(), path)?;
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.header("www-authenticate").is_some_and(|challenge| challenge.starts_with("Basic ")), "{path}");
        assert!(answer.json()?.get("error").is_some(), "{path}");
    }
    let health = get(site.web_address(), "/healthz")?.json()?;
    assert_eq!(health, serde_json::json!({ "status": "ok", "problems": [] }));
    Ok(())
}

#[test]
fn the_first_password_and_the_local_token_let_in_and_nothing_else_does() -> anyhow::Result<()> {
    let (site, gateway) = alone()?;
    let password = first_password(&gateway)?;
    let (path, token_file) = ("/api/v1/status", site.path().join("data/local.token"));
    assert_eq!(get_as(&site, &basic(&password), path)?.status, 200);
    assert_eq!(get_as(&site, &token(&site)?, path)?.status, 200);
    let cut = token(&site)?;
    for who in [&basic("admin"), &basic(""), "Basic %%%", "Bearer ", &cut[..cut.len() - 1], "Digest a"] {
        assert_eq!(get_as(&site, who, path)?.status, 401, "{who}");
    }
    for file in ["data/local.token", "data/users.json"] {
        let mode = fs::metadata(site.path().join(file))?.permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let old = token(&site)?;
    gateway.stop()?;
    assert!(!token_file.exists(), "the token goes with the gateway");

    let gateway = Gateway::start(&site)?;
    assert_eq!(get_as(&site, &basic(&password), path)?.status, 200, "the password stays");
    assert_eq!(get_as(&site, &old, path)?.status, 401, "an old token does not");
    assert!(!gateway.child().lines().iter().any(|line| line.text.contains("password")), "it is shown once");
    Ok(())
}

#[test]
fn every_error_is_json_with_a_text() -> anyhow::Result<()> {
    let (site, _gateway) = alone()?;
    let token = token(&site)?;
    let json = ("Content-Type", "application/json");
    let values = "/api/v1/devices/oven-1/values";
    let large = format!("{{\"a\":{}}}", " ".repeat(300_000));
    for (method, path, kind, body, status) in [
        ("GET", "/api/v1/nothing", json, "", 404),
        ("GET", values, json, "", 404),
        ("GET", "/api/v1/devices/%2e%2e%2f/values", json, "", 404),
        ("GET", "/api/v1/devices/%ff/values", json, "", 400),
        ("DELETE", values, json, "", 405),
        ("POST", "/metrics", json, "", 405),
        ("PUT", values, json, "{\"a\":1", 400),
        ("PUT", values, json, "{}", 400),
        ("PUT", values, json, "[1]", 422),
        ("PUT", values, json, &large, 413),
        ("PUT", values, ("Content-Type", "text/plain"), "{\"a\":1}", 415),
        ("PUT", values, json, "{\"a\":1}", 404),
        ("POST", "/api/v1/links/hall/browse", json, "", 404),
        ("POST", "/api/v1/links/hall/browse", json, "{\"nod\":\"a\"}", 400),
        ("GET", "/api/v1/links/hall/browse", json, "", 405),
    ] {
        let answer = request(site.web_address(), method, path, &[("Authorization", &token), kind], body)?;
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{method} {path}");
        let text = answer.json()?.get("error").and_then(|error| error.as_str().map(str::to_owned));
        assert!(text.is_some_and(|text| text.len() > 10), "{method} {path}: {answer:?}");
    }
    assert_eq!(request(site.web_address(), "HEAD", "/healthz", &[], "")?.body, "");
    Ok(())
}

#[test]
fn values_are_read_and_written_in_the_form_of_the_interface() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let mut modbus = ModbusServer::start(&peers, &[1])?;
    modbus.set(1, Table::Holding, 100, &[215])?;
    let site = Site::new()?;
    site.write_file("profiles/acme/oven.toml", PROFILE)?;
    let rest = format!(
        "[[link]]\nname = \"hall\"\ndriver = \"modbus-tcp\"\naddress = \"{}\"\ntimeout = \"20s\"\n\n\
         [[device]]\nname = \"oven-1\"\nlink = \"hall\"\nprofile = \"acme/oven\"\nunit = 1\n",
        modbus.address()
    );
    site.write("line3", &rest)?;
    let _gateway = Gateway::start(&site)?;
    let (token, path) = (token(&site)?, "/api/v1/devices/oven-1/values");
    let before = now_ms();
    let sample = wait_until(PATIENCE, "the value", || {
        let answer = get_as(&site, &token, path).ok()?.json().ok()?;
        answer.get("setpoint").filter(|sample| sample["quality"] == "good").cloned()
    })?;
    assert_eq!((&sample["value"], &sample["unit"]), (&21.5.into(), &"°C".into()), "{sample}");
    assert!(sample["reason"].is_null(), "{sample}");
    let time = sample["time"].as_u64().unwrap_or_default();
    assert!((before - 60_000..=now_ms()).contains(&time), "{time} is about now");

    let put = |body: &str| {
        let headers = [("Authorization", token.as_str()), ("Content-Type", "application/json")];
        request(site.web_address(), "PUT", path, &headers, body)
    };
    let answer = put("{\"setpoint\":42.0}")?;
    assert_eq!((answer.status, answer.json()?), (200, serde_json::json!({ "ok": true })));
    assert_eq!(modbus.get(1, Table::Holding, 100, 1)?, [420], "it answers when the device has the value");
    let answer = put("{\"setpoint\":420}")?;
    let expected = serde_json::json!({ "ok": false, "errors": { "setpoint": "above maximum 100" } });
    assert_eq!((answer.status, answer.json()?), (409, expected));
    let devices = get_as(&site, &token, "/api/v1/devices")?.json()?;
    let device = devices.get(0).cloned().unwrap_or_default();
    assert_eq!((&device["name"], &device["state"]), (&"oven-1".into(), &"online".into()), "{devices}");
    Ok(())
}

#[test]
fn the_history_of_a_tag_is_asked_for_by_device_tag_and_time() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let mut modbus = ModbusServer::start(&peers, &[1])?;
    modbus.set(1, Table::Holding, 100, &[215])?;
    let site = Site::new()?;
    site.write_file("profiles/acme/oven.toml", PROFILE)?;
    let rest = format!(
        "[[link]]\nname = \"hall\"\ndriver = \"modbus-tcp\"\naddress = \"{}\"\ntimeout = \"20s\"\n\n\
         [[device]]\nname = \"oven-1\"\nlink = \"hall\"\nprofile = \"acme/oven\"\nunit = 1\n",
        modbus.address()
    );
    site.write("line3", &rest)?;
    let _gateway = Gateway::start(&site)?;
    let token = token(&site)?;
    let history =
        |query: &str| -> anyhow::Result<Answer> { get_as(&site, &token, &format!("/api/v1/history?{query}")) };
    let begun = now_ms() - 60_000;
    let oven = format!("device=oven-1&tag=setpoint&from={begun}");
    let samples = wait_until(PATIENCE, "a few samples", || {
        let answer = history(&oven).ok()?.json().ok()?;
        answer["samples"].as_array().filter(|samples| samples.len() >= 15).cloned()
    })?;
    let times: Vec<u64> = samples.iter().filter_map(|sample| sample[0].as_u64()).collect();
    assert!(times.is_sorted() && times.iter().all(|time| (begun..=now_ms()).contains(time)), "{times:?}");
    assert!(samples.iter().all(|sample| sample[1] == 21.5 || sample[2] == "bad"), "{samples:?}");

    let last = times[times.len() - 1];
    let answer = history(&format!("{oven}&to={last}&max_points=10"))?;
    let thinned = answer.json()?;
    assert_eq!((answer.status, &thinned["thinned"], &thinned["unit"]), (200, &true.into(), &"°C".into()), "{thinned}");
    assert_eq!((&thinned["device"], &thinned["tag"]), (&"oven-1".into(), &"setpoint".into()));
    assert!(thinned["samples"].as_array().is_some_and(|samples| samples.len() <= 10), "{thinned}");
    // Of two polls within a millisecond neither is before the other.
    let before = times.iter().filter(|time| **time < last).count();
    assert_eq!(thinned["total"].as_u64(), Some(u64::try_from(before)?), "before `to`, not at it");
    let none = history("device=oven-1&tag=setpoint&to=2001-01-01T00:00:00%2B01:00")?.json()?;
    assert_eq!((&none["total"], &none["samples"]), (&0.into(), &serde_json::json!([])), "{none}");

    for (query, status) in [
        ("device=oven-1", 400),
        ("device=oven-1&tag=setpoint&from=yesterday", 400),
        ("device=oven-1&tag=setpoint&points=5", 400),
        ("device=oven-2&tag=setpoint", 404),
        ("device=oven-1&tag=nothing", 404),
    ] {
        let answer = history(query)?;
        assert_eq!(answer.status, status, "{query}: {answer:?}");
        assert!(answer.json()?["error"].as_str().is_some_and(|text| text.len() > 10), "{query}");
    }
    assert_eq!(get(site.web_address(), "/api/v1/history?device=oven-1&tag=setpoint")?.status, 401);
    Ok(())
}

#[test]
fn metrics_are_read_by_the_reference_library_in_both_forms() -> anyhow::Result<()> {
    let Some(peers) = Peers::find()? else { return Ok(()) };
    let site = Site::new()?;
    site.write_file("profiles/acme/oven.toml", PROFILE)?;
    // Nobody listens on port 1: a link and a target that are not connected have numbers too.
    let rest = "[[link]]\nname = \"hall\"\ndriver = \"modbus-tcp\"\naddress = \"127.0.0.1:1\"\n\n\
                [[device]]\nname = \"oven-1\"\nlink = \"hall\"\nprofile = \"acme/oven\"\nunit = 1\n\n\
                [[target]]\nname = \"cloud\"\nkind = \"mqtt\"\nurl = \"mqtt://127.0.0.1:1\"\n";
    site.write("line3", rest)?;
    let _gateway = Gateway::start(&site)?;
    let mut families = Vec::new();
    for (form, accept, kind) in [
        ("openmetrics", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5", "application/openmetrics-text;"),
        ("plain", "*/*", "text/plain; version=0.0.4;"),
    ] {
        let answer = request(site.web_address(), "GET", "/metrics", &[("Accept", accept)], "")?;
        assert!(answer.header("content-type").is_some_and(|found| found.starts_with(kind)), "{:?}", answer.head);
        let file = site.path().join(form);
        fs::write(&file, &answer.body)?;
        let mut parser = Command::new("sh");
        parser.args(["-c", "exec \"$0\" \"$1\" \"$2\" < \"$3\""]).arg(peers.python()).arg(peers.script("metrics.py"));
        let lines = Child::start("the parser", parser.arg(form).arg(&file))?.finish()?;
        families.push(lines.into_iter().map(|line| line.text).collect::<Vec<String>>());
    }
    for family in [
        "counter tidegate_polls 1",
        "counter tidegate_missed_slots 1",
        "counter tidegate_rows 1",
        "counter tidegate_payload_bytes 1",
        "counter tidegate_store_fsyncs 1",
        "gauge tidegate_target_waiting_rows 1",
        "gauge tidegate_target_online 1",
    ] {
        assert!(families[0].iter().any(|found| found == family), "{family} is not in {:?}", families[0]);
    }
    let histogram = |line: &&String| line.starts_with("histogram tidegate_link_request_duration_seconds ");
    assert!(families[0].iter().any(|line| histogram(&line)));
    // How many targets have something waiting may differ from one moment to the next.
    let names = |lines: &[String]| lines.iter().filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect();
    let [open, plain]: [Vec<String>; 2] = [names(&families[0]), names(&families[1])];
    assert_eq!(open, plain, "both forms have the same families");
    Ok(())
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or_default()
}
