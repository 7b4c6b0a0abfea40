//! Hashes passwords and checks them: one at a time, in a thread of its own.
//!
//! A check takes 7 MiB and some 20 ms of a processor on purpose. Whatever a flood of logins asks for, it gets no more than
//! that, and the tasks of the gateway are not kept waiting. The memory is kept from check to check: given back and taken
//! again, the C library's allocator makes five times as much of it.

use std::{io, thread};

use argon2::{
    Algorithm, Argon2, Block, Params, PasswordHash, Version,
    password_hash::{self, Output, PasswordHasher, SaltString},
};
use tokio::sync::{mpsc, oneshot};

use crate::access::Refused;

/// Checks that wait for their turn; one more is refused.
const WAITING: usize = 16;
/// KiB of memory and passes over it: of the choices that OWASP holds for equally good (Password Storage Cheat Sheet,
/// Argon2id) the one with the least memory.
const COST: (u32, u32) = (7 * 1024, 5);

/// The thread that checks passwords. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Passwords {
    checks: mpsc::Sender<Check>,
}

#[derive(Debug)]
struct Check {
    password: String,
    hash: String,
    reply: oneshot::Sender<bool>,
}

impl Passwords {
    /// Starts the thread.
    pub(crate) fn start() -> io::Result<Passwords> {
        let (passwords, waiting) = Passwords::new();
        thread::Builder::new().name("passwords".to_owned()).spawn(|| serve(waiting))?;
        Ok(passwords)
    }

    /// Without the thread, and what waits for it.
    fn new() -> (Passwords, mpsc::Receiver<Check>) {
        let (checks, waiting) = mpsc::channel(WAITING);
        (Passwords { checks }, waiting)
    }

    /// Whether this is the password of that hash.
    ///
    /// # Errors
    ///
    /// [`Refused::Busy`] when too many checks wait.
    pub(crate) async fn check(&self, password: String, hash: String) -> Result<bool, Refused> {
        let (reply, answer) = oneshot::channel();
        self.checks.try_send(Check { password, hash, reply }).map_err(|_| Refused::Busy)?;
        answer.await.map_err(|_| Refused::Busy)
    }
}

/// Works on what waits, until nobody asks any more.
fn serve(mut waiting: mpsc::Receiver<Check>) {
    let mut memory = Vec::new();
    while let Some(check) = waiting.blocking_recv() {
        // Who has gone away meanwhile costs nothing.
        if !check.reply.is_closed() {
            let _ = check.reply.send(is(&check.password, &check.hash, &mut memory));
        }
    }
}

/// The hash of a password, in PHC form, with its salt and cost.
pub(crate) fn hash(password: &str) -> Result<String, password_hash::Error> {
    let (memory, passes) = COST;
    let params = Params::new(memory, passes, 1, None)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>())?;
    Ok(argon2.hash_password(password.as_bytes(), &salt)?.to_string())
}

/// Whether this is the password of that hash; a hash that cannot be read has none.
fn is(password: &str, hash: &str, memory: &mut Vec<Block>) -> bool {
    let mut same = || -> Result<bool, password_hash::Error> {
        let hash = PasswordHash::new(hash)?;
        let (salt, output) = hash.salt.zip(hash.hash).ok_or(password_hash::Error::PhcStringField)?;
        let mut bytes = [0; password_hash::Salt::MAX_LENGTH];
        let salt = salt.decode_b64(&mut bytes)?;
        // The cost is the one in the hash.
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
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[tokio::test]
    async fn a_password_is_known_by_its_hash() {
        let passwords = Passwords::start().unwrap();
        let hash = hash("tide").unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=7168,t=5,p=1$"), "{hash}");
        assert_eq!(passwords.check("tide".to_owned(), hash.clone()).await, Ok(true));
        assert_eq!(passwords.check("Tide".to_owned(), hash).await, Ok(false));
        assert_eq!(passwords.check("tide".to_owned(), "tide".to_owned()).await, Ok(false));
    }

    #[tokio::test]
    async fn a_flood_is_told_to_come_back_and_leaves_nothing_behind() {
        let (passwords, checks) = Passwords::new();
        let hash = hash("tide").unwrap();
        // All are sent before the first is worked on.
        let (mut waiting, mut results) = (Vec::new(), Vec::new());
        for _ in 0..3 * WAITING {
            let mut check = Box::pin(passwords.check("guess".to_owned(), hash.clone()));
            match check.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(result) => results.push(result),
                Poll::Pending => waiting.push(check),
            }
        }
        assert_eq!(results, vec![Err(Refused::Busy); 2 * WAITING]);
        let thread = thread::spawn(|| serve(checks));
        for check in waiting {
            assert_eq!(check.await, Ok(false));
        }
        assert_eq!(passwords.check("tide".to_owned(), hash).await, Ok(true));
        drop(passwords);
        thread.join().unwrap();
    }
}
