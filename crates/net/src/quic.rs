//! QUIC beside TCP: what a peer can take of it, and the head start that TCP has over it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use libp2p::core::Transport;
use libp2p::core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, quic};

use crate::behaviour::PING_INTERVAL;
use crate::limits::{QUIC_CONNECTION_BYTES_MAX, QUIC_STREAM_BYTES_MAX, STREAMS_PER_CONNECTION_MAX};

/// Which share of the time that a connection may take QUIC is dialed later than TCP.
///
/// TCP moves more for less: on loopback 640–730 MB/s at 1.1–1.3 CPU seconds per GB, against 465–566
/// at 1.6. Where a peer has both, libp2p dials them at once and takes what answers first; that would
/// be QUIC, of fewer round trips. TCP needs four, of a quarter of a second where they are longest: a
/// second, of the ten that a connection may take.
const HEAD_START_SHARE: u32 = 10;

/// QUIC within our limits, dialed after TCP; `connect` is how long a handshake may take.
pub(crate) fn transport(keypair: &Keypair, connect: Duration) -> AfterTcp<quic::tokio::Transport> {
    let head_start = connect / HEAD_START_SHARE;
    AfterTcp { inner: quic::tokio::Transport::new(config(keypair, connect)), head_start }
}

fn config(keypair: &Keypair, connect: Duration) -> quic::Config {
    let mut config = quic::Config::new(keypair);
    config.handshake_timeout = connect;
    // As with TCP, a peer that is silent for two of our pings is gone.
    config.keep_alive_interval = PING_INTERVAL;
    config.max_idle_timeout = u32::try_from((2 * PING_INTERVAL).as_millis()).unwrap_or(u32::MAX);
    config.max_concurrent_stream_limit =
        u32::try_from(STREAMS_PER_CONNECTION_MAX).unwrap_or(u32::MAX);
    config.max_stream_data = QUIC_STREAM_BYTES_MAX;
    config.max_connection_data = QUIC_CONNECTION_BYTES_MAX;
    config
}

/// A transport whose dials begin when those of TCP had time to succeed. A peer without TCP is waited
/// for as long: which of its addresses are dialed beside this one, a transport is not told.
pub(crate) struct AfterTcp<T> {
    inner: T,
    head_start: Duration,
}

impl<T> Transport for AfterTcp<T>
where
    T: Transport + Unpin,
    T::Dial: Send + 'static,
{
    type Output = T::Output;
    type Error = T::Error;
    type ListenerUpgrade = T::ListenerUpgrade;
    type Dial = BoxFuture<'static, Result<T::Output, T::Error>>;

    fn listen_on(
        &mut self,
        id: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<T::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        opts: DialOpts,
    ) -> Result<Self::Dial, TransportError<T::Error>> {
        // Nothing is sent until the dial is polled.
        let (dial, head_start) = (self.inner.dial(address, opts)?, self.head_start);
        let later = async move {
            tokio::time::sleep(head_start).await;
            dial.await
        };
        Ok(later.boxed())
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<T::ListenerUpgrade, T::Error>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}
