//! What each architecture's metadata means.

use gguf::Value;
use model::{
    Activation, Ffn, Mask, Moe, QkNorm, Residual, RopeScaling, RopeStyle, Shared, SharedWeight, supported_architectures,
};

use crate::{
    check, load,
    parts::{Part, parts},
    small::{EXPERTS, FFN, HEAD_DIM, HIDDEN, NUM_LAYERS, Small, VOCAB},
};

#[test]
fn every_architecture_loads() {
    for arch in supported_architectures() {
        let spec = load(&Small::new(arch)).unwrap();
        assert_eq!((spec.arch, spec.vocab_size, spec.hidden_size), (arch, VOCAB, HIDDEN));
        assert_eq!((spec.layers.len(), spec.context_length, spec.norm_eps), (NUM_LAYERS, 64, 1e-5));
        let attention = &spec.layers[1].attention;
        assert_eq!((attention.num_heads, attention.num_kv_heads, attention.head_dim), (2, 1, HEAD_DIM));
        assert_eq!((attention.q_size(), attention.kv_size()), (2 * HEAD_DIM, HEAD_DIM));
        assert_eq!((attention.rope.dim, attention.scale, attention.softcap), (HEAD_DIM, 0.5, None));
        assert_eq!(spec.kv_elements_per_token(), 2 * HEAD_DIM * NUM_LAYERS);
        let (Ffn::Gated { size, .. } | Ffn::Plain { size, .. } | Ffn::Moe(Moe { size, .. })) = spec.layers[0].ffn;
        assert_eq!(size, if parts(arch).contains(&Part::Experts) { EXPERTS[2] } else { FFN });
    }
}

#[test]
fn architectures_differ_in_rotation_norms_and_activation() {
    for (arch, style, qk_norm, residual, activation) in [
        ("llama", RopeStyle::Norm, QkNorm::None, Residual::PreNorm, Activation::Silu),
        ("mistral", RopeStyle::Norm, QkNorm::None, Residual::PreNorm, Activation::Silu),
        ("qwen2", RopeStyle::Neox, QkNorm::None, Residual::PreNorm, Activation::Silu),
        ("qwen2moe", RopeStyle::Neox, QkNorm::None, Residual::PreNorm, Activation::Silu),
        ("qwen3", RopeStyle::Neox, QkNorm::PerHead, Residual::PreNorm, Activation::Silu),
        ("qwen3moe", RopeStyle::Neox, QkNorm::PerHead, Residual::PreNorm, Activation::Silu),
        ("gemma3", RopeStyle::Neox, QkNorm::PerHead, Residual::SandwichNorm, Activation::GeluTanh),
    ] {
        let layer = load(&Small::new(arch)).unwrap().layers.remove(0);
        let (Ffn::Gated { activation: found, .. }
        | Ffn::Plain { activation: found, .. }
        | Ffn::Moe(Moe { activation: found, .. })) = layer.ffn;
        assert_eq!((layer.attention.rope.style, found), (style, activation), "{arch}");
        assert_eq!((layer.attention.qk_norm, layer.residual), (qk_norm, residual), "{arch}");
    }
}

#[test]
fn experts_differ_in_their_weights_and_in_the_shared_one() {
    let [num_experts, num_used, size, shared_size] = EXPERTS;
    let moe = |small: &Small| match model::decoder_spec(&small.build()).unwrap().layers[1].ffn {
        Ffn::Moe(moe) => moe,
        other => panic!("{other:?}"),
    };
    let qwen3 = Moe::plain((num_used, num_experts), size);
    let shared = |size| Some(Shared { size, weight: SharedWeight::Sigmoid });
    assert_eq!(moe(&Small::new("qwen3moe")), qwen3);
    assert_eq!(moe(&Small::new("qwen2moe")), Moe { normalize: false, shared: shared(shared_size), ..qwen3 });
    // Without their own keys, experts share the dense width, and the shared one has all of it.
    let widths = Small::new("qwen2moe").without("expert_feed_forward_length");
    let widths = widths.without("expert_shared_feed_forward_length");
    assert_eq!(moe(&widths), Moe { size: FFN / num_used, shared: shared(FFN), normalize: false, ..qwen3 });
    let mixtral = Small::new("llama").uint("expert_count", 8).uint("expert_used_count", 2);
    assert_eq!(moe(&mixtral), Moe { num_experts: 8, num_used: 2, size: FFN, ..qwen3 });
}

#[test]
fn gemma3_alternates_masks_and_bases() {
    let spec = load(&Small::new("gemma3").uint("block_count", 2)).unwrap();
    assert_eq!(spec.embedding_scale, (HIDDEN as f32).sqrt());
    let local = &spec.layers[0].attention;
    assert_eq!((local.mask, local.rope.theta), (Mask::Sliding { window: 16 }, 1e4));
    let mut model =
        Small::new("gemma3").uint("block_count", 6).with("rope.scaling.type", Value::String("linear".into()));
    model = model.with("rope.scaling.factor", Value::Float(8.0));
    let spec = model::decoder_spec(&model.build()).unwrap();
    let ropes: Vec<_> = spec.layers.iter().map(|l| (l.attention.rope.theta, l.attention.rope.scaling)).collect();
    let local = (1e4, RopeScaling::None);
    assert_eq!(ropes, [local, local, local, local, local, (1e6, RopeScaling::Linear { factor: 8.0 })]);
    assert_eq!(spec.layers[5].attention.mask, Mask::Full);
    check(&Small::new("gemma3").without("attention.sliding_window"), "`gemma3.attention.sliding_window` is missing");
}

#[test]
fn defaults_stand_for_what_files_leave_out() {
    let spec = load(&Small::new("llama")).unwrap();
    assert_eq!((spec.name.as_str(), spec.layers[0].attention.rope.theta), ("", 1e4));
    let mut wide = Small::new("llama").without("attention.head_count_kv");
    for name in ["attn_k.weight", "attn_v.weight"] {
        for layer in 0..NUM_LAYERS {
            wide = wide.tensor(&format!("blk.{layer}.{name}"), &[HIDDEN, 2 * HEAD_DIM]);
        }
    }
    assert_eq!(load(&wide).unwrap().layers[0].attention.num_kv_heads, 2);
    let named = Small::new("llama").global("general.name", Value::String("Tiny".to_owned()));
    assert_eq!(load(&named).unwrap().name, "Tiny");
    check(&Small::new("llama").without_tensor("output.weight"), "ok");
}
