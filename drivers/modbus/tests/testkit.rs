//! The driver shows what every driver must show.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod rig;

use std::net::SocketAddr;

use rig::{Device, PROFILE, Reply, coil, link, register, site_with};
use tidegate_driver_api::{
    Driver, Poll, async_trait, config,
    model::Value,
    testkit::{self, Behaviour, Harness, Rig, ScriptedDevice},
};
use tidegate_driver_modbus::ModbusTcp;

/// What the profile has besides the group `all`.
const TAGS: &str = r#"
[[group]]
name = "slow"
interval = "1m"
[[tag]]
name = "level"
group = "all"
table = "input"
address = 7
type = "u16"
[[tag]]
name = "running"
group = "all"
table = "coil"
address = 3
[[tag]]
name = "counter"
group = "slow"
table = "holding"
address = 500
type = "u32"
[[tag]]
name = "reset"
group = "slow"
table = "holding"
address = 900
type = "u16"
access = "write"
"#;

/// A link to two devices with the units of a device that has a connection of its own.
fn link_to(address: SocketAddr) -> config::Link {
    link(&site_with(&[("first", 0), ("second", 255)]), &(PROFILE.to_owned() + TAGS), address)
}

struct Modbus(ModbusTcp);

#[async_trait]
impl Harness for Modbus {
    fn driver(&self) -> &dyn Driver {
        &self.0
    }

    async fn start(&self, behaviour: Behaviour) -> Rig {
        if behaviour == Behaviour::Refusing {
            // The port is taken, but nobody listens.
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let link = link_to(socket.local_addr().unwrap());
            return Rig { link, device: Box::new(Nobody(socket)) };
        }
        let device = Device::start(move |asked| match behaviour {
            Behaviour::Silent => Reply::Nothing,
            Behaviour::SilentAfter(answers) if asked.number >= answers => Reply::Nothing,
            Behaviour::ClosedAfter(answers) if asked.number >= answers => Reply::SendAndClose(Vec::new()),
            _ => Reply::Send(asked.right()),
        })
        .await;
        Rig { link: link_to(device.address), device: Box::new(Somebody(device)) }
    }

    fn expected(&self, poll: Poll, column: usize) -> Option<Value> {
        match (poll.group, column) {
            (0, 0) => Some(Value::Uint(register(7).into())),
            (0, 1) => Some(Value::Bool(coil(3))),
            (1, 0) => Some(Value::Uint((u64::from(register(500)) << 16) | u64::from(register(501)))),
            _ => None,
        }
    }

    fn write(&self) -> Option<(Poll, usize, Value)> {
        Some((Poll { device: 1, group: 1 }, 1, Value::Uint(1)))
    }
}

struct Nobody(#[expect(dead_code, reason = "keeps the port taken")] tokio::net::TcpSocket);

impl ScriptedDevice for Nobody {
    fn requests(&self) -> usize {
        0
    }

    fn writes(&self) -> usize {
        0
    }

    fn open_connections(&self) -> usize {
        0
    }
}

struct Somebody(Device);

impl ScriptedDevice for Somebody {
    fn requests(&self) -> usize {
        self.0.asked().len()
    }

    fn writes(&self) -> usize {
        self.0.asked().iter().filter(|asked| asked.function() > 4).count()
    }

    fn open_connections(&self) -> usize {
        self.0.open_connections()
    }
}

#[tokio::test]
async fn the_driver_shows_what_every_driver_must_show() {
    assert_eq!(testkit::check(&Modbus(ModbusTcp::new())).await, []);
}
