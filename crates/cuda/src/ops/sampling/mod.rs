//! Tokens from logits on the device; `crates/sampling` is the specification.

mod params;

pub use params::{LogitChange, MAX_LOGPROBS, MAX_TOP_K, SampleParams};

use exec::SampledToken;
use types::TokenId;

use crate::{
    Device,
    device::{Buffer, DevicePtr, Kernel, KernelArgs, Launch, Plain, Span},
    error::CudaError,
    gpu::Gpu,
};

const OP: &str = "sampling";
/// Logits of a slice, and threads that read one: `SLICE` and `SCAN_THREADS` of kernels/include/sampling.cuh.
const SLICE: usize = 4096;
const SCAN_THREADS: usize = 128;
/// Threads that choose for a row, and their shared memory, which a bit per token follows: as in kernels/sampling.cu.
const CHOOSE_THREADS: u32 = 1024;
const CHOOSE_SHARED_BYTES: usize = 22 * 1024;
/// The largest grid along y.
const MAX_ROWS: usize = 65_535;

/// What was chosen for a row. `SampleResult` of kernels/include/sampling.cuh.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SampleResult {
    token: u32,
    logprob: f32,
    num_top: u32,
    top_ids: [u32; MAX_LOGPROBS as usize],
    top_logprobs: [f32; MAX_LOGPROBS as usize],
}

// SAFETY: 4-byte numbers, no padding.
unsafe impl Plain for SampleResult {}

impl SampleResult {
    /// The token with the log probabilities that were asked for.
    #[must_use]
    pub fn token(&self) -> SampledToken {
        let num_top = self.num_top.min(MAX_LOGPROBS) as usize;
        let top = self.top_ids.iter().zip(&self.top_logprobs).take(num_top);
        SampledToken {
            token_id: TokenId(self.token),
            logprob: self.logprob,
            top_logprobs: top.map(|(&id, &logprob)| (TokenId(id), logprob)).collect(),
        }
    }
}

/// The kernels, and what they hand on.
pub struct Sampling {
    scan: Kernel,
    choose: Kernel,
    max_rows: usize,
    vocab: usize,
    /// `[max_rows]` [`SampleResult`].
    results: Buffer,
    /// `[max_rows]` u32.
    next_ids: Buffer,
    /// `[max_rows, slices * SCAN_THREADS]` f32.
    maxima: Buffer,
    /// `[max_rows, slices, 2]` f32.
    exp_sums: Buffer,
}

/// One call: a token for every row.
#[derive(Clone, Copy, Debug)]
pub struct SamplingCall {
    /// `[rows, stride]`; a softcap is applied in place, else they are only read.
    pub logits: Span<f32>,
    /// From one row to the next, in elements; the vocabulary at least. Multiples of 4 are faster.
    pub stride: usize,
    /// `[rows]`. Uploaded before the step, not computed by it.
    pub params: Span<SampleParams>,
    /// What the rows change; they name their parts. Uploaded before the step.
    pub changes: Span<LogitChange>,
    /// Logits become `cap * tanh(logits / cap)`.
    pub softcap: Option<f32>,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct SamplingArgs {
    logits: DevicePtr,
    params: DevicePtr,
    changes: DevicePtr,
    maxima: DevicePtr,
    exp_sums: DevicePtr,
    results: DevicePtr,
    next_ids: DevicePtr,
    vocab: u32,
    stride: u32,
    slices: u32,
    softcap: f32,
}

// SAFETY: `SamplingArgs` of kernels/include/sampling.cuh.
unsafe impl KernelArgs for SamplingArgs {}

impl Sampling {
    /// Looks the kernels up and takes the memory for up to `max_rows` rows of `vocab` logits.
    ///
    /// # Errors
    /// [`CudaError`] when kernels cannot be loaded, the memory does not suffice, or the vocabulary is too large for
    /// the device.
    pub fn new(gpu: &Gpu, max_rows: usize, vocab: usize) -> Result<Self, CudaError> {
        let limit = gpu.device.info().max_shared_bytes.saturating_sub(CHOOSE_SHARED_BYTES) * 8;
        if vocab == 0 || vocab > limit || max_rows > MAX_ROWS {
            let message =
                format!("{max_rows} rows of {vocab} logits; the limits are {MAX_ROWS} rows and 1..={limit} logits");
            return Err(CudaError::shape(OP, message));
        }
        let choose = gpu.kernels.get("sampling_choose_f32")?;
        choose.allow_shared_bytes(choose_shared_bytes(vocab))?;
        let buffer = |num_bytes| Buffer::new(&gpu.device, num_bytes, "sampling");
        let [results, next_ids, maxima, exp_sums] = buffer_bytes(max_rows, vocab);
        Ok(Self {
            scan: gpu.kernels.get("sampling_scan_f32")?,
            choose,
            max_rows,
            vocab,
            results: buffer(results)?,
            next_ids: buffer(next_ids)?,
            maxima: buffer(maxima)?,
            exp_sums: buffer(exp_sums)?,
        })
    }

