//! What differs from layer to layer beside the weights.

use model::Rope;

use crate::{
    CudaOptions,
    device::Buffer,
    error::CudaError,
    gpu::Gpu,
    ops::attention::{Attention, HeadShape},
    weights::Model,
};

/// The kernels of a layer's attention, and which of the rotations it has.
pub(super) struct LayerOps {
    pub(super) attention: Attention,
    pub(super) rope_idx: usize,
}

/// The kernels of each layer's attention, and the distinct rotations with their frequencies on the device.
type LayerTables = (Vec<LayerOps>, Vec<(Rope, Buffer)>);

pub(super) fn layer_ops(gpu: &Gpu, model: &Model, options: &CudaOptions) -> Result<LayerTables, CudaError> {
    let factors = match model.weights.rope_factors.select(&model.spec, options.max_model_len) {
        Some(weight) => Some(gpu.device.download(weight.vector())?),
        None => None,
    };
    let mut ropes: Vec<(Rope, Buffer)> = Vec::new();
    let mut layers = Vec::new();
    for layer in &model.spec.layers {
        let rope = &layer.attention.rope;
        let rope_idx = match ropes.iter().position(|(known, _)| known == rope) {
            Some(idx) => idx,
            None => {
                let freqs = rope.inv_freqs(factors.as_deref());
                let buffer = Buffer::new(&gpu.device, 4 * freqs.len(), "rotary frequencies")?;
                gpu.device.upload(buffer.all(), &freqs)?;
                ropes.push((rope.clone(), buffer));
                ropes.len() - 1
            }
        };
        let attention = Attention::new(gpu, HeadShape::of(&layer.attention), options.kv_type)?;
        layers.push(LayerOps { attention, rope_idx });
    }
    Ok((layers, ropes))
}
