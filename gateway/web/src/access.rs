//! Who may use the interface, and as what.
//!
//! There is no default password. At the first start one user, `admin`, is made with a random password that is shown
//! once; only its argon2 hash is kept. Programs on the same machine that may read the data folder use the token of
//! [`Local`].

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use argon2::{
    Argon2, PasswordHash, PasswordVerifier,
    password_hash::{PasswordHasher, SaltString},
};
use rand::{Rng, distr::Alphanumeric};
use serde::{Deserialize, Serialize};
use tokio::{sync::Semaphore, task::spawn_blocking};

use crate::local::{Local, write_private};

const USERS_FILE: &str = "users.json";
const PASSWORD_LENGTH: usize = 16;
/// Longer passwords are not even tried.
const LONGEST_PASSWORD: usize = 256;
/// Logins that wait for the check of their password; one more is told to come back. A check takes some 20 ms.
const WAITING: usize = 16;

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

#[derive(Debug, Clone, Serialize, Deserialize)]
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
    users: Arc<[User]>,
    local: Local,
    /// One password is checked at a time: a check takes 19 MiB and some 20 ms of a processor, and a flood of logins must
    /// not take more.
    turn: Arc<Semaphore>,
    /// The one whose turn it is and those that wait.
    places: Arc<Semaphore>,
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
        let (turn, places) = (Arc::new(Semaphore::new(1)), Arc::new(Semaphore::new(1 + WAITING)));
        Ok((Access { users: users.into(), local, turn, places, refused: AtomicU64::new(0) }, first_password))
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

    /// The role of a user with this password.
    pub(crate) async fn by_password(&self, name: String, password: String) -> Result<Role, Refused> {
        if password.len() > LONGEST_PASSWORD {
            return Err(Refused::Unknown);
        }
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Refused::Busy)?;
        let turn = Arc::clone(&self.turn).acquire_owned().await.map_err(|_| Refused::Busy)?;
        let users = Arc::clone(&self.users);
        let check = move || {
            let role = role(&users, &name, &password);
            // Given back here and not by whoever waits: a client that goes away does not end its check.
            drop((turn, place));
            role
        };
        spawn_blocking(check).await.ok().flatten().ok_or(Refused::Unknown)
    }
}

/// Checks a password. Takes some 20 ms, for a user that does not exist too, so that nobody finds out who exists.
fn role(users: &[User], name: &str, password: &str) -> Option<Role> {
    let known = users.iter().find(|user| user.name == name);
    let user = known.or(users.first())?;
    let hash = PasswordHash::new(&user.password).ok()?;
    let same = Argon2::default().verify_password(password.as_bytes(), &hash).is_ok();
    known.filter(|_| same).map(|user| user.role)
}

fn first_user() -> Result<(User, String), AccessError> {
    let password = random_text(PASSWORD_LENGTH);
    let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>()).map_err(AccessError::Hash)?;
    let hash = Argon2::default().hash_password(password.as_bytes(), &salt).map_err(AccessError::Hash)?.to_string();
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
        access.by_password(name.to_owned(), password.to_owned()).await
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

    #[tokio::test]
    async fn a_flood_of_logins_is_told_to_come_back_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let (access, password) = Access::open(dir.path(), ADDRESS).unwrap();
        let (access, password) = (Arc::new(access), password.unwrap());
        let mut flood = tokio::task::JoinSet::new();
        for _ in 0..3 * WAITING {
            let access = Arc::clone(&access);
            flood.spawn(async move { access.by_password("admin".to_owned(), "guess".to_owned()).await });
        }
        let results = flood.join_all().await;
        let busy = results.iter().filter(|result| **result == Err(Refused::Busy)).count();
        assert!(busy > 0 && busy < results.len(), "{results:?}");
        assert_eq!(login(&access, "admin", &password).await, Ok(Role::Admin));
    }

    #[tokio::test]
    async fn a_client_that_goes_away_does_not_make_room_for_a_second_check_at_the_same_time() {
        let dir = tempfile::tempdir().unwrap();
        let (access, _) = Access::open(dir.path(), ADDRESS).unwrap();
        let mut going = Box::pin(login(&access, "admin", "guess"));
        assert!(futures_poll(&mut going).await.is_none(), "the check runs");
        drop(going);
        assert_eq!(access.turn.available_permits(), 0, "it still runs");
        assert_eq!(login(&access, "admin", "guess").await, Err(Refused::Unknown));
    }

    /// Polls once.
    async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        std::future::poll_fn(|cx| match std::pin::Pin::new(&mut *future).poll(cx) {
            std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
            std::task::Poll::Pending => std::task::Poll::Ready(None),
        })
        .await
    }
}
