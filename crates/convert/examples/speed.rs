//! How fast a folder is converted: `cargo run --release -p convert --example speed -- FOLDER OUT.gguf f16`, beside a plain
//! copy of a file of the same size, and the most memory that was used.
#![allow(missing_docs, clippy::print_stdout, reason = "a measurement")]

use std::{error::Error, fs, path::Path, time::Instant};

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
    let options = ConvertOptions { out_type: Some(out_type), pre: None, writer };
    let start = Instant::now();
    let converted = convert(Path::new(folder), Path::new(out), &options, &mut |_, _| {})?;
    let seconds = start.elapsed().as_secs_f64();
    let size = fs::metadata(&converted.paths[0])?.len() as f64 / 1e9;
    println!("converted: {size:.2} GB in {seconds:.2} s, {:.2} GB/s", size / seconds);
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().filter(|l| l.starts_with("VmHWM") || l.starts_with("RssAnon")).for_each(|l| println!("{l}"));
    let copy = format!("{out}.copy");
    let start = Instant::now();
    fs::copy(out, &copy)?;
    fs::File::open(&copy)?.sync_data()?;
    let seconds = start.elapsed().as_secs_f64();
    println!("copied and synced: {seconds:.2} s, {:.2} GB/s", size / seconds);
    fs::remove_file(copy)?;
    Ok(())
}
