//! The library's configuration, out of the site's.

use opcua::{
    crypto::SecurityPolicy as Policy,
    server::{ANONYMOUS_USER_TOKEN_ID, Limits, OperationalLimits, ServerBuilder, ServerEndpoint, SubscriptionLimits},
    types::{BuildInfo, DateTime, MessageSecurityMode, UAString},
};
use tidegate_config::{OpcUaServer, SecurityPolicy};
use tidegate_trust::{OWN_CERTIFICATE, PRIVATE_KEY, Trust};

use crate::{access::tokens, door::Manners};

/// What the product is called among OPC UA applications.
const PRODUCT: &str = "urn:tidegate";
/// Bytes of one part of a message.
const CHUNK: usize = 65_535;
/// Entries of an array in a request: more than `max_monitored_items` or the items of any call.
const LONGEST_ARRAY: usize = 1_000_000;
/// Answers that a subscription keeps for a client that does not come for them.
const QUEUED_ANSWERS: usize = 20;
/// Longest time a session lives without a word from its client.
const LONGEST_SESSION_MS: u64 = 120_000;
/// Sessions that nobody has logged in to: as many as the strangers that are let in at the same time can make.
const SPARE_SESSIONS: usize = 600;
/// How often subscriptions are looked at.
pub(crate) const TICK_MS: u64 = 50;

/// Who the server is.
pub(crate) struct Identity<'a> {
    pub(crate) gateway: &'a str,
    pub(crate) version: &'a str,
    pub(crate) host: &'a str,
    pub(crate) trust: &'a Trust,
    pub(crate) application_uri: &'a str,
}

/// A builder with everything but node managers and the authenticator.
pub(crate) fn builder(options: &OpcUaServer, identity: &Identity<'_>) -> ServerBuilder {
    let mut builder = ServerBuilder::new()
        .application_name(format!("Tidegate {}", identity.gateway))
        .application_uri(identity.application_uri)
        .product_uri(PRODUCT)
        .pki_dir(identity.trust.root())
        .certificate_path(OWN_CERTIFICATE)
        .private_key_path(PRIVATE_KEY)
        .create_sample_keypair(false)
        .host(identity.host)
        .port(options.listen.port())
        .discovery_urls(vec![format!("opc.tcp://{}:{}/", identity.host, options.listen.port())])
        .diagnostics_enabled(true)
        .subscription_poll_interval_ms(TICK_MS)
        // Who has connected may be slow to say the first word; the door bounds the whole login, which that is a part of.
        .hello_timeout(u32::try_from(Manners::USUAL.login.as_secs()).unwrap_or(u32::MAX))
        .max_session_timeout_ms(LONGEST_SESSION_MS)
        .limits(limits(options))
        .build_info(build_info(identity.version));
    for (id, token) in tokens(&options.users) {
        builder = builder.add_user_token(id, token);
    }
    for (id, endpoint) in endpoints(options) {
        builder = builder.add_endpoint(id, endpoint);
    }
    builder
}

fn endpoints(options: &OpcUaServer) -> Vec<(String, ServerEndpoint)> {
    let mut logins: Vec<String> = tokens(&options.users).into_keys().collect();
    if options.anonymous {
        logins.push(ANONYMOUS_USER_TOKEN_ID.to_owned());
    }
    let mut endpoints = Vec::new();
    for policy in &options.security {
        let library = match policy {
            SecurityPolicy::None => Policy::None,
            SecurityPolicy::Basic256Sha256 => Policy::Basic256Sha256,
            SecurityPolicy::Aes128Sha256RsaOaep => Policy::Aes128Sha256RsaOaep,
            SecurityPolicy::Aes256Sha256RsaPss => Policy::Aes256Sha256RsaPss,
        };
        let modes: &[MessageSecurityMode] = match (policy, options.sign_only) {
            (SecurityPolicy::None, _) => &[MessageSecurityMode::None],
            (_, false) => &[MessageSecurityMode::SignAndEncrypt],
            (_, true) => &[MessageSecurityMode::SignAndEncrypt, MessageSecurityMode::Sign],
        };
        for mode in modes {
            let mut endpoint = ServerEndpoint::new("/", library, *mode, &logins);
            if *policy == SecurityPolicy::None {
                // The password is encrypted with the server's key although nothing else is.
                endpoint.password_security_policy = Some(Policy::Basic256Sha256.to_string());
            }
            endpoints.push((format!("{}_{mode:?}", policy.as_str()), endpoint));
        }
    }
    endpoints
}

fn limits(options: &OpcUaServer) -> Limits {
    let message = usize::try_from(options.max_message_size.0).unwrap_or(usize::MAX);
    let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    Limits {
        max_array_length: LONGEST_ARRAY,
        max_string_length: message,
        max_byte_string_length: message,
        max_message_size: message,
        max_chunk_count: message.div_ceil(8192).max(1),
        send_buffer_size: CHUNK,
        receive_buffer_size: CHUNK,
        // How many may log in is our own to count: see `guests`. The library's count includes those that nobody logs in to, and
        // those that wait for their client to come back.
        max_sessions: count(options.max_sessions).saturating_mul(2).saturating_add(SPARE_SESSIONS),
        max_browse_continuation_points: 1_000,
        max_history_continuation_points: 1_000,
        max_query_continuation_points: 1,
        subscriptions: SubscriptionLimits {
            max_subscriptions_per_session: count(options.max_subscriptions),
            max_monitored_items_per_sub: count(options.max_monitored_items),
            // Sampling is ours: see `sampling`.
            min_sampling_interval_ms: 0.0,
            min_publishing_interval_ms: 50.0,
            max_monitored_item_queue_size: 1_000,
            max_queued_notifications: QUEUED_ANSWERS,
            ..SubscriptionLimits::default()
        },
        operational: OperationalLimits {
            max_nodes_per_translate_browse_paths_to_node_ids: 10_000,
            max_nodes_per_read: 10_000,
            max_nodes_per_write: 1_000,
            max_nodes_per_browse: 1_000,
            max_nodes_per_register_nodes: 10_000,
            max_monitored_items_per_call: 10_000,
            max_nodes_per_history_read_data: 100,
            max_references_per_browse_node: 10_000,
            max_subscriptions_per_call: 100,
            ..OperationalLimits::default()
        },
    }
}

fn build_info(version: &str) -> BuildInfo {
    BuildInfo {
        product_uri: UAString::from(PRODUCT),
        manufacturer_name: UAString::from("Tidegate"),
        product_name: UAString::from("Tidegate"),
        software_version: UAString::from(version),
        build_number: UAString::from(version),
        build_date: DateTime::null(),
    }
}
