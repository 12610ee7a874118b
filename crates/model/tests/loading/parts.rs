//! What the small models of each architecture are made of.

use gguf::Value;

use crate::small::{EXPERTS, FFN, HEAD_DIM, HIDDEN};

/// Tensors that come together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Norms of all query heads and all key heads.
    AllHeadNorms,
    /// Latent attention.
    Latent,
    /// Attention sinks.
    Sinks,
    /// The norms before the blocks and before the output matrix.
    Norms,
    /// Their biases.
    NormBiases,
    /// One norm before both blocks, and that before the output matrix.
    OneNorm,
    /// Their biases.
    OneNormBias,
    /// The norm before the output matrix alone.
    OutNorm,
    /// The norms behind the blocks.
    PostNorms,
    /// The norms of an encoder, behind the embeddings and the blocks, and its table of token types.
    Encoder,
    /// The norm of the embeddings, without a bias.
    EmbeddingNorm,
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
    /// The same, as wide as the others.
    SharedAsOthers,
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
            Self::Norms | Self::NormNamedPost | Self::OneNorm | Self::OutNorm => {
                vec![("output_norm.weight", vec![HIDDEN])]
            }
            Self::NormBiases | Self::OneNormBias => vec![("output_norm.bias", vec![HIDDEN])],
            Self::Encoder => vec![
                ("token_embd_norm.weight", vec![HIDDEN]),
                ("token_embd_norm.bias", vec![HIDDEN]),
                ("token_types.weight", vec![HIDDEN, 2]),
            ],
            Self::EmbeddingNorm => vec![("token_embd_norm.weight", vec![HIDDEN])],
            Self::Positions => vec![("position_embd.weight", vec![HIDDEN, 64])],
            _ => Vec::new(),
        }
    }

    /// Tensors of each layer.
    pub(crate) fn layer_tensors(self) -> Tensors {
        let (q, kv) = (2 * HEAD_DIM, HEAD_DIM);
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
            Self::AllHeadNorms => vec![("attn_q_norm.weight", vec![q]), ("attn_k_norm.weight", vec![kv])],
            Self::Latent => vec![
                ("attn_q_a.weight", vec![HIDDEN, 6]),
                ("attn_q_a_norm.weight", vec![6]),
                ("attn_q_b.weight", vec![6, q]),
                ("attn_kv_a_mqa.weight", vec![HIDDEN, 5 + 2]),
                ("attn_kv_a_norm.weight", vec![5]),
                ("attn_k_b.weight", vec![2, 5, 2]),
                ("attn_v_b.weight", vec![5, 3, 2]),
                ("attn_output.weight", vec![2 * 3, HIDDEN]),
            ],
            Self::Sinks => vec![("attn_sinks.weight", vec![2])],
            Self::Norms => vec![("attn_norm.weight", vec![HIDDEN]), ("ffn_norm.weight", vec![HIDDEN])],
            Self::NormBiases => vec![("attn_norm.bias", vec![HIDDEN]), ("ffn_norm.bias", vec![HIDDEN])],
            Self::OneNorm => vec![("attn_norm.weight", vec![HIDDEN])],
            Self::OneNormBias => vec![("attn_norm.bias", vec![HIDDEN])],
            Self::PostNorms => {
                vec![("post_attention_norm.weight", vec![HIDDEN]), ("post_ffw_norm.weight", vec![HIDDEN])]
            }
            Self::Encoder => vec![
                ("attn_output_norm.weight", vec![HIDDEN]),
                ("attn_output_norm.bias", vec![HIDDEN]),
                ("layer_output_norm.weight", vec![HIDDEN]),
                ("layer_output_norm.bias", vec![HIDDEN]),
            ],
            Self::NormNamedPost => {
                vec![("attn_norm.weight", vec![HIDDEN]), ("post_attention_norm.weight", vec![HIDDEN])]
            }
            _ => self.ffn_tensors(),
        }
    }

    fn ffn_tensors(self) -> Tensors {
        let [count, _, size, shared] = EXPERTS;
        match self {
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
            Self::SharedAsOthers => vec![
                ("ffn_gate_shexp.weight", vec![HIDDEN, size]),
                ("ffn_up_shexp.weight", vec![HIDDEN, size]),
                ("ffn_down_shexp.weight", vec![size, HIDDEN]),
            ],
            Self::SharedRouter => vec![("ffn_gate_inp_shexp.weight", vec![HIDDEN])],
            _ => Vec::new(),
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
        "gemma3" | "gemma-embedding" => &[Norms, PostNorms, Qkv, HeadNorms, Gated],
        "gemma4" => &[Norms, PostNorms, Qkv, HeadNorms, Gated],
        "phi3" => &[Norms, FusedQkv, FusedGated],
        "granitemoe" => &[Norms, Qkv, Experts, SharedExpert],
        "gpt-oss" => &[NormNamedPost, Qkv, QkvBias, OutBias, Sinks, Experts, ExpertBiases],
        "olmo2" => &[OutNorm, PostNorms, Qkv, AllHeadNorms, Gated],
        "stablelm" => &[Norms, NormBiases, Qkv, Gated],
        "falcon" => &[OneNorm, OneNormBias, FusedQkv, Plain],
        "gpt2" | "starcoder" => &[Norms, NormBiases, Positions, FusedQkv, FusedQkvBias, OutBias, Plain, PlainBias],
        "starcoder2" => &[Norms, NormBiases, Qkv, QkvBias, OutBias, Plain, PlainBias],
        "command-r" | "cohere2" => &[OneNorm, Qkv, Gated],
        "gptneox" => &[Norms, NormBiases, FusedQkv, FusedQkvBias, OutBias, Plain, PlainBias],
        "olmoe" => &[Norms, Qkv, AllHeadNorms, Experts],
        "seed_oss" => &[NormNamedPost, Qkv, QkvBias, Gated],
        "glm4" => &[Norms, PostNorms, Qkv, FusedGated],
        "exaone4" => &[OutNorm, PostNorms, Qkv, HeadNorms, Gated],
        "deepseek2" => &[Norms, Latent, Experts, SharedAsOthers],
        "llama4" => &[Norms, Qkv, Experts, SharedAsOthers],
        "bert" => &[Encoder, Positions, Qkv, QkvBias, OutBias, Plain, PlainBias],
        "modern-bert" => &[EmbeddingNorm, Norms, FusedQkv, FusedGated],
        "nomic-bert" => &[Encoder, FusedQkv, Gated],
        _ => &[Norms, Qkv, Gated],
    }
}

