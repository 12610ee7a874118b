//! The operators and the executor on a GPU. Without one every test says `skipped` and passes, unless
//! `LLCUDA_REQUIRE_GPU=1`.

mod act_rows;
mod attention;
#[path = "../../cpu/tests/golden/bounds.rs"]
mod bounds;
#[allow(dead_code, reason = "the CPU's tests read more of the files")]
#[path = "../../cpu/tests/golden/data.rs"]
mod data;
mod decode;
mod embed;
mod embeddings;
mod gated_act;
mod golden;
mod input_sums;
mod latent;
mod matmul;
mod moe;
mod norm;
mod overlap;
mod paged;
mod pool;
mod rope;
#[path = "../../cpu/tests/golden/runner.rs"]
mod runner;
mod sampling;
mod support;
mod weights;
