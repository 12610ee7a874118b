//! Threads that share the tasks of one step after another.
//!
//! Tasks are claimed one by one, so that a thread that other processes hold up takes fewer; a late thread finds the run
//! closed and is not waited for. Between runs threads spin for some microseconds, then sleep: an idle pool costs
//! nothing.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

use crate::{CpuError, disjoint::Disjoint};

/// Turns of the wait loop before a thread sleeps: some 20 microseconds, the time between two operators of a small model.
const SPIN_TURNS: u32 = 1_000;

/// The pool; `S` is each thread's own scratch memory.
pub(crate) struct ThreadPool<S> {
    shared: Arc<Shared<S>>,
    workers: Vec<JoinHandle<()>>,
    scratch: S,
}

/// What a run is: `call(task, scratch)` for every task.
type Call<'a, S> = dyn Fn(usize, &mut S) + Sync + 'a;

struct Shared<S> {
    state: Mutex<State<S>>,
    /// Counts runs; changed under the lock, watched without it.
    generation: AtomicU64,
    /// Workers inside the current run; changed under the lock, watched without it.
    num_inside: AtomicUsize,
    /// A run was opened, or the pool ends.
    opened: Condvar,
    /// The last worker left the run.
    left: Condvar,
}

struct State<S> {
    run: Option<Arc<Run<S>>>,
    num_asleep: usize,
    ended: bool,
}

struct Run<S> {
    /// The caller's closure. Its true lifetime is that of the call to [`ThreadPool::run`].
    call: *const Call<'static, S>,
    num_tasks: usize,
    next: AtomicUsize,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

// SAFETY: `call` is the only field that is not `Send` and `Sync` by itself; it points to a `Sync` closure, which
// `ThreadPool::run` keeps alive until no worker is inside the run.
unsafe impl<S> Send for Run<S> {}
// SAFETY: as above.
unsafe impl<S> Sync for Run<S> {}

impl<S> Run<S> {
    /// Takes tasks until none is left. A panic ends the run early and is kept for the caller.
    fn work(&self, scratch: &mut S) {
        // SAFETY: the closure outlives the run, see `call`.
        let call = unsafe { &*self.call };
        let tasks = AssertUnwindSafe(|| {
            while let task @ 0.. = self.next.fetch_add(1, Ordering::Relaxed)
                && task < self.num_tasks
            {
                call(task, scratch);
            }
        });
        if let Err(panic) = catch_unwind(tasks) {
            self.next.store(self.num_tasks, Ordering::Relaxed);
            lock(&self.panic).get_or_insert(panic);
        }
    }
}

/// Locks; the data under our locks is whole even after a panic, which only happens outside of them.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Spins for a while until `done`.
fn spin_until(done: impl Fn() -> bool) {
    for _ in 0..SPIN_TURNS {
        if done() {
            return;
        }
        std::hint::spin_loop();
    }
}

impl<S: Default + 'static> ThreadPool<S> {
    /// A pool of `num_threads`, the caller's included.
    pub(crate) fn new(num_threads: usize) -> Result<Self, CpuError> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State { run: None, num_asleep: 0, ended: false }),
            generation: AtomicU64::new(0),
            num_inside: AtomicUsize::new(0),
            opened: Condvar::new(),
            left: Condvar::new(),
        });
        let mut pool = Self { shared, workers: Vec::new(), scratch: S::default() };
        for idx in 1..num_threads {
            let shared = Arc::clone(&pool.shared);
            let thread = std::thread::Builder::new().name(format!("cpu-{idx}"));
            let worker = thread.spawn(move || shared.serve()).map_err(|source| CpuError::Thread { idx, source })?;
            pool.workers.push(worker);
        }
        Ok(pool)
    }

    /// Threads that share the work, the caller's included.
    pub(crate) fn num_threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `call(task, scratch)` for every task below `num_tasks`, each once, on all threads.
    ///
    /// # Panics
    /// When a task does.
    pub(crate) fn run(&mut self, num_tasks: usize, call: impl Fn(usize, &mut S) + Sync) {
        if num_tasks <= 1 || self.workers.is_empty() {
            (0..num_tasks).for_each(|task| call(task, &mut self.scratch));
            return;
        }
        let call: *const Call<'_, S> = &call;
        // SAFETY: only the lifetime changes. `close` below returns when no worker can reach the closure any more.
        let call = unsafe { std::mem::transmute::<*const Call<'_, S>, *const Call<'static, S>>(call) };
        let run = Arc::new(Run { call, num_tasks, next: AtomicUsize::new(0), panic: Mutex::new(None) });
        self.shared.open(&run);
        run.work(&mut self.scratch);
        self.shared.close();
        let panic = lock(&run.panic).take();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }

    /// Calls `call(idx, chunk, scratch)` for every chunk of a slice (the last may be shorter), on all threads.
    ///
    /// Neighbouring chunks are grouped to tasks of some thousand elements, so that little work stays on one thread.
    pub(crate) fn for_each_chunk<T: Send>(
        &mut self,
        slice: &mut [T],
        chunk_len: usize,
        call: impl Fn(usize, &mut [T], &mut S) + Sync,
    ) {
        let (len, num_chunks) = (slice.len(), slice.len().div_ceil(chunk_len));
        let per_task = (8192 / chunk_len).max(1);
        let slice = Disjoint::new(slice);
        self.run(num_chunks.div_ceil(per_task), |task, scratch| {
            for idx in task * per_task..((task + 1) * per_task).min(num_chunks) {
                let range = idx * chunk_len..((idx + 1) * chunk_len).min(len);
                // SAFETY: the ranges of different indices are disjoint, and each index belongs to one task.
                call(idx, unsafe { slice.slice(range) }, scratch);
            }
        });
    }
}

