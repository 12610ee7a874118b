//! The operators and the executor on a GPU. Without one every test says `skipped` and passes, unless
//! `LLCUDA_REQUIRE_GPU=1`.

mod act_rows;
mod attention;
mod embed;
mod gated_act;
mod matmul;
mod paged;
mod rms_norm;
mod rope;
mod sampling;
mod support;
mod weights;
