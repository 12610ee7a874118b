//! Tests of tables, the pool and the prefix cache together.

use proptest::{prelude::*, test_runner::RngSeed};
use types::{BLOCK_SIZE, BlockId, KvPool, KvPools, TokenId};

use crate::{BlockTable, KvCache, OutOfBlocks, Sharing, Usage};

fn tokens(range: std::ops::Range<u32>) -> Vec<TokenId> {
    range.map(TokenId).collect()
}

fn one_pool(num_blocks: usize) -> KvCache {
    KvCache::new(KvPools::full(num_blocks))
}

/// Of the first pool.
fn usage(cache: &KvCache) -> Usage {
    cache.usage()[0]
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
    let cache = one_pool(3);
    let mut table = cache.table(Sharing::Private);
    for (num_tokens, num_blocks) in [(1, 1), (BLOCK_SIZE, 1), (BLOCK_SIZE + 1, 2), (1, 2)] {
        table.grow(num_tokens).unwrap();
        assert_eq!(table.blocks()[0].len(), num_blocks, "blocks for {num_tokens} tokens");
    }
    assert_eq!(table.grow(4 * BLOCK_SIZE), Err(OutOfBlocks { needed: 2, available: 1 }));
    assert_eq!(usage(&cache).num_used(), 2);
    cache.check_integrity([&table]);
    drop(table);
    assert_eq!(usage(&cache).num_free, 3);
    cache.check_integrity([]);
}

#[test]
fn a_growing_table_leaves_the_list_that_a_step_holds() {
    let cache = one_pool(2);
    let mut table = cache.table(Sharing::Private);
    table.grow(1).unwrap();
    let step = std::sync::Arc::clone(table.blocks());
    table.grow(BLOCK_SIZE + 1).unwrap();
    assert_eq!((step[0].len(), table.blocks()[0].len()), (1, 2));
}

#[test]
fn running_tables_share_full_blocks_of_a_common_prefix() {
    let cache = one_pool(8);
    let prompt = tokens(0..40);
    let first = filled(&cache, &prompt, Sharing::Shared);
    let mut second = cache.table(Sharing::Shared);
    assert_eq!(second.take_prefix(&prompt), 2 * BLOCK_SIZE);
    assert_eq!(second.blocks()[0][..], first.blocks()[0][..2]);
    second.grow(40).unwrap();
    assert_ne!(second.blocks()[0][2], first.blocks()[0][2], "a partial block is never shared");
    cache.check_integrity([&first, &second]);
    assert_eq!(usage(&cache).num_used(), 4);
}

#[test]
fn the_last_token_of_a_known_prompt_is_left_to_compute() {
    let cache = one_pool(8);
    let prompt = tokens(0..32);
    drop(filled(&cache, &prompt, Sharing::Shared));
    assert_eq!(cache.table(Sharing::Shared).take_prefix(&prompt), BLOCK_SIZE);
    assert_eq!(cache.table(Sharing::Shared).take_prefix(&tokens(0..33)), 2 * BLOCK_SIZE);
    assert_eq!(cache.table(Sharing::Shared).take_prefix(&prompt[..1]), 0);
    assert_eq!(cache.table(Sharing::Shared).take_prefix(&[]), 0);
}

#[test]
fn equal_blocks_after_different_prefixes_differ() {
    let cache = one_pool(8);
    let (a, b) = ([tokens(0..16), tokens(50..66)].concat(), [tokens(16..32), tokens(50..66)].concat());
    let _a = filled(&cache, &a, Sharing::Shared);
    let _b = filled(&cache, &b, Sharing::Shared);
    let mut c = cache.table(Sharing::Shared);
    assert_eq!(c.take_prefix(&[b.clone(), tokens(0..1)].concat()), 32);
    assert_eq!(c.blocks()[0][..], _b.blocks()[0][..]);
    assert_eq!(cache.table(Sharing::Shared).take_prefix(&[tokens(50..66), tokens(0..1)].concat()), 0);
}

#[test]
fn a_private_table_neither_takes_nor_leaves() {
    let cache = one_pool(8);
    let prompt = tokens(0..33);
    drop(filled(&cache, &prompt, Sharing::Private));
    assert_eq!(usage(&cache).num_cached, 0);
    drop(filled(&cache, &prompt, Sharing::Shared));
    assert_eq!(usage(&cache).num_cached, 2);
    assert_eq!(cache.table(Sharing::Private).take_prefix(&prompt), 0);
}

