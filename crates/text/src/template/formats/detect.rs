//! Which built-in format a Jinja template means, told by the marks in its text. The marks and their order are
//! llama-server's.

use super::Format;

/// A template that contains all of the texts means the format; the first rule that holds counts.
const RULES: &[(&[&str], &str)] = &[
    (&["<|im_start|>", "<|im_sep|>"], "phi4"),
    (&["<|im_start|>", "<end_of_utterance>"], "smolvlm"),
    (&["<|im_start|>"], "chatml"),
    (&["[INST]", "[SYSTEM_PROMPT]"], "mistral-v7"),
    (&["' [INST] ' + system_message"], "mistral-v1"),
    (&["[AVAILABLE_TOOLS]", " [INST]"], "mistral-v1"),
    (&["[AVAILABLE_TOOLS]", "\"[INST]\""], "mistral-v3-tekken"),
    (&["[AVAILABLE_TOOLS]", "[INST]"], "mistral-v3"),
    (&["[INST]", "content.strip()"], "llama2-sys-strip"),
    (&["bos_token + '[INST]"], "llama2-sys-bos"),
    (&["[INST]", "<<SYS>>"], "llama2-sys"),
    (&["[INST]"], "llama2"),
    (&["<|assistant|>", "<|end|>"], "phi3"),
    (&["[gMASK]<sop>"], "chatglm4"),
    (&["<|assistant|>", "<|user|>", "</s>"], "falcon3"),
    (&["<|assistant|>", "<|user|>"], "glmedge"),
    (&["<|{{ item['role'] }}|>", "<|begin_of_image|>"], "glmedge"),
    (&["<|user|>", "<|endoftext|>"], "zephyr"),
    (&["bos_token + message['role']"], "monarch"),
    (&["<start_of_turn>"], "gemma"),
    (&["'\\n\\nAssistant: ' + eos_token"], "orion"),
    (&["GPT4 Correct "], "openchat"),
    (&["USER: ", "ASSISTANT: ", "SYSTEM: "], "vicuna-orca"),
    (&["USER: ", "ASSISTANT: "], "vicuna"),
    (&["### Instruction:", "<|EOT|>"], "deepseek"),
    (&["<|START_OF_TURN_TOKEN|>", "<|USER_TOKEN|>"], "command-r"),
    (&["<|start_header_id|>", "<|end_header_id|>"], "llama3"),
    (&["[gMASK]sop"], "chatglm3"),
    (&["<用户>"], "minicpm"),
    (&["'Assistant: ' + message['content'] + eos_token"], "deepseek2"),
    (&["<｜Assistant｜>", "<｜User｜>", "<｜end▁of▁sentence｜>"], "deepseek3"),
    (&["[|system|]", "[|assistant|]", "[|endofturn|]", "[|tool|]"], "exaone4"),
    (&["[|system|]", "[|assistant|]", "[|endofturn|]"], "exaone3"),
    (&["rwkv-world"], "rwkv-world"),
    (&["{{- 'User: ' + message['content']|trim + '\\n\\n' -}}"], "rwkv-world"),
    (&["<|start_of_role|>"], "granite"),
    (
        &["message['role'] + additional_special_tokens[0] + message['content'] + additional_special_tokens[1]"],
        "gigachat",
    ),
    (&["<|role_start|>"], "megrez"),
    (&[" Ассистент:"], "yandex"),
    (&["<role>ASSISTANT</role>", "'HUMAN'"], "bailing"),
    (&["<role>ASSISTANT</role>", "\"HUMAN\"", "<think>"], "bailing-think"),
    (&["<role>ASSISTANT</role>", "<role>HUMAN</role>", "<|role_end|>"], "bailing2"),
    (&["<|header_start|>", "<|header_end|>"], "llama4"),
    (&["<|endofuserprompt|>"], "dots1"),
    (&["<|extra_0|>", "<|extra_4|>"], "hunyuan-moe"),
    (&["<|start|>", "<|channel|>"], "gpt-oss"),
    (&["<｜hy_Assistant｜>", "<｜hy_place▁holder▁no▁3｜>"], "hunyuan-dense"),
    (&["<|im_assistant|>assistant<|im_middle|>"], "kimi-k2"),
    (&["<seed:bos>"], "seed_oss"),
    (&["'Assistant: '  + message['content'] + '<|separator|>"], "grok-2"),
    (&["[unused9]系统：[unused10]"], "pangu-embedded"),
];

/// The format that a template means: by its name, or by the marks in it.
pub(crate) fn detect(template: &str) -> Option<&'static Format> {
    let by_marks = || {
        let rule = RULES.iter().find(|(marks, _)| marks.iter().all(|mark| template.contains(mark)));
        rule.and_then(|(_, name)| Format::named(name))
    };
    Format::named(template).or_else(by_marks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_names_a_format_and_can_be_reached() {
        for (idx, (marks, name)) in RULES.iter().enumerate() {
            assert!(Format::named(name).is_some(), "{name}");
            let hidden = RULES[..idx].iter().any(|(earlier, _)| earlier.iter().all(|mark| marks.contains(mark)));
            assert!(!hidden, "{marks:?} comes too late");
        }
    }

    #[test]
    fn names_and_marks_are_found() {
        let check = |template: &str, name| assert_eq!(detect(template).map(|f| f.name), name, "{template}");
        check("deepseek2", Some("deepseek2"));
        check("{{ '<|im_start|>' }}", Some("chatml"));
        check("{{ '<|im_start|>' }}{{ '<|im_sep|>' }}", Some("phi4"));
        check("{{ ' [INST] ' + system_message }}", Some("mistral-v1"));
        check("{{ \"[INST]\" }}{{ '[AVAILABLE_TOOLS]' }}", Some("mistral-v3-tekken"));
        check("{{ bos_token + '[INST] ' }}", Some("llama2-sys-bos"));
        check("{{ message.content }}", None);
    }
}
