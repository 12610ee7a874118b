//! The chat template in use: the command line's or the file's, run as Jinja or recognized as a built-in format.

use std::path::Path;

use anyhow::{Context, bail};
use gguf::Metadata;
use text::{ChatTemplate, Tokenizer};

use super::args::TemplateArgs;

/// Chooses the template.
pub(super) fn load(args: &TemplateArgs, metadata: &Metadata, tokenizer: &Tokenizer) -> anyhow::Result<ChatTemplate> {
    let no_jinja = args.without_jinja();
    match (&args.chat_template, &args.chat_template_file) {
        (Some(text), _) => from_flag(text, no_jinja, tokenizer),
        (None, Some(path)) => from_file(path, no_jinja, tokenizer),
        (None, None) if no_jinja => from_metadata_without_jinja(metadata),
        (None, None) => Ok(ChatTemplate::from_metadata(metadata, tokenizer)?),
    }
}

/// A name counts with and without Jinja.
fn from_flag(text: &str, no_jinja: bool, tokenizer: &Tokenizer) -> anyhow::Result<ChatTemplate> {
    if let Some(template) = ChatTemplate::named(text) {
        return Ok(template);
    }
    if !text.contains("{{") && !text.contains("{%") {
        let names: Vec<&str> = ChatTemplate::format_names().collect();
        bail!(
            "--chat-template is `{text}`, which is neither a Jinja template nor a built-in format; the nearest is `{}`, \
             all are {}",
            ChatTemplate::nearest_format(text),
            names.join(", ")
        );
    }
    from_source("--chat-template", text, no_jinja, tokenizer)
}

fn from_file(path: &Path, no_jinja: bool, tokenizer: &Tokenizer) -> anyhow::Result<ChatTemplate> {
    let source = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read --chat-template-file `{}`", path.display()))?;
    from_source(&path.display().to_string(), &source, no_jinja, tokenizer)
}

fn from_source(name: &str, source: &str, no_jinja: bool, tokenizer: &Tokenizer) -> anyhow::Result<ChatTemplate> {
    if no_jinja {
        return ChatTemplate::without_jinja(source).with_context(|| {
            format!("the chat template `{name}` is of no built-in format; without --no-jinja it would be run")
        });
    }
    let text = |id: Option<types::TokenId>| id.and_then(|id| tokenizer.token_text(id)).unwrap_or_default();
    Ok(ChatTemplate::from_source(name, source, text(tokenizer.bos()), text(tokenizer.eos()))?)
}

/// A file's template that is not recognized is no reason not to serve.
fn from_metadata_without_jinja(metadata: &Metadata) -> anyhow::Result<ChatTemplate> {
    let source = ChatTemplate::source_in(metadata)?;
    if let Some(template) = source.and_then(ChatTemplate::without_jinja) {
        return Ok(template);
    }
    if source.is_some() {
        tracing::warn!(
            "the file's chat template is of no built-in format, so chatml is used; the model may expect another"
        );
    }
    ChatTemplate::named("chatml").context("chatml is a built-in format")
}

#[cfg(test)]
mod tests {
    use gguf::{Array, Metadata, Value};
    use text::Tokenizer;

    use super::*;

    /// A model whose own template is this.
    fn model(template: Option<&str>) -> (Metadata, Tokenizer) {
        let mut metadata = Metadata::default();
        let mut set = |key: &str, value| metadata.insert(format!("tokenizer.{key}"), value);
        set("ggml.model", Value::String("llama".to_owned()));
        set("ggml.tokens", Value::Array(Array::String(["<unk>", "<s>", "</s>"].iter().collect())));
        if let Some(template) = template {
            set("chat_template", Value::String(template.to_owned()));
        }
        let tokenizer = Tokenizer::from_metadata(&metadata).unwrap();
        (metadata, tokenizer)
    }

    fn args() -> TemplateArgs {
        TemplateArgs {
            chat_template: None,
            chat_template_file: None,
            chat_template_kwargs: None,
            jinja: None,
            no_jinja: false,
            prefill_assistant: None,
            no_prefill_assistant: false,
        }
    }

    fn check(args: &TemplateArgs, own: Option<&str>, format: Option<&str>, source: &str) {
        let (metadata, tokenizer) = model(own);
        let template = load(args, &metadata, &tokenizer).unwrap();
        assert_eq!(template.format_name(), format);
        assert!(template.source().contains(source), "{}", template.source());
    }

    const GEMMA: &str = "{{ '<start_of_turn>' }}";

    #[test]
    fn the_files_template_is_run_or_recognized() {
        let no_jinja = TemplateArgs { no_jinja: true, ..args() };
        check(&args(), Some(GEMMA), None, GEMMA);
        check(&args(), None, None, "<|im_start|>");
        check(&no_jinja, Some(GEMMA), Some("gemma"), GEMMA);
        check(&no_jinja, Some("{{ messages }}"), Some("chatml"), "chatml");
        check(&no_jinja, None, Some("chatml"), "chatml");
    }

    #[test]
    fn the_command_lines_template_is_a_name_a_text_or_a_file() {
        let flag = |text: &str| TemplateArgs { chat_template: Some(text.to_owned()), ..args() };
        check(&flag("llama3"), Some(GEMMA), Some("llama3"), "llama3");
        check(&flag("{{ messages }}"), Some(GEMMA), None, "{{ messages }}");
        check(&TemplateArgs { no_jinja: true, ..flag(GEMMA) }, None, Some("gemma"), GEMMA);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own.jinja");
        std::fs::write(&path, GEMMA).unwrap();
        let file = || TemplateArgs { chat_template_file: Some(path.clone()), ..args() };
        check(&file(), None, None, GEMMA);
        check(&TemplateArgs { no_jinja: true, ..file() }, None, Some("gemma"), GEMMA);
    }

    #[test]
    fn what_is_no_template_is_an_error_that_helps() {
        let fault = |args: TemplateArgs| {
            let (metadata, tokenizer) = model(None);
            load(&args, &metadata, &tokenizer).err().unwrap().to_string()
        };
        let flag = |text: &str| TemplateArgs { chat_template: Some(text.to_owned()), ..args() };
        let message = fault(flag("lama3"));
        assert!(message.contains("the nearest is `llama3`") && message.contains("kimi-k2"), "{message}");
        assert!(fault(flag("{% if %}")).contains("line 1"));
        assert!(fault(TemplateArgs { no_jinja: true, ..flag("{{ 1 }}") }).contains("no built-in format"));
        let missing = TemplateArgs { chat_template_file: Some("/nonexistent/x.jinja".into()), ..args() };
        assert!(fault(missing).contains("/nonexistent/x.jinja"));
    }
}
