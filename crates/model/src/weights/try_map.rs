//! Turns tensors of one kind into another.

use super::{
    AttentionWeights, DecoderWeights, ExpertLinear, FfnWeights, GatedAndMoeWeights, GatedWeights, HeadWeights,
    LatentKeys, LatentWeights, LayerWeights, Linear, MoeWeights, NormWeights, PerLayerBlock, PerLayerInputs,
    PlainWeights, QueryWeights, RopeFactors, SharedExpert, Stacked,
};

impl<T> DecoderWeights<T> {
    /// Turns every tensor into an executor's own, in file order of the layers.
    ///
    /// # Errors
    /// The first error of `f`.
    pub fn try_map<U, E>(self, f: &mut impl FnMut(T) -> Result<U, E>) -> Result<DecoderWeights<U>, E> {
        Ok(DecoderWeights {
            token_embd: f(self.token_embd)?,
            position_embd: self.position_embd.map(&mut *f).transpose()?,
            per_layer_inputs: match self.per_layer_inputs {
                Some(PerLayerInputs { token_embd, proj, proj_norm }) => {
                    Some(PerLayerInputs { token_embd: f(token_embd)?, proj: f(proj)?, proj_norm: f(proj_norm)? })
                }
                None => None,
            },
            token_types: self.token_types.map(&mut *f).transpose()?,
            token_embd_norm: self.token_embd_norm.map(|n| n.try_map(f)).transpose()?,
            output_norm: self.output_norm.map(|n| n.try_map(f)).transpose()?,
            output: self.output.map(&mut *f).transpose()?,
            output_scale: self.output_scale.map(&mut *f).transpose()?,
            rope_factors: match self.rope_factors {
                RopeFactors::None => RopeFactors::None,
                RopeFactors::All(factors) => RopeFactors::All(f(factors)?),
                RopeFactors::Long { long, short } => RopeFactors::Long { long: f(long)?, short: f(short)? },
            },
            layers: self.layers.into_iter().map(|l| l.try_map(f)).collect::<Result<_, _>>()?,
        })
    }
}

impl<T> LayerWeights<T> {
    fn try_map<U, E>(self, f: &mut impl FnMut(T) -> Result<U, E>) -> Result<LayerWeights<U>, E> {
        Ok(LayerWeights {
            attn_norm: self.attn_norm.map(|n| n.try_map(f)).transpose()?,
            attention: match self.attention {
                AttentionWeights::Heads(heads) => AttentionWeights::Heads(Box::new(heads.try_map(f)?)),
                AttentionWeights::Latent(latent) => AttentionWeights::Latent(Box::new(latent.try_map(f)?)),
                AttentionWeights::Queries(queries) => AttentionWeights::Queries(Box::new(QueryWeights {
                    q: queries.q.try_map(f)?,
                    q_norm: queries.q_norm.map(&mut *f).transpose()?,
                })),
            },
            attn_sinks: self.attn_sinks.map(&mut *f).transpose()?,
            attn_output: self.attn_output.try_map(f)?,
            post_attention_norm: self.post_attention_norm.map(|n| n.try_map(f)).transpose()?,
            ffn_norm: self.ffn_norm.map(|n| n.try_map(f)).transpose()?,
            ffn: self.ffn.try_map(f)?,
            post_ffw_norm: self.post_ffw_norm.map(|n| n.try_map(f)).transpose()?,
            per_layer_block: match self.per_layer_block {
                Some(PerLayerBlock { gate, proj, post_norm }) => Some(PerLayerBlock {
                    gate: gate.try_map(f)?,
                    proj: proj.try_map(f)?,
                    post_norm: post_norm.try_map(f)?,
                }),
                None => None,
            },
            output_scale: self.output_scale.map(&mut *f).transpose()?,
        })
    }
}

impl<T> NormWeights<T> {
    fn try_map<U, E>(self, f: &mut impl FnMut(T) -> Result<U, E>) -> Result<NormWeights<U>, E> {
        Ok(NormWeights { weight: f(self.weight)?, bias: self.bias.map(&mut *f).transpose()? })
    }
}

