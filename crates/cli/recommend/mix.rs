//! Mixes of quantization types: which type each tensor gets, and what that costs in quality.

use gguf::GgmlType;

/// A mix by its name, as quantizing tools know it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Mix {
    pub(crate) name: &'static str,
    /// Of most matrices.
    base: GgmlType,
    /// Perplexity of Llama 3 8B on WikiText-2, quantized without an importance matrix: the LLaMA 3 8b scoreboard of
    /// llama.cpp's tools/perplexity/README.md (revision f364eb6f; f16: 6.233160).
    perplexity: f64,
}

/// Perplexity of the same model in f16.
const F16_PERPLEXITY: f64 = 6.233_160;

/// From the best to the smallest.
pub(crate) const MIXES: [Mix; 10] = [
    mix("F16", GgmlType::F16, F16_PERPLEXITY),
    mix("Q8_0", GgmlType::Q8_0, 6.234_284),
    mix("Q6_K", GgmlType::Q6_K, 6.253_382),
    mix("Q5_K_M", GgmlType::Q5_K, 6.288_607),
    mix("Q5_K_S", GgmlType::Q5_K, 6.336_598),
    mix("Q4_K_M", GgmlType::Q4_K, 6.407_115),
    mix("Q4_K_S", GgmlType::Q4_K, 6.500_529),
    mix("Q4_0", GgmlType::Q4_0, 6.700_147),
    mix("Q3_K_M", GgmlType::Q3_K, 6.888_498),
    mix("Q2_K", GgmlType::Q2_K, 9.751_568),
];

const fn mix(name: &'static str, base: GgmlType, perplexity: f64) -> Mix {
    Mix { name, base, perplexity }
}

/// What of a model a mix looks at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Model {
    pub(crate) num_layers: usize,
    pub(crate) num_experts: usize,
    /// Query heads that share a key head.
    pub(crate) group: usize,
    /// The embedding table is the output matrix too.
    pub(crate) is_tied: bool,
}

impl Mix {
    /// How much higher the perplexity is than in f16: 0.028 is 2.8 %.
    pub(crate) fn loss(&self) -> f64 {
        self.perplexity / F16_PERPLEXITY - 1.0
    }

    /// The type of a tensor; llama.cpp's rule (`llama_tensor_get_type`, without an importance matrix).
    pub(crate) fn tensor_type(&self, name: &str, shape: &[usize], model: Model) -> GgmlType {
        if shape.len() < 2 || name.contains("ffn_gate_inp") || name.contains("_norm") {
            return GgmlType::F32;
        }
        if self.base == GgmlType::F16 {
            return GgmlType::F16;
        }
        fitting(self.wanted(name, model), shape[0])
    }

    fn wanted(&self, name: &str, model: Model) -> GgmlType {
        use GgmlType::{Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, Q8_0};
        if self.base == Q8_0 || name == "output.weight" || (name == "token_embd.weight" && model.is_tied) {
            return if self.base == Q8_0 { Q8_0 } else { Q6_K };
        }
        let (layer, kind) = layer_and_kind(name);
        let (eighth, is_middle) = (model.num_layers / 8, !more_bits(layer, model.num_layers));
        match (self.name, kind) {
            (_, "attn_v" | "attn_k") if model.num_experts == 8 => Q8_0,
            ("Q4_K_M" | "Q5_K_M", "attn_v" | "ffn_down") if !is_middle => Q6_K,
            ("Q4_K_S", "attn_v") if layer < 4 => Q5_K,
            ("Q4_K_S", "ffn_down") if layer < eighth => Q5_K,
            ("Q3_K_M", "attn_v") if layer < 2 => Q5_K,
            ("Q3_K_M", "ffn_down") if layer < model.num_layers / 16 => Q5_K,
            ("Q3_K_M", "attn_v" | "ffn_down") => Q4_K,
            ("Q4_K_M" | "Q4_K_S" | "Q3_K_M" | "Q2_K", "attn_output") if model.num_experts == 8 => Q5_K,
            ("Q3_K_M", "attn_output" | "attn_qkv") => Q4_K,
            ("Q4_K_M", "attn_qkv") => Q5_K,
            ("Q5_K_M", "attn_qkv") => Q6_K,
            ("Q2_K", "attn_v") if model.group >= 4 => Q4_K,
            ("Q2_K", "attn_v" | "ffn_down" | "attn_output") => Q3_K,
            ("Q2_K", _) => Q2_K,
            _ => self.base,
        }
    }
}

