//! From an endpoint to a session that is logged in: what the server offers, whether its certificate is trusted, who we are.

use std::{sync::Arc, time::Duration};

use opcua::{
    client::{IdentityToken, Password, UARequest, services::ActivateSession},
    core::ResponseMessage,
    crypto::{CertificateStore, SecurityPolicy, X509, random, verify_signature_data},
    sync::RwLock,
    types::{
        ApplicationDescription, ApplicationType, ByteString, CreateSessionRequest, EndpointDescription, Error,
        GetEndpointsRequest, LocalizedText, NodeId, StatusCode, UAString, UserTokenPolicy, UserTokenType,
    },
};
use tidegate_driver_api::ConnectFault;
use tidegate_trust::Trust;

use crate::{
    channel::{Channel, ChannelPlan},
    config::{Identity, LinkKeys},
    fault::{Fault, hopeless},
    security,
};

/// Bytes of a nonce of a session (Part 4 §5.7.2).
const NONCE: usize = 32;

/// What has to be known to open a session.
pub(crate) struct Opening<'a> {
    pub(crate) keys: &'a LinkKeys,
    pub(crate) trust: &'a Trust,
    /// The name of the link, for lists of certificates.
    pub(crate) link: &'a str,
    /// How long one answer may take.
    pub(crate) timeout: Duration,
    /// How long a session that nobody uses stays with the server.
    pub(crate) idle: Duration,
}

/// A session of an earlier connection, to be taken up again.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    /// By which requests are known to be the session's.
    pub(crate) token: NodeId,
    /// What the next activation has to sign.
    pub(crate) nonce: ByteString,
}

/// A session that is logged in.
pub(crate) struct Opened {
    pub(crate) channel: Channel,
    pub(crate) held: Held,
    /// Whether it is the session of the connection before, with its subscriptions.
    pub(crate) resumed: bool,
}

impl Opening<'_> {
    fn server(&self) -> String {
        self.keys.endpoint.to_string()
    }

    fn certificates(&self) -> Arc<RwLock<CertificateStore>> {
        Arc::new(RwLock::new(CertificateStore::new(self.trust.root())))
    }

    async fn channel(&self, description: EndpointDescription) -> Result<Channel, Fault> {
        let plan = ChannelPlan {
            endpoint: &self.keys.endpoint,
            description,
            certificates: self.certificates(),
            timeout: self.timeout,
        };
        Channel::open(plan).await
    }

    /// The endpoint to use, its certificate judged.
    pub(crate) async fn discover(&self) -> Result<EndpointDescription, ConnectFault> {
        let server = self.server();
        let channel = self.channel(EndpointDescription::from(server.as_str())).await;
        let channel = channel.map_err(|fault| fault.not_connected(&server, "the connection"))?;
        let request = GetEndpointsRequest {
            request_header: channel.header(self.timeout),
            endpoint_url: server.as_str().into(),
            locale_ids: None,
            profile_uris: None,
        };
        let what = "the question for its endpoints";
        let answer = channel.send(request.into(), self.timeout).await;
        let offered = match answer.map_err(|fault| fault.not_connected(&server, what))? {
            ResponseMessage::GetEndpoints(answer) => answer.endpoints.unwrap_or_default(),
            _ => Vec::new(),
        };
        let mut chosen = security::choose(self.keys, offered)?;
        // Servers name themselves as their own network does; the way that we know works from here.
        chosen.endpoint_url = server.as_str().into();
        chosen.server_certificate = security::leaf(&chosen.server_certificate);
        Ok(chosen)
    }

    /// Opens the session, by taking up the one that is held if there is one.
    pub(crate) async fn session(
        &self,
        description: &EndpointDescription,
        held: Option<Held>,
    ) -> Result<Opened, ConnectFault> {
        let server = self.server();
        let policy = SecurityPolicy::from_uri(description.security_policy_uri.as_ref());
        security::judge(self, description, policy).await?;
        let identity = self.identity()?;
        let description = with_usable_tokens(description.clone(), &identity)?;
        let channel = self.channel(description.clone()).await;
        let channel = channel.map_err(|fault| fault.not_connected(&server, "the protected connection"))?;
        if let Some(held) = held {
            match self.activate(&channel, &description, &held, &identity).await {
                Ok(nonce) => return Ok(Opened { channel, held: Held { nonce, ..held }, resumed: true }),
                Err(Fault::Refused(status)) => {
                    tracing::debug!(link = self.link, %status, "the session before is over; another is opened");
                }
                Err(Fault::Closed(_)) if !channel.is_over() => {}
                Err(fault) => return Err(fault.not_connected(&server, "the session before")),
            }
        }
        let what = "opening a session";
        let created = self.create(&channel, &description, policy).await;
        let held = created.map_err(|fault| fault.not_connected(&server, what))?;
        let activated = self.activate(&channel, &description, &held, &identity).await;
        let nonce = activated.map_err(|fault| fault.not_connected(&server, "the login"))?;
        Ok(Opened { channel, held: Held { nonce, ..held }, resumed: false })
    }

    async fn create(
        &self,
        channel: &Channel,
        description: &EndpointDescription,
        policy: SecurityPolicy,
    ) -> Result<Held, Fault> {
        channel.set_session(NodeId::null());
        let own = match policy {
            SecurityPolicy::None => None,
            _ => Some(self.certificates().read().read_own_cert().map_err(Fault::Malformed)?),
        };
        let nonce = random::byte_string(NONCE);
        let request = CreateSessionRequest {
            request_header: channel.header(self.timeout),
            client_description: ApplicationDescription {
                application_uri: self.trust.application_uri().into(),
                product_uri: "urn:tidegate".into(),
                application_name: LocalizedText::new("", "Tidegate"),
                application_type: ApplicationType::Client,
                ..ApplicationDescription::default()
            },
            server_uri: UAString::null(),
            endpoint_url: description.endpoint_url.clone(),
            session_name: format!("Tidegate {}", self.link).into(),
            client_nonce: nonce.clone(),
            client_certificate: own.as_ref().map(X509::as_byte_string).unwrap_or_default(),
            requested_session_timeout: self.idle.as_secs_f64() * 1000.0,
            max_response_message_size: 0,
        };
        let answer = match channel.send(request.into(), self.timeout).await? {
            ResponseMessage::CreateSession(answer) => answer,
            answer => return Err(Fault::Malformed(format!("{} came, which is no session", answer.type_name()))),
        };
        if answer.response_header.service_result.is_bad() {
            return Err(Fault::refused(answer.response_header.service_result));
        }
        if let Some(own) = &own {
            let shown = security::leaf(&answer.server_certificate);
            if shown != description.server_certificate {
                return Err(Fault::Malformed("another certificate than that of the endpoint".to_owned()));
            }
            let server = X509::from_byte_string(&shown).map_err(|error| Fault::of(&error))?;
            verify_signature_data(&answer.server_signature, policy, &server, own, nonce.as_ref())
                .map_err(|_| Fault::Malformed("the server cannot prove that its certificate is its own".to_owned()))?;
        }
        Ok(Held { token: answer.authentication_token.clone(), nonce: answer.server_nonce.clone() })
    }

    /// Logs in; the answer is what the next activation has to sign.
    async fn activate(
        &self,
        channel: &Channel,
        description: &EndpointDescription,
        held: &Held,
        identity: &IdentityToken,
    ) -> Result<ByteString, Fault> {
        if let Some(state) = channel.state() {
            state.secure_channel().write().set_remote_nonce(held.nonce.as_ref());
        }
        channel.set_session(held.token.clone());
        let handle = channel.library().request_handle();
        let request = ActivateSession::new_manual(description.clone(), 0, self.timeout, held.token.clone(), handle)
            .identity_token(identity.clone());
        let request = match self.certificates().read().read_own_pkey() {
            Ok(key) => request.private_key(key),
            Err(_) => request,
        };
        let answer = request.send(channel.library()).await.map_err(|error| answered(&error))?;
        Ok(answer.server_nonce)
    }

    /// Who we are, with what the files of the link hold now.
    fn identity(&self) -> Result<IdentityToken, ConnectFault> {
        match &self.keys.identity {
            Identity::Anonymous => Ok(IdentityToken::Anonymous),
            Identity::User(name, password) => {
                Ok(IdentityToken::UserName(name.clone(), Password::new(password.reveal())))
            }
            Identity::Certificate(certificate, key) => {
                let unread = |error: String| hopeless(format!("the user's certificate or key cannot be used: {error}"));
                let certificate = CertificateStore::read_cert(certificate).map_err(unread)?;
                let key = CertificateStore::read_pkey(key).map_err(unread)?;
                Ok(IdentityToken::X509(Box::new(certificate), Box::new(key)))
            }
        }
    }
}

