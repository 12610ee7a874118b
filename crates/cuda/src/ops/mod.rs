//! The operators: one file each, with its launcher. They check shapes, launch, and allocate and wait for nothing.

pub mod act_out;
pub mod attention;
pub mod dequant;
pub mod embed;
pub mod gated_act;
pub mod input_sums;
pub mod matmul;
pub mod moe;
pub mod norm;
pub mod pool;
pub mod rope;
pub mod sampling;
