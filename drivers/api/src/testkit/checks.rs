//! The checks of the suite, one function each.

use std::time::{Duration, Instant};

use tidegate_config::{Access, Link as Configured, Report};
use tidegate_model::{Reading, Value, ValueKind, ValueType};
use tokio_util::sync::CancellationToken;

use super::{Behaviour, Harness, LONG, PATIENT, SHORT, SLACK, ScriptedDevice, within};
use crate::{Cause, Compiled, Cx, Lost, Next, Poll, Readings, Session, Step, Written};

pub(super) type Result<T = ()> = std::result::Result<T, String>;

const FIRST: Poll = Poll { device: 0, group: 0 };

pub(super) async fn plans_are_alike(harness: &dyn Harness) -> Result {
    let rig = harness.start(Behaviour::Healthy).await;
    let first = plans(compile(harness, &rig.link)?);
    let second = plans(compile(harness, &rig.link)?);
    ensure(first == second, || format!("first {first:?}, then {second:?}"))?;
    for (device, plan) in rig.link.devices.iter().zip(&first) {
        let alone = harness.driver().plan(&device.profile, &mut Report::new()).map(|groups| format!("{groups:?}"));
        ensure(alone.as_ref() == Some(plan), || {
            format!("{} alone is {alone:?}, in its link {plan}", device.profile.path)
        })?;
    }
    Ok(())
}

/// The plan of each device, to compare.
fn plans(compiled: Compiled) -> Vec<String> {
    compiled.devices.iter().map(|device| format!("{:?}", device.groups)).collect()
}

pub(super) async fn poll_is_complete(harness: &dyn Harness) -> Result {
    let rig = harness.start(Behaviour::Healthy).await;
    let mut compiled = compile(harness, &rig.link)?;
    let plans: Vec<_> = compiled.devices.iter().map(|device| device.groups.clone()).collect();
    let mut session = connect(&mut compiled).await?;
    for (device, groups) in plans.iter().enumerate() {
        for (group, plan) in groups.iter().enumerate() {
            let poll = Poll { device, group };
            let mut out = Readings::new(plan.kinds.len());
            // Twice: what the first poll leaves behind must not disturb the second.
            for _ in 0..2 {
                out.reset(plan.kinds.len());
                let requests =
                    read_all(session.as_mut(), poll, PATIENT, &mut out).await.map_err(|lost| lost.to_string())?;
                ensure(requests == plan.requests, || {
                    format!("{requests} requests, but {} were planned", plan.requests)
                })?;
                compare(harness, &rig.link, poll, &plan.kinds, &out)?;
            }
        }
    }
    Ok(())
}

pub(super) async fn connects_again(harness: &dyn Harness) -> Result {
    let rig = harness.start(Behaviour::Healthy).await;
    let mut compiled = compile(harness, &rig.link)?;
    for _ in 0..3 {
        let mut out = readings(&compiled);
        let mut session = connect(&mut compiled).await?;
        read_all(session.as_mut(), FIRST, PATIENT, &mut out).await.map_err(|lost| lost.to_string())?;
        drop(session);
        closed(rig.device.as_ref()).await?;
    }
    Ok(())
}

pub(super) async fn refusal_is_a_fault(harness: &dyn Harness) -> Result {
    let rig = harness.start(Behaviour::Refusing).await;
    let mut compiled = compile(harness, &rig.link)?;
    for _ in 0..2 {
        let begun = Instant::now();
        match compiled.link.connect(&within(SHORT)).await {
            Ok(_) => return Err("a session was opened".to_owned()),
            Err(fault) => ensure(!fault.detail.is_empty(), || "the fault says nothing to a person".to_owned())?,
        }
        in_time(begun, SHORT)?;
        closed(rig.device.as_ref()).await?;
    }
    Ok(())
}