    /// Bytes that [`Self::new`] takes.
    #[must_use]
    pub fn num_bytes(max_rows: usize, vocab: usize) -> usize {
        buffer_bytes(max_rows, vocab).iter().sum()
    }

    /// What the last call chose for its first rows. Rows of padding and of the host are left as they were.
    #[must_use]
    pub fn results(&self, rows: usize) -> Span<SampleResult> {
        self.results.span(0, rows)
    }

    /// The chosen tokens alone, `[max_rows]`, for a step that follows on the device.
    #[must_use]
    pub fn next_ids(&self) -> Span<u32> {
        self.next_ids.all()
    }

    /// Queues two launches.
    ///
    /// # Errors
    /// [`CudaError::Shape`] when buffers do not fit the sizes, [`CudaError::Driver`] when a launch is refused.
    pub fn run(&self, device: &Device, call: &SamplingCall) -> Result<(), CudaError> {
        let args = self.args(call)?;
        let rows = call.params.len() as u32;
        if rows == 0 {
            return Ok(());
        }
        let scan = Launch { grid: [args.slices, rows, 1], block: SCAN_THREADS as u32, shared_bytes: 0 };
        let shared_bytes = choose_shared_bytes(self.vocab);
        let choose = Launch { grid: [rows, 1, 1], block: CHOOSE_THREADS, shared_bytes };
        // SAFETY: every buffer has room for the rows; the rows' changes lie in `changes` by the contract of its fields,
        // which only `SampleParams::new` fills.
        unsafe {
            self.scan.launch(device, scan, &args)?;
            self.choose.launch(device, choose, &args)
        }
    }

    fn args(&self, call: &SamplingCall) -> Result<SamplingArgs, CudaError> {
        let SamplingCall { logits, stride, params, changes, softcap } = *call;
        let (rows, vocab) = (params.len(), self.vocab);
        if rows > self.max_rows
            || stride < vocab
            || logits.len() < rows.saturating_sub(1) * stride + vocab.min(rows * vocab)
        {
            let (len, max_rows) = (logits.len(), self.max_rows);
            let message = format!("{len} logits for {rows} rows of {vocab}, {stride} apart; made for {max_rows} rows");
            return Err(CudaError::shape(OP, message));
        }
        for (name, ptr) in [("logits", logits.ptr()), ("params", params.ptr()), ("changes", changes.ptr())] {
            if !ptr.0.is_multiple_of(16) {
                return Err(CudaError::shape(OP, format!("{name} at {:#x}, not aligned to 16 bytes", ptr.0)));
            }
        }
        Ok(SamplingArgs {
            logits: logits.ptr(),
            params: params.ptr(),
            changes: changes.ptr(),
            maxima: self.maxima.ptr(),
            exp_sums: self.exp_sums.ptr(),
            results: self.results.ptr(),
            next_ids: self.next_ids.ptr(),
            vocab: vocab as u32,
            stride: stride as u32,
            slices: vocab.div_ceil(SLICE) as u32,
            softcap: softcap.unwrap_or(0.0),
        })
    }
}

/// Results, next ids, maxima, sums of exponentials.
fn buffer_bytes(max_rows: usize, vocab: usize) -> [usize; 4] {
    let slices = vocab.div_ceil(SLICE);
    [size_of::<SampleResult>(), 4, 4 * slices * SCAN_THREADS, 8 * slices].map(|row_bytes| max_rows * row_bytes)
}

fn choose_shared_bytes(vocab: usize) -> u32 {
    (CHOOSE_SHARED_BYTES + 4 * vocab.div_ceil(32)) as u32
}

#[cfg(test)]
mod tests {
    use super::{SampleResult, SamplingArgs};

    #[test]
    fn structs_are_laid_out_as_in_the_kernels() {
        assert_eq!((size_of::<SampleResult>(), size_of::<SamplingArgs>()), (172, 72));
    }
}
