//! How much context there is, and how requests share it.

use types::BLOCK_SIZE;

/// Blocks that a sequence may occupy beyond its tokens: the last one is rarely full.
const SPARE_BLOCKS: usize = 1;

/// What the caller wants an executor to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Sequences in one step at most.
    pub(crate) num_seqs: usize,
    /// Tokens in one step at most.
    pub(crate) num_batched_tokens: usize,
    /// Tokens of all sequences together; `None` takes what is useful and fits.
    pub(crate) num_tokens: Option<usize>,
    /// Tokens of one sequence; `None` takes what the model was trained for.
    pub(crate) seq_tokens: Option<usize>,
}

/// The sizes of a KV pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pool {
    pub(crate) num_blocks: usize,
    pub(crate) max_model_len: usize,
}

impl Wanted {
    /// The same, with no sequence longer than the model has positions for; says so where one was asked for.
    pub(crate) fn within(self, max_positions: Option<usize>) -> Self {
        match (max_positions, self.seq_tokens) {
            (Some(most), Some(asked)) if asked > most => {
                tracing::warn!(
                    asked,
                    most,
                    "the model has learned a vector for each of {most} positions and cannot compute longer requests; \
                     a request has {most} tokens at most, not {asked}"
                );
                Self { seq_tokens: Some(most), ..self }
            }
            _ => self,
        }
    }

    /// The pool for a model that was trained for `train_tokens`, in a memory that holds `fit_blocks`.
    ///
    /// # Errors
    /// When memory does not suffice for what was asked for, or for a useful context at all.
    pub(crate) fn pool(&self, train_tokens: usize, fit_blocks: usize) -> anyhow::Result<Pool> {
        let seq_tokens = self.seq_tokens.unwrap_or(train_tokens).min(self.num_tokens.unwrap_or(usize::MAX));
        let blocks = |tokens: usize| tokens.div_ceil(BLOCK_SIZE);
        let num_blocks = match self.num_tokens {
            Some(tokens) => blocks(tokens),
            None => ((blocks(seq_tokens) + SPARE_BLOCKS) * self.num_seqs).min(fit_blocks),
        };
        anyhow::ensure!(
            num_blocks > 0,
            "there is no memory left for keys and values; choose a smaller model or a lower --fit-target"
        );
        Ok(Pool { num_blocks, max_model_len: seq_tokens.min(num_blocks * BLOCK_SIZE) })
    }
}

#[cfg(test)]
mod tests {
    use super::{Pool, Wanted};

    const WANTED: Wanted = Wanted { num_seqs: 4, num_batched_tokens: 512, num_tokens: None, seq_tokens: None };

    #[test]
    fn the_memory_bounds_what_was_not_asked_for() {
        let roomy = WANTED.pool(2048, 10_000).unwrap();
        assert_eq!(roomy, Pool { num_blocks: 4 * 129, max_model_len: 2048 });
        let tight = WANTED.pool(131_072, 100).unwrap();
        assert_eq!(tight, Pool { num_blocks: 100, max_model_len: 1600 });
        assert!(WANTED.pool(2048, 0).is_err());
    }

    #[test]
    fn a_sequence_is_no_longer_than_the_positions() {
        let wanted = Wanted { num_tokens: Some(4096), seq_tokens: Some(1024), ..WANTED };
        assert_eq!(wanted.within(Some(128)), Wanted { seq_tokens: Some(128), ..wanted });
        for most in [None, Some(1024), Some(2048)] {
            assert_eq!(wanted.within(most), wanted);
        }
        assert_eq!(WANTED.within(Some(128)), WANTED);
    }

    #[test]
    fn what_was_asked_for_is_given() {
        let wanted = Wanted { num_tokens: Some(1000), ..WANTED };
        assert_eq!(wanted.pool(2048, 10).unwrap(), Pool { num_blocks: 63, max_model_len: 1000 });
        let wanted = Wanted { num_tokens: Some(1024), seq_tokens: Some(256), ..WANTED };
        assert_eq!(wanted.pool(2048, 10).unwrap(), Pool { num_blocks: 64, max_model_len: 256 });
    }
}
