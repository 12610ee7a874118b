//! Which of a repository's files make a folder that can be converted: weights, configuration and tokenizer, not the same in
//! other formats.

/// Beside weights, at the top of a repository.
const SUFFIXES: [&str; 3] = [".json", ".jinja", ".model"];
const CARD: &str = "README.md";
/// Folders that `modules.json` may name, and further templates.
const MODULES: &str = "modules.json";
const TEMPLATES: &str = "additional_chat_templates/";

/// The files to fetch; none where there are no weights.
pub(crate) fn files(names: &[String]) -> Vec<&str> {
    if !names.iter().any(|name| is_weights(name)) {
        return Vec::new();
    }
    let has_modules = names.iter().any(|name| name == MODULES);
    let is_wanted = |name: &&str| match name.split_once('/') {
        None => is_weights(name) || *name == CARD || SUFFIXES.iter().any(|suffix| name.ends_with(suffix)),
        Some((_, "config.json")) => has_modules,
        Some(_) => name.starts_with(TEMPLATES) && name.ends_with(".jinja"),
    };
    names.iter().map(String::as_str).filter(is_wanted).collect()
}

/// Weights of a model or an adapter, in the format that is read.
fn is_weights(name: &str) -> bool {
    name.ends_with(".safetensors") && (name.starts_with("model") || name == "adapter_model.safetensors")
}

#[cfg(test)]
mod tests {
    use super::files;

    #[test]
    fn weights_come_with_what_describes_them() {
        let mut names: Vec<String> = [
            "README.md",
            "config.json",
            "model-00001-of-00001.safetensors",
            "model.safetensors.index.json",
            "tokenizer.model",
            "chat_template.jinja",
            "additional_chat_templates/tools.jinja",
        ]
        .map(str::to_owned)
        .to_vec();
        let wanted = names.clone();
        let others =
            ["pytorch_model.bin", "consolidated.safetensors", "onnx/model.safetensors", "1_Pooling/config.json"];
        names.extend(others.map(str::to_owned));
        assert_eq!(files(&names), wanted);
        names.push("modules.json".to_owned());
        assert!(files(&names).contains(&"1_Pooling/config.json"));
        assert!(files(&names[7..]).is_empty(), "no weights at the top");
    }
}
