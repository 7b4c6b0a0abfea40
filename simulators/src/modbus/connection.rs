//! One client's connection: takes requests apart, answers them, and spoils the answers as the faults say.

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use tidegate_driver_modbus::UnitId;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    time::{sleep, sleep_until, timeout},
};

use super::{
    faults::{FaultKind, LONGEST_DELAY},
    frame::{self, Parsed, Request},
    operation::{Exception, Operation},
    options::UnknownUnit,
    plan::{Plan, Treatment},
    port::Port,
};

/// Room for received bytes: several requests that a client sent without waiting.
const INPUT_BYTES: usize = 4_096;
/// Answers held back for later, at most.
const MOST_LATE: usize = 64;
/// A client that takes nothing for so long is dropped.
const WRITE_DEADLINE: Duration = Duration::from_secs(30);

/// A connection and everything that belongs to it.
pub(crate) struct Connection {
    stream: TcpStream,
    port: Arc<Port>,
    faults: watch::Receiver<Arc<Plan>>,
    plan: Arc<Plan>,
    input: Box<[u8]>,
    filled: usize,
    output: Vec<u8>,
    /// Answers held back, by the time they are due.
    late: VecDeque<(Duration, Vec<u8>)>,
    /// When the next unsolicited frame is due, and its number.
    flood: Option<(Duration, u16)>,
}

