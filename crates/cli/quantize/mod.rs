//! `llcuda quantize`: makes a smaller GGUF file of a large one.

mod args;
mod table;

use std::{path::Path, time::Instant};

use anyhow::{Context, bail, ensure};
use gguf::{Gguf, split_names};
use quantize::{FileType, Imatrix, Options, Override, Plan, RunOptions};

use self::args::Positional;
pub(crate) use self::args::QuantizeArgs;
use crate::{
    convert::write_nf4,
    inspect::write_out,
    logging::{self, LogFormat},
    progress::{LoadBar, Work},
    source::{self, is_same_file},
};

/// Quantizes a file and prints what became of it.
pub(crate) fn run(args: &QuantizeArgs) -> anyhow::Result<()> {
    logging::init(LogFormat::Text);
    if let Some((folder, out)) = args.nf4_folders()? {
        return write_nf4(&source::checkpoint(&folder)?, &out);
    }
    let positional = args.positional()?;
    let mut gguf = open(&positional.input)?;
    args.override_kv.iter().for_each(|overrides| overrides.apply(gguf.metadata_mut()));
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
    let (inputs, outputs) = (split_names(input, gguf.num_files()), split_names(output, plan.num_files()));
    if let Some(path) = outputs.iter().find(|output| inputs.iter().any(|input| is_same_file(input, output))) {
        bail!("`{}` is the input; choose another name for the output", path.display());
    }
    let imatrix_name = args.imatrix.as_ref().map(|path| path.display().to_string());
    let options = RunOptions { overwrite: args.overwrite, num_threads: *num_threads, imatrix_name };
    let bar = LoadBar::new(Work::Quantizing);
    bar.start(plan.num_bytes().0);
    let report = plan.run(gguf, output, &options, |num_bytes| bar.advance(num_bytes));
    bar.finish();
    report.with_context(|| format!("`{}` was not written", output.display()))
}

fn options(args: &QuantizeArgs, file_type: Option<FileType>) -> anyhow::Result<Options> {
    let tensor_type = |name: &Option<String>| name.as_deref().map(Options::tensor_type).transpose();
    Ok(Options {
        file_type,
        overrides: overrides(args)?,
        pure: args.pure,
        leave_output: args.leave_output_tensor,
        output_type: tensor_type(&args.output_tensor_type)?,
        token_embedding_type: tensor_type(&args.token_embedding_type)?,
        allow_requantize: args.allow_requantize,
        imatrix: imatrix(args)?,
        prune: args.prune_layers.iter().copied().collect(),
        keep_split: args.keep_split,
    })
}

/// Those of the command line before those of the file.
fn overrides(args: &QuantizeArgs) -> anyhow::Result<Vec<Override>> {
    let mut words = args.tensor_type.clone();
    if let Some(path) = &args.tensor_type_file {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        words.extend(text.split_whitespace().map(str::to_owned));
    }
    Ok(words.iter().map(|word| word.parse()).collect::<Result<_, _>>()?)
}

fn imatrix(args: &QuantizeArgs) -> anyhow::Result<Option<Imatrix>> {
    let Some(path) = &args.imatrix else { return Ok(None) };
    let mut imatrix = Imatrix::read(path)?;
    let (included, excluded) = (&args.include_weights, &args.exclude_weights);
    let has_any = |name: &str, words: &[String]| words.iter().any(|word| name.contains(word));
    imatrix.retain(|name| (included.is_empty() || has_any(name, included)) && !has_any(name, excluded));
    ensure!(
        !imatrix.is_empty(),
        "`{}` has nothing left after --include-weights or --exclude-weights; give names that it has, or no --imatrix",
        path.display()
    );
    Ok(Some(imatrix))
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
    let unknown: Vec<&str> = plan.tensors.iter().filter(|t| t.is_unknown).map(|t| t.name.as_str()).collect();
    if let Some(first) = unknown.first() {
        tracing::warn!("the importance matrix says nothing of {} tensors, {first} for one", unknown.len());
    }
}