/// What an error of a request that the library built means: it does not tell a refusal of the server from its own errors.
fn answered(error: &Error) -> Fault {
    match error.status() {
        StatusCode::BadTimeout
        | StatusCode::BadConnectionClosed
        | StatusCode::BadNotConnected
        | StatusCode::BadCommunicationError
        | StatusCode::BadDecodingError
        | StatusCode::BadUnknownResponse => Fault::of(error),
        status => Fault::Refused(status),
    }
}

/// The endpoint with only those ways to log in that we can go.
fn with_usable_tokens(
    mut description: EndpointDescription,
    identity: &IdentityToken,
) -> Result<EndpointDescription, ConnectFault> {
    let (wanted, name) = match identity {
        IdentityToken::UserName(..) => (UserTokenType::UserName, "with a name and a password"),
        IdentityToken::X509(..) => (UserTokenType::Certificate, "with a certificate"),
        _ => (UserTokenType::Anonymous, "without a name"),
    };
    let mut tokens = description.user_identity_tokens.take().unwrap_or_default();
    if tokens.is_empty() && wanted == UserTokenType::Anonymous {
        tokens.push(UserTokenPolicy { token_type: wanted, ..UserTokenPolicy::default() });
    }
    tokens.retain(|token| {
        let policy = token.security_policy_uri.as_ref();
        token.token_type == wanted && (policy.is_empty() || SecurityPolicy::from_uri(policy).is_supported())
    });
    if tokens.is_empty() {
        return Err(hopeless(format!("the server lets nobody log in {name}: check `username` or `user_certificate`")));
    }
    for token in &mut tokens {
        // Without a policy of its own the login is protected by the channel's (Part 4 §7.41).
        if wanted == UserTokenType::Certificate && token.security_policy_uri.is_empty() {
            token.security_policy_uri = description.security_policy_uri.clone();
        }
    }
    description.user_identity_tokens = Some(tokens);
    Ok(description)
}
