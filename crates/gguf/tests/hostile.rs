//! Mutated files: the reader never panics, and allocates in proportion to the file.
//!
//! A binary of its own, with one test, since it counts what the whole process allocates.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    fs,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
};

use gguf::{Array, Builder, GgmlType, Gguf, Value};

/// Files tried.
const NUM_ROUNDS: usize = 200_000;

/// Bytes that parsing may hold per byte of the file: a metadata value or a tensor of some tens of bytes costs some
/// hundreds in the maps, and a byte of an array eight.
const FACTOR: usize = 40;
/// Bytes that parsing may hold besides, for texts of errors and the smallest sizes of maps.
const SLACK: usize = 16 << 10;

/// Counts bytes; the system's allocator does the work.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came; `realloc` is the default, which calls these two.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(held, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`, and `ptr` came from the system's allocator.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// xorshift64*: the same mutations on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() >> 33) as usize % n.max(1)
    }
}

/// Small sound files that hold everything the format has, and the fuzzer's corpus.
fn seeds() -> Vec<Vec<u8>> {
    let strings = ["a", "", "größer"].map(str::to_owned).to_vec();
    let nested = Array::Array(vec![Array::Array(vec![Array::Uint(vec![1, 2])]), Array::Bool(vec![true])]);
    let values = Builder::new()
        .value("general.architecture", Value::String("llama".to_owned()))
        .value("general.alignment", Value::Uint(32))
        .value("int", Value::Int(-3))
        .value("float", Value::Float(0.5))
        .value("double", Value::Float(0.1))
        .value("bool", Value::Bool(true))
        .value("strings", Value::Array(Array::String(strings.into())))
        .value("nested", Value::Array(nested))
        .value("split.count", Value::Uint(1));
    let tensors = Builder::new()
        .tensor_f32("token_embd.weight", &[4, 2], &[0.5; 8])
        .tensor("blk.0.attn_q.weight", &[32, 2, 1, 1], GgmlType::Q8_0, vec![3; 68])
        .tensor_f32("output_norm.weight", &[4], &[1.0; 4]);
    let mut version_2 = values.build();
    version_2[4] = 2;
    let mut seeds = vec![values.build(), tensors.build(), version_2];
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/parse");
    let mut paths: Vec<_> =
        fs::read_dir(corpus).expect("the corpus is there").flatten().map(|entry| entry.path()).collect();
    paths.sort();
    seeds.extend(paths.into_iter().filter_map(|path| fs::read(path).ok()));
    seeds
}

/// Changes a file in one of the ways in which files lie.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    const LENGTHS: [u64; 12] = [0, 1, 2, 9, 31, 255, 1 << 16, (1 << 31) - 1, 1 << 32, 1 << 61, u64::MAX / 8, u64::MAX];
    let at = random.below(bytes.len());
    let length = LENGTHS[random.below(LENGTHS.len())].to_le_bytes();
    match random.below(7) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.next() as u8,
        2 => overwrite(bytes, at, &length),
        3 => overwrite(bytes, at, &length[..4]),
        4 => bytes.truncate(at),
        5 => drop(bytes.drain(at..(at + 1 + random.below(16)).min(bytes.len()))),
        _ => {
            let end = (at + 1 + random.below(64)).min(bytes.len());
            let copy = bytes[at..end].to_vec();
            let to = random.below(bytes.len());
            bytes.splice(to..to, copy);
        }
    }
}

fn overwrite(bytes: &mut [u8], at: usize, with: &[u8]) {
    let len = with.len().min(bytes.len() - at);
    bytes[at..at + len].copy_from_slice(&with[..len]);
}

/// Parses and looks at everything; gives the bytes that this took at most, the file itself not counted.
fn peak_of_parsing(bytes: Vec<u8>) -> (bool, usize) {
    let before = HELD.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let result = Gguf::from_bytes(bytes);
    let peak = PEAK.load(Ordering::Relaxed) - before;
    match &result {
        Ok(gguf) => {
            let num_bytes: usize = gguf.tensors().iter().map(|tensor| gguf.data(tensor).len()).sum();
            assert_eq!(num_bytes as u64, gguf.weight_bytes());
            // Decodes every weight: damaged scales give an answer, never a panic.
            let _ = gguf.find_bad_weight(1, |_| true, |_| ());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    (result.is_ok(), peak)
}

#[test]
fn mutated_files_neither_panic_nor_allocate_beyond_their_size() {
    let seeds = seeds();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut num_sound = 0;
    for round in 0..NUM_ROUNDS {
        let mut bytes = seeds[round % seeds.len()].clone();
        for _ in 0..random.below(4) {
            if !bytes.is_empty() {
                mutate(&mut bytes, &mut random);
            }
        }
        let len = bytes.len();
        let (is_sound, peak) = peak_of_parsing(bytes);
        num_sound += usize::from(is_sound);
        assert!(peak <= FACTOR * len + SLACK, "round {round}: {peak} bytes for a file of {len}");
    }
    // Mutations that only broke files early would try little.
    assert!((NUM_ROUNDS / 5..NUM_ROUNDS * 4 / 5).contains(&num_sound), "{num_sound} files were sound");
}
