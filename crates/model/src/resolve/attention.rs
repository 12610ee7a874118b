//! The tensors that make queries, keys and values.

use gguf::TensorInfo;

use super::{Finder, flat, slice};
use crate::{
    Attention, AttentionWeights, HeadWeights, Latent, LatentKeys, LatentWeights, Linear, ModelError, QkNorm,
    QueryWeights, Stacked, Values,
};

impl Finder<'_> {
    pub(super) fn attention(
        &mut self,
        idx: usize,
        spec: &Attention,
    ) -> Result<AttentionWeights<TensorInfo>, ModelError> {
        match &spec.latent {
            None if spec.kv_source.is_some() => Ok(AttentionWeights::Queries(Box::new(QueryWeights {
                q: self.linear(&format!("blk.{idx}.attn_q"), spec.q_size(), self.spec.hidden_size)?,
                q_norm: self.head_norm(idx, "attn_q_norm", spec.num_heads, spec)?,
            }))),
            None => Ok(AttentionWeights::Heads(Box::new(self.heads(idx, spec)?))),
            Some(latent) => Ok(AttentionWeights::Latent(Box::new(self.latent(idx, spec, latent)?))),
        }
    }

    fn heads(&mut self, idx: usize, spec: &Attention) -> Result<HeadWeights<TensorInfo>, ModelError> {
        let [q, k, v] = self.qkv(idx, spec)?;
        let heads = [("attn_q_norm", spec.num_heads), ("attn_k_norm", spec.num_kv_heads)];
        let [q_norm, k_norm] = heads.map(|(name, num_heads)| self.head_norm(idx, name, num_heads, spec));
        Ok(HeadWeights { q, k, v, q_norm: q_norm?, k_norm: k_norm? })
    }

    /// Queries, keys and values, one behind the other in one tensor or a tensor each.
    fn qkv(&mut self, idx: usize, spec: &Attention) -> Result<[Linear<TensorInfo>; 3], ModelError> {
        let name = |suffix: &str| format!("blk.{idx}.{suffix}");
        let (hidden, q, kv) = (self.spec.hidden_size, spec.q_size(), spec.kv_size());
        if self.has(&name("attn_qkv.weight")) {
            return self.fused(&name("attn_qkv"), [q, kv, kv], hidden);
        }
        // Keys before their norm are the values where there is no matrix of values.
        let is_shared = spec.values == Values::UnitNorm && !self.has(&name("attn_v.weight"));
        let values = name(if is_shared { "attn_k" } else { "attn_v" });
        Ok([
            self.linear(&name("attn_q"), q, hidden)?,
            self.linear(&name("attn_k"), kv, hidden)?,
            self.linear(&values, kv, hidden)?,
        ])
    }

    fn head_norm(
        &mut self,
        idx: usize,
        name: &str,
        num_heads: usize,
        spec: &Attention,
    ) -> Result<Option<TensorInfo>, ModelError> {
        let name = format!("blk.{idx}.{name}.weight");
        let head_dim = spec.head_dim;
        let weight = match spec.qk_norm {
            QkNorm::None | QkNorm::UnitAfterRope => return Ok(None),
            QkNorm::PerHead => self.require(&name, &[head_dim])?,
            QkNorm::PerHeadOwn => flat(self.require(&name, &[head_dim, num_heads])?),
            QkNorm::AllHeads => self.require(&name, &[num_heads * head_dim])?,
        };
        Ok(Some(weight))
    }

    fn latent(
        &mut self,
        idx: usize,
        spec: &Attention,
        latent: &Latent,
    ) -> Result<LatentWeights<TensorInfo>, ModelError> {
        let name = |suffix: &str| format!("blk.{idx}.{suffix}.weight");
        let Latent { q_rank, kv_rank, nope_dim, value_dim } = *latent;
        let (hidden, heads, rope_dim) = (self.spec.hidden_size, spec.num_heads, spec.rope.dim);
        let q_rows = heads * (nope_dim + rope_dim);
        let (q_a, q_b) = match q_rank {
            None => (None, self.require(&name("attn_q"), &[hidden, q_rows])?),
            Some(rank) => {
                let q_a = self.require(&name("attn_q_a"), &[hidden, rank])?;
                let norm = self.require(&name("attn_q_a_norm"), &[rank])?;
                (Some((q_a, norm)), self.require(&name("attn_q_b"), &[rank, q_rows])?)
            }
        };
        let (k_b, v_b) = if self.has(&name("attn_kv_b")) {
            // Each head has its keys' rows, then its values'.
            let head_rows = nope_dim + value_dim;
            let kv_b = self.require(&name("attn_kv_b"), &[kv_rank, heads * head_rows])?;
            let part = |start: usize, len: usize| -> Result<Vec<_>, ModelError> {
                let starts = (0..heads).map(|head| head * head_rows + start);
                starts.map(|start| slice(&kv_b, start..start + len)).collect()
            };
            (LatentKeys::Transposed(part(0, nope_dim)?), Stacked::Each(part(nope_dim, value_dim)?))
        } else {
            let k_b = self.require(&name("attn_k_b"), &[nope_dim, kv_rank, heads])?;
            (LatentKeys::Absorbed(k_b), Stacked::One(self.require(&name("attn_v_b"), &[kv_rank, value_dim, heads])?))
        };
        Ok(LatentWeights {
            q_a,
            q_b,
            kv_a: self.require(&name("attn_kv_a_mqa"), &[hidden, kv_rank + rope_dim])?,
            kv_a_norm: self.require(&name("attn_kv_a_norm"), &[kv_rank])?,
            k_b,
            v_b,
        })
    }
}
