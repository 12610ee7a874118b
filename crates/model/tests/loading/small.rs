//! Models of two layers as lists of metadata and tensors, which tests change before they build the file.

use std::collections::BTreeMap;

use gguf::{Builder, Gguf, Value};

pub(crate) const HIDDEN: usize = 8;
pub(crate) const HEAD_DIM: usize = 4;
pub(crate) const FFN: usize = 12;
/// Of the architectures with experts: their number, those that a token passes, the width of one and of the shared one.
pub(crate) const EXPERTS: [usize; 4] = [3, 2, 6, 10];
pub(crate) const VOCAB: usize = 5;
pub(crate) const NUM_LAYERS: usize = 2;

/// A model file in the making.
#[derive(Clone)]
pub(crate) struct Small {
    arch: &'static str,
    values: BTreeMap<String, Value>,
    tensors: BTreeMap<String, Vec<usize>>,
}

impl Small {
    /// A sound model: two query heads, one key head, an output matrix of its own.
    pub(crate) fn new(arch: &'static str) -> Self {
        let mut small = Self { arch, values: BTreeMap::new(), tensors: BTreeMap::new() };
        small.values.insert("general.architecture".to_owned(), Value::String(arch.to_owned()));
        let sizes = [
            ("embedding_length", HIDDEN),
            ("block_count", NUM_LAYERS),
            ("feed_forward_length", FFN),
            ("context_length", 64),
            ("attention.head_count", 2),
            ("attention.head_count_kv", 1),
        ];
        for (key, size) in sizes {
            small = small.with(key, Value::Uint(size as u64));
        }
        small = small.with("attention.layer_norm_rms_epsilon", Value::Float(1e-5));
        small = small.tensor("token_embd.weight", &[HIDDEN, VOCAB]).tensor("output.weight", &[HIDDEN, VOCAB]);
        small = small.tensor("output_norm.weight", &[HIDDEN]);
        for idx in 0..NUM_LAYERS {
            small = small.layer(idx);
        }
        if arch == "gemma3" {
            return small.with("attention.sliding_window", Value::Uint(16));
        }
        if small.has_experts() {
            let [count, used, size, shared] = EXPERTS.map(|n| n as u64);
            small = small.uint("expert_count", count).uint("expert_used_count", used);
            small = small.uint("expert_feed_forward_length", size).uint("expert_shared_feed_forward_length", shared);
        }
        small
    }

    fn has_experts(&self) -> bool {
        self.arch.ends_with("moe")
    }

    fn layer(mut self, idx: usize) -> Self {
        let (q, kv) = (2 * HEAD_DIM, HEAD_DIM);
        let mut tensors = vec![
            ("attn_norm.weight", vec![HIDDEN]),
            ("attn_q.weight", vec![HIDDEN, q]),
            ("attn_k.weight", vec![HIDDEN, kv]),
            ("attn_v.weight", vec![HIDDEN, kv]),
            ("attn_output.weight", vec![q, HIDDEN]),
            ("ffn_norm.weight", vec![HIDDEN]),
        ];
        let [count, _, size, shared] = EXPERTS;
        if self.has_experts() {
            tensors.extend([
                ("ffn_gate_inp.weight", vec![HIDDEN, count]),
                ("ffn_gate_exps.weight", vec![HIDDEN, size, count]),
                ("ffn_up_exps.weight", vec![HIDDEN, size, count]),
                ("ffn_down_exps.weight", vec![size, HIDDEN, count]),
            ]);
        } else {
            tensors.extend([
                ("ffn_gate.weight", vec![HIDDEN, FFN]),
                ("ffn_up.weight", vec![HIDDEN, FFN]),
                ("ffn_down.weight", vec![FFN, HIDDEN]),
            ]);
        }
        if self.arch == "qwen2moe" {
            tensors.extend([
                ("ffn_gate_inp_shexp.weight", vec![HIDDEN]),
                ("ffn_gate_shexp.weight", vec![HIDDEN, shared]),
                ("ffn_up_shexp.weight", vec![HIDDEN, shared]),
                ("ffn_down_shexp.weight", vec![shared, HIDDEN]),
            ]);
        }
        if matches!(self.arch, "qwen2" | "qwen2moe") {
            tensors.extend([("attn_q.bias", vec![q]), ("attn_k.bias", vec![kv]), ("attn_v.bias", vec![kv])]);
        }
        if matches!(self.arch, "qwen3" | "qwen3moe" | "gemma3") {
            tensors.extend([("attn_q_norm.weight", vec![HEAD_DIM]), ("attn_k_norm.weight", vec![HEAD_DIM])]);
        }
        if self.arch == "gemma3" {
            tensors.extend([("post_attention_norm.weight", vec![HIDDEN]), ("post_ffw_norm.weight", vec![HIDDEN])]);
        }
        for (name, shape) in tensors {
            self = self.tensor(&format!("blk.{idx}.{name}"), &shape);
        }
        self
    }

    /// With this value of a key under the architecture's prefix.
    pub(crate) fn with(mut self, key: &str, value: Value) -> Self {
        self.values.insert(format!("{}.{key}", self.arch), value);
        self
    }

    pub(crate) fn uint(self, key: &str, value: u64) -> Self {
        self.with(key, Value::Uint(value))
    }

    /// With this value of a key without a prefix.
    pub(crate) fn global(mut self, key: &str, value: Value) -> Self {
        self.values.insert(key.to_owned(), value);
        self
    }

    pub(crate) fn without(mut self, key: &str) -> Self {
        let found =
            [format!("{}.{key}", self.arch), key.to_owned()].iter().any(|key| self.values.remove(key).is_some());
        assert!(found, "the small model has no key {key}");
        self
    }

    /// With a tensor of this shape, in place of one of the same name.
    pub(crate) fn tensor(mut self, name: &str, shape: &[usize]) -> Self {
        self.tensors.insert(name.to_owned(), shape.to_vec());
        self
    }

    pub(crate) fn without_tensor(mut self, name: &str) -> Self {
        assert!(self.tensors.remove(name).is_some(), "the small model has no tensor {name}");
        self
    }

    /// The names of all tensors.
    pub(crate) fn tensor_names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    pub(crate) fn build(&self) -> Gguf {
        let mut builder = Builder::new();
        for (key, value) in &self.values {
            builder = builder.value(key, value.clone());
        }
        for (name, shape) in &self.tensors {
            builder = builder.tensor_f32(name, shape, &vec![0.5; shape.iter().product()]);
        }
        Gguf::from_bytes(builder.build()).expect("a sound file")
    }
}
