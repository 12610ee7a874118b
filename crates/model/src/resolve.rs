//! Finds the tensors of a decoder by name and checks their shapes.

mod attention;
mod ffn;

use std::collections::HashSet;

use gguf::{Gguf, TensorInfo};

use crate::{
    DecoderSpec, DecoderWeights, Head, LayerSpec, LayerWeights, Linear, ModelError, Norm, NormWeights, PerLayerBlock,
    PerLayerInputs, RopeFactors, RopeScaling,
};

/// Finds every tensor that the specification asks for.
///
/// # Errors
/// [`ModelError`] when one is missing or misshapen, or when tensors are left over.
pub fn resolve_weights(spec: &DecoderSpec, gguf: &Gguf) -> Result<DecoderWeights<TensorInfo>, ModelError> {
    let mut finder = Finder { gguf, spec, used: HashSet::new() };
    let (hidden, has_logits) = (spec.hidden_size, spec.head == Head::Logits);
    let weights = DecoderWeights {
        token_embd: finder.require("token_embd.weight", &[hidden, spec.vocab_size])?,
        position_embd: match spec.learned_positions {
            Some(rows) => Some(finder.require("position_embd.weight", &[hidden, rows])?),
            None => None,
        },
        token_types: match spec.token_types {
            Some(rows) => Some(finder.require("token_types.weight", &[hidden, rows])?),
            None => None,
        },
        token_embd_norm: finder.norm_when(spec.embedding_norm, "token_embd_norm")?,
        per_layer_inputs: finder.per_layer_inputs()?,
        output_norm: finder.norm_when(has_logits, "output_norm")?,
        output: if has_logits { finder.optional("output.weight", &[hidden, spec.vocab_size])? } else { None },
        output_scale: if has_logits { finder.scale("output", 1)? } else { None },
        rope_factors: finder.rope_factors()?,
        layers: (0..spec.layers.len()).map(|i| finder.layer(i, &spec.layers[i])).collect::<Result<_, _>>()?,
    };
    finder.check_all_used()?;
    Ok(weights)
}

struct Finder<'a> {
    gguf: &'a Gguf,
    spec: &'a DecoderSpec,
    used: HashSet<String>,
}

