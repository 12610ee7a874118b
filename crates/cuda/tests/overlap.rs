//! Two steps in flight: the second finds the tokens that the first chooses in the device's memory.

use std::{collections::VecDeque, sync::Arc};

use cuda::{CudaExecutor, CudaOptions};
use exec::{Executor, SampleSpec, SeqStep, StepPlan, StepTokens, Ticket, Wanted};
use sampling::Mt19937;
use types::{BLOCK_SIZE, BlockId, SamplingParams, SeqId, TokenId};

use crate::{
    data::{self, Golden},
    support::has_gpu,
};

const BLOCKS_PER_SEQ: usize = 256 / BLOCK_SIZE;

/// How a batch is generated.
#[derive(Clone)]
struct Run {
    params: SamplingParams,
    want_logits: bool,
    steps_in_flight: usize,
    num_tokens: usize,
    num_pools: usize,
}

struct Sequence {
    prompt: Vec<TokenId>,
    answer: Vec<u32>,
    num_computed: usize,
    /// Tokens asked for, whether or not they are known.
    num_asked: usize,
    /// The row of the last of them in its step.
    row: usize,
    generator: Mt19937,
}

impl Sequence {
    /// Its part of step number `step`. Sequence `s` ends its prompt in that step, so that batches grow and rows move.
    fn step(&mut self, s: usize, step: usize, run: &Run) -> SeqStep {
        let len = self.prompt.len();
        let start = self.num_computed;
        let end = if start < len {
            if step >= s { len } else { ((step + 1) * len / (s + 1)).max(start + 1) }
        } else {
            start + 1
        };
        let tokens = match start.checked_sub(len) {
            None => StepTokens::Known(self.prompt[start..end].to_vec()),
            Some(i) if i < self.answer.len() => StepTokens::Known(vec![TokenId(self.answer[i])]),
            Some(_) => StepTokens::Chosen { row: self.row },
        };
        let sample = (end >= len).then(|| SampleSpec {
            params: Arc::new(run.params.clone()),
            uniform: self.generator.uniform(),
            recent_tokens: Vec::new(),
            want_logits: run.want_logits,
        });
        self.num_computed = end;
        self.num_asked += usize::from(sample.is_some());
        let wanted = sample.map_or(Wanted::Nothing, Wanted::Token);
        let blocks = s * BLOCKS_PER_SEQ..(s + 1) * BLOCKS_PER_SEQ;
        let table: Vec<_> = blocks.map(|block| BlockId(block as u32)).collect();
        let block_tables = Arc::new(vec![table; run.num_pools]);
        SeqStep { seq_id: SeqId(s as u64), tokens, num_computed_tokens: start, block_tables, wanted }
    }
}

fn launch(executor: &mut CudaExecutor, sequences: &mut [Sequence], step: usize, run: &Run) -> Option<Ticket> {
    let mut seqs = Vec::new();
    let mut num_rows = 0;
    for (s, seq) in sequences.iter_mut().enumerate() {
        if seq.num_asked < run.num_tokens {
            seqs.push(seq.step(s, step, run));
            if seqs.last().is_some_and(|part| part.wanted.sample().is_some()) {
                seq.row = num_rows;
                num_rows += 1;
            }
        }
    }
    let plan = StepPlan { seqs, finished: Vec::new() };
    (!plan.seqs.is_empty()).then(|| executor.launch(plan).expect("a valid plan"))
}

/// The answers to all prompts.
fn generate(golden: &Golden, run: &Run) -> Vec<Vec<u32>> {
    let options = CudaOptions {
        num_blocks: Some(golden.prompts.len() * BLOCKS_PER_SEQ),
        max_num_seqs: golden.prompts.len(),
        max_num_batched_tokens: 512,
        max_model_len: 256,
        ..CudaOptions::default()
    };
    let mut executor = CudaExecutor::new(&golden.gguf, options, &mut |_| {}).expect("a model that the GPU takes");
    assert_eq!(executor.max_steps_in_flight(), 2);
    let run = &Run { num_pools: executor.capacity().pools.len(), ..run.clone() };
    let sequence = |prompt: &data::Prompt| Sequence {
        prompt: prompt.ids.iter().copied().map(TokenId).collect(),
        answer: Vec::new(),
        num_computed: 0,
        num_asked: 0,
        row: 0,
        generator: Mt19937::new(prompt.ids[0]),
    };
    let mut sequences: Vec<_> = golden.prompts.iter().map(sequence).collect();
    let mut in_flight = VecDeque::new();
    for step in 0.. {
        while in_flight.len() >= run.steps_in_flight {
            collect(&mut executor, in_flight.pop_front().expect("it is not empty"), &mut sequences);
        }
        match launch(&mut executor, &mut sequences, step, run) {
            Some(ticket) => in_flight.push_back(ticket),
            None => break,
        }
    }
    in_flight.into_iter().for_each(|ticket| collect(&mut executor, ticket, &mut sequences));
    sequences.into_iter().map(|seq| seq.answer).collect()
}

fn collect(executor: &mut CudaExecutor, ticket: Ticket, sequences: &mut [Sequence]) {
    for output in executor.collect(ticket).expect("a step that works").seqs {
        sequences[output.seq_id.0 as usize].answer.push(output.tokens[0].token_id.0);
    }
}

#[test]
fn tokens_are_found_on_the_device() {
    if !has_gpu() {
        return;
    }
    for model in ["llama3_gqa", "qwen3", "gemma3"] {
        let file: &'static str = format!("{model}.f16").leak();
        let Some(golden) = data::open(file, model) else { continue };
        let run = Run {
            params: SamplingParams::greedy(),
            want_logits: false,
            steps_in_flight: 2,
            num_tokens: 32,
            num_pools: 1,
        };
        // With logits, every step is waited for when the next one is launched.
        for run in [run.clone(), Run { want_logits: true, ..run }] {
            let answers = generate(&golden, &run);
            let expected: Vec<_> = golden.prompts.iter().map(|prompt| prompt.greedy_ids[..32].to_vec()).collect();
            assert_eq!(answers, expected, "{model}, logits {}", run.want_logits);
        }
    }
}

#[test]
fn draws_are_the_same_with_one_step_in_flight() {
    if !has_gpu() {
        return;
    }
    let Some(golden) = data::open("quantized/qwen3.q4_k_m", "quantized/qwen3.q4_k_m") else { return };
    // Without top-k, the host chooses.
    for top_k in [40, 0] {
        let params = SamplingParams { top_k, ..SamplingParams::default() };
        let run = Run { params, want_logits: false, steps_in_flight: 2, num_tokens: 24, num_pools: 1 };
        let alone = generate(&golden, &Run { steps_in_flight: 1, ..run.clone() });
        assert_eq!(generate(&golden, &run), alone, "top_k {top_k}");
        assert!(alone.iter().all(|answer| answer.len() == 24), "all answers are whole");
    }
}
