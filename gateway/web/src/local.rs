//! What programs on the same machine need to talk to the running gateway: where it is, and a token.
//!
//! Both are files in the data folder that only their owner may read. They are made anew at each start and go when the
//! gateway is stopped; after a crash they are stale, and the next start replaces them.

use std::{
    fs,
    io::Write,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use crate::access::{AccessError, random_text};

/// The file in the data folder with the token for programs on the same machine.
pub const TOKEN_FILE: &str = "local.token";
/// The file in the data folder with the address at which these programs reach the interface.
pub const ADDRESS_FILE: &str = "local.address";
const TOKEN_LENGTH: usize = 43;

/// The token and the files for programs on the same machine.
#[derive(Debug)]
pub(crate) struct Local {
    token: String,
    files: [PathBuf; 2],
}

impl Local {
    /// Makes a new token and tells programs on this machine about it and about the interface that listens on `address`.
    pub(crate) fn write(data_dir: &Path, address: SocketAddr) -> Result<Local, AccessError> {
        let token = random_text(TOKEN_LENGTH);
        let files = [data_dir.join(TOKEN_FILE), data_dir.join(ADDRESS_FILE)];
        let [token_file, address_file] = &files;
        write_private(token_file, &token)?;
        write_private(address_file, &reachable(address).to_string())?;
        Ok(Local { token, files })
    }

    pub(crate) fn is_token(&self, token: &str) -> bool {
        same(token.as_bytes(), self.token.as_bytes())
    }

    pub(crate) fn remove(&self) {
        for file in &self.files {
            // What cannot be removed is stale, as after a crash.
            let _ = fs::remove_file(file);
        }
    }
}

/// Where a listener can be reached from the same machine: one that listens everywhere, on loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen {
        SocketAddr::V4(address) if address.ip().is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(address) if address.ip().is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        _ => listen.ip(),
    };
    SocketAddr::new(ip, listen.port())
}

/// Writes a file that only its owner may read, in one step: it is never there half-written.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), AccessError> {
    let failed = |source| AccessError::File { path: path.to_owned(), source };
    let new = path.with_extension("new");
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    fs::rename(&new, path).map_err(failed)
}

/// Compares without telling by its time where the first difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_the_owner_may_read_the_token() {
        let dir = tempfile::tempdir().unwrap();
        let local = Local::write(dir.path(), ([0, 0, 0, 0], 8080).into()).unwrap();
        let path = dir.path().join(TOKEN_FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let token = fs::read_to_string(&path).unwrap();
        assert!(local.is_token(&token));
        for other in ["", &token[1..], &token.replace(|_: char| true, "x")] {
            assert!(!local.is_token(other), "{other}");
        }
        local.remove();
        assert!(!path.exists());
    }

    #[test]
    fn a_listener_on_all_addresses_is_reached_on_loopback() {
        let dir = tempfile::tempdir().unwrap();
        for (listen, reached) in
            [("0.0.0.0:8080", "127.0.0.1:8080"), ("[::]:8080", "[::1]:8080"), ("192.168.1.5:80", "192.168.1.5:80")]
        {
            Local::write(dir.path(), listen.parse().unwrap()).unwrap();
            assert_eq!(fs::read_to_string(dir.path().join(ADDRESS_FILE)).unwrap(), reached);
        }
    }
}
