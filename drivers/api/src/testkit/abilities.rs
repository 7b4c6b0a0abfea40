//! The checks of what only some drivers can do.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use tidegate_config::{Report, Source, parse_profile};
use tidegate_model::Reading;

use super::{
    Behaviour, Harness, PATIENT, SHORT,
    checks::{Result, compile, connect, ensure, in_time},
    within,
};
use crate::{Arrival, Listing, Poll, Readings, Subscriber};

/// So long a call may wait before it is dropped: too short for an answer that is not there yet.
const IMPATIENT: Duration = Duration::from_millis(2);

pub(super) async fn arrivals_are_complete(harness: &dyn Harness) -> Result {
    let Some(poll) = harness.subscribed() else { return Ok(()) };
    let rig = harness.start(Behaviour::Healthy).await;
    let mut compiled = compile(harness, &rig.link)?;
    let groups = compiled.devices.get(poll.device).map(|device| device.groups.clone());
    let columns = groups.and_then(|groups| groups.get(poll.group).map(|plan| plan.kinds.len())).unwrap_or(0);
    let mut session = connect(&mut compiled).await?;
    let subscriber = session.subscriber().ok_or("it has no subscriber")?;
    let mut came = vec![Reading::Missing; columns];
    let mut last = Instant::now();
    while let Some(column) = missing(harness, poll, &came) {
        if take(subscriber, poll, &mut came).await? {
            last = Instant::now();
        }
        // What a device has to say when a session begins comes without a pause as long as that.
        ensure(last.elapsed() < PATIENT, || {
            format!("column {column} of {poll:?} has not come, but {:?}", came.get(column))
        })?;
    }
    Ok(())
}

/// One call, which is dropped when it waits. Whether something came.
async fn take(subscriber: &mut dyn Subscriber, wanted: Poll, came: &mut [Reading]) -> Result<bool> {
    let mut out = Readings::default();
    let cx = within(PATIENT);
    match tokio::time::timeout(IMPATIENT, subscriber.next(&cx, &mut out)).await {
        Ok(Ok(Arrival::Row(poll))) if poll == wanted => {
            ensure(out.items().len() == came.len(), || format!("a row has {} columns", out.items().len()))?;
            for (came, reading) in came.iter_mut().zip(out.items()) {
                if !matches!(reading, Reading::Missing) {
                    came.clone_from(reading);
                }
            }
            Ok(true)
        }
        Ok(Ok(_)) | Err(_) => Ok(false),
        Ok(Err(lost)) => Err(lost.to_string()),
    }
}

/// The first column that has not come as it should.
fn missing(harness: &dyn Harness, poll: Poll, came: &[Reading]) -> Option<usize> {
    came.iter().enumerate().position(|(column, reading)| match (harness.expected(poll, column), reading) {
        (None, _) => false,
        (Some(expected), Reading::Value(value)) => !expected.same_as(value),
        (Some(_), _) => true,
    })
}

pub(super) async fn waiting_ends(harness: &dyn Harness) -> Result {
    let Some(poll) = harness.subscribed() else { return Ok(()) };
    let rig = harness.start(Behaviour::Healthy).await;
    let mut compiled = compile(harness, &rig.link)?;
    let mut session = connect(&mut compiled).await?;
    let subscriber = session.subscriber().ok_or("it has no subscriber")?;
    let began = Instant::now();
    let mut out = Readings::default();
    // What comes at the beginning comes first.
    while began.elapsed() < PATIENT {
        let called = Instant::now();
        let arrival = subscriber.next(&within(SHORT), &mut out).await.map_err(|lost| lost.to_string())?;
        in_time(called, SHORT)?;
        if arrival == Arrival::Nothing {
            return Ok(());
        }
    }
    Err(format!("the device of {poll:?} never stops to send"))
}

pub(super) async fn list_makes_a_profile(harness: &dyn Harness) -> Result {
    if !harness.driver().capabilities().browse {
        return Ok(());
    }
    let rig = harness.start(Behaviour::Healthy).await;
    let mut compiled = compile(harness, &rig.link)?;
    let mut session = connect(&mut compiled).await?;
    let browser = session.browser().ok_or("it has no browser")?;
    let mut found = Vec::new();
    browser.begin(None);
    loop {
        match browser.list(&within(PATIENT), &mut found).await.map_err(|lost| lost.to_string())? {
            Listing::More(_) => {}
            Listing::Complete => break,
            Listing::Refused(why) => return Err(format!("the device refuses to be listed: {why}")),
        }
    }
    let ids: HashSet<&str> = found.iter().map(|node| node.id.as_str()).collect();
    ensure(!found.is_empty() && ids.len() == found.len(), || format!("{} nodes, {} ids", found.len(), ids.len()))?;
    let text = browser.profile(&found)?;
    let mut report = Report::new();
    let profile = parse_profile(&Source::new("profile.toml", text), &mut report);
    let profile = std::sync::Arc::new(profile);
    let planned = harness.driver().plan(&profile, &mut report).is_some();
    profile.finish(&mut report);
    ensure(planned && !report.has_errors(), || report.render())
}
