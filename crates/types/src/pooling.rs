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

impl Pooling {
    /// llama.cpp's word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Mean => "mean",
            Self::Cls => "cls",
            Self::Last => "last",
        }
    }
}
