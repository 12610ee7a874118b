//! Models of two layers as lists of metadata and tensors, which tests change before they build the file.

use std::collections::BTreeMap;

use gguf::{Builder, Gguf, Value};

use crate::parts::{Part, keys, parts};

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
    /// A sound model: two query heads, one key head, an output matrix of its own unless it is an encoder.
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
        for (key, value) in keys(arch) {
            small = small.with(key, value);
        }
        small = small.tensor("token_embd.weight", &[HIDDEN, VOCAB]);
        if !parts(arch).contains(&Part::Encoder) {
            small = small.tensor("output.weight", &[HIDDEN, VOCAB]);
        }
        for part in parts(arch) {
            for (name, shape) in part.tensors() {
                small = small.tensor(name, &shape);
            }
            for (idx, (name, shape)) in
                (0..NUM_LAYERS).flat_map(|idx| part.layer_tensors().into_iter().map(move |t| (idx, t)))
            {
                small = small.tensor(&format!("blk.{idx}.{name}"), &shape);
            }
        }
        small
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

    /// All tensors' names and shapes.
    pub(crate) fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        self.tensors.clone().into_iter().collect()
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
