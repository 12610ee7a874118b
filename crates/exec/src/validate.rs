//! The checks every executor makes before it trusts a plan.

use types::{BLOCK_SIZE, BlockId, KvPool, SeqId};

use crate::{Capacity, ExecError, ModelKind, SeqStep, StepPlan, StepTokens, Wanted};

impl StepPlan {
    /// Checks the plan against what the executor can hold and the step in flight, whose rows it may name. Linear in the
    /// size of both, cheap beside any step.
    ///
    /// # Errors
    /// [`ExecError::InvalidPlan`] that names the sequence, the value and the limit.
    pub fn validate(&self, capacity: &Capacity, in_flight: Option<&Self>) -> Result<(), ExecError> {
        if self.seqs.len() > capacity.max_num_seqs {
            return Err(invalid(format!("{} sequences, the limit is {}", self.seqs.len(), capacity.max_num_seqs)));
        }
        let num_tokens = self.num_tokens();
        if num_tokens > capacity.max_num_batched_tokens {
            return Err(invalid(format!("{num_tokens} tokens, the limit is {}", capacity.max_num_batched_tokens)));
        }
        let mut ids: Vec<_> = self.seqs.iter().map(|seq| seq.seq_id).collect();
        ids.sort_unstable();
        if let Some(pair) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(invalid(format!("sequence {} occurs twice", pair[0])));
        }
        let rows: Vec<_> = in_flight.into_iter().flat_map(Self::sampled).map(|(seq_id, _)| seq_id).collect();
        self.seqs.iter().try_for_each(|seq| seq.validate(capacity, &rows))
    }
}

impl SeqStep {
    fn validate(&self, capacity: &Capacity, rows: &[SeqId]) -> Result<(), ExecError> {
        let (id, num_after) = (self.seq_id, self.num_tokens_after());
        if self.tokens.len() == 0 {
            return Err(invalid(format!("sequence {id} has no tokens to compute")));
        }
        if num_after > capacity.max_model_len {
            let limit = capacity.max_model_len;
            return Err(invalid(format!("sequence {id} would have {num_after} tokens, the limit is {limit}")));
        }
        let (num_tables, num_pools) = (self.block_tables.len(), capacity.pools.len());
        if num_tables != num_pools {
            return Err(invalid(format!("sequence {id} has {num_tables} block tables, there are {num_pools} pools")));
        }
        self.validate_tokens(capacity.vocab_size, rows)?;
        self.validate_wanted(capacity)?;
        capacity.pools.iter().zip(&*self.block_tables).try_for_each(|(pool, table)| self.validate_table(pool, table))
    }

    fn validate_table(&self, pool: KvPool, table: &[BlockId]) -> Result<(), ExecError> {
        let (id, num_after, num_blocks) = (self.seq_id, self.num_tokens_after(), table.len());
        if num_blocks * BLOCK_SIZE < num_after {
            return Err(invalid(format!("sequence {id} has {num_blocks} blocks for {num_after} tokens")));
        }
        let (hidden, seen) = table.split_at(pool.first_block(self.num_computed_tokens));
        let unknown = |block: &&BlockId| block.index() >= pool.num_blocks;
        let wrong = seen.iter().find(unknown).or_else(|| hidden.iter().filter(|b| **b != BlockId::NULL).find(unknown));
        match wrong {
            Some(block) => Err(invalid(format!("sequence {id} names block {block}, the pool has {}", pool.num_blocks))),
            None => Ok(()),
        }
    }

    fn validate_wanted(&self, capacity: &Capacity) -> Result<(), ExecError> {
        let (id, num_computed) = (self.seq_id, self.num_computed_tokens);
        let is_encoder = capacity.kind == ModelKind::Encoder;
        match self.wanted {
            Wanted::Token(_) if is_encoder => {
                Err(invalid(format!("sequence {id} wants a token, an encoder chooses none")))
            }
            Wanted::Hidden(_) if capacity.hidden_size == 0 => {
                Err(invalid(format!("sequence {id} wants hidden states, this executor gives none")))
            }
            _ if is_encoder && num_computed > 0 => {
                let expected = "an encoder has all tokens of a sequence in one step";
                Err(invalid(format!("sequence {id} has {num_computed} tokens computed before, {expected}")))
            }
            _ => Ok(()),
        }
    }

    fn validate_tokens(&self, vocab_size: usize, rows: &[SeqId]) -> Result<(), ExecError> {
        let id = self.seq_id;
        match &self.tokens {
            StepTokens::Known(token_ids) => match token_ids.iter().find(|token| token.index() >= vocab_size) {
                Some(token) => Err(invalid(format!("sequence {id} has token {token}, the vocabulary {vocab_size}"))),
                None => Ok(()),
            },
            StepTokens::Chosen { row } => match rows.get(*row) {
                Some(owner) if *owner == id => Ok(()),
                Some(owner) => Err(invalid(format!("sequence {id} awaits row {row}, which is sequence {owner}'s"))),
                None => Err(invalid(format!("sequence {id} awaits row {row}, {} are in flight", rows.len()))),
            },
        }
    }
}

