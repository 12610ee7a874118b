//! All kernels of this binary for one device: found at start, loaded when first asked for.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use cudarc::{
    driver::{CudaModule, DriverError, sys::CUresult},
    nvrtc::Ptx,
};

use super::{Cache, Compiled, Compiler, Job, Nvrtc, Pack, SOURCES, Source, Target, Worker};
use crate::{
    device::{Arch, Device, Kernel},
    error::CudaError,
};

/// Where the kernels came from, for the start-up table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// What they are for, e.g. `sm_75`.
    pub target: String,
    /// Files taken from a pack.
    pub num_packed: usize,
    /// Files taken from the disk cache.
    pub num_cached: usize,
    /// Files compiled now.
    pub num_compiled: usize,
    /// Version of the compiler that was looked for because the pack did not have all.
    pub nvrtc: Option<(u32, u32)>,
    /// Time for all of this.
    pub elapsed_ms: u32,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, num_packed, num_cached, num_compiled, nvrtc, elapsed_ms } = self;
        write!(f, "{target}: {num_packed} files from the pack, {num_cached} cached, {num_compiled} compiled")?;
        if let Some((major, minor)) = nvrtc {
            write!(f, " (NVRTC {major}.{minor})")?;
        }
        write!(f, ", {elapsed_ms} ms")
    }
}

/// The kernels for a device.
pub struct Kernels {
    device: Device,
    /// What it has for the device.
    pack: Option<Pack>,
    found: Mutex<Found>,
    summary: Summary,
}

/// The files that were found so far.
#[derive(Default)]
struct Found {
    files: HashMap<&'static str, File>,
    /// Which file holds a kernel.
    file_of: HashMap<String, &'static str>,
}

/// A file's code, and the module once the driver has it.
enum File {
    Found(Compiled),
    Loaded(Arc<CudaModule>),
}

impl Kernels {
    /// Finds the kernels of [`SOURCES`] for the device: in a pack, in the disk cache, or by compiling them.
    ///
    /// # Errors
    /// [`CudaError::Kernels`] that says what to install or set.
    pub fn load(device: &Device) -> Result<Self, CudaError> {
        let pack = Pack::find(|target| suits(target, device.arch()))?;
        let mut kernels = Self { device: device.clone(), pack, found: Mutex::default(), summary: Summary::default() };
        kernels.summary = kernels.require(&SOURCES.iter().collect::<Vec<_>>())?;
        Ok(kernels)
    }

