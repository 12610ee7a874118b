//! The tensors of a decoder by name and shape, generic over what an executor makes of each.

use std::collections::HashSet;

use gguf::{Gguf, TensorInfo};

use crate::{Attention, DecoderSpec, Ffn, LayerSpec, ModelError, Moe};

/// All weights of a decoder. `T` is a [`TensorInfo`] reference once resolved, then an executor's own tensor.
#[derive(Clone, Debug)]
pub struct DecoderWeights<T> {
    /// `[vocab_size, hidden_size]`; also the output matrix when `output` is `None`.
    pub token_embd: T,
    /// `[hidden_size]`.
    pub output_norm: T,
    /// `[vocab_size, hidden_size]`; `None` when tied to `token_embd`.
    pub output: Option<T>,
    /// Divisors of the rotary frequencies, `[rope.dim / 2]`.
    pub rope_freqs: Option<T>,
    /// The layers, first to last.
    pub layers: Vec<LayerWeights<T>>,
}

/// The weights of a layer. Matrices are `[rows, columns]` here; GGUF lists the columns first.
#[derive(Clone, Debug)]
pub struct LayerWeights<T> {
    /// `[hidden_size]`.
    pub attn_norm: T,
    /// `[q_size, hidden_size]`.
    pub attn_q: Linear<T>,
    /// `[kv_size, hidden_size]`.
    pub attn_k: Linear<T>,
    /// `[kv_size, hidden_size]`.
    pub attn_v: Linear<T>,
    /// `[head_dim]`, with [`Attention::qk_norm`].
    pub attn_q_norm: Option<T>,
    /// `[head_dim]`, with [`Attention::qk_norm`].
    pub attn_k_norm: Option<T>,
    /// `[hidden_size, q_size]`.
    pub attn_output: Linear<T>,
    /// `[hidden_size]`, with [`LayerSpec::post_norms`].
    pub post_attention_norm: Option<T>,
    /// `[hidden_size]`.
    pub ffn_norm: T,
    /// The feed-forward block.
    pub ffn: FfnWeights<T>,
    /// `[hidden_size]`, with [`LayerSpec::post_norms`].
    pub post_ffw_norm: Option<T>,
}

/// The weights of a feed-forward block, of the kind that [`Ffn`] says.
#[derive(Clone, Debug)]
pub enum FfnWeights<T> {
    /// Of [`Ffn::Gated`].
    Gated(GatedWeights<T>),
    /// Of [`Ffn::Moe`].
    Moe(Box<MoeWeights<T>>),
}

/// `down(activation(gate(x)) * up(x))`.
#[derive(Clone, Debug)]
pub struct GatedWeights<T> {
    /// `[size, hidden_size]`.
    pub gate: Linear<T>,
    /// `[size, hidden_size]`.
    pub up: Linear<T>,
    /// `[hidden_size, size]`.
    pub down: Linear<T>,
}

/// The weights of a mixture of experts: the experts' matrices lie one behind the other.
#[derive(Clone, Debug)]
pub struct MoeWeights<T> {
    /// `[num_experts, hidden_size]`.
    pub router: T,
    /// `[num_experts, size, hidden_size]`.
    pub gate: T,
    /// `[num_experts, size, hidden_size]`.
    pub up: T,
    /// `[num_experts, hidden_size, size]`.
    pub down: T,
    /// With [`Moe::shared_size`].
    pub shared: Option<SharedExpert<T>>,
}

/// The expert that every token passes.
#[derive(Clone, Debug)]
pub struct SharedExpert<T> {
    /// `[hidden_size]`: the expert's weight is the sigmoid of its dot product with the token.
    pub router: T,
    /// The expert.
    pub expert: GatedWeights<T>,
}

/// A matrix and its bias, where the file has one.
#[derive(Clone, Debug)]
pub struct Linear<T> {
    /// `[rows, columns]`.
    pub weight: T,
    /// `[rows]`.
    pub bias: Option<T>,
}

/// Finds every tensor that the specification asks for.
///
/// # Errors
/// [`ModelError`] when one is missing or misshapen, or when tensors are left over.
pub fn resolve_weights<'a>(spec: &DecoderSpec, gguf: &'a Gguf) -> Result<DecoderWeights<&'a TensorInfo>, ModelError> {
    let mut finder = Finder { gguf, used: HashSet::new() };
    let hidden = spec.hidden_size;
    let rope_dim = spec.layers.first().map_or(0, |l| l.attention.rope.dim);
    let weights = DecoderWeights {
        token_embd: finder.require("token_embd.weight", &[hidden, spec.vocab_size])?,
        output_norm: finder.require("output_norm.weight", &[hidden])?,
        output: finder.optional("output.weight", &[hidden, spec.vocab_size])?,
        rope_freqs: finder.optional("rope_freqs.weight", &[rope_dim / 2])?,
        layers: (0..spec.layers.len()).map(|i| finder.layer(i, &spec.layers[i], hidden)).collect::<Result<_, _>>()?,
    };
    finder.check_all_used(spec.arch)?;
    Ok(weights)
}

