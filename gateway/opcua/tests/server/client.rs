//! A client.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use opcua::{
    client::{Client, ClientBuilder, DataChangeCallback, IdentityToken, Session},
    crypto::SecurityPolicy,
    types::{
        AttributeId, BrowseDescription, BrowseDirection, DataValue, EndpointDescription, ExtensionObject,
        MessageSecurityMode, MonitoredItemCreateRequest, MonitoringMode, MonitoringParameters, NodeId, ReadValueId,
        ReferenceDescription, ReferenceTypeId, StatusCode, TimestampsToReturn, UserTokenPolicy, Variant, WriteValue,
    },
};
use tokio::time::timeout;

use crate::rig::{LONG, Rig, until};

/// A connected session; it is cut when it is dropped.
pub(crate) struct Connected {
    pub(crate) session: Arc<Session>,
    task: tokio::task::JoinHandle<StatusCode>,
}

/// Values that a subscription brought.
pub(crate) type Seen = Arc<Mutex<Vec<DataValue>>>;

impl Drop for Connected {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A client whose certificate is in that folder.
pub(crate) fn client(folder: &Path) -> Client {
    ClientBuilder::new()
        .application_name("a test")
        .application_uri("urn:test")
        .product_uri("urn:test")
        .pki_dir(folder)
        .create_sample_keypair(true)
        .certificate_path("own/cert.der")
        .private_key_path("private/private.pem")
        .trust_server_certs(true)
        .verify_server_certs(false)
        .session_retry_limit(0)
        .max_array_length(1_000_000)
        .request_timeout(LONG)
        .client()
        .unwrap()
}

/// A client that never shows its certificate.
pub(crate) fn plain_client(folder: &Path) -> Client {
    ClientBuilder::new()
        .application_name("a test")
        .application_uri("urn:test")
        .product_uri("urn:test")
        .pki_dir(folder)
        .create_sample_keypair(false)
        .trust_server_certs(true)
        .verify_server_certs(false)
        .session_retry_limit(0)
        .max_array_length(1_000_000)
        .request_timeout(LONG)
        .client()
        .unwrap()
}

/// Connects with a policy as a user; the status when it is refused.
pub(crate) async fn connect(
    client: &mut Client,
    rig: &Rig,
    policy: SecurityPolicy,
    user: IdentityToken,
) -> Result<Connected, StatusCode> {
    let mode = match policy {
        SecurityPolicy::None => MessageSecurityMode::None,
        _ => MessageSecurityMode::SignAndEncrypt,
    };
    let url = rig.url();
    let endpoint: EndpointDescription = (url.as_str(), policy.to_str(), mode, UserTokenPolicy::anonymous()).into();
    let (session, events) =
        client.connect_to_matching_endpoint(endpoint, user).await.map_err(|error| error.status())?;
    let mut task = events.spawn();
    tokio::select! {
        ended = &mut task => Err(ended.unwrap()),
        connected = timeout(LONG, session.wait_for_connection()) => {
            assert!(connected.expect("a connection in time"));
            Ok(Connected { session, task })
        }
    }
}

/// Anybody, without security.
pub(crate) async fn anybody(rig: &Rig) -> Connected {
    let mut client = plain_client(&rig.folder.path().join("client"));
    connect(&mut client, rig, SecurityPolicy::None, IdentityToken::Anonymous).await.unwrap()
}

impl Connected {
    /// The index of the gateway's namespace.
    pub(crate) async fn namespace(&self) -> u16 {
        let array = self.attribute(&NodeId::new(0, 2255), AttributeId::Value).await;
        let Some(Variant::Array(array)) = array.value else { panic!("{array:?}") };
        let place = array.values.iter().position(|uri| *uri == Variant::from("urn:tidegate:line3"));
        u16::try_from(place.expect("the namespace")).unwrap()
    }

    /// A node of the gateway.
    pub(crate) async fn node(&self, name: &str) -> NodeId {
        NodeId::new(self.namespace().await, name)
    }

    pub(crate) async fn attribute(&self, node: &NodeId, attribute: AttributeId) -> DataValue {
        let read = ReadValueId { node_id: node.clone(), attribute_id: attribute as u32, ..ReadValueId::default() };
        self.session.read(&[read], TimestampsToReturn::Both, 0.0).await.unwrap().remove(0)
    }

    pub(crate) async fn value(&self, name: &str) -> DataValue {
        self.attribute(&self.node(name).await, AttributeId::Value).await
    }

    pub(crate) async fn write(&self, name: &str, value: impl Into<Variant>) -> StatusCode {
        let node_id = self.node(name).await;
        let write = WriteValue {
            node_id,
            attribute_id: AttributeId::Value as u32,
            value: DataValue::value_only(value),
            ..WriteValue::default()
        };
        self.session.write(&[write]).await.unwrap()[0]
    }

    /// All forward references of a node, so many an answer.
    pub(crate) async fn browse(&self, node: &NodeId, kind: ReferenceTypeId, at_once: u32) -> Vec<ReferenceDescription> {
        let description = BrowseDescription {
            node_id: node.clone(),
            browse_direction: BrowseDirection::Forward,
            reference_type_id: kind.into(),
            include_subtypes: true,
            node_class_mask: 0,
            result_mask: 63,
        };
        let mut answer = self.session.browse(&[description], at_once, None).await.unwrap().remove(0);
        let mut found = Vec::new();
        loop {
            assert!(answer.status_code.is_good(), "{answer:?}");
            let part = answer.references.take().unwrap_or_default();
            assert!(at_once == 0 || part.len() <= at_once as usize);
            found.extend(part);
            if answer.continuation_point.is_null_or_empty() {
                return found;
            }
            answer = self.session.browse_next(false, &[answer.continuation_point]).await.unwrap().remove(0);
        }
    }

    /// Monitors the value of a node; what comes is in the list.
    pub(crate) async fn monitor(
        &self,
        name: &str,
        sampling: f64,
        queue: u32,
        filter: ExtensionObject,
    ) -> Result<Seen, StatusCode> {
        let seen = Seen::default();
        let sink = Arc::clone(&seen);
        let callback = DataChangeCallback::new(move |value, _| sink.lock().unwrap().push(value));
        let every = Duration::from_millis(50);
        let subscription = self.session.create_subscription(every, 1000, 100, 0, 0, true, callback).await.unwrap();
        let request = MonitoredItemCreateRequest {
            item_to_monitor: self.node(name).await.into(),
            monitoring_mode: MonitoringMode::Reporting,
            requested_parameters: MonitoringParameters {
                client_handle: 7,
                sampling_interval: sampling,
                filter,
                queue_size: queue,
                discard_oldest: true,
            },
        };
        let created = self.session.create_monitored_items(subscription, TimestampsToReturn::Both, vec![request]).await;
        match created.unwrap().remove(0).result.status_code {
            status if status.is_good() => Ok(seen),
            status => Err(status),
        }
    }
}

/// Waits for a value that is wanted among those that came.
pub(crate) async fn wait_for(seen: &Seen, what: &str, wanted: impl Fn(&DataValue) -> bool) -> DataValue {
    until(what, || seen.lock().unwrap().iter().find(|value| wanted(value)).cloned()).await
}

/// Whether this is that number.
pub(crate) fn is(number: f64) -> impl Fn(&DataValue) -> bool {
    move |value| value.value == Some(Variant::Double(number))
}
