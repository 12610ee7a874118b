//! Metadata that cannot be: the error names the key, the value and what it may be.

use gguf::{Array, Value};

use crate::{check, small::Small};

#[test]
fn the_architecture_is_known_and_named() {
    let text = |text: &str| Value::String(text.to_owned());
    let arch = |value| Small::new("llama").global("general.architecture", value);
    let expect = "architecture `mamba` is not supported; the nearest is `llama`; supported are llama, mistral, qwen2";
    check(&arch(text("mamba")), expect);
    check(&arch(text("")), "architecture `` is not supported");
    check(&arch(Value::Uint(1)), "`general.architecture` is an unsigned integer; expected a string");
    check(&Small::new("llama").without("general.architecture"), "metadata key `general.architecture` is missing");
}

#[test]
fn sizes_are_there_and_within_bounds() {
    for key in ["embedding_length", "block_count", "feed_forward_length", "context_length", "attention.head_count"] {
        check(&Small::new("llama").without(key), &format!("metadata key `llama.{key}` is missing"));
        check(&Small::new("llama").uint(key, 0), &format!("`llama.{key}` is 0; expected 1 to "));
        check(
            &Small::new("llama").uint(key, u64::MAX),
            &format!("`llama.{key}` is 18446744073709551615; expected 1 to "),
        );
        check(&Small::new("llama").with(key, Value::Float(2.0)), &format!("`llama.{key}` is a float"));
        check(&Small::new("llama").with(key, Value::Int(-2)), &format!("`llama.{key}` is a signed integer"));
        check(
            &Small::new("llama").with(key, Value::Array(Array::Uint(vec![2, 2]))),
            &format!("`llama.{key}` is an array"),
        );
    }
    check(&Small::new("llama").uint("block_count", 1025), "`llama.block_count` is 1025; expected 1 to 1024");
}

#[test]
fn heads_fit_together() {
    check(
        &Small::new("llama").uint("attention.head_count_kv", 0),
        "`llama.attention.head_count_kv` is 0; expected 1 to",
    );
    let three = Small::new("llama").uint("attention.head_count_kv", 3);
    check(&three, "`llama.attention.head_count_kv` is 3; expected a divisor of the 2 query heads");
    let odd = Small::new("llama").uint("attention.head_count", 3);
    check(&odd, "metadata key `llama.attention.key_length` is missing");
    check(&Small::new("llama").uint("attention.key_length", 0), "`llama.attention.key_length` is 0");
    let value_length = Small::new("llama").uint("attention.value_length", 8);
    check(
        &value_length,
        "`llama.attention.value_length` is 8, which is not supported yet (supported: 4, the key length)",
    );
}

#[test]
fn rotations_fit_the_heads() {
    for dim in [3, 6] {
        let expect = format!("`llama.rope.dimension_count` is {dim}; expected an even number up to the head size 4");
        check(&Small::new("llama").uint("rope.dimension_count", dim), &expect);
    }
    let negative = Small::new("llama").with("rope.freq_base", Value::Float(-1.0));
    check(&negative, "`llama.rope.freq_base` is -1; expected a number above 0");
    let scaling = |kind: &str| Small::new("llama").with("rope.scaling.type", Value::String(kind.to_owned()));
    let supported = "(supported: `none`, `linear`, `yarn`, `longrope`)";
    check(&scaling("su"), &format!("`llama.rope.scaling.type` is `su`, which is not supported yet {supported}"));
    check(&scaling("yarn"), "metadata key `llama.rope.scaling.factor` is missing");
    let yarn = scaling("yarn").with("rope.scaling.factor", Value::Float(4.0));
    check(&yarn, "ok");
    let fast = yarn.with("rope.scaling.yarn_beta_fast", Value::Float(0.5));
    check(
        &fast,
        "`llama.rope.scaling.yarn_beta_fast` is 0.5; expected at least `llama.rope.scaling.yarn_beta_slow`, 1",
    );
    check(&scaling("longrope"), "tensor `rope_factors_long.weight` is missing");
    let linear = Small::new("llama").with("rope.scaling.type", Value::String("linear".to_owned()));
    check(
        &linear.with("rope.scaling.factor", Value::Float(0.0)),
        "`llama.rope.scaling.factor` is 0; expected a number above 0",
    );
}

#[test]
fn numbers_are_finite_and_positive() {
    let key = "attention.layer_norm_rms_epsilon";
    let epsilon = |x| Small::new("llama").with(key, Value::Float(x));
    check(&epsilon(f64::NAN), "`llama.attention.layer_norm_rms_epsilon` is a float; expected a finite number");
    check(&epsilon(0.0), "`llama.attention.layer_norm_rms_epsilon` is 0; expected a number above 0");
    check(&Small::new("llama").without(key), "metadata key `llama.attention.layer_norm_rms_epsilon` is missing");
}

#[test]
fn experts_are_counted() {
    check(&Small::new("llama").uint("expert_count", 0), "ok");
    for arch in ["qwen2moe", "qwen3moe"] {
        for key in ["expert_count", "expert_used_count"] {
            check(&Small::new(arch).without(key), &format!("metadata key `{arch}.{key}` is missing"));
            check(&Small::new(arch).uint(key, 0), &format!("`{arch}.{key}` is 0; expected 1 to 1024"));
            check(&Small::new(arch).uint(key, 1025), &format!("`{arch}.{key}` is 1025; expected 1 to 1024"));
        }
        let expect = format!("`{arch}.expert_used_count` is 4; expected 1 to 3, the number of experts");
        check(&Small::new(arch).uint("expert_used_count", 4), &expect);
        for key in ["expert_feed_forward_length", "expert_shared_feed_forward_length", "feed_forward_length"] {
            let model = Small::new(arch).without("expert_feed_forward_length").uint(key, 0);
            let read = arch == "qwen2moe" || !key.contains("shared");
            let expect = if read { format!("`{arch}.{key}` is 0; expected 1 to ") } else { "ok".to_owned() };
            check(&model, &expect);
        }
        let none = Small::new(arch).without("expert_feed_forward_length").uint("feed_forward_length", 1);
        check(&none, &format!("metadata key `{arch}.expert_feed_forward_length` is missing"));
    }
    let experts = Small::new("llama").uint("expert_count", 8);
    check(&experts, "metadata key `llama.expert_used_count` is missing");
    check(&experts.uint("expert_used_count", 2), "tensor `blk.0.ffn_gate_inp.weight` is missing");
}
