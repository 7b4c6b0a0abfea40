//! Starts the server and keeps it; the hands of tests and of the demo.

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use opcua::{server::ServerHandle, types::Variant};
use tidegate_config::Report;
use tidegate_model::Value;
use tokio::{
    runtime::{self, Runtime},
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{
    faults::Fault,
    front::Front,
    options::OpcuaOptions,
    plan::Plan,
    plant::{self, Plant},
    server::{self, PlantManager},
};
use crate::{SimulatorError, clock::Clock};

/// A simulated OPC UA server on threads of its own. Dropping it closes its port and all connections.
pub struct OpcuaSimulator {
    address: SocketAddr,
    accepted: Arc<AtomicU64>,
    plant: Arc<Plant>,
    handle: ServerHandle,
    stop: CancellationToken,
    worker: Option<JoinHandle<()>>,
}

impl OpcuaSimulator {
    /// Starts the server; when it returns, its port accepts connections.
    ///
    /// # Errors
    ///
    /// [`SimulatorError::Profile`] and [`SimulatorError::OtherProtocol`] for a profile that cannot be served,
    /// [`SimulatorError::Listen`] for a port that is taken, [`SimulatorError::Server`] when the server cannot be made,
    /// [`SimulatorError::Worker`] when the system gives no thread.
    pub fn start(options: OpcuaOptions) -> Result<OpcuaSimulator, SimulatorError> {
        let plant = Arc::new(plant(&options)?);
        let (front, address) = listen(options.listen)?;
        let (inner, inner_address) = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(options.workers.max(1))
            .thread_name("opcua-sim")
            .enable_all()
            .build()
            .map_err(SimulatorError::Worker)?;
        let (server, handle) = {
            let _inside = runtime.enter();
            let host = address.ip().to_string();
            server::build(&options, &plant, &host, address.port()).map_err(SimulatorError::Server)?
        };
        let stop = CancellationToken::new();
        let accepted = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&accepted);
        let lines =
            Front { clock: plant.clock, faults: plant.faults.subscribe(), inner: inner_address, accepted: counted };
        {
            let _inside = runtime.enter();
            let inner = tokio::net::TcpListener::from_std(inner).map_err(SimulatorError::Worker)?;
            let front = tokio::net::TcpListener::from_std(front).map_err(SimulatorError::Worker)?;
            runtime.spawn(server.run_with(inner));
            runtime.spawn(lines.run(front));
        }
        name_the_front(&runtime, &handle, inner_address.port(), address.port());
        runtime.spawn(tick(Arc::clone(&plant), handle.clone(), options.step, options.still));
        let worker = work(runtime, stop.clone()).map_err(SimulatorError::Worker)?;
        Ok(OpcuaSimulator { address, accepted, plant, handle, stop, worker: Some(worker) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its endpoint: `opc.tcp://ADDRESS/`.
    pub fn url(&self) -> String {
        format!("opc.tcp://{}/", self.address)
    }

    /// The device's value of a tag, before scale and offset, as the server would send it now.
    ///
    /// # Errors
    ///
    /// [`SimulatorError::NoSuchTag`].
    pub fn raw(&self, tag: &str) -> Result<Variant, SimulatorError> {
        let value = self.plant.value(self.find(tag)?, self.plant.moment());
        Ok(value.value.unwrap_or_default())
    }

    /// Sets a tag to a value of the device, before scale and offset; from then on it moves no more.
    ///
    /// # Errors
    ///
    /// [`SimulatorError::NoSuchTag`], or [`SimulatorError::NoValue`] for what is no value of its type.
    pub fn set_raw(&self, tag: &str, raw: &Value) -> Result<(), SimulatorError> {
        let index = self.find(tag)?;
        let kind = self.plant.points.get(index).map(|point| point.cell.kind);
        let value = kind.and_then(|kind| plant::convert(kind, raw));
        self.plant.hold(index, value.ok_or_else(|| SimulatorError::NoValue(tag.to_owned()))?);
        notify(&self.handle, |of| of == index);
        Ok(())
    }

    /// Takes these faults in place of all others; their times count from now.
    pub fn set_faults(&self, faults: impl IntoIterator<Item = Fault>) {
        self.plant.faults.send_replace(Arc::new(Plan::new(faults, self.plant.clock.now())));
        // Statuses that are over have to be taken back.
        notify(&self.handle, |_| true);
    }

    /// Connections accepted since the start.
    pub fn connections_accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    fn find(&self, tag: &str) -> Result<usize, SimulatorError> {
        self.plant.find(tag).ok_or_else(|| SimulatorError::NoSuchTag(tag.to_owned()))
    }
}

impl fmt::Debug for OpcuaSimulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpcuaSimulator").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for OpcuaSimulator {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(worker) = self.worker.take() {
            // A worker that panicked has closed its port too.
            let _ = worker.join();
        }
    }
}

/// The profile as what the server holds.
fn plant(options: &OpcuaOptions) -> Result<Plant, SimulatorError> {
    let profile = &options.profile;
    if profile.driver.value != "opcua" {
        return Err(SimulatorError::OtherProtocol(profile.driver.value.clone()));
    }
    let clock = Clock::start(options.step, options.still);
    let plan = Plan::new(options.faults.iter().cloned(), Duration::ZERO);
    let plant = Plant::new(profile, clock, options.all_change, options.seed, plan);
    if plant.points.is_empty() {
        let mut report = Report::new();
        report.error(&profile.origin, "the profile has no tag that a server could have", None);
        return Err(SimulatorError::Profile(report.render()));
    }
    Ok(plant)
}

/// A listening socket, and the address it really has.
fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), SimulatorError> {
    let listen = || -> io::Result<(TcpListener, SocketAddr)> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    listen().map_err(|source| SimulatorError::Listen { address, source })
}

/// The server tells its clients the port that it listens on itself; they are to come to the one before it.
fn name_the_front(runtime: &Runtime, handle: &ServerHandle, inner: u16, front: u16) {
    let port = &handle.info().port;
    runtime.block_on(async {
        while port.compare_exchange(inner, front, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
}

/// Tells the clients of new values, at every step.
async fn tick(plant: Arc<Plant>, handle: ServerHandle, step: Duration, still: bool) {
    let mut steps = interval(step.max(Duration::from_millis(1)));
    steps.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        steps.tick().await;
        let statuses = plant.faults.borrow().has_statuses();
        if !still || statuses {
            notify(&handle, |index| statuses || plant.moves(index));
        }
    }
}

fn notify(handle: &ServerHandle, which: impl Fn(usize) -> bool) {
    if let Some(manager) = handle.node_managers().get_of_type::<PlantManager>() {
        manager.inner().notify(handle.subscriptions(), which);
    }
}

/// Keeps the server running until `stop`. Ending the runtime drops whatever is under way on it.
fn work(runtime: Runtime, stop: CancellationToken) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("opcua-sim".to_owned()).spawn(move || {
        runtime.block_on(stop.cancelled());
        runtime.shutdown_timeout(Duration::from_secs(1));
    })
}
