//! A Modbus TCP device made of pymodbus.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::Command,
};

use anyhow::{Context, bail};

use crate::{Child, PATIENCE, Peers};

/// One of the four tables of a Modbus device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// Bits that can be written.
    Coil,
    /// Bits that cannot.
    Discrete,
    /// Registers that can be written.
    Holding,
    /// Registers that cannot.
    Input,
}

impl Table {
    fn as_str(self) -> &'static str {
        match self {
            Table::Coil => "coil",
            Table::Discrete => "discrete",
            Table::Holding => "holding",
            Table::Input => "input",
        }
    }
}

/// In which order the registers of a long value stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WordOrder {
    /// The one with the highest bytes first.
    Big,
    /// The one with the lowest bytes first.
    Little,
}

impl WordOrder {
    fn as_str(self) -> &'static str {
        match self {
            WordOrder::Big => "big",
            WordOrder::Little => "little",
        }
    }
}

/// A request that the device has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// The unit it was for.
    pub unit: u16,
    /// The function code.
    pub function: u16,
    /// The first address; of a read-write request the first that was written.
    pub address: u16,
    /// How many addresses; 0 for the functions that touch only one (5, 6, 22).
    pub count: u16,
}

/// A pymodbus server with some units, each with four tables of addresses 0 to 1999, all 0 to begin with.
#[derive(Debug)]
pub struct ModbusServer {
    child: Child,
    address: SocketAddr,
}

impl ModbusServer {
    /// Starts a server on a port of its own choice.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub fn start(peers: &Peers, units: &[u8]) -> anyhow::Result<ModbusServer> {
        ModbusServer::start_on(peers, 0, units)
    }

    /// Starts a server on this port, for a device that has to come back where it was.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub fn start_on(peers: &Peers, port: u16, units: &[u8]) -> anyhow::Result<ModbusServer> {
        let mut command = Command::new(peers.python());
        command.arg(peers.script("modbus_server.py")).args(["--port", &port.to_string()]);
        for unit in units {
            command.args(["--unit", &unit.to_string()]);
        }
        let mut child = Child::start("the pymodbus server", &mut command)?;
        let ready = child.next_line(PATIENCE)?;
        let port = ready.strip_prefix("ready ").and_then(|port| port.parse::<u16>().ok());
        let port = port.with_context(|| format!("the pymodbus server said {ready:?} instead of its port"))?;
        Ok(ModbusServer { child, address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes values as the machine behind the registers would. Bits are 0 and 1.
    ///
    /// # Errors
    ///
    /// When there is no such unit or address, or the server has ended.
    pub fn set(&mut self, unit: u8, table: Table, address: u16, values: &[u16]) -> anyhow::Result<()> {
        let values: Vec<String> = values.iter().map(u16::to_string).collect();
        self.ask(&format!("set {unit} {} {address} {}", table.as_str(), values.join(" "))).map(drop)
    }

    /// What is in the table now.
    ///
    /// # Errors
    ///
    /// When there is no such unit or address, or the server has ended.
    pub fn get(&mut self, unit: u8, table: Table, address: u16, count: u16) -> anyhow::Result<Vec<u16>> {
        let answer = self.ask(&format!("get {unit} {} {address} {count}", table.as_str()))?;
        answer.iter().map(|word| Ok(word.parse()?)).collect()
    }

    /// Puts a value into holding registers as pymodbus encodes it: `kind` is one of its types (`FLOAT32`), and the register
    /// with the highest bytes comes first or last.
    ///
    /// # Errors
    ///
    /// When pymodbus cannot encode it, or the server has ended.
    pub fn put(&mut self, unit: u8, address: u16, kind: &str, order: WordOrder, value: &str) -> anyhow::Result<()> {
        self.ask(&format!("put {unit} {address} {kind} {} {value}", order.as_str())).map(drop)
    }

    /// Takes a value out of so many holding registers as pymodbus decodes it.
    ///
    /// # Errors
    ///
    /// When pymodbus cannot decode it, or the server has ended.
    pub fn take(&mut self, unit: u8, address: u16, kind: &str, order: WordOrder, count: u16) -> anyhow::Result<String> {
        let answer = self.ask(&format!("take {unit} {address} {kind} {} {count}", order.as_str()))?;
        Ok(answer.join(" "))
    }

    /// From now on, requests that touch these registers are answered with "illegal data address".
    ///
    /// # Errors
    ///
    /// When the server has ended.
    pub fn hole(&mut self, unit: u8, address: u16, count: u16) -> anyhow::Result<()> {
        self.ask(&format!("hole {unit} {address} {count}")).map(drop)
    }

    /// From now on the unit leaves requests unanswered, or not any more.
    ///
    /// # Errors
    ///
    /// When the server has ended.
    pub fn silent(&mut self, unit: u8, silent: bool) -> anyhow::Result<()> {
        self.ask(&format!("silent {unit} {}", if silent { "on" } else { "off" })).map(drop)
    }

    /// The requests since this was last asked, the last 10,000 of them.
    ///
    /// # Errors
    ///
    /// When the server has ended.
    pub fn requests(&mut self) -> anyhow::Result<Vec<Request>> {
        let answer = self.ask("requests")?;
        answer
            .iter()
            .map(|word| request(word).with_context(|| format!("failed to read the request {word:?}")))
            .collect()
    }

    /// Ends the server; connections to it break.
    pub fn stop(mut self) {
        self.child.kill();
    }

    /// One command, one line of answer.
    fn ask(&mut self, command: &str) -> anyhow::Result<Vec<String>> {
        self.child.say(command)?;
        loop {
            let line = self.child.next_line(PATIENCE)?;
            let mut words = line.split(' ').map(str::to_owned);
            match words.next().as_deref() {
                Some("ok") => return Ok(words.collect()),
                Some("error") => bail!("the pymodbus server does not understand {command:?}: {line}"),
                // pymodbus's own log, on standard error.
                _ => continue,
            }
        }
    }
}

fn request(word: &str) -> Option<Request> {
    let mut numbers = word.split(':').map(|number| number.parse::<u16>().ok());
    let request = Request {
        unit: numbers.next()??,
        function: numbers.next()??,
        address: numbers.next()??,
        count: numbers.next()??,
    };
    numbers.next().is_none().then_some(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registers_of_a_unit_are_its_own() -> anyhow::Result<()> {
        let Some(peers) = Peers::find()? else { return Ok(()) };
        let mut plant = ModbusServer::start(&peers, &[1, 7])?;
        plant.set(7, Table::Holding, 5, &[1, 65_535])?;
        plant.set(7, Table::Discrete, 15, &[1, 0, 1])?;
        assert_eq!(plant.get(7, Table::Holding, 4, 4)?, [0, 1, 65_535, 0]);
        assert_eq!(plant.get(7, Table::Discrete, 14, 4)?, [0, 1, 0, 1]);
        assert_eq!(plant.get(1, Table::Holding, 4, 4)?, [0; 4]);
        assert_eq!(plant.get(7, Table::Input, 4, 4)?, [0; 4]);
        assert!(plant.get(7, Table::Holding, 1999, 2).is_err());
        assert_eq!(plant.requests()?, []);
        Ok(())
    }
}
