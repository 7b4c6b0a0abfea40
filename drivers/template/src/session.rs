//! One connection and the devices behind it; each call is one request.

use std::{io, sync::Arc};

use tidegate_driver_api::{
    ConnectFault, Cx, Link, Lost, Next, Poll, Readings, Session, Step, Writer, Written, async_trait,
    config::Access,
    model::{Name, Reason, Value},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    fault::Fault,
    plan::{Group, Item},
    wire::{self, LONGEST_LINE},
};

/// One endpoint with the devices behind it, compiled.
pub(crate) struct LineLink {
    pub(crate) address: String,
    /// The name and the groups of each device.
    pub(crate) devices: Vec<(Name, Arc<[Group]>)>,
}

#[async_trait]
impl Link for LineLink {
    async fn connect<'link>(&'link mut self, cx: &Cx) -> Result<Box<dyn Session + 'link>, ConnectFault> {
        let opened = async { Ok::<_, Fault>(cx.within(TcpStream::connect(&self.address)).await??) };
        match opened.await {
            Ok(stream) => Ok(Box::new(LineSession { link: self, stream })),
            Err(fault) => Err(fault.not_connected(&self.address)),
        }
    }
}

struct LineSession<'link> {
    link: &'link mut LineLink,
    stream: TcpStream,
}

#[async_trait]
impl Session for LineSession<'_> {
    /// The step is the index of a polled tag.
    async fn read(&mut self, cx: &Cx, poll: Poll, step: Step, out: &mut Readings) -> Result<Next, Lost> {
        let Some((device, group)) = target(self.link, poll) else { return Ok(Next::Done) };
        let mut items = group.polled().skip(step.0);
        let Some(item) = items.next() else { return Ok(Next::Done) };
        let request = wire::read(&item.name);
        let answer = exchange(&mut self.stream, cx, item, &request).await;
        match answer.map_err(|fault| fault.lost(device, &request))?.as_str() {
            wire::NO_SUCH_ITEM => out.fail(item.column, Reason::BadAddress),
            text => match text.parse() {
                Ok(number) => out.set(item.column, Value::F64(number)),
                Err(_) => out.fail(item.column, Reason::InvalidValue),
            },
        }
        Ok(if items.next().is_some() { Next::Request(Step(step.0 + 1)) } else { Next::Done })
    }

    fn writer(&mut self) -> Option<&mut dyn Writer> {
        Some(self)
    }
}

#[async_trait]
impl Writer for LineSession<'_> {
    async fn write(&mut self, cx: &Cx, poll: Poll, column: usize, raw: &Value) -> Result<Written, Lost> {
        let Some((device, group)) = target(self.link, poll) else {
            return Ok(Written::Refused("there is no such device".to_owned()));
        };
        let Some(item) = group.items.iter().find(|item| item.column == column && item.access != Access::Read) else {
            return Ok(Written::Refused("the tag may not be written".to_owned()));
        };
        let Some(number) = raw.as_f64() else {
            return Ok(Written::Refused("the tag takes a number".to_owned()));
        };
        let request = wire::write(&item.name, number);
        let answer =
            exchange(&mut self.stream, cx, item, &request).await.map_err(|fault| fault.lost(device, &request))?;
        Ok(if answer == "ok" { Written::Confirmed } else { Written::Refused(format!("{device} answered {answer}")) })
    }
}

/// The name of the device, and the group.
fn target(link: &LineLink, poll: Poll) -> Option<(&str, &Group)> {
    let (name, groups) = link.devices.get(poll.device)?;
    Some((name.as_str(), groups.get(poll.group)?))
}

/// Sends a request and returns what the device answers about the item.
async fn exchange(stream: &mut TcpStream, cx: &Cx, item: &Item, request: &str) -> Result<String, Fault> {
    let transfer = async {
        expect_silence(stream)?;
        stream.write_all(request.as_bytes()).await?;
        let mut received = Vec::with_capacity(LONGEST_LINE);
        loop {
            if stream.read_buf(&mut received).await? == 0 {
                return Err(Fault::Closed);
            }
            if let Some(answer) = wire::answer(&item.name, &received)? {
                return Ok(answer.to_owned());
            }
        }
    };
    cx.within(transfer).await?
}

/// Fails when something has come that nobody asked for: an answer that was given up, perhaps one about this item.
fn expect_silence(stream: &TcpStream) -> Result<(), Fault> {
    match stream.try_read(&mut [0]) {
        Ok(0) => Err(Fault::Closed),
        Ok(_) => Err(wire::Fault::Foreign.into()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error.into()),
    }
}
