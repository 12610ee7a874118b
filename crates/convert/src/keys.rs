//! Writes the metadata keys of a model: those that all architectures have in common, and access to the rest.

use gguf::{Metadata, Value};

use crate::{ConvertError, config::Config};

/// The metadata of a model of one architecture.
pub(crate) struct Keys<'a> {
    pub(crate) arch: &'static str,
    pub(crate) metadata: &'a mut Metadata,
}

impl Keys<'_> {
    pub(crate) fn set(&mut self, key: &str, value: Value) {
        self.metadata.insert(format!("{}.{key}", self.arch), value);
    }

    pub(crate) fn set_size(&mut self, key: &str, value: usize) {
        self.set(key, Value::Uint(value as u64));
    }

    pub(crate) fn set_float(&mut self, key: &str, value: f64) {
        self.set(key, float(value));
    }

    pub(crate) fn remove(&mut self, key: &str) {
        self.metadata.remove(&format!("{}.{key}", self.arch));
    }

    /// Copies a size under a new name, where the configuration has it.
    pub(crate) fn copy_size(&mut self, key: &str, config: &Config, from: &[&str]) -> Result<(), ConvertError> {
        if let Some(size) = config.first_size(from)? {
            self.set_size(key, size);
        }
        Ok(())
    }

    /// Copies a number under a new name, where the configuration has it.
    pub(crate) fn copy_float(&mut self, key: &str, config: &Config, from: &[&str]) -> Result<(), ConvertError> {
        if let Some(x) = config.first_float(from)? {
            self.set_float(key, x);
        }
        Ok(())
    }

    /// What nearly all architectures have.
    pub(crate) fn set_common(&mut self, config: &Config) -> Result<(), ConvertError> {
        self.set_size("block_count", config.num_layers()?);
        for (key, from) in SIZES {
            self.copy_size(key, config, from)?;
        }
        for (key, from) in FLOATS {
            self.copy_float(key, config, from)?;
        }
        if let Some(function) = config.json.str("scoring_func")? {
            self.set_gating(config, function)?;
        }
        if let Some(head_dim) = config.json.size("head_dim")? {
            self.set_size("attention.key_length", head_dim);
            self.set_size("attention.value_length", head_dim);
        }
        self.set_rope(config)
    }

    /// How much of each head is rotated, by `partial_rotary_factor` and its older names.
    pub(crate) fn set_rotated_part(&mut self, config: &Config, default: f64) -> Result<(), ConvertError> {
        let part = config.rope.float("partial_rotary_factor")?.unwrap_or(default);
        self.set_size("rope.dimension_count", (part * config.head_dim()? as f64) as usize);
        Ok(())
    }

    fn set_gating(&mut self, config: &Config, function: &str) -> Result<(), ConvertError> {
        let id = match function {
            "softmax" => 1,
            "sigmoid" => 2,
            _ => return Err(config.json.wrong("scoring_func", "`softmax` or `sigmoid`")),
        };
        self.set_size("expert_gating_func", id);
        Ok(())
    }

    fn set_rope(&mut self, config: &Config) -> Result<(), ConvertError> {
        let rope = &config.rope;
        match (rope.str("rope_type")?, rope.float("factor")?) {
            (Some("linear"), Some(factor)) => self.set_scaling("linear", Some(factor)),
            (Some("yarn"), Some(factor)) => {
                self.set_scaling("yarn", Some(factor));
                let key = "original_max_position_embeddings";
                self.set_size("rope.scaling.original_context_length", rope.require_size(key)?);
                for (key, from) in YARN {
                    if let Some(x) = from.iter().find_map(|f| rope.float(f).transpose()).transpose()? {
                        self.set_float(key, x);
                    }
                }
            }
            (Some("su" | "longrope"), _) => self.set_scaling("longrope", None),
            (None | Some("default" | "llama3" | "linear" | "yarn" | "proportional"), _) => {}
            _ => return Err(rope.wrong("rope_type", "`default`, `linear`, `yarn`, `longrope` or `llama3`")),
        }
        if let Some(theta) = rope.float("rope_theta")? {
            self.set_float("rope.freq_base", theta);
        }
        if let Some(theta) = rope.get("sliding_attention").and_then(|s| s.get("rope_theta")).and_then(|t| t.as_f64()) {
            self.set_float("rope.freq_base_swa", theta);
        }
        Ok(())
    }

    fn set_scaling(&mut self, kind: &str, factor: Option<f64>) {
        self.set("rope.scaling.type", Value::String(kind.to_owned()));
        if let Some(factor) = factor {
            self.set_float("rope.scaling.factor", factor);
        }
    }
}

/// A number as the format's readers expect it: in 32 bits.
pub(crate) fn float(x: f64) -> Value {
    Value::Float(f64::from(x as f32))
}

const SIZES: &[(&str, &[&str])] = &[
    ("context_length", &["max_position_embeddings", "n_ctx", "n_positions", "max_length", "max_sequence_length"]),
    ("embedding_length", &["hidden_size", "n_embd", "dim"]),
    ("feed_forward_length", &["intermediate_size", "n_inner", "hidden_dim"]),
    ("attention.head_count", &["num_attention_heads", "n_head", "n_heads"]),
    ("attention.head_count_kv", &["num_key_value_heads", "n_kv_heads"]),
    ("expert_count", &["num_local_experts", "num_experts", "n_routed_experts"]),
    ("expert_used_count", &["num_experts_per_tok", "num_experts_per_token", "top_k_experts"]),
    ("expert_group_count", &["n_group"]),
    ("expert_group_used_count", &["topk_group"]),
];

const FLOATS: &[(&str, &[&str])] = &[
    ("attention.layer_norm_rms_epsilon", &["rms_norm_eps", "norm_eps"]),
    ("attention.layer_norm_epsilon", &["layer_norm_eps", "layer_norm_epsilon", "norm_epsilon"]),
];

const YARN: &[(&str, &[&str])] = &[
    ("rope.scaling.yarn_ext_factor", &["extrapolation_factor"]),
    ("rope.scaling.yarn_attn_factor", &["attention_factor", "attn_factor"]),
    ("rope.scaling.yarn_beta_fast", &["beta_fast"]),
    ("rope.scaling.yarn_beta_slow", &["beta_slow"]),
];
