//! From flags to the configurations of the engine and the server; all faults are found before anything is loaded.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    path::Path,
    time::Duration,
};

use anyhow::{Context, ensure};
use engine::EngineConfig;
use server::{Defaults, ServerConfig};
use types::SamplingParams;

use super::args::{BatchingArgs, HttpArgs, SamplingArgs, ServeArgs};
use crate::device::Wanted;

impl ServeArgs {
    pub(super) fn server_config(&self) -> anyhow::Result<ServerConfig> {
        let http = &self.http;
        ensure!(
            self.model.demo || self.model.source.is_given(),
            "there is no model: give a file (-m FILE), a model of Hugging Face (-hf USER/MODEL), or --demo"
        );
        Ok(ServerConfig {
            api_keys: http.api_keys()?,
            request_timeout: Duration::from_secs(http.timeout),
            drain_timeout: Duration::from_secs(http.drain_timeout),
            max_choices: self.batching.num_seqs(self.device.default_parallel())?,
            defaults: Defaults {
                params: self.sampling.params()?,
                seed: u32::try_from(self.sampling.seed).ok(),
                max_tokens: usize::try_from(self.sampling.predict).ok(),
                cache_prompt: !self.batching.no_cache_prompt,
                embd_normalize: self.embeddings.embd_normalize,
                template_kwargs: self.model.template.chat_template_kwargs.clone().unwrap_or_default(),
                prefill_assistant: self.model.template.continues_assistant(),
            },
            ..ServerConfig::new(http.address()?)
        })
    }
}

impl BatchingArgs {
    pub(super) fn engine_config(&self) -> EngineConfig {
        EngineConfig {
            max_waiting: self.max_queue,
            enable_prefix_cache: !self.no_cache_prompt,
            ..EngineConfig::default()
        }
    }

    /// What the executor shall hold, on a device that computes `default_parallel` requests together unless told otherwise.
    pub(super) fn wanted(&self, default_parallel: usize) -> anyhow::Result<Wanted> {
        let num_seqs = self.num_seqs(default_parallel)?;
        let num_tokens = (self.ctx_size > 0).then_some(self.ctx_size);
        let parts = if self.parallel > 0 && !self.kv_unified { num_seqs } else { 1 };
        let seq_tokens = num_tokens.map(|n| n / parts);
        ensure!(
            seq_tokens.is_none_or(|n| n >= 2),
            "--ctx-size {} leaves {} tokens for each of {parts} requests; at least 2 are needed",
            self.ctx_size,
            seq_tokens.unwrap_or(0)
        );
        let num_batched_tokens = self.num_batched_tokens(1);
        Ok(Wanted { num_seqs, num_batched_tokens, num_tokens, seq_tokens })
    }

    /// The same for an encoder that was trained for `train_tokens`: a step has all of a text, so that what a text may have
    /// follows from the step.
    pub(super) fn wanted_of_encoder(&self, wanted: Wanted, train_tokens: usize) -> Wanted {
        let longest = wanted.seq_tokens.unwrap_or(train_tokens).min(train_tokens);
        Wanted { num_batched_tokens: self.num_batched_tokens(longest), ..wanted }
    }

    /// Tokens of a step: what the flags say, else llama-server's defaults, or more where `least` does.
    fn num_batched_tokens(&self, least: usize) -> usize {
        self.batch_size.unwrap_or(least.max(2048)).min(self.ubatch_size.unwrap_or(least.max(512)))
    }

    fn num_seqs(&self, default_parallel: usize) -> anyhow::Result<usize> {
        match self.parallel {
            -1 => Ok(default_parallel),
            n => usize::try_from(n).ok().filter(|n| *n > 0).context("--parallel is 0; it must be -1 or at least 1"),
        }
    }
}

impl HttpArgs {
    /// Fails closed: a host that does not resolve is an error, never another address.
    fn address(&self) -> anyhow::Result<SocketAddr> {
        let resolved = (self.host.as_str(), self.port).to_socket_addrs();
        let first = resolved.with_context(|| format!("--host `{}` is no address", self.host))?.next();
        first.with_context(|| format!("--host `{}` has no address", self.host))
    }

    fn api_keys(&self) -> anyhow::Result<Vec<String>> {
        let mut keys: Vec<String> = self.api_key.iter().filter(|k| !k.is_empty()).cloned().collect();
        if let Some(path) = &self.api_key_file {
            keys.extend(keys_of(path)?);
        }
        Ok(keys)
    }
}

/// A key a line; a file without any would leave the server open, which nobody meant.
fn keys_of(path: &Path) -> anyhow::Result<Vec<String>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read --api-key-file `{}`", path.display()))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let keys: Vec<String> = lines.map(str::to_owned).collect();
    ensure!(!keys.is_empty(), "--api-key-file `{}` holds no key", path.display());
    Ok(keys)
}

