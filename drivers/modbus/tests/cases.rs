//! Walks `tests/cases/`: each folder is a site with its profile, a scripted exchange, and what has to come of it.
//!
//! `exchange.txt`, line by line (`#` begins a comment):
//!
//! | line | means |
//! | --- | --- |
//! | `poll DEVICE GROUP` | polls to the end |
//! | `write DEVICE TAG VALUE` | writes the device's own number |
//! | `later DURATION` | so much time goes by |
//! | `> UNIT: HEX` | the request that the device must get next: its function and what follows |
//! | `< HEX` | what it answers: the function and what follows |
//! | `< silence` | it does not answer |
//!
//! `expected.txt` has a paragraph per `poll` and `write`. In a folder without `exchange.txt` it has the mistakes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod rig;

use std::{
    collections::VecDeque,
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rig::{Asked, Device, PATIENT, Reply, at};
use tidegate_driver_api::{
    Cx, Driver, Poll, Readings, Session, Written,
    config::{self, Profiles, parse_duration},
    model::{Reading, Value, ValueKind, ValueType},
};
use tidegate_driver_modbus::ModbusTcp;
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn every_case_comes_out_as_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut names: Vec<String> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert!(names.len() >= 15, "the cases are missing");
    let mut wrong = String::new();
    for name in names {
        let case = folder.join(&name);
        let expected = fs::read_to_string(case.join("expected.txt")).unwrap();
        let found = play(&case).await;
        if found.trim() != expected.trim() {
            wrong += &format!("=== {name}: expected\n{}\n=== {name}: found\n{}\n", expected.trim(), found.trim());
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// What comes of a case, as text.
async fn play(case: &Path) -> String {
    let (site, mut report) = config::load(&case.join("tidegate.toml"), [], Profiles::Used);
    assert!(!report.has_errors(), "{}", report.render());
    let link = site.unwrap().links.remove(0);
    let Ok(text) = fs::read_to_string(case.join("exchange.txt")) else {
        let compiled = ModbusTcp::new().compile(&link, &mut report);
        assert!(compiled.is_some() || report.has_errors(), "a link that cannot be built has no mistake");
        return report.render().replace(&format!("{}/", case.display()), "");
    };
    let lines: Vec<&str> = text.lines().map(|line| line.split('#').next().unwrap().trim()).collect();
    let script = Arc::new(Mutex::new(script(&lines)));
    let asked = Arc::clone(&script);
    let unplanned = Arc::new(Mutex::new(String::new()));
    let noted = Arc::clone(&unplanned);
    let device = Device::start(move |got| answer(got, &mut asked.lock().unwrap(), &mut noted.lock().unwrap())).await;
    let link = at(link, device.address);
    let mut compiled = rig::compile(&link);
    let kinds: Vec<_> = compiled.devices.iter().map(|device| device.groups.clone()).collect();
    let mut session = rig::connect(compiled.link.as_mut()).await;
    let mut later = Duration::ZERO;
    let mut out = String::new();
    for line in lines {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words.as_slice() {
            ["later", time] => later += parse_duration(time).unwrap(),
            ["poll", device, group] => {
                let context = || context(later, &script);
                out += &format!("{line}\n{}\n", poll(session.as_mut(), &link, (device, group), context).await);
            }
            ["write", device, tag, value] => {
                let (poll, column) = tag_of(&link, device, tag);
                let kind = kinds[poll.device][poll.group].kinds[column].unwrap();
                let value = parse(kind, value);
                let writer = session.writer().unwrap();
                let result = match writer.write(&context(later, &script), poll, column, &value).await {
                    Ok(Written::Confirmed) => "confirmed".to_owned(),
                    Ok(Written::Refused(why)) => format!("refused: {why}"),
                    Ok(Written::Unknown(why)) => format!("unknown: {why}"),
                    Err(lost) => format!("lost: {lost}"),
                };
                out += &format!("{line}\n  {result}\n\n");
            }
            [""] | [">" | "<", ..] => {}
            _ => panic!("{}: {line}", case.display()),
        }
    }
    // What was given up may still be on its way to the device.
    let end = Instant::now() + PATIENT;
    while !script.lock().unwrap().is_empty() && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let rest = script.lock().unwrap().len();
    if rest > 0 {
        out += &format!("{rest} requests were not made\n");
    }
    out + &unplanned.lock().unwrap()
}

/// The context of a call so much later. Silence is waited for 500 ms; what has an answer has time for it.
fn context(later: Duration, script: &Mutex<Script>) -> Cx {
    let silent = matches!(script.lock().unwrap().front(), Some((_, _, None)));
    let timeout = if silent { Duration::from_millis(500) } else { PATIENT };
    Cx::new(Instant::now() + later, timeout, CancellationToken::new())
}

/// Unit and message of each request with its answer; `None` is silence.
type Script = VecDeque<(u8, Vec<u8>, Option<Vec<u8>>)>;

fn script(lines: &[&str]) -> Script {
    let mut script = Script::new();
    for line in lines {
        if let Some(request) = line.strip_prefix("> ") {
            let (unit, message) = request.split_once(": ").unwrap();
            script.push_back((unit.parse().unwrap(), bytes(message), None));
        } else if let Some(answer) = line.strip_prefix("< ").filter(|answer| *answer != "silence") {
            script.back_mut().unwrap().2 = Some(bytes(answer));
        }
    }
    script
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        hex.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| u8::try_from(digit).unwrap()).collect();
    digits.chunks(2).map(|pair| pair[0] * 16 + pair[1]).collect()
}

fn answer(got: &Asked, script: &mut Script, unplanned: &mut String) -> Reply {
    let (unit, message) = (got.frame[6], &got.frame[7..]);
    match script.pop_front() {
        Some((wanted_unit, wanted, answer)) if (wanted_unit, wanted.as_slice()) == (unit, message) => {
            answer.map_or(Reply::Nothing, |answer| Reply::Send(got.answer(&answer)))
        }
        other => {
            let wanted = other.map(|(unit, message, _)| format!("{unit}: {message:02X?}"));
            *unplanned += &format!("request {unit}: {message:02X?}, but the script has {wanted:02X?}\n");
            Reply::Nothing
        }
    }
}

/// Polls a group; the answer is a line per column.
async fn poll(
    session: &mut dyn Session,
    link: &config::Link,
    (device, group): (&str, &str),
    context: impl Fn() -> Cx,
) -> String {
    let device = link.devices.iter().position(|known| known.name.as_str() == device).unwrap();
    let groups = &link.devices[device].profile.groups;
    let group = groups.iter().position(|known| known.name.as_str() == group).unwrap();
    let tags = &groups[group].tags;
    let mut readings = Readings::new(tags.len());
    let end = match rig::poll_with(session, Poll { device, group }, context, &mut readings).await {
        Ok(_) => String::new(),
        Err(lost) => format!("  lost: {lost}\n"),
    };
    let lines: String = tags
        .iter()
        .zip(readings.items())
        .map(|(tag, reading)| match reading {
            Reading::Value(value) | Reading::Doubtful(value, _) => format!("  {} = {value:?}\n", tag.name),
            Reading::Failed(reason) => format!("  {} is bad: {reason}\n", tag.name),
            Reading::Missing => format!("  {} is missing\n", tag.name),
        })
        .collect();
    lines + &end
}

fn tag_of(link: &config::Link, device: &str, tag: &str) -> (Poll, usize) {
    let device = link.devices.iter().position(|known| known.name.as_str() == device).unwrap();
    let groups = &link.devices[device].profile.groups;
    groups
        .iter()
        .enumerate()
        .find_map(|(group, known)| {
            let column = known.tags.iter().position(|known| known.name.as_str() == tag)?;
            Some((Poll { device, group }, column))
        })
        .unwrap()
}

/// A value as it stands in a script.
fn parse(kind: ValueType, text: &str) -> Value {
    if kind.items.is_some() && text.starts_with('[') {
        let items = text.trim_matches(['[', ']']).split(", ");
        return Value::Array(items.map(|item| parse(ValueType::single(kind.kind), item)).collect());
    }
    match kind.kind {
        ValueKind::Bool => Value::Bool(text.parse().unwrap()),
        ValueKind::Int | ValueKind::Uint => Value::Int(text.parse().unwrap()),
        ValueKind::F32 => Value::F32(text.parse().unwrap()),
        ValueKind::F64 => Value::F64(text.parse().unwrap()),
        ValueKind::Text => Value::Text(text.into()),
        ValueKind::Bytes => Value::Bytes(text.as_bytes().into()),
    }
}
