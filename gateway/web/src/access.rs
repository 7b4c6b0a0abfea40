//! Who may use the interface, and as what.
//!
//! There is no default password. At the first start one user, `admin`, is made with a random password that is shown
//! once; only its argon2 hash is kept. Programs on the same machine that may read the data folder (the command line of
//! this product) use the token in the file `local.token`, which is made anew at each start.

use std::{
    fs, io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use argon2::{
    Argon2, PasswordHash, PasswordVerifier,
    password_hash::{PasswordHasher, SaltString},
};
use rand::{Rng, distr::Alphanumeric};
use serde::{Deserialize, Serialize};

/// The file in the data folder with the token for programs on the same machine.
pub const TOKEN_FILE: &str = "local.token";
const USERS_FILE: &str = "users.json";
const TOKEN_LENGTH: usize = 43;
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

/// Decides who may use the interface.
#[derive(Debug)]
pub struct Access {
    users: Vec<User>,
    token: String,
    /// One password is checked at a time: a check takes 19 MiB and some 20 ms, and a flood of logins must not take more.
    checking: Mutex<()>,
}

impl Access {
    /// Reads the users of a data folder and makes a new local token. The first time a user `admin` is made; its password is returned and can't be got again.
    ///
    /// # Errors
    ///
    /// [`AccessError`] when the files cannot be used.
    pub fn open(data_dir: &Path) -> Result<(Access, Option<String>), AccessError> {
        let path = data_dir.join(USERS_FILE);
        let (users, first_password) = match fs::read_to_string(&path) {
            Ok(text) => {
                let users = serde_json::from_str(&text)
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
        let token = random_text(TOKEN_LENGTH);
        write_private(&data_dir.join(TOKEN_FILE), &token)?;
        Ok((Access { users, token, checking: Mutex::new(()) }, first_password))
    }

    /// The role of whoever holds this token.
    pub(crate) fn by_token(&self, token: &str) -> Option<Role> {
        same(token.as_bytes(), self.token.as_bytes()).then_some(Role::Admin)
    }

    /// The role of a user with this password. Takes some 20 ms of a processor: call it where blocking is allowed.
    pub(crate) fn by_password(&self, name: &str, password: &str) -> Option<Role> {
        if password.len() > LONGEST_PASSWORD {
            return None;
        }
        let _one_at_a_time = self.checking.lock().unwrap_or_else(PoisonError::into_inner);
        let user = self.users.iter().find(|user| user.name == name)?;
        let hash = PasswordHash::new(&user.password).ok()?;
        Argon2::default().verify_password(password.as_bytes(), &hash).ok()?;
        Some(user.role)
    }
}

fn first_user() -> Result<(User, String), AccessError> {
    let password = random_text(PASSWORD_LENGTH);
    let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>()).map_err(AccessError::Hash)?;
    let hash = Argon2::default().hash_password(password.as_bytes(), &salt).map_err(AccessError::Hash)?.to_string();
    Ok((User { name: "admin".to_owned(), role: Role::Admin, password: hash }, password))
}

fn random_text(length: usize) -> String {
    rand::rng().sample_iter(Alphanumeric).take(length).map(char::from).collect()
}

/// Writes a file that only its owner may read, in one step: it is never there half-written.
fn write_private(path: &Path, text: &str) -> Result<(), AccessError> {
    let failed = |source| AccessError::File { path: path.to_owned(), source };
    let new = path.with_extension("new");
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new).map_err(failed)?;
    io::Write::write_all(&mut file, text.as_bytes()).map_err(failed)?;
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
    fn the_first_start_makes_an_admin_whose_password_is_shown_once() {
        let dir = tempfile::tempdir().unwrap();
        let (access, password) = Access::open(dir.path()).unwrap();
        let password = password.unwrap();
        assert_eq!(access.by_password("admin", &password), Some(Role::Admin));
        assert_eq!(access.by_password("admin", "admin"), None);
        assert_eq!(access.by_password("root", &password), None);
        let (again, none) = Access::open(dir.path()).unwrap();
        assert_eq!(none, None);
        assert_eq!(again.by_password("admin", &password), Some(Role::Admin));
        assert!(!fs::read_to_string(dir.path().join(USERS_FILE)).unwrap().contains(&password));
    }

    #[test]
    fn only_the_owner_may_read_the_token() {
        let dir = tempfile::tempdir().unwrap();
        let (access, _) = Access::open(dir.path()).unwrap();
        let path = dir.path().join(TOKEN_FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let token = fs::read_to_string(&path).unwrap();
        assert_eq!(access.by_token(&token), Some(Role::Admin));
        assert_eq!(access.by_token(""), None);
        assert_eq!(access.by_token(&token.to_lowercase().replace(|_: char| true, "x")), None);
    }

    #[test]
    fn a_damaged_users_file_lets_nobody_in() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(USERS_FILE), "[{").unwrap();
        assert!(matches!(Access::open(dir.path()), Err(AccessError::Damaged { .. })));
    }
}