    /// Finds more kernels: those of these files that are not there yet.
    ///
    /// # Errors
    /// [`CudaError::Kernels`] that says what to install or set.
    pub(crate) fn require(&self, sources: &[&'static Source]) -> Result<Summary, CudaError> {
        let mut found = self.found();
        let missing: Vec<_> = sources.iter().copied().filter(|source| !found.files.contains_key(source.file)).collect();
        let (compiled, summary) = find(self.device.arch(), self.pack.as_ref(), &missing)?;
        if !missing.is_empty() {
            tracing::debug!("kernels for {summary}");
        }
        for (source, file) in missing.into_iter().zip(compiled) {
            found.file_of.extend(file.kernels.iter().map(|kernel| (kernel.name.clone(), source.file)));
            found.files.insert(source.file, File::Found(file));
        }
        Ok(summary)
    }

    /// Whether a file's kernels are there.
    pub(crate) fn has(&self, source: &Source) -> bool {
        self.found().files.contains_key(source.file)
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        // A thread that panicked here left every state whole.
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A kernel by its name. The first one of a file loads that file (PTX is compiled by the driver then).
    ///
    /// # Errors
    /// [`CudaError::Kernels`] when there is no such kernel, or the driver does not take its file.
    pub fn get(&self, name: &'static str) -> Result<Kernel, CudaError> {
        // What is asked about the kernel next goes to the current context.
        self.device.bind()?;
        let missing = || CudaError::Kernels(format!("no file in kernels/ holds a kernel `{name}`"));
        let found = &mut *self.found();
        let file = found.file_of.get(name).and_then(|file| found.files.get_mut(file)).ok_or_else(missing)?;
        let module = match file {
            File::Loaded(module) => Arc::clone(module),
            File::Found(compiled) => {
                let image = std::mem::take(&mut compiled.image);
                let module = self.device.context().load_module(Ptx::from_binary(image));
                let module = module.map_err(|error| refused(&self.device, compiled, error))?;
                *file = File::Loaded(Arc::clone(&module));
                module
            }
        };
        Kernel::load(&module, name)
    }

    /// Where they came from.
    #[must_use]
    pub fn summary(&self) -> &Summary {
        &self.summary
    }
}

/// Says why the driver did not take a file, as far as its code tells.
fn refused(device: &Device, compiled: &Compiled, error: DriverError) -> CudaError {
    let (driver, (major, minor)) = (device.info().driver_version, compiled.nvrtc);
    let driver = format!("CUDA {}.{}", driver / 1000, driver % 1000 / 10);
    let advice = match error.0 {
        CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION => format!(
            "the driver ({driver}) is older than the compiler (NVRTC {major}.{minor}): update the driver, or set \
             LLCUDA_NVRTC_DIR to an older compiler and LLCUDA_KERNELS to nothing"
        ),
        CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU | CUresult::CUDA_ERROR_INVALID_IMAGE => format!(
            "the driver ({driver}) does not take what NVRTC {major}.{minor} made: update the driver, or use a compiler \
             of its major version (LLCUDA_NVRTC_DIR)"
        ),
        _ => format!("driver {driver}, NVRTC {major}.{minor}"),
    };
    CudaError::Kernels(format!("cannot load kernels/{} for {}: {error}; {advice}", compiled.file, compiled.target))
}

/// Every file's code for the device, in the order of `sources`.
fn find(arch: Arch, pack: Option<&Pack>, sources: &[&'static Source]) -> Result<(Vec<Compiled>, Summary), CudaError> {
    let started = Instant::now();
    let mut found: Vec<Option<Compiled>> =
        sources.iter().map(|source| pack.and_then(|pack| from_pack(pack, source, arch)).cloned()).collect();
    let missing: Vec<usize> = (0..sources.len()).filter(|i| found[*i].is_none()).collect();
    let mut summary = Summary { num_packed: sources.len() - missing.len(), ..Summary::default() };
    if !missing.is_empty() {
        let nvrtc = Nvrtc::find().map_err(|error| no_kernels(pack, arch, &error))?;
        let compiler = Compiler::new(nvrtc, Cache::of_user(), Worker::own());
        summary.nvrtc = Some(compiler.nvrtc().version());
        let target = match arch {
            Arch::Native(number) => compiler.nvrtc().target_for(number)?,
            Arch::Forced75 => Target::Ptx(75),
        };
        let jobs: Vec<Job> = missing.iter().map(|i| Job { source: sources[*i], target }).collect();
        for (i, built) in missing.into_iter().zip(compiler.build(&jobs)?) {
            *(if built.cached { &mut summary.num_cached } else { &mut summary.num_compiled }) += 1;
            found[i] = Some(built.compiled);
        }
    }
    let found: Vec<Compiled> = found.into_iter().flatten().collect();
    summary.target = found.first().map_or_else(String::new, |file| file.target.to_string());
    summary.elapsed_ms = started.elapsed().as_millis() as u32;
    Ok((found, summary))
}

/// Whether code for the target is what the device is to run. PTX is only taken when it is forced: the launchers choose
/// shapes by the device, so that code for another generation would not fit them.
fn suits(target: Target, arch: Arch) -> bool {
    match arch {
        Arch::Forced75 => target == Target::Ptx(75),
        Arch::Native(number) => matches!(target, Target::Cubin(_)) && target.runs_on(number),
    }
}

/// The newest code in the pack that suits the device.
fn from_pack<'a>(pack: &'a Pack, source: &Source, arch: Arch) -> Option<&'a Compiled> {
    let parts = pack.parts().iter().filter(|part| suits(part.target, arch) && part.is_of(source, part.target));
    parts.max_by_key(|part| part.target)
}

/// Why compiling was needed, before why it cannot be done.
fn no_kernels(pack: Option<&Pack>, arch: Arch, error: &CudaError) -> CudaError {
    let device = match arch {
        Arch::Native(number) => format!("sm_{number}"),
        Arch::Forced75 => Target::Ptx(75).to_string(),
    };
    let why = match pack {
        None => {
            "there is no kernel pack (LLCUDA_KERNELS, behind the binary's own bytes, or `llcuda.kernels` beside it)"
                .to_owned()
        }
        Some(pack) => format!("kernel pack `{}` lacks kernels of this version for {device}", pack.path().display()),
    };
    CudaError::Kernels(format!("{why}, and {error}"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::example;
    use super::{Arch, Compiled, Pack, SOURCES, Summary, Target, from_pack, suits};

    #[test]
    fn devices_get_the_newest_code_that_suits_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.kernels");
        let source = &SOURCES[0];
        let part = |target| Compiled { target, key: source.key(target), ..example() };
        Pack::write(&path, &Target::PACKED.map(part)).unwrap();
        let pack = Pack::read(&path, |_| true).unwrap();
        let chosen = |arch| from_pack(&pack, source, arch).map(|part| part.target);
        assert_eq!(chosen(Arch::Native(75)), Some(Target::Cubin(75)));
        assert_eq!(chosen(Arch::Native(87)), Some(Target::Cubin(86)));
        assert_eq!(chosen(Arch::Native(90)), Some(Target::Cubin(90)));
        assert_eq!(chosen(Arch::Native(120)), None, "code for older generations does not fit the launchers");
        assert_eq!(chosen(Arch::Forced75), Some(Target::Ptx(75)));
        assert!(from_pack(&pack, &SOURCES[1], Arch::Native(75)).is_none());
        assert!(!suits(Target::Ptx(75), Arch::Native(75)));
    }

    #[test]
    fn the_summary_is_a_line() {
        let mut summary = Summary { target: "sm_75".to_owned(), num_packed: 12, elapsed_ms: 3, ..Summary::default() };
        assert_eq!(summary.to_string(), "sm_75: 12 files from the pack, 0 cached, 0 compiled, 3 ms");
        summary.nvrtc = Some((12, 9));
        summary.num_compiled = 2;
        assert_eq!(summary.to_string(), "sm_75: 12 files from the pack, 0 cached, 2 compiled (NVRTC 12.9), 3 ms");
    }
}
