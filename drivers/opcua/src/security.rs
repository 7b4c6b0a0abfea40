//! Which of a server's endpoints is used, and whether its certificate is trusted.

use opcua::{
    crypto::SecurityPolicy,
    types::{ByteString, DateTime, EndpointDescription, MessageSecurityMode},
};
use tidegate_driver_api::{Cause, ConnectFault, model::Timestamp};
use tidegate_trust::{Certificate, EXPIRY_WARNING_DAYS, Verdict};

use crate::{
    config::{LinkKeys, Security},
    fault::hopeless,
    open::Opening,
};

/// Policies from the strongest to the weakest; older ones are not used at all.
const POLICIES: [SecurityPolicy; 3] =
    [SecurityPolicy::Aes256Sha256RsaPss, SecurityPolicy::Aes128Sha256RsaOaep, SecurityPolicy::Basic256Sha256];

/// The endpoint that the link wants, from those that the server offers.
pub(crate) fn choose(keys: &LinkKeys, offered: Vec<EndpointDescription>) -> Result<EndpointDescription, ConnectFault> {
    let binary = |endpoint: &EndpointDescription| {
        let transport = endpoint.transport_profile_uri.as_ref();
        transport.is_empty() || transport.ends_with("/uatcp-uasc-uabinary")
    };
    let mut offered: Vec<EndpointDescription> = offered.into_iter().filter(binary).collect();
    let wanted: &[SecurityPolicy] = match &keys.security {
        Security::Policy(policy) => std::slice::from_ref(policy),
        Security::Strongest => &POLICIES,
    };
    for policy in wanted {
        let mode = if *policy == SecurityPolicy::None { MessageSecurityMode::None } else { keys.mode };
        let found = offered.iter().position(|endpoint| {
            endpoint.security_policy_uri.as_ref() == policy.to_uri() && endpoint.security_mode == mode
        });
        if let Some(found) = found {
            return Ok(offered.swap_remove(found));
        }
    }
    let list: Vec<String> = offered.iter().map(described).collect();
    let list = if list.is_empty() { "nothing that we know".to_owned() } else { list.join(", ") };
    let advice = match keys.security {
        Security::Strongest => "set `security` and `mode` to one of them, also if that is \"none\"",
        Security::Policy(_) => "set `security` and `mode` to one of them, or switch the wanted one on in the server",
    };
    Err(hopeless(format!("{} does not offer the protection that is wanted, but {list}: {advice}", keys.endpoint)))
}

fn described(endpoint: &EndpointDescription) -> String {
    let uri = endpoint.security_policy_uri.as_ref();
    let policy = uri.rsplit_once('#').map_or(uri, |(_, name)| name);
    match endpoint.security_mode {
        MessageSecurityMode::Sign => format!("{policy} (signed)"),
        MessageSecurityMode::SignAndEncrypt => format!("{policy} (signed and encrypted)"),
        _ => policy.to_owned(),
    }
}

/// The time by the clock of this machine, for certificates and headers of requests, which need one.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_millis(DateTime::now().as_chrono().timestamp_millis())
}

