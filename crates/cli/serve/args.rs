//! The flags of `serve`, named and defaulted as llama-server's.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value as Json};

use super::accepted::AcceptedArgs;
use crate::{
    device::DeviceArgs,
    logging::LogFormat,
    source::{FileArgs, SourceArgs},
};

/// How to serve.
#[derive(Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    #[command(flatten)]
    pub(crate) batching: BatchingArgs,
    #[command(flatten)]
    pub(crate) embeddings: EmbeddingArgs,
    #[command(flatten)]
    pub(crate) http: HttpArgs,
    #[command(flatten)]
    pub(crate) sampling: SamplingArgs,
    #[command(flatten)]
    pub(crate) accepted: AcceptedArgs,
    /// How log lines look
    #[arg(long, value_enum, default_value = "auto", env = "LLCUDA_LOG_FORMAT", help_heading = "Logging")]
    pub(crate) log_format: LogFormat,
}

/// Which model.
#[derive(Args)]
#[command(next_help_heading = "Model")]
pub(crate) struct ModelArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    #[command(flatten)]
    pub(crate) file: FileArgs,
    /// List the models that were downloaded from the hub (-cl), and end
    #[arg(long)]
    pub(crate) cache_list: bool,
    /// Serve the tiny model inside this program: no file, no GPU, no download
    #[arg(long, conflicts_with_all = ["model", "hf_repo", "model_url"])]
    pub(crate) demo: bool,
    /// The name(s) that clients see, separated by commas
    #[arg(short, long, env = "LLAMA_ARG_ALIAS", value_delimiter = ',')]
    pub(crate) alias: Vec<String>,
    #[command(flatten)]
    pub(crate) template: TemplateArgs,
}

/// How conversations become prompts.
#[derive(Args)]
#[command(next_help_heading = "Chat template")]
pub(crate) struct TemplateArgs {
    /// The name of a built-in chat format, or a Jinja chat template, instead of the file's own
    #[arg(long, value_name = "NAME|JINJA", env = "LLAMA_ARG_CHAT_TEMPLATE")]
    pub(crate) chat_template: Option<String>,
    /// A file with a Jinja chat template instead of the model's own
    #[arg(long, env = "LLAMA_ARG_CHAT_TEMPLATE_FILE", conflicts_with = "chat_template")]
    pub(crate) chat_template_file: Option<PathBuf>,
    /// Variables for the chat template, as a JSON object; those of a request win
    #[arg(long, value_name = "JSON", env = "LLAMA_CHAT_TEMPLATE_KWARGS", value_parser = json_object)]
    pub(crate) chat_template_kwargs: Option<Map<String, Json>>,
    /// Run Jinja chat templates (the default)
    #[arg(long, env = "LLAMA_ARG_JINJA", num_args = 0, default_missing_value = "on", value_parser = switch,
          overrides_with = "no_jinja")]
    pub(crate) jinja: Option<bool>,
    /// Run no Jinja: recognize the template's format and use the built-in one
    #[arg(long, env = "LLAMA_ARG_NO_JINJA", value_parser = switch, overrides_with = "jinja")]
    pub(crate) no_jinja: bool,
    /// Continue a last message of the assistant (the default)
    #[arg(long, env = "LLAMA_ARG_PREFILL_ASSISTANT", num_args = 0, default_missing_value = "on", value_parser = switch,
          overrides_with = "no_prefill_assistant")]
    pub(crate) prefill_assistant: Option<bool>,
    /// Answer a last message of the assistant as any other
    #[arg(long, env = "LLAMA_ARG_NO_PREFILL_ASSISTANT", value_parser = switch, overrides_with = "prefill_assistant")]
    pub(crate) no_prefill_assistant: bool,
}

impl TemplateArgs {
    /// Whether Jinja templates are not to be run.
    pub(crate) fn without_jinja(&self) -> bool {
        self.no_jinja || self.jinja == Some(false)
    }