impl SamplingArgs {
    fn params(&self) -> anyhow::Result<SamplingParams> {
        let finite = [
            ("--temp", self.temp),
            ("--top-p", self.top_p),
            ("--min-p", self.min_p),
            ("--repeat-penalty", self.repeat_penalty),
            ("--frequency-penalty", self.frequency_penalty),
            ("--presence-penalty", self.presence_penalty),
        ];
        for (name, value) in finite {
            ensure!(value.is_finite(), "{name} is {value}; it must be a finite number");
        }
        ensure!(self.repeat_penalty > 0.0, "--repeat-penalty is {}; it must be above 0", self.repeat_penalty);
        Ok(SamplingParams {
            temperature: self.temp,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repeat_penalty: self.repeat_penalty,
            // -1 asks for the whole context; no context is longer than this.
            repeat_last_n: u32::try_from(self.repeat_last_n).unwrap_or(u32::MAX),
            frequency_penalty: self.frequency_penalty,
            presence_penalty: self.presence_penalty,
            ..SamplingParams::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::args::ServeArgs;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        serve: ServeArgs,
    }

    fn args(line: &str) -> ServeArgs {
        Line::parse_from(["x", "--demo"].into_iter().chain(line.split_whitespace())).serve
    }

    #[test]
    fn slots_share_the_context_unless_it_is_unified() {
        let wanted = |line| args(line).batching.wanted(16).unwrap();
        assert_eq!(wanted("-c 4096 --parallel 4").seq_tokens, Some(1024));
        assert_eq!(wanted("-c 4096 --parallel 4 --kv-unified").seq_tokens, Some(4096));
        assert_eq!((wanted("-c 4096").num_seqs, wanted("-c 4096").seq_tokens), (16, Some(4096)));
        assert_eq!((wanted("").num_tokens, wanted("").seq_tokens), (None, None));
        assert_eq!(wanted("-b 64").num_batched_tokens, 64);
        assert_eq!((wanted("").num_batched_tokens, wanted("--ubatch-size 4096").num_batched_tokens), (512, 2048));
        assert!(args("-c 4 --parallel 4").batching.wanted(16).is_err());
        assert!(args("--parallel 0").batching.wanted(16).is_err());
    }

    #[test]
    fn a_step_of_an_encoder_has_room_for_its_longest_text() {
        let num_tokens = |line, train_tokens| {
            let batching = args(line).batching;
            batching.wanted_of_encoder(batching.wanted(16).unwrap(), train_tokens).num_batched_tokens
        };
        assert_eq!((num_tokens("", 128), num_tokens("", 8192)), (512, 8192));
        assert_eq!(
            (num_tokens("-c 1024", 8192), num_tokens("--ubatch-size 64", 8192), num_tokens("-b 64", 8192)),
            (1024, 64, 64)
        );
    }

    #[test]
    fn defaults_are_llama_servers() {
        let config = args("").server_config().unwrap();
        assert_eq!(config.address.to_string(), "127.0.0.1:8080");
        assert_eq!(config.defaults.params, types::SamplingParams::default());
        assert_eq!((config.defaults.seed, config.defaults.max_tokens), (None, None));
    }

    #[test]
    fn a_wrong_value_is_an_error_that_names_it() {
        let fault = |line| args(line).server_config().unwrap_err().to_string();
        assert!(fault("--temp nan").contains("--temp"));
        assert!(fault("--host 256.0.0.1").contains("256.0.0.1"));
        assert!(fault("--api-key-file /nonexistent/keys").contains("/nonexistent/keys"));
        assert!(fault("--repeat-penalty 0").contains("above 0"));
    }

    #[test]
    fn templates_are_told_what_the_command_line_says() {
        let line = ["x", "--demo", "--chat-template-kwargs", r#"{"enable_thinking": false}"#, "--no-prefill-assistant"];
        let defaults = Line::parse_from(line).serve.server_config().unwrap().defaults;
        assert_eq!(defaults.template_kwargs["enable_thinking"], false);
        assert!(!defaults.prefill_assistant);
        for wrong in ["[1]", "{"] {
            assert!(Line::try_parse_from(["x", "--demo", "--chat-template-kwargs", wrong]).is_err(), "{wrong}");
        }
        let template = args("--no-jinja --jinja").model.template;
        assert!(!template.without_jinja(), "the last one counts");
        assert!(args("--jinja --no-jinja").model.template.without_jinja());
    }

    #[test]
    fn a_key_file_has_comments_and_at_least_one_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        std::fs::write(&path, "# for the team\n\n one \ntwo\n").unwrap();
        assert_eq!(super::keys_of(&path).unwrap(), ["one", "two"]);
        std::fs::write(&path, "# nobody\n").unwrap();
        assert!(super::keys_of(&path).unwrap_err().to_string().contains("no key"));
    }
}
