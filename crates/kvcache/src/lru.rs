//! A list of block indices in the order of their last use, linked through one array.

/// The list. Every operation takes constant time; an index is in it at most once.
pub(crate) struct LruList {
    /// One link per index and one for the list's ends.
    links: Vec<Link>,
    len: usize,
}

#[derive(Clone, Copy)]
struct Link {
    prev: u32,
    next: u32,
}

/// Both neighbours of an index outside the list.
const UNLINKED: Link = Link { prev: u32::MAX, next: u32::MAX };

impl LruList {
    /// An empty list for the indices below `capacity`.
    pub(crate) fn new(capacity: usize) -> Self {
        let end = u32::try_from(capacity).expect("a block id is a u32, so the pool's size is one");
        let mut links = vec![UNLINKED; capacity + 1];
        links[capacity] = Link { prev: end, next: end };
        Self { links, len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds an index as the most recently used one.
    pub(crate) fn push(&mut self, index: u32) {
        let end = self.end();
        let last = self.links[end as usize].prev;
        assert_eq!(self.links[index as usize].next, u32::MAX, "index {index} is in the list already");
        self.links[index as usize] = Link { prev: last, next: end };
        self.links[last as usize].next = index;
        self.links[end as usize].prev = index;
        self.len += 1;
    }

    /// Takes an index out of the list.
    pub(crate) fn remove(&mut self, index: u32) {
        let Link { prev, next } = self.links[index as usize];
        assert_ne!(next, u32::MAX, "index {index} is not in the list");
        self.links[prev as usize].next = next;
        self.links[next as usize].prev = prev;
        self.links[index as usize] = UNLINKED;
        self.len -= 1;
    }

    /// Takes the least recently used index.
    pub(crate) fn pop(&mut self) -> Option<u32> {
        let first = self.iter().next()?;
        self.remove(first);
        Some(first)
    }

    /// The indices, least recently used first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let end = self.end();
        let next = move |index: &u32| Some(self.links[*index as usize].next);
        std::iter::successors(next(&end), next).take_while(move |&index| index != end)
    }

    fn end(&self) -> u32 {
        (self.links.len() - 1) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_come_back_in_the_order_of_their_use() {
        let mut list = LruList::new(4);
        assert_eq!(list.pop(), None);
        [2, 0, 3].into_iter().for_each(|index| list.push(index));
        list.remove(0);
        list.push(1);
        list.push(0);
        assert_eq!(list.iter().collect::<Vec<_>>(), [2, 3, 1, 0]);
        assert_eq!((list.pop(), list.pop(), list.len()), (Some(2), Some(3), 2));
    }

    #[test]
    #[should_panic(expected = "index 1 is in the list already")]
    fn an_index_is_in_the_list_once() {
        let mut list = LruList::new(2);
        list.push(1);
        list.push(1);
    }

    #[test]
    #[should_panic(expected = "index 1 is not in the list")]
    fn only_listed_indices_can_be_removed() {
        LruList::new(2).remove(1);
    }
}
