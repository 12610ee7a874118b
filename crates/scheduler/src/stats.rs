//! What the scheduler counts.

/// Counters since the start, and gauges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchedulerStats {
    /// Sequences in the running batch.
    pub num_running: usize,
    /// Sequences that wait for their first step or were preempted.
    pub num_waiting: usize,
    /// Blocks of the pool, the fullest one where there are two.
    pub num_blocks: usize,
    /// Blocks that sequences hold.
    pub num_used_blocks: usize,
    /// Blocks that only the prefix cache holds.
    pub num_cached_blocks: usize,
    /// Prompt tokens looked up in the prefix cache.
    pub prefix_queries: u64,
    /// Prompt tokens found there.
    pub prefix_hits: u64,
    /// Preemptions.
    pub num_preemptions: u64,
    /// Prompt tokens computed; those computed again after a preemption count once.
    pub prompt_tokens: u64,
    /// Tokens generated.
    pub generated_tokens: u64,
    /// Steps.
    pub num_steps: u64,
    /// Sum over steps of their sequences.
    pub busy_seqs: u64,
    /// The longest sequence seen, in tokens.
    pub max_seq_tokens: usize,
}
