//! Newtypes for the ids that would otherwise all be bare integers.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $int:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(transparent)]
        pub struct $name(pub $int);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<$int> for $name {
            fn from(value: $int) -> Self {
                Self(value)
            }
        }
    };
}

id!(
    /// Index into the model's vocabulary.
    TokenId,
    u32
);
id!(
    /// One sequence (a row of the batch); never reused within a process.
    SeqId,
    u64
);
id!(
    /// One request of a client; never reused within a process.
    RequestId,
    u64
);
id!(
    /// Index of a KV cache block in the executor's pool.
    BlockId,
    u32
);

impl TokenId {
    /// The id as an index into vocabulary-sized arrays.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl BlockId {
    /// No block: where a table's tokens are out of sight.
    pub const NULL: Self = Self(u32::MAX);

    /// The id as an index into the block pool.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}
