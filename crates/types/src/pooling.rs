//! How a text becomes a vector.

/// What the hidden states of a text's tokens become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// They stay as they are: a vector for each token.
    None,
    /// Their mean.
    Mean,
    /// The first one is taken.
    Cls,
    /// The last one is taken.
    Last,
}