struct Finder<'a> {
    gguf: &'a Gguf,
    used: HashSet<String>,
}

impl<'a> Finder<'a> {
    fn optional(&mut self, name: &str, shape: &[usize]) -> Result<Option<&'a TensorInfo>, ModelError> {
        let Some(tensor) = self.gguf.tensor(name) else { return Ok(None) };
        if tensor.shape != shape {
            let (found, expected) = (tensor.shape.clone(), shape.to_vec());
            return Err(ModelError::Shape { name: name.to_owned(), found, expected });
        }
        self.used.insert(name.to_owned());
        Ok(Some(tensor))
    }

    fn require(&mut self, name: &str, shape: &[usize]) -> Result<&'a TensorInfo, ModelError> {
        self.optional(name, shape)?.ok_or_else(|| ModelError::MissingTensor(name.to_owned()))
    }

    /// A tensor that is there exactly when the specification says so.
    fn when(&mut self, wanted: bool, name: &str, shape: &[usize]) -> Result<Option<&'a TensorInfo>, ModelError> {
        if wanted { self.require(name, shape).map(Some) } else { Ok(None) }
    }

    fn linear(&mut self, name: &str, rows: usize, columns: usize) -> Result<Linear<&'a TensorInfo>, ModelError> {
        Ok(Linear {
            weight: self.require(&format!("{name}.weight"), &[columns, rows])?,
            bias: self.optional(&format!("{name}.bias"), &[rows])?,
        })
    }

    fn layer(
        &mut self,
        idx: usize,
        spec: &LayerSpec,
        hidden: usize,
    ) -> Result<LayerWeights<&'a TensorInfo>, ModelError> {
        let name = |suffix: &str| format!("blk.{idx}.{suffix}");
        let attention @ Attention { head_dim, qk_norm, .. } = &spec.attention;
        let (q, kv) = (attention.q_size(), attention.kv_size());
        Ok(LayerWeights {
            attn_norm: self.require(&name("attn_norm.weight"), &[hidden])?,
            attn_q: self.linear(&name("attn_q"), q, hidden)?,
            attn_k: self.linear(&name("attn_k"), kv, hidden)?,
            attn_v: self.linear(&name("attn_v"), kv, hidden)?,
            attn_q_norm: self.when(*qk_norm, &name("attn_q_norm.weight"), &[*head_dim])?,
            attn_k_norm: self.when(*qk_norm, &name("attn_k_norm.weight"), &[*head_dim])?,
            attn_output: self.linear(&name("attn_output"), hidden, q)?,
            post_attention_norm: self.when(spec.post_norms, &name("post_attention_norm.weight"), &[hidden])?,
            ffn_norm: self.require(&name("ffn_norm.weight"), &[hidden])?,
            ffn: match &spec.ffn {
                Ffn::Gated { size, .. } => FfnWeights::Gated(self.gated(idx, "", *size, hidden)?),
                Ffn::Moe(moe) => FfnWeights::Moe(Box::new(self.moe(idx, moe, hidden)?)),
            },
            post_ffw_norm: self.when(spec.post_norms, &name("post_ffw_norm.weight"), &[hidden])?,
        })
    }

    /// The matrices `ffn_gate{suffix}`, `ffn_up{suffix}` and `ffn_down{suffix}` of a layer.
    fn gated(
        &mut self,
        idx: usize,
        suffix: &str,
        size: usize,
        hidden: usize,
    ) -> Result<GatedWeights<&'a TensorInfo>, ModelError> {
        Ok(GatedWeights {
            gate: self.linear(&format!("blk.{idx}.ffn_gate{suffix}"), size, hidden)?,
            up: self.linear(&format!("blk.{idx}.ffn_up{suffix}"), size, hidden)?,
            down: self.linear(&format!("blk.{idx}.ffn_down{suffix}"), hidden, size)?,
        })
    }

    fn moe(&mut self, idx: usize, spec: &Moe, hidden: usize) -> Result<MoeWeights<&'a TensorInfo>, ModelError> {
        let name = |suffix: &str| format!("blk.{idx}.{suffix}.weight");
        let Moe { num_experts, size, .. } = *spec;
        let shared = match spec.shared_size {
            Some(size) => Some(SharedExpert {
                router: self.require(&name("ffn_gate_inp_shexp"), &[hidden])?,
                expert: self.gated(idx, "_shexp", size, hidden)?,
            }),
            None => None,
        };
        Ok(MoeWeights {
            router: self.require(&name("ffn_gate_inp"), &[hidden, num_experts])?,
            gate: self.require(&name("ffn_gate_exps"), &[hidden, size, num_experts])?,
            up: self.require(&name("ffn_up_exps"), &[hidden, size, num_experts])?,
            down: self.require(&name("ffn_down_exps"), &[size, hidden, num_experts])?,
            shared,
        })
    }

    fn check_all_used(&self, arch: &'static str) -> Result<(), ModelError> {
        let mut extra = self.gguf.tensors().iter().filter(|t| !self.used.contains(&t.name));
        match extra.next() {
            None => Ok(()),
            Some(first) => Err(ModelError::ExtraTensors { arch, count: 1 + extra.count(), first: first.name.clone() }),
        }
    }
}

