//! A model without its weights: what bytes and speeds follow from.

use cuda::{KvType, kv_cache::KvLayout, repack::PlaneLayout};
use gguf::{GgmlType, Gguf, Metadata, NewTensor, TensorInfo};
use model::{DecoderSpec, Mask};
use types::BLOCK_SIZE;

/// Shapes of the tensors, and how they compute.
pub(crate) struct Shape {
    pub(crate) spec: DecoderSpec,
    /// Those of the file.
    tensors: Vec<NewTensor>,
}

/// What a choice of types makes of the weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Weights {
    /// Bytes in a file.
    pub(crate) file_bytes: u64,
    /// Bytes in the GPU's memory, in its own layout.
    pub(crate) device_bytes: u64,
    /// Bytes of what every token is multiplied with.
    pub(crate) dense_bytes: u64,
    /// Bytes of the experts, of which a token passes a few.
    pub(crate) expert_bytes: u64,
}

impl Shape {
    pub(crate) fn of(gguf: &Gguf) -> anyhow::Result<Self> {
        let spec = model::decoder_spec(gguf)?;
        model::resolve_weights(&spec, gguf)?;
        let tensor =
            |t: &TensorInfo| NewTensor { name: t.name.clone(), shape: t.shape.clone(), ggml_type: t.ggml_type };
        Ok(Self { spec, tensors: gguf.tensors().iter().map(tensor).collect() })
    }

    pub(crate) fn num_weights(&self) -> u64 {
        self.tensors.iter().map(|t| count(&t.shape)).sum()
    }

    /// Bytes of a file with these types.
    pub(crate) fn file_bytes(&self, types: &[GgmlType]) -> u64 {
        self.tensors.iter().zip(types).map(|(t, ggml_type)| file_bytes(&t.shape, *ggml_type)).sum()
    }

    fn is_tied(&self) -> bool {
        !self.tensors.iter().any(|t| t.name == "output.weight")
    }

    /// Experts of a layer, and how many of them a token passes.
    fn experts(&self) -> Option<(usize, usize)> {
        let mut experts = self.spec.layers.iter().filter_map(|layer| layer.ffn.moe());
        experts.next().map(|moe| (moe.num_experts, moe.num_used))
    }

    /// The share of the experts that at least one of `num_tokens` tokens passes, if routers choose evenly.
    pub(crate) fn experts_passed(&self, num_tokens: usize) -> f64 {
        self.experts().map_or(0.0, |(all, used)| 1.0 - (1.0 - used as f64 / all as f64).powi(num_tokens as i32))
    }

    /// Weights that a token is multiplied with: without the embedding table, which is only looked up, and with the
    /// experts that it passes.
    pub(crate) fn active_weights(&self) -> f64 {
        let weights = self.tensors.iter().filter(|t| self.is_multiplied(&t.name)).map(|t| {
            let share = if t.shape.len() > 2 { self.experts_passed(1) } else { 1.0 };
            share * count(&t.shape) as f64
        });
        weights.sum()
    }

    fn is_multiplied(&self, name: &str) -> bool {
        name != "token_embd.weight" || self.is_tied()
    }

    /// Types of the tensors in the file.
    pub(crate) fn types(&self) -> Vec<GgmlType> {
        self.tensors.iter().map(|t| t.ggml_type).collect()
    }

    /// The weights with these types, in the order of the tensors.
    ///
    /// # Errors
    /// Why the GPU cannot hold them.
    pub(crate) fn weights(&self, types: &[GgmlType]) -> Result<Weights, String> {
        let retyped = |(t, ggml_type): (&NewTensor, &GgmlType)| NewTensor { ggml_type: *ggml_type, ..t.clone() };
        let tensors: Vec<NewTensor> = self.tensors.iter().zip(types).map(retyped).collect();
        let file = Gguf::describe(Metadata::default(), &tensors).map_err(|error| error.to_string())?;
        let device_bytes = cuda::weight_bytes(&self.spec, &file).map_err(|error| error.to_string())? as u64;
        let mut sum = Weights { file_bytes: file.weight_bytes(), device_bytes, dense_bytes: 0, expert_bytes: 0 };
        for tensor in file.tensors() {
            let device = device_bytes_of(&tensor.shape, tensor.ggml_type)?;
            match tensor.shape.len() {
                3.. => sum.expert_bytes += device,
                _ if self.is_multiplied(&tensor.name) => sum.dense_bytes += device,
                _ => {}
            }
        }
        Ok(sum)
    }

    /// Bytes of a KV block of 16 tokens.
    ///
    /// # Errors
    /// Why the GPU cannot keep keys and values so.
    pub(crate) fn kv_block_bytes(&self, kv_type: KvType) -> Result<u64, String> {
        let layout = KvLayout::new(&self.spec, kv_type).map_err(|error| error.to_string())?;
        Ok(layout.block_bytes() as u64)
    }

    /// Bytes of keys and values that a token behind `context` others reads: all of them, or those in a layer's window.
    pub(crate) fn kv_read_bytes(&self, block_bytes: u64, context: usize) -> f64 {
        let elements = self.spec.kv_elements_per_token().max(1) as f64;
        let element_bytes = block_bytes as f64 / BLOCK_SIZE as f64 / elements;
        let read = self.spec.layers.iter().map(|layer| {
            let seen = match layer.attention.mask {
                Mask::Full | Mask::Bidirectional | Mask::Symmetric { .. } => context,
                Mask::Sliding { window } => context.min(window),
                // Half of a chunk in the mean.
                Mask::Chunked { chunk } => context.min(chunk / 2),
            };
            seen as f64 * (layer.attention.kv_size() + layer.attention.value_cache_size()) as f64
        });
        element_bytes * read.sum::<f64>()
    }
}

fn count(shape: &[usize]) -> u64 {
    shape.iter().map(|&n| n as u64).product()
}

fn file_bytes(shape: &[usize], ggml_type: GgmlType) -> u64 {
    let (cols, rows) = (shape.first().map_or(1, |&n| n as u64), count(shape.get(1..).unwrap_or_default()));
    ggml_type.row_bytes(cols).unwrap_or(0) * rows
}

/// What the GPU makes of a tensor, for the speed of reading it; vectors are floats there.
fn device_bytes_of(shape: &[usize], ggml_type: GgmlType) -> Result<u64, String> {
    match shape {
        [] | [_] => Ok(4 * count(shape)),
        [cols, rows @ ..] => {
            let layout =
                PlaneLayout::new(ggml_type, rows.iter().product(), *cols).map_err(|error| error.to_string())?;
            Ok(layout.num_bytes as u64)
        }
    }
}
