//! One TCP connection: a request out, its answer back, and nothing else ever taken for it.

use std::{io, pin::Pin, time::Duration};

use tidegate_driver_api::Cx;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Sleep, sleep},
};

use crate::{
    fault::Fault,
    wire::{Answer, Header, LONGEST_REQUEST, Request},
};

/// Room for what is received. More than the longest message: a read that fills less than the room tells the runtime that
/// nothing more is there, which saves it a system call.
const ROOM: usize = 512;

/// One open connection.
pub(crate) struct Connection {
    stream: TcpStream,
    /// The request; here and not in the future of a call, which is allocated for each.
    sent: Box<[u8; LONGEST_REQUEST]>,
    received: Box<[u8; ROOM]>,
    /// Whether the last exchange came to its end. Between its beginning and its end a call may be dropped; the connection is
    /// then useless, because the answer can still come.
    intact: bool,
    /// Whether more came than the last answer.
    surplus: bool,
    /// The time for which the line stays silent.
    quiet: Option<Pin<Box<Sleep>>>,
}

impl Connection {
    /// Takes over a connection on which nothing has been sent yet.
    pub(crate) fn new(stream: TcpStream) -> Connection {
        Connection {
            stream,
            sent: Box::new([0; LONGEST_REQUEST]),
            received: Box::new([0; ROOM]),
            intact: true,
            surplus: false,
            quiet: None,
        }
    }

    /// Sends a request and returns its answer. Afterwards the line stays silent for `turnaround`.
    ///
    /// # Errors
    ///
    /// [`Fault`]; the connection must not be used any more.
    pub(crate) async fn exchange(
        &mut self,
        cx: &Cx,
        header: Header,
        request: &Request<'_>,
        turnaround: Duration,
    ) -> Result<Answer<'_>, Fault> {
        if !std::mem::replace(&mut self.intact, false) {
            return Err(Fault::Abandoned);
        }
        let end = cx.within(self.transfer(header, request)).await??;
        let (message, _) = header.split(self.received.get(..end).unwrap_or_default())?.ok_or(Fault::Silent)?;
        let answer = Answer::read(request, message)?;
        if !turnaround.is_zero() {
            self.quiet = Some(Box::pin(sleep(turnaround)));
        }
        self.intact = true;
        Ok(answer)
    }

    /// Sends a request and waits until its answer is there; returns how many bytes have come.
    async fn transfer(&mut self, header: Header, request: &Request<'_>) -> Result<usize, Fault> {
        if let Some(quiet) = self.quiet.take() {
            quiet.await;
        }
        self.expect_silence()?;
        let frame = request.encode(header, &mut self.sent).ok_or(Fault::TooLong)?;
        self.stream.write_all(frame).await?;
        let mut filled = 0;
        loop {
            let room = self.received.get_mut(filled..).unwrap_or_default();
            let count = self.stream.read(room).await?;
            if count == 0 {
                return Err(Fault::Closed);
            }
            filled += count;
            if let Some((_, end)) = header.split(self.received.get(..filled).unwrap_or_default())? {
                self.surplus = filled > end;
                return Ok(filled);
            }
        }
    }

    /// Fails when something has come since the last answer: it can only be an answer that somebody has given up, or noise.
    /// Costs no system call as long as nothing has.
    fn expect_silence(&mut self) -> Result<(), Fault> {
        if self.surplus {
            return Err(Fault::Unasked);
        }
        match self.stream.try_read(&mut self.received[..]) {
            Ok(0) => Err(Fault::Closed),
            Ok(_) => Err(Fault::Unasked),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