    /// Whether a last message of the assistant is continued.
    pub(crate) fn continues_assistant(&self) -> bool {
        !self.no_prefill_assistant && self.prefill_assistant != Some(false)
    }
}

/// A JSON object on the command line.
fn json_object(text: &str) -> Result<Map<String, Json>, String> {
    match serde_json::from_str(text) {
        Ok(Json::Object(object)) => Ok(object),
        Ok(_) => Err("it must be a JSON object, such as {\"enable_thinking\": false}".to_owned()),
        Err(e) => Err(format!("it is not valid JSON: {e}")),
    }
}

/// How requests share the model.
#[derive(Args)]
#[command(next_help_heading = "Batching")]
pub(crate) struct BatchingArgs {
    /// Context size in tokens. With --parallel, requests share it in equal parts, as slots do; else, or with
    /// --kv-unified, each may take all of it. 0 takes the model's own per request, and as many as fit into the memory
    #[arg(short, long, default_value_t = 0, env = "LLAMA_ARG_CTX_SIZE")]
    pub(crate) ctx_size: usize,
    /// Requests that are computed together at most (-np); -1 is 16 on the CPU, 64 on a GPU
    #[arg(long, default_value_t = -1, allow_negative_numbers = true, env = "LLAMA_ARG_N_PARALLEL",
          value_parser = clap::value_parser!(i64).range(-1..=4096))]
    pub(crate) parallel: i64,
    /// Let each request take the whole context (-kvu), also with --parallel
    #[arg(long, env = "LLAMA_ARG_KV_UNIFIED", value_parser = switch)]
    pub(crate) kv_unified: bool,
    /// Tokens in one step at most (the smaller of this and --ubatch-size) [default: 2048, for an encoder at least its context]
    #[arg(short, long, env = "LLAMA_ARG_BATCH", value_parser = at_least_1)]
    pub(crate) batch_size: Option<usize>,
    /// Tokens in one step at most (-ub; the smaller of this and --batch-size) [default: 512, for an encoder at least its
    /// context]
    #[arg(long, env = "LLAMA_ARG_UBATCH", value_parser = at_least_1)]
    pub(crate) ubatch_size: Option<usize>,
    /// Requests that may wait before further ones are refused with 429
    #[arg(long, default_value_t = 256, env = "LLCUDA_MAX_QUEUE")]
    pub(crate) max_queue: usize,
    /// Do not reuse the keys and values of prompts seen before
    #[arg(long, env = "LLAMA_ARG_NO_CACHE_PROMPT", value_parser = switch)]
    pub(crate) no_cache_prompt: bool,
}

/// How texts become vectors.
#[derive(Args)]
#[command(next_help_heading = "Embeddings")]
pub(crate) struct EmbeddingArgs {
    /// Serve embeddings of any model; those of encoders, and of models whose file says how to pool, are served anyway
    #[arg(long, visible_alias = "embeddings", env = "LLAMA_ARG_EMBEDDINGS", value_parser = switch)]
    pub(crate) embedding: bool,
    /// What the hidden states of a text become [default: what the file says, else none]
    #[arg(long, value_enum, env = "LLAMA_ARG_POOLING")]
    pub(crate) pooling: Option<PoolingArg>,
    /// The norm that embeddings are divided by: -1 none, 0 the largest value over 32760, 1 taxicab, 2 Euclidean, more a p-norm
    #[arg(long, default_value_t = 2, allow_negative_numbers = true, value_name = "N",
          value_parser = clap::value_parser!(i32).range(-1..=64))]
    pub(crate) embd_normalize: i32,
}

/// `--pooling`'s words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PoolingArg {
    /// A vector for each token, on llama-server's own routes alone
    None,
    /// The mean
    Mean,
    /// The first token's
    Cls,
    /// The last token's
    Last,
    /// A score; not supported yet
    Rank,
}

fn at_least_1(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("it must be a whole number of at least 1".to_owned()),
        Ok(n) => Ok(n),
    }
}

