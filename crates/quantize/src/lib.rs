//! Quantizes GGUF files: [`FileType`] names a mix of types, [`Plan`] says which tensor becomes which type, and
//! [`Plan::run`] streams the file through the encoders of `quant` on all cores.
//!
//! Invariants: memory does not grow with the file, only with its longest row; the output is the same for every number of
//! threads; nothing stands under the output's name before all of it is written.

mod error;
mod file_type;
mod imatrix;
mod mix;
mod plan;
mod prune;
mod run;
mod tensor_role;

pub use error::QuantizeError;
pub use file_type::FileType;
pub use imatrix::{Imatrix, ImatrixFormat, Sums};
pub use plan::{Options, Override, Plan, PlannedTensor};
pub use run::{Loss, Report, RunOptions};
