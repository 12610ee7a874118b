//! What the compiler says of each kernel: registers, shared memory, spills.

/// What one kernel uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelResources {
    /// Its name.
    pub name: String,
    /// Registers of a thread; 0 in PTX, where nobody knows yet.
    pub registers: u32,
    /// Static shared memory of a block, in bytes; 0 in PTX.
    pub shared_bytes: u32,
    /// Stack of a thread, in bytes: spilled registers and indexed arrays; 0 in PTX.
    pub stack_bytes: u32,
    /// Spilled bytes stored and loaded again, as the compiler counts them; 0 in PTX.
    pub spill_bytes: u32,
}

/// The kernels of a cubin, from the log of `--ptxas-options=-v`.
pub(crate) fn kernels_of_log(log: &str) -> Vec<KernelResources> {
    let mut kernels: Vec<KernelResources> = Vec::new();
    // Functions that were not inlined have lines of their own; only those of an entry function are its figures.
    let mut inside = false;
    for line in log.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            let name = rest.split('\'').next().unwrap_or_default().to_owned();
            kernels.push(KernelResources { name, ..KernelResources::default() });
        }
        let Some(kernel) = kernels.last_mut() else { continue };
        if let Some((_, name)) = line.split_once("Function properties for ") {
            inside = name.trim() == kernel.name;
        }
        if line.contains("bytes stack frame") && inside {
            kernel.stack_bytes = number_before(line, " bytes stack frame");
            kernel.spill_bytes = number_before(line, " bytes spill stores") + number_before(line, " bytes spill loads");
        }
        if line.contains("Used ") {
            kernel.registers = number_before(line, " registers");
            kernel.shared_bytes = number_before(line, " bytes smem");
        }
    }
    kernels
}

/// The kernels of a PTX text: their names alone.
pub(crate) fn kernels_of_ptx(ptx: &str) -> Vec<KernelResources> {
    let names = ptx.lines().filter_map(|line| line.split_once(".entry ")?.1.split(['(', ' ']).next());
    names.map(|name| KernelResources { name: name.to_owned(), ..KernelResources::default() }).collect()
}

/// The number that stands right before `unit`, or 0.
fn number_before(line: &str, unit: &str) -> u32 {
    let before = line.split_once(unit).map_or("", |(before, _)| before);
    let digits = before.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    digits.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{KernelResources, kernels_of_log, kernels_of_ptx};

    #[test]
    fn a_log_gives_each_kernels_figures() {
        let log = "\
ptxas info    : 0 bytes gmem, 24 bytes cmem[4]
ptxas info    : Compiling entry function 'gemv_q4_k' for 'sm_75'
ptxas info    : Function properties for gemv_q4_k
    72 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
ptxas info    : Function properties for _Z6helperv
    16 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 76 registers, used 1 barriers, 1024 bytes smem, 632 bytes cmem[0]
ptxas info    : Compiling entry function 'tiny' for 'sm_75'
ptxas info    : Function properties for tiny
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 9 registers, 360 bytes cmem[0]
";
        let expected = [
            KernelResources {
                name: "gemv_q4_k".to_owned(),
                registers: 76,
                shared_bytes: 1024,
                stack_bytes: 72,
                spill_bytes: 20,
            },
            KernelResources { name: "tiny".to_owned(), registers: 9, ..KernelResources::default() },
        ];
        assert_eq!(kernels_of_log(log), expected);
        assert_eq!(kernels_of_log(""), []);
    }

    #[test]
    fn ptx_gives_names() {
        let ptx =
            ".version 8.8\n\t// .globl\tfirst\n.visible .entry first(\n.param .b8 x[8]\n)\n.visible .entry second()\n";
        let names: Vec<String> = kernels_of_ptx(ptx).into_iter().map(|kernel| kernel.name).collect();
        assert_eq!(names, ["first", "second"]);
    }
}
