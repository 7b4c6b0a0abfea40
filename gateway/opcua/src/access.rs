//! Who may log in, and what for.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use opcua::{
    crypto::SecurityPolicy,
    nodes::AccessLevel,
    server::{
        ServerEndpoint, ServerUserToken,
        authenticator::{AuthManager, CoreServerPermissions, DefaultAuthenticator, Password, UserToken},
    },
    types::{Error, MessageSecurityMode, NodeId, StatusCode, UAString, UserTokenPolicy, UserTokenType},
};
use tidegate_config::{OpcUaRole, OpcUaServer, OpcUaUser};
use tracing::warn;

use crate::guests::Guests;

/// How long whoever gave a wrong password waits for the answer.
const WRONG_PASSWORD: Duration = Duration::from_secs(1);

/// Checks logins and roles.
pub(crate) struct Users {
    target: String,
    users: HashMap<String, OpcUaUser>,
    anonymous: bool,
    roles: Roles,
    guests: Arc<Guests>,
    /// Knows the library's words for the kinds of login.
    words: DefaultAuthenticator,
}

/// The tokens of the users who may write.
#[derive(Debug, Clone)]
pub(crate) struct Roles(Arc<HashSet<String>>);

impl Roles {
    pub(crate) fn new(users: &[OpcUaUser]) -> Roles {
        Roles(Arc::new(users.iter().filter(|user| user.role == OpcUaRole::Operator).map(token).collect()))
    }

    /// Whether this token is that of a user who may write.
    pub(crate) fn is_operator(&self, known: &UserToken) -> bool {
        self.0.contains(&known.0)
    }
}

impl Users {
    pub(crate) fn new(target: &str, options: &OpcUaServer, guests: Arc<Guests>) -> Users {
        Users {
            target: target.to_owned(),
            users: options.users.iter().map(|user| (user.name.clone(), user.clone())).collect(),
            anonymous: options.anonymous,
            roles: Roles::new(&options.users),
            guests,
            words: DefaultAuthenticator::new(tokens(&options.users)),
        }
    }

    /// Lets in whoever is who they say, while there is room.
    fn welcome(&self, token: UserToken) -> Result<UserToken, Error> {
        match self.guests.has_room() {
            true => Ok(token),
            false => Err(Error::new(StatusCode::BadTooManySessions, "as many clients are logged in as may be")),
        }
    }
}

/// The name of a user among the library's tokens: apart from its word for the anonymous.
fn token(user: &OpcUaUser) -> String {
    format!("user:{}", user.name)
}

/// The users as the library's configuration wants them. It does not look at these passwords: `Users` does.
pub(crate) fn tokens(users: &[OpcUaUser]) -> BTreeMap<String, ServerUserToken> {
    let entry =
        |user: &OpcUaUser| (token(user), ServerUserToken::user_pass(user.name.as_str(), user.password.reveal()));
    users.iter().map(entry).collect()
}

/// Compares in a time that does not tell where the texts differ.
fn same(one: &str, other: &str) -> bool {
    let pairs = one.bytes().zip(other.bytes());
    one.len() == other.len() && pairs.fold(0, |differences, (a, b)| differences | (a ^ b)) == 0
}

#[async_trait]
impl AuthManager for Users {
    async fn authenticate_anonymous_token(&self, _endpoint: &ServerEndpoint) -> Result<(), Error> {
        match self.anonymous {
            true => self.welcome(UserToken(String::new())).map(|_| ()),
            false => Err(Error::new(StatusCode::BadIdentityTokenRejected, "this server wants a user name")),
        }
    }

    async fn authenticate_username_identity_token(
        &self,
        _endpoint: &ServerEndpoint,
        username: &str,
        password: &Password,
    ) -> Result<UserToken, Error> {
        if let Some(user) = self.users.get(username).filter(|user| same(user.password.reveal(), password.get())) {
            return self.welcome(UserToken(token(user)));
        }
        warn!(target_name = %self.target, user = username.escape_debug().to_string(), "OPC UA login with a wrong name or password");
        tokio::time::sleep(WRONG_PASSWORD).await;
        Err(Error::new(StatusCode::BadUserAccessDenied, "wrong user name or password"))
    }

    fn effective_user_access_level(&self, token: &UserToken, level: AccessLevel, _node: &NodeId) -> AccessLevel {
        if self.roles.is_operator(token) { level } else { level - AccessLevel::CURRENT_WRITE }
    }

    fn user_token_policies(&self, endpoint: &ServerEndpoint) -> Vec<UserTokenPolicy> {
        let mut policies = self.words.user_token_policies(endpoint);
        if endpoint.message_security_mode() == MessageSecurityMode::None {
            // Without a word on it a client would send the password as it is.
            for policy in policies.iter_mut().filter(|policy| policy.token_type == UserTokenType::UserName) {
                policy.security_policy_uri = UAString::from(SecurityPolicy::Basic256Sha256.to_uri());
            }
        }
        policies
    }

    fn core_permissions(&self, _token: &UserToken) -> CoreServerPermissions {
        CoreServerPermissions { read_diagnostics: true }
    }
}
