//! Speed of every format on one core: decoding to floats, loading to integers, and products for one and many tokens.
//!
//! Usage: `cargo run --release -p quant --example formats -- [format] [isa]`

use std::{hint::black_box, io::Write, time::Instant};

use quant::{Activations, Format, Isa, Layout, Panel, Precision};

/// Columns of the rows measured: those of a small model.
const NUM_COLS: usize = 2048;
const NUM_ROWS: usize = 2;
const NUM_TOKENS: usize = 64;

fn main() -> std::io::Result<()> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let mut out = std::io::stdout().lock();
    writeln!(out, "billions of weights (times tokens) per second, weights in the cache")?;
    writeln!(out, "{:>10} {:>12} {:>8} {:>8} {:>8} {:>8}", "format", "isa", "decode", "load", "x1", "x64")?;
    for format in Format::all() {
        for isa in Isa::available() {
            let name = format.ggml_type.name();
            if args.first().is_some_and(|arg| arg != name) || args.get(1).is_some_and(|arg| arg != isa.name()) {
                continue;
            }
            let [decode, load, one, many] = measure(format, isa);
            let isa = isa.name();
            writeln!(out, "{name:>10} {isa:>12} {decode:>8.2} {load:>8.2} {one:>8.2} {many:>8.2}")?;
        }
    }
    Ok(())
}

fn measure(format: &'static Format, isa: Isa) -> [f64; 4] {
    let layout = Layout { format, num_cols: NUM_COLS, precision: Precision::Int8 };
    let bytes: Vec<_> = (0..NUM_ROWS * format.row_bytes(NUM_COLS)).map(|i| (i * 37 % 61) as u8).collect();
    let mut x = Activations::new();
    x.resize(NUM_TOKENS, NUM_COLS);
    x.floats_mut().iter_mut().enumerate().for_each(|(i, x)| *x = (i % 17) as f32 - 8.0);
    x.quantize(isa);
    let (mut panel, mut floats) = (Panel::new(), vec![0.0; NUM_COLS * NUM_ROWS]);
    panel.load(isa, layout, &bytes);
    let mut products = vec![0.0; NUM_ROWS * NUM_TOKENS];
    let num_weights = NUM_COLS * NUM_ROWS;
    [
        rate(num_weights, || format.decode_row(isa, &bytes, black_box(&mut floats))),
        rate(num_weights, || black_box(&mut panel).load(isa, layout, &bytes)),
        rate(num_weights, || black_box(&panel).multiply(isa, &x, 0..1, |row, _, value| products[row] = value)),
        rate(num_weights * NUM_TOKENS, || {
            let products = black_box(&mut products);
            panel.multiply(isa, &x, 0..NUM_TOKENS, |row, token, value| products[token * NUM_ROWS + row] = value);
        }),
    ]
}

/// Billions per second of something that does `count` of them; the best of ten.
fn rate(count: usize, mut work: impl FnMut()) -> f64 {
    const ROUNDS: usize = 20;
    let times = (0..10).map(|_| {
        let start = Instant::now();
        (0..ROUNDS).for_each(|_| work());
        start.elapsed().as_secs_f64()
    });
    (count * ROUNDS) as f64 / times.fold(f64::INFINITY, f64::min) / 1e9
}
