//! The machine's own memory: how much is free, and how fast it is read.

use std::time::Instant;

/// Bytes assumed free where the system does not tell.
const UNKNOWN_BYTES: u64 = 4 << 30;
/// 512 MiB: more than any cache holds.
const NUM_WORDS: usize = 64 << 20;
/// The best of so many passes counts: the first ones find a processor that still speeds up.
const NUM_PASSES: usize = 4;

/// Bytes that programs can take without swapping, caches of files included.
pub(crate) fn available_bytes() -> u64 {
    std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| parse(&text)).unwrap_or(UNKNOWN_BYTES)
}

fn parse(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Bytes per second that `num_threads` threads read together.
pub(crate) fn read_bandwidth(num_threads: usize) -> f64 {
    let memory = vec![1_u64; NUM_WORDS];
    let pass = || {
        let started = Instant::now();
        let sum: u64 = std::thread::scope(|scope| {
            let parts = memory.chunks(NUM_WORDS.div_ceil(num_threads));
            let threads: Vec<_> = parts.map(|part| scope.spawn(|| part.iter().sum::<u64>())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or(0)).sum()
        });
        assert_eq!(sum, NUM_WORDS as u64, "the sum of all words read");
        (NUM_WORDS * size_of::<u64>()) as f64 / started.elapsed().as_secs_f64()
    };
    (0..NUM_PASSES).map(|_| pass()).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_free_memory_is_read() {
        let text = "MemTotal:       24000 kB\nMemAvailable:   12000 kB\n";
        assert_eq!(super::parse(text), Some(12_000 * 1024));
        assert_eq!(super::parse("MemTotal: 1 kB"), None);
    }
}
