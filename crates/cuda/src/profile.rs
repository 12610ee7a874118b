//! Where a decode step's time goes: every stage captured alone, over all layers, and replayed.

use std::sync::Arc;

use exec::{Capacity, SampleSpec, SeqStep, StageTime, StepPlan, StepTokens, Wanted};
use model::{AttentionWeights, ExpertLinear, Ffn, FfnWeights, GatedWeights, LatentKeys, MoeWeights, Stacked};
use types::{SamplingParams, SeqId, TokenId};

use crate::{
    device::{Event, Graph},
    error::CudaError,
    forward::{Forward, StepShape, experts::stacked},
    ops::matmul::Matrix,
    stage::Stage,
    weights::Weight,
};

/// Replays that are timed together.
const REPLAYS: usize = 20;

/// A step in which so many sequences, with blocks of their own, decode their token at `context`.
pub(crate) fn decode_plan(capacity: &Capacity, num_seqs: usize, context: usize) -> Result<StepPlan, CudaError> {
    let Capacity { pools, max_num_seqs, max_model_len, .. } = *capacity;
    let tables = |seq| pools.equal_tables((seq, num_seqs), context + 1, 1).map(Arc::new);
    let tables: Option<Vec<_>> = (0..num_seqs).map(tables).collect();
    let tables = tables.filter(|_| num_seqs <= max_num_seqs && context < max_model_len).ok_or_else(|| {
        CudaError::Unsupported(format!(
            "{num_seqs} sequences of {context} tokens are too many; the limits are {pools:?}, {max_num_seqs} sequences, {max_model_len} tokens"
        ))
    })?;
    let params = Arc::new(SamplingParams::default());
    let seqs = tables.into_iter().enumerate().map(|(seq, block_tables)| SeqStep {
        seq_id: SeqId(seq as u64),
        tokens: StepTokens::Known(vec![TokenId((seq % capacity.vocab_size) as u32)]),
        num_computed_tokens: context,
        block_tables,
        wanted: Wanted::Token(SampleSpec {
            params: Arc::clone(&params),
            uniform: 0.5,
            recent_tokens: Vec::new(),
            want_logits: false,
        }),
    });
    Ok(StepPlan { seqs: seqs.collect(), finished: Vec::new() })
}

/// Times the stages of a step whose metadata is on the device.
pub(crate) fn profile(forward: &Forward, shape: StepShape, context: usize) -> Result<Vec<StageTime>, CudaError> {
    let stages = std::iter::once(None).chain(Stage::ALL.map(Some));
    let times = stages.map(|stage| {
        let graph = Graph::capture(&forward.device, || forward.run(shape, stage))?;
        let micros = time(forward, &graph)?;
        let bytes = match stage {
            Some(stage) => stage_bytes(forward, stage, (shape.seqs, shape.seqs * context)),
            None => Stage::ALL
                .into_iter()
                .map(|stage| stage_bytes(forward, stage, (shape.seqs, shape.seqs * context)))
                .sum(),
        };
        Ok(StageTime { stage: stage.map_or("step", Stage::name), micros, bytes })
    });
    times.collect()
}

fn time(forward: &Forward, graph: &Graph) -> Result<f64, CudaError> {
    let (start, end) = (Event::new(&forward.device)?, Event::new(&forward.device)?);
    graph.launch()?;
    start.record()?;
    for _ in 0..REPLAYS {
        graph.launch()?;
    }
    end.record()?;
    Ok(start.micros_until(&end)? / REPLAYS as f64)
}