impl Finder<'_> {
    fn optional(&mut self, name: &str, shape: &[usize]) -> Result<Option<TensorInfo>, ModelError> {
        let Some(found) = self.gguf.tensor(name) else { return Ok(None) };
        let mut tensor = found.clone();
        // Some writers end a shape in ones.
        while tensor.shape.len() > shape.len() && tensor.shape.last() == Some(&1) {
            tensor.shape.pop();
        }
        if tensor.shape != shape {
            let (found, expected) = (found.shape.clone(), shape.to_vec());
            return Err(ModelError::Shape { name: name.to_owned(), found, expected });
        }
        self.used.insert(name.to_owned());
        Ok(Some(tensor))
    }

    fn require(&mut self, name: &str, shape: &[usize]) -> Result<TensorInfo, ModelError> {
        self.optional(name, shape)?.ok_or_else(|| ModelError::MissingTensor(name.to_owned()))
    }

    /// A tensor that is there exactly when the specification says so.
    fn when(&mut self, wanted: bool, name: &str, shape: &[usize]) -> Result<Option<TensorInfo>, ModelError> {
        if wanted { self.require(name, shape).map(Some) } else { Ok(None) }
    }

    fn has(&self, name: &str) -> bool {
        self.gguf.tensor(name).is_some()
    }

    fn linear(&mut self, name: &str, rows: usize, columns: usize) -> Result<Linear<TensorInfo>, ModelError> {
        Ok(Linear {
            weight: self.require(&format!("{name}.weight"), &[columns, rows])?,
            scale: self.scale(name, 1)?,
            bias: self.optional(&format!("{name}.bias"), &[rows])?,
        })
    }

    /// What the products of a tensor's matrices are multiplied by, where the file has it (NVFP4).
    fn scale(&mut self, name: &str, num_matrices: usize) -> Result<Option<TensorInfo>, ModelError> {
        // That of inputs is for hardware that takes them in 4 bits too; nothing here does.
        self.optional(&format!("{name}.input_scale"), &[num_matrices])?;
        self.optional(&format!("{name}.scale"), &[num_matrices])
    }

    /// Matrices of so many rows that lie in one tensor.
    fn fused<const N: usize>(
        &mut self,
        name: &str,
        rows: [usize; N],
        columns: usize,
    ) -> Result<[Linear<TensorInfo>; N], ModelError> {
        let whole = self.linear(name, rows.iter().sum(), columns)?;
        let mut start = 0;
        let mut parts = Vec::with_capacity(N);
        for len in rows {
            parts.push(Linear {
                weight: slice(&whole.weight, start..start + len)?,
                scale: whole.scale.clone(),
                bias: whole.bias.as_ref().map(|bias| slice(bias, start..start + len)).transpose()?,
            });
            start += len;
        }
        Ok(parts.try_into().unwrap_or_else(|_| unreachable!("as many parts as there are numbers of rows")))
    }

    /// A norm of the residual stream.
    fn norm(&mut self, name: &str) -> Result<NormWeights<TensorInfo>, ModelError> {
        let (shape, with_bias) = (&[self.spec.hidden_size], self.spec.norm == Norm::LayerWithBias);
        Ok(NormWeights {
            weight: self.require(&format!("{name}.weight"), shape)?,
            bias: self.when(with_bias, &format!("{name}.bias"), shape)?,
        })
    }

    fn norm_when(&mut self, wanted: bool, name: &str) -> Result<Option<NormWeights<TensorInfo>>, ModelError> {
        if wanted { self.norm(name).map(Some) } else { Ok(None) }
    }

    fn rope_factors(&mut self) -> Result<RopeFactors<TensorInfo>, ModelError> {
        let ropes = self.spec.layers.iter().map(|layer| &layer.attention.rope);
        let Some(rope) = ropes.filter(|rope| rope.has_factors).max_by_key(|rope| rope.dim).filter(|rope| rope.dim > 0)
        else {
            return Ok(RopeFactors::None);
        };
        let shape = [rope.dim / 2];
        if matches!(rope.scaling, RopeScaling::Long { .. }) {
            return Ok(RopeFactors::Long {
                long: self.require("rope_factors_long.weight", &shape)?,
                short: self.require("rope_factors_short.weight", &shape)?,
            });
        }
        let factors = self.optional("rope_freqs.weight", &shape)?;
        Ok(factors.map_or(RopeFactors::None, RopeFactors::All))
    }

    fn layer(&mut self, idx: usize, spec: &LayerSpec) -> Result<LayerWeights<TensorInfo>, ModelError> {
        let name = |suffix: &str| format!("blk.{idx}.{suffix}");
        let (attention, residual, names) = (&spec.attention, spec.residual, self.spec.names);
        Ok(LayerWeights {
            attn_norm: self.norm_when(residual.norms_attention(), &name(names.attn_norm))?,
            attention: self.attention(idx, attention)?,
            attn_sinks: self.when(attention.sinks, &name("attn_sinks.weight"), &[attention.num_heads])?,
            attn_output: self.linear(&name("attn_output"), self.spec.hidden_size, attention.output_size())?,
            post_attention_norm: self.norm_when(residual.has_post_norms(), &name(names.post_attention_norm))?,
            ffn_norm: self.norm_when(residual.norms_ffn(), &name(names.ffn_norm))?,
            ffn: self.ffn(idx, &spec.ffn)?,
            post_ffw_norm: self.norm_when(residual.has_post_norms(), &name(names.post_ffw_norm))?,
            per_layer_block: match self.spec.per_layer_inputs {
                Some(size) => Some(PerLayerBlock {
                    gate: self.linear(&name("inp_gate"), size, self.spec.hidden_size)?,
                    proj: self.linear(&name("proj"), self.spec.hidden_size, size)?,
                    post_norm: self.norm(&name("post_norm"))?,
                }),
                None => None,
            },
            output_scale: self.optional(&name("layer_output_scale.weight"), &[1])?,
        })
    }

    fn per_layer_inputs(&mut self) -> Result<Option<PerLayerInputs<TensorInfo>>, ModelError> {
        let Some(size) = self.spec.per_layer_inputs else { return Ok(None) };
        let (hidden, all) = (self.spec.hidden_size, size * self.spec.layers.len());
        Ok(Some(PerLayerInputs {
            token_embd: self.require("per_layer_token_embd.weight", &[all, self.spec.vocab_size])?,
            proj: self.require("per_layer_model_proj.weight", &[hidden, all])?,
            proj_norm: self.require("per_layer_proj_norm.weight", &[size])?,
        }))
    }

    fn check_all_used(&self) -> Result<(), ModelError> {
        let mut extra = self.gguf.tensors().iter().filter(|t| !self.used.contains(&t.name));
        match extra.next() {
            None => Ok(()),
            Some(first) => {
                let (arch, first) = (self.spec.arch, first.name.clone());
                Err(ModelError::ExtraTensors { arch, count: 1 + extra.count(), first })
            }
        }
    }
}

/// Some rows of a matrix, or elements of a vector.
fn slice(tensor: &TensorInfo, rows: std::ops::Range<usize>) -> Result<TensorInfo, ModelError> {
    tensor.rows(rows.clone()).ok_or_else(|| ModelError::Rows { name: tensor.name.clone(), rows })
}

/// A tensor of several dimensions whose values are wanted one after the other.
fn flat(mut tensor: TensorInfo) -> TensorInfo {
    tensor.shape = vec![tensor.num_weights()];
    tensor
}
