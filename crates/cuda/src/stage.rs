//! The stages of the forward pass, by the names that the CPU's forward and the profile use.

/// A stage: one launch a layer, or one a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Token embeddings.
    Embed,
    /// The first layer's norm, and the residual additions with the norm of the block that follows.
    Norm,
    /// Queries, keys and values.
    Qkv,
    /// Head norms, rotation, and the write into the KV cache.
    RopeKv,
    /// Attention over the KV cache.
    Attention,
    /// The attention block's output matrix.
    AttnOutput,
    /// Logits of experts, and the choice among them.
    Router,
    /// Gate and up matrices.
    GateUp,
    /// The activation of the gate.
    GatedAct,
    /// The feed-forward block's output matrix.
    FfnDown,
    /// The weighted sum of experts.
    ExpertSum,
    /// The norm before the output matrix, and hidden states that are given back.
    OutputNorm,
    /// The output matrix.
    Logits,
    /// Choosing tokens.
    Sampling,
}

impl Stage {
    /// All of them, in order.
    pub(crate) const ALL: [Self; 14] = [
        Self::Embed,
        Self::Norm,
        Self::Qkv,
        Self::RopeKv,
        Self::Attention,
        Self::AttnOutput,
        Self::Router,
        Self::GateUp,
        Self::GatedAct,
        Self::FfnDown,
        Self::ExpertSum,
        Self::OutputNorm,
        Self::Logits,
        Self::Sampling,
    ];

    /// Those that are products of weights and all tokens.
    pub(crate) const PRODUCTS: [Self; 5] = [Self::Qkv, Self::AttnOutput, Self::GateUp, Self::FfnDown, Self::Logits];

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Embed => "embed",
            Self::Norm => "norm",
            Self::Qkv => "qkv",
            Self::RopeKv => "rope_kv",
            Self::Attention => "attention",
            Self::AttnOutput => "attn_output",
            Self::Router => "router",
            Self::GateUp => "gate_up",
            Self::GatedAct => "gated_act",
            Self::FfnDown => "ffn_down",
            Self::ExpertSum => "expert_sum",
            Self::OutputNorm => "output_norm",
            Self::Logits => "logits",
            Self::Sampling => "sampling",
        }
    }
}
