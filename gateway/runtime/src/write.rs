//! Carrying out a write: at most once, before its time is up, and never called failed when it is unknown.

use tidegate_driver_api::{Lost, Poll, Session, Written};
use tidegate_model::TagName;

use crate::{
    command::{WriteError, WriteItem, WriteOrder},
    link::LinkTask,
};

/// Writes the tags of an order one after the other and answers it.
///
/// # Errors
///
/// [`Lost`] when the session is over; the order has been answered by then.
pub(crate) async fn carry_out(task: &mut LinkTask, session: &mut dyn Session, order: WriteOrder) -> Result<(), Lost> {
    let WriteOrder { device, items, expires, reply } = order;
    let mut errors = Vec::new();
    let mut lost = None;
    if let Some(why) = left_alone(task, device) {
        errors = refusals(items, &why);
    } else {
        for item in items {
            if lost.is_some() {
                errors.push((item.tag, WriteError::NotSent("the connection was lost before".to_owned())));
            } else if task.emitter.clock.now() >= expires {
                errors.push((item.tag, WriteError::NotSent("its time to live was over".to_owned())));
            } else if let Err(error) = one(task, session, device, &item, &mut lost).await {
                errors.push((item.tag, error));
            }
        }
    }
    task.emitter.counters.failed_writes.add(u64::try_from(errors.len()).unwrap_or(u64::MAX));
    // Nobody waits for the answer any more: nothing to do.
    let _ = reply.send(errors);
    match lost {
        None => Ok(()),
        Some(lost) => Err(lost),
    }
}

/// Writes one tag.
async fn one(
    task: &mut LinkTask,
    session: &mut dyn Session,
    device: usize,
    item: &WriteItem,
    session_lost: &mut Option<Lost>,
) -> Result<(), WriteError> {
    let cx = task.cx(task.times.timeout);
    let Some(writer) = session.writer() else {
        return Err(WriteError::NotSent("the driver of this link cannot write".to_owned()));
    };
    task.emitter.counters.writes.add(1);
    let poll = Poll { device, group: item.group };
    match writer.write(&cx, poll, item.column, &item.raw).await {
        Ok(Written::Confirmed) => Ok(()),
        Ok(Written::Refused(why)) => Err(WriteError::RefusedByDevice(why)),
        Ok(Written::Unknown(why)) => Err(WriteError::Unknown(why)),
        Err(lost) => {
            if let Some(device) = task.devices.get_mut(device) {
                device.failed(tidegate_model::Reason::Timeout, task.emitter.clock.now(), &task.emitter);
            }
            let error = WriteError::Unknown(lost.detail.clone());
            *session_lost = Some(lost);
            Err(error)
        }
    }
}

/// Why nothing is sent to this device now, if it is being left alone.
fn left_alone(task: &LinkTask, device: usize) -> Option<String> {
    let device = task.devices.get(device)?;
    (!device.breaker.allows(task.emitter.clock.now()))
        .then(|| "the device does not answer and is left alone until its next try".to_owned())
}

/// Answers an order that cannot be sent.
pub(crate) fn refuse(order: WriteOrder, why: &str) {
    // Nobody waits for the answer any more: nothing to do.
    let _ = order.reply.send(refusals(order.items, why));
}

fn refusals(items: Vec<WriteItem>, why: &str) -> Vec<(TagName, WriteError)> {
    items.into_iter().map(|item| (item.tag, WriteError::NotSent(why.to_owned()))).collect()
}