fn invalid(message: String) -> ExecError {
    ExecError::InvalidPlan(message)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use types::{BlockId, KvPools, SamplingParams, SeqId, TokenId};

    use super::*;
    use crate::{HiddenRows, SampleSpec};

    const CAPACITY: Capacity = Capacity {
        pools: KvPools::full(4),
        max_num_seqs: 2,
        max_num_batched_tokens: 20,
        max_model_len: 32,
        vocab_size: 100,
        hidden_size: 8,
        kind: ModelKind::Decoder,
    };

    fn seq(id: u64, num_tokens: usize, blocks: &[u32]) -> SeqStep {
        SeqStep {
            seq_id: SeqId(id),
            tokens: StepTokens::Known(vec![TokenId(7); num_tokens]),
            num_computed_tokens: 0,
            block_tables: Arc::new(vec![blocks.iter().copied().map(BlockId).collect()]),
            wanted: Wanted::Nothing,
        }
    }

    fn token() -> Wanted {
        let params = Arc::new(SamplingParams::greedy());
        Wanted::Token(SampleSpec { params, uniform: 0.5, recent_tokens: Vec::new(), want_logits: false })
    }

    fn check(seqs: Vec<SeqStep>, expect: &str) {
        check_for(CAPACITY, seqs, expect);
    }

    fn check_for(capacity: Capacity, seqs: Vec<SeqStep>, expect: &str) {
        let result = StepPlan { seqs, finished: Vec::new() }.validate(&capacity, None);
        let message = result.map_or_else(|error| error.to_string(), |()| "ok".to_owned());
        assert!(message.contains(expect), "{message:?} does not hold {expect:?}");
    }

    #[test]
    fn each_limit_is_checked() {
        check(vec![seq(1, 16, &[0]), seq(2, 4, &[3])], "ok");
        check(vec![seq(1, 1, &[0]), seq(2, 1, &[1]), seq(3, 1, &[2])], "3 sequences, the limit is 2");
        check(vec![seq(1, 16, &[0]), seq(2, 5, &[1])], "21 tokens, the limit is 20");
        check(vec![seq(1, 1, &[0]), seq(1, 1, &[1])], "sequence 1 occurs twice");
        check(vec![seq(1, 0, &[0])], "no tokens");
        check(vec![seq(1, 17, &[0])], "1 blocks for 17 tokens");
        check(vec![seq(1, 1, &[4])], "names block 4, the pool has 4");
    }

    #[test]
    fn positions_and_tokens_are_checked() {
        let long = SeqStep { num_computed_tokens: 32, ..seq(1, 1, &[0, 1, 2]) };
        check(vec![long], "would have 33 tokens, the limit is 32");
        let foreign = SeqStep { tokens: StepTokens::Known(vec![TokenId(100)]), ..seq(1, 1, &[0]) };
        check(vec![foreign], "has token 100, the vocabulary 100");
    }

    #[test]
    fn what_is_wanted_is_checked() {
        let step = |wanted| vec![SeqStep { wanted, ..seq(1, 2, &[0]) }];
        let encoder = Capacity { kind: ModelKind::Encoder, ..CAPACITY };
        check_for(encoder, step(Wanted::Hidden(HiddenRows::Sum)), "ok");
        check_for(encoder, step(token()), "sequence 1 wants a token, an encoder chooses none");
        let rest = SeqStep { num_computed_tokens: 3, ..seq(1, 2, &[0]) };
        check_for(encoder, vec![rest.clone()], "sequence 1 has 3 tokens computed before, an encoder has all tokens");
        check(vec![rest], "ok");
        let none = Capacity { hidden_size: 0, ..CAPACITY };
        check_for(none, step(Wanted::Hidden(HiddenRows::All)), "sequence 1 wants hidden states, this executor gives");
        check_for(none, step(token()), "ok");
    }

    #[test]
    fn blocks_out_of_sight_may_be_missing() {
        let pools = KvPools::new(KvPool::full(4), Some(KvPool { num_blocks: 2, window: Some(4) }));
        let check = |tables: [&[u32]; 2], expect: &str| {
            let tables = tables.map(|table| table.iter().copied().map(BlockId).collect());
            let seq = SeqStep { num_computed_tokens: 19, block_tables: Arc::new(tables.to_vec()), ..seq(1, 1, &[]) };
            let result =
                StepPlan { seqs: vec![seq], finished: Vec::new() }.validate(&Capacity { pools, ..CAPACITY }, None);
            assert_eq!(result.map_or_else(|error| error.to_string(), |()| "ok".to_owned()), expect);
        };
        let null = BlockId::NULL.0;
        check([&[3, 2], &[null, 1]], "ok");
        check([&[null, 2], &[null, 1]], "invalid step plan: sequence 1 names block 4294967295, the pool has 4");
        check([&[3, 2], &[null, 2]], "invalid step plan: sequence 1 names block 2, the pool has 2");
        check([&[3, 2], &[2, 1]], "invalid step plan: sequence 1 names block 2, the pool has 2");
    }

    #[test]
    fn rows_that_are_awaited_are_checked() {
        let hidden = SeqStep { wanted: Wanted::Hidden(HiddenRows::Last), ..seq(1, 1, &[0]) };
        let in_flight =
            StepPlan { seqs: vec![hidden, SeqStep { wanted: token(), ..seq(2, 1, &[1]) }], finished: Vec::new() };
        let check = |id, row, expect: &str| {
            let seq = SeqStep { tokens: StepTokens::Chosen { row }, num_computed_tokens: 1, ..seq(id, 1, &[1]) };
            let result = StepPlan { seqs: vec![seq], finished: Vec::new() }.validate(&CAPACITY, Some(&in_flight));
            assert_eq!(result.map_or_else(|error| error.to_string(), |()| "ok".to_owned()), expect);
        };
        check(2, 0, "ok");
        check(1, 0, "invalid step plan: sequence 1 awaits row 0, which is sequence 2's");
        check(2, 1, "invalid step plan: sequence 2 awaits row 1, 1 are in flight");
    }
}
