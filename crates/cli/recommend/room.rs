//! How many users and how much context fit beside the weights: what `serve` would allocate, asked of the executor's own
//! plan.

use cuda::{CudaError, CudaOptions, DeviceMemory, KvType, MemoryPlan, kv_cache::KvLayout};
use model::DecoderSpec;
use types::BLOCK_SIZE;

use super::plan::Wanted;

/// Tokens of a step, as `serve` has it by default.
const STEP_TOKENS: usize = 512;
/// What cuBLAS takes, and weights unpacked for it; counted by the GPU's machine itself where this is that machine.
const LIBRARY_BYTES: u64 = 288 << 20;
/// Contexts are rounded down to this.
const CONTEXT_STEP: usize = 256;
/// Sequences of a step at most.
const MAX_USERS: usize = 1024;

/// A model's memory on a GPU, by users and context.
#[derive(Clone, Copy)]
pub(crate) struct Room<'a> {
    pub(crate) spec: &'a DecoderSpec,
    /// In the GPU's layout.
    pub(crate) weight_bytes: u64,
    pub(crate) kv_type: KvType,
    pub(crate) wanted: &'a Wanted,
}

impl Room<'_> {
    /// What `serve -c USERS*CONTEXT -np USERS` allocates.
    ///
    /// # Errors
    /// [`CudaError::Unsupported`] when it does not fit, or the model does not run on a GPU.
    pub(crate) fn plan(&self, users: usize, context: usize) -> Result<MemoryPlan, CudaError> {
        let device = DeviceMemory { free_bytes: bytes(self.free_bytes()), num_sms: self.wanted.gpu.num_sms };
        MemoryPlan::new(self.spec, &self.options(users, context), bytes(self.weight_bytes), device)
    }

    /// Bytes beside the weights, keys and values.
    ///
    /// # Errors
    /// [`CudaError::Unsupported`] when the model does not run on a GPU.
    pub(crate) fn workspace_bytes(&self, users: usize, context: usize) -> Result<u64, CudaError> {
        let options = self.options(users, context);
        let own = cuda::workspace_bytes(self.spec, &options, self.wanted.gpu.num_sms)?;
        Ok(own as u64 + self.library_bytes())
    }

    /// Bytes of the keys and values of so many users, whether or not they fit.
    ///
    /// # Errors
    /// [`CudaError::Unsupported`] when the GPU cannot keep them so.
    pub(crate) fn kv_bytes(&self, users: usize, context: usize) -> Result<u64, CudaError> {
        let layout = KvLayout::new(self.spec, self.kv_type)?;
        Ok(layout.num_bytes(layout.pools(num_blocks(users, context), (users, STEP_TOKENS))) as u64)
    }

    /// Users with a context each.
    pub(crate) fn max_users(&self, context: usize) -> usize {
        largest(MAX_USERS, |users| self.plan(users, context).is_ok())
    }

    /// The context of so many users, at most `limit`.
    pub(crate) fn max_context(&self, users: usize, limit: usize) -> usize {
        let found = largest(limit, |context| self.plan(users, context).is_ok());
        if found > CONTEXT_STEP { found / CONTEXT_STEP * CONTEXT_STEP } else { found }
    }

    fn options(&self, users: usize, context: usize) -> CudaOptions {
        CudaOptions {
            num_blocks: Some(num_blocks(users, context)),
            max_num_seqs: users,
            max_num_batched_tokens: STEP_TOKENS,
            max_model_len: context,
            kv_type: self.kv_type,
            margin_bytes: bytes(self.wanted.margin_bytes),
            ..CudaOptions::default()
        }
    }

    fn free_bytes(&self) -> u64 {
        self.wanted.gpu.free_bytes.saturating_sub(self.library_bytes())
    }

    fn library_bytes(&self) -> u64 {
        if self.wanted.is_present { 0 } else { LIBRARY_BYTES }
    }
}

fn num_blocks(users: usize, context: usize) -> usize {
    (users * context).div_ceil(BLOCK_SIZE)
}