/// `blk.3.ffn_down_exps.weight` is layer 3's `ffn_down`.
fn layer_and_kind(name: &str) -> (usize, &str) {
    let rest = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.'));
    let Some((layer, rest)) = rest else { return (0, name) };
    let kind = rest.trim_end_matches(".weight").trim_end_matches("_exps").trim_end_matches("_shexp");
    (layer.parse().unwrap_or(0), kind)
}

/// The first and last eighth of the layers and every third between.
fn more_bits(layer: usize, num_layers: usize) -> bool {
    let eighth = num_layers / 8;
    layer < eighth || layer >= 7 * num_layers / 8 || (layer - eighth) % 3 == 2
}

/// A type whose blocks divide the rows.
fn fitting(wanted: GgmlType, num_cols: usize) -> GgmlType {
    if num_cols.is_multiple_of(wanted.block_len()) {
        return wanted;
    }
    let smaller = match wanted {
        GgmlType::Q2_K | GgmlType::Q3_K => GgmlType::IQ4_NL,
        GgmlType::Q4_K => GgmlType::Q5_0,
        GgmlType::Q5_K => GgmlType::Q5_1,
        _ => GgmlType::Q8_0,
    };
    if num_cols.is_multiple_of(smaller.block_len()) { smaller } else { GgmlType::F16 }
}

#[cfg(test)]
mod tests {
    use gguf::GgmlType;

    use super::{MIXES, Mix, Model};

    const LLAMA_8B: Model = Model { num_layers: 32, num_experts: 0, group: 4, is_tied: false };

    fn named(name: &str) -> Mix {
        *MIXES.iter().find(|mix| mix.name == name).unwrap()
    }

    #[test]
    fn types_are_those_of_files_in_the_wild() {
        let of = |mix: &str, tensor: &str| named(mix).tensor_type(tensor, &[4096, 4096], LLAMA_8B);
        assert_eq!(of("Q4_K_M", "blk.0.attn_v.weight"), GgmlType::Q6_K);
        assert_eq!(of("Q4_K_M", "blk.4.attn_v.weight"), GgmlType::Q4_K);
        assert_eq!(of("Q4_K_M", "blk.6.ffn_down.weight"), GgmlType::Q6_K);
        assert_eq!(of("Q4_K_M", "blk.31.ffn_down.weight"), GgmlType::Q6_K);
        assert_eq!(of("Q4_K_M", "blk.31.ffn_up.weight"), GgmlType::Q4_K);
        assert_eq!(of("Q4_K_M", "output.weight"), GgmlType::Q6_K);
        assert_eq!(of("Q8_0", "output.weight"), GgmlType::Q8_0);
        assert_eq!(of("Q4_K_M", "token_embd.weight"), GgmlType::Q4_K);
        assert_eq!(named("Q4_K_M").tensor_type("output_norm.weight", &[4096], LLAMA_8B), GgmlType::F32);
        assert_eq!(named("Q4_K_M").tensor_type("blk.0.ffn_up.weight", &[1152, 8], LLAMA_8B), GgmlType::Q5_0);
        assert_eq!(named("Q4_K_M").tensor_type("blk.0.ffn_up.weight", &[31, 8], LLAMA_8B), GgmlType::F16);
    }

    #[test]
    fn smaller_mixes_lose_more() {
        assert!(MIXES.windows(2).all(|pair| pair[0].loss() < pair[1].loss()));
        assert!((named("Q4_K_M").loss() - 0.0279).abs() < 1e-4);
    }
}
