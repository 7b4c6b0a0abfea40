//! Starts the ports and keeps them; the hands of tests and of the demo.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use tidegate_config::Report;
use tidegate_driver_modbus::UnitId;
use tidegate_model::Value;
use tokio::{runtime, sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{cell::Style, device::Device, faults::Fault, map::Map, options::ModbusOptions, plan::Plan, port::Port};
use crate::{SimulatorError, clock::Clock, noise::mix};

/// Simulated Modbus TCP devices on threads of their own. Dropping it closes all ports and connections.
#[derive(Debug)]
pub struct ModbusSimulator {
    ports: Vec<Arc<Port>>,
    addresses: Vec<SocketAddr>,
    clock: Clock,
    faults: watch::Sender<Arc<Plan>>,
    stop: CancellationToken,
    workers: Vec<JoinHandle<()>>,
}

/// One simulated device, to read and set its tags from within the process.
#[derive(Debug, Clone, Copy)]
pub struct SimulatedDevice<'a> {
    device: &'a Device,
    clock: Clock,
}

impl ModbusSimulator {
    /// Starts the devices; when it returns, every port accepts connections.
    ///
    /// # Errors
    ///
    /// [`SimulatorError::Profile`] and [`SimulatorError::OtherProtocol`] for a profile that cannot be served,
    /// [`SimulatorError::Ports`] for no ports or too many, [`SimulatorError::Listen`] for a port that is taken,
    /// [`SimulatorError::Worker`] when the system gives no thread.
    pub fn start(options: ModbusOptions) -> Result<ModbusSimulator, SimulatorError> {
        let map = Arc::new(map(&options)?);
        let listeners = listeners(&options)?;
        let faults = options.faults.iter().copied();
        let mut simulator = ModbusSimulator {
            ports: Vec::new(),
            addresses: listeners.iter().map(|(_, address)| *address).collect(),
            clock: Clock::start(options.step, options.still),
            faults: watch::Sender::new(Arc::new(Plan::new(faults, Duration::ZERO))),
            stop: CancellationToken::new(),
            workers: Vec::new(),
        };
        let workers = options.workers.clamp(1, listeners.len().max(1));
        let mut shares: Vec<Vec<(Arc<Port>, TcpListener)>> = (0..workers).map(|_| Vec::new()).collect();
        for (index, (listener, address)) in listeners.into_iter().enumerate() {
            let port = Arc::new(port(&options, &map, simulator.clock, index, address));
            simulator.ports.push(Arc::clone(&port));
            if let Some(share) = shares.get_mut(index % workers) {
                share.push((port, listener));
            }
        }
        for share in shares {
            // What has been started so far is stopped by the drop when this fails.
            let worker = work(share, &simulator.faults, simulator.stop.clone()).map_err(SimulatorError::Worker)?;
            simulator.workers.push(worker);
        }
        Ok(simulator)
    }

    /// The address of each port, in order.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// A device by the index of its port, from 0, and its unit.
    pub fn device(&self, port: usize, unit: UnitId) -> Option<SimulatedDevice<'_>> {
        let device = self.ports.get(port)?.device(unit)?;
        Some(SimulatedDevice { device, clock: self.clock })
    }

    /// Every device: the index of its port, its unit, and itself.
    pub fn devices(&self) -> impl Iterator<Item = (usize, UnitId, SimulatedDevice<'_>)> {
        self.ports.iter().enumerate().flat_map(move |(port, _)| {
            let units = (0..=u8::MAX).map(UnitId::from);
            units.filter_map(move |unit| Some((port, unit, self.device(port, unit)?)))
        })
    }

    /// Connections accepted since the start, by the index of the port.
    pub fn connections_accepted(&self, port: usize) -> u64 {
        self.ports.get(port).map_or(0, |port| port.accepted())
    }

    /// Takes these faults in place of all others; their times count from now. The next request already meets them.
    pub fn set_faults(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.send_replace(Arc::new(Plan::new(faults, self.clock.now())));
    }
}

impl Drop for ModbusSimulator {
    fn drop(&mut self) {
        self.stop.cancel();
        for worker in self.workers.drain(..) {
            // A worker that panicked has closed its ports too.
            let _ = worker.join();
        }
    }
}

