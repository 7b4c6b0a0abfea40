//! Who may use the interface, and as what.
//!
//! There is no default password. At the first start one user, `admin`, is made with a random password that is shown
//! once; only its argon2 hash is kept. Programs on the same machine that may read the data folder use the token of
//! [`Local`].

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use rand::{Rng, distr::Alphanumeric};
use serde::{Deserialize, Serialize};

use crate::{
    local::{Local, write_private},
    passwords::{self, Passwords},
};

const USERS_FILE: &str = "users.json";
const PASSWORD_LENGTH: usize = 16;
/// Longer passwords are not even tried.
const LONGEST_PASSWORD: usize = 256;

/// Why the access files could not be used.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A file could not be read or written.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The users file is not what this product writes.
    #[error("{path} is damaged ({detail}); move it away and start again to get a new first password", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The password could not be hashed.
    #[error("a password could not be hashed: {0}")]
    Hash(argon2::password_hash::Error),
    /// The system gives no thread to check passwords in.
    #[error("passwords cannot be checked: {source}")]
    Thread {
        /// What the system said.
        source: io::Error,
    },
}

/// What somebody may do. Each role may do what the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// May look.
    Viewer,
    /// May write tags.
    Operator,
    /// May change the configuration.
    Admin,
}

#[derive(Debug, Serialize, Deserialize)]
struct User {
    name: String,
    role: Role,
    /// The argon2 hash in PHC form.
    password: String,
}

/// Why somebody is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// There is no such user, or the password or token is wrong.
    Unknown,
    /// Too many passwords are being checked.
    Busy,
}

/// Decides who may use the interface.
#[derive(Debug)]
pub struct Access {
    users: Vec<User>,
    local: Local,
    passwords: Passwords,
    /// Logins refused, for the metrics.
    refused: AtomicU64,
}

impl Access {
    /// Reads the users of a data folder and makes a new local token for the interface at `address`. The first time a user
    /// `admin` is made; its password is returned and can't be got again.
    ///
    /// # Errors
    ///
    /// [`AccessError`] when the files cannot be used.
    pub fn open(data_dir: &Path, address: SocketAddr) -> Result<(Access, Option<String>), AccessError> {
        let path = data_dir.join(USERS_FILE);
        let (users, first_password) = match fs::read_to_string(&path) {
            Ok(text) => {
                let users: Vec<User> = serde_json::from_str(&text)
                    .map_err(|error| AccessError::Damaged { path: path.clone(), detail: error.to_string() })?;
                (users, None)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (user, password) = first_user()?;
                let users = vec![user];
                let text = serde_json::to_string_pretty(&users)
                    .map_err(|error| AccessError::Damaged { path: path.clone(), detail: error.to_string() })?;
                write_private(&path, &text)?;
                (users, Some(password))
            }
            Err(source) => return Err(AccessError::File { path, source }),
        };
        let local = Local::write(data_dir, address)?;
        let passwords = Passwords::start().map_err(|source| AccessError::Thread { source })?;
        Ok((Access { users, local, passwords, refused: AtomicU64::new(0) }, first_password))
    }

    /// The gateway stops: programs on this machine need not look for it any more.
    pub(crate) fn close(&self) {
        self.local.remove();
    }

    /// Logins that were refused so far.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Counts a login that was refused.
    pub(crate) fn count_refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// The role of whoever holds this token.
    pub(crate) fn by_token(&self, token: &str) -> Result<Role, Refused> {
        if self.local.is_token(token) { Ok(Role::Admin) } else { Err(Refused::Unknown) }
    }

    /// The role of a user with this password. Who does not exist takes as long, so that nobody finds out who does.
    pub(crate) async fn by_password(&self, name: &str, password: String) -> Result<Role, Refused> {
        if password.len() > LONGEST_PASSWORD {
            return Err(Refused::Unknown);
        }
        let known = self.users.iter().find(|user| user.name == name);
        let user = known.or(self.users.first()).ok_or(Refused::Unknown)?;
        let same = self.passwords.check(password, user.password.clone()).await?;
        known.filter(|_| same).map(|user| user.role).ok_or(Refused::Unknown)
    }
}

fn first_user() -> Result<(User, String), AccessError> {
    let password = random_text(PASSWORD_LENGTH);
    let hash = passwords::hash(&password).map_err(AccessError::Hash)?;
    Ok((User { name: "admin".to_owned(), role: Role::Admin, password: hash }, password))
}

pub(crate) fn random_text(length: usize) -> String {
    rand::rng().sample_iter(Alphanumeric).take(length).map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);

    async fn login(access: &Access, name: &str, password: &str) -> Result<Role, Refused> {
        access.by_password(name, password.to_owned()).await
    }

    #[tokio::test]
    async fn the_first_start_makes_an_admin_whose_password_is_shown_once() {
        let dir = tempfile::tempdir().unwrap();
        let (access, password) = Access::open(dir.path(), ADDRESS).unwrap();
        let password = password.unwrap();
        assert_eq!(login(&access, "admin", &password).await, Ok(Role::Admin));
        assert_eq!(login(&access, "admin", "admin").await, Err(Refused::Unknown));
        assert_eq!(login(&access, "root", &password).await, Err(Refused::Unknown));
        assert_eq!(login(&access, "admin", &"x".repeat(LONGEST_PASSWORD + 1)).await, Err(Refused::Unknown));
        let (again, none) = Access::open(dir.path(), ADDRESS).unwrap();
        assert_eq!(none, None);
        assert_eq!(login(&again, "admin", &password).await, Ok(Role::Admin));
        assert!(!fs::read_to_string(dir.path().join(USERS_FILE)).unwrap().contains(&password));
    }

    #[test]
    fn a_damaged_users_file_lets_nobody_in() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(USERS_FILE), "[{").unwrap();
        assert!(matches!(Access::open(dir.path(), ADDRESS), Err(AccessError::Damaged { .. })));
    }
}
