use std::fmt;

macro_rules! handle {
    ($(#[doc = $doc:literal])+ $name:ident($inner:ty)) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

handle! {
    /// A peer, by a small handle that the driver gives out and never reuses for another identity.
    Peer(u32)
}
handle! {
    /// A request to a peer: opened by a command, closed by exactly one input.
    RequestId(u64)
}
handle! {
    /// A piece of local work: opened by a command, closed by exactly one input.
    JobId(u64)
}
handle! {
    /// Something that a peer asked of us, by a handle that the driver gives out.
    Ask(u64)
}