impl SimulatedDevice<'_> {
    /// The value of a tag as the gateway would deliver it: scaled, an enumeration as its text.
    ///
    /// # Errors
    ///
    /// [`SimulatorError::NoSuchTag`], or [`SimulatorError::NoValue`] when a client has written what is no value of the type.
    pub fn value(&self, tag: &str) -> Result<Value, SimulatorError> {
        self.device.value(tag, self.moment())
    }

    /// The value of a tag as the device holds it, before scale and offset.
    ///
    /// # Errors
    ///
    /// As [`SimulatedDevice::value`].
    pub fn raw(&self, tag: &str) -> Result<Value, SimulatorError> {
        self.device.raw(tag, self.moment())
    }

    /// Sets a tag to a delivered value, also one that no client may write; from then on it moves no more.
    /// An integer type takes the nearest number of the device.
    ///
    /// # Errors
    ///
    /// [`SimulatorError::NoSuchTag`], or [`SimulatorError::Refused`] when the value does not fit.
    pub fn set(&self, tag: &str, value: &Value) -> Result<(), SimulatorError> {
        self.device.set(tag, value, true)
    }

    /// Sets a tag to a number of the device, before scale and offset; from then on it moves no more.
    ///
    /// # Errors
    ///
    /// As [`SimulatedDevice::set`].
    pub fn set_raw(&self, tag: &str, raw: &Value) -> Result<(), SimulatorError> {
        self.device.set(tag, raw, false)
    }

    /// Lets a tag move again that was set here or written by a client.
    ///
    /// # Errors
    ///
    /// [`SimulatorError::NoSuchTag`].
    pub fn release(&self, tag: &str) -> Result<(), SimulatorError> {
        self.device.release(tag)
    }

    /// Requests that the device has got, those among them that it did not answer.
    pub fn requests(&self) -> u64 {
        self.device.requests()
    }

    fn moment(&self) -> crate::motion::Moment {
        self.clock.moment(self.clock.now())
    }
}

/// The profile as a map of a device.
fn map(options: &ModbusOptions) -> Result<Map, SimulatorError> {
    let profile = &options.profile;
    if profile.driver.value != "modbus" {
        return Err(SimulatorError::OtherProtocol(profile.driver.value.clone()));
    }
    let mut report = Report::new();
    let style = Style { all_change: options.all_change, full_precision: options.full_precision };
    let map = Map::new(profile, options.fill, style, &mut report);
    map.filter(|_| !report.has_errors()).ok_or_else(|| SimulatorError::Profile(report.render()))
}

/// A listening socket for each port, and the address it really has.
fn listeners(options: &ModbusOptions) -> Result<Vec<(TcpListener, SocketAddr)>, SimulatorError> {
    let no_ports = || SimulatorError::Ports(options.ports, options.listen);
    if options.ports == 0 {
        return Err(no_ports());
    }
    let mut listeners = Vec::new();
    for index in 0..options.ports {
        let mut address = options.listen;
        if address.port() != 0 {
            let port = address.port().checked_add(index).ok_or_else(no_ports)?;
            address.set_port(port);
        }
        listeners.push(listen(address).map_err(|source| SimulatorError::Listen { address, source })?);
    }
    Ok(listeners)
}

/// A port with a device for each unit.
fn port(options: &ModbusOptions, map: &Arc<Map>, clock: Clock, index: usize, address: SocketAddr) -> Port {
    let port_seed = mix(options.seed, u64::try_from(index).unwrap_or_default());
    let devices = options.units.iter().map(|unit| {
        let seed = mix(port_seed, unit.get().into());
        (unit, Device::new(Arc::clone(map), seed, options.all_change))
    });
    Port::new(index, address, clock, options.unknown_unit, devices)
}

/// A listening socket, and the address it really has.
fn listen(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Serves some ports on a thread of their own until `stop`. Ending the runtime drops whatever is under way on it.
fn work(
    share: Vec<(Arc<Port>, TcpListener)>,
    faults: &watch::Sender<Arc<Plan>>,
    stop: CancellationToken,
) -> io::Result<JoinHandle<()>> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let mut ports = JoinSet::new();
    for (port, listener) in share {
        let guard = runtime.enter();
        let listener = tokio::net::TcpListener::from_std(listener)?;
        drop(guard);
        ports.spawn_on(port.listen(listener, faults.subscribe()), runtime.handle());
    }
    std::thread::Builder::new().name("modbus-sim".to_owned()).spawn(move || {
        runtime.block_on(stop.cancelled());
        drop(ports);
    })
}
