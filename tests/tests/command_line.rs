//! The commands that need no device: what they say and how they end.

use std::{
    fs,
    io::Read,
    process::{Command, Stdio},
};

use tidegate_tests::{Gateway, PATIENCE, Port, Site, get, program, tidegate, wait_until};

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

/// A site with one meter that nobody listens for.
fn site() -> anyhow::Result<Site> {
    let site = Site::new()?;
    site.write_file("profiles/acme/meter.toml", PROFILE)?;
    let rest = "[[link]]\nname = \"bus\"\ndriver = \"modbus-tcp\"\naddress = \"127.0.0.1:1\"\n\n\
                [[device]]\nname = \"meter\"\nlink = \"bus\"\nprofile = \"acme/meter\"\nunit = 1\n";
    site.write("line3", rest)?;
    Ok(site)
}

fn run(site: &Site, command: &str, environment: &[(&str, &str)]) -> anyhow::Result<(Option<i32>, String)> {
    let file = site.file().display().to_string();
    let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
    tidegate([verb, "-c", &file].into_iter().chain(rest.split_whitespace()), environment)
}

#[test]
fn check_says_where_each_mistake_is_and_what_the_links_will_have_to_do() -> anyhow::Result<()> {
    let site = site()?;
    let (code, text) = run(&site, "check", &[])?;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("link bus: 1 tag of 1 device, 10.0 requests/s"), "{text}");

    let good = fs::read_to_string(site.file())?;
    let second = "[[device]]\nname = \"other\"\nlink = \"buss\"\nprofile = \"acme/meter\"\nunit = 2\n";
    fs::write(site.file(), good.replace("unit = 1", "uint = 1") + second)?;
    site.write_file("profiles/acme/spare.toml", &PROFILE.replace("\"u16\"", "\"u17\""))?;
    let (code, text) = run(&site, "check", &[("TIDEGATE__STORE__MAX_AGE", "48")])?;
    assert_eq!(code, Some(1), "{text}");
    for (file, what, help) in [
        ("tidegate.toml", "unknown key `uint`", "did you mean `unit`?"),
        ("tidegate.toml", "unknown link \"buss\"", "did you mean \"bus\"?"),
        ("profiles/acme/spare.toml", "\"u17\"", "u16"),
    ] {
        let start = site.path().join(file).display().to_string() + ":";
        let found = text.lines().find(|line| line.starts_with(&start) && line.contains(what));
        let place = found.and_then(|line| line.strip_prefix(&start)).unwrap_or_default();
        let numbers: Vec<&str> = place.split(':').take(2).collect();
        assert!(numbers.len() == 2 && numbers.iter().all(|n| n.parse::<u32>().is_ok()), "{what} in {file}:\n{text}");
        assert!(text.contains(help), "{help}:\n{text}");
    }
    assert!(text.contains("environment variable TIDEGATE__STORE__MAX_AGE: "), "{text}");
    assert!(text.lines().any(|line| line.trim_start().starts_with("| ") && line.trim_end().ends_with('^')), "{text}");
    Ok(())
}

#[test]
fn check_finds_certificates_that_cannot_be_used_wherever_the_site_names_them() -> anyhow::Result<()> {
    let site = site()?;
    site.write_file("garbage.pem", "hello\n")?;
    let rest = "[broker.tls]\nlisten = \"127.0.0.1:0\"\ncertificate = \"garbage.pem\"\nkey = \"garbage.pem\"\n\n\
                [[bridge]]\nname = \"plant\"\nurl = \"mqtts://localhost\"\nca = \"garbage.pem\"\n\n\
                [[bridge.route]]\ndirection = \"in\"\nfilter = \"#\"\n\n\
                [[target]]\nname = \"cloud\"\nkind = \"mqtt\"\nurl = \"mqtts://localhost\"\nca = \"garbage.pem\"\n";
    let text = fs::read_to_string(site.file())? + rest;
    fs::write(site.file(), &text)?;
    let (code, said) = run(&site, "check", &[])?;
    assert_eq!(code, Some(1), "{said}");
    for section in ["[broker.tls]", "[[bridge]]", "[[target]]"] {
        let (before, _) = text.split_once(section).unwrap();
        let key = if section == "[broker.tls]" { "certificate = \"garbage" } else { "ca = \"garbage" };
        let line =
            before.lines().count() + text[before.len()..].lines().position(|line| line.starts_with(key)).unwrap() + 1;
        assert!(said.contains(&format!("tidegate.toml:{line}:")), "{section} line {line}: {said}");
    }
    assert!(said.contains("3 mistakes"), "{said}");
    Ok(())
}

#[test]
fn every_line_is_an_object_where_machines_read_the_log() -> anyhow::Result<()> {
    let site = site()?;
    fs::write(site.file(), fs::read_to_string(site.file())?.replace("unit = 1", "uint = 1"))?;
    let file = site.file().display().to_string();
    let (code, text) = tidegate(["run", "-c", &file, "--log-format", "json"], &[])?;
    assert_eq!(code, Some(1), "{text}");
    let lines = text.lines().map(serde_json::from_str::<serde_json::Value>).collect::<Result<Vec<_>, _>>()?;
    let said =
        |line: &serde_json::Value| line["message"].as_str().is_some_and(|text| text.contains("did you mean `unit`?"));
    assert!(lines.iter().any(said), "{text}");
    Ok(())
}

