//! One open session: each call is one request.

use tidegate_driver_api::{Cx, Lost, Next, Poll, Readings, Session, Step, Writer, async_trait, model::Reason};

use crate::{
    connection::Connection,
    link::TcpLink,
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
        let next = match answer {
            Answer::Data(data) => {
                course.requests.decode(&block, data, out);
                course.answered(step);
                step + 1
            }
            // A gateway says so of a dead device at once; what else would be asked now would get the same answer.
            Answer::Exception(exception) if exception.is_unreachable() => {
                course.requests.fail_missing(Reason::Timeout, out);
                return Ok(Next::Done);
            }
            Answer::Exception(exception) if course.quirks.bad_address_codes.contains(&exception.code()) => {
                course.refused(step, cx.now(), out)
            }
            Answer::Exception(_) | Answer::Written => {
                course.requests.fail(&block, Reason::DeviceFault, out);
                step + 1
            }
        };
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
