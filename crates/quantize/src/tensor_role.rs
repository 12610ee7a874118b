//! What a tensor does in its model, read off its name, as far as mixes of types care.

/// The role of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    TokenEmbedding,
    Output,
    /// Values; also matrices that hold them beside others.
    AttentionValue,
    AttentionKey,
    AttentionQuery,
    AttentionOutput,
    FfnDown,
    FfnGate,
    FfnUp,
    Other,
}

impl Role {
    pub(crate) fn of(name: &str) -> Self {
        const PARTS: &[(&str, Role)] = &[
            ("attn_qkv.weight", Role::AttentionValue),
            ("attn_kv_b.weight", Role::AttentionValue),
            ("attn_v.weight", Role::AttentionValue),
            ("attn_k.weight", Role::AttentionKey),
            ("attn_q.weight", Role::AttentionQuery),
            ("attn_output.weight", Role::AttentionOutput),
            ("ffn_up", Role::FfnUp),
            ("ffn_gate", Role::FfnGate),
            ("ffn_down", Role::FfnDown),
        ];
        match name {
            "output.weight" => Self::Output,
            "token_embd.weight" | "per_layer_token_embd.weight" => Self::TokenEmbedding,
            _ => PARTS.iter().find(|(part, _)| name.contains(part)).map_or(Self::Other, |(_, role)| *role),
        }
    }
}

/// The layer of `blk.N.`.
pub(crate) fn layer(name: &str) -> Option<usize> {
    name.strip_prefix("blk.")?.split('.').next()?.parse().ok()
}

/// Whether a tensor of two or more dimensions is one to quantize: matrices and experts are, norms, routers, positions,
/// convolutions and other small or sensitive ones are not.
pub(crate) fn is_quantizable(name: &str) -> bool {
    const KEPT: &[&str] = &[
        "_norm.weight",
        "ffn_gate_inp.weight",
        "ffn_gate_tid2eid.weight",
        "altup",
        "laurel",
        "per_layer_model_proj",
        "ssm_conv1d",
        "shortconv.conv.weight",
        "indexer.k_proj.weight",
        "indexer.q_proj.weight",
        "time_mix_first.weight",
        "time_mix_w0.weight",
        "time_mix_w1.weight",
        "time_mix_w2.weight",
        "time_mix_v0.weight",
        "time_mix_v1.weight",
        "time_mix_v2.weight",
        "time_mix_a0.weight",
        "time_mix_a1.weight",
        "time_mix_a2.weight",
        "time_mix_g1.weight",
        "time_mix_g2.weight",
        "time_mix_decay_w1.weight",
        "time_mix_decay_w2.weight",
        "time_mix_lerp_fused.weight",
        "attn_rel_b.weight",
        ".position_embd",
        "sam.pos_embd",
        "sam.neck.",
        "sam.net_",
        ".rel_pos",
        ".patch_embd",
        ".patch_merger",
        "a.rvq.codebook",
        "mm.a.code_embd",
    ];
    name.ends_with("weight")
        && !matches!(name, "position_embd.weight" | "token_types.weight")
        && KEPT.iter().all(|part| !name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::{Role, is_quantizable, layer};

    #[test]
    fn names_tell_roles_and_layers() {
        assert_eq!(Role::of("blk.12.attn_v.weight"), Role::AttentionValue);
        assert_eq!(Role::of("blk.0.ffn_down_exps.weight"), Role::FfnDown);
        assert_eq!(Role::of("output.weight"), Role::Output);
        assert_eq!((layer("blk.12.attn_v.weight"), layer("output.weight"), layer("blk.x.y")), (Some(12), None, None));
    }

    #[test]
    fn norms_routers_and_biases_are_kept() {
        for name in ["blk.0.attn_norm.weight", "blk.0.ffn_gate_inp.weight", "blk.0.attn_q.bias", "position_embd.weight"]
        {
            assert!(!is_quantizable(name), "{name}");
        }
        assert!(is_quantizable("blk.0.ffn_gate_exps.weight") && is_quantizable("token_embd.weight"));
    }
}
