//! The blocks' states: reference counts, free blocks, and the index of known contents.

use std::collections::HashMap;

use types::{BLOCK_SIZE, BlockId, TokenId};

use crate::lru::LruList;

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

/// The pool behind the tables.
pub(crate) struct Pool {
    blocks: Vec<Block>,
    /// Blocks that hold nothing; the last one is taken first.
    free: Vec<BlockId>,
    /// Blocks that only the index below holds.
    cached: LruList,
    index: HashMap<ContentKey, BlockId>,
    num_contents: u64,
}

#[derive(Clone, Copy, Default)]
struct Block {
    num_refs: u32,
    /// The content under which the index holds the block.
    content: Option<(ContentKey, ContentId)>,
}

impl Pool {
    pub(crate) fn new(num_blocks: usize) -> Self {
        let limit = u32::try_from(num_blocks).expect("a block id is a u32, so the pool's size is one");
        Self {
            blocks: vec![Block::default(); num_blocks],
            free: (0..limit).rev().map(BlockId).collect(),
            cached: LruList::new(num_blocks),
            index: HashMap::new(),
            num_contents: 0,
        }
    }

    pub(crate) fn num_blocks(&self) -> usize {
        self.blocks.len()
    }

    pub(crate) fn num_free(&self) -> usize {
        self.free.len()
    }

    pub(crate) fn num_cached(&self) -> usize {
        self.cached.len()
    }

    pub(crate) fn num_refs(&self, block: BlockId) -> u32 {
        self.blocks[block.index()].num_refs
    }

    pub(crate) fn is_indexed(&self, block: BlockId) -> bool {
        self.blocks[block.index()].content.is_some()
    }

    /// A block for one new table: a free one, else the least recently used cached one, whose content is forgotten.
    pub(crate) fn take(&mut self) -> Option<BlockId> {
        let block = self.free.pop().or_else(|| {
            let evicted = BlockId(self.cached.pop()?);
            let (key, _) = self.blocks[evicted.index()].content.take().expect("a cached block has a content");
            self.index.remove(&key);
            Some(evicted)
        })?;
        let state = &mut self.blocks[block.index()];
        assert_eq!(state.num_refs, 0, "block {block} is handed out while {} tables hold it", state.num_refs);
        state.num_refs = 1;
        Some(block)
    }

    /// Finds the block of a content and counts one more table that holds it.
    pub(crate) fn take_content(&mut self, key: &ContentKey) -> Option<(BlockId, ContentId)> {
        let &block = self.index.get(key)?;
        let state = &mut self.blocks[block.index()];
        let (_, id) = state.content.expect("an indexed block has a content");
        if state.num_refs == 0 {
            self.cached.remove(block.0);
        }
        state.num_refs += 1;
        Some((block, id))
    }

    /// Makes a held block's content known. Where another block has the same content already, that one stays the known
    /// one; the id is the same for both.
    pub(crate) fn publish(&mut self, block: BlockId, key: ContentKey) -> ContentId {
        if let Some(known) = self.index.get(&key) {
            let (_, id) = self.blocks[known.index()].content.expect("an indexed block has a content");
            return id;
        }
        let state = &mut self.blocks[block.index()];
        assert!(state.num_refs > 0, "block {block} is published while {} tables hold it", state.num_refs);
        assert!(state.content.is_none(), "block {block} is published twice");
        self.num_contents += 1;
        let id = ContentId(self.num_contents);
        state.content = Some((key, id));
        self.index.insert(key, block);
        id
    }

    /// Counts one table less that holds the block.
    pub(crate) fn release(&mut self, block: BlockId) {
        let state = &mut self.blocks[block.index()];
        assert!(state.num_refs > 0, "block {block} is released while {} tables hold it", state.num_refs);
        state.num_refs -= 1;
        match (state.num_refs, state.content) {
            (0, Some(_)) => self.cached.push(block.0),
            (0, None) => self.free.push(block),
            _ => {}
        }
    }

    /// Forgets all contents that no table holds; their blocks become free.
    pub(crate) fn forget_cached(&mut self) {
        while let Some(index) = self.cached.pop() {
            let block = BlockId(index);
            let (key, _) = self.blocks[block.index()].content.take().expect("a cached block has a content");
            self.index.remove(&key);
            self.free.push(block);
        }
    }

    /// Compares the states with one another and with the number of tables that hold each block.
    pub(crate) fn check_integrity(&self, num_holders: &[u32]) {
        let mut listed = vec![0_u32; self.blocks.len()];
        self.free.iter().for_each(|block| listed[block.index()] += 1);
        for block in &self.free {
            assert!(self.blocks[block.index()].content.is_none(), "free block {block} has a content");
        }
        for index in self.cached.iter() {
            listed[index as usize] += 1;
            assert!(self.blocks[index as usize].content.is_some(), "cached block {index} has no content");
        }
        for (i, (block, &holders)) in self.blocks.iter().zip(num_holders).enumerate() {
            assert_eq!(block.num_refs, holders, "block {i} counts {} tables, {holders} hold it", block.num_refs);
            let expected = u32::from(holders == 0);
            assert_eq!(listed[i], expected, "block {i} with {holders} tables is listed {} times", listed[i]);
            if let Some((key, _)) = &block.content {
                let indexed = self.index.get(key).map(|found| found.index());
                assert_eq!(indexed, Some(i), "block {i} has a content that the index gives to {indexed:?}");
            }
        }
        let num_contents = self.blocks.iter().filter(|block| block.content.is_some()).count();
        assert_eq!(self.index.len(), num_contents, "{} contents indexed, {num_contents} held", self.index.len());
    }
}
