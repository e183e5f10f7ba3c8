/// Makes newtypes around numbers: ids, and handles.
#[macro_export]
macro_rules! id {
    ($(#[doc = $doc:literal])+ $name:ident($inner:ty)) => {
        $(#[doc = $doc])+
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ::serde::Serialize,
            ::serde::Deserialize,
        )]
        pub struct $name(pub $inner);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

id! {
    /// The stable name of a shard; ids need be neither sorted nor contiguous.
    ShardId(u32)
}
id! {
    /// The number of an epoch; the first is 0.
    Epoch(u64)
}
id! {
    /// The number of a block; genesis is 0.
    Height(u64)
}
id! {
    /// The place of a part in its manifest, counted from 0.
    PartIndex(u32)
}

impl Epoch {
    /// The epoch after this one.
    pub const fn next(self) -> Epoch {
        Epoch(self.0.saturating_add(1))
    }
}

impl Height {
    /// The height after this one.
    pub const fn next(self) -> Height {
        Height(self.0.saturating_add(1))
    }
}
