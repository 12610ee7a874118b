//! The operators: one file each, with its launcher. They check shapes, launch, and allocate and wait for nothing.

pub mod act_out;
pub mod gated_act;
pub mod rms_norm;
pub mod sampling;
