//! How fast a folder is converted: `cargo run --release -p convert --example speed -- FOLDER OUT.gguf f16`, beside a plain
//! copy of a file of the same size and of memory, and the most memory that was used beside the page cache.
#![allow(missing_docs, clippy::print_stdout, reason = "a measurement")]

use std::{
    error::Error,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use convert::{ConvertOptions, OutType, convert};
use gguf::WriterOptions;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, out, type_name] = args.as_slice() else { return Err("FOLDER OUT.gguf TYPE".into()) };
    let out_type = match type_name.as_str() {
        "f32" => OutType::F32,
        "f16" => OutType::F16,
        "bf16" => OutType::Bf16,
        "q8_0" => OutType::Q8_0,
        other => return Err(format!("type {other}").into()),
    };
    let writer = WriterOptions { overwrite: true, ..WriterOptions::default() };
    let options = ConvertOptions { out_type: Some(out_type), writer, ..ConvertOptions::default() };
    let stop = Arc::new(AtomicBool::new(false));
    let watcher = thread::spawn({
        let stop = Arc::clone(&stop);
        move || most_memory(&stop)
    });
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let converted = convert(Path::new(folder), Path::new(out), &options, &mut |_, _| {})?;
    let seconds = start.elapsed().as_secs_f64();
    let cpu = cpu_seconds() - cpu;
    stop.store(true, Ordering::Relaxed);
    let memory = watcher.join().map_err(|_| "the watcher panicked")?;
    let size = fs::metadata(&converted.paths[0])?.len() as f64 / 1e9;
    println!("converted: {size:.2} GB in {seconds:.2} s, {:.2} GB/s, {cpu:.2} s of processors", size / seconds);
    println!("most memory beside the page cache: {memory} MB");
    let copy = format!("{out}.copy");
    let (start, cpu) = (Instant::now(), cpu_seconds());
    fs::copy(out, &copy)?;
    fs::File::open(&copy)?.sync_data()?;
    let seconds = start.elapsed().as_secs_f64();
    let cpu = cpu_seconds() - cpu;
    println!("copied and synced: {seconds:.2} s, {:.2} GB/s, {cpu:.2} s of processors", size / seconds);
    fs::remove_file(copy)?;
    let (source, mut target) = (vec![1_u8; 1 << 28], vec![0_u8; 1 << 28]);
    target.copy_from_slice(&source);
    let start = Instant::now();
    (0..8).for_each(|_| std::hint::black_box(&mut target).copy_from_slice(std::hint::black_box(&source)));
    println!("memory: {:.2} GB/s copied by one thread", 8.0 * 0.268_435 / start.elapsed().as_secs_f64());
    Ok(())
}

/// Time of all threads, in the program and the system; Linux only, in hundredths.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    fields.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// The most anonymous memory until `stop`, in MB; Linux only.
fn most_memory(stop: &AtomicBool) -> u64 {
    let mut most = 0;
    while !stop.load(Ordering::Relaxed) {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kib = line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0);
        most = most.max(kib / 1000);
        thread::sleep(Duration::from_millis(5));
    }
    most
}
