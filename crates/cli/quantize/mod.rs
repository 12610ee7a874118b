//! `llcuda quantize`: makes a smaller GGUF file of a large one.

mod args;
mod table;

use std::{path::Path, time::Instant};

use anyhow::{Context, bail};
use gguf::Gguf;
use quantize::{FileType, Imatrix, Options, Plan, RunOptions};

use self::args::Positional;
pub(crate) use self::args::QuantizeArgs;
use crate::{
    inspect::write_out,
    logging::{self, LogFormat},
    progress::{LoadBar, Work},
};

/// Quantizes a file and prints what became of it.
pub(crate) fn run(args: &QuantizeArgs) -> anyhow::Result<()> {
    logging::init(LogFormat::Text);
    let positional = args.positional()?;
    let gguf = open(&positional.input)?;
    let options = options(args, positional.file_type)?;
    let plan = Plan::new(&gguf, &options)?;
    warn(&plan);
    if args.dry_run {
        return write_out(&table::shown(&plan, None, None));
    }
    let start = Instant::now();
    let report = convert(args, &gguf, &plan, &positional)?;
    write_out(&table::shown(&plan, Some(&report), Some(start.elapsed())))
}

fn open(input: &Path) -> anyhow::Result<Gguf> {
    Gguf::open(input).with_context(|| format!("cannot quantize `{}`", input.display()))
}

fn convert(
    args: &QuantizeArgs,
    gguf: &Gguf,
    plan: &Plan,
    Positional { input, output, num_threads, .. }: &Positional,
) -> anyhow::Result<quantize::Report> {
    if is_same_file(input, output) {
        bail!("`{}` is the input; choose another name for the output", output.display());
    }
    let imatrix_name = args.imatrix.as_ref().map(|path| path.display().to_string());
    let options = RunOptions { overwrite: args.overwrite, num_threads: *num_threads, imatrix_name };
    let bar = LoadBar::new(Work::Quantizing);
    bar.start(plan.num_bytes().0);
    let report = plan.run(gguf, output, &options, |num_bytes| bar.advance(num_bytes));
    bar.finish();
    report.with_context(|| format!("`{}` was not written", output.display()))
}

/// Whether both names lead to one file.
fn is_same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

fn options(args: &QuantizeArgs, file_type: Option<FileType>) -> anyhow::Result<Options> {
    let tensor_type = |name: &Option<String>| name.as_deref().map(Options::tensor_type).transpose();
    Ok(Options {
        file_type,
        overrides: args.tensor_type.iter().map(|text| text.parse()).collect::<Result<_, _>>()?,
        pure: args.pure,
        leave_output: args.leave_output_tensor,
        output_type: tensor_type(&args.output_tensor_type)?,
        token_embedding_type: tensor_type(&args.token_embedding_type)?,
        allow_requantize: args.allow_requantize,
        imatrix: args.imatrix.as_deref().map(Imatrix::read).transpose()?,
    })
}

/// Tells what makes a result worse than its name promises.
fn warn(plan: &Plan) {
    let count = |of: fn(&quantize::PlannedTensor) -> bool| plan.tensors.iter().filter(|t| of(t)).count();
    let lacking = count(|t| t.lacks_importance);
    if lacking > 0 {
        tracing::warn!(
            "{lacking} tensors get so few bits that an importance matrix (--imatrix) should say what matters"
        );
    }
    let other = count(|t| t.fell_back);
    if other > 0 {
        tracing::warn!("{other} tensors have rows that are no multiple of the type's blocks; they get a larger type");
    }
}
