//! The index of known contents: which blocks hold them, in each pool.
//!
//! Contents form a tree, each after the one that stands before it. One is known as long as a block of any pool holds it,
//! or one after it is known: with a window, the beginning of a sequence is given up before its end.

use std::collections::HashMap;

use types::{BLOCK_SIZE, BlockId, MAX_KV_POOLS, TokenId};

/// A content that the prefix cache knows or knew: a block's tokens after a certain parent. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ContentId(u64);

impl ContentId {
    /// What stands before a sequence's first block.
    pub(crate) const START: Self = Self(0);
}

/// What a block holds, given all that stands before it. Keys are compared, not only their hashes, so that two
/// contents are never taken for one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ContentKey {
    pub(crate) parent: ContentId,
    pub(crate) tokens: [TokenId; BLOCK_SIZE],
}

/// All of them.
#[derive(Default)]
pub(crate) struct Contents {
    ids: HashMap<ContentKey, ContentId>,
    nodes: HashMap<ContentId, Node>,
    num_ever: u64,
}

struct Node {
    key: ContentKey,
    num_children: u32,
    blocks: [Option<BlockId>; MAX_KV_POOLS],
}

impl Contents {
    pub(crate) fn find(&self, key: &ContentKey) -> Option<ContentId> {
        self.ids.get(key).copied()
    }

    /// The content, known from now on: [`Self::set_block`] must follow for one pool at least.
    pub(crate) fn find_or_add(&mut self, key: ContentKey) -> ContentId {
        if let Some(id) = self.find(&key) {
            return id;
        }
        self.num_ever += 1;
        let id = ContentId(self.num_ever);
        self.ids.insert(key, id);
        self.nodes.insert(id, Node { key, num_children: 0, blocks: [None; MAX_KV_POOLS] });
        // What stands before it may be forgotten: then nobody finds this one, until its block is taken back.
        if let Some(parent) = self.nodes.get_mut(&key.parent) {
            parent.num_children += 1;
        }
        id
    }

    /// The block of a pool that holds a content.
    pub(crate) fn block(&self, id: ContentId, pool_idx: usize) -> Option<BlockId> {
        self.nodes.get(&id)?.blocks[pool_idx]
    }

    pub(crate) fn set_block(&mut self, id: ContentId, pool_idx: usize, block: BlockId) {
        let node = self.nodes.get_mut(&id).expect("a content with a new block is known");
        node.blocks[pool_idx] = Some(block);
    }

    /// Forgets the block of a pool, and what nothing holds any more.
    pub(crate) fn clear_block(&mut self, id: ContentId, pool_idx: usize) {
        self.nodes.get_mut(&id).expect("a content with a block is known").blocks[pool_idx] = None;
        let mut id = id;
        while let Some(node) = self.nodes.get(&id) {
            if node.num_children > 0 || node.blocks.iter().any(Option::is_some) {
                return;
            }
            let key = node.key;
            self.nodes.remove(&id);
            self.ids.remove(&key);
            id = key.parent;
            if let Some(parent) = self.nodes.get_mut(&id) {
                parent.num_children -= 1;
            }
        }
    }

    /// Compares the tree with itself and with the contents of the pools' blocks.
    pub(crate) fn check_integrity(&self, held: &HashMap<(ContentId, usize), BlockId>) {
        assert_eq!(self.ids.len(), self.nodes.len(), "as many keys as contents");
        let mut num_children: HashMap<ContentId, u32> = HashMap::new();
        self.nodes.values().for_each(|node| *num_children.entry(node.key.parent).or_default() += 1);
        let mut num_blocks = 0;
        for (id, node) in &self.nodes {
            assert_eq!(self.ids.get(&node.key), Some(id), "a content is found under its key");
            let children = num_children.get(id).copied().unwrap_or(0);
            assert_eq!(node.num_children, children, "{id:?} counts other contents after it");
            let blocks = node.blocks.iter().enumerate().filter_map(|(pool_idx, block)| Some((pool_idx, (*block)?)));
            let mut needed = children > 0;
            for (pool_idx, block) in blocks {
                assert_eq!(held.get(&(*id, pool_idx)), Some(&block), "{id:?} is held by another block of {pool_idx}");
                (needed, num_blocks) = (true, num_blocks + 1);
            }
            assert!(needed, "{id:?} is known though nothing holds it");
        }
        assert_eq!(num_blocks, held.len(), "{num_blocks} blocks are indexed, {} have contents", held.len());
    }
}
