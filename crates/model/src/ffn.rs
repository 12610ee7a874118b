//! The feed-forward block as data.

/// The feed-forward block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ffn {
    /// `down(activation(gate(x)) * up(x))`.
    Gated {
        /// Width of the inner layer.
        size: usize,
        /// The gate's activation.
        activation: Activation,
    },
    /// `down(activation(up(x)))`.
    Plain {
        /// Width of the inner layer.
        size: usize,
        /// The activation; [`Activation::ClampedSwiglu`] is for gates alone.
        activation: Activation,
    },
    /// A mixture of experts: each token passes the few that its router prefers.
    Moe(Moe),
    /// Both (Gemma 4), each with norms of its own, as [`crate::GatedAndMoeWeights`] says.
    GatedAndMoe {
        /// Width of the gated block's inner layer; its activation is that of the experts.
        size: usize,
        /// The experts.
        moe: Moe,
    },
}

impl Ffn {
    /// The experts, where there are any.
    #[must_use]
    pub fn moe(&self) -> Option<&Moe> {
        match self {
            Self::Gated { .. } | Self::Plain { .. } => None,
            Self::Moe(moe) | Self::GatedAndMoe { moe, .. } => Some(moe),
        }
    }
}

/// A mixture of gated experts. The router's logits become scores; a token's output is the sum of its best experts'
/// outputs times their weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moe {
    /// Experts to choose from.
    pub num_experts: usize,
    /// Experts that each token passes; of equally good ones those that stand first.
    pub num_used: usize,
    /// Width of an expert's inner layer.
    pub size: usize,
    /// The experts' activation.
    pub activation: Activation,
    /// What the router's logits become. Where the file has a selection bias, it is added to the scores for the choice
    /// alone; the weights are the scores without it.
    pub scoring: Scoring,
    /// Only experts of the best groups may be chosen.
    pub groups: Option<ExpertGroups>,
    /// Whether the chosen experts' scores are divided by their sum to be weights; else they are the weights.
    pub normalize: bool,
    /// The weights are multiplied by this, last of all.
    pub weight_scale: f32,
    /// What the weights multiply.
    pub weighted: Weighted,
    /// One more expert, which every token passes.
    pub shared: Option<Shared>,
}

/// How experts are scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scoring {
    /// A softmax over all experts.
    Softmax,
    /// The sigmoid of each logit.
    Sigmoid,
}

/// Experts lie in groups of neighbours (DeepSeek).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpertGroups {
    /// Groups; divides the number of experts.
    pub count: usize,
    /// Groups whose experts may be chosen, the best ones.
    pub used: usize,
    /// What makes a group good.
    pub score: GroupScore,
}

/// The score of a group of experts, from the scores of its experts with their selection bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupScore {
    /// The largest (DeepSeek 2).
    Best,
    /// The sum of the two largest (DeepSeek 3).
    BestTwo,
}

/// What an expert's weight multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weighted {
    /// Its output.
    Output,
    /// Its input (Llama 4).
    Input,
}

/// The expert that every token passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shared {
    /// Width of its inner layer.
    pub size: usize,
    /// Its weight.
    pub weight: SharedWeight,
}

/// The weight of the expert that every token passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedWeight {
    /// 1.
    One,
    /// The sigmoid of a dot product with the token (Qwen).
    Sigmoid,
}

/// The activation of a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x * sigmoid(x)`.
    Silu,
    /// GELU with the error function.
    Gelu,
    /// The tanh approximation of GELU.
    GeluTanh,
    /// gpt-oss: `g * sigmoid(1.702 g) * (u + 1)` with `g = min(gate, 7)` and `u = clamp(up, -7, 7)`.
    ClampedSwiglu,
}

impl Moe {
    /// Experts that are scored by a softmax, normalized, and multiply outputs; no shared one.
    #[must_use]
    pub fn plain((num_used, num_experts): (usize, usize), size: usize) -> Self {
        Self {
            num_experts,
            num_used,
            size,
            activation: Activation::Silu,
            scoring: Scoring::Softmax,
            groups: None,
            normalize: true,
            weight_scale: 1.0,
            weighted: Weighted::Output,
            shared: None,
        }
    }
}