pub(super) async fn silence_is_a_timeout(harness: &dyn Harness) -> Result {
    let rig = harness.start(Behaviour::Silent).await;
    let mut compiled = compile(harness, &rig.link)?;
    let mut out = readings(&compiled);
    let begun = Instant::now();
    // A protocol with a greeting is silent from the start.
    match compiled.link.connect(&within(SHORT)).await {
        Err(fault) => ensure(fault.cause == Cause::Timeout, || fault.to_string())?,
        Ok(mut session) => match session.read(&within(SHORT), FIRST, Step::FIRST, &mut out).await {
            Err(lost) => ensure(lost.cause == Cause::Timeout, || lost.to_string())?,
            Ok(next) => return Err(format!("the call returned {next:?}")),
        },
    }
    in_time(begun, SHORT * 2)?;
    ensure(values(&out) == 0, || format!("values came from nowhere: {:?}", out.items()))?;
    closed(rig.device.as_ref()).await
}

pub(super) async fn cancel_ends_at_once(harness: &dyn Harness) -> Result {
    let rig = harness.start(Behaviour::SilentAfter(1)).await;
    let mut compiled = compile(harness, &rig.link)?;
    let mut out = readings(&compiled);
    let mut session = connect(&mut compiled).await?;
    let second = first_of_two(session.as_mut(), &mut out).await?;
    let cancel = CancellationToken::new();
    let cx = Cx::new(Instant::now(), LONG, cancel.clone());
    let work = session.read(&cx, FIRST, second, &mut out);
    let stop = async {
        // Not before the device has the request that it will not answer.
        let asked = until(|| rig.device.requests() >= 2).await;
        cancel.cancel();
        (asked, Instant::now())
    };
    let (result, (asked, cancelled)) = tokio::join!(work, stop);
    ensure(asked, || "the device has not got the second request".to_owned())?;
    match result {
        Ok(_) => return Err("the call brought an answer".to_owned()),
        Err(lost) => ensure(lost.cause == Cause::Cancelled, || lost.to_string())?,
    }
    at_once(cancelled)
}

pub(super) async fn half_a_poll_counts(harness: &dyn Harness) -> Result {
    let rig = harness.start(Behaviour::SilentAfter(1)).await;
    let mut compiled = compile(harness, &rig.link)?;
    let mut out = readings(&compiled);
    let mut session = connect(&mut compiled).await?;
    let second = first_of_two(session.as_mut(), &mut out).await?;
    match session.read(&within(SHORT), FIRST, second, &mut out).await {
        Ok(_) => return Err("the call brought an answer".to_owned()),
        Err(lost) => ensure(lost.cause == Cause::Timeout, || lost.to_string())?,
    }
    let polled = polled(&rig.link, FIRST);
    let values = values(&out);
    ensure(values > 0 && values < polled, || format!("{values} of {polled} columns have values"))
}

pub(super) async fn closing_is_noticed(harness: &dyn Harness) -> Result {
    let rig = harness.start(Behaviour::ClosedAfter(1)).await;
    let mut compiled = compile(harness, &rig.link)?;
    let mut out = readings(&compiled);
    let mut session = connect(&mut compiled).await?;
    let second = first_of_two(session.as_mut(), &mut out).await?;
    let begun = Instant::now();
    match session.read(&within(LONG), FIRST, second, &mut out).await {
        Ok(_) => return Err("the call brought an answer".to_owned()),
        Err(lost) => ensure(lost.cause == Cause::Closed, || lost.to_string())?,
    }
    at_once(begun)
}

pub(super) async fn dropped_call_is_closed(harness: &dyn Harness) -> Result {
    let rig = harness.start(Behaviour::SilentAfter(1)).await;
    let mut compiled = compile(harness, &rig.link)?;
    let mut out = readings(&compiled);
    let mut session = connect(&mut compiled).await?;
    let dropped = tokio::time::timeout(SHORT, read_all(session.as_mut(), FIRST, PATIENT, &mut out)).await;
    ensure(dropped.is_err(), || format!("the poll ended: {dropped:?}"))?;
    drop(session);
    closed(rig.device.as_ref()).await?;
    out.reset(out.items().len());
    let mut session = connect(&mut compiled).await?;
    let first = session.read(&within(PATIENT), FIRST, Step::FIRST, &mut out).await;
    ensure(first.is_ok() && values(&out) > 0, || format!("the next session brought {first:?}"))
}

