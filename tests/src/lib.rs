//! What end-to-end tests are made of: foreign peers, the gateway as a child process, and waits with deadlines.
//!
//! Every child is killed when its value is dropped, every wait has a deadline and says what it waited for, and no port
//! is fixed. The tests themselves are in `tests/tests/`, one file per story.
//!
//! The foreign peers are installed by `cargo xtask peers` into `target/peers`. A test asks for them first:
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use tidegate_tests::{ModbusServer, Peers, Table};
//!
//! let Some(peers) = Peers::find()? else { return Ok(()) };
//! let mut plant = ModbusServer::start(&peers, &[1, 2])?;
//! plant.set(1, Table::Holding, 5, &[2298])?;
//! # Ok(())
//! # }
//! ```

mod authority;
mod child;
mod device;
mod fault_proxy;
mod gateway;
mod http;
mod modbus_server;
mod mosquitto;
mod opcua_client;
mod opcua_server;
mod oven;
mod peers;
mod port;
mod postgres;
mod site;
mod sparkplug_host;
mod sparkplug_node;
mod sparkplug_pump;
mod subscriber;
mod wait;

pub use authority::Authority;
pub use child::{Child, Line};
pub use device::Device;
pub use fault_proxy::{Cut, Fault, FaultProxy, Way};
pub use gateway::{Gateway, program, tidegate};
pub use http::{Answer, get, request};
pub use modbus_server::{ModbusServer, Request, Table, WordOrder};
pub use mosquitto::{Mosquitto, publish, publish_as, publish_with};
pub use opcua_client::{OpcuaClient, OpcuaLogin};
pub use opcua_server::{OpcuaServer, OpcuaServerOptions, Stack};
pub use oven::OVEN;
pub use peers::Peers;
pub use port::Port;
pub use postgres::Postgres;
pub use site::Site;
pub use sparkplug_host::SparkplugHost;
pub use sparkplug_node::SparkplugNode;
pub use sparkplug_pump::SparkplugPump;
pub use subscriber::{Message, Subscriber, SubscriberOptions};
pub use wait::{PATIENCE, wait_until};
