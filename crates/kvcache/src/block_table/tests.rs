//! Tests of tables, the pool and the prefix cache together.

use proptest::{prelude::*, test_runner::RngSeed};
use types::{BLOCK_SIZE, TokenId};

use crate::{BlockTable, KvCache, OutOfBlocks, Sharing};

fn tokens(range: std::ops::Range<u32>) -> Vec<TokenId> {
    range.map(TokenId).collect()
}

/// A table that holds `tokens`, all computed.
fn filled(cache: &KvCache, tokens: &[TokenId], sharing: Sharing) -> BlockTable {
    let mut table = cache.table(sharing);
    table.take_prefix(tokens);
    table.grow(tokens.len()).unwrap();
    table.publish(tokens, tokens.len());
    table
}

#[test]
fn a_table_grows_by_blocks_and_gives_them_back() {
    let cache = KvCache::new(3);
    let mut table = cache.table(Sharing::Private);
    for (num_tokens, num_blocks) in [(1, 1), (BLOCK_SIZE, 1), (BLOCK_SIZE + 1, 2), (1, 2)] {
        table.grow(num_tokens).unwrap();
        assert_eq!(table.blocks().len(), num_blocks, "blocks for {num_tokens} tokens");
    }
    assert_eq!(table.grow(4 * BLOCK_SIZE), Err(OutOfBlocks { needed: 2, available: 1 }));
    assert_eq!(cache.usage().num_used(), 2);
    cache.check_integrity([&table]);
    drop(table);
    assert_eq!(cache.usage().num_free, 3);
    cache.check_integrity([]);
}

#[test]
fn a_growing_table_leaves_the_list_that_a_step_holds() {
    let cache = KvCache::new(2);
    let mut table = cache.table(Sharing::Private);
    table.grow(1).unwrap();
    let step = std::sync::Arc::clone(table.blocks());
    table.grow(BLOCK_SIZE + 1).unwrap();
    assert_eq!((step.len(), table.blocks().len()), (1, 2));
}

#[test]
fn running_tables_share_full_blocks_of_a_common_prefix() {
    let cache = KvCache::new(8);
    let prompt = tokens(0..40);
    let first = filled(&cache, &prompt, Sharing::Shared);
    let mut second = cache.table(Sharing::Shared);
    assert_eq!(second.take_prefix(&prompt), 2 * BLOCK_SIZE);
    assert_eq!(second.blocks()[..], first.blocks()[..2]);
    second.grow(40).unwrap();
    assert_ne!(second.blocks()[2], first.blocks()[2], "a partial block is never shared");
    cache.check_integrity([&first, &second]);
    assert_eq!(cache.usage().num_used(), 4);
}

#[test]
fn the_last_token_of_a_known_prompt_is_left_to_compute() {
    let cache = KvCache::new(8);
    let prompt = tokens(0..32);
    drop(filled(&cache, &prompt, Sharing::Shared));
    assert_eq!(cache.table(Sharing::Shared).take_prefix(&prompt), BLOCK_SIZE);
    assert_eq!(cache.table(Sharing::Shared).take_prefix(&tokens(0..33)), 2 * BLOCK_SIZE);
    assert_eq!(cache.table(Sharing::Shared).take_prefix(&prompt[..1]), 0);
    assert_eq!(cache.table(Sharing::Shared).take_prefix(&[]), 0);
}

#[test]
fn equal_blocks_after_different_prefixes_differ() {
    let cache = KvCache::new(8);
    let (a, b) = ([tokens(0..16), tokens(50..66)].concat(), [tokens(16..32), tokens(50..66)].concat());
    let _a = filled(&cache, &a, Sharing::Shared);
    let _b = filled(&cache, &b, Sharing::Shared);
    let mut c = cache.table(Sharing::Shared);
    assert_eq!(c.take_prefix(&[b.clone(), tokens(0..1)].concat()), 32);
    assert_eq!(c.blocks()[..], _b.blocks()[..]);
    assert_eq!(cache.table(Sharing::Shared).take_prefix(&[tokens(50..66), tokens(0..1)].concat()), 0);
}

#[test]
fn a_private_table_neither_takes_nor_leaves() {
    let cache = KvCache::new(8);
    let prompt = tokens(0..33);
    drop(filled(&cache, &prompt, Sharing::Private));
    assert_eq!(cache.usage().num_cached, 0);
    drop(filled(&cache, &prompt, Sharing::Shared));
    assert_eq!(cache.usage().num_cached, 2);
    assert_eq!(cache.table(Sharing::Private).take_prefix(&prompt), 0);
}

#[test]
fn only_computed_blocks_are_known() {
    let cache = KvCache::new(8);
    let sequence = tokens(0..49);
    let mut table = cache.table(Sharing::Shared);
    table.grow(49).unwrap();
    table.publish(&sequence, 31);
    assert_eq!(cache.table(Sharing::Shared).take_prefix(&sequence), 16);
    table.publish(&sequence, 48);
    assert_eq!(cache.table(Sharing::Shared).take_prefix(&sequence), 48);
    assert!(!cache.is_writable(table.blocks()[2]));
    assert!(cache.is_writable(table.blocks()[3]));
}

#[test]
fn cached_blocks_are_evicted_last_and_from_the_least_recent_end() {
    let cache = KvCache::new(6);
    let (old, recent) = (tokens(0..33), tokens(100..133));
    drop(filled(&cache, &old, Sharing::Shared));
    drop(filled(&cache, &recent, Sharing::Shared));
    assert_eq!((cache.usage().num_free, cache.usage().num_cached), (2, 4));
    let mut table = cache.table(Sharing::Private);
    table.grow(2 * BLOCK_SIZE).unwrap();
    assert_eq!(cache.usage().num_cached, 4, "free blocks go first");
    table.grow(3 * BLOCK_SIZE).unwrap();
    assert_eq!(cache.table(Sharing::Shared).take_prefix(&old), BLOCK_SIZE, "the older one's last block went");
    assert_eq!(cache.table(Sharing::Shared).take_prefix(&recent), 2 * BLOCK_SIZE);
    cache.check_integrity([&table]);
}

