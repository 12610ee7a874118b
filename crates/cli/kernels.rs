//! `llcuda kernels`: compiles the GPU kernels ahead of time, and shows what they use. Needs NVRTC, no GPU.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use cuda::kernels::{Cache, Compiled, Compiler, Job, Nvrtc, Pack, Target, Worker, all_sources, compile_job};

use crate::{
    inspect::write_out,
    logging::{self, LogFormat},
    numbers::bytes,
};

/// What to do with the kernels.
#[derive(Args)]
pub(crate) struct KernelsArgs {
    #[command(subcommand)]
    command: KernelsCommand,
}

#[derive(Subcommand)]
enum KernelsCommand {
    /// Compile all kernels into one file, so that machines with nothing but the driver can run them
    Build(BuildArgs),
    /// Show registers, shared memory and spills of every kernel
    List(ListArgs),
    /// Compile what LLCUDA_KERNEL_JOB says into the cache (called by this program itself)
    #[command(hide = true)]
    Compile,
}

#[derive(Args)]
struct BuildArgs {
    /// The file to write; found as `llcuda.kernels` beside the binary, or through LLCUDA_KERNELS
    #[arg(short, long, default_value = "llcuda.kernels")]
    output: PathBuf,
    /// Write a copy of this program with the kernels behind it instead: one file to ship
    #[arg(long, value_name = "PROGRAM", conflicts_with = "output")]
    into: Option<PathBuf>,
    /// What to compile for: sm_75 is the T4, 80 A100, 86 A10, 89 L4, 90 H100; compute_75 runs with LLCUDA_ARCH=75
    #[arg(short, long, value_delimiter = ',', default_values_t = Target::PACKED)]
    arch: Vec<Target>,
}

#[derive(Args)]
struct ListArgs {
    /// What to compile for
    #[arg(short, long, value_delimiter = ',', default_values_t = [Target::Cubin(75)])]
    arch: Vec<Target>,
    /// Show what this pack holds instead
    #[arg(short, long)]
    pack: Option<PathBuf>,
}

/// Compiles kernels and prints a table of them.
pub(crate) fn run(args: &KernelsArgs) -> anyhow::Result<()> {
    logging::init(LogFormat::Text);
    match &args.command {
        KernelsCommand::Build(args) => build(args),
        KernelsCommand::List(args) => {
            let files = match &args.pack {
                Some(path) => Pack::read(path, |_| true)?.parts().to_vec(),
                None => compile(&args.arch)?,
            };
            write_out(&format!("{}\n", table(&files)))
        }
        KernelsCommand::Compile => Ok(compile_job()?),
    }
}

fn build(args: &BuildArgs) -> anyhow::Result<()> {
    let files = compile(&args.arch)?;
    let (path, num_bytes) = match &args.into {
        Some(path) => (path, Pack::write_into(&std::env::current_exe()?, path, &files)?),
        None => (&args.output, Pack::write(&args.output, &files)?),
    };
    let targets: Vec<String> = args.arch.iter().map(ToString::to_string).collect();
    let (num_files, path) = (all_sources().count(), path.display());
    write_out(&format!("{path}: {num_files} files for {}, {}\n", targets.join(", "), bytes(num_bytes)))
}

/// Every file for each target, from the cache where it is there.
fn compile(targets: &[Target]) -> anyhow::Result<Vec<Compiled>> {
    let compiler = Compiler::new(Nvrtc::find()?, Cache::of_user(), Worker::own());
    let jobs = targets.iter().flat_map(|target| all_sources().map(|source| Job { source, target: *target }));
    let built = compiler.build(&jobs.collect::<Vec<_>>())?;
    Ok(built.into_iter().map(|built| built.compiled).collect())
}

fn table(files: &[Compiled]) -> Table {
    let mut table = Table::new();
    let header = ["file", "kernel", "arch", "registers", "shared", "stack", "spilled", "ms", "size"];
    table.load_style(ASCII_MARKDOWN).set_header(header);
    for file in files {
        // PTX says nothing of what a kernel uses; time and size are those of the whole file.
        let is_ptx = matches!(file.target, Target::Ptx(_));
        let used = |n: u32| if is_ptx { "-".to_owned() } else { n.to_string() };
        for (i, kernel) in file.kernels.iter().enumerate() {
            let of_file = |text: String| if i == 0 { text } else { String::new() };
            table.add_row(vec![
                file.file.clone(),
                kernel.name.clone(),
                file.target.to_string(),
                used(kernel.registers),
                used(kernel.shared_bytes),
                used(kernel.stack_bytes),
                used(kernel.spill_bytes),
                of_file(file.compile_ms.to_string()),
                of_file(bytes(file.image.len() as u64)),
            ]);
        }
    }
    (3..header.len()).filter_map(|i| table.column_mut(i).map(|c| c.set_cell_alignment(CellAlignment::Right))).count();
    table
}
