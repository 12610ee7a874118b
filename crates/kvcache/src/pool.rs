//! The states of one pool's blocks: reference counts, free and cached blocks.

use types::{BlockId, KvPool};

use crate::{cache::Usage, contents::ContentId, lru::LruList};

/// A pool behind the tables.
pub(crate) struct Pool {
    spec: KvPool,
    blocks: Vec<Block>,
    /// Blocks that hold nothing; the last one is taken first.
    free: Vec<BlockId>,
    /// Blocks that only the index of contents holds.
    cached: LruList,
}

#[derive(Clone, Copy, Default)]
struct Block {
    num_refs: u32,
    /// The content under which the index holds the block.
    content: Option<ContentId>,
}

impl Pool {
    pub(crate) fn new(spec: KvPool) -> Self {
        let limit = u32::try_from(spec.num_blocks).expect("a block id is a u32, so the pool's size is one");
        Self {
            spec,
            blocks: vec![Block::default(); spec.num_blocks],
            free: (0..limit).rev().map(BlockId).collect(),
            cached: LruList::new(spec.num_blocks),
        }
    }

    pub(crate) fn spec(&self) -> KvPool {
        self.spec
    }

    pub(crate) fn usage(&self) -> Usage {
        Usage { num_blocks: self.blocks.len(), num_free: self.free.len(), num_cached: self.cached.len() }
    }

    pub(crate) fn num_refs(&self, block: BlockId) -> u32 {
        self.blocks[block.index()].num_refs
    }

    pub(crate) fn is_indexed(&self, block: BlockId) -> bool {
        self.blocks[block.index()].content.is_some()
    }

    /// A block for one new table: a free one, else the least recently used cached one, whose content must be forgotten.
    pub(crate) fn take(&mut self) -> Option<(BlockId, Option<ContentId>)> {
        let (block, evicted) = match self.free.pop() {
            Some(block) => (block, None),
            None => self.evict()?,
        };
        let state = &mut self.blocks[block.index()];
        assert_eq!(state.num_refs, 0, "block {block} is handed out while {} tables hold it", state.num_refs);
        state.num_refs = 1;
        Some((block, evicted))
    }

    /// Counts one more table that holds a block with a known content.
    pub(crate) fn share(&mut self, block: BlockId) {
        let state = &mut self.blocks[block.index()];
        assert!(state.content.is_some(), "block {block} is shared without a content");
        if state.num_refs == 0 {
            self.cached.remove(block.0);
        }
        state.num_refs += 1;
    }

    /// Notes the content of a block that a table holds.
    pub(crate) fn publish(&mut self, block: BlockId, content: ContentId) {
        let state = &mut self.blocks[block.index()];
        assert!(state.num_refs > 0, "block {block} is published while {} tables hold it", state.num_refs);
        assert!(state.content.is_none(), "block {block} is published twice");
        state.content = Some(content);
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

    /// Makes the least recently used cached block free and returns its content, which must be forgotten.
    pub(crate) fn forget_one(&mut self) -> Option<ContentId> {
        let (block, content) = self.evict()?;
        self.free.push(block);
        content
    }

    fn evict(&mut self) -> Option<(BlockId, Option<ContentId>)> {
        let block = BlockId(self.cached.pop()?);
        let content = self.blocks[block.index()].content.take();
        assert!(content.is_some(), "cached block {block} has no content");
        Some((block, content))
    }

    /// Compares the states with one another and with the number of tables that hold each block. Returns the contents.
    pub(crate) fn check_integrity(&self, num_holders: &[u32]) -> Vec<(ContentId, BlockId)> {
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
        }
        let contents = self.blocks.iter().enumerate();
        contents.filter_map(|(i, block)| Some((block.content?, BlockId(i as u32)))).collect()
    }
}