#[test]
fn used_blocks_are_not_evicted() {
    let cache = KvCache::new(3);
    let prompt = tokens(0..33);
    let held = filled(&cache, &prompt, Sharing::Shared);
    assert!(cache.table(Sharing::Private).grow(1).is_err());
    assert_eq!(held.blocks().len(), 3);
}

#[test]
fn a_second_computation_of_a_known_block_continues_its_chain() {
    let cache = KvCache::new(8);
    let prompt = tokens(0..48);
    // Both start before either is known.
    let (mut a, mut b) = (cache.table(Sharing::Shared), cache.table(Sharing::Shared));
    a.grow(48).unwrap();
    b.grow(48).unwrap();
    a.publish(&prompt, 32);
    b.publish(&prompt, 48);
    drop(b);
    assert_eq!(cache.table(Sharing::Shared).take_prefix(&tokens(0..49)), 48, "a's first two blocks, b's third");
    cache.check_integrity([&a]);
}

#[test]
fn forgetting_empties_the_cache() {
    let cache = KvCache::new(4);
    let prompt = tokens(0..33);
    drop(filled(&cache, &prompt, Sharing::Shared));
    cache.forget_cached();
    assert_eq!(cache.usage().num_free, 4);
    assert_eq!(cache.table(Sharing::Shared).take_prefix(&prompt), 0);
    cache.check_integrity([]);
}

/// What a random test does next.
#[derive(Clone, Debug)]
enum Action {
    /// Starts a sequence: its tokens are drawn from few values, so that prefixes repeat.
    Start {
        prefix: u32,
        num_tokens: usize,
        sharing: Sharing,
    },
    /// Grows a sequence by tokens and publishes what is full.
    Extend {
        which: usize,
        num_tokens: usize,
    },
    /// Ends a sequence.
    End {
        which: usize,
    },
    Forget,
}

fn action() -> impl Strategy<Value = Action> {
    let sharing = prop_oneof![4 => Just(Sharing::Shared), 1 => Just(Sharing::Private)];
    prop_oneof![
        4 => (0..3_u32, 1..70_usize, sharing)
            .prop_map(|(prefix, num_tokens, sharing)| Action::Start { prefix, num_tokens, sharing }),
        6 => (any::<usize>(), 1..20_usize).prop_map(|(which, num_tokens)| Action::Extend { which, num_tokens }),
        3 => any::<usize>().prop_map(|which| Action::End { which }),
        1 => Just(Action::Forget),
    ]
}

/// A sequence beside the contents that its blocks must still have.
struct Held {
    table: BlockTable,
    tokens: Vec<TokenId>,
}

/// Writes a sequence's tokens from `start` on into the blocks, as an executor would.
fn write(memory: &mut [Vec<TokenId>], cache: &KvCache, held: &Held, start: usize) {
    for position in start..held.tokens.len() {
        let block = held.table.blocks()[position / BLOCK_SIZE];
        assert!(cache.is_writable(block), "block {block} is written while it is shared");
        let slots = &mut memory[block.index()];
        slots.truncate(position % BLOCK_SIZE);
        slots.push(held.tokens[position]);
    }
}

fn apply(action: Action, cache: &KvCache, all: &mut Vec<Held>, memory: &mut [Vec<TokenId>]) {
    match action {
        Action::Start { prefix, num_tokens, sharing } => {
            let tokens: Vec<_> = (0..num_tokens as u32).map(|i| TokenId(prefix * (i / 24))).collect();
            let mut held = Held { table: cache.table(sharing), tokens };
            let num_taken = held.table.take_prefix(&held.tokens);
            if held.table.grow(num_tokens).is_ok() {
                write(memory, cache, &held, num_taken);
                held.table.publish(&held.tokens, num_tokens);
                all.push(held);
            }
        }
        Action::Extend { which, num_tokens } if !all.is_empty() => {
            let index = which % all.len();
            let held = &mut all[index];
            let start = held.tokens.len();
            if held.table.grow(start + num_tokens).is_ok() {
                held.tokens.extend((0..num_tokens).map(|i| TokenId(i as u32 % 2)));
                write(memory, cache, held, start);
                held.table.publish(&held.tokens, held.tokens.len());
            }
        }
        Action::End { which } if !all.is_empty() => {
            let index = which % all.len();
            all.swap_remove(index);
        }
        Action::Forget => cache.forget_cached(),
        Action::Extend { .. } | Action::End { .. } => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_table_reads_its_own_tokens_and_every_block_is_accounted_for(
        num_blocks in 1..24_usize,
        actions in prop::collection::vec(action(), 1..60),
    ) {
        let cache = KvCache::new(num_blocks);
        let mut memory = vec![Vec::new(); num_blocks];
        let mut all: Vec<Held> = Vec::new();
        for action in actions {
            apply(action, &cache, &mut all, &mut memory);
            cache.check_integrity(all.iter().map(|held| &held.table));
            let usage = cache.usage();
            prop_assert_eq!(usage.num_free + usage.num_cached + usage.num_used(), num_blocks);
            for held in &all {
                let read: Vec<_> = (0..held.tokens.len())
                    .map(|position| memory[held.table.blocks()[position / BLOCK_SIZE].index()][position % BLOCK_SIZE])
                    .collect();
                prop_assert_eq!(&read, &held.tokens);
            }
        }
        all.clear();
        cache.check_integrity([]);
    }
}
