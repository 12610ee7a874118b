//! Names of tensors: patterns of Hugging Face and what they are called in GGUF.

/// Pairs of a pattern and a name, both without `.weight` and `.bias`. `{}` is a number: first the layer, then the
/// expert.
pub(super) type Table = &'static [(&'static str, &'static str)];

/// The name of tensors that the result does without.
pub(super) const LEFT_OUT: &str = "";

/// Names before those of a text model, and what stands in their place.
const PREFIXES: &[(&str, &str)] =
    &[("model.language_model.", "model."), ("language_model.", ""), ("bert.", ""), ("roberta.", "")];

/// Where a tensor goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The name without its suffix, e.g. `blk.3.attn_q`.
    pub(crate) base: String,
    /// `.weight`, `.bias`, or nothing when the table names the whole tensor.
    pub(crate) suffix: &'static str,
    /// Which expert's it is.
    pub(crate) expert: Option<usize>,
}

impl Target {
    /// The whole name.
    pub(crate) fn name(&self) -> String {
        format!("{}{}", self.base, self.suffix)
    }

    /// The last part of the name, e.g. `attn_q`.
    pub(crate) fn kind(&self) -> &str {
        self.base.rsplit('.').next().unwrap_or(&self.base)
    }

    /// The same layer's tensor of another kind.
    pub(super) fn sibling(&self, kind: &str) -> String {
        format!("{}{kind}{}", &self.base[..self.base.len() - self.kind().len()], self.suffix)
    }
}

/// The place of a tensor.
pub(super) fn find(tables: &[Table], name: &str) -> Option<Target> {
    let plain = PREFIXES.iter().find_map(|(prefix, instead)| Some(format!("{instead}{}", name.strip_prefix(prefix)?)));
    let name = plain.as_deref().unwrap_or(name);
    // A model that was saved without its output lacks the first part of all names.
    find_plain(tables, name).or_else(|| find_plain(tables, &format!("model.{name}")))
}

fn find_plain(tables: &[Table], name: &str) -> Option<Target> {
    let (stem, suffix) = match name.rsplit_once('.') {
        Some((stem, "weight" | "gamma")) => (stem, ".weight"),
        Some((stem, "bias" | "beta")) => (stem, ".bias"),
        _ => (name, ""),
    };
    tables.iter().copied().flatten().find_map(|(pattern, base)| {
        let numbers = matches(pattern, stem)?;
        let layer = numbers.first().map_or_else(String::new, ToString::to_string);
        // A name that ends in a dot's part of its own brings its suffix along.
        let suffix = if base.ends_with(".weight") || base.ends_with(".bias") { "" } else { suffix };
        Some(Target { base: base.replace("{}", &layer), suffix, expert: numbers.get(1).copied() })
    })
}

/// The numbers that stand for `{}` when the name is of this pattern.
fn matches(pattern: &str, name: &str) -> Option<Vec<usize>> {
    let mut numbers = Vec::new();
    let mut parts = name.split('.');
    for expected in pattern.split('.') {
        let part = parts.next()?;
        if expected == "{}" {
            numbers.push(part.parse().ok()?);
        } else if expected != part {
            return None;
        }
    }
    parts.next().is_none().then_some(numbers)
}

/// Embeddings, output and attention of the decoders that are called as Llama's.
pub(super) const DECODER: Table = &[
    ("model.embed_tokens", "token_embd"),
    ("model.norm", "output_norm"),
    ("lm_head", "output"),
    ("model.layers.{}.input_layernorm", "blk.{}.attn_norm"),
    ("model.layers.{}.self_attn.q_proj", "blk.{}.attn_q"),
    ("model.layers.{}.self_attn.k_proj", "blk.{}.attn_k"),
    ("model.layers.{}.self_attn.v_proj", "blk.{}.attn_v"),
    ("model.layers.{}.self_attn.o_proj", "blk.{}.attn_output"),
    ("model.layers.{}.self_attn.q_norm", "blk.{}.attn_q_norm"),
    ("model.layers.{}.self_attn.k_norm", "blk.{}.attn_k_norm"),
];

/// The norm before the feed-forward block, where there are two norms.
pub(super) const FFN_NORM: Table = &[("model.layers.{}.post_attention_layernorm", "blk.{}.ffn_norm")];

/// Norms around both blocks.
pub(super) const POST_NORMS: Table = &[
    ("model.layers.{}.post_attention_layernorm", "blk.{}.post_attention_norm"),
    ("model.layers.{}.pre_feedforward_layernorm", "blk.{}.ffn_norm"),
    ("model.layers.{}.post_feedforward_layernorm", "blk.{}.post_ffw_norm"),
];

/// The gated feed-forward block.
pub(super) const GATED: Table = &[
    ("model.layers.{}.mlp.gate_proj", "blk.{}.ffn_gate"),
    ("model.layers.{}.mlp.up_proj", "blk.{}.ffn_up"),
    ("model.layers.{}.mlp.down_proj", "blk.{}.ffn_down"),
];

#[cfg(test)]
mod tests {
    use super::{DECODER, find};

    #[test]
    fn layers_and_suffixes_are_kept() {
        let target = find(&[DECODER], "model.layers.12.self_attn.q_proj.bias").expect("a name of the table");
        assert_eq!((target.name().as_str(), target.kind(), target.expert), ("blk.12.attn_q.bias", "attn_q", None));
        assert_eq!(target.sibling("attn_k"), "blk.12.attn_k.bias");
        let nested = find(&[DECODER], "model.language_model.embed_tokens.weight").expect("a name of the table");
        assert_eq!(nested.name(), "token_embd.weight");
        let experts = find(&[&[("l.{}.e.{}.w", "blk.{}.x")]], "l.1.e.23.w.weight").expect("a name of the table");
        assert_eq!((experts.name().as_str(), experts.expert), ("blk.1.x.weight", Some(23)));
        let headless = find(&[DECODER], "layers.3.self_attn.q_proj.weight").expect("a name without its first part");
        assert_eq!(headless.name(), "blk.3.attn_q.weight");
        for wrong in ["model.layers.x.self_attn.q_proj.weight", "model.norm.norm.weight", "model"] {
            assert_eq!(find(&[DECODER], wrong), None, "{wrong}");
        }
    }
}
