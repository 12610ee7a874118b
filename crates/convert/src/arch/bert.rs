//! Encoders: BERT and RoBERTa, also the multilingual one, and Nomic's with rotary positions, fused attention and a gated feed-forward block. Norms stand behind
//! the blocks.

use gguf::Value;

use super::{
    Family, Heads, Target,
    names::{LEFT_OUT, Table},
};
use crate::{
    ConvertError,
    config::Config,
    keys::Keys,
    recipe::{Part, Pick, Recipe},
    tensor::Tensor,
};

pub(super) const FAMILY: &[Family] = &[
    Family {
        defaults: r#"{"layer_norm_eps": 1e-12, "max_position_embeddings": 512, "type_vocab_size": 2}"#,
        keys,
        ..Family::new(&["BertModel", "BertForMaskedLM"], "bert", &[EMBEDDINGS, BERT, HEADS])
    },
    Family {
        defaults: r#"{"layer_norm_eps": 1e-5, "max_position_embeddings": 514, "type_vocab_size": 1, "pad_token_id": 1}"#,
        keys: roberta_keys,
        tensor: roberta_tensor,
        ..Family::new(&["RobertaModel", "XLMRobertaModel"], "bert", &[EMBEDDINGS, BERT, HEADS])
    },
    Family {
        defaults: r#"{"layer_norm_epsilon": 1e-12, "n_positions": 8192, "max_trained_positions": 2048,
            "type_vocab_size": 2, "rotary_emb_base": 1000}"#,
        keys: nomic_keys,
        ..Family::new(&["NomicBertModel"], "nomic-bert", &[EMBEDDINGS, NOMIC, HEADS])
    },
];

const EMBEDDINGS: Table = &[
    ("embeddings.word_embeddings", "token_embd"),
    ("embeddings.token_type_embeddings", "token_types"),
    ("embeddings.position_embeddings", "position_embd"),
    ("embeddings.position_ids", LEFT_OUT),
    ("embeddings.LayerNorm", "token_embd_norm"),
    ("emb_ln", "token_embd_norm"),
];

const BERT: Table = &[
    ("encoder.layer.{}.attention.self.query", "blk.{}.attn_q"),
    ("encoder.layer.{}.attention.self.key", "blk.{}.attn_k"),
    ("encoder.layer.{}.attention.self.value", "blk.{}.attn_v"),
    ("encoder.layer.{}.attention.output.dense", "blk.{}.attn_output"),
    ("encoder.layer.{}.attention.output.LayerNorm", "blk.{}.attn_output_norm"),
    ("encoder.layer.{}.intermediate.dense", "blk.{}.ffn_up"),
    ("encoder.layer.{}.output.dense", "blk.{}.ffn_down"),
    ("encoder.layer.{}.output.LayerNorm", "blk.{}.layer_output_norm"),
];

const NOMIC: Table = &[
    ("encoder.layers.{}.attn.Wqkv", "blk.{}.attn_qkv"),
    ("encoder.layers.{}.attn.out_proj", "blk.{}.attn_output"),
    ("encoder.layers.{}.norm1", "blk.{}.attn_output_norm"),
    ("encoder.layers.{}.mlp.fc11", "blk.{}.ffn_up"),
    ("encoder.layers.{}.mlp.fc12", "blk.{}.ffn_gate"),
    ("encoder.layers.{}.mlp.fc2", "blk.{}.ffn_down"),
    ("encoder.layers.{}.norm2", "blk.{}.layer_output_norm"),
];

/// What stands behind the last layer in training: embeddings are pooled of its output.
const HEADS: Table = &[
    ("pooler.dense", LEFT_OUT),
    ("cls.predictions", LEFT_OUT),
    ("cls.predictions.decoder", LEFT_OUT),
    ("cls.predictions.transform.dense", LEFT_OUT),
    ("cls.predictions.transform.LayerNorm", LEFT_OUT),
    ("cls.seq_relationship", LEFT_OUT),
];

fn keys(keys: &mut Keys<'_>, config: &Config) -> Result<(), ConvertError> {
    keys.set_common(config)?;
    keys.set("attention.causal", Value::Bool(false));
    let num_types = config.json.require_size("type_vocab_size")?;
    keys.metadata.insert("tokenizer.ggml.token_type_count", Value::Uint(num_types as u64));
    Ok(())
}

/// The first positions are those of padding.
fn roberta_keys(keys: &mut Keys<'_>, config: &Config) -> Result<(), ConvertError> {
    self::keys(keys, config)?;
    let num_positions = config.json.require_size("max_position_embeddings")?;
    keys.set_size("context_length", num_positions.saturating_sub(config.first_position()));
    Ok(())
}

fn roberta_tensor(heads: &Heads, target: &Target, tensor: Tensor) -> Result<Vec<Recipe>, ConvertError> {
    if target.kind() != "position_embd" {
        return Ok(vec![Recipe::rename(target.name(), tensor)]);
    }
    let &[num_rows, num_cols] = tensor.shape.as_slice() else {
        return Err(tensor.error(format!("has the shape {:?}; expected two dimensions", tensor.shape)));
    };
    let num_rows = num_rows.saturating_sub(heads.first_position);
    let part = Part { tensor, num_rows, pick: Pick::From(heads.first_position) };
    Ok(vec![Recipe::of_parts(target.name(), vec![num_rows, num_cols], vec![part])])
}

/// The published models say 8192 positions, but were trained on 2048.
fn nomic_keys(keys: &mut Keys<'_>, config: &Config) -> Result<(), ConvertError> {
    self::keys(keys, config)?;
    let size = |key| config.json.require_size(key);
    if config.json.size("moe_every_n_layers")?.unwrap_or(0) > 0 {
        return Err(config.json.wrong("moe_every_n_layers", "nothing: encoders with experts are not read"));
    }
    if config.json.str("activation_function")? != Some("swiglu") {
        return Err(config.json.wrong("activation_function", "`swiglu`"));
    }
    for key in ["prenorm", "causal", "qkv_proj_bias", "mlp_fc1_bias", "mlp_fc2_bias", "rotary_emb_interleaved"] {
        if config.json.bool(key)?.unwrap_or(false) {
            return Err(config.json.wrong(key, "false"));
        }
    }
    if config.json.float("rotary_emb_fraction")?.unwrap_or(1.0) != 1.0 {
        return Err(config.json.wrong("rotary_emb_fraction", "1"));
    }
    keys.set_size("context_length", size("n_positions")?.min(size("max_trained_positions")?));
    Ok(())
}
