//! What the small models of each architecture are made of.

use gguf::Value;

use crate::small::{EXPERTS, FFN, HEAD_DIM, HIDDEN};

/// Tensors that come together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "kinds that the next architectures have")]
pub(crate) enum Part {
    /// Queries, keys, values and output of attention.
    Qkv,
    /// Their biases but the output's.
    QkvBias,
    /// Queries, keys and values in one tensor, and the output.
    FusedQkv,
    /// The biases of these.
    FusedQkvBias,
    /// The output's bias.
    OutBias,
    /// Norms of each query and key head.
    HeadNorms,
    /// Attention sinks.
    Sinks,
    /// The norms before the blocks and before the output matrix.
    Norms,
    /// Their biases.
    NormBiases,
    /// The norms behind the blocks.
    PostNorms,
    /// gpt-oss' name for the norm before the feed-forward block.
    NormNamedPost,
    /// Gate, up and down.
    Gated,
    /// Gate and up in one tensor, and down.
    FusedGated,
    /// Up and down.
    Plain,
    /// Their biases.
    PlainBias,
    /// Experts and their router.
    Experts,
    /// Their biases.
    ExpertBiases,
    /// The expert that all tokens pass.
    SharedExpert,
    /// Its router.
    SharedRouter,
    /// Learned positions.
    Positions,
}

