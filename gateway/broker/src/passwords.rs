//! Checks passwords against argon2 hashes: one at a time, in a thread of its own, and each right one once.
//!
//! A check takes megabytes and some 20 ms of a processor on purpose. When all clients of a plant come back at once, each
//! password is checked once and then known by a digest under a key that this process alone has; wrong ones are always
//! checked anew. The thread is started when it is first needed and ends with the broker.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    thread,
};

use argon2::{
    Algorithm, Argon2, Block, Params, PasswordHash, Version,
    password_hash::{self, Output, PasswordHasher, SaltString},
};
use sha2::{Digest, Sha256};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Duration, timeout},
};

/// Checks that wait for their turn; more wait for a place.
const WAITING: usize = 16;
/// How long a client may wait for its turn.
const PATIENCE: Duration = Duration::from_secs(10);
/// Right passwords that are known.
const KNOWN: usize = 4_096;
/// KiB of memory and passes over it: of the choices that OWASP holds for equally good (Password Storage Cheat Sheet,
/// Argon2id) the one with the least memory.
const COST: (u32, u32) = (7 * 1024, 5);

/// The hash of a password, in PHC form, with its salt and cost.
///
/// # Errors
///
/// When there is no memory for it.
pub fn password_hash(password: &str) -> Result<String, password_hash::Error> {
    let (memory, passes) = COST;
    let params = Params::new(memory, passes, 1, None)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>())?;
    Ok(argon2.hash_password(password.as_bytes(), &salt)?.to_string())
}

/// Checks passwords.
#[derive(Debug)]
pub(crate) struct Passwords {
    checks: OnceLock<mpsc::Sender<Check>>,
    known: Arc<Known>,
}

/// The passwords that have been checked and were right.
#[derive(Debug)]
struct Known {
    key: [u8; 32],
    digests: Mutex<HashSet<[u8; 32]>>,
}

#[derive(Debug)]
struct Check {
    password: String,
    hash: String,
    reply: oneshot::Sender<bool>,
}

impl Default for Passwords {
    fn default() -> Passwords {
        let known = Known { key: rand::random(), digests: Mutex::default() };
        Passwords { checks: OnceLock::new(), known: Arc::new(known) }
    }
}

impl Passwords {
    /// Whether this is the password of that hash; `None` when it could not be found out in time.
    pub(crate) async fn check(&self, password: &str, hash: &str) -> Option<bool> {
        if self.known.has(password, hash) {
            return Some(true);
        }
        let (reply, answer) = oneshot::channel();
        let check = Check { password: password.to_owned(), hash: hash.to_owned(), reply };
        let checks = self.checks.get_or_init(|| start(Arc::clone(&self.known)));
        let asked = async {
            checks.send(check).await.ok()?;
            answer.await.ok()
        };
        timeout(PATIENCE, asked).await.ok().flatten()
    }

    /// Forgets what was right: users have changed.
    pub(crate) fn forget(&self) {
        self.known.digests().clear();
    }
}

/// Starts the thread. Without one nobody is let in by a hash.
fn start(known: Arc<Known>) -> mpsc::Sender<Check> {
    let (checks, mut waiting) = mpsc::channel::<Check>(WAITING);
    let work = move || {
        // Kept from check to check: given back and taken again, the allocator makes more of it.
        let mut memory = Vec::new();
        while let Some(Check { password, hash, reply }) = waiting.blocking_recv() {
            // Who has gone away meanwhile costs nothing, and who came with the same password as another before neither.
            if reply.is_closed() {
                continue;
            }
            let right = known.has(&password, &hash) || is(&password, &hash, &mut memory);
            if right {
                known.add(&password, &hash);
            }
            let _ = reply.send(right);
        }
    };
    if let Err(error) = thread::Builder::new().name("mqtt-passwords".to_owned()).spawn(work) {
        tracing::error!(%error, "passwords of MQTT clients cannot be checked, the system gives no thread; restart the gateway");
    }
    checks
}

impl Known {
    fn digests(&self) -> std::sync::MutexGuard<'_, HashSet<[u8; 32]>> {
        self.digests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn digest(&self, password: &str, hash: &str) -> [u8; 32] {
        let mut digest = Sha256::new_with_prefix(self.key);
        digest.update(u64::try_from(hash.len()).unwrap_or(u64::MAX).to_be_bytes());
        digest.update(hash);
        digest.update(password);
        // The key at both ends, so that nothing can be added to what was digested.
        digest.update(self.key);
        digest.finalize().into()
    }

    fn has(&self, password: &str, hash: &str) -> bool {
        let digest = self.digest(password, hash);
        self.digests().contains(&digest)
    }

    fn add(&self, password: &str, hash: &str) {
        let digest = self.digest(password, hash);
        let mut digests = self.digests();
        if digests.len() >= KNOWN {
            digests.clear();
        }
        digests.insert(digest);
    }
}

/// Whether this is the password of that hash; a hash that cannot be read has none.
fn is(password: &str, hash: &str, memory: &mut Vec<Block>) -> bool {
    let mut same = || -> Result<bool, password_hash::Error> {
        let hash = PasswordHash::new(hash)?;
        let (salt, output) = hash.salt.zip(hash.hash).ok_or(password_hash::Error::PhcStringField)?;
        let mut bytes = [0; password_hash::Salt::MAX_LENGTH];
        let salt = salt.decode_b64(&mut bytes)?;
        // The cost is the one in the hash; the site has bounded it.
        let params = Params::try_from(&hash)?;
        memory.resize(params.block_count(), Block::default());
        let argon2 = Argon2::new(Algorithm::try_from(hash.algorithm)?, Version::V0x13, params);
        let found = Output::init_with(output.len(), |out| {
            Ok(argon2.hash_password_into_with_memory(password.as_bytes(), salt, out, memory.as_mut_slice())?)
        })?;
        // Compares in constant time.
        Ok(found == output)
    };
    same().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_by_its_hash() {
        let passwords = Passwords::default();
        let hash = password_hash("tide").unwrap();
        assert_eq!(passwords.check("tide", &hash).await, Some(true));
        assert_eq!(passwords.check("Tide", &hash).await, Some(false));
        assert_eq!(passwords.check("tide", "tide").await, Some(false));
        assert_eq!(passwords.check("tide", &password_hash("ebb").unwrap()).await, Some(false));
    }

    #[tokio::test]
    async fn a_right_password_is_worked_out_once_and_a_wrong_one_each_time() {
        let passwords = Passwords::default();
        let hash = password_hash("tide").unwrap();
        assert_eq!(passwords.check("tide", &hash).await, Some(true));
        assert!(passwords.known.has("tide", &hash) && !passwords.known.has("ebb", &hash));
        assert_eq!(passwords.check("ebb", &hash).await, Some(false));
        assert!(!passwords.known.has("ebb", &hash));
        passwords.forget();
        assert!(!passwords.known.has("tide", &hash));
    }
}