pub(super) async fn capabilities_are_true(harness: &dyn Harness) -> Result {
    let rig = harness.start(Behaviour::Healthy).await;
    let mut compiled = compile(harness, &rig.link)?;
    let claims = harness.driver().capabilities();
    let mut session = connect(&mut compiled).await?;
    let writes = session.writer().is_some();
    ensure(writes == claims.write, || format!("it claims {claims:?}, but has a writer: {writes}"))?;
    ensure(harness.write().is_some() == claims.write, || "the harness has no tag to write".to_owned())?;
    let subscribes = session.subscriber().is_some();
    ensure(subscribes == claims.subscribe, || format!("it claims {claims:?}, but has a subscriber: {subscribes}"))?;
    let subscribed = harness.subscribed();
    ensure(subscribed.is_some() == claims.subscribe, || "the harness has no group to subscribe to".to_owned())?;
    if let Some(poll) = subscribed {
        ensure(session.delivers(poll), || format!("it does not deliver {poll:?}"))?;
    }
    let browses = session.browser().is_some();
    ensure(browses == claims.browse, || format!("it claims {claims:?}, but has a browser: {browses}"))
}

pub(super) async fn write_is_confirmed(harness: &dyn Harness) -> Result {
    let Some((poll, column, value)) = harness.write() else { return Ok(()) };
    let rig = harness.start(Behaviour::Healthy).await;
    let mut compiled = compile(harness, &rig.link)?;
    let mut session = connect(&mut compiled).await?;
    let written = write(session.as_mut(), PATIENT, poll, column, &value).await?;
    ensure(written == Ok(Written::Confirmed), || format!("{written:?}"))?;
    once(rig.device.as_ref())?;
    // A tag that nobody may write is refused before anything is sent.
    let nowhere = write(session.as_mut(), PATIENT, poll, usize::MAX, &value).await?;
    ensure(matches!(nowhere, Ok(Written::Refused(_))), || format!("a column that does not exist: {nowhere:?}"))?;
    once(rig.device.as_ref())
}

pub(super) async fn lost_write_was_sent_once(harness: &dyn Harness) -> Result {
    let Some((poll, column, value)) = harness.write() else { return Ok(()) };
    let rig = harness.start(Behaviour::SilentAfter(1)).await;
    let mut compiled = compile(harness, &rig.link)?;
    let mut out = readings(&compiled);
    let mut session = connect(&mut compiled).await?;
    session.read(&within(PATIENT), FIRST, Step::FIRST, &mut out).await.map_err(|lost| lost.to_string())?;
    let begun = Instant::now();
    let written = write(session.as_mut(), SHORT, poll, column, &value).await?;
    ensure(matches!(written, Err(_) | Ok(Written::Unknown(_))), || format!("{written:?}"))?;
    in_time(begun, SHORT)?;
    drop(session);
    // Only when the device has seen everything, also what was sent last, are its writes counted.
    until(|| rig.device.writes() > 0).await;
    closed(rig.device.as_ref()).await?;
    once(rig.device.as_ref())
}

async fn write(
    session: &mut dyn Session,
    timeout: Duration,
    poll: Poll,
    column: usize,
    value: &Value,
) -> Result<std::result::Result<Written, Lost>> {
    let writer = session.writer().ok_or("it claims to write, but has no writer")?;
    Ok(writer.write(&within(timeout), poll, column, value).await)
}

fn once(device: &dyn ScriptedDevice) -> Result {
    ensure(device.writes() == 1, || format!("the device got {} writes", device.writes()))
}

pub(super) fn compile(harness: &dyn Harness, link: &Configured) -> Result<Compiled> {
    let mut report = Report::new();
    let compiled = harness.driver().compile(link, &mut report);
    ensure(!report.has_errors(), || report.render())?;
    let compiled = compiled.ok_or("it did not compile, and reported no mistake")?;
    ensure(compiled.devices.len() == link.devices.len(), || "a device is missing".to_owned())?;
    Ok(compiled)
}

pub(super) async fn connect(compiled: &mut Compiled) -> Result<Box<dyn Session + '_>> {
    compiled.link.connect(&within(PATIENT)).await.map_err(|fault| format!("no session: {fault}"))
}