/// Whether the certificate of the endpoint may be used. Nothing is asked of one without protection.
pub(crate) async fn judge(
    opening: &Opening<'_>,
    endpoint: &EndpointDescription,
    policy: SecurityPolicy,
) -> Result<(), ConnectFault> {
    if policy == SecurityPolicy::None {
        return Ok(());
    }
    let now = now();
    let link = opening.link;
    let server = &opening.keys.endpoint;
    let (trust, shown) = (opening.trust.clone(), endpoint.server_certificate.clone());
    let place = format!("link {link}, {server}");
    // Files are read and written, and a key may be made.
    let looked_up =
        tokio::task::spawn_blocking(move || (trust.own(now), trust.judge(shown.as_ref(), &place, now))).await;
    let (own, judged) =
        looked_up.map_err(|error| hopeless(format!("the certificates cannot be looked up: {error}")))?;
    let own = own.map_err(|error| hopeless(format!("the folder of certificates cannot be used: {error}")))?;
    warn_of_end(link, "of this gateway", &own, now);
    let judged = judged.map_err(|error| hopeless(format!("the certificate of {server} cannot be used: {error}")))?;
    let fingerprint = judged.certificate.fingerprint();
    let about = format!("the certificate of {server} ({}, SHA-256 {fingerprint})", judged.certificate.subject());
    match judged.verdict {
        Verdict::Trusted => {}
        Verdict::Refused => {
            return Err(hopeless(format!(
                "{about} has been refused: `tidegate trust accept {fingerprint}` takes that back"
            )));
        }
        Verdict::Waiting { .. } => {
            let detail = format!(
                "{about} is not known: compare the fingerprint with the one that the server shows, then run \
                 `tidegate trust accept {fingerprint}`"
            );
            // Somebody may accept it at any moment, and would like to see that it works.
            return Err(ConnectFault { cause: Cause::Closed, detail, retry_soon: true });
        }
    }
    let host = opening.keys.check_host.then(|| opening.keys.endpoint.host());
    let uri = Some(endpoint.server.application_uri.as_ref()).filter(|uri| !uri.is_empty());
    judged.certificate.check(now, host, uri).map_err(|unfit| {
        let advice = match unfit {
            tidegate_trust::Unfit::WrongHost(_) => {
                ": connect by one of these names, or set `check_host = false`; the certificate stays pinned then"
            }
            _ => "",
        };
        hopeless(format!("{about} cannot be used: {unfit}{advice}"))
    })?;
    warn_of_end(link, "of the server", &judged.certificate, now);
    Ok(())
}

/// The server's own certificate, without those of its issuers, which it may show behind it (Part 6 §6.2.6). What is no certificate
/// stays as it is.
pub(crate) fn leaf(shown: &ByteString) -> ByteString {
    let bytes = shown.as_ref();
    // A sequence: its tag, the length in one byte or in so many more as that says, and what is in it.
    let length = match bytes {
        [0x30, short @ 0..=0x7F, ..] => Some(2 + usize::from(*short)),
        [0x30, 0x81, length, ..] => Some(3 + usize::from(*length)),
        [0x30, 0x82, high, low, ..] => Some(4 + usize::from(u16::from_be_bytes([*high, *low]))),
        _ => None,
    };
    length.and_then(|length| bytes.get(..length)).map_or_else(|| shown.clone(), ByteString::from)
}

fn warn_of_end(link: &str, whose: &str, certificate: &Certificate, now: Timestamp) {
    let days = certificate.days_left(now);
    if (0..EXPIRY_WARNING_DAYS).contains(&days) {
        let end = certificate.not_after().rfc3339();
        tracing::warn!(link, days, %end, "the certificate {whose} ends soon; connections fail then");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_chain_of_certificates_the_first_is_the_servers_own() {
        let sequence = |content: usize| -> Vec<u8> {
            let head = match content {
                0..=0x7F => vec![0x30, u8::try_from(content).unwrap()],
                0x80..=0xFF => vec![0x30, 0x81, u8::try_from(content).unwrap()],
                _ => [&[0x30, 0x82][..], &u16::try_from(content).unwrap().to_be_bytes()].concat(),
            };
            [head, vec![7; content]].concat()
        };
        for content in [5, 0x90, 1000] {
            let own = sequence(content);
            let chain = [own.clone(), sequence(700)].concat();
            assert_eq!(leaf(&ByteString::from(&chain)), ByteString::from(&own));
            assert_eq!(leaf(&ByteString::from(&own)), ByteString::from(&own));
        }
        for odd in [&b""[..], b"0", b"\x30\x82\x7f\xff\0", b"PEM"] {
            assert_eq!(leaf(&ByteString::from(odd)).as_ref(), odd);
        }
    }
}
