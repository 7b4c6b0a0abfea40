//! The TCP connection below a channel: each address of the name gets its part of the time, and small messages go at once.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use opcua::{
    client::transport::{
        Connector, RequestRecv, SecureChannelState, StreamConnection, StreamConnector, StreamTransport,
        TransportConfiguration,
    },
    core::comms::tcp_codec::TcpCodec,
    types::{DecodingOptions, EndpointDescription, Error, StatusCode},
};
use tokio::net::{
    TcpStream, lookup_host,
    tcp::{OwnedReadHalf, OwnedWriteHalf},
};
use tokio_util::codec::FramedRead;

use crate::config::Endpoint;

/// A name may have so many addresses; further ones are not tried.
const MOST_ADDRESSES: usize = 8;
/// Bytes of one chunk, both ways.
const CHUNK: usize = 64 * 1024;
/// Bytes of one message, and with them what an answer may take in memory. 100,000 values are about 4 MiB.
pub(crate) const MOST_MESSAGE: usize = 64 * 1024 * 1024;

/// How much is sent and taken.
pub(crate) fn configuration() -> TransportConfiguration {
    TransportConfiguration {
        send_buffer_size: CHUNK,
        recv_buffer_size: CHUNK,
        max_message_size: MOST_MESSAGE,
        max_chunk_count: MOST_MESSAGE / CHUNK,
    }
}

/// What of an answer is decoded. The library's own limits close the connection at arrays of more than 1000 items.
pub(crate) fn decoding() -> DecodingOptions {
    DecodingOptions {
        max_message_size: MOST_MESSAGE,
        max_chunk_count: MOST_MESSAGE / CHUNK,
        max_string_length: MOST_MESSAGE / 4,
        max_byte_string_length: MOST_MESSAGE / 4,
        max_array_length: 1_000_000,
        ..DecodingOptions::default()
    }
}

/// Connects to an endpoint. Remembers the state of the channel that it was made for, which the library shows nowhere else.
pub(crate) struct Dial {
    endpoint: Endpoint,
    timeout: Duration,
    state: OnceLock<Arc<SecureChannelState>>,
}

impl Dial {
    pub(crate) fn new(endpoint: Endpoint, timeout: Duration) -> Dial {
        Dial { endpoint, timeout, state: OnceLock::new() }
    }

    /// The state of the channel, once it has been connected.
    pub(crate) fn state(&self) -> Option<Arc<SecureChannelState>> {
        self.state.get().cloned()
    }
}

type Stream = StreamConnection<OwnedReadHalf, OwnedWriteHalf>;

impl Connector for Dial {
    type Transport = StreamTransport<OwnedReadHalf, OwnedWriteHalf>;

    async fn connect(
        &self,
        channel: Arc<SecureChannelState>,
        outgoing: RequestRecv,
        configuration: TransportConfiguration,
    ) -> Result<Self::Transport, Error> {
        let _ = self.state.set(Arc::clone(&channel));
        let open = |url: String, options: DecodingOptions| async move {
            let (read, write) = open(&self.endpoint, self.timeout).await?.into_split();
            Ok::<Stream, Error>(StreamConnection::new(FramedRead::new(read, TcpCodec::new(options)), write, url))
        };
        StreamConnector::new(open, self.endpoint.to_string()).connect(channel, outgoing, configuration).await
    }

    fn default_endpoint(&self) -> EndpointDescription {
        EndpointDescription::from(self.endpoint.to_string().as_str())
    }
}

/// Connects to the first address of the name that answers. One that never answers must not keep the others from being tried.
async fn open(endpoint: &Endpoint, timeout: Duration) -> Result<TcpStream, Error> {
    let failed = |detail: String| Error::new(StatusCode::BadConnectionRejected, detail);
    let host = endpoint.host();
    let found = lookup_host((host, endpoint.port())).await.map_err(|error| {
        failed(format!(
            "the name {host} has no address ({error}): check `endpoint` and the name service of this machine"
        ))
    })?;
    let addresses: Vec<SocketAddr> = found.take(MOST_ADDRESSES).collect();
    let part = timeout / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let mut last = failed(format!("the name {host} has no address"));
    for address in addresses {
        match tokio::time::timeout(part, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // A request is a small segment; waiting for more to send would cost every answer 40 ms.
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Ok(Err(error)) => {
                last =
                    failed(format!("{address} refused it ({error}): check address and port, and that the server runs"));
            }
            Err(_) => {
                let detail = format!("{address} did not answer: check power, cable, address, and firewalls between");
                last = Error::new(StatusCode::BadTimeout, detail);
            }
        }
    }
    Err(last)
}
