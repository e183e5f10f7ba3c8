use std::sync::Arc;

use ketch_types::ChainId;
use ketch_wire::names;
use libp2p::StreamProtocol;

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Protocol {
    Control,
    Outline,
    Parts,
    Outputs,
}

impl Protocol {
    /// The protocol's name in metrics.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Protocol::Control => "control",
            Protocol::Outline => "outline",
            Protocol::Parts => "parts",
            Protocol::Outputs => "outputs",
        }
    }
}

/// A protocol with its name on one chain.
#[derive(Clone, Debug)]
pub(crate) struct NamedProtocol {
    pub(crate) protocol: Protocol,
    pub(crate) name: StreamProtocol,
}

impl AsRef<str> for NamedProtocol {
    fn as_ref(&self) -> &str {
        self.name.as_ref()
    }
}

/// The protocols of one chain.
#[derive(Clone, Debug)]
pub(crate) struct Protocols(Arc<[NamedProtocol]>);

impl Protocols {
    pub(crate) fn of_chain(chain: &ChainId) -> Self {
        let all = [
            (Protocol::Control, names::control_protocol(chain)),
            (Protocol::Outline, names::outline_protocol(chain)),
            (Protocol::Parts, names::parts_protocol(chain)),
            (Protocol::Outputs, names::outputs_protocol(chain)),
        ];
        let named = |(protocol, name)| NamedProtocol { protocol, name: stream_protocol(name) };
        Self(all.into_iter().map(named).collect())
    }

    pub(crate) fn all(&self) -> &[NamedProtocol] {
        &self.0
    }

    /// `protocol` by its name.
    pub(crate) fn named(&self, protocol: Protocol) -> Vec<NamedProtocol> {
        self.0.iter().filter(|named| named.protocol == protocol).cloned().collect()
    }
}

/// A name as libp2p takes it.
pub(crate) fn stream_protocol(name: String) -> StreamProtocol {
    // Only a name that does not begin with a slash is refused, and ours do.
    StreamProtocol::try_from_owned(name).unwrap_or(StreamProtocol::new("/ketch/1"))
}
