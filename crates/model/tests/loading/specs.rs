//! What each architecture's metadata means.

use gguf::{Array, TensorInfo, Value};
use model::{
    Activation, AttentionWeights, ExpertGroups, ExpertLinear, Ffn, FfnWeights, GroupScore, Head, Latent, Mask, Moe,
    Pooling, QkNorm, Residual, RopeScaling, RopeStyle, Scoring, Shared, SharedWeight, Stacked, supported_architectures,
};

use crate::{
    check, load,
    parts::{Part, parts},
    small::{EXPERTS, FFN, HEAD_DIM, HIDDEN, NUM_LAYERS, Small, VOCAB},
};

#[test]
fn every_architecture_loads() {
    // Heads of latent attention are of another kind.
    for arch in supported_architectures().filter(|&arch| arch != "deepseek2") {
        let spec = load(&Small::new(arch)).unwrap();
        assert_eq!((spec.arch, spec.vocab_size, spec.hidden_size), (arch, VOCAB, HIDDEN));
        assert_eq!((spec.layers.len(), spec.context_length, spec.norm_eps), (NUM_LAYERS, 64, 1e-5));
        let attention = &spec.layers[1].attention;
        assert_eq!((attention.num_heads, attention.num_kv_heads, attention.head_dim), (2, 1, HEAD_DIM));
        assert_eq!((attention.q_size(), attention.kv_size()), (2 * HEAD_DIM, HEAD_DIM));
        assert_eq!((attention.scale, attention.softcap), (if arch == "gemma4" { 1.0 } else { 0.5 }, None));
        assert_eq!(attention.rope.dim, if parts(arch).contains(&Part::Positions) { 0 } else { HEAD_DIM });
        assert_eq!(spec.kv_elements_per_token(), 2 * HEAD_DIM * NUM_LAYERS);
        let (Ffn::Gated { size, .. }
        | Ffn::Plain { size, .. }
        | Ffn::Moe(Moe { size, .. })
        | Ffn::GatedAndMoe { size, .. }) = spec.layers[0].ffn;
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
        ("gemma2", RopeStyle::Neox, QkNorm::None, Residual::SandwichNorm, Activation::GeluTanh),
        ("gemma3", RopeStyle::Neox, QkNorm::PerHead, Residual::SandwichNorm, Activation::GeluTanh),
        ("phi3", RopeStyle::Neox, QkNorm::None, Residual::PreNorm, Activation::Silu),
        ("granite", RopeStyle::Norm, QkNorm::None, Residual::PreNorm, Activation::Silu),
        ("gpt-oss", RopeStyle::Neox, QkNorm::None, Residual::PreNorm, Activation::ClampedSwiglu),
        ("olmo2", RopeStyle::Neox, QkNorm::AllHeads, Residual::PostNorm, Activation::Silu),
        ("stablelm", RopeStyle::Neox, QkNorm::None, Residual::PreNorm, Activation::Silu),
        ("falcon", RopeStyle::Neox, QkNorm::None, Residual::Parallel, Activation::Gelu),
        ("starcoder2", RopeStyle::Neox, QkNorm::None, Residual::PreNorm, Activation::GeluTanh),
        ("command-r", RopeStyle::Norm, QkNorm::None, Residual::Parallel, Activation::Silu),
        ("glm4", RopeStyle::Norm, QkNorm::None, Residual::SandwichNorm, Activation::Silu),
        ("exaone4", RopeStyle::Neox, QkNorm::PerHead, Residual::PostNorm, Activation::Silu),
        ("bert", RopeStyle::Norm, QkNorm::None, Residual::NormedSum, Activation::Gelu),
        ("nomic-bert", RopeStyle::Neox, QkNorm::None, Residual::NormedSum, Activation::Silu),
        ("llama4", RopeStyle::Norm, QkNorm::UnitAfterRope, Residual::PreNorm, Activation::Silu),
    ] {
        let layer = load(&Small::new(arch)).unwrap().layers.remove(0);
        let (Ffn::Gated { activation: found, .. }
        | Ffn::Plain { activation: found, .. }
        | Ffn::Moe(Moe { activation: found, .. })
        | Ffn::GatedAndMoe { moe: Moe { activation: found, .. }, .. }) = layer.ffn;
        assert_eq!((layer.attention.rope.style, found), (style, activation), "{arch}");
        assert_eq!((layer.attention.qk_norm, layer.residual), (qk_norm, residual), "{arch}");
    }
}