type Tensors = Vec<(&'static str, Vec<usize>)>;

impl Part {
    /// Tensors beside the layers'.
    pub(crate) fn tensors(self) -> Tensors {
        match self {
            Self::Norms | Self::NormNamedPost => vec![("output_norm.weight", vec![HIDDEN])],
            Self::NormBiases => vec![("output_norm.bias", vec![HIDDEN])],
            Self::Positions => vec![("position_embd.weight", vec![HIDDEN, 64])],
            _ => Vec::new(),
        }
    }

    /// Tensors of each layer.
    pub(crate) fn layer_tensors(self) -> Tensors {
        let (q, kv) = (2 * HEAD_DIM, HEAD_DIM);
        let [count, _, size, shared] = EXPERTS;
        match self {
            Self::Qkv => vec![
                ("attn_q.weight", vec![HIDDEN, q]),
                ("attn_k.weight", vec![HIDDEN, kv]),
                ("attn_v.weight", vec![HIDDEN, kv]),
                ("attn_output.weight", vec![q, HIDDEN]),
            ],
            Self::QkvBias => vec![("attn_q.bias", vec![q]), ("attn_k.bias", vec![kv]), ("attn_v.bias", vec![kv])],
            Self::FusedQkv => {
                vec![("attn_qkv.weight", vec![HIDDEN, q + 2 * kv]), ("attn_output.weight", vec![q, HIDDEN])]
            }
            Self::FusedQkvBias => vec![("attn_qkv.bias", vec![q + 2 * kv])],
            Self::OutBias => vec![("attn_output.bias", vec![HIDDEN])],
            Self::HeadNorms => vec![("attn_q_norm.weight", vec![HEAD_DIM]), ("attn_k_norm.weight", vec![HEAD_DIM])],
            Self::Sinks => vec![("attn_sinks.weight", vec![2])],
            Self::Norms => vec![("attn_norm.weight", vec![HIDDEN]), ("ffn_norm.weight", vec![HIDDEN])],
            Self::NormBiases => vec![("attn_norm.bias", vec![HIDDEN]), ("ffn_norm.bias", vec![HIDDEN])],
            Self::PostNorms => {
                vec![("post_attention_norm.weight", vec![HIDDEN]), ("post_ffw_norm.weight", vec![HIDDEN])]
            }
            Self::NormNamedPost => {
                vec![("attn_norm.weight", vec![HIDDEN]), ("post_attention_norm.weight", vec![HIDDEN])]
            }
            Self::Gated => vec![
                ("ffn_gate.weight", vec![HIDDEN, FFN]),
                ("ffn_up.weight", vec![HIDDEN, FFN]),
                ("ffn_down.weight", vec![FFN, HIDDEN]),
            ],
            Self::FusedGated => {
                vec![("ffn_up.weight", vec![HIDDEN, 2 * FFN]), ("ffn_down.weight", vec![FFN, HIDDEN])]
            }
            Self::Plain => vec![("ffn_up.weight", vec![HIDDEN, FFN]), ("ffn_down.weight", vec![FFN, HIDDEN])],
            Self::PlainBias => vec![("ffn_up.bias", vec![FFN]), ("ffn_down.bias", vec![HIDDEN])],
            Self::Experts => vec![
                ("ffn_gate_inp.weight", vec![HIDDEN, count]),
                ("ffn_gate_exps.weight", vec![HIDDEN, size, count]),
                ("ffn_up_exps.weight", vec![HIDDEN, size, count]),
                ("ffn_down_exps.weight", vec![size, HIDDEN, count]),
            ],
            Self::ExpertBiases => vec![
                ("ffn_gate_inp.bias", vec![count]),
                ("ffn_gate_exps.bias", vec![size, count]),
                ("ffn_up_exps.bias", vec![size, count]),
                ("ffn_down_exps.bias", vec![HIDDEN, count]),
            ],
            Self::SharedExpert => vec![
                ("ffn_gate_shexp.weight", vec![HIDDEN, shared]),
                ("ffn_up_shexp.weight", vec![HIDDEN, shared]),
                ("ffn_down_shexp.weight", vec![shared, HIDDEN]),
            ],
            Self::SharedRouter => vec![("ffn_gate_inp_shexp.weight", vec![HIDDEN])],
            Self::Positions => Vec::new(),
        }
    }
}

/// What an architecture's models are made of.
pub(crate) fn parts(arch: &str) -> &'static [Part] {
    use Part::*;
    match arch {
        "qwen2" => &[Norms, Qkv, QkvBias, Gated],
        "qwen2moe" => &[Norms, Qkv, QkvBias, Experts, SharedExpert, SharedRouter],
        "qwen3" => &[Norms, Qkv, HeadNorms, Gated],
        "qwen3moe" => &[Norms, Qkv, HeadNorms, Experts],
        "gemma2" => &[Norms, PostNorms, Qkv, Gated],
        "gemma3" => &[Norms, PostNorms, Qkv, HeadNorms, Gated],
        "phi3" => &[Norms, FusedQkv, FusedGated],
        "granitemoe" => &[Norms, Qkv, Experts, SharedExpert],
        "gpt-oss" => &[NormNamedPost, Qkv, QkvBias, OutBias, Sinks, Experts, ExpertBiases],
        _ => &[Norms, Qkv, Gated],
    }
}

/// What an architecture's metadata holds beside the sizes that all have.
pub(crate) fn keys(arch: &str) -> Vec<(&'static str, Value)> {
    let uint = |n: usize| Value::Uint(n as u64);
    let mut keys = match arch {
        "gemma2" | "gemma3" | "gpt-oss" => vec![("attention.sliding_window", uint(16))],
        "granite" | "granitemoe" => vec![("logit_scale", Value::Float(4.0))],
        _ => Vec::new(),
    };
    let has_layer_norms = parts(arch).contains(&Part::NormBiases);
    let epsilon = if has_layer_norms { "attention.layer_norm_epsilon" } else { "attention.layer_norm_rms_epsilon" };
    keys.push((epsilon, Value::Float(1e-5)));
    let [count, used, size, shared] = EXPERTS.map(uint);
    if parts(arch).contains(&Part::Experts) {
        keys.extend([("expert_count", count), ("expert_used_count", used), ("expert_feed_forward_length", size)]);
    }
    if parts(arch).contains(&Part::SharedExpert) {
        keys.push(("expert_shared_feed_forward_length", shared));
    }
    keys
}