/// Makes the first request of a poll that needs more; returns the next.
async fn first_of_two(session: &mut dyn Session, out: &mut Readings) -> Result<Step> {
    match session.read(&within(PATIENT), FIRST, Step::FIRST, out).await {
        Ok(Next::Request(second)) => Ok(second),
        Ok(Next::Done) => Err("the poll came to its end; its group needs two requests for this".to_owned()),
        Err(lost) => Err(lost.to_string()),
    }
}

/// Polls from the first request to the last; returns how many there were.
async fn read_all(
    session: &mut dyn Session,
    poll: Poll,
    timeout: Duration,
    out: &mut Readings,
) -> std::result::Result<u32, Lost> {
    let mut step = Step::FIRST;
    let mut requests = 1;
    while let Next::Request(next) = session.read(&within(timeout), poll, step, out).await? {
        step = next;
        requests += 1;
    }
    Ok(requests)
}

fn readings(compiled: &Compiled) -> Readings {
    let plan = compiled.devices.first().and_then(|device| device.groups.first());
    Readings::new(plan.map_or(0, |plan| plan.kinds.len()))
}

fn values(out: &Readings) -> usize {
    out.items().iter().filter(|reading| matches!(reading, Reading::Value(_))).count()
}

/// Columns of a group that are polled.
fn polled(link: &Configured, poll: Poll) -> usize {
    let group = link.devices.get(poll.device).and_then(|device| device.profile.groups.get(poll.group));
    group.map_or(0, |group| group.tags.iter().filter(|tag| tag.access != Access::Write).count())
}

/// Compares every column with what the device holds, and with the type that was announced.
fn compare(
    harness: &dyn Harness,
    link: &Configured,
    poll: Poll,
    kinds: &[Option<ValueType>],
    out: &Readings,
) -> Result {
    ensure(polled(link, poll) > 0, || format!("{poll:?} has no tag that is polled"))?;
    for (column, (reading, kind)) in out.items().iter().zip(kinds).enumerate() {
        match (harness.expected(poll, column), reading) {
            (None, Reading::Missing) => {}
            (Some(expected), Reading::Value(value)) if expected.same_as(value) => {
                let fits = kind.is_some_and(|kind| fits(value, kind));
                ensure(fits, || format!("column {column} was announced as {kind:?}, but is {value:?}"))?;
            }
            (expected, reading) => return Err(format!("{poll:?} column {column}: {reading:?}, not {expected:?}")),
        }
    }
    Ok(())
}

/// Whether a value is of the type.
fn fits(value: &Value, kind: ValueType) -> bool {
    let single = |value: &Value| match value {
        Value::Bool(_) => kind.kind == ValueKind::Bool,
        Value::Int(_) => kind.kind == ValueKind::Int,
        Value::Uint(_) => kind.kind == ValueKind::Uint,
        Value::F32(_) => kind.kind == ValueKind::F32,
        Value::F64(_) => kind.kind == ValueKind::F64,
        Value::Text(_) => kind.kind == ValueKind::Text,
        Value::Bytes(_) => kind.kind == ValueKind::Bytes,
        Value::Array(_) => false,
    };
    match (value, kind.items) {
        (Value::Array(items), Some(count)) => u32::try_from(items.len()) == Ok(count) && items.iter().all(single),
        (value, None) => single(value),
        (_, Some(_)) => false,
    }
}

/// Waits until the device has no connection open.
async fn closed(device: &dyn ScriptedDevice) -> Result {
    ensure(until(|| device.open_connections() == 0).await, || "a connection was left open".to_owned())
}

/// Waits until it is so, as long as a device that works may take; whether it is.
async fn until(mut so: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while !so() {
        if begun.elapsed() >= PATIENT {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    true
}

/// Fails when what may take [`LONG`] was not ended by what happened at `begun`.
fn at_once(begun: Instant) -> Result {
    let took = begun.elapsed();
    ensure(took < PATIENT, || format!("it took {} ms", took.as_millis()))
}

pub(super) fn in_time(begun: Instant, allowed: Duration) -> Result {
    let took = begun.elapsed();
    ensure(took < allowed + SLACK, || format!("it took {} ms", took.as_millis()))
}

pub(super) fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result {
    if holds { Ok(()) } else { Err(otherwise()) }
}