#[test]
fn encoders_see_all_tokens_and_choose_none() {
    for (arch, positions) in [("bert", Some(64)), ("nomic-bert", None)] {
        let spec = load(&Small::new(arch)).unwrap();
        assert!(spec.is_encoder() && spec.layers.iter().all(|layer| layer.attention.mask == Mask::Bidirectional));
        assert_eq!((spec.head, spec.learned_positions, spec.token_types), (Head::None, positions, Some(2)));
        assert!(spec.embedding_norm);
        let one_type = Small::new(arch).tensor("token_types.weight", &[HIDDEN, 1]);
        assert_eq!(load(&one_type).unwrap().token_types, Some(1));
        let rank = Small::new(arch).uint("pooling_type", 4);
        check(&rank, &format!("`{arch}.pooling_type` is 4, a classifier that ranks texts, which is not supported yet"));
        load(&Small::new(arch).with("attention.causal", Value::Bool(false))).unwrap();
    }
    let gemma = load(&Small::new("gemma-embedding").uint("block_count", 2)).unwrap();
    assert!(gemma.is_encoder() && gemma.head == Head::Logits, "a norm stands behind the last layer");
    assert_eq!(
        (gemma.layers[1].attention.mask, &gemma.kv_layers().windows[..]),
        (Mask::Symmetric { reach: 8 }, &[None][..])
    );
    let modern =
        Small::new("modern-bert").uint("attention.sliding_window", 10).without_tensor("blk.0.attn_norm.weight");
    let layers = load(&modern.with("rope.freq_base_swa", Value::Float(99.0))).unwrap().layers;
    assert_eq!((layers[0].residual, layers[0].attention.mask), (Residual::PreFfnNorm, Mask::Bidirectional));
    assert_eq!((layers[1].residual, layers[1].attention.mask), (Residual::PreNorm, Mask::Symmetric { reach: 5 }));
    assert_eq!((layers[0].attention.rope.theta, layers[1].attention.rope.theta), (1e4, 99.0));
    let llama = load(&Small::new("llama")).unwrap();
    assert!(!llama.is_encoder() && llama.head == Head::Logits);
    check(
        &Small::new("llama").with("attention.causal", Value::Bool(false)),
        "`llama.attention.causal` is false, which is not supported yet (supported: true; false for bert, nomic-bert, gemma-embedding, modern-bert)",
    );
}