/// Weights, keys and values that a stage reads, over all layers; `kv_tokens` over all sequences.
fn stage_bytes(forward: &Forward, stage: Stage, (num_tokens, kv_tokens): (usize, usize)) -> usize {
    let matrix = |weight: &Weight| Matrix::layout(weight.matrix()).read_bytes();
    let experts = |linear: &ExpertLinear<Weight>| stacked(linear).layout().read_bytes();
    let layers = &forward.model.weights.layers;
    match stage {
        Stage::Qkv => layers.iter().map(|l| qkv_matrices(&l.attention).into_iter().map(matrix).sum::<usize>()).sum(),
        Stage::Attention => kv_tokens * forward.cache.bytes_per_token(),
        Stage::AttnOutput => {
            layers.iter().map(|l| matrix(&l.attn_output.weight) + value_matrix(&l.attention).map_or(0, matrix)).sum()
        }
        Stage::Router => layers
            .iter()
            .map(|l| match &l.ffn {
                FfnWeights::Gated(_) | FfnWeights::Plain(_) => 0,
                FfnWeights::Moe(moe) => matrix(&moe.router.weight),
                FfnWeights::GatedAndMoe(both) => matrix(&both.moe.router.weight),
            })
            .sum(),
        Stage::GateUp => ffn_bytes(
            forward,
            num_tokens,
            |ffn| matrix(&ffn.gate.weight) + matrix(&ffn.up.weight),
            |up, _| matrix(up),
            |moe| experts(&moe.gate) + experts(&moe.up),
        ),
        Stage::FfnDown => ffn_bytes(
            forward,
            num_tokens,
            |ffn| matrix(&ffn.down.weight),
            |_, down| matrix(down),
            |moe| experts(&moe.down),
        ),
        Stage::Logits => forward.model.output().layout().read_bytes(),
        Stage::Embed
        | Stage::Norm
        | Stage::RopeKv
        | Stage::GatedAct
        | Stage::ExpertSum
        | Stage::OutputNorm
        | Stage::Sampling => 0,
    }
}

/// The matrices before attention.
fn qkv_matrices(weights: &AttentionWeights<Weight>) -> Vec<&Weight> {
    match weights {
        AttentionWeights::Heads(heads) => vec![&heads.q.weight, &heads.k.weight, &heads.v.weight],
        AttentionWeights::Queries(queries) => vec![&queries.q.weight],
        AttentionWeights::Latent(latent) => {
            let mut matrices = vec![&latent.q_b, &latent.kv_a];
            matrices.extend(latent.q_a.as_ref().map(|(q_a, _)| q_a));
            matrices.extend(match &latent.k_b {
                LatentKeys::Absorbed(k_b) => Some(k_b),
                LatentKeys::Transposed(_) => None,
            });
            matrices
        }
    }
}

/// The matrix that makes values of latents.
fn value_matrix(weights: &AttentionWeights<Weight>) -> Option<&Weight> {
    match weights {
        AttentionWeights::Latent(latent) => match &latent.v_b {
            Stacked::One(v_b) => Some(v_b),
            Stacked::Each(_) => None,
        },
        AttentionWeights::Heads(_) | AttentionWeights::Queries(_) => None,
    }
}

/// Bytes of a step of so many tokens in the feed-forward blocks: what `dense` and `plain` (of up and down) read of the
/// matrices that serve all tokens plus, of what `experts` names, the share of the experts that the tokens choose (at most one each token and rank).
fn ffn_bytes(
    forward: &Forward,
    num_tokens: usize,
    dense: impl Fn(&GatedWeights<Weight>) -> usize,
    plain: impl Fn(&Weight, &Weight) -> usize,
    experts: impl Fn(&MoeWeights<Weight>) -> usize,
) -> usize {
    let layers = forward.model.spec.layers.iter().zip(&forward.model.weights.layers);
    let chosen = |spec: &Ffn, weights: &MoeWeights<Weight>| {
        let Some(moe) = spec.moe() else { return 0 };
        let read = (num_tokens * moe.num_used).min(moe.num_experts);
        weights.shared.as_ref().map_or(0, |shared| dense(&shared.expert)) + experts(weights) / moe.num_experts * read
    };
    let bytes = layers.map(|(spec, weights)| match &weights.ffn {
        FfnWeights::Gated(weights) => dense(weights),
        FfnWeights::Plain(weights) => plain(&weights.up.weight, &weights.down.weight),
        FfnWeights::Moe(weights) => chosen(&spec.ffn, weights),
        FfnWeights::GatedAndMoe(both) => dense(&both.gated) + chosen(&spec.ffn, &both.moe),
    });
    bytes.sum()
}
