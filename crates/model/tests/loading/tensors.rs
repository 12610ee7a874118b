//! Missing, extra and misshapen tensors are named.

use model::supported_architectures;

use crate::{
    check,
    parts::{Part, parts},
    small::Small,
};

#[test]
fn every_missing_tensor_is_named() {
    for arch in supported_architectures() {
        let whole = Small::new(arch);
        for (name, _) in whole.tensors() {
            // What a file may leave out: a tied output, a table of token types, biases of matrices.
            let is_optional = matches!(&*name, "output.weight" | "token_types.weight")
                || (name.ends_with(".bias") && !name.contains("norm"));
            // The first layer of ModernBERT has no such norm.
            let is_optional = is_optional || (arch == "modern-bert" && name == "blk.0.attn_norm.weight");
            // Keys are the values then.
            let is_optional = is_optional || (arch == "gemma4" && name.contains("attn_v"));
            // In place of one tensor there may be several, the first of which is named then.
            let blamed = name.replace("attn_qkv", "attn_q");
            let is_fused = parts(arch).contains(&Part::FusedGated);
            let blamed = if is_fused { blamed.replace("ffn_up.", "ffn_gate.") } else { blamed };
            let expect = if is_optional { "ok".to_owned() } else { format!("tensor `{blamed}` is missing") };
            check(&whole.clone().without_tensor(&name), &expect);
        }
    }
}

#[test]
fn every_misshapen_tensor_is_named_with_both_shapes() {
    for arch in supported_architectures() {
        let whole = Small::new(arch);
        for (name, mut shape) in whole.tensors() {
            // A row more in the embedding is another vocabulary, which the output must have then.
            let blamed = if name == "token_embd.weight" { "output.weight" } else { &name };
            // Nothing else knows the vocabulary of an encoder, or the number of token types.
            let may_grow =
                parts(arch).contains(&Part::Encoder) && matches!(&*name, "token_embd.weight" | "token_types.weight");
            let dim = if may_grow { shape.first_mut() } else { shape.last_mut() };
            *dim.expect("a dimension") = 17;
            let blamed = if may_grow { &name } else { blamed };
            check(&whole.clone().tensor(&name, &shape), &format!("tensor `{blamed}` has shape ["));
        }
    }
    let model = Small::new("llama").tensor("blk.1.attn_k.weight", &[4, 8]);
    check(&model, "tensor `blk.1.attn_k.weight` has shape [4, 8], expected [8, 4] (columns first)");
    check(
        &Small::new("llama").tensor("output_norm.weight", &[8, 2]),
        "`output_norm.weight` has shape [8, 2], expected [8]",
    );
    check(&Small::new("llama").tensor("token_embd.weight", &[8]), "`token_embd.weight` has shape [8], expected [8, 1]");
    check(
        &Small::new("qwen3moe").tensor("blk.0.ffn_up_exps.weight", &[8, 6, 4]),
        "`blk.0.ffn_up_exps.weight` has shape [8, 6, 4], expected [8, 6, 3]",
    );
    check(&Small::new("llama").tensor("rope_freqs.weight", &[3]), "`rope_freqs.weight` has shape [3], expected [2]");
}

#[test]
fn tensors_that_nothing_reads_are_named() {
    let one = Small::new("llama").tensor("blk.0.attn_q_norm.weight", &[4]);
    check(&one, "1 tensors do not belong to a `llama` model, the first is `blk.0.attn_q_norm.weight`");
    // A layer more than the metadata says.
    let model = Small::new("llama").uint("block_count", 1);
    check(&model, "9 tensors do not belong to a `llama` model, the first is `blk.1.attn_k.weight`");
}

#[test]
fn a_layer_too_few_is_missing() {
    check(&Small::new("llama").uint("block_count", 3), "tensor `blk.2.attn_norm.weight` is missing");
}

#[test]
fn shapes_may_end_in_ones() {
    let gguf =
        Small::new("llama").tensor("output_norm.weight", &[8, 1]).tensor("blk.0.attn_q.weight", &[8, 8, 1, 1]).build();
    let spec = model::decoder_spec(&gguf).unwrap();
    let weights = model::resolve_weights(&spec, &gguf).unwrap();
    assert_eq!(weights.output_norm.as_ref().expect("it has one").weight.shape, [8]);
    let model::AttentionWeights::Heads(heads) = &weights.layers[0].attention else { panic!("{weights:?}") };
    assert_eq!(heads.q.weight.shape, [8, 8]);
}