#[test]
fn the_pooling_is_read() {
    let pooling = |n| load(&Small::new("qwen3").uint("pooling_type", n)).unwrap().pooling;
    assert_eq!(load(&Small::new("qwen3")).unwrap().pooling, None);
    let expected = [Pooling::None, Pooling::Mean, Pooling::Cls, Pooling::Last, Pooling::Rank];
    assert_eq!([0, 1, 2, 3, 4].map(pooling), expected.map(Some));
    check(&Small::new("qwen3").uint("pooling_type", 5), "`qwen3.pooling_type` is 5; expected 0 to 4");
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

/// The layers' masks and how many elements they rotate.
fn masks(model: &Small) -> Vec<(Mask, usize)> {
    let spec = model::decoder_spec(&model.build()).expect("a sound model");
    spec.layers.iter().map(|layer| (layer.attention.mask, layer.attention.rope.dim)).collect()
}

#[test]
fn windows_chunks_and_rotations_follow_their_patterns() {
    let (slides, chunked) = (Mask::Sliding { window: 16 }, Mask::Chunked { chunk: 8192 });
    let four = |arch| Small::new(arch).uint("block_count", 4);
    let windowed = |arch| four(arch).uint("attention.sliding_window", 16);
    let full = (Mask::Full, HEAD_DIM);
    assert_eq!(masks(&four("gemma2")), [(slides, 4), full, (slides, 4), full]);
    assert_eq!(masks(&four("gpt-oss")), [(slides, 4), full, (slides, 4), full]);
    assert_eq!(masks(&windowed("olmo2")), [(slides, 4), (slides, 4), (slides, 4), full]);
    for arch in ["cohere2", "exaone4"] {
        assert_eq!(masks(&windowed(arch)), [(slides, 4), (slides, 4), (slides, 4), (Mask::Full, 0)], "{arch}");
    }
    assert_eq!(masks(&four("llama4")), [(chunked, 4), (chunked, 4), (chunked, 4), (Mask::Full, 0)]);
    assert_eq!(masks(&four("llama4").uint("attention.sliding_window", 0)), [full; 4]);
    assert_eq!(masks(&four("smollm3")), [full, full, full, (Mask::Full, 0)]);
    assert_eq!(masks(&four("exaone4")), [full; 4]);
    assert_eq!(masks(&windowed("phi3")), [(slides, 4); 4]);
    // The file may have a pattern of its own.
    let key = "attention.sliding_window_pattern";
    let flags = |flags: &[bool]| Value::Array(Array::Bool(flags.to_vec()));
    let own = four("gemma2").with(key, flags(&[false, true, true, false]));
    assert_eq!(masks(&own), [full, (slides, 4), (slides, 4), full]);
    assert_eq!(masks(&four("gemma2").uint(key, 3)), [(slides, 4), (slides, 4), full, (slides, 4)]);
    let short = four("gemma2").with(key, flags(&[true]));
    check(&short, "`gemma2.attention.sliding_window_pattern` is an array of 1; expected one of 4 layers");
}

#[test]
fn latent_attention_has_one_key_that_is_the_value_too() {
    let spec = load(&Small::new("deepseek2")).unwrap();
    let attention = &spec.layers[0].attention;
    assert_eq!(attention.latent, Some(Latent { q_rank: Some(6), kv_rank: 5, nope_dim: 2, value_dim: 3 }));
    assert_eq!((attention.num_heads, attention.num_kv_heads, attention.head_dim), (2, 1, 7));
    assert_eq!((attention.gathered_dim(), attention.output_size(), attention.scale), (5, 6, 0.5));
    assert_eq!(spec.kv_elements_per_token(), 7 * NUM_LAYERS);
    let odd = Small::new("deepseek2").uint("rope.dimension_count", 4);
    check(&odd, "`deepseek2.rope.dimension_count` is 4; expected an even number below the head size 4");
    check(&Small::new("deepseek2").without("attention.kv_lora_rank"), "`deepseek2.attention.kv_lora_rank` is missing");
}

#[test]
fn experts_are_scored_grouped_and_scaled_as_the_file_says() {
    let moe = |small: &Small| match model::decoder_spec(&small.build()).unwrap().layers[1].ffn {
        Ffn::Moe(moe) => moe,
        other => panic!("{other:?}"),
    };
    let [_, num_used, size, _] = EXPERTS;
    let six = Small::new("deepseek2").uint("expert_count", 6);
    let shared = Some(Shared { size, weight: SharedWeight::One });
    let plain = Moe { normalize: false, shared, ..Moe::plain((num_used, 6), size) };
    assert_eq!(moe(&six), plain);
    let grouped = six.uint("expert_group_count", 3).uint("expert_group_used_count", 2);
    let groups = |score| Some(ExpertGroups { count: 3, used: 2, score });
    assert_eq!(moe(&grouped), Moe { groups: groups(GroupScore::Best), ..plain });
    let scaled = grouped.clone().uint("expert_gating_func", 2).with("expert_weights_scale", Value::Float(2.5));
    let scaled = scaled.with("expert_weights_norm", Value::Bool(true));
    let expected = Moe { scoring: Scoring::Sigmoid, normalize: true, weight_scale: 2.5, ..plain };
    assert_eq!(moe(&scaled), Moe { groups: groups(GroupScore::BestTwo), ..expected });
    for (key, value, expect) in [
        ("expert_group_count", 4, "`deepseek2.expert_group_count` is 4; expected a divisor of the 6 experts"),
        ("expert_group_used_count", 4, "`deepseek2.expert_group_used_count` is 4; expected 1 to 3"),
        ("expert_gating_func", 7, "`deepseek2.expert_gating_func` is 7, which is not supported yet"),
    ] {
        check(&grouped.clone().uint(key, value), expect);
    }
    let few = grouped.uint("expert_used_count", 3).uint("expert_group_used_count", 1);
    check(&few, "`deepseek2.expert_group_used_count` is 1; expected enough groups of 2 for the 3 experts of a token");
    // The first layers may have no experts.
    let dense = Small::new("deepseek2").uint("leading_dense_block_count", 1);
    let spec = model::decoder_spec(&dense.build()).unwrap();
    assert!(matches!(spec.layers[0].ffn, Ffn::Gated { .. }) && matches!(spec.layers[1].ffn, Ffn::Moe(_)));
    let step = Small::new("llama4").uint("interleave_moe_layer_step", 2);
    let spec = model::decoder_spec(&step.build()).unwrap();
    assert!(matches!(spec.layers[0].ffn, Ffn::Gated { .. }) && matches!(spec.layers[1].ffn, Ffn::Moe(_)));
}

#[test]
fn every_token_has_an_embedding() {
    let tokens = |count| Value::Array(Array::String(std::iter::repeat_n("a", count).collect()));
    let model = |count| Small::new("llama").global("tokenizer.ggml.tokens", tokens(count));
    check(&model(VOCAB), "ok");
    let expect = "`tokenizer.ggml.tokens` is a list of 6 tokens; expected at most 5, the rows of `token_embd.weight`";
    check(&model(VOCAB + 1), expect);
}

#[test]
fn gemma4_has_layers_of_two_kinds_and_shares_keys() {
    let six = Small::new("gemma4").uint("block_count", 6).uint("attention.key_length", 6);
    let six = six.uint("embedding_length_per_layer_input", 3).uint("attention.shared_kv_layers", 2);
    let flags = [true, false, true, false, true, false];
    let six = six.with("attention.sliding_window_pattern", Value::Array(Array::Bool(flags.to_vec())));
    let spec = model::decoder_spec(&six.build()).unwrap();
    let kinds = spec.layers.iter().map(|layer| (layer.attention.head_dim, layer.attention.kv_source));
    let expected = [(4, None), (6, None), (4, None), (6, None), (4, Some(2)), (6, Some(3))];
    assert!(kinds.eq(expected), "{:?}", spec.layers);
    assert_eq!((spec.per_layer_inputs, spec.kv_elements_per_token()), (Some(3), 2 * (4 + 6 + 4 + 6)));
    let has_factors: Vec<_> = spec.layers.iter().map(|layer| layer.attention.rope.has_factors).collect();
    assert_eq!(has_factors, flags.map(|slides| !slides));
    for (key, value, expect) in [
        ("attention.shared_kv_layers", 5, "`gemma4.attention.shared_kv_layers` is 5; expected fewer: layer 1 has no"),
        ("attention.key_length_swa", 3, "`gemma4.attention.key_length_swa` is 3; expected an even number"),
        ("expert_count", 8, "metadata key `gemma4.expert_feed_forward_length` is missing"),
    ] {
        check(&six.clone().uint(key, value), expect);
    }
    let sizes = |sizes: &[u64]| Value::Array(Array::Uint(sizes.to_vec()));
    let kv = six.clone().with("attention.head_count_kv", sizes(&[1; 5]));
    check(&kv, "`gemma4.attention.head_count_kv` is an array of 5; expected one of 6 layers");
    let odd = six.clone().with("feed_forward_length", sizes(&[1, 2, 3, 0, 5, 6]));
    check(&odd, "`gemma4.feed_forward_length` is 0; expected 1 to ");
    check(
        &six.with("attention.head_count_kv", sizes(&[1, 1, 1, 3, 1, 1])),
        "is 3; expected a divisor of the 2 query heads",
    );
}

#[test]
fn gemma4_has_experts_beside_its_gated_blocks() {
    let [count, used, size, _] = EXPERTS;
    let mut model = Small::new("gemma4").uint("expert_count", count as u64).uint("expert_used_count", used as u64);
    model = model.uint("expert_feed_forward_length", size as u64);
    check(&model, "tensor `blk.0.post_ffw_norm_1.weight` is missing");
    for layer in 0..NUM_LAYERS {
        let name = |suffix: &str| format!("blk.{layer}.{suffix}");
        for norm in ["post_ffw_norm_1.weight", "pre_ffw_norm_2.weight", "post_ffw_norm_2.weight", "ffn_gate_inp.scale"]
        {
            model = model.tensor(&name(norm), &[HIDDEN]);
        }
        model = model.tensor(&name("ffn_gate_inp.weight"), &[HIDDEN, count]);
        model = model.tensor(&name("ffn_gate_up_exps.weight"), &[HIDDEN, 2 * size, count]);
        model = model.tensor(&name("ffn_down_exps.weight"), &[size, HIDDEN, count]);
        model = model.tensor(&name("ffn_down_exps.scale"), &[count]);
    }
    let moe = Moe { activation: Activation::GeluTanh, ..Moe::plain((used, count), size) };
    assert_eq!(load(&model).unwrap().layers[1].ffn, Ffn::GatedAndMoe { size: FFN, moe });
    // Gate and up of an expert lie one behind the other.
    let gguf = model.build();
    let weights = model::resolve_weights(&model::decoder_spec(&gguf).unwrap(), &gguf).unwrap();
    let FfnWeights::GatedAndMoe(both) = &weights.layers[0].ffn else { panic!("{weights:?}") };
    let offsets = |linear: &ExpertLinear<TensorInfo>| match &linear.weight {
        Stacked::Each(each) => each.iter().map(|tensor| gguf.data(tensor).as_ptr().addr()).collect::<Vec<_>>(),
        Stacked::One(_) => panic!("{linear:?}"),
    };
    let (gate, up) = (offsets(&both.moe.gate), offsets(&both.moe.up));
    let matrix = 4 * size * HIDDEN;
    for expert in 0..count {
        assert_eq!((gate[expert] - gate[0], up[expert] - gate[0]), (2 * expert * matrix, (2 * expert + 1) * matrix));
    }
    let scale = model.clone().tensor("blk.0.ffn_down_exps.scale", &[count + 1]);
    check(&scale, "tensor `blk.0.ffn_down_exps.scale` has shape [4], expected [3]");
}

#[test]
fn matrices_may_have_scales() {
    let one = Small::new("llama").tensor("blk.1.ffn_up.scale", &[1]).tensor("output.scale", &[1]);
    // What hardware with 4-bit inputs wants is passed over.
    check(&one.clone().tensor("blk.1.ffn_up.input_scale", &[1]), "ok");
    let gguf = one.build();
    let weights = model::resolve_weights(&model::decoder_spec(&gguf).unwrap(), &gguf).unwrap();
    let scales = weights.layers.iter().map(|layer| match &layer.ffn {
        FfnWeights::Gated(gated) => [&gated.gate.scale, &gated.up.scale].map(Option::is_some),
        other => panic!("{other:?}"),
    });
    assert!(scales.eq([[false, false], [false, true]]) && weights.output_scale.is_some());
    check(&one.tensor("blk.0.attn_q.scale", &[2]), "tensor `blk.0.attn_q.scale` has shape [2], expected [1]");
    let fused = Small::new("phi3").tensor("blk.0.attn_qkv.scale", &[1]).build();
    let weights = model::resolve_weights(&model::decoder_spec(&fused).unwrap(), &fused).unwrap();
    let AttentionWeights::Heads(heads) = &weights.layers[0].attention else { panic!("{weights:?}") };
    assert!([&heads.q, &heads.k, &heads.v].iter().all(|linear| linear.scale.is_some()), "{heads:?}");
    let experts = Small::new("qwen3moe").tensor("blk.0.ffn_gate_exps.scale", &[EXPERTS[0]]);
    check(&experts, "ok");
    check(&experts.tensor("blk.1.ffn_gate_exps.scale", &[1]), "has shape [1], expected [3]");
}

#[test]
fn layers_with_windows_share_a_pool() {
    let pools = |arch| load(&Small::new(arch)).unwrap().kv_layers();
    let llama = pools("llama");
    assert_eq!((llama.windows, llama.pool_of_layer), (vec![None], vec![0; NUM_LAYERS]));
    let spec = load(&Small::new("gemma3")).unwrap();
    let kv = spec.kv_layers();
    for (layer, pool) in spec.layers.iter().zip(kv.pool_of_layer) {
        assert_eq!(layer.attention.mask.window(), kv.windows[pool], "{:?}", layer.attention.mask);
    }
}
