//! `llcuda`: serves GGUF language models over HTTP. This crate holds the commands; the work is done below it.

mod bench;
mod convert;
mod device;
mod imatrix;
mod inspect;
mod kernels;
mod logging;
mod merge_lora;
mod numbers;
mod progress;
mod quality;
mod quantize;
mod recommend;
mod serve;
mod source;
mod text_chunks;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Serves GGUF language models over HTTP: llama-server's flags and routes, many users at once.
#[derive(Parser)]
#[command(name = "llcuda", version, about, max_term_width = 120, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve a model over HTTP (the default: `llcuda -m FILE` is `llcuda serve -m FILE`)
    Serve(Box<serve::ServeArgs>),
    /// Measure prompt and generation speed, beside the memory bandwidth that bounds it
    Bench(bench::BenchArgs),
    /// Show the metadata and tensors of a GGUF file
    Inspect(inspect::InspectArgs),
    /// Say which quantization of a model to serve on a GPU, and how
    Recommend(recommend::RecommendArgs),
    /// Convert the folder of a Hugging Face model to GGUF
    Convert(convert::ConvertArgs),
    /// Make a smaller GGUF file of a large one: fewer bits for every weight
    Quantize(quantize::QuantizeArgs),
    /// Merge LoRA adapters into their base and write a GGUF file
    MergeLora(merge_lora::MergeLoraArgs),
    /// Note which columns of a model's matrices matter for a text, for `quantize`
    Imatrix(imatrix::ImatrixArgs),
    /// Measure how well a model predicts a text
    Perplexity(quality::PerplexityArgs),
    /// Measure how far a model's predictions are from another's: a quantized file's from its source
    EvalKl(quality::EvalKlArgs),
    /// Compile the GPU kernels ahead of time, or show what they use
    Kernels(kernels::KernelsArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse_from(arguments(std::env::args().collect()));
    let result = match cli.command {
        Command::Serve(args) => serve::run(*args),
        Command::Bench(args) => bench::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Recommend(args) => recommend::run(&args),
        Command::Convert(args) => convert::run(&args),
        Command::Quantize(args) => quantize::run(&args),
        Command::MergeLora(args) => merge_lora::run(&args),
        Command::Imatrix(args) => imatrix::run(&args),
        Command::Perplexity(args) => quality::run_perplexity(&args),
        Command::EvalKl(args) => quality::run_eval_kl(&args),
        Command::Kernels(args) => kernels::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", message(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes in one line. Many errors name their cause themselves: it is not said twice.
fn message(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| match text.as_str() {
        "" => cause,
        text if text.ends_with(&cause) => text.to_owned(),
        text => format!("{text}: {cause}"),
    })
}

/// Makes llama-server's command lines ours: `serve` is understood where no command is named, and `_` is `-` in the
/// names of long flags.
fn arguments(mut args: Vec<String>) -> Vec<String> {
    const OF_ALL: &[&str] = &["-h", "--help", "-V", "--version"];
    if args.get(1).is_some_and(|first| !OF_ALL.contains(&first.as_str()) && first.starts_with('-')) {
        args.insert(1, "serve".to_owned());
    }
    args.into_iter().map(|arg| dashes(&long_form(&arg))).collect()
}

/// llama-server's short flags of several letters, which clap cannot have.
fn long_form(arg: &str) -> String {
    let long = match arg {
        "-hf" | "-hfr" => "--hf-repo",
        "-hff" => "--hf-file",
        "-hft" => "--hf-token",
        "-mu" => "--model-url",
        "-dr" => "--docker-repo",
        "-cl" => "--cache-list",
        "-lm" => "--load-mode",
        "-np" => "--parallel",
        "-ub" => "--ubatch-size",
        "-to" => "--timeout",
        "-ctk" => "--cache-type-k",
        "-ctv" => "--cache-type-v",
        "-ngl" => "--gpu-layers",
        "-fa" => "--flash-attn",
        "-cb" => "--cont-batching",
        "-tb" => "--threads-batch",
        "-dev" => "--device",
        "-fitt" => "--fit-target",
        "-fit" => "--fit",
        "-ofreq" => "--output-frequency",
        "-kvu" => "--kv-unified",
        "-cram" => "--cache-ram",
        "-sps" => "--slot-prompt-similarity",
        other => other,
    };
    long.to_owned()
}

fn dashes(arg: &str) -> String {
    match arg.strip_prefix("--") {
        None => arg.to_owned(),
        Some(flag) => match flag.split_once('=') {
            Some((name, value)) => format!("--{}={value}", name.replace('_', "-")),
            None => format!("--{}", flag.replace('_', "-")),
        },
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use anyhow::Context;

    use super::{Cli, arguments, message};

    #[test]
    fn a_cause_is_said_once() {
        let missing = || std::io::Error::other("no such file");
        let named = gguf::GgufError::Io { path: "a".into(), source: missing() };
        let error = Err::<(), _>(named).context("cannot load `a`").unwrap_err();
        assert_eq!(message(&error), "cannot load `a`: cannot read `a`: no such file");
        let error = Err::<(), _>(missing()).context("cannot load `a`").unwrap_err();
        assert_eq!(message(&error), "cannot load `a`: no such file");
    }

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn the_flags_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn llama_server_command_lines_become_ours() {
        assert_eq!(
            arguments(words("llcuda -m a.gguf -np 4 --ctx_size=8")),
            words("llcuda serve -m a.gguf --parallel 4 --ctx-size=8")
        );
        assert_eq!(arguments(words("llcuda inspect my_file.gguf")), words("llcuda inspect my_file.gguf"));
    }
}
