//! Who may connect.

use std::{
    collections::HashMap,
    hint::black_box,
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock},
};

use tidegate_config::{Anonymous, Broker, BrokerLogin, BrokerUser};
use tokio::time::{Duration, Instant, sleep};

use crate::{
    attempts::Attempts,
    inside::{Inside, MARK},
    passwords::Passwords,
    rights::{Granted, Rights},
};

/// How long a client with a wrong login waits for its answer.
const DELAY: Duration = Duration::from_millis(500);
/// A hash that no password has, for names that there are not: they are to take as long.
const NOBODY: &str = "$argon2id$v=19$m=7168,t=5,p=1$bm9ib2R5bm9ib2R5bm8$bm9ib2R5bm9ib2R5bm9ib2R5bm9ib2R5bm8";
/// Longer passwords are not even tried.
const LONGEST: usize = 4_096;

/// The users of a broker.
#[derive(Debug)]
pub(crate) struct Users {
    list: RwLock<Arc<List>>,
    passwords: Passwords,
    attempts: Attempts,
    topic_root: Arc<str>,
    /// Parts of the gateway itself, by user name.
    insiders: RwLock<HashMap<String, Arc<Inside>>>,
}

#[derive(Debug)]
struct List {
    users: Vec<BrokerUser>,
    anonymous: Anonymous,
    /// Counts the lists; one that says the same as the one before has its number.
    generation: u64,
}

/// Whoever wants to come in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Visitor<'a> {
    /// User name and password.
    pub(crate) login: Option<(&'a str, &'a str)>,
    /// The name in its certificate, which has been checked.
    pub(crate) certificate: Option<&'a str>,
    /// The client id.
    pub(crate) client: &'a str,
    pub(crate) address: IpAddr,
}

/// Why a visitor is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// The login is missing or wrong.
    Wrong,
    /// Too many wrong ones came before, or too many are being checked.
    Later,
}

/// What has become of the rights of somebody who is in, after users have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// They are the same.
    Same,
    /// They are others.
    Changed,
    /// There is no such user any more.
    Gone,
}

impl Users {
    pub(crate) fn new(options: &Broker) -> Users {
        let list = List { users: options.users.clone(), anonymous: options.anonymous.clone(), generation: 0 };
        Users {
            list: RwLock::new(Arc::new(list)),
            passwords: Passwords::default(),
            attempts: Attempts::default(),
            topic_root: options.topic_root.as_str().into(),
            insiders: RwLock::default(),
        }
    }

    /// Lets a part of the gateway in under this name from now on.
    pub(crate) fn let_in(&self, name: String, inside: Arc<Inside>) {
        self.insiders.write().unwrap_or_else(PoisonError::into_inner).insert(name, inside);
    }