/// What an architecture's metadata holds beside the sizes that all have.
pub(crate) fn keys(arch: &str) -> Vec<(&'static str, Value)> {
    let uint = |n: usize| Value::Uint(n as u64);
    let mut keys = match arch {
        "gemma2" | "gemma3" | "gemma-embedding" | "gpt-oss" => vec![("attention.sliding_window", uint(16))],
        "gemma4" => vec![
            ("attention.sliding_window", uint(16)),
            ("attention.key_length", uint(HEAD_DIM)),
            ("attention.key_length_swa", uint(HEAD_DIM)),
        ],
        "granite" | "granitemoe" | "command-r" => vec![("logit_scale", Value::Float(4.0))],
        "cohere2" => vec![("logit_scale", Value::Float(4.0)), ("attention.sliding_window", uint(16))],
        "stablelm" => vec![("use_parallel_residual", Value::Bool(false))],
        "llama4" => vec![("interleave_moe_layer_step", uint(1))],
        "deepseek2" => vec![
            ("attention.q_lora_rank", uint(6)),
            ("attention.kv_lora_rank", uint(5)),
            ("attention.key_length_mla", uint(4)),
            ("attention.value_length_mla", uint(3)),
            ("rope.dimension_count", uint(2)),
            ("expert_shared_count", uint(1)),
        ],
        _ => Vec::new(),
    };
    let has_biases =
        parts(arch).iter().any(|part| matches!(part, Part::NormBiases | Part::OneNormBias | Part::Encoder));
    let has_layer_norms = has_biases || matches!(arch, "command-r" | "cohere2" | "modern-bert");
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
