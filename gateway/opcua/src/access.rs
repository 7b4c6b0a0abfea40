//! Who may log in, and what for.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
    path::Path,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use opcua::{
    crypto::{SecurityPolicy, Thumbprint, X509},
    nodes::AccessLevel,
    server::{
        ServerEndpoint, ServerUserToken,
        authenticator::{AuthManager, CoreServerPermissions, DefaultAuthenticator, Password, UserToken},
    },
    types::{DateTime, Error, MessageSecurityMode, NodeId, StatusCode, UAString, UserTokenPolicy, UserTokenType},
};
use tidegate_config::{OpcUaRole, OpcUaServer, OpcUaUser};
use tidegate_trust::Certificate;
use tracing::{error, warn};

use crate::{guests::Guests, values};

/// How long whoever gave a wrong password waits for the answer.
const WRONG_PASSWORD: Duration = Duration::from_secs(1);

/// Checks logins and roles.
pub(crate) struct Users {
    target: String,
    users: HashMap<String, OpcUaUser>,
    /// By the thumbprint of the certificate.
    certificates: HashMap<String, (Certificate, UserToken)>,
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
            certificates: options.users.iter().filter_map(|user| certificate(target, user)).collect(),
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
    let by_password = users.iter().filter_map(|user| {
        let password = user.password.as_ref()?.reveal();
        Some((token(user), ServerUserToken::user_pass(user.name.as_str(), password)))
    });
    let by_certificate = users.iter().filter_map(|user| {
        let file = user.certificate.as_ref()?;
        Some((format!("certificate:{}", user.name), ServerUserToken::x509(user.name.as_str(), file)))
    });
    by_password.chain(by_certificate).collect()
}

/// Tries whether a user can log in with the certificate in this file, PEM or DER.
///
/// # Errors
///
/// Why not, as a text that completes "failed to …".
pub fn check_user_certificate(path: &Path) -> Result<(), String> {
    user_certificate(path).map(drop).map_err(|why| format!("read the certificate in {}: {why}", path.display()))
}

/// A certificate with its thumbprint.
fn user_certificate(path: &Path) -> Result<(String, Certificate), String> {
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    let library = if bytes.starts_with(b"-----BEGIN") { X509::from_pem(&bytes) } else { X509::from_der(&bytes) };
    let library = library.map_err(|error| error.to_string())?;
    let der = library.to_der().map_err(|error| error.to_string())?;
    let certificate = Certificate::from_der(&der).map_err(|error| error.to_string())?;
    Ok((library.thumbprint().as_hex_string(), certificate))
}

/// The certificate of a user, by its thumbprint. A file that is none keeps that user out, and nobody else.
fn certificate(target: &str, user: &OpcUaUser) -> Option<(String, (Certificate, UserToken))> {
    let path = user.certificate.as_ref()?;
    let read = user_certificate(path);
    let read = read.map(|(thumbprint, certificate)| (thumbprint, (certificate, UserToken(token(user)))));
    read.map_err(|error| {
        error!(
            target_name = target, user = user.name, path = %path.display(), error,
            "the certificate of an OPC UA user cannot be read; the user cannot log in with it; put the right file there and reload"
        );
    })
    .ok()
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
        let is_right =
            |user: &&OpcUaUser| user.password.as_ref().is_some_and(|known| same(known.reveal(), password.get()));
        if let Some(user) = self.users.get(username).filter(is_right) {
            return self.welcome(UserToken(token(user)));
        }
        warn!(target_name = %self.target, user = username.escape_debug().to_string(), "OPC UA login with a wrong name or password");
        tokio::time::sleep(WRONG_PASSWORD).await;
        Err(Error::new(StatusCode::BadUserAccessDenied, "wrong user name or password"))
    }

    /// The library has made sure that the client has the key of the certificate.
    async fn authenticate_x509_identity_token(
        &self,
        _endpoint: &ServerEndpoint,
        thumbprint: &Thumbprint,
    ) -> Result<UserToken, Error> {
        let found = self.certificates.get(&thumbprint.as_hex_string());
        let now = values::timestamp(&DateTime::now());
        let why = match found.zip(now).map(|((certificate, token), now)| (certificate.check(now, None, None), token)) {
            Some((Ok(()), token)) => return self.welcome(token.clone()),
            Some((Err(unfit), token)) => format!("{}: {unfit}", token.0),
            None => "no user has this certificate".to_owned(),
        };
        warn!(target_name = %self.target, why, thumbprint = thumbprint.as_hex_string(), "OPC UA login with a certificate refused");
        tokio::time::sleep(WRONG_PASSWORD).await;
        Err(Error::new(StatusCode::BadIdentityTokenRejected, "this certificate lets nobody in"))
    }

    fn effective_user_access_level(&self, token: &UserToken, level: AccessLevel, _node: &NodeId) -> AccessLevel {
        if self.roles.is_operator(token) { level } else { level - AccessLevel::CURRENT_WRITE }
    }

    fn user_token_policies(&self, endpoint: &ServerEndpoint) -> Vec<UserTokenPolicy> {
        let mut policies = self.words.user_token_policies(endpoint);
        // The library names a policy that nobody should use any more.
        let strong = match endpoint.security_policy() {
            SecurityPolicy::None => SecurityPolicy::Basic256Sha256,
            own => own,
        };
        for policy in policies.iter_mut().filter(|policy| policy.token_type == UserTokenType::Certificate) {
            policy.security_policy_uri = UAString::from(strong.to_uri());
        }
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