fn bytes(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// The largest number up to `limit` that fits, where all below one that fits do; 0 where not even 1 does.
fn largest(limit: usize, fits: impl Fn(usize) -> bool) -> usize {
    let (mut found, mut too_many) = (0, limit.saturating_add(1));
    while too_many - found > 1 {
        let middle = found + (too_many - found) / 2;
        if fits(middle) { found = middle } else { too_many = middle }
    }
    found
}

#[cfg(test)]
mod tests {
    use cpu::{CpuExecutor, CpuOptions};
    use exec::Executor;
    use gguf::{Builder, Gguf, Value};
    use types::KvPools;

    use super::*;
    use crate::recommend::{
        gpu::{Gpu, GpuName},
        plan::Strategy,
    };

    const GIB: u64 = 1 << 30;

    fn wanted(free_bytes: u64) -> Wanted {
        let gpu = Gpu { free_bytes, ..Gpu::named(GpuName::T4) };
        let strategy = Strategy::Balanced;
        Wanted { gpu, is_present: true, margin_bytes: 0, users: 4, context: 4096, strategy, fit_context: false }
    }

    /// Gemma 3's kinds of layers: five of six see 64 tokens.
    fn gemma3() -> Gguf {
        let uint = |n: usize| Value::Uint(n as u64);
        let mut file = Builder::new().value("general.architecture", Value::String("gemma3".into()));
        for (name, n) in [
            ("embedding_length", 64),
            ("block_count", 12),
            ("feed_forward_length", 64),
            ("context_length", 131_072),
            ("attention.head_count", 2),
            ("attention.head_count_kv", 1),
            ("attention.key_length", 256),
            ("attention.value_length", 256),
            ("attention.sliding_window", 64),
        ] {
            file = file.value(&format!("gemma3.{name}"), uint(n));
        }
        file = file.value("gemma3.attention.layer_norm_rms_epsilon", Value::Float(1e-6));
        let mut tensor = |name: &str, shape: &[usize]| {
            let zeros = vec![0.0; shape.iter().product()];
            file = std::mem::take(&mut file).tensor_f32(name, shape, &zeros);
        };
        tensor("token_embd.weight", &[64, 32]);
        tensor("output_norm.weight", &[64]);
        for i in 0..12 {
            let mut tensor = |name: &str, shape: &[usize]| tensor(&format!("blk.{i}.{name}.weight"), shape);
            for name in ["attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"] {
                tensor(name, &[64]);
            }
            tensor("attn_q", &[64, 512]);
            tensor("attn_k", &[64, 256]);
            tensor("attn_v", &[64, 256]);
            tensor("attn_q_norm", &[256]);
            tensor("attn_k_norm", &[256]);
            tensor("attn_output", &[512, 64]);
            for (name, shape) in [("ffn_gate", [64, 64]), ("ffn_up", [64, 64]), ("ffn_down", [64, 64])] {
                tensor(name, &shape);
            }
        }
        Gguf::from_bytes(file.build()).unwrap()
    }

    #[test]
    fn what_fits_is_what_the_executors_allocate() {
        let gguf = gemma3();
        let spec = model::decoder_spec(&gguf).unwrap();
        let wanted = wanted(2 * GIB);
        let weight_bytes = cuda::weight_bytes(&spec, &gguf).unwrap() as u64;
        let room = Room { spec: &spec, weight_bytes, kv_type: KvType::F16, wanted: &wanted };
        let plan = room.plan(4, 4096).unwrap();
        let [all, windows] = plan.pools.iter().map(|pool| pool.num_blocks).collect::<Vec<_>>()[..] else {
            panic!("{:?}", plan.pools)
        };
        assert_eq!((all, windows < all / 2), (1024, true), "{windows}");
        // Keys and values of 256 elements of 2 bytes: 16 KiB a block; 2 layers see everything, 10 a window.
        let kv_bytes = 16 * 1024 * (2 * all + 10 * windows);
        assert!((kv_bytes..kv_bytes + 24 * 1024).contains(&plan.split.kv_bytes), "{plan:?}");
        assert_eq!(room.kv_bytes(4, 4096).unwrap(), plan.split.kv_bytes as u64);

        let options = CpuOptions {
            num_threads: 1,
            num_blocks: all,
            max_num_seqs: 4,
            max_num_batched_tokens: STEP_TOKENS,
            max_model_len: 4096,
            ..CpuOptions::default()
        };
        assert_eq!(options.kv_bytes(&spec), kv_bytes);
        let executor = CpuExecutor::new(std::sync::Arc::new(gguf), options).unwrap();
        let held: KvPools = executor.capacity().pools;
        assert_eq!(held, plan.pools, "the pools of an executor that runs");
    }

    #[test]
    fn the_longest_context_and_most_users_are_the_last_that_fit() {
        let gguf = gemma3();
        let spec = model::decoder_spec(&gguf).unwrap();
        for (free_bytes, is_present) in [(GIB, true), (3 * GIB / 2, false), (4 * GIB, true)] {
            let wanted = Wanted { is_present, ..wanted(free_bytes) };
            for kv_type in [KvType::F16, KvType::Q8_0] {
                let room = Room { spec: &spec, weight_bytes: 100 << 20, kv_type, wanted: &wanted };
                let context = room.max_context(4, 131_072);
                assert!(context > 4096 && room.plan(4, context).is_ok(), "{context}");
                assert!(context == 131_072 || room.plan(4, context + CONTEXT_STEP).is_err(), "{context}");
                let users = room.max_users(context);
                assert!(users >= 4 && room.plan(users, context).is_ok(), "{users} with {context}");
                assert!(users == MAX_USERS || room.plan(users + 1, context).is_err(), "{users} with {context}");
                let plan = room.plan(users, context).unwrap().split;
                let taken = plan.weight_bytes as u64 + room.workspace_bytes(users, context).unwrap();
                assert!(taken + plan.kv_bytes as u64 <= free_bytes, "{plan:?}");
            }
        }
        let wanted = wanted(1 << 20);
        let room = Room { spec: &spec, weight_bytes: 100 << 20, kv_type: KvType::F16, wanted: &wanted };
        assert_eq!((room.max_users(4096), room.max_context(4, 131_072)), (0, 0));
    }
}