impl<T> DecoderWeights<T> {
    /// Turns every tensor into an executor's own, in file order of the layers.
    ///
    /// # Errors
    /// The first error of `f`.
    pub fn try_map<U, E>(self, f: &mut impl FnMut(T) -> Result<U, E>) -> Result<DecoderWeights<U>, E> {
        Ok(DecoderWeights {
            token_embd: f(self.token_embd)?,
            output_norm: f(self.output_norm)?,
            output: self.output.map(&mut *f).transpose()?,
            rope_freqs: self.rope_freqs.map(&mut *f).transpose()?,
            layers: self.layers.into_iter().map(|l| l.try_map(f)).collect::<Result<_, _>>()?,
        })
    }
}

impl<T> LayerWeights<T> {
    fn try_map<U, E>(self, f: &mut impl FnMut(T) -> Result<U, E>) -> Result<LayerWeights<U>, E> {
        Ok(LayerWeights {
            attn_norm: f(self.attn_norm)?,
            attn_q: self.attn_q.try_map(f)?,
            attn_k: self.attn_k.try_map(f)?,
            attn_v: self.attn_v.try_map(f)?,
            attn_q_norm: self.attn_q_norm.map(&mut *f).transpose()?,
            attn_k_norm: self.attn_k_norm.map(&mut *f).transpose()?,
            attn_output: self.attn_output.try_map(f)?,
            post_attention_norm: self.post_attention_norm.map(&mut *f).transpose()?,
            ffn_norm: f(self.ffn_norm)?,
            ffn: self.ffn.try_map(f)?,
            post_ffw_norm: self.post_ffw_norm.map(&mut *f).transpose()?,
        })
    }
}

impl<T> FfnWeights<T> {
    fn try_map<U, E>(self, f: &mut impl FnMut(T) -> Result<U, E>) -> Result<FfnWeights<U>, E> {
        Ok(match self {
            Self::Gated(gated) => FfnWeights::Gated(gated.try_map(f)?),
            Self::Moe(moe) => FfnWeights::Moe(Box::new(moe.try_map(f)?)),
        })
    }
}

impl<T> GatedWeights<T> {
    fn try_map<U, E>(self, f: &mut impl FnMut(T) -> Result<U, E>) -> Result<GatedWeights<U>, E> {
        Ok(GatedWeights { gate: self.gate.try_map(f)?, up: self.up.try_map(f)?, down: self.down.try_map(f)? })
    }
}

impl<T> MoeWeights<T> {
    fn try_map<U, E>(self, f: &mut impl FnMut(T) -> Result<U, E>) -> Result<MoeWeights<U>, E> {
        Ok(MoeWeights {
            router: f(self.router)?,
            gate: f(self.gate)?,
            up: f(self.up)?,
            down: f(self.down)?,
            shared: match self.shared {
                Some(shared) => Some(SharedExpert { router: f(shared.router)?, expert: shared.expert.try_map(f)? }),
                None => None,
            },
        })
    }
}

impl<T> Linear<T> {
    fn try_map<U, E>(self, f: &mut impl FnMut(T) -> Result<U, E>) -> Result<Linear<U>, E> {
        Ok(Linear { weight: f(self.weight)?, bias: self.bias.map(&mut *f).transpose()? })
    }
}