impl<S> Shared<S> {
    /// Lets the workers in.
    fn open(&self, run: &Arc<Run<S>>) {
        let mut state = lock(&self.state);
        state.run = Some(Arc::clone(run));
        self.generation.fetch_add(1, Ordering::Release);
        let num_asleep = state.num_asleep;
        drop(state);
        if num_asleep > 0 {
            self.opened.notify_all();
        }
    }

    /// Lets no more workers in and waits until those inside have left.
    fn close(&self) {
        lock(&self.state).run = None;
        spin_until(|| self.num_inside.load(Ordering::Acquire) == 0);
        let mut state = lock(&self.state);
        while self.num_inside.load(Ordering::Acquire) > 0 {
            state = self.left.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A worker's life.
    fn serve(&self)
    where
        S: Default,
    {
        let mut scratch = S::default();
        let mut seen = 0;
        loop {
            spin_until(|| self.generation.load(Ordering::Acquire) != seen);
            let mut state = lock(&self.state);
            while self.generation.load(Ordering::Acquire) == seen && !state.ended {
                state.num_asleep += 1;
                state = self.opened.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.num_asleep -= 1;
            }
            if state.ended {
                return;
            }
            seen = self.generation.load(Ordering::Acquire);
            let Some(run) = state.run.clone() else { continue };
            self.num_inside.fetch_add(1, Ordering::AcqRel);
            drop(state);
            run.work(&mut scratch);
            self.leave();
        }
    }

    fn leave(&self) {
        let state = lock(&self.state);
        if self.num_inside.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.left.notify_one();
        }
        drop(state);
    }
}

impl<S> Drop for ThreadPool<S> {
    fn drop(&mut self) {
        lock(&self.shared.state).ended = true;
        self.shared.opened.notify_all();
        for worker in self.workers.drain(..) {
            // A worker's panic was handed to the caller of `run` already.
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::ThreadPool;

    #[test]
    fn every_task_runs_once() {
        for num_threads in 1..=4 {
            let mut pool = ThreadPool::<usize>::new(num_threads).unwrap();
            // Far more runs than turns of the wait loops: threads come awake, late and asleep.
            for num_tasks in (0..300).chain([10_000]) {
                let mut counts = vec![0_u8; num_tasks];
                pool.for_each_chunk(&mut counts, 1, |_, count, _| count[0] += 1);
                assert!(counts.iter().all(|&n| n == 1), "{num_tasks} tasks on {num_threads} threads");
            }
        }
    }

    #[test]
    fn chunks_are_numbered_and_the_last_is_short() {
        let mut pool = ThreadPool::<()>::new(2).unwrap();
        let mut found = vec![(0, 0); 10];
        pool.for_each_chunk(&mut found, 4, |idx, chunk, ()| {
            let len = chunk.len();
            chunk.fill((idx, len));
        });
        assert_eq!(found, [vec![(0, 4); 4], vec![(1, 4); 4], vec![(2, 2); 2]].concat());
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_works_on() {
        let mut pool = ThreadPool::<()>::new(3).unwrap();
        for _ in 0..50 {
            let run = AssertUnwindSafe(|| pool.run(100, |task, ()| assert_ne!(task, 57, "on purpose")));
            assert!(catch_unwind(run).is_err());
            let mut sum = vec![0; 1000];
            pool.for_each_chunk(&mut sum, 1, |idx, n, ()| n[0] = idx);
            assert_eq!(sum.iter().sum::<usize>(), 499_500);
        }
    }
}