#[test]
fn a_log_level_that_there_is_not_is_refused_and_not_silence() -> anyhow::Result<()> {
    let (code, text) = tidegate(["--log", "warning", "drivers"], &[])?;
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("error, warn, info, debug or trace"), "{text}");
    for good in ["off", "WARN", "info,tidegate_north=debug", "tidegate_north"] {
        assert_eq!(tidegate(["--log", good, "drivers"], &[])?.0, Some(0), "{good}");
    }
    Ok(())
}

#[test]
fn print_config_says_where_each_value_comes_from() -> anyhow::Result<()> {
    let site = site()?;
    let (code, text) = run(&site, "print-config", &[("TIDEGATE__STORE__MAX_AGE", "48h")])?;
    assert_eq!(code, Some(0), "{text}");
    let file = site.file().display().to_string();
    for (value, origin) in [
        ("store.max_age = \"48h\"", "environment TIDEGATE__STORE__MAX_AGE"),
        ("store.commit = \"250ms\"", "default"),
        ("gateway.id = \"line3\"", &format!("{file}:2:6")),
        ("device.meter.unit = 1", &format!("{file}:")),
    ] {
        let line = text.lines().find(|line| line.starts_with(value));
        let said = line.and_then(|line| line.split_once('#')).map(|(_, origin)| origin.trim());
        assert!(said.is_some_and(|said| said.starts_with(origin)), "{value} from {origin}:\n{text}");
    }
    Ok(())
}

#[test]
fn commands_find_the_running_gateway_whatever_is_in_the_site_by_now() -> anyhow::Result<()> {
    let site = site()?;
    for command in ["healthcheck", "queue", "read meter"] {
        let (code, text) = run(&site, command, &[])?;
        assert_eq!(code, Some(1), "{command}: {text}");
        assert!(text.contains("no running gateway was found"), "{command}: {text}");
    }
    let _gateway = Gateway::start(&site)?;
    let elsewhere = Port::reserve()?;
    let text =
        fs::read_to_string(site.file())?.replace(&site.web_address().to_string(), &elsewhere.address().to_string());
    fs::write(site.file(), text + "\nnonsense = 1\n")?;
    for (command, code, said) in [
        ("healthcheck", 0, "ok"),
        ("queue", 0, "no target"),
        ("read meter", 0, "level"),
        ("read meter level nope", 1, "no tag \"nope\""),
        ("read ../meter", 1, "there is no device \"../meter\""),
        ("write meter level=1", 1, "level: not writable"),
        ("write meter level", 1, "TAG=VALUE"),
    ] {
        let (found, text) = run(&site, command, &[])?;
        assert_eq!(found, Some(code), "{command}: {text}");
        assert!(text.contains(said), "{command}: {text}");
    }
    Ok(())
}

#[test]
fn the_drivers_that_are_built_in_are_listed() -> anyhow::Result<()> {
    let (code, text) = tidegate(["drivers"], &[])?;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.lines().any(|line| line.starts_with("modbus-tcp ") && line.ends_with("can poll, write")), "{text}");
    Ok(())
}

#[test]
fn a_command_whose_reader_has_gone_ends_quietly() -> anyhow::Result<()> {
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    let output = Command::new(program("tidegate")?).arg("drivers").stdout(writer).stderr(Stdio::piped()).output()?;
    assert_eq!((output.status.code(), String::from_utf8(output.stderr)?.as_str()), (Some(0), ""));
    Ok(())
}

/// A log that is piped into a program must not end the gateway with that program.
#[test]
fn a_gateway_whose_log_nobody_reads_any_more_goes_on() -> anyhow::Result<()> {
    let site = site()?;
    let (mut reader, writer) = std::io::pipe()?;
    let mut command = Command::new(program("tidegate")?);
    command.arg("run").arg("-c").arg(site.file()).stdout(Stdio::null()).stderr(writer);
    let mut gateway = command.spawn()?;
    drop(command);
    let ended = || -> anyhow::Result<()> {
        reader.read_exact(&mut [0; 16])?;
        drop(reader);
        let polls = |link: &str| site.metric("tidegate_link_connect_failures_total", &[&format!("link=\"{link}\"")]);
        let grows = |link: &str, from: u64| {
            wait_until(PATIENCE, "the link to be tried", || polls(link).filter(|now| *now > from))
        };
        grows("bus", 0)?;
        // A reload and another link that fails are logged.
        let site_before = fs::read_to_string(site.file())?;
        let moved = site_before.replace("127.0.0.1:1\"", "127.0.0.1:2\"").replace("\"bus\"", "\"hall\"");
        fs::write(site.file(), moved)?;
        let hangup = Command::new("kill").args(["-HUP", &gateway.id().to_string()]).status()?;
        assert!(hangup.success());
        grows("hall", grows("hall", 0)?)?;
        assert_eq!(get(site.web_address(), "/readyz")?.status, 200);
        Ok(())
    }();
    let _ = gateway.kill();
    gateway.wait()?;
    ended
}

#[test]
fn browse_says_why_there_is_no_list() -> anyhow::Result<()> {
    let site = site()?;
    let (code, output) = run(&site, "browse", &[])?;
    assert_eq!(code, Some(2), "without a link the command line is wrong: {output}");
    for (arguments, said) in [
        ("browse bus", "the driver of \"bus\" cannot list what a device offers"),
        ("browse buss", "has no link \"buss\"; it has \"bus\""),
    ] {
        let (code, text) = run(&site, arguments, &[])?;
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains(said), "{text}");
    }
    Ok(())
}