/// Whether the connection goes on after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    GoOn,
    /// Everything that is left to send goes out, then it ends.
    Close,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, port: Arc<Port>, mut faults: watch::Receiver<Arc<Plan>>) -> Connection {
        let plan = Arc::clone(&faults.borrow_and_update());
        Connection {
            stream,
            port,
            faults,
            plan,
            input: vec![0; INPUT_BYTES].into(),
            filled: 0,
            output: Vec::with_capacity(INPUT_BYTES),
            late: VecDeque::new(),
            flood: None,
        }
    }

    /// Serves the client until it goes away. Why it went does not matter to a device.
    pub(crate) async fn run(mut self) {
        while let Ok(Then::GoOn) = self.turn().await {}
    }

    /// Waits for one thing to happen and handles it.
    async fn turn(&mut self) -> io::Result<Then> {
        let wake = self.wake();
        let room = self.input.get_mut(self.filled..).unwrap_or_default();
        tokio::select! {
            biased;
            read = self.stream.read(room) => match read? {
                0 => return Ok(Then::Close),
                read => {
                    self.filled += read;
                    // The very next request meets new faults, also when it comes together with them.
                    if self.faults.has_changed().unwrap_or(false) {
                        self.follow_plan();
                    }
                    let then = self.serve().await?;
                    self.flush().await?;
                    if then == Then::Close {
                        return Ok(then);
                    }
                }
            },
            // The sender lives as long as the simulator; without one there is nothing to follow.
            changed = self.faults.changed() => match changed {
                Ok(()) => self.follow_plan(),
                Err(_) => return Ok(Then::Close),
            },
            () = async { sleep_until(self.port.clock.instant(wake.unwrap_or_default())).await }, if wake.is_some() => {}
        }
        self.send_what_is_due().await?;
        Ok(Then::GoOn)
    }

    /// Takes over new faults.
    fn follow_plan(&mut self) {
        self.plan = Arc::clone(&self.faults.borrow_and_update());
    }

    /// When something is to be done without a request.
    fn wake(&mut self) -> Option<Duration> {
        if self.plan.is_empty() && self.late.is_empty() {
            self.flood = None;
            return None;
        }
        let now = self.port.clock.now();
        match (self.plan.flood(now, self.port.index), self.flood) {
            (None, _) => self.flood = None,
            (Some(_), Some(_)) => {}
            (Some(every), None) => self.flood = Some((now + every, 0)),
        }
        let late = self.late.iter().map(|(due, _)| *due).min();
        let flood = self.flood.map(|(due, _)| due);
        [late, flood, self.plan.next_turn(now, self.port.index)].into_iter().flatten().min()
    }

    /// Sends the late answers and the unsolicited frame whose time has come.
    async fn send_what_is_due(&mut self) -> io::Result<()> {
        if self.late.is_empty() && self.flood.is_none() {
            return Ok(());
        }
        let now = self.port.clock.now();
        for (due, frame) in std::mem::take(&mut self.late) {
            match due <= now {
                true => self.output.extend_from_slice(&frame),
                false => self.late.push_back((due, frame)),
            }
        }
        if let Some((due, number)) = self.flood.filter(|(due, _)| *due <= now) {
            // A frame as a device would send it, with a number that no request has.
            frame::write(&mut self.output, 0xf000 | number, self.port.first_unit().get(), |out| {
                out.extend_from_slice(&[3, 2, 0xde, 0xad]);
            });
            let every = self.plan.flood(now, self.port.index);
            // From the time it was due: a flood keeps its rate, but frames that were missed are not made up for.
            self.flood = every.map(|every| ((due + every).max(now), number.wrapping_add(1) & 0x0fff));
        }
        self.flush().await
    }

    /// Answers all whole requests that have come in.
    async fn serve(&mut self) -> io::Result<Then> {
        // Taken out for a moment: the answers are written while the requests are borrowed. An error ends the connection.
        let mut input = std::mem::take(&mut self.input);
        let mut taken = 0;
        let then = loop {
            match frame::parse(input.get(taken..self.filled).unwrap_or_default()) {
                Parsed::NeedMore => break Then::GoOn,
                Parsed::Broken => break Then::Close,
                Parsed::Frame(request, length) => {
                    taken += length;
                    if self.answer(request).await? == Then::Close {
                        break Then::Close;
                    }
                }
            }
        };
        input.copy_within(taken..self.filled, 0);
        self.filled -= taken;
        self.input = input;
        Ok(then)
    }

    async fn answer(&mut self, request: Request<'_>) -> io::Result<Then> {
        let now = self.port.clock.now();
        let function = request.pdu.first().copied().unwrap_or_default();
        let operation = Operation::parse(function, request.pdu.get(1..).unwrap_or_default());
        let treatment = self.treatment(now, request.unit.into(), &operation);
        let device = self.port.device(request.unit.into());
        if let Some(device) = device {
            device.count_request();
        }
        let done_by = match (treatment.kind, device, self.port.unknown_unit) {
            (Some(FaultKind::Silence), ..) | (_, None, UnknownUnit::Silent) => return Ok(Then::GoOn),
            (Some(FaultKind::Exception { code }), ..) => Err(code),
            (Some(FaultKind::IllegalAddress { .. }), ..) => Err(Exception::IllegalAddress.code()),
            (_, None, UnknownUnit::Exception) => Err(Exception::TargetFailedToRespond.code()),
            (_, Some(device), _) => Ok(device),
        };
        let moment = self.port.clock.moment(now);
        let begin = frame::write(&mut self.output, request.transaction, request.unit, |out| {
            let done = done_by.and_then(|device| {
                let done = operation.and_then(|operation| device.carry_out(function, &operation, moment, out));
                done.map_err(Exception::code)
            });
            if let Err(code) = done {
                out.extend_from_slice(&[function | 0x80, code]);
            }
        });
        if treatment.delay.is_zero() {
            return Ok(self.spoil(begin, treatment.kind));
        }
        let answer = self.output.split_off(begin);
        self.flush().await?;
        sleep(treatment.delay).await;
        self.output.extend_from_slice(&answer);
        Ok(self.spoil(0, treatment.kind))
    }

    /// What happens to the answer of a request to this unit.
    fn treatment(&self, now: Duration, unit: UnitId, operation: &Result<Operation<'_>, Exception>) -> Treatment {
        if self.plan.is_empty() {
            return Treatment::default();
        }
        self.plan.treatment(now, self.port.index, unit, |table, first, count| {
            operation.as_ref().is_ok_and(|operation| operation.touches(table, first, count))
        })
    }

    /// Changes the answer that begins at `begin` of the output.
    fn spoil(&mut self, begin: usize, kind: Option<FaultKind>) -> Then {
        let Some(answer) = self.output.get_mut(begin..) else { return Then::GoOn };
        match (kind, answer) {
            (Some(FaultKind::WrongTransaction), [high, ..]) => *high ^= 0x80,
            (Some(FaultKind::WrongUnit), [_, _, _, _, _, _, unit, ..]) => *unit = unit.wrapping_add(1),
            // 3 becomes 4, 4 becomes 3, and so on: functions that exist.
            (Some(FaultKind::WrongFunction), [_, _, _, _, _, _, _, function, ..]) => *function ^= 7,
            (Some(FaultKind::WrongLength), _) => self.shorten(begin),
            (Some(FaultKind::Cut { bytes }), _) => self.output.truncate(begin + usize::from(bytes)),
            (Some(FaultKind::Close { bytes }), _) => {
                self.output.truncate(begin + usize::from(bytes));
                return Then::Close;
            }
            (Some(FaultKind::Late { by }), _) => {
                let answer = self.output.split_off(begin);
                if self.late.len() < MOST_LATE {
                    self.late.push_back((self.port.clock.now() + by.min(LONGEST_DELAY), answer));
                }
            }
            _ => {}
        }
        Then::GoOn
    }

    /// Takes two bytes of data from the answer, and from its lengths.
    fn shorten(&mut self, begin: usize) {
        // Lengths, unit, function and byte count stay.
        let kept = self.output.len().saturating_sub(2).max(begin + 9).min(self.output.len());
        let gone = u8::try_from(self.output.len() - kept).unwrap_or(0);
        self.output.truncate(kept);
        if let Some([_, _, _, _, _, length, _, function, count, ..]) = self.output.get_mut(begin..) {
            *length = length.saturating_sub(gone);
            if matches!(function, 1..=4 | 23) {
                *count = count.saturating_sub(gone);
            }
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        match timeout(WRITE_DEADLINE, self.stream.write_all(&self.output)).await {
            Ok(written) => written?,
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        }
        self.output.clear();
        Ok(())
    }
}
