//! Connections over which nobody logs in, and those that nobody reads or writes any more: bytes as they are on the wire.

use std::net::SocketAddr;

use opcua::types::{
    ApplicationDescription, BinaryDecodable, BinaryEncodable, ContextOwned, CreateSessionRequest, DateTime,
    ExtensionObject, GetEndpointsRequest, MessageSecurityMode, NodeId, ObjectId, OpenSecureChannelRequest,
    RequestHeader, ResponseHeader, SecurityTokenRequestType, UAString,
};
use tidegate_config::OpcUaServer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    client::anybody,
    rig::{LONG, Rig, presses, until},
};

const NONE: &str = "http://opcfoundation.org/UA/SecurityPolicy#None";

/// A connection with a channel without security.
struct Stranger {
    stream: TcpStream,
    url: String,
    channel: u32,
    token: u32,
    number: u32,
}

fn text(text: &str) -> Vec<u8> {
    [&u32::try_from(text.len()).unwrap().to_le_bytes()[..], text.as_bytes()].concat()
}

fn numbers(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn encoded(kind: ObjectId, request: &impl BinaryEncodable) -> Vec<u8> {
    let (context, mut bytes) = (ContextOwned::default(), Vec::new());
    NodeId::from(kind).encode(&mut bytes, &context.context()).unwrap();
    request.encode(&mut bytes, &context.context()).unwrap();
    bytes
}

impl Stranger {
    async fn come(address: SocketAddr) -> Option<Stranger> {
        let stream = TcpStream::connect(address).await.ok()?;
        let mut stranger = Stranger { stream, url: format!("opc.tcp://{address}/"), channel: 0, token: 0, number: 1 };
        let hello = [numbers(&[0, 65_535, 65_535, 0, 0]), text(&stranger.url)].concat();
        stranger.send(b"HELF", &hello).await?;
        stranger.receive().await?;
        let request = OpenSecureChannelRequest {
            request_header: header(),
            client_protocol_version: 0,
            request_type: SecurityTokenRequestType::Issue,
            security_mode: MessageSecurityMode::None,
            client_nonce: Default::default(),
            requested_lifetime: 3_600_000,
        };
        let body = encoded(ObjectId::OpenSecureChannelRequest_Encoding_DefaultBinary, &request);
        let head = [numbers(&[0]), text(NONE), numbers(&[u32::MAX, u32::MAX, 1, 1])].concat();
        stranger.send(b"OPNF", &[head, body].concat()).await?;
        let opened = stranger.receive().await?;
        stranger.channel = u32::from_le_bytes(opened[8..12].try_into().unwrap());
        // Behind the policy, two empty certificates and the numbers: the type, a header, and the token with its channel.
        let behind = 16 + NONE.len() + 8 + 8 + 4;
        let mut rest = &opened[behind..];
        let context = ContextOwned::default();
        ResponseHeader::decode(&mut rest, &context.context()).unwrap();
        stranger.token = u32::from_le_bytes(rest[8..12].try_into().unwrap());
        Some(stranger)
    }

    async fn send(&mut self, kind: &[u8; 4], body: &[u8]) -> Option<()> {
        let length = u32::try_from(body.len() + 8).unwrap().to_le_bytes();
        self.stream.write_all(&[&kind[..], &length, body].concat()).await.ok()
    }

    async fn receive(&mut self) -> Option<Vec<u8>> {
        let mut part = vec![0; 8];
        timeout(LONG, self.stream.read_exact(&mut part)).await.expect("an answer in time").ok()?;
        let length = u32::from_le_bytes(part[4..8].try_into().unwrap()) as usize;
        part.resize(length, 0);
        timeout(LONG, self.stream.read_exact(&mut part[8..])).await.expect("an answer in time").ok()?;
        Some(part)
    }

    async fn ask(&mut self, kind: ObjectId, request: &impl BinaryEncodable) -> Option<()> {
        self.number += 1;
        let head = numbers(&[self.channel, self.token, self.number, self.number]);
        self.send(b"MSGF", &[head, encoded(kind, request)].concat()).await
    }

    /// Makes a session; `None` when it is refused.
    async fn session(&mut self) -> Option<()> {
        let request = CreateSessionRequest {
            request_header: header(),
            client_description: ApplicationDescription::default(),
            server_uri: UAString::null(),
            endpoint_url: UAString::from(self.url.as_str()),
            session_name: UAString::from("nobody"),
            client_nonce: Default::default(),
            client_certificate: Default::default(),
            requested_session_timeout: 120_000.0,
            max_response_message_size: 0,
        };
        self.ask(ObjectId::CreateSessionRequest_Encoding_DefaultBinary, &request).await?;
        let answer = self.receive().await?;
        if &answer[..3] != b"MSG" {
            return None;
        }
        let context = ContextOwned::default();
        let header = ResponseHeader::decode(&mut &answer[28..], &context.context()).ok()?;
        header.service_result.is_good().then_some(())
    }

    /// Whether the server has closed the connection.
    async fn is_cut(&mut self) -> bool {
        let mut rest = [0; 4096];
        let end = async { while matches!(self.stream.read(&mut rest).await, Ok(count) if count > 0) {} };
        timeout(LONG, end).await.is_ok()
    }
}

fn header() -> RequestHeader {
    RequestHeader {
        additional_header: ExtensionObject::null(),
        ..RequestHeader::new(&NodeId::null(), &DateTime::now(), 1)
    }
}

#[tokio::test]
async fn sessions_that_nobody_logs_in_to_keep_nobody_out() {
    let options = OpcUaServer { max_sessions: 20, ..OpcUaServer::on_loopback(0) };
    let rig = Rig::start_with(&presses(&["press"]), options).await;
    // More than there may be clients, and more than the library would keep, of whom each leaves before the next comes.
    let mut made = 0;
    for _ in 0..80 {
        let mut stranger = Stranger::come(rig.server.address()).await.unwrap();
        for _ in 0..10 {
            made += usize::from(stranger.session().await.is_some());
        }
    }
    assert!(made > 750, "{made}");
    let client = anybody(&rig).await;
    assert!(client.value("press.pressure").await.value.is_some());
    assert_eq!(rig.status().sessions, 1);
}

#[tokio::test]
async fn the_oldest_stranger_goes_when_there_are_too_many() {
    let rig = Rig::start().await;
    let guest = anybody(&rig).await;
    let mut strangers = Vec::new();
    for _ in 0..40 {
        let mut stranger = Stranger::come(rig.server.address()).await.unwrap();
        assert!(stranger.session().await.is_some());
        strangers.push(stranger);
    }
    assert!(strangers[0].is_cut().await, "the first of forty");
    assert!(strangers[39].session().await.is_some(), "the last of forty");
    assert!(guest.value("press.pressure").await.value.is_some());
    let another = anybody(&rig).await;
    assert!(another.value("press.pressure").await.value.is_some());
    let status = rig.status();
    assert_eq!(status.sessions, 2);
    assert!(status.refused > 0 && status.connections_high >= 32, "{status:?}");
    drop(strangers);
    until("the strangers to be gone", || (rig.status().connections == 2).then_some(())).await;
}

#[tokio::test]
async fn a_stranger_says_only_so_much() {
    let rig = Rig::start().await;
    let mut stranger = Stranger::come(rig.server.address()).await.unwrap();
    let request = GetEndpointsRequest {
        request_header: header(),
        endpoint_url: UAString::from(stranger.url.as_str()),
        locale_ids: None,
        profile_uris: None,
    };
    for _ in 0..200 {
        if stranger.ask(ObjectId::GetEndpointsRequest_Encoding_DefaultBinary, &request).await.is_none() {
            break;
        }
    }
    assert!(stranger.is_cut().await);
    // Who sends something else altogether is cut long before the time to log in is over.
    let mut other = TcpStream::connect(rig.server.address()).await.unwrap();
    other.write_all(b"GET / HTTP/1.1\r\nHost: press\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(LONG, other.read_to_end(&mut answer)).await.expect("the end of the connection");
    assert!(anybody(&rig).await.value("press.pressure").await.value.is_some());
}

#[tokio::test]
async fn a_session_whose_connection_is_gone_makes_room_and_can_come_back() {
    let options = OpcUaServer { max_sessions: 1, ..OpcUaServer::on_loopback(0) };
    let rig = Rig::start_with(&presses(&["press"]), options).await;
    let first = anybody(&rig).await;
    drop(first);
    until("the end of the first", || (rig.status().sessions == 0).then_some(())).await;
    let second = anybody(&rig).await;
    assert!(second.value("press.pressure").await.value.is_some());
    let status = rig.status();
    assert_eq!((status.sessions, status.sessions_high), (1, 1));
}

#[tokio::test]
async fn the_endpoint_is_the_door_and_not_what_is_behind_it() {
    let rig = Rig::start().await;
    let client = crate::client::plain_client(&rig.folder.path().join("client"));
    let offered = client.get_server_endpoints_from_url(rig.url()).await.unwrap();
    let port = format!(":{}/", rig.server.address().port());
    assert!(offered.iter().all(|endpoint| endpoint.endpoint_url.as_ref().ends_with(&port)), "{offered:?}");
}

#[tokio::test]
async fn whoever_is_connected_is_told_when_the_server_stops() {
    let rig = Rig::start().await;
    let mut stranger = Stranger::come(rig.server.address()).await.unwrap();
    rig.server.stop().await;
    let last = stranger.receive().await.expect("a last word");
    assert_eq!(&last[..4], b"ERRF");
    let status = u32::from_le_bytes(last[8..12].try_into().unwrap());
    assert_eq!(status, opcua::types::StatusCode::BadServerHalted.bits());
    assert!(stranger.is_cut().await);
}
