//! Carrying out a write: at most once, before its time is up, and never called failed when it is unknown.

use tidegate_driver_api::{Cx, Lost, Poll, Session, Written};
use tidegate_model::TagName;
use tokio_util::sync::CancellationToken;

use crate::{
    command::{WriteError, WriteItem, WriteOrder},
    link::LinkTask,
    poll::reason_of,
    supervise,
};

/// What is answered for a device that is left alone.
pub(crate) const LEFT_ALONE: &str = "the device does not answer and is left alone until its next try";

/// Writes the tags of an order one after the other and answers it, unless it has been given up by its sender.
///
/// # Errors
///
/// [`Lost`] when the session is over; the order has been answered by then.
pub(crate) async fn carry_out(task: &mut LinkTask, session: &mut dyn Session, order: WriteOrder) -> Result<(), Lost> {
    if !order.claim.take() {
        return Ok(());
    }
    let WriteOrder { device, items, expires, reply, .. } = order;
    let mut errors = Vec::new();
    let mut lost = None;
    for item in items {
        let written = match why_not(task, device, expires, lost.is_some()) {
            Some(why) => Err(WriteError::NotSent(why.to_owned())),
            None => {
                let written = one(task, session, device, &item, &mut lost).await;
                if matches!(written, Ok(()) | Err(WriteError::Unknown(_))) {
                    task.written(session, Poll { device, group: item.group });
                }
                written
            }
        };
        if let Err(error) = written {
            errors.push((item.tag, error));
        }
    }
    // Nobody waits for the answer any more: nothing to do.
    let _ = reply.send(errors);
    match lost {
        None => Ok(()),
        Some(lost) => Err(lost),
    }
}

/// Why nothing is sent to the device now, if so.
fn why_not(task: &LinkTask, device: usize, expires: std::time::Instant, lost: bool) -> Option<&'static str> {
    let now = task.emitter.clock.now();
    if lost {
        Some("the connection was lost before")
    } else if task.cancel.is_cancelled() {
        Some("the link is being stopped")
    } else if now >= expires {
        Some(TOO_LATE)
    } else if task.devices.get(device).is_some_and(|device| !device.breaker.allows(now)) {
        Some(LEFT_ALONE)
    } else {
        None
    }
}

/// What is answered when nothing was sent in time.
pub(crate) const TOO_LATE: &str = "its time to live was over";

/// Writes one tag.
async fn one(
    task: &mut LinkTask,
    session: &mut dyn Session,
    device: usize,
    item: &WriteItem,
    session_lost: &mut Option<Lost>,
) -> Result<(), WriteError> {
    let Some(writer) = session.writer() else {
        return Err(WriteError::NotSent("the driver of this link cannot write".to_owned()));
    };
    task.emitter.counters.writes.add(1);
    // A stop does not cut a write short: the answer would be lost, and with it what is known of the device.
    let cx = Cx::new(task.emitter.clock.now(), task.times.timeout, CancellationToken::new());
    let poll = Poll { device, group: item.group };
    let call = async { writer.write(&cx, poll, item.column, &item.raw).await };
    let result = supervise::call(&mut task.alarm, &cx, call).await;
    let result = match result.unwrap_or_else(|given_up| Err(task.given_up(&given_up))) {
        Ok(written) => {
            task.memory.used = Some(task.emitter.clock.now());
            match written {
                Written::Confirmed => return Ok(()),
                Written::Refused(why) => WriteError::RefusedByDevice(why),
                Written::Unknown(why) => WriteError::Unknown(why),
            }
        }
        Err(lost) => {
            task.device_failed(device, reason_of(lost.cause));
            let error = WriteError::Unknown(lost.detail.clone());
            *session_lost = Some(lost);
            error
        }
    };
    task.emitter.counters.failed_writes.add(1);
    Err(result)
}

/// Answers an order that cannot be sent.
pub(crate) fn refuse(order: WriteOrder, why: &str) {
    // Nobody waits for the answer any more: nothing to do.
    let _ = order.reply.send(not_sent(order.items.into_iter().map(|item| item.tag), why));
}

/// The answer for tags that were not sent.
pub(crate) fn not_sent(tags: impl Iterator<Item = TagName>, why: &str) -> Vec<(TagName, WriteError)> {
    tags.map(|tag| (tag, WriteError::NotSent(why.to_owned()))).collect()
}