#[test]
fn only_computed_blocks_are_known() {
    let cache = one_pool(8);
    let sequence = tokens(0..49);
    let mut table = cache.table(Sharing::Shared);
    table.grow(49).unwrap();
    table.publish(&sequence, 31);
    assert_eq!(cache.table(Sharing::Shared).take_prefix(&sequence), 16);
    table.publish(&sequence, 48);
    assert_eq!(cache.table(Sharing::Shared).take_prefix(&sequence), 48);
    assert!(!cache.is_writable(0, table.blocks()[0][2]));
    assert!(cache.is_writable(0, table.blocks()[0][3]));
}

#[test]
fn cached_blocks_are_evicted_last_and_from_the_least_recent_end() {
    let cache = one_pool(6);
    let (old, recent) = (tokens(0..33), tokens(100..133));
    drop(filled(&cache, &old, Sharing::Shared));
    drop(filled(&cache, &recent, Sharing::Shared));
    assert_eq!((usage(&cache).num_free, usage(&cache).num_cached), (2, 4));
    let mut table = cache.table(Sharing::Private);
    table.grow(2 * BLOCK_SIZE).unwrap();
    assert_eq!(usage(&cache).num_cached, 4, "free blocks go first");
    table.grow(3 * BLOCK_SIZE).unwrap();
    assert_eq!(cache.table(Sharing::Shared).take_prefix(&old), BLOCK_SIZE, "the older one's last block went");
    assert_eq!(cache.table(Sharing::Shared).take_prefix(&recent), 2 * BLOCK_SIZE);
    cache.check_integrity([&table]);
}

#[test]
fn used_blocks_are_not_evicted() {
    let cache = one_pool(3);
    let prompt = tokens(0..33);
    let held = filled(&cache, &prompt, Sharing::Shared);
    assert!(cache.table(Sharing::Private).grow(1).is_err());
    assert_eq!(held.blocks()[0].len(), 3);
}

#[test]
fn a_second_computation_of_a_known_block_continues_its_chain() {
    let cache = one_pool(8);
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
    let cache = one_pool(4);
    let prompt = tokens(0..33);
    drop(filled(&cache, &prompt, Sharing::Shared));
    cache.forget_cached();
    assert_eq!(usage(&cache).num_free, 4);
    assert_eq!(cache.table(Sharing::Shared).take_prefix(&prompt), 0);
    cache.check_integrity([]);
}

/// A pool for all tokens and one for a window.
fn two_pools(num_blocks: [usize; 2], window: usize) -> KvCache {
    let sliding = KvPool { num_blocks: num_blocks[1], window: Some(window) };
    KvCache::new(KvPools::new(KvPool::full(num_blocks[0]), Some(sliding)))
}

/// Computes a sequence in chunks, giving back what falls out of sight.
fn slid(cache: &KvCache, tokens: &[TokenId], chunk: usize) -> BlockTable {
    let mut table = cache.table(Sharing::Shared);
    let mut num_computed = table.take_prefix(tokens);
    while num_computed < tokens.len() {
        table.slide(num_computed);
        num_computed = tokens.len().min(num_computed + chunk);
        table.grow(num_computed).unwrap();
        table.publish(tokens, num_computed);
    }
    table
}

#[test]
fn what_falls_out_of_the_window_is_given_back() {
    let cache = two_pools([20, 4], 40);
    let table = slid(&cache, &tokens(0..300), 16);
    cache.check_integrity([&table]);
    assert_eq!((table.blocks()[0].len(), table.blocks()[1].len()), (19, 19));
    let held = |pool_idx: usize| table.blocks()[pool_idx].iter().filter(|block| **block != BlockId::NULL).count();
    assert_eq!((held(0), held(1)), (19, 4));
    assert_eq!(table.blocks()[1][..15], [BlockId::NULL; 15]);
    assert_eq!(table.num_missing(316, 1), [1, 0], "the window's pool never needs more");
    drop(table);
    cache.check_integrity([]);
}

