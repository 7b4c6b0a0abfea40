//! One open session: each call is one request.

use std::time::Instant;

use tidegate_driver_api::{Cx, Lost, Next, Poll, Readings, Session, Step, Writer, async_trait, model::Reason};

use crate::{
    connection::Connection,
    learned::Course,
    link::TcpLink,
    plan::Block,
    wire::{Answer, Header},
};

/// One open session of a link.
pub(crate) struct TcpSession<'link> {
    pub(crate) link: &'link mut TcpLink,
    pub(crate) connection: Connection,
}

#[async_trait]
impl Session for TcpSession<'_> {
    /// The step is the index of a request in the plan, cut where the device has shown that addresses do not exist.
    async fn read(&mut self, cx: &Cx, poll: Poll, step: Step, out: &mut Readings) -> Result<Next, Lost> {
        let Some((device, transaction)) = self.link.request_to(poll.device) else { return Ok(Next::Done) };
        let header = Header { transaction, unit: device.unit };
        let Some(mut course) = device.course(poll.group) else { return Ok(Next::Done) };
        if step == Step::FIRST {
            course.begin(cx.now());
        }
        let Some((step, block)) = course.next(step.0, out) else {
            course.finish();
            return Ok(Next::Done);
        };
        let request = block.request();
        let answer = match self.connection.exchange(cx, header, &request, course.quirks.turnaround).await {
            Ok(answer) => answer,
            Err(fault) => return Err(fault.lost(&device.describe(), &request.to_string(), cx.timeout())),
        };
        let Some(next) = note(&mut course, (step, block), answer, cx.now(), out) else { return Ok(Next::Done) };
        Ok(match course.next(next, out) {
            Some((step, _)) => Next::Request(Step(step)),
            None => {
                course.finish();
                Next::Done
            }
        })
    }

    fn writer(&mut self) -> Option<&mut dyn Writer> {
        Some(self)
    }
}

/// Notes what came of a step in `out` and in what is learned; returns the step to go on with, `None` when the poll is over.
fn note(
    course: &mut Course<'_>,
    (step, block): (usize, Block),
    answer: Answer<'_>,
    now: Instant,
    out: &mut Readings,
) -> Option<usize> {
    let exception = match answer {
        Answer::Data(data) => {
            course.requests.decode(&block, data, out);
            course.answered(step);
            return Some(step + 1);
        }
        Answer::Exception(exception) => exception,
        // `Answer::read` looks at the request and never says this of a read.
        Answer::Written => {
            course.requests.fail(&block, Reason::DeviceFault, out);
            return Some(step + 1);
        }
    };
    tracing::debug!(device = %course.device, request = %block.request(), %exception, "the device answered with an exception");
    if exception.is_unreachable() {
        // A gateway says so of a dead device at once; what else would be asked now would get the same answer.
        course.requests.fail_missing(Reason::Timeout, out);
        return None;
    }
    if course.quirks.bad_address_codes.contains(&exception.code()) {
        return Some(course.refused(step, now, out));
    }
    course.requests.fail(&block, Reason::DeviceFault, out);
    Some(step + 1)
}
