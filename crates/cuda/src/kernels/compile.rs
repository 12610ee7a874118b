//! Compiles what the disk cache does not hold, on all cores.
//!
//! NVRTC compiles one program at a time in a process, however many threads call it (measured: no gain at all). So a
//! process is started per file, which leaves its result in the cache: the `llcuda` binary starts itself. Binaries that
//! have no such command compile one file after another.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use super::{Cache, Compiled, Nvrtc, Source, Target};
use crate::error::CudaError;

/// One file to compile.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// The file.
    pub source: &'static Source,
    /// What for.
    pub target: Target,
}

/// A compiled file, and whether the disk cache had it.
#[derive(Debug)]
pub struct Built {
    /// The result.
    pub compiled: Compiled,
    /// Whether it came from the cache.
    pub cached: bool,
}

/// The variable that tells a worker what to compile: the file's name, a space, the target.
const JOB_VARIABLE: &str = "LLCUDA_KERNEL_JOB";

/// A program that calls [`compile_job`].
#[derive(Clone, Debug)]
pub struct Worker {
    /// The program.
    pub program: PathBuf,
    /// What makes it call that.
    pub args: Vec<String>,
}

impl Worker {
    /// This process's own program, if it is `llcuda`.
    #[must_use]
    pub fn own() -> Option<Self> {
        // Linux says so when a running program's file was replaced; this path still leads to the one that runs.
        let program = Path::new("/proc/self/exe");
        let exe = std::env::current_exe().ok()?;
        let name = exe.file_name()?.to_string_lossy().into_owned();
        let args = ["kernels", "compile"].map(str::to_owned).to_vec();
        (name.trim_end_matches(" (deleted)") == "llcuda").then(|| Self { program: program.to_owned(), args })
    }
}

/// Compiles the file that a [`Compiler`] in another process asks for, into the cache.
///
/// # Errors
/// [`CudaError::Kernels`] when nothing is asked for, or it cannot be compiled.
pub fn compile_job() -> Result<(), CudaError> {
    let job = std::env::var(JOB_VARIABLE).unwrap_or_default();
    let fault = || CudaError::Kernels(format!("{JOB_VARIABLE} is `{job}`; expected `FILE.cu sm_NN`"));
    let (file, target) = job.split_once(' ').ok_or_else(fault)?;
    let source = Source::named(file).ok_or_else(fault)?;
    let job = Job { source, target: target.parse().map_err(CudaError::Kernels)? };
    Compiler { nvrtc: Nvrtc::find()?, cache: Cache::of_user(), worker: None }.build(&[job]).map(drop)
}

/// NVRTC with the disk cache before it.
pub struct Compiler {
    nvrtc: Nvrtc,
    cache: Cache,
    worker: Option<Worker>,
}

impl Compiler {
    /// A compiler that looks into this cache first, and lets such workers fill it when there is much to do.
    #[must_use]
    pub fn new(nvrtc: Nvrtc, cache: Cache, worker: Option<Worker>) -> Self {
        Self { nvrtc, cache, worker }
    }

    /// The compiler itself.
    #[must_use]
    pub fn nvrtc(&self) -> &Nvrtc {
        &self.nvrtc
    }

    /// Takes each file from the cache or compiles and stores it; results in the order of `jobs`.
    ///
    /// # Errors
    /// [`CudaError::Kernels`] of a file that does not compile.
    pub fn build(&self, jobs: &[Job]) -> Result<Vec<Built>, CudaError> {
        let cached: Vec<Option<Compiled>> = jobs.iter().map(|job| self.load(*job)).collect();
        let missing: Vec<Job> =
            jobs.iter().zip(&cached).filter(|(_, found)| found.is_none()).map(|(job, _)| *job).collect();
        if missing.len() > 1 {
            self.spawn_workers(&missing);
        }
        let built = jobs.iter().zip(cached).map(|(job, found)| match found {
            Some(compiled) => Ok(Built { compiled, cached: true }),
            None => Ok(Built { compiled: self.load_or_compile(*job)?, cached: false }),
        });
        let built = built.collect();
        if !missing.is_empty() {
            self.cache.trim();
        }
        built
    }

    fn load(&self, job: Job) -> Option<Compiled> {
        self.cache.load(job.source, job.target, self.nvrtc.version())
    }

    /// What a worker left in the cache, or else compiled here: what went wrong in the worker then shows itself.
    fn load_or_compile(&self, job: Job) -> Result<Compiled, CudaError> {
        if let Some(compiled) = self.load(job) {
            return Ok(compiled);
        }
        let compiled = self.nvrtc.compile(job.source, job.target)?;
        self.cache.store(&compiled);
        Ok(compiled)
    }

    /// Lets a process per job fill the cache, as many at a time as there are cores. Ends early when one fails.
    fn spawn_workers(&self, jobs: &[Job]) {
        let (Some(worker), Some(cache)) = (&self.worker, self.cache.folder()) else { return };
        let mut jobs = jobs.to_vec();
        // The longest first, so that none is left over at the end; headers are most of the work.
        jobs.sort_by_key(|job| std::cmp::Reverse(job.source.num_bytes()));
        let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        let work = || {
            while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed))
                && !failed.load(Ordering::Relaxed)
            {
                let mut command = Command::new(&worker.program);
                command.args(&worker.args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                command.env(JOB_VARIABLE, format!("{} {}", job.source.file, job.target));
                command.env("LLCUDA_CACHE_DIR", cache);
                command.envs(self.nvrtc.folder().map(|folder| ("LLCUDA_NVRTC_DIR", folder)));
                let succeeded = command.status().is_ok_and(|status| status.success());
                failed.fetch_or(!succeeded, Ordering::Relaxed);
            }
        };
        let num_threads = thread::available_parallelism().map_or(1, usize::from).min(jobs.len());
        thread::scope(|scope| (0..num_threads).for_each(|_| drop(scope.spawn(work))));
    }
}
