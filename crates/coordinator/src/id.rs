use ketch_types::id;

id! {
    /// A peer, by a small handle that the driver gives out and never reuses for another identity.
    Peer(u32)
}
id! {
    /// A request to a peer: opened by a command, closed by exactly one input.
    RequestId(u64)
}
id! {
    /// A piece of local work: opened by a command, closed by exactly one input.
    JobId(u64)
}
id! {
    /// Something that a peer asked of us, by a handle that the driver gives out.
    Ask(u64)
}
