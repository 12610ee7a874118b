//! NVRTC, NVIDIA's run-time compiler, found and called when it is there. Nothing here needs a GPU.

use std::{
    ffi::{CStr, CString, c_char, c_int, c_void},
    path::{Path, PathBuf},
    ptr,
    time::Instant,
};

use libloading::{
    Library,
    os::unix::{Library as UnixLibrary, RTLD_GLOBAL, RTLD_NOW},
};

use super::{
    Compiled, KernelResources, Source, Target,
    ptxas::{kernels_of_log, kernels_of_ptx},
    sources::options,
};
use crate::error::CudaError;

/// Names the system's loader is asked for. Any driver of this or the next major version runs what 12 makes.
const NAMES: [&str; 3] = ["libnvrtc.so.12", "libnvrtc.so.13", "libnvrtc.so"];
/// Where toolkits put it without telling the loader.
const FOLDERS: [&str; 2] = ["/usr/local/cuda/lib64", "/opt/cuda/lib64"];
/// Characters of a compiler's log that an error quotes.
const MAX_LOG_CHARS: usize = 4000;

type Program = *mut c_void;

/// The library's functions. All return 0 for success.
macro_rules! api {
    ($($name:ident = $symbol:literal($($argument:ty),*);)*) => {
        struct Api {
            $($name: unsafe extern "C" fn($($argument),*) -> c_int,)*
            _library: Library,
        }

        impl Api {
            /// # Safety
            /// The library is NVRTC.
            unsafe fn of(library: Library) -> Result<Self, libloading::Error> {
                // SAFETY: NVRTC exports these with these types; the pointers live as long as the library beside them.
                $(let $name = unsafe { *library.get(concat!($symbol, "\0").as_bytes())? };)*
                Ok(Self { $($name,)* _library: library })
            }
        }
    };
}

api! {
    version = "nvrtcVersion"(*mut c_int, *mut c_int);
    num_archs = "nvrtcGetNumSupportedArchs"(*mut c_int);
    archs = "nvrtcGetSupportedArchs"(*mut c_int);
    create = "nvrtcCreateProgram"(
        *mut Program, *const c_char, *const c_char, c_int, *const *const c_char, *const *const c_char
    );
    destroy = "nvrtcDestroyProgram"(*mut Program);
    compile = "nvrtcCompileProgram"(Program, c_int, *const *const c_char);
    log_size = "nvrtcGetProgramLogSize"(Program, *mut usize);
    log = "nvrtcGetProgramLog"(Program, *mut c_char);
    cubin_size = "nvrtcGetCUBINSize"(Program, *mut usize);
    cubin = "nvrtcGetCUBIN"(Program, *mut c_char);
    ptx_size = "nvrtcGetPTXSize"(Program, *mut usize);
    ptx = "nvrtcGetPTX"(Program, *mut c_char);
}

/// The loaded compiler.
pub struct Nvrtc {
    api: Api,
    version: (u32, u32),
    /// Where it was found, unless the loader knew.
    folder: Option<PathBuf>,
    /// Compute capabilities it makes machine code for, in order.
    archs: Vec<u32>,
}

impl Nvrtc {
    /// The one in the folder `LLCUDA_NVRTC_DIR`; without that, the one beside the binary, the loader's, or a toolkit's.
    ///
    /// # Errors
    /// [`CudaError::Kernels`] that says what to install or set.
    pub fn find() -> Result<Self, CudaError> {
        if let Some(folder) = std::env::var_os("LLCUDA_NVRTC_DIR").filter(|folder| !folder.is_empty()) {
            return Self::in_folder(Path::new(&folder))
                .map_err(|fault| CudaError::Kernels(format!("LLCUDA_NVRTC_DIR: {fault}")));
        }
        let beside = std::env::current_exe().ok().and_then(|exe| exe.parent().map(PathBuf::from));
        let beside = beside.iter().flat_map(|folder| [folder.clone(), folder.join("../lib")]);
        if let Some(nvrtc) = beside.into_iter().find_map(|folder| Self::in_folder(&folder).ok()) {
            return Ok(nvrtc);
        }
        NAMES
            .iter()
            .find_map(|name| Self::open(Path::new(name)).ok())
            .or_else(|| FOLDERS.iter().find_map(|folder| Self::in_folder(Path::new(folder)).ok()))
            .ok_or_else(|| {
                CudaError::Kernels(
                    "no NVRTC found (libnvrtc.so.12 or .13) to compile kernels with: install the CUDA toolkit's, or \
                     `pip install nvidia-cuda-nvrtc-cu12`, and set LLCUDA_NVRTC_DIR to the folder that holds it"
                        .to_owned(),
                )
            })
    }

