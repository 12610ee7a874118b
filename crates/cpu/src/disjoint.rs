//! A slice that several threads write at once, each its own elements.

use std::{marker::PhantomData, ops::Range};

/// Shares a mutable slice between the tasks of one parallel run. The caller of its methods promises disjointness.
pub(crate) struct Disjoint<'a, T> {
    start: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: the methods hand each element to one thread at most, as they demand; that needs no more than `T: Send`.
unsafe impl<T: Send> Sync for Disjoint<'_, T> {}

impl<'a, T> Disjoint<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// A part of the slice.
    ///
    /// # Safety
    /// While the part is borrowed, nobody else may hold one that overlaps it.
    #[allow(clippy::mut_from_ref, reason = "that is the purpose; the safety section says when it is sound")]
    pub(crate) unsafe fn slice(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len, "{range:?} of {} elements", self.len);
        // SAFETY: in bounds, borrowed for `'a` from the whole slice, and disjoint as the caller promises.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }

    /// One element.
    ///
    /// # Safety
    /// As [`Self::slice`].
    #[allow(clippy::mut_from_ref, reason = "as for `slice`")]
    #[inline]
    pub(crate) unsafe fn element(&self, idx: usize) -> &mut T {
        assert!(idx < self.len, "element {idx} of {}", self.len);
        // SAFETY: in bounds, borrowed for `'a` from the whole slice, and disjoint as the caller promises.
        unsafe { &mut *self.start.add(idx) }
    }
}