    fn insider(&self, name: &str) -> Option<Arc<Inside>> {
        self.insiders.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn list(&self) -> Arc<List> {
        Arc::clone(&self.list.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Which list of users there is now. Whoever has logged in with another one has not been reviewed.
    pub(crate) fn generation(&self) -> u64 {
        self.list().generation
    }

    /// Takes other users. Returns the names of those who have to log in again: their password is another one now.
    pub(crate) fn replace(&self, options: &Broker) -> Vec<String> {
        let (users, anonymous) = (options.users.clone(), options.anonymous.clone());
        let before = {
            let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
            let is_other = (&list.users, &list.anonymous) != (&users, &anonymous);
            let generation = list.generation + u64::from(is_other);
            std::mem::replace(&mut *list, Arc::new(List { users, anonymous, generation }))
        };
        self.passwords.forget();
        let now = self.list();
        let changed = before.users.iter().filter(|old| now.user(&old.name).is_some_and(|new| new.login != old.login));
        changed.map(|user| user.name.clone()).collect()
    }

    /// Gives somebody who is in the rights of now; none to who is no user any more.
    pub(crate) fn review(&self, rights: &Rights) -> Standing {
        let Some(granted) = self.list().granted(rights.user(), rights.client()) else {
            rights.grant(Granted::nothing());
            return Standing::Gone;
        };
        if rights.grant(granted) { Standing::Changed } else { Standing::Same }
    }

    /// The rights of a user who was let in before a restart; `None` when there is no such user any more.
    pub(crate) fn rights(&self, user: Option<&str>, client: &str) -> Option<Rights> {
        let granted = self.list().granted(user, client)?;
        let rights = Rights::new(user.map(str::to_owned), client, granted, &self.topic_root);
        if let Some(inside) = user.and_then(|user| self.insider(user)) {
            rights.is_inside(&inside);
        }
        Some(rights)
    }

    /// Lets a visitor in, with its rights, or not. A wrong login is answered late.
    pub(crate) async fn login(&self, visitor: Visitor<'_>) -> Result<Rights, Denied> {
        let list = self.list();
        if let Some((name, password)) = visitor.login.filter(|(name, _)| name.starts_with(MARK)) {
            let right = self.insider(name).is_some_and(|inside| same(password, &inside.password));
            return self.rights(Some(name), visitor.client).filter(|_| right).ok_or(Denied::Wrong);
        }
        let name = match (visitor.certificate, visitor.login) {
            (Some(certificate), login) if list.user(certificate).is_some() => {
                // A name beside the certificate may only repeat it.
                match login {
                    Some((name, _)) if !name.is_empty() && name != certificate => return Err(Denied::Wrong),
                    _ => Some(certificate),
                }
            }
            (_, Some((name, password))) if !list.users.is_empty() => {
                self.check(&list, name, password, visitor.address).await?;
                Some(name)
            }
            _ => None,
        };
        self.rights(name, visitor.client).ok_or(Denied::Wrong)
    }

    async fn check(&self, list: &List, name: &str, password: &str, address: IpAddr) -> Result<(), Denied> {
        if !self.attempts.may_try(address, name, Instant::now()) {
            sleep(DELAY).await;
            return Err(Denied::Later);
        }
        match self.is_right(list, name, password).await {
            Some(true) => {
                self.attempts.succeeded(address, name);
                Ok(())
            }
            Some(false) => {
                if self.attempts.failed(address, name, Instant::now()) {
                    tracing::warn!(
                        user = name, %address,
                        "wrong passwords come again and again for this MQTT user from there; further ones are not even tried for a while"
                    );
                }
                sleep(DELAY).await;
                Err(Denied::Wrong)
            }
            None => Err(Denied::Later),
        }
    }

    /// Whether name and password belong together. All plain passwords are compared, each over the whole length of what the
    /// client sent, and names that there are not take as long as hashes do, so that the time tells nothing about either.
    async fn is_right(&self, list: &List, name: &str, password: &str) -> Option<bool> {
        if password.len() > LONGEST {
            return Some(false);
        }
        let (mut right, mut hash, mut hashes) = (false, None, false);
        for user in &list.users {
            let named = same(name, &user.name);
            match &user.login {
                BrokerLogin::Password(secret) => right |= black_box(named & same(password, secret.reveal())),
                BrokerLogin::Hash(found) => {
                    hashes = true;
                    if named {
                        hash = Some(found.reveal());
                    }
                }
                BrokerLogin::Certificate => {}
            }
        }
        if right || !hashes {
            return Some(right);
        }
        let is_plain = hash.is_none() && list.user(name).is_some();
        if is_plain {
            return Some(false);
        }
        let is_right = self.passwords.check(password, hash.unwrap_or(NOBODY)).await?;
        Some(is_right && hash.is_some())
    }
}

impl List {
    fn user(&self, name: &str) -> Option<&BrokerUser> {
        self.users.iter().find(|user| user.name == name)
    }

    /// What a user, or somebody without a name, may do; `None` when that is nobody who may come in.
    fn granted(&self, user: Option<&str>, client: &str) -> Option<Granted> {
        match (user, &self.anonymous) {
            (Some(name), _) if name.starts_with(MARK) => Some(Granted::Everything),
            (Some(name), _) => self.user(name).map(|user| Granted::to(&user.rights, Some(name), client)),
            (None, Anonymous::Refused) => None,
            (None, Anonymous::Everything) => Some(Granted::Everything),
            (None, Anonymous::Rights(rights)) => Some(Granted::to(rights, None, client)),
        }
    }
}

/// Whether two texts are the same, in a time that depends on the length of `given` alone.
fn same(given: &str, secret: &str) -> bool {
    let mut difference = u8::from(given.len() != secret.len());
    let mut secret = secret.bytes();
    for byte in given.bytes() {
        difference = black_box(difference | (byte ^ secret.next().unwrap_or(!byte)));
    }
    black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use tidegate_config::{Secret, TopicRights};

    use super::*;
    use crate::passwords::password_hash;

    fn visitor<'a>(login: Option<(&'a str, &'a str)>, certificate: Option<&'a str>) -> Visitor<'a> {
        Visitor { login, certificate, client: "c", address: IpAddr::from([127, 0, 0, 1]) }
    }

    fn user(name: &str, login: BrokerLogin) -> BrokerUser {
        BrokerUser { name: name.to_owned(), login, rights: TopicRights::default() }
    }

    fn plain(name: &str, password: &str) -> BrokerUser {
        BrokerUser::literal(name, password, &["a"], &[])
    }

    fn options(users: Vec<BrokerUser>) -> Broker {
        Broker::on_loopback().with_users(users)
    }

    async fn name_of(users: &Users, visitor: Visitor<'_>) -> Result<Option<String>, Denied> {
        users.login(visitor).await.map(|rights| rights.user().map(str::to_owned))
    }

    #[tokio::test]
    async fn without_users_everybody_may_do_everything() {
        let users = Users::new(&options(Vec::new()));
        for login in [None, Some(("anybody", "anything"))] {
            assert!(users.login(visitor(login, None)).await.unwrap().may_subscribe("#"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_login_needs_the_right_name_with_the_right_password() {
        let users = Users::new(&options(vec![plain("scada", "one"), plain("viewer", "two")]));
        assert_eq!(name_of(&users, visitor(Some(("viewer", "two")), None)).await, Ok(Some("viewer".to_owned())));
        for (name, password) in [("scada", "two"), ("viewer", "tw"), ("viewer", "two "), ("", ""), ("Scada", "one")] {
            let asked = Instant::now();
            assert_eq!(name_of(&users, visitor(Some((name, password)), None)).await, Err(Denied::Wrong), "{name}");
            assert_eq!(asked.elapsed(), DELAY, "a wrong login waits");
        }
        assert_eq!(name_of(&users, visitor(None, None)).await, Err(Denied::Wrong));
    }

    #[tokio::test]
    async fn a_hash_is_as_good_as_a_password() {
        let hash = Secret::literal(password_hash("tide").unwrap());
        let users = Users::new(&options(vec![user("scada", BrokerLogin::Hash(hash)), plain("viewer", "two")]));
        let scada = Ok(Some("scada".to_owned()));
        assert_eq!(name_of(&users, visitor(Some(("scada", "tide")), None)).await, scada);
        assert_eq!(name_of(&users, visitor(Some(("scada", "tide")), None)).await, scada);
        for (name, password) in [("scada", "ebb"), ("nobody", "tide"), ("viewer", "tide"), ("scada", "two")] {
            assert_eq!(name_of(&users, visitor(Some((name, password)), None)).await, Err(Denied::Wrong), "{name}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_certificate_names_its_user_and_nobody_else() {
        let users = Users::new(&options(vec![user("press", BrokerLogin::Certificate), plain("viewer", "two")]));
        let press = Ok(Some("press".to_owned()));
        assert_eq!(name_of(&users, visitor(None, Some("press"))).await, press);
        assert_eq!(name_of(&users, visitor(Some(("press", "")), Some("press"))).await, press);
        assert_eq!(name_of(&users, visitor(Some(("viewer", "two")), Some("press"))).await, Err(Denied::Wrong));
        assert_eq!(name_of(&users, visitor(Some(("press", "")), None)).await, Err(Denied::Wrong));
        assert_eq!(name_of(&users, visitor(None, Some("stranger"))).await, Err(Denied::Wrong));
        let viewer = Ok(Some("viewer".to_owned()));
        assert_eq!(name_of(&users, visitor(Some(("viewer", "two")), Some("stranger"))).await, viewer);
    }

    #[tokio::test(start_paused = true)]
    async fn who_guesses_is_not_even_heard_any_more_and_others_are() {
        let users = Users::new(&options(vec![plain("scada", "one")]));
        for _ in 0..5 {
            assert_eq!(name_of(&users, visitor(Some(("scada", "guess")), None)).await, Err(Denied::Wrong));
        }
        assert_eq!(name_of(&users, visitor(Some(("scada", "one")), None)).await, Err(Denied::Later));
        let elsewhere = Visitor { address: IpAddr::from([10, 0, 0, 1]), ..visitor(Some(("scada", "one")), None) };
        assert!(name_of(&users, elsewhere).await.is_ok());
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(name_of(&users, visitor(Some(("scada", "one")), None)).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_name_there_are_the_rights_for_everybody() {
        let rights = TopicRights { publish: vec!["in/%c".to_owned()], subscribe: vec!["out/#".to_owned()] };
        let options = Broker { anonymous: Anonymous::Rights(rights), ..options(vec![plain("scada", "one")]) };
        let users = Users::new(&options);
        let anybody = users.login(visitor(None, None)).await.unwrap();
        assert!(anybody.may_publish("in/c") && anybody.may_subscribe("out/x") && !anybody.may_subscribe("#"));
        let wrong = visitor(Some(("scada", "guess")), None);
        assert_eq!(name_of(&users, wrong).await, Err(Denied::Wrong), "a wrong login is not taken for none");
    }

    #[tokio::test]
    async fn a_reload_changes_the_rights_of_those_who_are_in() {
        let users = Users::new(&options(vec![plain("scada", "one"), plain("viewer", "two")]));
        let scada = users.login(visitor(Some(("scada", "one")), None)).await.unwrap();
        let viewer = users.login(visitor(Some(("viewer", "two")), None)).await.unwrap();
        assert_eq!(users.review(&scada), Standing::Same);
        let other = BrokerUser::literal("scada", "other", &["b"], &[]);
        assert_eq!(users.replace(&options(vec![other])), ["scada"]);
        assert_eq!((users.review(&scada), users.review(&viewer)), (Standing::Changed, Standing::Gone));
        assert!(scada.may_publish("b") && !scada.may_publish("a"));
        assert!(!viewer.may_publish("a"), "who is gone may do nothing");
        assert!(users.login(visitor(Some(("scada", "one")), None)).await.is_err());
    }
}
