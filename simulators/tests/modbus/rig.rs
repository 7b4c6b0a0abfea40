//! A simulator of a profile written in a test, and a client that sends bytes.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use tidegate_config::{Profile, Report, Source, parse_profile};
use tidegate_driver_modbus::UnitId;
use tidegate_simulators::modbus::{ModbusOptions, ModbusSimulator, SimulatedDevice};

/// No answer takes longer; a test that waits for more has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// The profile with these tags and quirks.
pub(crate) fn profile(tables: &str) -> Arc<Profile> {
    let head = "[profile]\nmanufacturer = \"Tidegate\"\nmodel = \"test\"\ndriver = \"modbus\"\n\
        [[group]]\nname = \"all\"\ninterval = \"1s\"\n";
    let mut report = Report::new();
    let profile = parse_profile(&Source::new("test", format!("{head}{tables}")), &mut report);
    assert!(!report.has_errors(), "{}", report.render());
    profile
}

/// Devices whose values stand still, changed by `change` before they start.
pub(crate) fn start(tables: &str, change: impl FnOnce(&mut ModbusOptions)) -> ModbusSimulator {
    let mut options = ModbusOptions::new(profile(tables));
    options.still = true;
    change(&mut options);
    ModbusSimulator::start(options).unwrap()
}

pub(crate) fn unit(number: u8) -> UnitId {
    UnitId::from(number)
}

/// Unit 1 of the first port.
pub(crate) fn first(simulator: &ModbusSimulator) -> SimulatedDevice<'_> {
    simulator.device(0, unit(1)).unwrap()
}

/// A connection that sends and receives bytes.
pub(crate) struct Client(pub(crate) TcpStream);

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client(stream)
    }

    pub(crate) fn of(simulator: &ModbusSimulator) -> Client {
        Client::connect(simulator.addresses()[0])
    }

    /// Sends a request with this transaction identifier.
    pub(crate) fn send(&mut self, transaction: u16, unit: u8, pdu: &[u8]) {
        self.0.write_all(&frame(transaction, unit, pdu)).unwrap();
    }

    /// The next bytes, exactly so many.
    pub(crate) fn receive(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// The next frame: transaction identifier, unit, function code and data.
    pub(crate) fn frame(&mut self) -> (u16, u8, Vec<u8>) {
        let head = self.receive(7);
        assert_eq!(head[2..4], [0, 0], "the protocol identifier");
        let length = u16::from_be_bytes([head[4], head[5]]);
        let pdu = self.receive(usize::from(length) - 1);
        (u16::from_be_bytes([head[0], head[1]]), head[6], pdu)
    }

    /// Asks and returns function code and data of the answer, which has to be the answer to this request.
    pub(crate) fn ask(&mut self, unit: u8, pdu: &[u8]) -> Vec<u8> {
        self.send(0x1234, unit, pdu);
        let (transaction, answered, answer) = self.frame();
        assert_eq!((transaction, answered), (0x1234, unit));
        answer
    }

    /// Everything until the other side closes.
    pub(crate) fn rest(mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes).unwrap();
        bytes
    }
}

/// A request as it travels.
pub(crate) fn frame(transaction: u16, unit: u8, pdu: &[u8]) -> Vec<u8> {
    let length = u16::try_from(pdu.len() + 1).unwrap();
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&transaction.to_be_bytes());
    bytes.extend_from_slice(&[0, 0]);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.push(unit);
    bytes.extend_from_slice(pdu);
    bytes
}

/// Bytes from text: `03 02 00 2a`.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    text.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}