impl<T> HeadWeights<T> {
    fn try_map<U, E>(self, f: &mut impl FnMut(T) -> Result<U, E>) -> Result<HeadWeights<U>, E> {
        Ok(HeadWeights {
            q: self.q.try_map(f)?,
            k: self.k.try_map(f)?,
            v: self.v.try_map(f)?,
            q_norm: self.q_norm.map(&mut *f).transpose()?,
            k_norm: self.k_norm.map(&mut *f).transpose()?,
        })
    }
}

impl<T> LatentWeights<T> {
    fn try_map<U, E>(self, f: &mut impl FnMut(T) -> Result<U, E>) -> Result<LatentWeights<U>, E> {
        Ok(LatentWeights {
            q_a: match self.q_a {
                Some((weight, norm)) => Some((f(weight)?, f(norm)?)),
                None => None,
            },
            q_b: f(self.q_b)?,
            kv_a: f(self.kv_a)?,
            kv_a_norm: f(self.kv_a_norm)?,
            k_b: match self.k_b {
                LatentKeys::Absorbed(tensor) => LatentKeys::Absorbed(f(tensor)?),
                LatentKeys::Transposed(tensors) => {
                    LatentKeys::Transposed(tensors.into_iter().map(&mut *f).collect::<Result<_, _>>()?)
                }
            },
            v_b: self.v_b.try_map(f)?,
        })
    }
}

impl<T> Stacked<T> {
    fn try_map<U, E>(self, f: &mut impl FnMut(T) -> Result<U, E>) -> Result<Stacked<U>, E> {
        Ok(match self {
            Self::One(tensor) => Stacked::One(f(tensor)?),
            Self::Each(tensors) => Stacked::Each(tensors.into_iter().map(f).collect::<Result<_, _>>()?),
        })
    }
}

impl<T> FfnWeights<T> {
    fn try_map<U, E>(self, f: &mut impl FnMut(T) -> Result<U, E>) -> Result<FfnWeights<U>, E> {
        Ok(match self {
            Self::Gated(gated) => FfnWeights::Gated(gated.try_map(f)?),
            Self::Plain(plain) => {
                FfnWeights::Plain(PlainWeights { up: plain.up.try_map(f)?, down: plain.down.try_map(f)? })
            }
            Self::Moe(moe) => FfnWeights::Moe(Box::new(moe.try_map(f)?)),
            Self::GatedAndMoe(both) => FfnWeights::GatedAndMoe(Box::new(GatedAndMoeWeights {
                gated: both.gated.try_map(f)?,
                gated_norm: both.gated_norm.try_map(f)?,
                router_norm: f(both.router_norm)?,
                experts_input_norm: both.experts_input_norm.try_map(f)?,
                moe: both.moe.try_map(f)?,
                experts_norm: both.experts_norm.try_map(f)?,
            })),
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
            router: self.router.try_map(f)?,
            selection_bias: self.selection_bias.map(&mut *f).transpose()?,
            gate: self.gate.try_map(f)?,
            up: self.up.try_map(f)?,
            down: self.down.try_map(f)?,
            shared: match self.shared {
                Some(SharedExpert { router, expert }) => {
                    Some(SharedExpert { router: router.map(&mut *f).transpose()?, expert: expert.try_map(f)? })
                }
                None => None,
            },
        })
    }
}

impl<T> ExpertLinear<T> {
    fn try_map<U, E>(self, f: &mut impl FnMut(T) -> Result<U, E>) -> Result<ExpertLinear<U>, E> {
        Ok(ExpertLinear {
            weight: self.weight.try_map(f)?,
            scale: self.scale.map(&mut *f).transpose()?,
            bias: self.bias.map(&mut *f).transpose()?,
        })
    }
}

impl<T> Linear<T> {
    fn try_map<U, E>(self, f: &mut impl FnMut(T) -> Result<U, E>) -> Result<Linear<U>, E> {
        Ok(Linear {
            weight: f(self.weight)?,
            scale: self.scale.map(&mut *f).transpose()?,
            bias: self.bias.map(&mut *f).transpose()?,
        })
    }
}