    /// The one in this folder.
    ///
    /// # Errors
    /// What is missing, or what the loader said.
    pub fn in_folder(folder: &Path) -> Result<Self, String> {
        let libraries = |prefix: &str| {
            let entries = std::fs::read_dir(folder).map_err(|error| format!("`{}`: {error}", folder.display()))?;
            let mut found: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
            found.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)));
            found.sort();
            Ok::<_, String>(found)
        };
        let found = libraries("libnvrtc.so")?;
        let path = found.first().ok_or_else(|| format!("`{}` holds no libnvrtc.so", folder.display()))?;
        // NVRTC opens its builtins by their bare name: the loader then takes those that are there already.
        for builtins in libraries("libnvrtc-builtins.so")? {
            // SAFETY: a library of data beside the one it belongs to; it stays loaded.
            match unsafe { UnixLibrary::open(Some(&builtins), RTLD_NOW | RTLD_GLOBAL) } {
                Ok(library) => std::mem::forget(library),
                Err(error) => return Err(format!("`{}`: {error}", builtins.display())),
            }
        }
        Ok(Self { folder: Some(folder.to_owned()), ..Self::open(path)? })
    }

    fn open(path: &Path) -> Result<Self, String> {
        let fault = |error: libloading::Error| format!("`{}`: {error}", path.display());
        // SAFETY: NVRTC by its name; loading it only runs its initialisers.
        let api = unsafe { Api::of(Library::new(path).map_err(fault)?) }.map_err(fault)?;
        let (mut major, mut minor, mut num_archs) = (0, 0, 0);
        // SAFETY: each call writes the integers it is given.
        let archs = unsafe {
            (api.version)(&raw mut major, &raw mut minor);
            (api.num_archs)(&raw mut num_archs);
            let mut archs = vec![0; num_archs.max(0) as usize];
            (api.archs)(archs.as_mut_ptr());
            archs
        };
        let mut archs: Vec<u32> = archs.into_iter().map(|number| number as u32).collect();
        archs.sort_unstable();
        Ok(Self { api, version: (major as u32, minor as u32), folder: None, archs })
    }

    /// Major and minor.
    #[must_use]
    pub fn version(&self) -> (u32, u32) {
        self.version
    }

    /// Where it was found, unless the loader knew.
    pub(super) fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// What to compile for a device of this compute capability: its machine code, else that of an older sibling, else
    /// PTX.
    ///
    /// # Errors
    /// [`CudaError::Kernels`] when this compiler is too old for the device.
    pub fn target_for(&self, number: u32) -> Result<Target, CudaError> {
        let newest = self.archs.iter().copied().rfind(|arch| *arch <= number);
        match newest {
            Some(arch) if Target::Cubin(arch).runs_on(number) => Ok(Target::Cubin(arch)),
            // From 90 on launches overlap, which older code does not know: it would read what is not yet written.
            Some(arch) if arch >= 90 => Ok(Target::Ptx(arch)),
            _ => Err(CudaError::Kernels(format!(
                "NVRTC {}.{} does not know sm_{number}; install a newer one and set LLCUDA_NVRTC_DIR to its folder",
                self.version.0, self.version.1
            ))),
        }
    }

    /// Compiles one file.
    ///
    /// # Errors
    /// [`CudaError::Kernels`] with the compiler's log.
    pub fn compile(&self, source: &Source, target: Target) -> Result<Compiled, CudaError> {
        let started = Instant::now();
        let (mut image, mut kernels) = self.compile_with(source, target, options(target))?;
        if kernels.is_empty() {
            // NVRTC 13 took it from a cache of its own, and then does not say what is in it.
            let options = options(target).into_iter().chain(["--no-cache".to_owned()]).collect();
            (image, kernels) = self.compile_with(source, target, options)?;
        }
        if kernels.is_empty() {
            return Err(self.fault(source, target, "the compiler names no kernel in it"));
        }
        Ok(Compiled {
            file: source.file.to_owned(),
            target,
            key: source.key(target),
            nvrtc: self.version,
            compile_ms: started.elapsed().as_millis() as u32,
            kernels,
            image,
        })
    }

    fn fault(&self, source: &Source, target: Target, what: &str) -> CudaError {
        let (major, minor) = self.version;
        CudaError::Kernels(format!("kernels/{} for {target}, NVRTC {major}.{minor}: {what}", source.file))
    }

    /// The code, and what the compiler says of the kernels in it.
    fn compile_with(
        &self,
        source: &Source,
        target: Target,
        options: Vec<String>,
    ) -> Result<(Vec<u8>, Vec<KernelResources>), CudaError> {
        let fault = |what: &str| self.fault(source, target, what);
        let program = self.create(source).ok_or_else(|| fault("the compiler does not take the source"))?;
        let options: Vec<CString> = options.into_iter().filter_map(|text| CString::new(text).ok()).collect();
        let options: Vec<*const c_char> = options.iter().map(|text| text.as_ptr()).collect();
        // SAFETY: a live program and as many options as said, which outlive the call.
        let code = unsafe { (self.api.compile)(program.handle, options.len() as c_int, options.as_ptr()) };
        let log = program.bytes(self.api.log_size, self.api.log).unwrap_or_default();
        let log = CStr::from_bytes_until_nul(&log).unwrap_or_default().to_string_lossy();
        if code != 0 {
            return Err(fault(&format!("error {code}\n{}", log.chars().take(MAX_LOG_CHARS).collect::<String>())));
        }
        for line in log.lines().filter(|line| line.contains("warning")) {
            tracing::warn!("kernels/{} for {target}: {line}", source.file);
        }
        let image = match target {
            Target::Cubin(_) => program.bytes(self.api.cubin_size, self.api.cubin),
            Target::Ptx(_) => program.bytes(self.api.ptx_size, self.api.ptx),
        };
        let image = image.ok_or_else(|| fault("the compiler gave no code"))?;
        let kernels = match target {
            Target::Cubin(_) => kernels_of_log(&log),
            Target::Ptx(_) => kernels_of_ptx(&String::from_utf8_lossy(&image)),
        };
        Ok((image, kernels))
    }

    /// A program with its headers in memory; `None` when NVRTC takes none (out of memory, a zero byte in a text).
    fn create(&self, source: &Source) -> Option<ProgramHandle<'_>> {
        let text = CString::new(source.text).ok()?;
        let name = CString::new(source.file).ok()?;
        let headers = source.headers();
        let texts: Vec<CString> = headers.iter().map(|header| CString::new(header.text).ok()).collect::<Option<_>>()?;
        let names: Vec<CString> = headers.iter().map(|header| CString::new(header.file).ok()).collect::<Option<_>>()?;
        let texts: Vec<*const c_char> = texts.iter().map(|text| text.as_ptr()).collect();
        let names: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
        let mut handle: Program = ptr::null_mut();
        // SAFETY: as many texts and names as said; NVRTC copies all of them in this call.
        let code = unsafe {
            (self.api.create)(
                &raw mut handle,
                text.as_ptr(),
                name.as_ptr(),
                texts.len() as c_int,
                texts.as_ptr(),
                names.as_ptr(),
            )
        };
        (code == 0).then_some(ProgramHandle { handle, api: &self.api })
    }
}

/// A program, destroyed when dropped.
struct ProgramHandle<'a> {
    handle: Program,
    api: &'a Api,
}

type SizeCall = unsafe extern "C" fn(Program, *mut usize) -> c_int;
type BytesCall = unsafe extern "C" fn(Program, *mut c_char) -> c_int;

impl ProgramHandle<'_> {
    /// One of the program's outputs.
    fn bytes(&self, size: SizeCall, bytes: BytesCall) -> Option<Vec<u8>> {
        let mut num_bytes = 0;
        // SAFETY: a live program; the call writes one number.
        let code = unsafe { size(self.handle, &raw mut num_bytes) };
        let mut out = vec![0_u8; if code == 0 { num_bytes } else { 0 }];
        // SAFETY: a live program; the call writes as many bytes as the one before it said.
        (code == 0 && unsafe { bytes(self.handle, out.as_mut_ptr().cast()) } == 0).then_some(out)
    }
}

impl Drop for ProgramHandle<'_> {
    fn drop(&mut self) {
        // SAFETY: created by `create`, destroyed once.
        unsafe { (self.api.destroy)(&raw mut self.handle) };
    }
}
