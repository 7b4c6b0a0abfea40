//! TCP ports for programs that cannot choose one themselves, or that have to come back on the same one.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
};

use anyhow::{Context, bail};
use rand::Rng;

/// Below the ports that Linux gives to outgoing connections, so that none of those takes the port while its owner is
/// being restarted.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
const TRIES: usize = 200;

/// A port of this machine's loopback that no other test is given while this value lives. Nothing listens on it yet.
#[derive(Debug)]
pub struct Port {
    number: u16,
    /// Locked as long as it is open, and by nobody else.
    _lock: File,
}

impl Port {
    /// Reserves a port that is free now.
    ///
    /// # Errors
    ///
    /// When the folder for the locks cannot be written, or everything is taken.
    pub fn reserve() -> anyhow::Result<Port> {
        let folder = std::env::temp_dir().join("tidegate-test-ports");
        fs::create_dir_all(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
        for _ in 0..TRIES {
            if let Some(port) = Port::take(&folder, rand::rng().random_range(PORTS))? {
                return Ok(port);
            }
        }
        bail!("found no free port in {PORTS:?} with {TRIES} tries")
    }

    /// This port, unless another test has it or somebody listens on it.
    fn take(folder: &Path, number: u16) -> anyhow::Result<Option<Port>> {
        let file = folder.join(number.to_string());
        let lock = File::create(&file).with_context(|| format!("failed to make {}", file.display()))?;
        let free = lock.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok();
        Ok(free.then_some(Port { number, _lock: lock }))
    }

    /// The number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// The loopback address with this port.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_given_away_once() {
        let folder = tempfile::tempdir().expect("a folder");
        // Reserved for real, so that no other test listens on it meanwhile.
        let reserved = Port::reserve().expect("a port");
        let number = reserved.number();
        let port = Port::take(folder.path(), number).expect("a lock").expect("nobody has it");
        assert!(Port::take(folder.path(), number).expect("a lock").is_none());
        drop(port);
        assert!(Port::take(folder.path(), number).expect("a lock").is_some());
    }

    #[test]
    fn a_port_that_somebody_listens_on_is_not_given_away() {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
        let number = listener.local_addr().expect("an address").port();
        assert!(Port::take(folder.path(), number).expect("a lock").is_none());
    }
}
