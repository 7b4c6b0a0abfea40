//! One secure channel: a task moves its messages, everybody else asks and waits.
//!
//! The library's own session is not used. It connects again by itself, and then subscriptions stay silent, a wrong password is
//! tried for ever, and nobody is told which values are old; here, a connection lives once and everything above knows when it
//! is over (docs/decisions/0006-opcua-client.md).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use opcua::{
    client::{
        AsyncSecureChannel, IdentityToken, SessionRetryPolicy,
        transport::{SecureChannelState, TransportPollResult},
    },
    core::{RequestMessage, ResponseMessage},
    crypto::CertificateStore,
    sync::RwLock,
    types::{
        CloseSessionRequest, ContextOwned, DateTime, EndpointDescription, NamespaceMap, NodeId, RequestHeader,
        StatusCode, TypeLoader,
    },
};
use tokio::{sync::watch, task::AbortHandle};

use crate::{config::Endpoint, fault::Fault, limit::is_too_much, transport, transport::Dial};

/// A channel is renewed long before; this bounds the life of keys.
const LIFETIME_MS: u32 = 3_600_000;
/// How long a server may take to take leave. What it does not hear it finds out by its own timeout.
const FAREWELL: Duration = Duration::from_millis(500);

/// An open secure channel. Dropping it closes it.
pub(crate) struct Channel {
    inner: Arc<AsyncSecureChannel>,
    state: Option<Arc<SecureChannelState>>,
    context: Arc<RwLock<ContextOwned>>,
    token: RwLock<NodeId>,
    over: watch::Receiver<Option<StatusCode>>,
    pump: AbortHandle,
    /// Whether the session is left to the server, to be taken up again.
    leave: AtomicBool,
}

/// What a channel is made of.
pub(crate) struct ChannelPlan<'a> {
    /// Where the server listens.
    pub(crate) endpoint: &'a Endpoint,
    /// What the server says of itself and how the channel is protected.
    pub(crate) description: EndpointDescription,
    /// The gateway's certificate and key.
    pub(crate) certificates: Arc<RwLock<CertificateStore>>,
    /// How long the connection may take.
    pub(crate) timeout: Duration,
}

impl Channel {
    /// Opens a channel. To be bounded by the caller.
    pub(crate) async fn open(plan: ChannelPlan<'_>) -> Result<Channel, Fault> {
        let context = ContextOwned::new_default(NamespaceMap::new(), transport::decoding());
        let context = Arc::new(RwLock::new(context));
        let inner = AsyncSecureChannel::new(
            plan.certificates,
            (plan.description, IdentityToken::Anonymous).into(),
            SessionRetryPolicy::never(),
            false,
            Arc::default(),
            transport::configuration(),
            LIFETIME_MS,
            Arc::clone(&context),
        );
        let dial = Dial::new(plan.endpoint.clone(), plan.timeout);
        let mut events = inner.connect_no_retry(&dial).await.map_err(|error| Fault::of(&error))?;
        let (ended, over) = watch::channel(None);
        let pump = tokio::spawn(async move {
            loop {
                if let TransportPollResult::Closed(status) = events.poll().await {
                    let _ = ended.send(Some(status));
                    return;
                }
            }
        });
        Ok(Channel {
            inner: Arc::new(inner),
            state: dial.state(),
            context,
            token: RwLock::new(NodeId::null()),
            over,
            pump: pump.abort_handle(),
            leave: AtomicBool::new(false),
        })
    }

    /// The library's channel, for the requests that it signs.
    pub(crate) fn library(&self) -> &AsyncSecureChannel {
        &self.inner
    }

    /// What the channel keeps of the other side.
    pub(crate) fn state(&self) -> Option<&SecureChannelState> {
        self.state.as_deref()
    }

    /// From now on requests are the session's.
    pub(crate) fn set_session(&self, token: NodeId) {
        self.token.write().clone_from(&token);
        self.inner.set_auth_token(token);
    }

    /// From now on namespaces of structures are known, and structures of these types are decoded.
    pub(crate) fn teach(&self, namespaces: NamespaceMap, types: Option<Arc<dyn TypeLoader>>) {
        let mut context = self.context.write();
        *context.namespaces_mut() = namespaces;
        if let Some(types) = types {
            context.loaders_mut().add(types);
        }
    }

    /// When the channel is dropped, the session stays with the server, which keeps its subscriptions for a while.
    pub(crate) fn leave_session(&self) {
        self.leave.store(true, Ordering::Relaxed);
    }

    /// Whether the connection is over.
    pub(crate) fn is_over(&self) -> bool {
        self.over.borrow().is_some()
    }

    /// Waits until the connection is over.
    pub(crate) async fn ended(&self) -> Fault {
        let mut over = self.over.clone();
        let status = over.wait_for(Option::is_some).await.ok().and_then(|status| *status);
        closed(status)
    }

    /// A header for a request that may take `timeout`.
    pub(crate) fn header(&self, timeout: Duration) -> RequestHeader {
        RequestHeader {
            authentication_token: self.token.read().clone(),
            timestamp: DateTime::now(),
            request_handle: self.inner.request_handle(),
            timeout_hint: timeout.as_millis().try_into().unwrap_or(u32::MAX),
            ..RequestHeader::default()
        }
    }

    /// Sends a request and waits for its answer, at most for `timeout`.
    pub(crate) async fn send(&self, request: RequestMessage, timeout: Duration) -> Result<ResponseMessage, Fault> {
        match self.inner.send(request, timeout).await {
            Ok(ResponseMessage::ServiceFault(fault)) => Err(Fault::refused(fault.response_header.service_result)),
            Ok(answer) => Ok(answer),
            // What could not be sent, or taken, although the connection goes on.
            Err(error) if is_too_much(error.status()) && !self.is_over() => Err(Fault::Refused(error.status())),
            // What the transport said when it ended says more than that it has ended.
            Err(error) => match *self.over.borrow() {
                Some(status) if error.status() != StatusCode::BadTimeout => Err(closed(Some(status))),
                _ => Err(Fault::of(&error)),
            },
        }
    }
}

/// Why the transport ended.
fn closed(status: Option<StatusCode>) -> Fault {
    match status {
        Some(
            status @ (StatusCode::BadDecodingError
            | StatusCode::BadEncodingLimitsExceeded
            | StatusCode::BadTcpMessageTooLarge
            | StatusCode::BadSecurityChecksFailed),
        ) => Fault::Malformed(status.to_string()),
        Some(status) if status.is_bad() => Fault::Closed(status.to_string()),
        _ => Fault::Closed("the server closed it".to_owned()),
    }
}

impl Drop for Channel {
    /// Takes leave, so that the server frees the session at once; devices have few.
    fn drop(&mut self) {
        let leave = self.leave.load(Ordering::Relaxed) || self.over.borrow().is_some();
        let (false, Ok(runtime)) = (leave, tokio::runtime::Handle::try_current()) else {
            self.pump.abort();
            return;
        };
        let (inner, pump) = (Arc::clone(&self.inner), self.pump.clone());
        let mut over = self.over.clone();
        let close = CloseSessionRequest { request_header: self.header(FAREWELL), delete_subscriptions: true };
        let has_session = !self.token.read().is_null();
        runtime.spawn(async move {
            let farewell = async {
                if has_session {
                    let _ = inner.send(close, FAREWELL).await;
                }
                inner.close_channel().await;
                let _ = over.wait_for(Option::is_some).await;
            };
            let _ = tokio::time::timeout(FAREWELL, farewell).await;
            pump.abort();
        });
    }
}