/// llama-server's words for on and off in environment variables.
pub(crate) fn switch(text: &str) -> Result<bool, String> {
    match text {
        "1" | "on" | "enabled" | "true" => Ok(true),
        "0" | "off" | "disabled" | "false" => Ok(false),
        _ => Err("it must be 1, on, enabled, true, 0, off, disabled or false".to_owned()),
    }
}

/// The HTTP side.
#[derive(Args)]
#[command(next_help_heading = "HTTP")]
pub(crate) struct HttpArgs {
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1", env = "LLAMA_ARG_HOST")]
    pub(crate) host: String,
    /// The port to listen on; 0 picks a free one
    #[arg(long, default_value_t = 8080, env = "LLAMA_ARG_PORT")]
    pub(crate) port: u16,
    /// Keys that clients must send, separated by commas; none by default
    #[arg(long, env = "LLAMA_API_KEY", hide_env_values = true, value_delimiter = ',')]
    pub(crate) api_key: Vec<String>,
    /// A file with a key a line; `#` begins a comment
    #[arg(long, env = "LLAMA_ARG_API_KEY_FILE")]
    pub(crate) api_key_file: Option<PathBuf>,
    /// Seconds (-to) after which a request fails if its answer is not complete
    #[arg(long, default_value_t = 3600, env = "LLAMA_ARG_TIMEOUT", value_parser = clap::value_parser!(u64).range(1..=604_800))]
    pub(crate) timeout: u64,
    /// Threads that serve connections; -1 is one per core
    #[arg(long, default_value_t = -1, allow_negative_numbers = true, env = "LLAMA_ARG_THREADS_HTTP",
          value_parser = clap::value_parser!(i64).range(-1..=1024))]
    pub(crate) threads_http: i64,
    /// Seconds that running answers get to finish after SIGTERM
    #[arg(long, default_value_t = 4, env = "LLCUDA_DRAIN_TIMEOUT")]
    pub(crate) drain_timeout: u64,
}

/// What a request gets when it says nothing.
#[derive(Args)]
#[command(next_help_heading = "Sampling defaults")]
pub(crate) struct SamplingArgs {
    /// Temperature; 0 is greedy
    #[arg(long, visible_alias = "temperature", default_value_t = 0.8, env = "LLAMA_ARG_TEMP")]
    pub(crate) temp: f32,
    /// Keep the k most probable tokens; 0 keeps all
    #[arg(long, default_value_t = 40, env = "LLAMA_ARG_TOP_K")]
    pub(crate) top_k: u32,
    /// Keep the most probable tokens up to this sum
    #[arg(long, default_value_t = 0.95)]
    pub(crate) top_p: f32,
    /// Drop tokens less probable than this share of the best
    #[arg(long, default_value_t = 0.05)]
    pub(crate) min_p: f32,
    /// Penalty on recent tokens; 1 is off
    #[arg(long, default_value_t = 1.0)]
    pub(crate) repeat_penalty: f32,
    /// How many recent tokens the penalties see; 0 is none, -1 is all
    #[arg(long, default_value_t = 64, allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(-1..=i64::from(i32::MAX)))]
    pub(crate) repeat_last_n: i64,
    /// Penalty per occurrence among the recent tokens
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    pub(crate) frequency_penalty: f32,
    /// Penalty on every recent token
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    pub(crate) presence_penalty: f32,
    /// Seed; -1 draws one per request
    #[arg(short, long, default_value_t = -1, allow_negative_numbers = true,
          value_parser = clap::value_parser!(i64).range(-1..=i64::from(u32::MAX)))]
    pub(crate) seed: i64,
    /// Tokens to generate at most; -1 is until the context is full
    #[arg(short = 'n', long, visible_alias = "n-predict", default_value_t = -1, allow_negative_numbers = true,
          env = "LLAMA_ARG_N_PREDICT", value_parser = clap::value_parser!(i64).range(-1..=i64::from(i32::MAX)))]
    pub(crate) predict: i64,
}