#[test]
fn a_prefix_needs_the_last_window_alone() {
    let cache = two_pools([40, 8], 40);
    let prompt = tokens(0..161);
    drop(slid(&cache, &prompt, 16));
    let mut again = cache.table(Sharing::Shared);
    assert_eq!(again.take_prefix(&prompt), 160);
    assert_eq!(again.blocks()[1][..7], [BlockId::NULL; 7]);
    assert_eq!(again.blocks()[1][7..].iter().filter(|block| **block != BlockId::NULL).count(), 3);
    // The window's blocks go to others: all of the first pool's is of no use then.
    let taker = slid(&cache, &tokens(1000..1090), 16);
    assert_eq!(cache.table(Sharing::Shared).take_prefix(&prompt), 160, "who holds them keeps them known");
    cache.check_integrity([&again, &taker]);
    drop((again, taker));
    drop(slid(&cache, &tokens(2000..2127), 128));
    assert_eq!(cache.table(Sharing::Shared).take_prefix(&prompt), 0);
    cache.check_integrity([]);
}

#[test]
fn a_shorter_prefix_is_found_where_its_window_is_left() {
    let cache = two_pools([40, 20], 20);
    let prompt = tokens(0..161);
    drop(slid(&cache, &prompt, 16));
    // Branches off after four blocks, all of whose blocks the large pool still has.
    let branch = [tokens(0..70), tokens(500..540)].concat();
    let mut table = cache.table(Sharing::Shared);
    assert_eq!(table.take_prefix(&branch), 64);
    assert_eq!(table.blocks()[1][..2], [BlockId::NULL; 2]);
}

#[test]
fn with_windows_alone_the_chain_outlives_its_beginning() {
    let window = KvPool { num_blocks: 5, window: Some(40) };
    let cache = KvCache::new(KvPools::new(window, None));
    let prompt = tokens(0..161);
    drop(slid(&cache, &prompt, 16));
    assert_eq!(cache.table(Sharing::Shared).take_prefix(&prompt), 160);
    assert_eq!(cache.table(Sharing::Shared).take_prefix(&prompt[..33]), 0, "the beginning's blocks went to the end");
    cache.forget_cached();
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

/// Writes go to every pool.
type Memory = Vec<Vec<Vec<TokenId>>>;

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
fn write(memory: &mut Memory, cache: &KvCache, held: &Held, start: usize) {
    for (pool_idx, (memory, blocks)) in memory.iter_mut().zip(&**held.table.blocks()).enumerate() {
        for position in start..held.tokens.len() {
            let block = blocks[position / BLOCK_SIZE];
            assert!(cache.is_writable(pool_idx, block), "block {block} is written while it is shared");
            let slots = &mut memory[block.index()];
            slots.truncate(position % BLOCK_SIZE);
            slots.push(held.tokens[position]);
        }
    }
}

fn apply(action: Action, cache: &KvCache, all: &mut Vec<Held>, memory: &mut Memory) {
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
            held.table.slide(start);
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
        pools in pools(),
        actions in prop::collection::vec(action(), 1..60),
    ) {
        let cache = KvCache::new(pools);
        let mut memory: Memory = pools.iter().map(|pool| vec![Vec::new(); pool.num_blocks]).collect();
        let mut all: Vec<Held> = Vec::new();
        for action in actions {
            apply(action, &cache, &mut all, &mut memory);
            cache.check_integrity(all.iter().map(|held| &held.table));
            for (pool, usage) in pools.iter().zip(cache.usage()) {
                prop_assert_eq!(usage.num_free + usage.num_cached + usage.num_used(), pool.num_blocks);
            }
            for held in &all {
                check_sight(&memory, pools, held);
            }
        }
        all.clear();
        cache.check_integrity([]);
    }
}

/// Every pool has what the sequence's next token sees.
fn check_sight(memory: &Memory, pools: KvPools, held: &Held) {
    for ((pool, memory), blocks) in pools.iter().zip(memory).zip(&**held.table.blocks()) {
        for position in pool.first_visible(held.tokens.len())..held.tokens.len() {
            let block = blocks[position / BLOCK_SIZE];
            assert_eq!(memory[block.index()][position % BLOCK_SIZE], held.tokens[position], "position {position}");
        }
    }
}

fn pools() -> impl Strategy<Value = KvPools> {
    let pool = (1..24_usize, prop_oneof![Just(None), (1..60_usize).prop_map(Some)])
        .prop_map(|(num_blocks, window)| KvPool { num_blocks, window });
    (pool.clone(), prop::option::of(pool)).prop_map(|(first, second)| KvPools::new(first, second))
}
